# shellcheck shell=bash
# Daemons of scripts/engine: their start outside of this terminal, their process ids, their end.
# Part of scripts/engine. Sourced, not run.

# launch NAME COMMAND...: runs COMMAND in a session of its own, so that it
# outlives this script and the terminal, with its output in NAME.log and its
# process id in NAME.pid; the engines as root. The lock's descriptor must not be
# inherited: the lock would be held as long as the daemon runs.
launch() {
  local name=$1 as=()
  shift
  if [[ $name != registry ]]; then as=(as_root); fi
  rm -f "$DIR/$name.pid"
  if [[ -f $DIR/$name.log ]]; then mv "$DIR/$name.log" "$DIR/$name.log.old"; fi
  # shellcheck disable=SC2016
  "${as[@]}" setsid --fork bash -c 'cd /; echo $$ >"$1"; shift; exec "$@"' "$name" "$DIR/$name.pid" "$@" \
    >"$DIR/$name.log" 2>&1 </dev/null 9>&-
  local i
  for ((i = 0; i < 50; i++)); do
    [[ ! -s $DIR/$name.pid ]] || return 0
    sleep 0.1
  done
  die "$1 could not be started"
}

# The argument that only our own process has. A process id from a file may
# long since belong to a stranger, so the command line is always looked at.
mark_of() {
  case $1 in
    dockerd) printf -- '--data-root=%s/data' "$DIR" ;;
    registry) printf '%s/registry.yml' "$DIR" ;;
    podman) printf '%s/podman/images' "$DIR" ;;
  esac
}

pid_of() { cat "$DIR/$1.pid" 2>/dev/null; }

running() {
  local pid
  pid=$(pid_of "$1") && [[ $pid =~ ^[0-9]+$ ]] || return 1
  grep -qxzF -- "$(mark_of "$1")" "/proc/$pid/cmdline" 2>/dev/null
}

# ended NAME SECONDS: waits for our process NAME to be gone.
ended() {
  local i
  for ((i = 0; i < $2 * 10; i++)); do
    running "$1" || return 0
    sleep 0.1
  done
  return 1
}

# The shell's own kill: the command of that name is missing on bare machines.
kill_as_root() { as_root bash -c 'kill "$@"' kill "$@" 2>/dev/null; }

# stop_process NAME SECONDS: asks, waits, insists.
stop_process() {
  running "$1" || {
    rm -f "$DIR/$1.pid"
    return 0
  }
  say "stopping $1"
  local pid
  pid=$(pid_of "$1")
  kill_as_root "$pid" || true
  if ! ended "$1" "$2"; then
    say "$1 does not end, killing it"
    kill_as_root -KILL "$pid" || true
    ended "$1" 5 || die "$1 (process $pid) cannot be killed"
  fi
  rm -f "$DIR/$1.pid"
}

show_log() { tail -n "${2:-20}" "$DIR/$1.log" 2>/dev/null | sed "s/^/  $1: /" >&2 || true; }

# shellcheck shell=bash
# The container engine: a running one that is found, or a private one that is installed and started; and what
# a private one leaves behind.
# Part of scripts/engine. Sourced, not run.

# answers HOST: whether an engine answers there. A newer client speaks an
# older engine's API version by itself, and needs no help from us.
answers() {
  [[ -n $1 ]] && have docker || return 1
  if [[ $1 == unix://* && ! -S ${1#unix://} ]]; then return 1; fi
  timeout 10 docker --host "$1" version --format '{{.Server.Version}}' >/dev/null 2>&1
}

# The run directory holds the sockets and the run-time state of the private
# daemon. A unix socket's path may have at most 107 bytes, and containerd's
# are the longest here, so a deeply nested checkout gets one under /tmp.
run_dir() { cat "$DIR/run-dir" 2>/dev/null; }

make_run_dir() {
  local LC_ALL=C run=$DIR/run
  local longest=$run/exec/containerd/containerd-debug.sock
  if [[ ${#longest} -gt 107 ]]; then run=$(mktemp -d /tmp/kiln-XXXXXX); fi
  mkdir -p "$run"
  chmod 755 "$run"
  printf '%s\n' "$run" >"$DIR/run-dir"
}

private_host() {
  local run
  run=$(run_dir) || return 0
  printf 'unix://%s/docker.sock' "$run"
}

# find_host: prints the engine to use, if one answers: the one that was asked
# for, else the one started here, else the machine's.
find_host() {
  local host
  for host in "${DOCKER_HOST:-}" "$(private_host)" "$DEFAULT_HOST"; do
    if answers "$host"; then
      printf '%s\n' "$host"
      return
    fi
  done
  return 1
}

# Where a service manager runs, installing the package starts the engine on
# the default socket: give it a moment.
await_service() {
  local i
  for ((i = 0; i < 20; i++)); do
    if answers "$DEFAULT_HOST"; then return 0; fi
    systemctl is-active --quiet docker 2>/dev/null || [[ -e /var/run/docker.pid ]] || return 1
    sleep 1
  done
  return 1
}

install_engine() {
  if ! have dockerd; then
    apt_install docker.io
    hash -r
  fi
  # Debian 13 and later have the client in a package of its own.
  if ! have docker; then
    apt_install docker-cli
    hash -r
  fi
}

# runc wants control groups. Every booted Debian has them; a bare sandbox may
# not, and a container without systemd needs one more step with version 2.
prepare_cgroups() {
  local cgroups=/sys/fs/cgroup
  if ! grep -q ' - cgroup2\? ' /proc/self/mountinfo; then
    say 'mounting cgroup2'
    as_root mkdir -p "$cgroups"
    as_root mount -t cgroup2 cgroup2 "$cgroups" || say 'no control groups; containers may not start'
  fi
  # Only a group below the real root has a cgroup.type. There, controllers
  # can be passed on to containers only when no process is in the group
  # itself, so everything in it moves to a leaf first.
  if [[ -f $cgroups/cgroup.type && ! -d /run/systemd/system ]]; then
    # shellcheck disable=SC2016
    as_root bash -c '
      cd "$1"
      mkdir -p init
      while read -r pid; do echo "$pid" >init/cgroup.procs; done <cgroup.procs
      for c in $(cat cgroup.controllers); do echo "+$c" >cgroup.subtree_control; done
    ' bash "$cgroups" 2>/dev/null || true
  fi
}

# overlay2, unless the file system refuses to carry an overlay (an overlay
# itself, as inside another container): then plain copies, slow but sure.
storage_driver() {
  local try=$DIR/overlay-try driver=vfs
  mkdir -p "$try"/{lower,upper,work,merged}
  if as_root mount -t overlay overlay \
    -o "lowerdir=$try/lower,upperdir=$try/upper,workdir=$try/work" "$try/merged" 2>/dev/null; then
    as_root umount "$try/merged"
    driver=overlay2
  fi
  as_root rm -rf "$try"
  printf '%s\n' "$driver"
}

# Without an address of its own, dockerd uses the system's containerd if that
# has a socket. One left behind by a dead containerd would make it wait.
drop_dead_containerd_socket() {
  local socket=/run/containerd/containerd.sock
  [[ -S $socket ]] && have ctr || return 0
  as_root timeout 10 ctr --address "$socket" version >/dev/null 2>&1 && return
  as_root rm -f "$socket"
}

# The private daemon touches nothing of the machine's network: no bridge, no
# packet filter rules, no forwarding. Many kernels of small virtual machines
# could not provide those. Containers and builds use the host's network
# (`--network host`) or none.
start_private() {
  local driver run
  sweep # what a daemon that died left behind, stale pid files included
  make_run_dir
  run=$(run_dir)
  prepare_cgroups
  drop_dead_containerd_socket
  driver=$(storage_driver)
  say "starting dockerd ($driver) under $DIR"
  # The group lets the user who started it in. The namespaces keep us apart
  # from another dockerd if the containerd is the system's.
  launch dockerd dockerd \
    --host="unix://$run/docker.sock" \
    --group="$(id -g)" \
    --data-root="$DIR/data" \
    --exec-root="$run/exec" \
    --pidfile="$run/docker.pid" \
    --storage-driver="$driver" \
    --bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
    --userland-proxy=false \
    --containerd-namespace=kiln --containerd-plugins-namespace=kiln-plugins
  await_private "unix://$run/docker.sock"
}

await_private() {
  local start=$SECONDS
  while ((SECONDS - start < SECONDS_TO_START)); do
    if answers "$1"; then
      say "engine ready: $1"
      return
    fi
    running dockerd || break
    sleep 0.2
  done
  show_log dockerd 25
  if running dockerd; then
    stop_process dockerd 15
    die "dockerd did not answer within $SECONDS_TO_START s"
  fi
  die 'dockerd ended (its last lines are above)'
}

# ensure_engine: sets HOST. To be called under the lock.
ensure_engine() {
  HOST=$(find_host) || HOST=
  if [[ -n ${DOCKER_HOST:-} && $HOST != "$DOCKER_HOST" && $DOCKER_HOST != "$(private_host)" ]]; then
    say "nothing answers at DOCKER_HOST=$DOCKER_HOST"
  fi
  if [[ -n $HOST ]]; then return; fi
  if ! have dockerd || ! have docker; then
    install_engine
    if await_service; then
      HOST=$DEFAULT_HOST
      return
    fi
  fi
  start_private
  HOST=$(private_host)
}

# ------------------------------------------------------------------ cleanup

# unmount_below DIRECTORY: the deepest mount first. /proc writes blanks and
# the like as octal escapes, which %b turns back.
unmount_below() {
  local escaped target
  while read -r escaped; do
    target=$(printf '%b' "$escaped")
    [[ $target == "$1"/* ]] || continue
    as_root umount "$target" 2>/dev/null || as_root umount --lazy "$target" || true
  done < <(awk '{ print $5 }' /proc/self/mountinfo | sort -r)
}

# A killed dockerd leaves shims, and perhaps its containerd, with the
# containers they care for. They are known by our run directory's socket or
# configuration among their arguments.
kill_orphans() {
  local run=$1 proc pid
  for proc in /proc/[0-9]*; do
    pid=${proc#/proc/}
    grep -qzF -- "$run/exec/containerd/containerd" "$proc/cmdline" 2>/dev/null || continue
    [[ $(cat "$proc/comm" 2>/dev/null) == containerd* ]] || continue
    # The children of a shim are its containers' first processes.
    # shellcheck disable=SC2046
    kill_as_root -KILL $(cat "$proc/task/$pid/children" 2>/dev/null) "$pid" || true
  done
}

# Removes what a private daemon that is gone left in the machine; its images
# stay. Podman lives in the same run directory, and ends with it.
sweep() {
  local run
  stop_process podman 10
  if run=$(run_dir); then
    kill_orphans "$run"
    unmount_below "$run"
    unmount_below "$DIR"
    as_root rm -rf --one-file-system "$run"
    rm -f "$DIR/run-dir"
  fi
}

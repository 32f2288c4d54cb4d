# shellcheck shell=bash
# The private registry on a loopback port.
# Part of scripts/engine. Sourced, not run.

# The registry's program. The Debian package would also make a user and a
# service that listens on all addresses from every boot on; we only want the
# program, so the package is unpacked here instead of installed.
registry_program() {
  local program=$DIR/registry-package/usr/bin/docker-registry
  if have docker-registry; then
    command -v docker-registry
    return
  fi
  if [[ ! -x $program ]]; then fetch_registry; fi
  printf '%s\n' "$program"
}

fetch_registry() {
  local to=$DIR/registry-package
  say 'fetching the package docker-registry'
  if can_be_root; then apt_update; fi
  rm -rf "$to" && mkdir -p "$to"
  # apt's own download user could not write into our directory.
  (cd "$to" && apt-get -qq download -o APT::Sandbox::User=root docker-registry >&2) ||
    die 'please install as root: apt-get install docker-registry'
  dpkg-deb --extract "$to"/*.deb "$to"
  rm "$to"/*.deb
}

write_registry_config() {
  cat >"$DIR/registry.yml" <<END
version: 0.1
log:
  level: warn
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: $DIR/registry
  delete:
    enabled: true
http:
  addr: 127.0.0.1:$1
END
}

# registry_answers PORT
registry_answers() {
  local line
  {
    printf 'GET /v2/ HTTP/1.0\r\n\r\n' >&3
    IFS= read -r -t 5 line <&3
  } 3<>"/dev/tcp/127.0.0.1/$1" 2>/dev/null && [[ $line == *' 200 '* ]]
} 2>/dev/null

port_taken() { (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

registry_port() { cat "$DIR/registry.port" 2>/dev/null; }

registry_ready() { running registry && registry_answers "$(registry_port)"; }

# try_registry PROGRAM PORT: false if the registry ended, as it does when
# another process was quicker to take the port.
try_registry() {
  local start=$SECONDS
  write_registry_config "$2"
  launch registry "$1" serve "$DIR/registry.yml"
  while ((SECONDS - start < SECONDS_TO_START)); do
    running registry || return 1
    if registry_answers "$2"; then return; fi
    sleep 0.1
  done
  stop_process registry 5
  return 1
}

# The port of last time first, so that image names stay good.
registry() {
  local program port
  if registry_ready; then return; fi
  stop_process registry 5
  program=$(registry_program)
  for port in $(registry_port) {5000..5099}; do
    if port_taken "$port"; then continue; fi
    if try_registry "$program" "$port"; then
      printf '%s\n' "$port" >"$DIR/registry.port"
      say "registry ready: 127.0.0.1:$port"
      return
    fi
    # Only a taken port is worth another try.
    grep -q 'address already in use' "$DIR/registry.log" || break
  done
  show_log registry
  die 'the registry did not start'
}

# shellcheck shell=bash
# The private Podman, with the base image in it.
# Part of scripts/engine. Sourced, not run.

podman_host() { printf 'unix://%s/podman.sock' "$(run_dir)"; }

podman_ready() { running podman && answers "$(podman_host)"; }

install_podman() {
  have podman || apt_install podman
  have runc || have crun || apt_install runc
}

# Registries on this machine speak plain http, which Podman has to be told.
write_podman_config() {
  printf '[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n' >"$DIR/podman/registries.conf"
}

start_podman() {
  local start=$SECONDS socket
  [[ -n $(run_dir) ]] || make_run_dir
  socket=$(run_dir)/podman.sock
  mkdir -p "$DIR/podman"
  write_podman_config
  prepare_cgroups
  say "starting podman under $DIR/podman"
  launch podman env CONTAINERS_REGISTRIES_CONF="$DIR/podman/registries.conf" \
    podman --root "$DIR/podman/images" --runroot "$(run_dir)/podman" \
    --storage-driver "$(podman_storage)" --cgroup-manager cgroupfs \
    system service --time=0 "unix://$socket"
  while ((SECONDS - start < SECONDS_TO_START)); do
    if [[ -S $socket ]]; then as_root chown "$(id -u)" "$socket"; fi
    if answers "unix://$socket"; then
      say "podman ready: unix://$socket"
      return
    fi
    running podman || break
    sleep 0.2
  done
  show_log podman
  stop_process podman 5
  die 'podman did not start'
}

podman_storage() {
  if [[ $(storage_driver) == overlay2 ]]; then echo overlay; else echo vfs; fi
}

# Both engines have the same base image, and push to the same registry.
podman_engine() {
  local image=debian:bookworm
  base_image "$image"
  registry
  install_podman
  if ! podman_ready; then
    stop_process podman 5
    start_podman
  fi
  if docker --host "$(podman_host)" image inspect "$image" >/dev/null 2>&1; then return; fi
  say "copying $image into podman"
  docker --host "$HOST" save "$image" | docker --host "$(podman_host)" load >/dev/null
}

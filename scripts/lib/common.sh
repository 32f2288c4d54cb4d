# shellcheck shell=bash
# Small helpers shared by the scripts in this directory. Sourced, not run.

# Short progress lines; standard output is kept for results.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
  say "error: $*"
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND...: runs COMMAND as root, by sudo where we are not root.
as_root() {
  if [[ $(id -u) -eq 0 ]]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    die "this needs root, and there is no sudo: $*"
  fi
}

# Root for packages is asked for separately, so that the message can say what
# to install by hand.
can_be_root() { [[ $(id -u) -eq 0 ]] || have sudo; }

apt_updated=
# Fetches the package lists, once per run. A failure is only reported: older
# lists may do, and if not the install that follows says what is missing.
apt_update() {
  [[ -z $apt_updated ]] || return 0
  as_root apt-get -qq update >&2 || say 'apt-get update failed; going on with the lists there are'
  apt_updated=yes
}

# apt_install PACKAGE...: installs Debian packages without recommendations.
# DPkg::Lock::Timeout waits for another apt instead of failing.
apt_install() {
  have apt-get || die "please install: $* (this is no Debian machine, so the script cannot)"
  can_be_root || die "please install as root: apt-get install --no-install-recommends $*"
  apt_update
  say "installing $*"
  # The packages' own scripts are talkative; that is only shown on failure.
  local output
  output=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
    --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" 2>&1 9>&-) || {
    tail -n 20 <<<"$output" >&2
    die "apt-get install $* failed"
  }
}

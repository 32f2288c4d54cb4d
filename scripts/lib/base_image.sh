# shellcheck shell=bash
# The base image: a Debian root file system that is made on this machine and imported into an engine.
# Part of scripts/engine. Sourced, not run.

image_exists() { docker --host "$HOST" image inspect "$1" >/dev/null 2>&1; }

# Prints "uri release component label" of each of the machine's Debian
# package sources, in whichever of apt's formats they are written.
apt_sources() {
  # shellcheck disable=SC2016
  apt-get indextargets \
    --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN) $(LABEL)' 'Created-By: Packages' |
    awk '$4 == "Debian" && NF == 5 && !seen[$0]++ { print $1, $2, $3, $5 }'
}

# uri_of LABEL: the first source with that label, a plain http one if any.
uri_of() {
  apt_sources | awk -v label="$1" '
    $4 == label && (uri == "" || (uri !~ /^http:/ && $1 ~ /^http:/)) { uri = $1 }
    END { print uri }'
}

components_of() {
  apt_sources | awk '$4 == "Debian" && !seen[$3]++ { printf "%s%s", sep, $3; sep = " " }'
}

# keyring MIRROR: the file that the sources of that mirror name as their
# keyring, if they do; else Debian's.
keyring() {
  local file
  file=$(find /etc/apt/sources.list /etc/apt/sources.list.d \
    \( -name '*.list' -o -name '*.sources' \) -print0 2>/dev/null |
    xargs -r -0 grep -lZ -F "$1" |
    xargs -r -0 grep -hoiP '^[^#]*signed-by[:=]\s*\K/[^],\s]+\.gpg' | head -n 1) || true
  if [[ ! -f $file ]]; then file=/usr/share/keyrings/debian-archive-keyring.gpg; fi
  if [[ ! -f $file ]]; then apt_install debian-archive-keyring; fi
  printf '%s\n' "$file"
}

# write_sources SUITE KEYRING: the image's package sources, on stdout.
write_sources() {
  local suite=$1 security suites=$1
  case $suite in
    sid | unstable) security= ;; # have neither updates nor security
    *)
      security=$(uri_of Debian-Security)
      if apt_sources | grep -- '-updates ' >/dev/null; then suites="$suite $suite-updates"; fi
      ;;
  esac
  stanza "$(uri_of Debian)" "$suites" "$2"
  if [[ -n $security ]]; then
    echo
    stanza "$security" "$suite-security" "$2"
  fi
}

stanza() {
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s\n' \
    "${1%/}" "$2" "$(components_of)" "$3"
}

# What official Debian images set for apt and dpkg: no caches kept, no
# translations, no fsync, no services started by packages.
write_apt_settings() {
  local root=$1 conf=$1/etc/apt/apt.conf.d caches
  caches='rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true'
  cat >"$conf/docker-clean" <<END
DPkg::Post-Invoke { "$caches"; };
APT::Update::Post-Invoke { "$caches"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
END
  echo 'Acquire::Languages "none";' >"$conf/docker-no-languages"
  echo 'Acquire::GzipIndexes "true";' >"$conf/docker-gzip-indexes"
  echo 'Apt::AutoRemove::SuggestsImportant "false";' >"$conf/docker-autoremove-suggests"
  echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/docker-apt-speedup"
  # How this machine reaches its mirror (a proxy, a snapshot whose dates have
  # passed) goes for the image too.
  apt-config dump |
    grep -E '^Acquire::(Check-Valid-Until|Check-Date|https?::Proxy) "[^"]' >"$conf/machine" || rm "$conf/machine"
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod 755 "$root/usr/sbin/policy-rc.d"
}

# pem_bodies FILE...: each certificate's base64 text as one line. Equal lines
# are equal certificates.
pem_bodies() {
  awk '{ sub(/\r$/, "") }
    /^-----BEGIN CERTIFICATE-----/ { body = ""; inside = 1; next }
    /^-----END CERTIFICATE-----/ { if (inside) print body; inside = 0 }
    inside { body = body $0 }' "$@"
}

# find_pem DIRECTORY...: the certificates in the .crt files there.
find_pem() {
  local files=()
  mapfile -t files < <(find "$@" -name '*.crt' 2>/dev/null)
  if [[ ${#files[@]} -gt 0 ]]; then pem_bodies "${files[@]}"; fi
}

# The certificates this machine trusts beyond Debian's own.
extra_certificates() {
  {
    if [[ -r ${SSL_CERT_FILE:-} ]]; then pem_bodies "$SSL_CERT_FILE"; fi
    find_pem /usr/local/share/ca-certificates
  } | sort -u | comm -23 - <(find_pem /usr/share/ca-certificates/mozilla | sort -u)
}

# Where `update-ca-certificates` in the image finds them, one per file.
write_certificates() {
  local to=$1/usr/local/share/ca-certificates body name
  mkdir -p "$to"
  while read -r body; do
    name=$(sha256sum <<<"$body")
    {
      echo '-----BEGIN CERTIFICATE-----'
      fold -w 64 <<<"$body"
      echo '-----END CERTIFICATE-----'
    } >"$to/extra-${name:0:12}.crt"
  done < <(extra_certificates)
}

# Traces of the machine and of the installation.
clean_rootfs() {
  local root=$1
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/tmp/* \
    "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old
  find "$root/var/log" -type f -delete
  : >"$root/etc/resolv.conf"
  : >"$root/etc/machine-id"
  echo localhost >"$root/etc/hostname"
}

# configure_rootfs ROOT SUITE KEYRING: what debootstrap leaves open. As root.
configure_rootfs() {
  local root=$1 suite=$2 keys=$3
  if [[ ! -f $root$keys ]]; then install -D -m 644 "$keys" "$root$keys"; fi
  rm -f "$root/etc/apt/sources.list"
  write_sources "$suite" "$keys" >"$root/etc/apt/sources.list.d/debian.sources"
  write_apt_settings "$root"
  write_certificates "$root"
  clean_rootfs "$root"
}

# bootstrap SUITE ROOT: a minimal Debian in ROOT.
bootstrap() {
  local suite=$1 root=$2 mirror keys proxy='' args=(--variant=minbase)
  apt_update # apt_sources lists only sources that have been fetched
  mirror=$(uri_of Debian)
  [[ -n $mirror ]] || die 'the machine has no Debian package sources to bootstrap from'
  keys=$(keyring "${mirror%/}")
  # Without certificates in the image its apt could not use the mirror.
  if [[ $mirror == https:* ]]; then args+=(--include=ca-certificates); fi
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  args+=("--keyring=$keys" "$suite" "$root" "$mirror")
  # A suite newer than the machine's debootstrap is made like unstable.
  if [[ ! -e /usr/share/debootstrap/scripts/$suite ]]; then args+=(sid); fi
  say "bootstrapping Debian $suite (some minutes at most)"
  as_root env ${proxy:+"http_proxy=$proxy"} debootstrap "${args[@]}" >"$DIR/debootstrap.log" 2>&1 || {
    show_log debootstrap
    die "debootstrap of $suite failed"
  }
  # Root's files: where we are not root, this script goes on as root.
  as_root env KILN_ENGINE_DIR="$DIR" SSL_CERT_FILE="${SSL_CERT_FILE:-}" \
    "$here/engine" _configure-rootfs "$root" "$suite" "$keys"
}

# remove_rootfs ROOT: also after debootstrap was interrupted in the middle,
# with its proc and sys mounted.
remove_rootfs() {
  unmount_below "$1"
  as_root rm -rf --one-file-system "$1"
}

import() {
  docker --host "$HOST" import \
    --change 'CMD ["bash"]' \
    --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    - "$1" >/dev/null
}

# build_base IMAGE SUITE TAR: streams the file tree into the engine, and by
# the way into TAR, for when the engine's images are removed.
build_base() {
  local image=$1 suite=$2 tar=$3
  have debootstrap || apt_install debootstrap
  ROOTFS=$(mktemp -d "$DIR/rootfs-XXXXXX")
  trap 'remove_rootfs "$ROOTFS"' EXIT
  chmod 755 "$ROOTFS"
  bootstrap "$suite" "$ROOTFS"
  say "importing $image"
  as_root tar --create --directory "$ROOTFS" --numeric-owner --sort=name --one-file-system \
    --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' . |
    tee "$tar.part" | import "$image"
  mv "$tar.part" "$tar"
}

base_image() {
  local image=${1:-debian:bookworm} tar
  [[ $image == ?*:?* ]] || die "not a NAME:TAG: $image"
  tar=$DIR/${image//[^A-Za-z0-9.-]/_}.tar
  ensure_engine
  if image_exists "$image"; then return; fi
  if [[ -f $tar ]]; then
    say "importing $image from $tar"
    import "$image" <"$tar"
    return
  fi
  say "pulling $image"
  if timeout 20 docker --host "$HOST" pull --quiet "$image" >/dev/null 2>&1; then return; fi
  say 'it cannot be pulled'
  [[ $image =~ ^debian:([a-z]+)$ ]] || die "only debian:SUITE can be bootstrapped, not $image"
  build_base "$image" "${BASH_REMATCH[1]}" "$tar"
}

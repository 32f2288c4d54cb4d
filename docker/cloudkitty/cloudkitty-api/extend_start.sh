# Sourced by kolla_start: migrations run in a container of their own, which then ends.

if [[ -v KOLLA_BOOTSTRAP ]]; then
    runuser --user cloudkitty -- cloudkitty-dbsync upgrade
    runuser --user cloudkitty -- cloudkitty-storage-init
    exit 0
fi

# shellcheck source=/dev/null
source kolla_httpd_setup

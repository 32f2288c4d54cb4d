# Sourced by kolla_start: migrations run in a container of their own, which then ends.

if [[ -v KOLLA_BOOTSTRAP ]]; then
    runuser --user manila -- manila-manage db sync
    exit 0
fi

# shellcheck source=/dev/null
source kolla_httpd_setup

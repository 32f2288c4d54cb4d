# Sourced by kolla_start: database migrations run in a container of their own,
# which then ends.

if [[ -v KOLLA_BOOTSTRAP ]]; then
    runuser --user keystone -- keystone-manage db_sync
    exit 0
fi

if [[ -v KOLLA_UPGRADE ]]; then
    runuser --user keystone -- keystone-manage db_sync --expand
    exit 0
fi

if [[ -v KOLLA_FINISH_UPGRADE ]]; then
    runuser --user keystone -- keystone-manage db_sync --migrate
    runuser --user keystone -- keystone-manage db_sync --contract
    exit 0
fi

# shellcheck source=/dev/null
source kolla_httpd_setup

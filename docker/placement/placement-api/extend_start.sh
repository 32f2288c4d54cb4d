# Sourced by kolla_start: migrations run in a container of their own, which then ends.

if [[ -v KOLLA_BOOTSTRAP ]]; then
    runuser --user placement -- placement-manage db sync
    runuser --user placement -- placement-manage db online_data_migrations
    exit 0
fi

if [[ -v KOLLA_UPGRADE ]]; then
    runuser --user placement -- placement-manage db sync
    exit 0
fi

if [[ -v KOLLA_OSM ]]; then
    runuser --user placement -- placement-manage db online_data_migrations
    exit 0
fi

# shellcheck source=/dev/null
source kolla_httpd_setup

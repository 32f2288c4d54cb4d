# Sourced by kolla_start: migrations run in a container of their own, which then ends.

if [[ -v KOLLA_BOOTSTRAP ]]; then
    runuser --user cinder -- cinder-manage db sync
    exit 0
fi

if [[ -v KOLLA_OSM ]]; then
    runuser --user cinder -- cinder-manage db online_data_migrations ${MAX_NUMBER:+--max_count "$MAX_NUMBER"}
    exit 0
fi

# shellcheck source=/dev/null
source kolla_httpd_setup

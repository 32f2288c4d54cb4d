# Sourced by kolla_start: migrations of a cell's database run in a container of their
# own, which then ends.

if [[ -v KOLLA_BOOTSTRAP ]]; then
    nova-manage db sync --local_cell
    nova-manage db online_data_migrations
    exit 0
fi

if [[ -v KOLLA_UPGRADE ]]; then
    nova-manage db sync --local_cell
    exit 0
fi

if [[ -v KOLLA_OSM ]]; then
    nova-manage db online_data_migrations
    exit 0
fi

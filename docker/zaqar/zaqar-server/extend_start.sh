# Sourced by kolla_start: migrations run in a container of their own, which then ends.

if [[ -v KOLLA_BOOTSTRAP ]]; then
    zaqar-sql-db-manage upgrade head
    exit 0
fi

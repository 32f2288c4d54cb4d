# Sourced by kolla_start: migrations run in a container of their own, which then ends.

if [[ -v KOLLA_BOOTSTRAP ]]; then
    blazar-db-manage --config-file /etc/blazar/blazar.conf upgrade head
    exit 0
fi

# Sourced by kolla_start: migrations run in a container of their own, which then ends.

if [[ -v KOLLA_BOOTSTRAP ]]; then
    sahara-db-manage --config-file /etc/sahara/sahara.conf upgrade head
    exit 0
fi

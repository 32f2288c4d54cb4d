# Sourced by kolla_start: migrations run in a container of their own, which then ends.

if [[ -v KOLLA_BOOTSTRAP ]]; then
    senlin-manage --config-file /etc/senlin/senlin.conf db_sync
    exit 0
fi

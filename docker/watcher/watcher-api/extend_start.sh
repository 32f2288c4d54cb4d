# Sourced by kolla_start: migrations run in a container of their own, which then ends.

if [[ -v KOLLA_BOOTSTRAP ]]; then
    watcher-db-manage --config-file /etc/watcher/watcher.conf upgrade
    exit 0
fi

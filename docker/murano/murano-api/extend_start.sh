# Sourced by kolla_start: migrations run in a container of their own, which then ends.

if [[ -v KOLLA_BOOTSTRAP ]]; then
    murano-db-manage --config-file /etc/murano/murano.conf upgrade
    exit 0
fi

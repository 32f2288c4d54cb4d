# Sourced by kolla_start: migrations run in a container of their own, which then ends.

if [[ -v KOLLA_BOOTSTRAP ]]; then
    ironic-inspector-dbsync --config-file /etc/ironic-inspector/inspector.conf upgrade
    exit 0
fi

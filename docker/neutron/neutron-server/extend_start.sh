# Sourced by kolla_start: migrations, of plugins too, run in a container of their own, which
# then ends.

migrate() {
    neutron-db-manage --config-file /etc/neutron/neutron.conf \
        --config-file /etc/neutron/plugins/ml2/ml2_conf.ini "$@"
}

if [[ -v KOLLA_BOOTSTRAP ]]; then
    migrate upgrade heads
    exit 0
fi

# An upgrade without downtime names its phase and the projects it is for.
if [[ -v KOLLA_UPGRADE ]]; then
    phase=()
    [[ ! -v NEUTRON_DB_EXPAND ]] || phase=(--expand)
    [[ ! -v NEUTRON_DB_CONTRACT ]] || phase=(--contract)
    for project in ${NEUTRON_ROLLING_UPGRADE_SERVICES:-}; do
        migrate --subproject "$project" upgrade "${phase[@]:-heads}"
    done
    exit 0
fi

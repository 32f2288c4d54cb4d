# Sourced by kolla_start: migrations run in a container of their own, which then ends.

if [[ -v KOLLA_BOOTSTRAP ]]; then
    glance-manage db_sync
    glance-manage db_load_metadefs
    exit 0
fi

# Each phase of an upgrade without downtime is asked for by a variable of its own.
if [[ -v KOLLA_UPGRADE ]]; then
    for phase in expand migrate contract; do
        variable=GLANCE_DB_${phase^^}
        if [[ -v $variable ]]; then
            glance-manage db "$phase"
        fi
    done
    exit 0
fi

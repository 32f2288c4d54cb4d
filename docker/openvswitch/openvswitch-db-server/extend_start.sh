# Sourced by kolla_start: an empty database is made, and one of an older release converted.

database=/var/lib/openvswitch/conf.db
schema=/usr/share/openvswitch/vswitch.ovsschema

if [[ ! -e "$database" ]]; then
    install --directory /var/lib/openvswitch
    ovsdb-tool create "$database" "$schema"
elif [[ "$(ovsdb-tool needs-conversion "$database" "$schema")" == yes ]]; then
    ovsdb-tool convert "$database" "$schema"
fi

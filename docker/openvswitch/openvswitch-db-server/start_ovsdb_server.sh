#!/bin/bash
#
# Becomes the database server of Open vSwitch.
#
# [ADDRESS [BRIDGE INTERFACE]]
#
# It listens on a socket, and on port 6640 of ADDRESS. With BRIDGE, that bridge is
# put into the database first, with INTERFACE as a port of it.

set -o errexit

database=/var/lib/openvswitch/conf.db
socket=/run/openvswitch/db.sock
remotes=(--remote="punix:$socket")

if [[ -n "$1" ]]; then
    remotes+=(--remote="ptcp:6640:$1")
fi

if [[ -n "$2" && -n "$3" ]]; then
    printf -v command 'ovs-vsctl --no-wait --db=unix:%q -- --may-exist add-br %q -- --may-exist add-port %q %q' \
        "$socket" "$2" "$2" "$3"
    ovsdb-server "$database" --remote="punix:$socket" --run="$command"
fi

exec ovsdb-server "$database" "${remotes[@]}" \
    --verbose=console:emer --verbose=syslog:err --verbose=file:info \
    --pidfile=/run/openvswitch/ovsdb-server.pid \
    --log-file=/var/log/kolla/openvswitch/ovsdb-server.log

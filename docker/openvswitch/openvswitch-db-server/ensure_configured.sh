#!/bin/bash
#
# Sees to it that a bridge exists and has a port, and prints "changed" if it did not.
#
# BRIDGE PORT

set -o errexit

bridge=$1
port=$2
changed=

ip link show dev "$port" > /dev/null

if ! ovs-vsctl br-exists "$bridge"; then
    ovs-vsctl --no-wait add-br "$bridge"
    changed=changed
fi

if ! ovs-vsctl list-ports "$bridge" | grep --quiet --line-regexp --fixed-strings -- "$port"; then
    ovs-vsctl --no-wait add-port "$bridge" "$port"
    changed=changed
fi

echo "$changed"

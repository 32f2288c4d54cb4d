# Sourced by kolla_start: the module is the host's, and may be part of its kernel.

modprobe openvswitch || echo "The module openvswitch could not be loaded" >&2

# Sourced by kolla_start in every image of Open vSwitch and OVN, before the image's own part.

install --directory --group kolla --mode 2775 /var/log/kolla/openvswitch
install --directory /run/openvswitch

# shellcheck source=/dev/null
source kolla_openvswitch_extend_start

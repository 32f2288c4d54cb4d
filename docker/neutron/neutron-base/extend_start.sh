# Sourced by kolla_start in every neutron image, before the image's own part.

[[ -d /var/log/kolla/neutron ]] || install --directory --owner neutron --group kolla --mode 2775 /var/log/kolla/neutron

# For kernels that know no nftables.
if [[ "${KOLLA_LEGACY_IPTABLES:-false}" == true && -x /usr/sbin/iptables-legacy ]]; then
    sudo update-alternatives --set iptables /usr/sbin/iptables-legacy
    sudo update-alternatives --set ip6tables /usr/sbin/ip6tables-legacy
fi

# shellcheck source=/dev/null
source kolla_neutron_extend_start

# Sourced by kolla_start.

install --directory --group kolla --mode 2775 /var/log/kolla/libvirt

# The device is the host's, with the number of the host's group.
if [[ -c /dev/kvm ]]; then
    chown root:qemu /dev/kvm
    chmod 0660 /dev/kvm
fi

# Sourced by kolla_start in every keystone image, before the image's own part.

install --directory --owner keystone --group kolla --mode 2775 /var/log/kolla/keystone

# shellcheck source=/dev/null
source kolla_keystone_extend_start

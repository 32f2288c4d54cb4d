# Sourced by kolla_start in every nova image, before the image's own part.

mkdir --parents --mode 2775 /var/log/kolla/nova

# shellcheck source=/dev/null
source kolla_nova_extend_start

# Sourced by kolla_start in every nova image, before the image's own part.

[[ -d /var/log/kolla/nova ]] || mkdir --mode 2775 /var/log/kolla/nova

# shellcheck source=/dev/null
source kolla_nova_extend_start

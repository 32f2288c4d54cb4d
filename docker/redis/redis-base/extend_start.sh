# Sourced by kolla_start in every redis image.

[[ -d /var/log/kolla/redis ]] || mkdir --mode 2775 /var/log/kolla/redis

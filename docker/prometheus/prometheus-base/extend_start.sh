# Sourced by kolla_start in every prometheus image.

[[ -d /var/log/kolla/prometheus ]] || mkdir --mode 2775 /var/log/kolla/prometheus

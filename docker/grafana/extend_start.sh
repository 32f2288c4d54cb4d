# Sourced by kolla_start.

[[ -d /var/log/kolla/grafana ]] || mkdir --mode 2775 /var/log/kolla/grafana

# Sourced by kolla_start.

[[ -d /var/log/kolla/collectd ]] || mkdir --mode 2775 /var/log/kolla/collectd

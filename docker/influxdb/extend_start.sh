# Sourced by kolla_start.

[[ -d /var/log/kolla/influxdb ]] || mkdir --mode 2775 /var/log/kolla/influxdb

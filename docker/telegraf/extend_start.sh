# Sourced by kolla_start.

[[ -d /var/log/kolla/telegraf ]] || mkdir --mode 2775 /var/log/kolla/telegraf

# Sourced by kolla_start.

[[ -d /var/log/kolla/ptp ]] || mkdir --mode 2775 /var/log/kolla/ptp

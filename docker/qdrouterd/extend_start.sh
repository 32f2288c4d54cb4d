# Sourced by kolla_start.

[[ -d /var/log/kolla/qdrouterd ]] || mkdir --mode 2775 /var/log/kolla/qdrouterd

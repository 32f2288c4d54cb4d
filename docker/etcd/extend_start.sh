# Sourced by kolla_start.

[[ -d /var/log/kolla/etcd ]] || mkdir --mode 2775 /var/log/kolla/etcd

# Sourced by kolla_start.

[[ -d /var/log/kolla/zookeeper ]] || mkdir --mode 2775 /var/log/kolla/zookeeper

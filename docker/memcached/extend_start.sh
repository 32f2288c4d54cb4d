# Sourced by kolla_start.

[[ -d /var/log/kolla/memcached ]] || mkdir --mode 2775 /var/log/kolla/memcached

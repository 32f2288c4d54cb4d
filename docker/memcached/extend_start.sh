# Sourced by kolla_start.

mkdir --parents --mode 2775 /var/log/kolla/memcached

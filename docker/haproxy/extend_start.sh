# Sourced by kolla_start.

install --directory --owner haproxy --group kolla --mode 2775 /var/log/kolla/haproxy

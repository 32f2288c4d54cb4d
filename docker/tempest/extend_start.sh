# Sourced by kolla_start.

[[ -d /var/log/kolla/tempest ]] || mkdir --mode 2775 /var/log/kolla/tempest

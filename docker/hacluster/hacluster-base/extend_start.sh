# Sourced by kolla_start in every hacluster image.

[[ -d /var/log/kolla/hacluster ]] || mkdir --mode 2775 /var/log/kolla/hacluster

# Sourced by kolla_start: a container that was killed leaves its pid files.

rm -f /run/keepalived.pid /run/keepalived/*.pid /run/vrrp.pid /run/checkers.pid
modprobe ip_vs 2> /dev/null || true

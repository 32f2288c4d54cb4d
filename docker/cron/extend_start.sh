# Sourced by kolla_start: a container that was killed leaves its pid file.

rm -f /run/crond.pid

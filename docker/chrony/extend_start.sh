# Sourced by kolla_start: a container that was killed leaves its pid file.

install --directory --owner chrony --group kolla --mode 2775 /var/log/kolla/chrony
install --directory --owner chrony --group chrony --mode 0750 /run/chrony
rm -f /run/chrony/chronyd.pid /run/chronyd.pid

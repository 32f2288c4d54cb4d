# Sourced by kolla_start: a container that was killed leaves cron's pid file.

install --directory --owner elasticsearch --group kolla --mode 2775 /var/log/kolla/elasticsearch
rm -f /run/crond.pid

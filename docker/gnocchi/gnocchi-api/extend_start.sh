# Sourced by kolla_start: migrations run in a container of their own, which then ends.

if [[ -v KOLLA_BOOTSTRAP ]]; then
    runuser --user gnocchi -- gnocchi-upgrade --log-file /var/log/kolla/gnocchi/gnocchi-upgrade.log
    exit 0
fi

# shellcheck source=/dev/null
source kolla_httpd_setup

# Sourced by kolla_start.

# shellcheck source=/dev/null
source kolla_httpd_setup

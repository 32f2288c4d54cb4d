# Sourced by kolla_start.

# The static files depend on the settings that were just put in place.
if [[ "${FORCE_GENERATE:-no}" == yes ]]; then
    if [[ "$KOLLA_INSTALL_TYPE" == source ]]; then
        manage=(python3 -m django)
        export DJANGO_SETTINGS_MODULE=openstack_dashboard.settings
    else
        manage=(python3 /usr/share/openstack-dashboard/manage.py)
    fi
    "${manage[@]}" collectstatic --noinput --clear
    "${manage[@]}" compress --force
fi

install --directory --group kolla --mode 2775 /var/log/kolla/horizon

# shellcheck source=/dev/null
source kolla_httpd_setup

# Sourced by the start of images that serve through Apache: a killed server may
# have left its pid file and sockets, and Debian's reads its environment from a file.

if [[ "$KOLLA_BASE_DISTRO" == @(centos|rhel) ]]; then
    install --directory --mode 0710 --group apache /run/httpd
    rm -rf /run/httpd/* /tmp/httpd*
else
    # shellcheck source=/dev/null
    source /etc/apache2/envvars
    install --directory "$APACHE_RUN_DIR" "$APACHE_LOCK_DIR" "$APACHE_LOG_DIR"
    rm -rf "${APACHE_RUN_DIR:?}"/*
fi

# Sourced by kolla_start: the first start of all makes the first keys.

if [[ -v KOLLA_BOOTSTRAP ]]; then
    keystone-manage fernet_setup --keystone-user keystone --keystone-group keystone
    exit 0
fi

chown keystone:keystone /etc/keystone/fernet-keys 2> /dev/null || true

# Sourced by kolla_start.

# All nodes of a cluster know one secret, the Erlang cookie.
if [[ -v RABBITMQ_CLUSTER_COOKIE ]]; then
    (
        umask 0077
        rm -f /var/lib/rabbitmq/.erlang.cookie
        printf '%s' "$RABBITMQ_CLUSTER_COOKIE" > /var/lib/rabbitmq/.erlang.cookie
        chmod 0400 /var/lib/rabbitmq/.erlang.cookie
    )
fi

# Nothing else is to be prepared: the volume is all that a first start needs.
if [[ -v KOLLA_BOOTSTRAP ]]; then
    exit 0
fi

[[ -d /var/log/kolla/rabbitmq ]] || mkdir --mode 2775 /var/log/kolla/rabbitmq

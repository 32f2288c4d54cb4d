# Sourced by kolla_start.

[[ -d /var/log/kolla/mariadb ]] || mkdir --mode 2775 /var/log/kolla/mariadb

# Makes the system tables and gives root a password, with a server that listens
# on a socket of its own only and ends afterwards.
bootstrap_database() {
    # On Red Hat's distributions the server is not among the commands.
    local PATH=$PATH:/usr/libexec
    local socket=/run/mysqld/bootstrap.sock
    local deadline=$((SECONDS + ${DB_MAX_TIMEOUT:-60}))
    local password=${DB_ROOT_PASSWORD:?"is needed to bootstrap the database"}
    password=${password//\\/\\\\}
    password=${password//\'/\'\'}

    mariadb-install-db --datadir=/var/lib/mysql --auth-root-authentication-method=normal --skip-test-db
    mariadbd --datadir=/var/lib/mysql --socket="$socket" --skip-networking --wsrep-on=OFF &
    local server=$!

    until mariadb-admin --socket="$socket" --user=root ping > /dev/null 2>&1; do
        if (( SECONDS >= deadline )) || ! kill -0 "$server" 2> /dev/null; then
            echo "The database server did not answer while it was bootstrapped" >&2
            exit 1
        fi
        sleep 1
    done

    mariadb --socket="$socket" --user=root <<SQL
ALTER USER 'root'@'localhost' IDENTIFIED BY '$password';
CREATE USER 'root'@'%' IDENTIFIED BY '$password';
GRANT ALL PRIVILEGES ON *.* TO 'root'@'%' WITH GRANT OPTION;
SQL
    kill "$server"
    wait "$server"
}

if [[ -v KOLLA_BOOTSTRAP ]]; then
    bootstrap_database
    exit 0
fi

# The first node of a new cluster is told so by its arguments.
if [[ -v BOOTSTRAP_ARGS ]]; then
    # shellcheck disable=SC2034
    ARGS="$BOOTSTRAP_ARGS"
fi

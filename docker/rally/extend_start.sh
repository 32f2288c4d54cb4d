# Sourced by kolla_start.

[[ -d /var/log/kolla/rally ]] || mkdir --mode 2775 /var/log/kolla/rally

if [[ -v KOLLA_BOOTSTRAP ]]; then
    rally db ensure
    exit 0
fi

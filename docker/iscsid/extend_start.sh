# Sourced by kolla_start: every host has an initiator name of its own.

if [[ ! -s /etc/iscsi/initiatorname.iscsi ]]; then
    echo "InitiatorName=$(iscsi-iname)" > /etc/iscsi/initiatorname.iscsi
fi

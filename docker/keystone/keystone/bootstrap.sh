#!/bin/bash
#
# Creates the first administrator and the endpoints of keystone itself, and says
# as JSON on one line whether that failed and whether anything changed.
#
# USERNAME PASSWORD PROJECT ROLE ADMIN_URL INTERNAL_URL PUBLIC_URL REGION

if (( $# != 8 )); then
    echo '{"failed": true, "changed": false, "msg": "eight arguments are needed"}'
    exit 1
fi

output=$(runuser --user keystone -- keystone-manage bootstrap \
    --bootstrap-username "$1" \
    --bootstrap-password "$2" \
    --bootstrap-project-name "$3" \
    --bootstrap-role-name "$4" \
    --bootstrap-admin-url "$5" \
    --bootstrap-internal-url "$6" \
    --bootstrap-public-url "$7" \
    --bootstrap-region-id "$8" 2>&1)
status=$?

if (( status != 0 )); then
    echo "$output" >&2
    echo '{"failed": true, "changed": true}'
    exit 1
fi

if [[ "$output" == *Created* ]]; then
    echo '{"failed": false, "changed": true}'
else
    echo '{"failed": false, "changed": false}'
fi

#!/bin/bash
#
# What every container of this tree runs first: it puts the configuration in
# place, lets the image prepare itself, then becomes the service.
#
# An image adds its part as kolla_extend_start, which is sourced here. It may
# set ARGS to add arguments to the command, or exit to run no service at all.

set -o errexit

sudo -E kolla_set_configs
CMD=$(</run_command)
ARGS=""

if [[ ! -v KOLLA_SKIP_EXTEND_START ]]; then
    # shellcheck source=/dev/null
    source kolla_extend_start
fi

# The command is split at blanks, and nothing else is made of it.
set -o noglob
# shellcheck disable=SC2206
command=($CMD $ARGS)
echo "Running command: '${command[*]}'"
exec "${command[@]}"

#!/bin/bash
#
# Becomes the server of OVN's northbound database, which it makes or converts before.
# The arguments are options of ovn-ctl.

ovn_ctl=/usr/share/ovn/scripts/ovn-ctl
exec "$ovn_ctl" --no-monitor "$@" run_nb_ovsdb

# Sourced by kolla_start: certmonger is asked over the message bus of its container.

install --directory /run/dbus
rm -f /run/dbus/pid
dbus-daemon --system --fork

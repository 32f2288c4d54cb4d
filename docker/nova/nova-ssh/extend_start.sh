# Sourced by kolla_start: every container has host keys of its own.

ssh-keygen -A
install --directory --mode 0755 /run/sshd
install --directory --owner nova --group nova --mode 0700 /var/lib/nova/.ssh
# This file would keep everybody but root out.
rm -f /run/nologin

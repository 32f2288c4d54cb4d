# Sourced by kolla_start: every container has host keys of its own.

ssh-keygen -A
install --directory --mode 0755 /run/sshd

# Sourced by kolla_start: Ansible logs to a file that is to be there.

[[ -f /var/log/kolla/ansible.log ]] || touch /var/log/kolla/ansible.log

# Sourced by kolla_start: the first start of all puts the boot loaders of the distribution
# where they are served from.

if [[ -v KOLLA_BOOTSTRAP ]]; then
    install --directory --owner ironic --group ironic /tftpboot
    # Each distribution has its own places and names, and some of these files are nowhere on arm.
    for file in \
        /usr/lib/PXELINUX/pxelinux.0 \
        /usr/lib/syslinux/modules/bios/{chain,ldlinux}.c32 \
        /usr/{lib,share}/ipxe/{undionly.kpxe,*.efi}
    do
        if [[ -e "$file" ]]; then
            install --owner ironic --group ironic --mode 0644 "$file" /tftpboot
        fi
    done
    if [[ "$KOLLA_BASE_ARCH" == aarch64 ]]; then
        mkimage=$(command -v grub2-mkimage grub-mkimage | head --lines 1)
        "$mkimage" --output /tftpboot/grubaa64.efi --format arm64-efi --prefix grub \
            boot chain configfile efinet ext2 fat gettext help hfsplus linux loadenv lsefi normal part_gpt part_msdos \
            read search search_fs_file search_fs_uuid search_label terminal terminfo tftp
    fi
    exit 0
fi

# shellcheck source=/dev/null
source kolla_httpd_setup

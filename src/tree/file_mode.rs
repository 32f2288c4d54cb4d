//! Permissions of files and folders that an engine gets.

/// Permissions of a file that is not executable.
pub const FILE_MODE: u32 = 0o644;

/// Returns the permissions that an engine gets for a file or folder with these permissions on disk.
///
/// The bits that depend on how the tree was checked out are left out: writing by group and others,
/// which the umask decides, and executable bits beside the owner's, as in git. A permission to read
/// that the file withholds from its group or from others is never added. The bits that no umask
/// sets are kept: those for changing the user or group, and a folder's sticky bit.
pub(super) fn sent_mode(mode: u32, is_folder: bool) -> u32 {
    const STICKY: u32 = 0o1000;
    const SET_ID: u32 = 0o6000;
    if is_folder && mode & STICKY != 0 {
        return mode & 0o1777 | 0o700;
    }
    let is_executable = is_folder || mode & 0o100 != 0;
    let each = if is_executable { 0o5 } else { 0o4 };
    let readers = [(0o040, each << 3), (0o004, each)];
    let of_readers = readers.iter().filter(|(read, _)| mode & read != 0).map(|(_, bits)| bits);
    let of_owner = if is_executable { 0o700 } else { 0o600 };
    let special = if is_folder { 0 } else { mode & SET_ID };
    special | of_owner | of_readers.sum::<u32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_independent_of_the_umask_and_never_widened() {
        let table = [
            (false, [0o644, 0o664, 0o666].as_slice(), 0o644),
            (false, &[0o755, 0o775, 0o777], 0o755),
            (false, &[0o600, 0o400, 0o620], 0o600),
            (false, &[0o640, 0o660], 0o640),
            (false, &[0o700], 0o700),
            (false, &[0o750, 0o770], 0o750),
            (false, &[0o4755, 0o4775], 0o4755),
            (true, &[0o755, 0o775, 0o777, 0o2755], 0o755),
            (true, &[0o700], 0o700),
            (true, &[0o750, 0o770], 0o750),
            (true, &[0o1777], 0o1777),
        ];
        for (is_folder, modes, expected) in table {
            for mode in modes {
                assert_eq!(sent_mode(*mode, is_folder), expected, "{mode:o}");
            }
        }
    }
}

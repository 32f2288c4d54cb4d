//! Packs folders and bundles archives, with the same bytes for the same contents.
//!
//! A bundle is written straight from the archives it is made of: nothing is unpacked on this
//! machine. What an archive names is still checked, since the bundle is unpacked in the image.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek as _, Write};
use std::path::{Component, Path};

use flate2::read::MultiGzDecoder;

use super::{FetchError, Source};

/// Packs the files below `folder` into a tar archive, under a folder called `top`.
pub(super) fn pack_folder(folder: &Path, top: &str, target: &Path) -> io::Result<()> {
    let mut archive = tar::Builder::new(File::create(target)?);
    archive.follow_symlinks(false);
    append_folder(&mut archive, folder, Path::new(top))?;
    archive.into_inner()?.flush()
}

fn append_folder(archive: &mut tar::Builder<File>, folder: &Path, name: &Path) -> io::Result<()> {
    let mut header = tidy_header(tar::EntryType::Directory, 0o755);
    archive.append_data(&mut header, name.join(""), io::empty())?;
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), name.join(entry.file_name()));
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            append_folder(archive, &path, &name)?;
        } else if metadata.is_symlink() {
            let mut header = tidy_header(tar::EntryType::Symlink, 0o777);
            archive.append_link(&mut header, name, fs::read_link(&path)?)?;
        } else if metadata.is_file() {
            let mut header = tidy_header(tar::EntryType::Regular, mode(&metadata));
            header.set_size(metadata.len());
            archive.append_data(&mut header, name, File::open(&path)?)?;
        }
    }
    Ok(())
}

fn mode(metadata: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    if metadata.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 }
}

fn tidy_header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Writes one tar archive with the entries of all `archives` below a folder called `top`.
pub(super) fn bundle(
    top: &str,
    archives: &[(Source, std::path::PathBuf)],
    target: &Path,
) -> Result<(), FetchError> {
    let here = |error: io::Error| FetchError {
        name: top.to_owned(),
        location: target.display().to_string(),
        reason: error.to_string(),
        transient: false,
    };
    let mut out = tar::Builder::new(File::create(target).map_err(here)?);
    let mut header = tidy_header(tar::EntryType::Directory, 0o755);
    out.append_data(&mut header, Path::new(top).join(""), io::empty()).map_err(here)?;
    for (source, path) in archives {
        copy_entries(&mut out, top, path).map_err(|error| FetchError {
            name: source.name.clone(),
            location: source.location.clone(),
            reason: format!("its archive can't be used: {error}"),
            transient: false,
        })?;
    }
    out.into_inner().and_then(|mut file| file.flush()).map_err(here)
}

fn copy_entries(out: &mut tar::Builder<File>, top: &str, path: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(open(path)?);
    for entry in archive.entries()? {
        let entry = entry?;
        let name = entry.path()?.into_owned();
        let target = Path::new(top).join(tidy_path(&name)?);
        let kind = entry.header().entry_type();
        let executable = entry.header().mode()? & 0o100 != 0;
        let mode = if executable { 0o755 } else { 0o644 };
        match kind {
            tar::EntryType::Directory => {
                let mut header = tidy_header(kind, 0o755);
                out.append_data(&mut header, target.join(""), io::empty())?;
            }
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let mut header = tidy_header(tar::EntryType::Regular, mode);
                header.set_size(entry.size());
                out.append_data(&mut header, target, entry)?;
            }
            tar::EntryType::Symlink => {
                let link = entry.link_name()?.unwrap_or_default().into_owned();
                refuse_leaving(&name, &link)?;
                out.append_link(&mut tidy_header(kind, 0o777), target, link)?;
            }
            tar::EntryType::XGlobalHeader => {}
            _ => return Err(refused(&name, "is neither file, folder nor symbolic link")),
        }
    }
    Ok(())
}

/// A tar archive, compressed by gzip or not at all.
fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    let mut file = File::open(path)?;
    let mut start = [0; 2];
    let read = file.read(&mut start)?;
    file.rewind()?;
    let file = BufReader::new(file);
    if start[..read] == GZIP { Ok(Box::new(MultiGzDecoder::new(file))) } else { Ok(Box::new(file)) }
}

fn refused(name: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("'{}' {what}", name.display()))
}

/// The path without leading `./`; one that is absolute or leads upwards is refused.
fn tidy_path(name: &Path) -> io::Result<std::path::PathBuf> {
    name.components()
        .filter(|part| *part != Component::CurDir)
        .map(|part| match part {
            Component::Normal(part) => Ok(part),
            _ => Err(refused(name, "leads out of the archive")),
        })
        .collect()
}

/// A symbolic link may lead anywhere below the archive's root.
fn refuse_leaving(name: &Path, link: &Path) -> io::Result<()> {
    let mut depth = name.components().count().saturating_sub(1);
    for part in link.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return Err(refused(name, "is a link that leads out of the archive")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Digest, Kind};
    use super::*;
    use std::path::PathBuf;

    fn source() -> Source {
        Source {
            name: "app-plugin-x".to_owned(),
            kind: Kind::Local,
            location: "there".to_owned(),
            reference: None,
            digest: Digest::Unknown,
        }
    }

    /// An archive with one entry of each `(kind, name, link or content)`; names are not checked.
    fn archive(entries: &[(tar::EntryType, &str, &str)], path: &Path) {
        let mut bytes = Vec::new();
        for (kind, name, text) in entries {
            let is_link = *kind == tar::EntryType::Symlink || *kind == tar::EntryType::Link;
            let content = if is_link { "" } else { text };
            let mut header = tidy_header(*kind, 0o755);
            header.set_size(content.len() as u64);
            let raw = header.as_old_mut();
            raw.name[..name.len()].copy_from_slice(name.as_bytes());
            if is_link {
                raw.linkname[..text.len()].copy_from_slice(text.as_bytes());
            }
            header.set_cksum();
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(content.as_bytes());
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.resize(bytes.len() + 1024, 0);
        fs::write(path, bytes).unwrap();
    }

    fn bundled(entries: &[(tar::EntryType, &str, &str)]) -> Result<Vec<String>, FetchError> {
        let folder = tempfile::tempdir().unwrap();
        let (one, out) = (folder.path().join("one"), folder.path().join("out"));
        archive(entries, &one);
        bundle("plugins", &[(source(), one)], &out)?;
        let mut archive = tar::Archive::new(File::open(out).unwrap());
        let names =
            archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string());
        Ok(names.collect())
    }

    #[test]
    fn entries_are_put_below_the_top() {
        use tar::EntryType as E;
        let found = bundled(&[
            (E::Directory, "./x-1/", ""),
            (E::Regular, "./x-1/setup.py", "text"),
            (E::Symlink, "x-1/link", "setup.py"),
            (E::Symlink, "x-1/up", "../x-1/setup.py"),
        ]);
        assert_eq!(
            found.unwrap(),
            [
                "plugins/",
                "plugins/x-1/",
                "plugins/x-1/setup.py",
                "plugins/x-1/link",
                "plugins/x-1/up"
            ]
        );
        assert_eq!(bundled(&[]).unwrap(), ["plugins/"]);
    }

    #[test]
    fn what_leads_out_is_refused_by_name() {
        use tar::EntryType as E;
        for (kind, name, text) in [
            (E::Regular, "../evil", "x"),
            (E::Regular, "a/../../evil", "x"),
            (E::Regular, "/etc/evil", "x"),
            (E::Symlink, "evil", "/etc/passwd"),
            (E::Symlink, "a/evil", "../../etc"),
            (E::Link, "evil", "other"),
            (E::Char, "evil", ""),
        ] {
            let error = bundled(&[(kind, name, text)]).unwrap_err();
            assert!(error.reason.contains("evil"), "{name}: {error}");
            assert!(error.to_string().starts_with("the source [app-plugin-x] there: "), "{error}");
        }
    }

    #[test]
    fn a_broken_archive_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let one: PathBuf = folder.path().join("one");
        fs::write(&one, [0x1f, 0x8b, 1, 2, 3]).unwrap();
        let error = bundle("plugins", &[(source(), one)], &folder.path().join("out")).unwrap_err();
        assert!(error.reason.starts_with("its archive can't be used"), "{error}");
    }
}

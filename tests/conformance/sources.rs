//! Sources of every kind lie in the context of an image as kolla-build lays them out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use jiff::Zoned;
use kiln::internals::image::{ImageName, SourceName};
use kiln::internals::settings::{Layers, Profiles, settle};
use kiln::internals::source::{self, Kind, Pace, Source};
use kiln::internals::tree::Tree;

use crate::oracle::Release;

/// Entries of archives by image and archive, each with its name, type and size in bytes.
type Listings = BTreeMap<String, BTreeMap<String, Vec<(String, String, u64)>>>;

/// Releases whose contexts are compared; earlier ones have no class for an engine to replace.
const RELEASES: [&str; 3] = ["18.8.0", "20.6.0", "23.0.0"];

/// Releases whose archives of local folders are compared.
const ALL_RELEASES: [&str; 5] = ["9.4.0", "16.6.0", "18.8.0", "20.6.0", "23.0.0"];

/// Images of the release that have a source and no plugins or additions.
const IMAGES: [&str; 7] = [
    "aodh-base",
    "barbican-base",
    "cinder-base",
    "designate-base",
    "glance-base",
    "heat-base",
    "keystone-base",
];

fn run(program: &mut Command) -> String {
    let output = program.output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

fn git(at: &Path, arguments: &[&str]) -> String {
    let who = ["-c", "user.name=x", "-c", "user.email=x@example.com"];
    run(Command::new("git").arg("-C").arg(at).args(who).args(arguments)).trim().to_owned()
}

/// A bare repository with a branch, a tag, and a commit that is neither's last; gives that commit.
fn make_repository(at: &Path) -> String {
    let work = at.join("work");
    fs::create_dir_all(&work).unwrap();
    git(&work, &["init", "--quiet", "--initial-branch", "main"]);
    let commit = |name: &str| {
        fs::create_dir_all(work.join("package")).unwrap();
        fs::write(work.join("package").join(name), name).unwrap();
        git(&work, &["add", "."]);
        git(&work, &["commit", "--quiet", "-m", name]);
        git(&work, &["rev-parse", "HEAD"])
    };
    let first = commit("one");
    commit("second");
    git(&work, &["tag", "v1"]);
    git(&work, &["branch", "stable/x"]);
    commit("the-third");
    run(Command::new("git").args(["clone", "--quiet", "--bare"]).args([&work, &at.join("bare")]));
    first
}

/// A folder with files, and the same packed.
fn make_folder_and_archive(at: &Path) {
    let folder = at.join("thing-1.0");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(folder.join("setup.cfg"), "[metadata]\n").unwrap();
    fs::write(folder.join("sub/module.py"), "x = 1\n").unwrap();
    let packed = at.join("thing-1.0.tar.gz");
    run(Command::new("tar").arg("-czf").arg(packed).arg("-C").arg(at).arg("thing-1.0"));
}

/// Serves one file on loopback to whoever asks; gives its URL.
fn serve(file: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/thing-1.0.tar.gz", listener.local_addr().unwrap());
    let body = fs::read(file).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let _request: Vec<_> =
                lines.map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            )
            .unwrap();
            stream.write_all(&body).unwrap();
        }
    });
    url
}

/// Returns the archives that kolla-build makes with a configuration.
fn theirs(release: &Release, config: &Path) -> Listings {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/sources.py");
    let mut python = Command::new(release.prefix.join("bin/python"));
    let images = IMAGES.join(",");
    python.env("NO_PROXY", "127.0.0.1").args([
        script,
        &images,
        "--base",
        "debian",
        "--config-file",
    ]);
    serde_json::from_str(&run(python.arg(config))).expect("JSON")
}

/// Returns the archives that Kiln makes with it.
fn ours(release: &Release, config: &Path) -> Listings {
    let flags = BTreeMap::from([("base", vec!["debian".to_owned()])]);
    let layers = Layers::gather(flags, &[config.to_owned()], &BTreeMap::new()).unwrap();
    let tree = Tree::open(&release.prefix, None).unwrap();
    let profiles = Profiles::new(tree.profiles().unwrap(), &layers);
    let settings = settle(&layers, tree.manifest(), &profiles, &Zoned::default()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let of_image = |name: &str| {
        let image = ImageName::new(name);
        let sources = source::of_image(&image, &settings.axes[0].sources);
        let folder = tempfile::tempdir().unwrap();
        let pace = Pace { silence: settings.run.engine.timeout };
        let fetched = source::fetch(&image, &sources, folder.path(), pace);
        let files = runtime.block_on(fetched).unwrap().files;
        files.into_iter().map(|fetched| (fetched.path, listing(&fetched.file))).collect()
    };
    IMAGES.iter().map(|name| ((*name).to_owned(), of_image(name))).collect()
}

fn listing(archive: &Path) -> Vec<(String, String, u64)> {
    let bytes = File::open(archive).unwrap();
    let mut start = [0; 2];
    File::open(archive).unwrap().read_exact(&mut start).unwrap();
    let reader: Box<dyn std::io::Read> = match start {
        [0x1f, 0x8b] => Box::new(flate2::read::GzDecoder::new(bytes)),
        _ => Box::new(bytes),
    };
    let mut archive = tar::Archive::new(reader);
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let kind = if entry.header().entry_type().is_dir() { "d" } else { "f" };
        (name.trim_end_matches('/').to_owned(), kind.to_owned(), entry.size())
    });
    let mut entries: Vec<_> = entries.collect();
    entries.sort();
    entries
}

/// Without what git keeps of a clone, which no two clones have alike.
fn without_git(mut listings: Listings) -> Listings {
    let is_of_git = |name: &str| name.contains("/.git/");
    let archives = listings.values_mut().flat_map(BTreeMap::values_mut);
    archives.for_each(|entries| entries.retain(|(name, ..)| !is_of_git(name)));
    listings
}

#[test]
fn sources_lie_as_kolla_build_lays_them_out() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let commit = make_repository(at);
    make_folder_and_archive(at);
    let url = serve(&at.join("thing-1.0.tar.gz"));
    let (bare, thing) =
        (at.join("bare").display().to_string(), at.join("thing-1.0").display().to_string());
    let section = |name: &str, kind: &str, location: &str, reference: &str| {
        let reference = match reference {
            "" => String::new(),
            given => format!("reference = {given}\n"),
        };
        format!("[{name}]\ntype = {kind}\nlocation = {location}\n{reference}\n")
    };
    let [branch, tag, at_commit, archive_by_url, folder_here, archive_here, with_parts] = IMAGES;
    let text = [
        format!("[DEFAULT]\nlocals_base = {}\n", at.display()),
        section(branch, "git", &bare, "stable/x"),
        section(tag, "git", &bare, "v1"),
        section(at_commit, "git", &bare, &commit),
        section(archive_by_url, "url", &url, ""),
        section(folder_here, "local", &thing, ""),
        section(archive_here, "local", &format!("{thing}.tar.gz"), ""),
        section(with_parts, "local", &thing, ""),
        section(&format!("{with_parts}-plugin-a"), "git", &bare, "v1"),
        section(&format!("{with_parts}-plugin-b"), "url", &url, ""),
        section(&format!("{with_parts}-additions-c"), "local", &thing, ""),
        section(&format!("{with_parts}-plugin-e"), "local", "$locals_base/thing-1.0/", ""),
        section(&format!("{with_parts}-additions-f"), "local", &format!("{thing}/sub/."), ""),
        section(&format!("{with_parts}-additions-d"), "local", "/nowhere", "")
            + "enabled = false\n",
    ];
    let config = at.join("build.conf");
    fs::write(&config, text.concat()).unwrap();
    for release in RELEASES.map(Release::install) {
        let (theirs, ours) =
            (without_git(theirs(&release, &config)), without_git(ours(&release, &config)));
        for image in IMAGES {
            assert_eq!(ours[image], theirs[image], "{image} of {}", release.prefix.display());
        }
    }
}

/// Returns the entries without the marks of the current folder, which mean nothing when an archive
/// is unpacked.
fn plain(entries: Vec<(String, String, u64)>) -> Vec<(String, String, u64)> {
    let names = entries.into_iter().map(|(name, kind, size)| {
        (name.strip_prefix("./").unwrap_or(&name).to_owned(), kind, size)
    });
    let mut plain: Vec<_> =
        names.filter(|(name, ..)| !["", "."].contains(&name.as_str())).collect();
    plain.sort();
    plain
}

#[test]
fn local_folders_are_packed_as_kolla_build_packs_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    make_folder_and_archive(folder.path());
    std::os::unix::fs::symlink("thing-1.0", folder.path().join("link")).unwrap();
    std::os::unix::fs::symlink("setup.cfg", folder.path().join("thing-1.0/within")).unwrap();
    fs::create_dir(folder.path().join("thing-1.0/empty")).unwrap();
    let locations = [
        format!("{at}/thing-1.0"),
        format!("{at}/thing-1.0/"),
        format!("{at}/thing-1.0//"),
        format!("{at}//thing-1.0"),
        format!("{at}/thing-1.0/."),
        format!("{at}/thing-1.0/./"),
        format!("{at}/./thing-1.0"),
        format!("{at}/thing-1.0/sub/../"),
        format!("{at}/link/"),
        format!("{at}/link/."),
        format!("{at}/thing-1.0/empty/"),
        format!("{at}/thing-1.0.tar.gz"),
    ];
    for release in ALL_RELEASES.map(Release::install) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/local_sources.py");
        let mut python = Command::new(release.prefix.join("bin/python"));
        let theirs: BTreeMap<String, Vec<(String, String, u64)>> =
            serde_json::from_str(&run(python.arg(script).args(&locations))).expect("JSON");
        for location in &locations {
            let ours = plain(packed(location));
            assert_eq!(ours, plain(theirs[location].clone()), "{location}");
        }
    }
}

/// Returns the entries of the archive that Kiln makes of a local source.
fn packed(location: &str) -> Vec<(String, String, u64)> {
    let image = ImageName::new("x");
    let own = Source {
        name: SourceName::new("x").unwrap(),
        kind: Kind::Local,
        location: location.to_owned(),
        reference: None,
        digest: source::Digest::Unknown,
    };
    let sources = source::of_image(&image, &[own]);
    let folder = tempfile::tempdir().unwrap();
    let pace = Pace { silence: std::time::Duration::from_secs(60) };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fetched = runtime.block_on(source::fetch(&image, &sources, folder.path(), pace)).unwrap();
    listing(&fetched.files[0].file)
}

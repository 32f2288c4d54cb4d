//! The template tree of the project: as text on every base, and on Debian as running images.

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{
    Cleanup, Run, docker, files_below, free_ports, kiln, pull_all_by_digest, registry,
    require_engine,
};

const AXES: [(&str, &str); 10] = [
    ("centos", "binary"),
    ("centos", "source"),
    ("ubuntu", "binary"),
    ("ubuntu", "source"),
    ("debian", "binary"),
    ("debian", "source"),
    ("rhel", "binary"),
    ("rhel", "source"),
    ("rhel", "rdo"),
    ("rhel", "rhos"),
];

/// Images that stand for the others of their kind in the snapshots.
const SAMPLES: &[&str] = &[
    "base",
    "cinder/cinder-volume",
    "glance/glance-api",
    "heat/heat-base",
    "heat/heat-engine",
    "horizon",
    "keystone/keystone",
    "keystone/keystone-base",
    "mariadb",
    "memcached",
    "neutron/neutron-base",
    "neutron/neutron-server",
    "nova/nova-compute",
    "openstack-base",
    "openvswitch/openvswitch-vswitchd",
    "redis/redis",
];

/// `kiln build` on the project's tree for a base and an install type.
fn build(base: &str, install_type: &str, arguments: &[&str]) -> Command {
    let mut command = kiln();
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args(["build", "-b", base, "-t", install_type, "--nopull"]).args(arguments);
    command
}

/// The Dockerfile of every image for an axis, by the image's folder.
fn dockerfiles(base: &str, install_type: &str) -> Vec<(String, String)> {
    let out = tempfile::tempdir().unwrap();
    let work_dir = out.path().to_str().unwrap();
    let arguments =
        ["--tag", "TAG", "--base-arch", "x86_64", "--template-only", "--work-dir", work_dir];
    Run::of(build(base, install_type, &arguments)).expect(0);
    files_below(&out.path().join("docker"))
        .into_iter()
        .filter_map(|(path, text)| Some((path.strip_suffix("/Dockerfile")?.to_owned(), text)))
        .collect()
}

#[test]
fn dockerfiles_of_every_axis() {
    for (base, install_type) in AXES {
        let all: String = dockerfiles(base, install_type)
            .into_iter()
            .filter(|(folder, _)| SAMPLES.contains(&folder.as_str()))
            .map(|(folder, text)| format!("=== {folder}\n{}\n\n", text.trim_end()))
            .collect();
        insta::assert_snapshot!(format!("{base}-{install_type}"), all);
    }
}

#[test]
fn dockerfiles_are_tidy_and_their_commands_are_shell() {
    for (base, install_type) in AXES {
        let all = dockerfiles(base, install_type);
        assert!(all.len() >= 150, "{base} {install_type} has only {} images", all.len());
        for (folder, text) in all {
            let place = format!("{folder} for {base} {install_type}:\n{text}");
            assert!(text.starts_with("FROM "), "{place}");
            assert!(!text.contains("\n\n\n"), "{place}");
            assert!(!text.contains("install -y --no-install-recommends \\\n    &&"), "{place}");
            assert!(!text.lines().any(|line| line.ends_with([' ', '\t'])), "{place}");
            let joined = text.replace("\\\n", " ");
            for command in joined.lines().filter_map(|line| line.strip_prefix("RUN ")) {
                let checked = Command::new("sh").args(["-n", "-c", command]).output().unwrap();
                assert!(checked.status.success(), "{command}\nin {place}");
            }
        }
    }
}

/// Every axis has the whole set.
#[test]
fn the_default_profile_names_the_set() {
    for (base, install_type) in AXES {
        let run = Run::of(build(base, install_type, &["--list-images", "-p", "default"])).expect(0);
        let listed: Vec<&str> =
            run.stdout.lines().filter_map(|line| Some(line.split_once(" : ")?.1)).collect();
        for name in [
            "base",
            "openstack-base",
            "chrony",
            "cron",
            "mariadb",
            "memcached",
            "rabbitmq",
            "haproxy",
            "keepalived",
            "keystone-base",
            "keystone",
            "keystone-fernet",
            "keystone-ssh",
            "horizon",
            "nova-base",
            "nova-api",
            "nova-compute",
        ] {
            assert!(listed.contains(&name), "{name} for {base} {install_type}");
        }
    }
}

#[test]
fn every_profile_names_images_of_the_tree() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in fs::read_dir(root.join("profiles")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let run = Run::of(build("debian", "binary", &["--list-images", "-p", name])).expect(0);
        assert_eq!(run.stderr, "", "the profile {name}");
    }
}

/// A container that is removed when the test is over.
struct Container(String);

impl Container {
    /// Starts an image through its start contract with this `config.json`.
    fn start(image: &str, config: &str) -> Self {
        let [number] = free_ports();
        let name = format!("kiln-test-{number}");
        let config = format!("KOLLA_CONFIG={config}");
        let arguments = ["run", "--detach", "--name", &name, "--network", "host", "--env"];
        let settings = [&config, "--env", "KOLLA_CONFIG_STRATEGY=COPY_ALWAYS", image];
        docker(&[arguments.as_slice(), &settings].concat()).expect(0);
        Self(name)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "--force", &self.0]);
    }
}

/// The first line that a server on a loopback port answers to `question`, once it does.
fn ask(port: u16, question: &str) -> String {
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        if let Ok(mut connection) = TcpStream::connect(("127.0.0.1", port)) {
            connection.write_all(question.as_bytes()).unwrap();
            let mut line = String::new();
            BufReader::new(connection).read_line(&mut line).unwrap();
            return line;
        }
        assert!(Instant::now() < patience, "nobody listens on port {port}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Keystone's own program runs in an image.
#[track_caller]
fn keystone_runs(image: &str) {
    let run = ["run", "--rm", "--network", "none", "--entrypoint", "keystone-manage"];
    docker(&[run.as_slice(), &[image, "--version"]].concat()).expect(0);
}

/// The whole set in the packages of Debian: built, not built again, pushed, and run.
#[test]
fn built_from_the_packages_of_debian() {
    require_engine();
    let namespace = format!("kiln-test/tree-{}", std::process::id());
    let _cleanup = Cleanup(namespace.clone());
    let tagged = ["-n", namespace.as_str(), "--tag", "t"];
    let debian = |arguments: &[&str]| {
        let mut command = build("debian", "binary", &[&tagged, arguments].concat());
        command.stdin(Stdio::null());
        Run::of(command)
    };

    let first = debian(&["^keystone"]).expect(0);
    let family =
        ["base", "keystone", "keystone-base", "keystone-fernet", "keystone-ssh", "openstack-base"];
    assert_eq!(first.names("built"), family);
    let second = debian(&["--skip-existing", "^keystone"]).expect(0);
    assert_eq!(second.names("built"), Vec::<String>::new());
    assert_eq!(second.names("skipped"), family);

    let rest = [
        "^(chrony|cron|haproxy|horizon|keepalived|mariadb|memcached|rabbitmq)$",
        "^nova-(api|compute)$",
    ];
    let rest = debian(&["--skip-existing", rest[0], rest[1]]).expect(0);
    assert_eq!(rest.names("failed"), Vec::<String>::new());
    assert_eq!(rest.names("built").len() + rest.names("skipped").len(), 13);

    let image = |name: &str| format!("{namespace}/debian-binary-{name}:t");
    let [port] = free_ports();
    let command = format!(r#"{{"command": "memcached -l 127.0.0.1 -p {port}"}}"#);
    let _memcached = Container::start(&image("memcached"), &command);
    let answer = ask(port, "version\r\n");
    assert!(answer.starts_with("VERSION 1."), "{answer}");
    keystone_runs(&image("keystone"));
}

#[test]
fn built_images_can_be_pulled_from_the_registry_by_digest() {
    require_engine();
    let registry = registry();
    let namespace = format!("kiln-test/tree-push-{}", std::process::id());
    let cleanup = Cleanup(format!("{registry}/{namespace}"));
    let run = Run::of(build(
        "debian",
        "binary",
        &["-n", &namespace, "--registry", &registry, "--push", "^keystone"],
    ))
    .expect(0);
    let summary = run.summary();
    let built = summary["built"].as_array().unwrap();
    assert_eq!(built.len(), 6);
    drop(cleanup);
    pull_all_by_digest(built);
}

#[test]
fn built_from_source_releases_on_debian() {
    require_engine();
    let namespace = format!("kiln-test/tree-source-{}", std::process::id());
    let _cleanup = Cleanup(namespace.clone());
    let run = Run::of(build(
        "debian",
        "source",
        &["-n", &namespace, "--tag", "t", "^keystone$", "^memcached$"],
    ))
    .expect(0);
    assert_eq!(
        run.names("built"),
        ["base", "keystone", "keystone-base", "memcached", "openstack-base"]
    );
    let image = format!("{namespace}/debian-source-keystone:t");
    keystone_runs(&image);
}

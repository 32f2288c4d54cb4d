//! The project's template tree: as text on every base, and on Debian as running images.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::changes::changes;
use crate::support::{
    Cleanup, Run, docker, files_below, free_ports, kiln, pull_all_by_digest, registry,
    require_engine, wait_for,
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

/// Images that represent the others of their kind in the snapshots.
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

/// Returns `kiln build` on the project's tree for a base and an install type.
fn build(base: &str, install_type: &str, arguments: &[&str]) -> Command {
    let mut command = kiln();
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args(["build", "-b", base, "-t", install_type, "--nopull"]).args(arguments);
    command
}

/// Returns the Dockerfile of every image that an axis can build, or of all images, by the image's
/// folder.
fn dockerfiles(base: &str, install_type: &str, of_all: bool) -> Vec<(String, String)> {
    let which: &[&str] = if of_all { &["--enable-unbuildable"] } else { &[] };
    let run = rendered(base, install_type, which);
    assert_eq!(run.warnings, "");
    run.dockerfiles
}

/// Result of rendering images.
struct Templates {
    dockerfiles: Vec<(String, String)>,
    warnings: String,
}

/// Renders the images of an axis.
fn rendered(base: &str, install_type: &str, arguments: &[&str]) -> Templates {
    let out = tempfile::tempdir().unwrap();
    let work_dir = out.path().to_str().unwrap();
    let fixed =
        ["--tag", "TAG", "--base-arch", "x86_64", "--template-only", "--work-dir", work_dir];
    let run = Run::of(build(base, install_type, &[&fixed, arguments].concat())).expect(0);
    let warnings = run.stderr.lines().filter(|line| line.starts_with("warning: "));
    let files = files_below(&out.path().join("docker")).into_iter();
    let image =
        |(path, text): (String, String)| Some((path.strip_suffix("/Dockerfile")?.to_owned(), text));
    Templates {
        warnings: warnings.map(|line| format!("{line}\n")).collect(),
        dockerfiles: files.filter_map(image).collect(),
    }
}

#[test]
fn dockerfiles_of_every_axis() {
    for (base, install_type) in AXES {
        let all: String = dockerfiles(base, install_type, true)
            .into_iter()
            .filter(|(folder, _)| SAMPLES.contains(&folder.as_str()))
            .map(|(folder, text)| format!("=== {folder}\n{}\n\n", text.trim_end()))
            .collect();
        insta::assert_snapshot!(format!("{base}-{install_type}"), all);
    }
}

/// Compares two images of every family: the parent of the others, and the first of those.
#[test]
fn dockerfiles_of_every_family() {
    for (base, install_type) in
        [("centos", "binary"), ("centos", "source"), ("debian", "binary"), ("debian", "source")]
    {
        let mut families: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (folder, text) in dockerfiles(base, install_type, true) {
            let Some((family, name)) = folder.split_once('/') else { continue };
            let shown = format!("=== {folder}\n{}\n\n", text.trim_end());
            let family = families.entry(family.to_owned()).or_default();
            if name.ends_with("-base") {
                family.insert(0, shown);
            } else {
                family.push(shown);
            }
        }
        assert!(families.len() > 25, "{}", families.len());
        let few: String =
            families.values().flat_map(|family| family.iter().take(2)).cloned().collect();
        insta::assert_snapshot!(format!("families-{base}-{install_type}"), few);
    }
}

/// Returns the violations of the project's own rules for Dockerfiles, beyond those of `kiln lint`.
fn wrong(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut complain = |is_wrong: bool, what: &str| {
        if is_wrong {
            wrong.push(what.to_owned());
        }
    };
    let joined = text.replace("\\\n", " ");
    complain(!text.starts_with("FROM "), "does not start with FROM");
    complain(text.contains("\n\n\n"), "two blank lines");
    complain(text.contains("{{") || text.contains("{%"), "something is not rendered");
    complain(text.lines().any(|line| line.ends_with([' ', '\t'])), "a space at the end of a line");
    for command in joined.lines().filter_map(|line| line.strip_prefix("RUN")) {
        for part in command.split(" && ") {
            let words: Vec<&str> = part.split_whitespace().collect();
            let (["apt-get" | "dnf", "install", rest @ ..] | ["gem", "install", rest @ ..]) =
                &words[..]
            else {
                continue;
            };
            let names: Vec<&&str> = rest.iter().filter(|word| !word.starts_with('-')).collect();
            complain(names.is_empty(), "installs nothing");
            complain(!names.is_sorted(), &format!("packages are not sorted: {names:?}"));
            complain(names.windows(2).any(|pair| pair[0] == pair[1]), "a package is named twice");
        }
    }
    wrong
}

#[test]
fn checks_beyond_the_lint_find_faults() {
    for (text, expected) in [
        ("FROM a\nRUN dnf install -y a b\n", ""),
        ("RUN true\n", "does not start with FROM"),
        ("FROM a\nRUN dnf install -y b a\n", "packages are not sorted: [\"b\", \"a\"]"),
        ("FROM a\nRUN dnf install -y a a\n", "a package is named twice"),
        (
            "FROM a\nRUN apt-get update \\\n    && apt-get install -y \\\n    && true\n",
            "installs nothing",
        ),
        ("FROM a\nRUN \\\n    \n", "a space at the end of a line"),
        ("FROM {{ a }}\n", "something is not rendered"),
    ] {
        assert_eq!(wrong(text).first().map_or("", String::as_str), expected, "{text}");
    }
}

#[test]
fn the_tree_passes_the_lint_on_every_axis() {
    let runs = [("centos,ubuntu,debian", "binary,source"), ("rhel", "binary,source,rdo,rhos")];
    let axes =
        runs.iter().map(|(bases, types)| bases.split(',').count() * types.split(',').count());
    assert_eq!(axes.sum::<usize>(), AXES.len());
    for (bases, types) in runs {
        let mut command = kiln();
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command.args(["lint", "-b", bases, "-t", types, "--base-arch", "x86_64"]);
        let run = Run::of(command).expect(0);
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("nothing found\n", ""));
    }
}

#[test]
fn dockerfiles_of_every_axis_are_as_the_project_wants_them() {
    for (base, install_type) in AXES {
        let all = dockerfiles(base, install_type, false);
        assert!(all.len() >= 170, "{base} {install_type} has only {} images", all.len());
        let names: Vec<&str> =
            all.iter().map(|(folder, _)| folder.rsplit('/').next().unwrap()).collect();
        for (folder, text) in &all {
            assert_eq!(wrong(text), [""; 0], "{folder} for {base} {install_type}:\n{text}");
            let parent = text.lines().next().unwrap().strip_prefix("FROM ").unwrap();
            let parent = parent.strip_suffix(":TAG").map(|name| name.rsplit_once('/').unwrap().1);
            let is_root = folder == "base";
            assert_eq!(parent.is_none(), is_root, "{folder} for {base} {install_type}");
            let is_there =
                |name: &&str| parent.is_some_and(|parent| parent.ends_with(&format!("-{name}")));
            assert!(is_root || names.iter().any(is_there), "{folder} stands on {parent:?}");
        }
    }
}

/// Files for apt are copied to apt's folders before anything is installed.
#[test]
fn the_users_files_for_apt_are_in_the_base_image() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let sources = "COPY sources.list /etc/apt/sources.list.d/kolla-custom.list";
    let preferences = "COPY apt_preferences /etc/apt/preferences.d/kolla-custom";
    let table: [(&str, &[&str], &[&str]); 5] = [
        ("debian", &[], &[]),
        ("debian", &["--apt_sources_list", path], &[sources]),
        ("debian", &["--apt_preferences", path], &[preferences]),
        (
            "ubuntu",
            &["--apt_sources_list", path, "--apt_preferences", path],
            &[sources, preferences],
        ),
        ("centos", &["--apt_sources_list", path, "--apt_preferences", path], &[]),
    ];
    for (base, options, expected) in table {
        let arguments = [options, &["^base$"]].concat();
        let dockerfiles = rendered(base, "binary", &arguments).dockerfiles;
        let [(_, text)] = dockerfiles.as_slice() else { panic!("more than one is rendered") };
        let (before, _) = text.split_once("\nRUN ").unwrap();
        let copied: Vec<&str> = before.lines().filter(|line| line.contains(" /etc/apt/")).collect();
        assert_eq!(copied, expected, "{base} {options:?}");
        assert_eq!(text.matches("kolla-custom").count(), expected.len());
    }
}

/// Override that also works for the images of Kolla's releases: see `tests/conformance`.
const OVERRIDE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/conformance/configurations/five-images/override.j2"
);

#[test]
fn one_override_changes_five_images() {
    for (base, install_type) in [("debian", "source"), ("centos", "binary")] {
        let before = rendered(base, install_type, &["--enable-unbuildable"]);
        let over = ["--enable-unbuildable", "--template-override", OVERRIDE];
        let after = rendered(base, install_type, &over);
        assert_eq!(after.warnings, "");
        let changes = changes(&before.dockerfiles, &after.dockerfiles);
        insta::assert_snapshot!(format!("override-{base}-{install_type}"), changes);
    }
}

#[test]
fn the_documented_override_is_that_of_the_tests() {
    let docs =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/customizing.md"));
    let docs = docs.unwrap();
    assert_eq!(fenced(&docs).next().unwrap(), fs::read_to_string(OVERRIDE).unwrap());
}

/// No matter which component installs them, the packages of an image are one list of the expected
/// name, and every image has a start and an end.
#[test]
fn every_image_can_be_customised() {
    for (base, install_type) in
        [("centos", "binary"), ("centos", "source"), ("debian", "binary"), ("debian", "source")]
    {
        let before = rendered(base, install_type, &["--enable-unbuildable"]).dockerfiles;
        let mut over = tempfile::NamedTempFile::new().unwrap();
        over.write_all(override_of_all(&before).as_bytes()).unwrap();
        let option = ["--template-override", over.path().to_str().unwrap()];
        let after =
            rendered(base, install_type, &[["--enable-unbuildable"].as_slice(), &option].concat());
        for ((folder, before), (_, after)) in before.iter().zip(&after.dockerfiles) {
            let wrong = not_customised(before, after);
            assert_eq!(wrong, None, "{folder} for {base} {install_type}:\n{after}");
        }
    }
}

/// Returns an override of every image: a package for each installer, an instruction for each block.
fn override_of_all(images: &[(String, String)]) -> String {
    let mut text = "{% extends parent_template %}\n".to_owned();
    for (folder, _) in images {
        let name = folder.rsplit('/').next().unwrap().replace('-', "_");
        text += &format!(
            "{{% set {name}_packages_append = ['appended'] %}}\n\
             {{% set {name}_pip_packages_append = ['from-pip'] %}}\n\
             {{% block {name}_header %}}\nLABEL start=1\n{{% endblock %}}\n\
             {{% block {name}_footer %}}\nLABEL end=1\n{{% endblock %}}\n"
        );
    }
    text
}

/// Returns a change that the override of everything did not make in an image; `None` if all were
/// made.
fn not_customised(before: &str, after: &str) -> Option<&'static str> {
    let once = |what: &str, expected: bool| {
        after.lines().filter(|line| line.contains(what)).count() == usize::from(expected)
    };
    let caches = ["/var/lib/apt/lists", "/var/cache/dnf"];
    if !once(" appended", caches.iter().any(|cache| before.contains(cache))) {
        return Some("a package of the distribution");
    }
    if !once(" from-pip", before.contains("bin/pip install --no-compile \\")) {
        return Some("a package of Python");
    }
    let lines: Vec<&str> = after.lines().filter(|line| !line.is_empty()).collect();
    let place = |wanted: &str| lines.iter().position(|line| *line == wanted);
    let (Some(start), Some(end)) = (place("LABEL start=1"), place("LABEL end=1")) else {
        return Some("a block");
    };
    if !lines[start - 1].trim_start().starts_with("name=") {
        return Some("the start");
    }
    let runs =
        |line: &&str| ["USER ", "CMD ", "ENTRYPOINT "].iter().any(|word| line.starts_with(word));
    if !lines[end + 1..].iter().all(runs) {
        return Some("the end");
    }
    None
}

/// Images of the default profile, by the names that users know.
const THE_SET: &str = "
    base barbican-base barbican-keystone-listener chrony cron fluentd glance-api glance-base
    glance-registry haproxy heat-all heat-api heat-api-cfn heat-base heat-engine horizon
    ironic-neutron-agent keepalived keystone keystone-base keystone-fernet keystone-ssh
    kolla-toolbox mariadb memcached neutron-base neutron-bgp-dragent neutron-dhcp-agent
    neutron-infoblox-ipam-agent neutron-l3-agent neutron-linuxbridge-agent
    neutron-metadata-agent neutron-metadata-agent-ovn neutron-metering-agent neutron-mlnx-agent
    neutron-openvswitch-agent neutron-server neutron-server-opendaylight neutron-server-ovn
    neutron-sriov-agent nova-api nova-base nova-compute nova-compute-ironic nova-conductor
    nova-libvirt nova-novncproxy nova-scheduler nova-serialproxy nova-spicehtml5proxy nova-ssh
    openstack-base openvswitch-base openvswitch-db-server openvswitch-vswitchd placement-api
    placement-base prometheus-base prometheus-haproxy-exporter prometheus-memcached-exporter
    rabbitmq";

/// Returns the images of the default profile on an axis, sorted.
fn default_profile(base: &str, install_type: &str, arguments: &[&str]) -> Vec<String> {
    let mut command = build(base, install_type, &["--list-images", "-p", "default"]);
    command.args(["--base-arch", "x86_64"]).args(arguments);
    let run = Run::of(command).expect(0);
    let names = run.stdout.lines().filter_map(|line| Some(line.split_once(" : ")?.1.to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn the_default_profile_names_the_set() {
    let set: Vec<&str> = THE_SET.split_whitespace().collect();
    assert_eq!(set.len(), 61);
    let mut missing = String::new();
    for (base, install_type) in AXES {
        let all = default_profile(base, install_type, &["--enable-unbuildable"]);
        let listed = default_profile(base, install_type, &[]);
        for name in &set {
            assert!(all.iter().any(|listed| listed == name), "{name} for {base} {install_type}");
        }
        let left_out = set.iter().filter(|name| !listed.iter().any(|listed| listed == *name));
        let left_out: Vec<&str> = left_out.copied().collect();
        missing += &format!("{base} {install_type}: {}\n", left_out.join(" "));
    }
    insta::assert_snapshot!("default-profile-left-out", missing);
}

/// Returns the fenced blocks of a Markdown text, without their fences.
fn fenced(text: &str) -> impl Iterator<Item = &str> {
    text.split("```").skip(1).step_by(2).filter_map(|block| Some(block.split_once('\n')?.1))
}

/// Follows the example of the documentation on a copy of the tree.
#[test]
fn the_documented_way_to_add_an_image() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = tempfile::tempdir().unwrap();
    for folder in ["docker", "profiles"] {
        let copied = Command::new("cp").arg("-r").arg(root.join(folder)).arg(copy.path()).status();
        assert!(copied.unwrap().success());
    }
    let docs = fs::read_to_string(root.join("docs/adding-an-image.md")).unwrap();
    let tree = copy.path().join("docker");
    let mut manifest = fs::read_to_string(tree.join("tree.toml")).unwrap();
    for block in fenced(&docs) {
        if block.starts_with("FROM") {
            assert!(block.lines().count() < 10, "an image takes under ten lines");
            fs::create_dir(tree.join("lighttpd")).unwrap();
            fs::write(tree.join("lighttpd/Dockerfile.tera"), block).unwrap();
        } else if let Some((heading, facts)) =
            block.strip_prefix("# ").and_then(|block| block.split_once('\n'))
        {
            let heading = format!("\n{heading}\n");
            assert!(manifest.contains(&heading), "{heading}");
            manifest = manifest.replacen(
                &heading,
                &format!(
                    "{heading}{facts}{}",
                    if heading.contains("[[") { heading.as_str() } else { "" }
                ),
                1,
            );
        }
    }
    fs::write(tree.join("tree.toml"), manifest).unwrap();

    let mut shown = String::new();
    for base in ["debian", "centos"] {
        let out = tempfile::tempdir().unwrap();
        let mut command = kiln();
        command.args([
            "build",
            "--tag",
            "1.0",
            "--nopull",
            "--template-only",
            "--base-arch",
            "x86_64",
        ]);
        command
            .args(["-b", base, "^lighttpd$", "--tree"])
            .arg(&tree)
            .arg("--work-dir")
            .arg(out.path());
        let run = Run::of(command);
        let text =
            fs::read_to_string(out.path().join("docker/lighttpd/Dockerfile")).unwrap_or_default();
        shown += &format!(
            "=== {base}: exit code {}\n{}{}\n",
            run.code,
            if run.code == 0 { "" } else { &run.stderr },
            text.trim_end()
        );
    }
    insta::assert_snapshot!("documented-example", shown);
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

/// Container that is removed at the end of the test.
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

/// Returns the first line that a server on a loopback port answers to `question`, once it is ready.
fn ask(port: u16, question: &str) -> String {
    let connect = || TcpStream::connect(("127.0.0.1", port));
    wait_for(&format!("a server on port {port}"), || connect().is_ok());
    let mut connection = connect().unwrap();
    connection.write_all(question.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line).unwrap();
    line
}

/// Runs Keystone's own program in an image.
#[track_caller]
fn keystone_runs(image: &str) {
    let run = ["run", "--rm", "--network", "none", "--entrypoint", "keystone-manage"];
    docker(&[run.as_slice(), &[image, "--version"]].concat()).expect(0);
}

/// Tests the whole set from the packages of Debian: built, not built again, pushed, and run.
#[test]
fn built_from_the_packages_of_debian() {
    require_engine();
    let namespace = format!("kiln-test/tree-{}", std::process::id());
    let _cleanup = Cleanup::new(namespace.clone());
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
    let cleanup = Cleanup::new(format!("{registry}/{namespace}"));
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
    let _cleanup = Cleanup::new(namespace.clone());
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

//! A part of a tree of OpenStack Kolla, built and run: see `tests/conformance/build`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::{Cleanup, Run, docker, kiln};

/// Returns the folder of Kolla 23.0.0.
fn release() -> PathBuf {
    let installed =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/conformance/releases/23.0.0");
    let folder = std::env::var_os("KILN_KOLLA_23").map_or(installed, PathBuf::from);
    assert!(
        folder.is_dir(),
        "this test needs Kolla 23.0.0 in {}: run 'make conformance'",
        folder.display()
    );
    folder
}

/// Creates a folder to lay over the tree, with the certificates that this machine trusts.
fn overlay() -> tempfile::TempDir {
    let bundle = std::env::var_os("SSL_CERT_FILE")
        .map_or_else(|| PathBuf::from("/etc/ssl/certs/ca-certificates.crt"), PathBuf::from);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("base")).unwrap();
    fs::copy(&bundle, folder.path().join("base/ca.crt"))
        .unwrap_or_else(|error| panic!("{}: {error}", bundle.display()));
    folder
}

/// Returns the output of a command in a new container of an image, without network.
#[track_caller]
fn printed(image: &str, command: &[&str]) -> String {
    let run = ["run", "--rm", "--network", "none", image];
    docker(&[&run, command].concat()).expect(0).stdout
}

/// Returns the output of the image's own start script, and of the program that it starts for a
/// configuration.
#[track_caller]
fn started(image: &str, config: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    fs::write(&file, config).unwrap();
    let volume = format!("{}:/var/lib/kolla/config_files/config.json:ro", file.display());
    let run = ["run", "--rm", "--network", "none", "--volume", &volume];
    let strategy = ["--env", "KOLLA_CONFIG_STRATEGY=COPY_ALWAYS", image];
    docker(&[run.as_slice(), &strategy].concat()).expect(0).stdout
}

/// Returns the lines of a constraints file that set a version.
fn constraints(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.contains("===")).collect()
}

/// Script that runs a service with a database in a file, and requests one token.
const TOKEN: &str = r#"
set -e
mkdir /tmp/keys
cat > /etc/keystone/keystone.conf <<END
[database]
connection = sqlite:////tmp/keystone.db
[credential]
key_repository = /tmp/keys
[fernet_receipts]
key_repository = /tmp/keys
[fernet_tokens]
key_repository = /tmp/keys
END
keystone-manage db_sync
keystone-manage fernet_setup --keystone-user root --keystone-group root
keystone-manage bootstrap --bootstrap-password secret
uwsgi --http 127.0.0.1:5000 --module keystone.wsgi.api:application --enable-threads &
curl --dump-header - --header 'Content-Type: application/json' --data '{"auth": {"identity": {
  "methods": ["password"], "password": {"user": {
  "name": "admin", "password": "secret", "domain": {"id": "default"}}}}}}' \
  http://127.0.0.1:5000/v3/auth/tokens
"#;

#[test]
#[ignore = "needs a release of Kolla, and minutes: make conformance"]
fn a_part_of_a_kolla_tree_is_built() {
    docker(&["image", "inspect", "--format", "{{.Id}}", "debian:trixie"]).expect(0);
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/build");
    let overlay = overlay();
    let namespace = format!("kiln-test/kolla-{}", std::process::id());
    let _cleanup = Cleanup::new(namespace.clone());

    let mut command = kiln();
    command.current_dir(&here).stdin(Stdio::null());
    command.args(["build", "--config-file", "build.conf", "--nopull", "--tag", "t"]);
    command.args(["--namespace", &namespace, "^memcached$", "^keystone$", "--tree"]);
    command.arg(release()).arg("--docker-dir").arg(overlay.path());
    let run = Run::of(command).expect(0);
    assert_eq!(
        run.names("built"),
        ["base", "keystone", "keystone-base", "memcached", "openstack-base"]
    );
    assert_eq!(run.names("failed"), [""; 0]);

    let image = |name: &str| format!("{namespace}/{name}:t");
    let said = started(&image("memcached"), r#"{"command": "memcached --version"}"#);
    assert!(said.lines().any(|line| line.starts_with("memcached 1.")), "{said}");

    // The source of openstack-base is in the image, and was used.
    let openstack_base = image("openstack-base");
    let packages = printed(&openstack_base, &["python3", "-m", "pip", "check"]);
    assert_eq!(packages.trim(), "No broken requirements found.");
    let given = fs::read_to_string(here.join("requirements/upper-constraints.txt")).unwrap();
    let found = printed(&openstack_base, &["cat", "/requirements/upper-constraints.txt"]);
    let mut expected = constraints(&given);
    expected.retain(|line| !line.starts_with("ovs="));
    assert_eq!(constraints(&found), expected);
    let keystone = image("keystone");
    let list = ["python3", "-m", "pip", "list", "--format", "freeze"];
    let packages = printed(&keystone, &list);
    for constraint in expected {
        let installed = constraint.replace("===", "==");
        assert!(packages.lines().any(|line| line == installed), "{installed} in\n{packages}");
    }

    let version = printed(&keystone, &["keystone-manage", "--version"]);
    assert_eq!(version.trim(), "30.0.0");
    let answer = printed(&keystone, &["bash", "-c", TOKEN]);
    assert!(answer.contains("HTTP/1.1 201 CREATED"), "{answer}");
    assert!(answer.contains("X-Subject-Token: "), "{answer}");
}

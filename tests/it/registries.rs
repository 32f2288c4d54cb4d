//! Pushes to real registries: with credentials, to several at once, and lists of platforms.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::registry::{AUTH, PASSWORD, Registry};
use crate::support::{Cleanup, Engine, Run, TestTree, docker, pull_all_by_digest};

/// Images without `RUN`, so that a machine of one platform can build for another.
const FAMILY: &[(&str, &str)] = &[
    ("base", "FROM scratch\nCOPY file /{{ base_arch }}\nLABEL debian={{ debian_arch }}\n"),
    ("leaf", "FROM @base\nCOPY file /leaf\n"),
];

/// Creates the first `images` of the family, to be built by `engine`.
fn family(engine: Engine, images: usize) -> TestTree {
    engine.require();
    let tree = TestTree::new(&FAMILY[..images]).on(engine);
    tree.write("base/file", "of the base\n");
    tree.write("leaf/file", "of the leaf\n");
    tree
}

/// Builds and pushes one image by `engine`. These variables are the only source of credentials.
fn push(engine: Engine, registry: &Registry, variables: &[(&str, &Path)]) -> Run {
    let tree = family(engine, 1);
    let _cleanup = Cleanup::of(engine, format!("{}/{}", registry.address, tree.namespace()));
    let mut command = tree.command(&["--push", "--registry", &registry.address]);
    let nowhere = Path::new("/nonexistent");
    for name in ["DOCKER_CONFIG", "XDG_RUNTIME_DIR", "HOME"] {
        command.env(name, nowhere);
    }
    command.envs(variables.iter().copied());
    Run::of(command)
}

#[test]
fn push_without_credentials_is_denied() {
    let registry = Registry::private();
    for engine in [Engine::Docker, Engine::Podman] {
        let run = push(engine, &registry, &[]).expect(1);
        assert_eq!(run.names("failed"), ["base push_error"], "{engine:?}");
        let wrong = registry.credentials(
            "wrong/config.json",
            r#"{"auths": {"REGISTRY": {"auth": "bWU6d3Jvbmc="}}}"#,
        );
        let run = push(engine, &registry, &[("DOCKER_CONFIG", wrong.parent().unwrap())]).expect(1);
        assert_eq!(run.names("failed"), ["base push_error"], "{engine:?}");
        assert!(!run.stderr.contains("wrong/config.json"), "{run:?}");
    }
}

#[test]
fn push_uses_the_credentials_of_either_client() {
    let registry = Registry::private();
    let auths = format!(r#"{{"auths": {{"REGISTRY": {{"auth": "{AUTH}"}}}}}}"#);
    let dockers = registry.credentials("docker/config.json", &auths);
    registry.credentials("podman/containers/auth.json", &auths);
    let named = registry.credentials("named.json", &auths);
    let spaces = format!(r#"{{"auths": {{"REGISTRY/kiln-test": {{"auth": "{AUTH}"}}}}}}"#);
    let spaces = registry.credentials("spaces.json", &spaces);
    let runtime = registry.folder.path().join("podman");
    for engine in [Engine::Docker, Engine::Podman] {
        for variable in [
            ("DOCKER_CONFIG", dockers.parent().unwrap()),
            ("XDG_RUNTIME_DIR", &*runtime),
            ("REGISTRY_AUTH_FILE", &*named),
            ("REGISTRY_AUTH_FILE", &*spaces),
        ] {
            let run = push(engine, &registry, &[variable]);
            assert_eq!(run.code, 0, "{engine:?} {variable:?}: {run:?}");
            assert_eq!(run.names("built"), ["base"], "{engine:?} {variable:?}");
            assert!(!format!("{run:?}").contains(AUTH), "{run:?}");
        }
    }
}

/// A credential helper is a program on the PATH; its credentials are given to the engine and to
/// nothing else.
#[test]
fn push_uses_the_credentials_of_a_helper() {
    let registry = Registry::private();
    let helper = registry.credentials(
        "bin/docker-credential-test",
        &format!(
            "#!/bin/sh\nread server\nif [ \"$server\" = REGISTRY ]; then\n\
             echo '{{\"Username\": \"me\", \"Secret\": \"{PASSWORD}\"}}'\nelse\n\
             echo credentials not found in native keychain\nexit 1\nfi\n"
        ),
    );
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let folder = helper.parent().unwrap().display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    for settings in [r#"{"credsStore": "test"}"#, r#"{"credHelpers": {"REGISTRY": "test"}}"#] {
        let config = registry.credentials("docker/config.json", settings);
        let variables = [("DOCKER_CONFIG", config.parent().unwrap()), ("PATH", Path::new(&path))];
        let run = push(Engine::Docker, &registry, &variables).expect(0);
        assert!(!format!("{run:?}").contains(PASSWORD), "{run:?}");
    }
    // The helper does not know this registry, which needs no credentials.
    let open = Registry::open();
    let config = open.credentials("docker/config.json", r#"{"credsStore": "test"}"#);
    let variables = [("DOCKER_CONFIG", config.parent().unwrap()), ("PATH", Path::new(&path))];
    push(Engine::Docker, &open, &variables).expect(0);
}

#[test]
fn images_are_pushed_to_every_registry() {
    let (one, two) = (Registry::open(), Registry::open());
    for engine in [Engine::Docker, Engine::Podman] {
        let tree = family(engine, 2);
        let cleanups = [&one, &two].map(|registry| {
            Cleanup::of(engine, format!("{}/{}", registry.address, tree.namespace()))
        });
        let run = tree
            .build(&["--push", "--registry", &one.address, "--registry", &two.address])
            .expect(0);
        let summary = run.summary();
        drop(cleanups);
        for built in summary["built"].as_array().unwrap() {
            let pushed = built["pushed"].as_array().unwrap();
            assert_eq!(pushed.len(), 2, "{built}");
            assert_eq!(pushed[0]["reference"], built["reference"]);
            assert_eq!(pushed[0]["digest"], built["digest"]);
            let second = pushed[1]["reference"].as_str().unwrap();
            assert!(second.starts_with(&two.address), "{second}");
            pull_all_by_digest(pushed);
        }
    }
}

/// Returns a registry's manifest of a reference, by the machine's own client.
fn manifest(reference: &str) -> serde_json::Value {
    let mut command = Command::new("docker");
    command.args(["manifest", "inspect", "--insecure", reference]);
    let run = Run::of(command).expect(0);
    serde_json::from_str(&run.stdout).unwrap()
}

#[test]
fn images_of_several_platforms_are_joined_in_a_list() {
    let (one, two) = (Registry::private(), Registry::open());
    let auths = format!(r#"{{"auths": {{"REGISTRY": {{"auth": "{AUTH}"}}}}}}"#);
    let config = one.credentials("docker/config.json", &auths);
    for (engine, builder) in [
        (Engine::Docker, "--buildkit"),
        (Engine::Docker, "--nobuildkit"),
        (Engine::Podman, "--buildkit"),
    ] {
        let tree = family(engine, 2);
        let _cleanups = [&one, &two].map(|registry| {
            Cleanup::of(engine, format!("{}/{}", registry.address, tree.namespace()))
        });
        let registries = format!("{},{}", one.address, two.address);
        let platforms = ["--platform", "linux/amd64", "--platform", "linux/arm64"];
        let arguments = [builder, "--push", "--registry", &registries];
        let mut command = tree.command(&[&arguments[..], &platforms].concat());
        command.env("DOCKER_CONFIG", config.parent().unwrap());
        let run = Run::of(command).expect(0);
        assert_eq!(run.names("built").len(), 4, "{run:?}");
        let lists = run.summary()["lists"].as_array().unwrap().clone();
        assert_eq!(lists.len(), 4, "{lists:?}");
        let list = format!("{}/{}", two.address, tree.reference("leaf"));
        let known = manifest(&list);
        let platforms: Vec<_> = known["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["platform"]["architecture"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(platforms, ["amd64", "arm64"], "{engine:?} {builder}: {known}");
        let told = lists.iter().find(|told| told["reference"] == list.as_str()).unwrap();
        let by_digest =
            format!("{}@{}", list.rsplit_once(':').unwrap().0, told["digest"].as_str().unwrap());
        assert_eq!(manifest(&by_digest)["manifests"], known["manifests"]);
        docker(&["pull", "--platform", "linux/arm64", &list]).expect(0);
        let format = "{{.Architecture}} {{.Config.Labels.debian}}";
        let pulled = docker(&["image", "inspect", "--format", format, &list]).expect(0);
        assert_eq!(pulled.stdout.trim(), "arm64 arm64");
        docker(&["image", "rm", &list]).expect(0);
    }
}

#[test]
fn a_list_needs_all_its_images() {
    let registry = Registry::open();
    Engine::Docker.require();
    let template = "FROM scratch\n{% if base_arch == 'aarch64' %}COPY nothing /{% else %}COPY file /file{% endif %}\n";
    let tree = TestTree::new(&[("base", template)]);
    tree.write("base/file", "x\n");
    let _cleanup = Cleanup::new(format!("{}/{}", registry.address, tree.namespace()));
    let run = tree
        .build(&["--push", "--registry", &registry.address, "--platform", "amd64,arm64"])
        .expect(1);
    assert_eq!(run.names("built"), ["base"]);
    assert_eq!(run.names("failed"), ["base error"]);
    assert_eq!(run.summary()["failed"][0]["axis"], "arm64");
    assert!(run.stderr.contains("is not pushed: some of its images are missing"), "{run:?}");
    assert!(run.summary()["lists"].is_null());
}

/// A machine without any images builds only those that the registry does not have.
#[test]
fn images_unchanged_in_the_registry_are_not_built() {
    for engine in [Engine::Docker, Engine::Podman] {
        let registry = Registry::open();
        let tree = family(engine, 2);
        tree.image("other", "FROM @base\nCOPY file /other\n");
        tree.write("other/file", "of the other\n");
        let namespace = format!("{}/{}", registry.address, tree.namespace());
        let _cleanup = Cleanup::of(engine, namespace.clone());
        let build = |arguments: &[&str]| {
            let run = tree.build(&[&["--registry", &registry.address], arguments].concat());
            let run = run.expect(0);
            (run.names("built"), run.names("skipped"))
        };
        let in_engine =
            |name: &str| engine.image_id(&format!("{}/{}", registry.address, tree.reference(name)));
        let nothing: Vec<String> = Vec::new();
        let everything = ["base", "leaf", "other"].map(str::to_owned).to_vec();
        let pushed = ["--push", "--skip-unchanged=registry"];
        assert_eq!(build(&pushed), (everything.clone(), nothing.clone()));
        assert_eq!(build(&pushed), (nothing.clone(), everything.clone()));

        drop(Cleanup::of(engine, namespace.clone()));
        assert_eq!(in_engine("base"), "");
        let from_registry = build(&["--skip-unchanged=registry"]);
        assert_eq!(from_registry, (nothing.clone(), everything.clone()));
        assert_eq!(in_engine("base"), "", "nothing is built on it");

        tree.write("leaf/file", "changed\n");
        let (built, skipped) = build(&pushed);
        assert_eq!(
            (built, skipped),
            (vec!["leaf".to_owned()], vec!["base".into(), "other".into()])
        );
        assert_ne!(in_engine("base"), "", "it was pulled for what is built on it");
        assert_eq!(in_engine("other"), "");
        assert_eq!(build(&["--push", "--skip-unchanged"]).0, nothing);

        // An image that only the engine has is not considered pushed.
        tree.write("leaf/file", "changed again\n");
        assert_eq!(build(&["--skip-unchanged"]).0, ["leaf", "other"]);
        assert_eq!(build(&["--skip-unchanged"]).0, nothing);
        assert_eq!(build(&["--skip-unchanged", "--push"]).0, ["leaf"]);
        assert_eq!(build(&["--skip-unchanged", "--push"]).0, nothing);
    }
}

/// An engine has another base for each platform under one reference, so the fingerprint contains
/// the digest of the list in the registry.
#[test]
fn a_base_of_several_platforms_is_known_by_its_list() {
    let registry = Registry::open();
    let platforms = ["--push", "--registry", &registry.address, "--platform", "amd64,arm64"];
    let bases = family(Engine::Docker, 1);
    let tree = TestTree::new(&[("app", "FROM @BASE\nCOPY file /app\n")]);
    tree.write("app/file", "of the app\n");
    let base = format!("{}/{}", registry.address, bases.reference("base"));
    let template = fs::read_to_string(tree.path().join("app/Dockerfile.tera")).unwrap();
    tree.write("app/Dockerfile.tera", &template.replace("@BASE", &base));
    let _cleanups = [&bases, &tree]
        .map(|tree| Cleanup::new(format!("{}/{}", registry.address, tree.namespace())));
    bases.build(&platforms).expect(0);
    let build = || {
        let run = tree.build(&[&["--skip-unchanged=registry"], &platforms[..]].concat());
        run.expect(0).names("built")
    };
    assert_eq!(build(), ["app", "app"]);
    assert_eq!(build(), Vec::<String>::new());
    bases.write("base/file", "changed\n");
    bases.build(&platforms).expect(0);
    assert_eq!(build(), ["app", "app"]);
    assert_eq!(build(), Vec::<String>::new());
}

/// The engine is asked to tag an image with each name; if it does, the tag is removed again.
#[test]
fn names_are_those_that_the_engine_takes() {
    Engine::Docker.require();
    let long = |length: usize| "a".repeat(length);
    let names = [
        "kiln-test-a".to_owned(),
        "kiln-test/a.b".to_owned(),
        "kiln-test/a_b".to_owned(),
        "kiln-test/a__b".to_owned(),
        "kiln-test/a---b".to_owned(),
        "kiln-test/0.9-b_c".to_owned(),
        "kiln-test/.x".to_owned(),
        "kiln-test/x.".to_owned(),
        "kiln-test/-x".to_owned(),
        "kiln-test/x-".to_owned(),
        "kiln-test/_x".to_owned(),
        "kiln-test/a..b".to_owned(),
        "kiln-test/a___b".to_owned(),
        "kiln-test/a.-b".to_owned(),
        "kiln-test/a-_b".to_owned(),
        "kiln-test/a._b".to_owned(),
        "kiln-test//a".to_owned(),
        "kiln-test/a/".to_owned(),
        "kiln-test/A".to_owned(),
        "kiln-test/\u{e9}".to_owned(),
        "kiln-test/a b".to_owned(),
        "h.example/kiln-test/a".to_owned(),
        "H.example:5000/kiln-test/a".to_owned(),
        "127.0.0.1:5000/kiln-test/a".to_owned(),
        "localhost/kiln-test/a".to_owned(),
        "h-.example/kiln-test/a".to_owned(),
        "h_x.example/kiln-test/a".to_owned(),
        "h_x.example:5000/kiln-test/a".to_owned(),
        "h..example/kiln-test/a".to_owned(),
        "h.example:/kiln-test/a".to_owned(),
        "h.example:x/kiln-test/a".to_owned(),
        "kiln-test/a:T.-_9".to_owned(),
        "kiln-test/a:.t".to_owned(),
        "kiln-test/a:-t".to_owned(),
        "kiln-test/a:t+t".to_owned(),
        format!("kiln-test/a:{}", long(128)),
        format!("kiln-test/a:{}", long(129)),
        format!("kiln-test/{}", long(235)),
        format!("kiln-test/{}", long(236)),
        format!("h.example/{}", long(245)),
        format!("h.example/{}", long(246)),
    ];
    for name in names {
        let is_taken = docker(&["tag", "debian:bookworm", &name]).code == 0;
        if is_taken {
            docker(&["image", "rm", "--no-prune", &name]).expect(0);
        }
        assert_eq!(name.parse::<kiln::internals::image::ImageRef>().is_ok(), is_taken, "{name:?}");
    }
}

//! Credentials that Kiln finds, beside those that `docker push` and `podman push` send with the same
//! files. No engine runs: servers of the test record what they are sent.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::http::{self, Reply, Request, Server};
use crate::support::{Run, TestTree};

/// Folder of a user: the files with credentials, and helpers.
struct Home {
    folder: tempfile::TempDir,
}

/// Helpers by name, with their answer to every question.
const HELPERS: [(&str, &str); 4] = [
    (
        "keeper",
        r#"echo "{\"ServerURL\":\"x\",\"Username\":\"kept for $server\",\"Secret\":\"s\"}""#,
    ),
    ("ticket", r#"echo '{"ServerURL":"x","Username":"<token>","Secret":"ticket"}'"#),
    ("empty", "echo credentials not found in native keychain; exit 1"),
    ("broken", "echo no bus; exit 1"),
];

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, answer) in HELPERS {
            let path = folder.path().join("bin").join(format!("docker-credential-{name}"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, format!("#!/bin/sh\nread server\n{answer}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// Gives a program this home, its helpers, and `variables`, and nothing of the user of the test.
    fn lend(&self, command: &mut Command, variables: &[(&str, PathBuf)]) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path: OsString =
            [self.path("bin").into_os_string(), ":".into(), path].into_iter().collect();
        for name in ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME", "DOCKER_CONTEXT"] {
            command.env_remove(name);
        }
        command.env("PATH", path).env("HOME", self.folder.path());
        command.env("XDG_RUNTIME_DIR", self.path("run"));
        command.envs(variables.iter().map(|(name, value)| (*name, value)));
    }
}

/// Returns credentials as one line; `-` for none.
fn line(user: &str, password: &str, identity: &str, registry: &str) -> String {
    let mut parts = Vec::new();
    if !user.is_empty() || !password.is_empty() {
        parts.push(format!("{user}:{password}"));
    }
    let tokens = [("identity", identity), ("registry", registry)];
    let tokens = tokens.iter().filter(|(_, token)| !token.is_empty());
    parts.extend(tokens.map(|(kind, token)| format!("{kind} {token}")));
    if parts.is_empty() { "-".to_owned() } else { parts.join(" ") }
}

/// Returns the credentials in the `X-Registry-Auth` of a push.
fn lent(server: &Server) -> String {
    let asked = server.asked();
    let push = asked.iter().find(|request| request.path.contains("/push"));
    let header = push.unwrap_or_else(|| panic!("no push: {asked:?}")).header("x-registry-auth");
    let bytes = base64::engine::general_purpose::URL_SAFE.decode(header).unwrap();
    let auth: Value = serde_json::from_slice(&bytes).unwrap();
    let text = |key: &str| auth[key].as_str().unwrap_or_default().to_owned();
    line(&text("username"), &text("password"), &text("identitytoken"), &text("registrytoken"))
}

const ID: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// Returns an engine that builds everything and denies each push.
fn engine(component: &'static str) -> Server {
    Server::plain(move |request: &Request| match request.path.as_str() {
        path if path.contains("/_ping") => http::empty(200, "Api-Version: 1.41\r\n"),
        path if path.contains("/version") => http::json(
            200,
            &format!(
                r#"{{"Version":"0","ApiVersion":"1.41","MinAPIVersion":"1.12","Components":[{{"Name":"{component}","Version":"0"}}]}}"#
            ),
        ),
        path if path.contains("/push") => {
            http::json(200, r#"{"errorDetail":{"message":"denied"},"error":"denied"}"#)
        }
        path if path.contains("/build") => {
            http::json(200, &format!(r#"{{"aux":{{"ID":"{ID}"}}}}"#))
        }
        path if path.contains("/images/json") => http::json(200, "[]"),
        path if path.contains("/tag") => http::json(201, ""),
        path if path.contains("/json") => http::json(200, &format!(r#"{{"Id":"{ID}"}}"#)),
        path if path.contains("/info") => {
            http::json(200, r#"{"IndexServerAddress":"https://index.docker.io/v1/"}"#)
        }
        _ => http::json(404, r#"{"message":"not there"}"#),
    })
}

/// Returns the credentials that Kiln lends to an engine for a push to `registry`; the reason if it
/// does not push.
fn kilns(home: &Home, registry: &str, is_podman: bool, variables: &[(&str, PathBuf)]) -> String {
    let tree = TestTree::new(&[("b", "FROM scratch\n")]).in_namespace("a");
    let server = engine(if is_podman { "Podman Engine" } else { "Engine" });
    let address = format!("tcp://{}", server.address());
    let mut arguments = vec!["--nobuildkit", "--push", "--retries", "0"];
    if !registry.is_empty() {
        arguments.extend(["--registry", registry]);
    }
    if is_podman {
        arguments.extend(["--engine", "podman", "--podman_base_url", &address]);
    }
    let mut command = tree.command(&arguments);
    home.lend(&mut command, variables);
    command.env("DOCKER_HOST", &address);
    let run = Run::of(command).expect(1);
    let secrets = ["old", "ticket", "b2ZmaWxlOm9sZA=="];
    assert!(secrets.iter().all(|secret| !run.stderr.contains(secret)), "{run:?}");
    if server.count("POST", "/push") == 0 {
        assert_eq!(run.names("failed"), ["b push_error"]);
        return "refused".to_owned();
    }
    lent(&server)
}

/// Returns the credentials that `docker push` lends to an engine.
fn dockers(home: &Home, registry: &str, variables: &[(&str, PathBuf)]) -> String {
    let server = engine("Engine");
    let mut command = Command::new("docker");
    let reference = match registry {
        "" => "a/b:1".to_owned(),
        registry => format!("{registry}/a/b:1"),
    };
    command.args(["push", &reference]);
    home.lend(&mut command, variables);
    command.env("DOCKER_HOST", format!("tcp://{}", server.address()));
    for name in ["DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONTENT_TRUST"] {
        command.env_remove(name);
    }
    drop(Run::of(command));
    lent(&server)
}

/// `auth` of the user `offile` with the password `old`.
const AUTH: &str = r#""auth":"b2ZmaWxlOm9sZA==""#;

/// Files of Docker's client, with the registries to push to; `AUTH` stands for an `auth`.
const FILES: &[(&[&str], &str)] = &[
    (&["reg.example.com:5000"], r#"{"auths":{"reg.example.com:5000":{AUTH}}}"#),
    (&["reg.example.com:5000"], r#"{"auths":{"reg.example.com":{AUTH}}}"#),
    (&["reg.example.com"], r#"{"auths":{"reg.example.com":{AUTH}},"credsStore":"keeper"}"#),
    (&["reg.example.com"], r#"{"auths":{"reg.example.com":{AUTH}},"credsStore":"empty"}"#),
    (&["reg.example.com"], r#"{"auths":{"reg.example.com":{AUTH}},"credsStore":"broken"}"#),
    (&["reg.example.com"], r#"{"auths":{"reg.example.com":{AUTH}},"credsStore":"gone"}"#),
    (
        &["reg.example.com", "other.example.com"],
        r#"{"credsStore":"keeper","credHelpers":{"reg.example.com":"ticket"}}"#,
    ),
    (
        &["reg.example.com"],
        r#"{"auths":{"reg.example.com":{AUTH}},"credsStore":"keeper","credHelpers":{"reg.example.com":""}}"#,
    ),
    (
        &["reg.example.com"],
        r#"{"auths":{"reg.example.com":{"registrytoken":"r"}},"credsStore":"keeper"}"#,
    ),
    (
        &["reg.example.com"],
        r#"{"auths":{"reg.example.com":{AUTH,"identitytoken":"i"}},"credsStore":"keeper"}"#,
    ),
    (&["reg.example.com"], r#"{"auths":{"reg.example.com":{AUTH,"identitytoken":"i"}}}"#),
    (&["reg.example.com"], r#"{"auths":{"reg.example.com":{"identitytoken":"i"}}}"#),
    (&["reg.example.com"], r#"{"auths":{"reg.example.com":{"registrytoken":"r"}}}"#),
    (&["reg.example.com"], r#"{"auths":{"reg.example.com":{"auth":""}}}"#),
    (&["reg.example.com"], r#"{"auths":{"reg.example.com":{}}}"#),
    (&["reg.example.com"], r#"{"auths":{"reg.example.com":{"username":"u","password":"p"}}}"#),
    (&["reg.example.com"], r#"{"auths":{"reg.example.com":{AUTH,"username":"u","password":"p"}}}"#),
    (&["reg.example.com"], r#"{"auths":{"https://reg.example.com/v1/":{AUTH}}}"#),
    (&["reg.example.com"], r#"{"auths":{"reg.example.com/v2":{AUTH}}}"#),
    (&["", "docker.io", "index.docker.io"], r#"{"auths":{"https://index.docker.io/v1/":{AUTH}}}"#),
    (&["", "docker.io", "index.docker.io"], r#"{"auths":{"docker.io":{AUTH}}}"#),
    (&["", "docker.io", "index.docker.io"], r#"{"credsStore":"keeper"}"#),
    (
        &["", "docker.io", "index.docker.io"],
        r#"{"credHelpers":{"https://index.docker.io/v1/":"keeper","docker.io":"broken"}}"#,
    ),
    (&["registry-1.docker.io"], r#"{"auths":{"registry-1.docker.io":{AUTH}}}"#),
];

#[test]
fn credentials_for_docker_are_those_of_docker_push() {
    let home = Home::new();
    let variables = [("DOCKER_CONFIG", home.path("docker"))];
    let mut kinds = std::collections::BTreeSet::new();
    for (registries, text) in FILES {
        home.write("docker/config.json", &text.replace("AUTH", AUTH));
        for registry in *registries {
            let expected = dockers(&home, registry, &variables);
            assert_eq!(kilns(&home, registry, false, &variables), expected, "{registry} {text}");
            kinds.insert(expected);
        }
    }
    // The table has every kind of credentials, and none.
    for kind in [
        "-",
        "offile:old",
        "offile:old identity i",
        "identity i",
        "identity ticket",
        "registry r",
        "u:p",
        "kept for reg.example.com:s",
        "kept for reg.example.com:s registry r",
        "kept for https://index.docker.io/v1/:s",
    ] {
        assert!(kinds.contains(kind), "{kind}: {kinds:?}");
    }
}

/// Registry that denies everything, and the credentials that it was sent.
struct Denying(Server);

impl Denying {
    fn new() -> Self {
        Self(Server::plain(|request: &Request| match request.authorization() {
            "" => http::empty(401, "WWW-Authenticate: Basic realm=x\r\n"),
            _ => http::empty(403, ""),
        }))
    }

    fn sent(&self) -> String {
        let asked = self.0.asked();
        let sent = asked.iter().find_map(|request| request.authorization().strip_prefix("Basic "));
        let Some(sent) = sent else { return "refused".to_owned() };
        let sent = String::from_utf8(STANDARD.decode(sent).unwrap()).unwrap();
        let (user, password) = sent.split_once(':').unwrap();
        line(user, password, "", "")
    }
}

/// Podman with a store of its own that has one image.
struct Podman {
    folder: tempfile::TempDir,
}

impl Podman {
    fn new() -> Self {
        let podman = Self { folder: tempfile::tempdir().unwrap() };
        let archive = podman.folder.path().join("archive.tar");
        tar::Builder::new(fs::File::create(&archive).unwrap()).finish().unwrap();
        let mut command = podman.command();
        command.arg("import").arg(&archive).arg("one:1");
        Run::of(command).expect(0);
        podman
    }

    fn command(&self) -> Command {
        let at = |name: &str| self.folder.path().join(name);
        let mut command = Command::new("podman");
        command.arg("--root").arg(at("root")).arg("--runroot").arg(at("run"));
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        command
    }

    /// Returns the credentials that a push sends to the registry.
    fn push(&self, home: &Home, registry: &Denying, variables: &[(&str, PathBuf)]) -> String {
        let mut command = self.command();
        let reference = format!("{}/a/one-binary-b:1", registry.0.address());
        command.args(["push", "--tls-verify=false", "one:1", &reference]);
        home.lend(&mut command, variables);
        let run = Run::of(command);
        assert_ne!(run.code, 0, "{run:?}");
        registry.sent()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // The store has files that only Podman may remove.
        let mut command = self.command();
        command.args(["rmi", "--all", "--force"]);
        drop(Run::of(command));
    }
}

/// Contents of `auth.json`, with the credentials that are sent; `REG` stands for the registry.
const PODMANS: &[(&str, &str)] = &[
    (r#"{"auths":{"REG":{AUTH}}}"#, "offile:old"),
    (r#"{"auths":{"REG/a/one-binary-b":{AUTH},"REG/a":{},"REG":{}}}"#, "offile:old"),
    (r#"{"auths":{"REG/a":{AUTH},"REG":{}}}"#, "offile:old"),
    (r#"{"auths":{"REG/a":{},"REG":{AUTH}}}"#, "-"),
    (r#"{"auths":{"REG/ab":{},"REG":{AUTH}}}"#, "offile:old"),
    (r#"{"auths":{"REG/a/":{AUTH}}}"#, "-"),
    (r#"{"auths":{"https://REG/v1/":{AUTH}}}"#, "offile:old"),
    (r#"{"auths":{"https://REG/a":{AUTH},"REG":{}}}"#, "-"),
    (r#"{"auths":{"127.0.0.1":{AUTH}}}"#, "-"),
    (r#"{"auths":{"REG":{AUTH}},"credsStore":"keeper"}"#, "offile:old"),
    (r#"{"credsStore":"keeper"}"#, "-"),
    (r#"{"auths":{"REG":{AUTH}},"credHelpers":{"REG":"keeper"}}"#, "kept for REG:s"),
    (r#"{"auths":{"REG":{AUTH}},"credHelpers":{"REG/a":"keeper"}}"#, "offile:old"),
    (r#"{"auths":{"REG":{AUTH}},"credHelpers":{"REG":"empty"}}"#, "-"),
    (r#"{"auths":{"REG":{AUTH}},"credHelpers":{"REG":"broken"}}"#, "refused"),
    (r#"{"auths":{"REG":{"auth":""}}}"#, "-"),
    (r#"{"auths":{"REG":{"username":"u","password":"p"}}}"#, "-"),
    (r#"{"auths":{"REG":{AUTH,"username":"u","password":"p"}}}"#, "offile:old"),
    (r#"{"auths":{"REG":{AUTH,"registrytoken":"r"}}}"#, "offile:old"),
    (r#"{"auths":{"REG":{"registrytoken":"r"}}}"#, "-"),
    (r#"{"auths":{"REG":{"auth":"not base64"}}}"#, "refused"),
];

#[test]
fn credentials_for_podman_are_those_of_podman_push() {
    let (home, podman) = (Home::new(), Podman::new());
    let variables = [("REGISTRY_AUTH_FILE", home.path("auth.json"))];
    for (text, expected) in PODMANS {
        let registry = Denying::new();
        let address = registry.0.address();
        home.write("auth.json", &text.replace("AUTH", AUTH).replace("REG", &address));
        let expected = expected.replace("REG", &address);
        assert_eq!(podman.push(&home, &registry, &variables), expected, "podman: {text}");
        assert_eq!(kilns(&home, &address, true, &variables), expected, "kiln: {text}");
    }
}

#[test]
fn files_for_podman_are_those_of_podman_push() {
    let (home, podman) = (Home::new(), Podman::new());
    let registry = Denying::new();
    let address = registry.0.address();
    let places = [
        "named.json",
        "run/containers/auth.json",
        ".config/containers/auth.json",
        "config/containers/auth.json",
        "docker/config.json",
        ".docker/config.json",
        ".dockercfg",
    ];
    type Variables = &'static [(&'static str, &'static str)];
    let table: &[(&[&str], Variables, &str)] = &[
        (&[], &[], "run/containers/auth.json"),
        (&[], &[("REGISTRY_AUTH_FILE", "named.json")], "named.json"),
        (&[], &[("DOCKER_CONFIG", "docker")], "docker/config.json"),
        (&[], &[("REGISTRY_AUTH_FILE", "named.json"), ("DOCKER_CONFIG", "docker")], "named.json"),
        (&["run/containers/auth.json"], &[], ".config/containers/auth.json"),
        (
            &["run/containers/auth.json"],
            &[("XDG_CONFIG_HOME", "config")],
            "config/containers/auth.json",
        ),
        (&["run/containers/auth.json", ".config/containers/auth.json"], &[], ".docker/config.json"),
        (
            &["run/containers/auth.json", ".config/containers/auth.json", ".docker/config.json"],
            &[],
            ".dockercfg",
        ),
    ];
    for (missing, variables, expected) in table {
        for place in places {
            let entry = STANDARD.encode(format!("{place}:s"));
            let entry = format!(r#"{{"{address}":{{"auth":"{entry}"}}}}"#);
            let is_former = place == ".dockercfg";
            let text = if is_former { entry } else { format!(r#"{{"auths":{entry}}}"#) };
            home.write(place, &text);
            if missing.contains(&place) {
                fs::remove_file(home.path(place)).unwrap();
            }
        }
        let variables: Vec<(&str, PathBuf)> =
            variables.iter().map(|(name, value)| (*name, home.path(value))).collect();
        registry.0.forget();
        let expected = format!("{expected}:s");
        assert_eq!(podman.push(&home, &registry, &variables), expected, "podman: {variables:?}");
        assert_eq!(kilns(&home, &address, true, &variables), expected, "kiln: {variables:?}");
    }
}

/// A registry that asks for a token gets the registry token at once, from Kiln itself, too.
#[test]
fn registry_token_is_sent_as_it_is() {
    let registry = Server::plain(|request: &Request| -> Reply {
        match request.authorization() {
            "Bearer given-out" => http::json(404, "{}"),
            _ => http::empty(401, "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:1/\"\r\n"),
        }
    });
    let home = Home::new();
    let address = registry.address();
    let text = format!(r#"{{"auths":{{"{address}":{{"registrytoken":"given-out"}}}}}}"#);
    home.write(".docker/config.json", &text);
    let tree = TestTree::new(&[("b", "FROM scratch\n")]).in_namespace("a");
    let server = engine("Engine");
    let mut command =
        tree.command(&["--registry", &address, "--plan", "--skip-unchanged=registry"]);
    home.lend(&mut command, &[]);
    command.env("DOCKER_HOST", format!("tcp://{}", server.address()));
    let run = Run::of(command).expect(0);
    assert!(!format!("{run:?}").contains("given-out"), "{run:?}");
    let asked = registry.asked();
    let sent: Vec<&str> = asked.iter().map(Request::authorization).collect();
    assert_eq!(sent, ["", "Bearer given-out"]);
}

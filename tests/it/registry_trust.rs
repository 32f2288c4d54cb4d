//! Registries that can't be trusted: where credentials are sent, and the resources that a malicious
//! answer can use.
//!
//! Each registry is a server of the test. The address 127.1 is one of this machine that is
//! contacted over TLS, since it is not a usual spelling.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::http::{
    Authority, OPEN_HEAD, Reply, Request, Server, empty, idle_engine_reply, json,
};
use crate::support::idle::idle_engine;
use crate::support::{Run, TestTree};
use sha2::{Digest as _, Sha256};

/// Address space of the program, in KiB: its code and its threads' stacks take much of it before it
/// does anything.
const ADDRESS_SPACE_KIB: u64 = 1_500_000;

/// User and password of the tests, `robot:S3CRETPW`, as they are sent.
const BASIC: &str = "Basic cm9ib3Q6UzNDUkVUUFc=";
const PASSWORD: &str = "S3CRETPW";

fn digest(content: &[u8]) -> String {
    let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Configuration of every image of a registry that has all images.
const CONFIG: &[u8] = br#"{"architecture":"amd64","os":"linux","config":{"Labels":{}}}"#;

fn manifest() -> Vec<u8> {
    let (size, config) = (CONFIG.len(), digest(CONFIG));
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{size}}},"layers":[]}}"#
    )
    .into_bytes()
}

/// Answers like a registry that has every image.
fn has_all(request: &Request) -> Reply {
    let media = |kind: &str, body: &[u8]| {
        let head = format!("Content-Type: application/vnd.oci.image.{kind}.v1+json\r\n");
        Reply::Whole(200, head, body.to_vec())
    };
    match request.path.as_str() {
        path if path.contains("/manifests/") => media("manifest", &manifest()),
        path if path.contains("/blobs/") => media("config", CONFIG),
        _ => json(404, "{}"),
    }
}

fn challenge(header: &str) -> Reply {
    empty(401, &format!("WWW-Authenticate: {header}\r\n"))
}

fn bearer(realm: &str) -> Reply {
    challenge(&format!(r#"Bearer realm="{realm}",service="s""#))
}

/// Survey of a registry: `kiln build --plan --skip-unchanged=registry`.
struct Survey {
    tree: TestTree,
    engine: Server,
    config: tempfile::TempDir,
    images: usize,
    is_limited: bool,
    variables: Vec<(String, PathBuf)>,
    arguments: Vec<String>,
}

impl Survey {
    /// Creates a survey of this many images of a registry, with the password for it.
    fn of(registry: &str, images: usize) -> Self {
        let survey = Self::without_credentials(registry, images);
        let auth = BASIC.strip_prefix("Basic ").unwrap();
        survey.configure(&format!(r#"{{"auths":{{"{registry}":{{"auth":"{auth}"}}}}}}"#))
    }

    fn without_credentials(registry: &str, images: usize) -> Self {
        let tree = TestTree::new(&[]);
        for number in 0..images {
            tree.image(&format!("image-{number}"), "FROM scratch\n");
        }
        let arguments = ["--registry", registry, "--plan", "--skip-unchanged=registry"];
        Self {
            tree,
            engine: Server::plain(idle_engine_reply),
            config: tempfile::tempdir().unwrap(),
            images,
            is_limited: false,
            variables: Vec::new(),
            arguments: arguments.map(str::to_owned).to_vec(),
        }
    }

    /// Sets the configuration of the Docker client.
    fn configure(self, text: &str) -> Self {
        fs::write(self.config.path().join("config.json"), text).unwrap();
        self
    }

    /// Trusts a CA.
    fn trusting(self, authority: &Authority) -> Self {
        self.variable("SSL_CERT_FILE", authority.file())
    }

    fn variable(mut self, name: &str, value: impl Into<PathBuf>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    fn arguments(mut self, more: &[&str]) -> Self {
        self.arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Limits the memory.
    fn limited(mut self) -> Self {
        self.is_limited = true;
        self
    }

    fn command(&self) -> Command {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let build = self.tree.command(&[&["--timeout", "3"], &arguments[..]].concat());
        let mut command = Command::new("sh");
        let limit =
            if self.is_limited { ADDRESS_SPACE_KIB.to_string() } else { "unlimited".into() };
        command.arg("-c").arg(format!("ulimit -v {limit}; exec \"$0\" \"$@\""));
        command.arg(build.get_program()).args(build.get_args());
        for (name, value) in build.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("DOCKER_HOST", format!("tcp://127.0.0.1:{}", self.engine.port));
        command.env("DOCKER_CONFIG", self.config.path()).env("MALLOC_ARENA_MAX", "1");
        command.env("HOME", "/nonexistent").env("XDG_RUNTIME_DIR", "/nonexistent");
        for variable in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"] {
            command.env_remove(variable);
        }
        command.envs(self.variables.iter().cloned());
        command
    }

    fn run(&self) -> Run {
        let run = Run::of(self.command());
        assert!(!format!("{run:?}").contains(PASSWORD), "{run:?}");
        run
    }

    /// Fails the test unless all images were surveyed.
    #[track_caller]
    fn succeeds(&self) -> Run {
        let run = self.run().expect(0);
        assert!(run.stdout.contains(&format!("{} to build", self.images)), "{run:?}");
        run
    }

    /// Fails the test unless the survey fails with these words, within 12 seconds.
    #[track_caller]
    fn fails(&self, words: &[&str]) -> Run {
        self.fails_within(Duration::from_secs(12), words)
    }

    #[track_caller]
    fn fails_within(&self, time: Duration, words: &[&str]) -> Run {
        let start = Instant::now();
        let run = self.run();
        assert!(start.elapsed() < time, "{:?}: {run:?}", start.elapsed());
        assert!([1, 2, 3].contains(&run.code), "{run:?}");
        for word in words {
            assert!(run.stderr.contains(word), "no '{word}' in {run:?}");
        }
        run
    }
}

#[test]
fn realm_over_plain_http_of_a_registry_over_tls_is_refused() {
    let authority = Authority::default();
    let service = Server::plain(|_| json(200, r#"{"token":"t"}"#));
    let port = service.port;
    for realm in [
        format!("http://127.0.0.1:{port}/token"),
        format!("HTTP://localhost:{port}/token"),
        format!("http://127.1:{port}/token?x=y"),
    ] {
        let answered = realm.clone();
        let registry = Server::with_tls(&authority, move |_| bearer(&answered));
        let address = format!("127.1:{}", registry.port);
        let survey = Survey::of(&address, 1).trusting(&authority);
        survey.fails(&[&address, &format!(":{port}"), "plain HTTP"]);
        assert_eq!(registry.asked().len(), 1, "it is not tried again");
    }
    assert_eq!(service.connections(), 0);
}

#[test]
fn realm_that_is_no_address_for_credentials_is_refused() {
    let authority = Authority::default();
    let service = Server::with_tls(&authority, |_| json(200, r#"{"token":"t"}"#));
    let port = service.port;
    let table = [
        (format!("https://me:pw@127.0.0.1:{port}/token"), "user name"),
        (format!("ftp://127.0.0.1:{port}/token"), "not an HTTP URL"),
        ("file:///etc/passwd".to_owned(), "not an HTTP URL"),
        ("/token".to_owned(), "is not a URL"),
        (String::new(), "names no realm"),
    ];
    for (realm, word) in table {
        let registry = Server::with_tls(&authority, move |_| bearer(&realm));
        let address = format!("127.1:{}", registry.port);
        Survey::of(&address, 1).trusting(&authority).fails(&[&address, word]);
    }
    assert_eq!(service.connections(), 0);
}

/// The registry and the token service use TLS and have different hosts.
#[test]
fn token_service_of_another_host_is_reported_once_and_asked_for_each_repository() {
    let authority = Authority::default();
    let service = Server::with_tls(&authority, |_| json(200, r#"{"token":"t","expires_in":300}"#));
    let realm = format!("https://localhost:{}/token", service.port);
    let registry = Server::with_tls(&authority, move |request| {
        if request.authorization() == "Bearer t" { has_all(request) } else { bearer(&realm) }
    });
    let address = format!("127.1:{}", registry.port);
    let survey = Survey::of(&address, 5).trusting(&authority);
    let run = survey.succeeds();
    let told = format!(
        "the registry {address} uses the token service https://localhost:{}, which receives the credentials",
        service.port
    );
    assert_eq!(run.stderr.matches(&told).count(), 1, "{run:?}");
    assert_eq!(service.asked().len(), 5);
    for asked in service.asked() {
        assert_eq!(asked.authorization(), BASIC);
        assert!(asked.path.starts_with("/token?service=s&scope=repository%3A"), "{asked:?}");
    }
    // One request gets the challenge; each image takes two more.
    assert_eq!(registry.asked().len(), 11);
    assert!(registry.asked().iter().all(|asked| asked.authorization() != BASIC));
    let anonymous = Survey::without_credentials(&address, 1).trusting(&authority).succeeds();
    assert!(!anonymous.stderr.contains("credentials for it"), "{anonymous:?}");
}

#[test]
fn password_goes_to_the_registry_that_asks_for_it_and_only_then() {
    let registry = Server::plain(|request| match request.authorization() {
        BASIC => has_all(request),
        _ => challenge("Negotiate, Basic realm=\"x\""),
    });
    let address = format!("127.0.0.1:{}", registry.port);
    Survey::of(&address, 3).succeeds();
    let without = registry.asked().iter().filter(|asked| asked.authorization().is_empty()).count();
    assert_eq!((without, registry.asked().len()), (1, 7));
    let open = Server::plain(has_all);
    Survey::of(&format!("127.0.0.1:{}", open.port), 3).succeeds();
    assert!(open.asked().iter().all(|asked| asked.authorization().is_empty()));
}

#[test]
fn refused_credentials_are_tried_once_more() {
    let service = Server::plain(|_| json(200, r#"{"token":"t"}"#));
    let realm = format!("http://127.0.0.1:{}/token", service.port);
    let table: [(Reply, usize); 4] = [
        (bearer(&realm), 3),
        (challenge("Basic realm=\"x\""), 3),
        (challenge("Negotiate"), 2),
        (empty(401, ""), 2),
    ];
    for (reply, requests) in table {
        let registry = Server::plain(move |_| reply.clone());
        let survey = Survey::of(&format!("127.0.0.1:{}", registry.port), 1);
        survey.arguments(&["--retries", "3"]).fails(&["401"]);
        assert_eq!(registry.asked().len(), requests);
    }
    assert_eq!(service.asked().len(), 2);
}

#[test]
fn token_that_expired_early_is_fetched_again() {
    let given = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let number = given.clone();
    let service = Server::plain(move |_| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        json(200, &format!(r#"{{"token":"t{number}","expires_in":300}}"#))
    });
    let realm = format!("http://127.0.0.1:{}/token", service.port);
    let registry = Server::plain(move |request| {
        let is_first =
            request.authorization() == "Bearer t0" && request.path.contains("/manifests/");
        let is_second = request.authorization() == "Bearer t1";
        if is_first || is_second { has_all(request) } else { bearer(&realm) }
    });
    Survey::of(&format!("127.0.0.1:{}", registry.port), 1).succeeds();
    assert_eq!(service.asked().len(), 2);
}

#[test]
fn identity_token_is_exchanged_at_the_token_service_alone() {
    let service = Server::plain(|_| json(200, r#"{"access_token":"t"}"#));
    let realm = format!("http://127.0.0.1:{}/token", service.port);
    let registry = Server::plain(move |request| {
        if request.authorization() == "Bearer t" { has_all(request) } else { bearer(&realm) }
    });
    let address = format!("127.0.0.1:{}", registry.port);
    let entry = format!(r#"{{"auths":{{"{address}":{{"identitytoken":"{PASSWORD}"}}}}}}"#);
    Survey::without_credentials(&address, 1).configure(&entry).succeeds();
    let asked = service.asked();
    assert_eq!((asked.len(), asked[0].method.as_str()), (1, "POST"));
    assert!(asked[0].body.contains("grant_type=refresh_token"), "{asked:?}");
    assert!(asked[0].body.contains(&format!("refresh_token={PASSWORD}")), "{asked:?}");
    assert!(registry.asked().iter().all(|asked| !asked.authorization().contains(PASSWORD)));
    let basic = Server::plain(|_| challenge("Basic realm=x"));
    let address = format!("127.0.0.1:{}", basic.port);
    let entry = format!(r#"{{"auths":{{"{address}":{{"identitytoken":"{PASSWORD}"}}}}}}"#);
    Survey::without_credentials(&address, 1).configure(&entry).fails(&["an identity token"]);
}

#[test]
fn busy_token_service_is_reported_and_retried() {
    for (status, told, requests) in [(503, "503", 3), (429, "429", 3), (401, "401", 2)] {
        let service = Server::plain(move |_| empty(status, "Retry-After: 1\r\n"));
        let realm = format!("http://127.0.0.1:{}/token", service.port);
        let registry = Server::plain(move |_| bearer(&realm));
        let survey = Survey::of(&format!("127.0.0.1:{}", registry.port), 1);
        let survey = survey.arguments(&["--retries", "2"]);
        let run = survey.fails(&["the token service of 127.0.0.1:", told]);
        assert!(!run.stderr.contains("Not authorized"));
        assert_eq!(service.asked().len(), requests, "{status}");
    }
}

/// Redirects of blobs to a storage with a signed URL are common.
#[test]
fn redirects_never_carry_credentials() {
    let storage = Server::plain(has_all);
    let port = storage.port;
    let registry = Server::plain(move |request| match request.authorization() {
        BASIC => {
            let location = format!("http://127.0.0.1:{port}{}?signature=x", request.path);
            empty(307, &format!("Location: {location}\r\n"))
        }
        _ => challenge("Basic realm=\"x\""),
    });
    Survey::of(&format!("127.0.0.1:{}", registry.port), 2).succeeds();
    assert_eq!(storage.asked().len(), 4);
    assert!(storage.asked().iter().all(|asked| asked.authorization().is_empty()), "{port}");
}

#[test]
fn challenge_of_a_host_that_was_redirected_to_gets_no_credentials() {
    let elsewhere = Server::plain(|_| challenge("Basic realm=\"x\""));
    let port = elsewhere.port;
    let registry = Server::plain(move |request| {
        let location = format!("http://127.0.0.1:{port}{}", request.path);
        empty(302, &format!("Location: {location}\r\n"))
    });
    Survey::of(&format!("127.0.0.1:{}", registry.port), 1).fails(&["401"]);
    assert_eq!(elsewhere.asked().len(), 1);
    assert!(elsewhere.asked()[0].authorization().is_empty());
}

#[test]
fn redirects_to_less_safe_places_are_refused() {
    let authority = Authority::default();
    let plain = Server::plain(has_all);
    let port = plain.port;
    for location in [format!("http://127.0.0.1:{port}/x"), format!("HTTP://localhost:{port}/")] {
        let registry = Server::with_tls(&authority, move |request| match request.authorization() {
            BASIC => empty(307, &format!("Location: {location}\r\n")),
            _ => challenge("Basic realm=\"x\""),
        });
        let survey = Survey::of(&format!("127.1:{}", registry.port), 1).trusting(&authority);
        survey.fails(&["which Kiln refuses: it is plain HTTP"]);
    }
    // A token service may not redirect its request at all.
    let service =
        Server::plain(move |_| empty(307, &format!("Location: http://127.0.0.1:{port}/token\r\n")));
    let realm = format!("http://127.0.0.1:{}/token", service.port);
    let registry = Server::plain(move |_| bearer(&realm));
    let survey = Survey::of(&format!("127.0.0.1:{}", registry.port), 1);
    survey.fails(&["Kiln refuses: this request must not leave its host"]);
    assert_eq!(plain.connections(), 0);
}

#[test]
fn redirects_without_end_are_given_up() {
    let registry = Server::plain(|request| empty(302, &format!("Location: {}x\r\n", request.path)));
    let survey = Survey::of(&format!("127.0.0.1:{}", registry.port), 1);
    survey.fails(&["redirects more than 5 times"]);
    assert_eq!(registry.asked().len(), 6);
    for location in ["Location: http://[\r\n", ""] {
        let registry = Server::plain(move |_| empty(302, location));
        let survey = Survey::of(&format!("127.0.0.1:{}", registry.port), 1);
        survey.fails(&["redirects without a location"]);
    }
}

/// Returns an address of this machine that is not on the loopback device, so that it counts as
/// another host; `None` if there is none.
fn own_address() -> Option<String> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: connecting only selects a route.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then(|| address.to_string())
}

#[test]
fn registries_of_this_machine_never_go_through_a_proxy() {
    let registry = Server::plain(has_all);
    let proxy = Server::plain(|_| json(200, "{}"));
    let address = format!("http://127.0.0.1:{}", proxy.port);
    for host in ["127.0.0.1", "localhost"] {
        let mut survey = Survey::of(&format!("{host}:{}", registry.port), 1);
        for name in ["http_proxy", "https_proxy", "ALL_PROXY"] {
            survey = survey.variable(name, &address);
        }
        survey.succeeds();
    }
    assert_eq!(proxy.connections(), 0);
    // A registry elsewhere does.
    let survey = Survey::of("registry.invalid", 1).variable("https_proxy", &address);
    survey.fails(&["registry.invalid"]);
    assert_ne!(proxy.connections(), 0);
    assert!(own_address().is_none_or(|address| !address.is_empty()));
}

const PART: usize = 64 << 10;

#[test]
fn answers_without_end_are_given_up_before_they_fill_memory() {
    let endless =
        |part: &[u8]| Reply::Endless(OPEN_HEAD.to_owned(), part.repeat(PART / part.len()));
    let error = |status: u16| {
        let head = format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n\r\n");
        Reply::Endless(head, vec![b'x'; PART])
    };
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let header = "HTTP/1.1 200 OK\r\nX-Long: ";
    let challenge = "HTTP/1.1 401 Status\r\nWWW-Authenticate: Bearer realm=\"";
    let table: Vec<(&str, Reply, &str)> = vec![
        ("blanks", endless(b" "), "more than 4194304 bytes"),
        ("a string", endless(b"\"a"), "more than 4194304 bytes"),
        ("nesting", endless(b"["), "more than 4194304 bytes"),
        ("chunks", Reply::Endless(chunked.to_owned(), b"1\r\n \r\n".repeat(PART / 6)), ""),
        ("an error", error(400), "400"),
        ("no authorization", error(401), "401"),
        ("a header", Reply::Endless(header.to_owned(), vec![b'x'; PART]), ""),
        ("headers", Reply::Endless("HTTP/1.1 200 OK\r\n".to_owned(), b"A: b\r\n".repeat(999)), ""),
        ("a challenge", Reply::Endless(challenge.to_owned(), vec![b'x'; PART]), ""),
    ];
    for (what, reply, told) in table {
        let registry = Server::plain(move |_| reply.clone());
        println!("{what}");
        Survey::of(&format!("127.0.0.1:{}", registry.port), 1).limited().fails(&[told]);
    }
    let interim = Reply::Endless(String::new(), b"HTTP/1.1 103 E\r\n\r\n".repeat(99));
    let registry = Server::plain(move |_| interim.clone());
    let survey = Survey::of(&format!("127.0.0.1:{}", registry.port), 1).limited();
    // An unoptimized build takes long for each interim answer, and rarely checks its deadline.
    survey.fails_within(Duration::from_secs(60), &["(--timeout)"]);
    let service = Server::plain(move |_| endless(b" "));
    let realm = format!("http://127.0.0.1:{}/token", service.port);
    let registry = Server::plain(move |_| bearer(&realm));
    let survey = Survey::of(&format!("127.0.0.1:{}", registry.port), 1).limited();
    survey.fails(&["the token service", "more than 1048576 bytes"]);
    let registry = Server::plain(move |request| match request.path.contains("/blobs/") {
        true => Reply::Endless(OPEN_HEAD.to_owned(), vec![b' '; PART]),
        false => has_all(request),
    });
    let survey = Survey::of(&format!("127.0.0.1:{}", registry.port), 1).limited();
    survey.fails(&["more than 16777216 bytes"]);
}

#[test]
fn answers_of_one_byte_a_second_are_given_up() {
    let promised = "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n";
    let table = [
        ("a manifest", "/manifests/", OPEN_HEAD),
        ("a promised length", "/manifests/", promised),
        ("a configuration", "/blobs/", OPEN_HEAD),
        ("a head", "/manifests/", "HTTP/1.1 200 OK\r\nX-Slow: "),
    ];
    for (what, word, head) in table {
        let registry = Server::plain(move |request| match request.path.contains(word) {
            true => Reply::Drip(head.to_owned()),
            false => has_all(request),
        });
        println!("{what}");
        let survey = Survey::of(&format!("127.0.0.1:{}", registry.port), 1);
        survey.fails(&["gave no complete answer within 3 s (--timeout)"]);
    }
    let service = Server::plain(|_| Reply::Drip(OPEN_HEAD.to_owned()));
    let realm = format!("http://127.0.0.1:{}/token", service.port);
    let registry = Server::plain(move |_| bearer(&realm));
    let survey = Survey::of(&format!("127.0.0.1:{}", registry.port), 1);
    survey.fails(&["gave no complete answer within 3 s (--timeout)"]);
}

#[test]
fn content_that_is_not_what_its_digest_says_is_no_evidence() {
    let other = r#"{"architecture":"amd64","os":"linux","config":{"Labels":{"other":"x"}}}"#;
    let registry = Server::plain(move |request| match request.path.contains("/blobs/") {
        true => json(200, other),
        false => has_all(request),
    });
    let survey = Survey::of(&format!("127.0.0.1:{}", registry.port), 1);
    survey.fails(&["serves content that does not match sha256:"]);
    for named in ["sha256:0000", &digest(b"other"), "../../x", "sha256:\u{1b}[2J"] {
        let header = format!("Docker-Content-Digest: {named}\r\n");
        let registry = Server::plain(move |_| Reply::Whole(200, header.clone(), manifest()));
        let run = Survey::of(&format!("127.0.0.1:{}", registry.port), 1).fails(&[]);
        assert!(!run.stderr.contains('\u{1b}'), "{run:?}");
    }
    let path = "../../../other/blobs/x";
    let named = manifest_with(path);
    let registry = Server::plain(move |_| json(200, &named));
    Survey::of(&format!("127.0.0.1:{}", registry.port), 1).fails(&["names a configuration"]);
    assert_eq!(registry.count("GET", "/other/"), 0);
}

fn manifest_with(config: &str) -> String {
    format!(r#"{{"schemaVersion":2,"config":{{"digest":"{config}"}}}}"#)
}

#[test]
fn survey_takes_two_requests_an_image_and_uses_connections_again() {
    const IMAGES: usize = 50;
    let registry = Server::plain(has_all);
    Survey::of(&format!("127.0.0.1:{}", registry.port), IMAGES).succeeds();
    println!("{} requests, {} connections", registry.asked().len(), registry.connections());
    assert_eq!(registry.count("GET", "/manifests/"), IMAGES);
    assert_eq!(registry.count("GET", "/blobs/"), IMAGES);
    assert_eq!(registry.asked().len(), 2 * IMAGES);
    // Sixteen images are requested at once, and a connection may be ready too late to be used.
    assert!(registry.connections() <= 2 * 16, "{}", registry.connections());
}

/// Writes a program `docker-credential-<name>` that records its runs, and returns the file of the
/// records.
fn helper(folder: &Path, name: &str, script: &str) -> PathBuf {
    let path = folder.join(format!("docker-credential-{name}"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let ran = folder.join("ran").display().to_string();
    fs::write(&path, format!("#!/bin/sh\necho \"$PWD\" >> {ran}\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    folder.join("ran")
}

#[test]
fn helper_that_is_a_path_or_lies_in_the_current_folder_is_not_run() {
    let registry = Server::plain(has_all);
    let address = format!("127.0.0.1:{}", registry.port);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("docker-credential-x")).unwrap();
    let ran = helper(folder.path(), "here", "exit 1");
    fs::copy(folder.path().join("docker-credential-here"), folder.path().join("helper")).unwrap();
    let names = ["x/../helper", "../helper", "x/../../helper", "/bin/sh", "", "here", ".."];
    for name in names {
        for key in [
            format!(r#"{{"credsStore":"{name}"}}"#),
            format!(r#"{{"credHelpers":{{"{address}":"{name}"}}}}"#),
        ] {
            let survey = Survey::without_credentials(&address, 1).configure(&key);
            let survey = survey.variable("PATH", ".::bin:/usr/bin:/bin");
            let mut command = survey.command();
            command.current_dir(folder.path());
            let run = Run::of(command);
            // An empty name means no helper.
            assert_eq!(run.code == 0, name.is_empty(), "{name}: {run:?}");
            if !name.is_empty() {
                assert!(run.stderr.contains("config.json: "), "{run:?}");
            }
            assert!(!ran.exists(), "{name} was run");
        }
    }
}

#[test]
fn helper_is_given_a_time_and_no_folder_of_the_users() {
    let registry = Server::plain(|request| match request.authorization() {
        BASIC => has_all(request),
        _ => challenge("Basic realm=x"),
    });
    let address = format!("127.0.0.1:{}", registry.port);
    let folder = tempfile::tempdir().unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let survey = |name: &str| {
        let survey = Survey::without_credentials(&address, 1);
        survey.configure(&format!(r#"{{"credsStore":"{name}"}}"#)).variable("PATH", &path)
    };
    let said = format!(r#"echo '{{"Username":"robot","Secret":"{PASSWORD}"}}'"#);
    let ran = helper(folder.path(), "good", &said);
    survey("good").succeeds();
    assert_eq!(fs::read_to_string(&ran).unwrap().lines().next(), Some("/"));
    let once = folder.path().join("once").display().to_string();
    helper(
        folder.path(),
        "flaky",
        &format!("test -e {once} || {{ touch {once}; exit 1; }}\n{said}"),
    );
    survey("flaky").arguments(&["--retries", "1"]).succeeds();
    helper(folder.path(), "slow", "exec sleep 60");
    survey("slow").fails(&["docker-credential-slow did not answer within 3 s (--timeout)"]);
    helper(folder.path(), "endless", "exec cat /dev/zero");
    survey("endless")
        .limited()
        .fails(&["docker-credential-endless failed: it writes more than 1 MiB"]);
    helper(folder.path(), "telling", &format!("echo {PASSWORD}; echo {PASSWORD} >&2; exit 7"));
    survey("telling").fails(&["docker-credential-telling failed (exit status: 7)"]);
}

fn pipe(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn pipes_in_place_of_files_are_reported_without_waiting() {
    let registry = Server::plain(has_all);
    let address = format!("127.0.0.1:{}", registry.port);
    let survey = Survey::without_credentials(&address, 1);
    pipe(&survey.config.path().join("config.json"));
    survey.fails(&["config.json", "it is a pipe, not a regular file"]);

    let state = tempfile::tempdir().unwrap();
    pipe(&state.path().join("durations.json"));
    let survey = Survey::without_credentials(&address, 1);
    let survey = survey.arguments(&["--state-dir", state.path().to_str().unwrap()]);
    let run = survey.succeeds();
    assert!(run.stderr.contains("durations.json': it is a pipe"), "{run:?}");

    let folder = tempfile::tempdir().unwrap();
    pipe(&folder.path().join("build.conf.d/x.conf"));
    let survey = Survey::without_credentials(&address, 1);
    let conf = folder.path().join("build.conf.d");
    let survey = survey.arguments(&["--config-dir", conf.to_str().unwrap()]);
    survey.fails(&["x.conf' is not a regular file"]);
}

/// A file that the user names on the command line may be a pipe: `--config-file <(...)`.
#[test]
fn configuration_may_come_through_a_pipe_that_the_user_names() {
    let registry = Server::plain(has_all);
    let survey = Survey::without_credentials(&format!("127.0.0.1:{}", registry.port), 1);
    let survey = survey.arguments(&["--config-file", "/dev/stdin"]);
    let mut command = survey.command();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"[DEFAULT]\nbase_tag = 7\n").unwrap();
    drop(stdin);
    Run::from(child.wait_with_output().unwrap()).expect(0);
    let survey = Survey::without_credentials(&format!("127.0.0.1:{}", registry.port), 1);
    survey
        .arguments(&["--config-file", "/dev/zero"])
        .limited()
        .fails(&["more than 16777216 bytes"]);
}

/// Builds one image that fails, with its log in `logs`.
fn build_in_vain(name: &str, logs: &Path, more: &[&str]) -> Run {
    let tree = TestTree::new(&[(name, "FROM scratch\n")]);
    let logs = logs.to_str().unwrap();
    let arguments = [&["--nobuildkit", "--logs-dir", logs], more].concat();
    let mut command = tree.command(&arguments);
    command.env("DOCKER_HOST", format!("tcp://{}", idle_engine()));
    Run::of(command)
}

#[test]
fn planted_links_in_shared_folders_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("victim"), "kept").unwrap();
    fs::create_dir_all(at("logs")).unwrap();
    std::os::unix::fs::symlink(at("victim"), at("logs/evil.log")).unwrap();
    build_in_vain("evil", &at("logs"), &[]).expect(1);
    let log = fs::read_to_string(at("logs/evil.log")).unwrap();
    assert!(log.contains("not there"), "{log}");
    // A link under the name of each lock that a run takes.
    let state = at("state");
    let arguments = ["--state-dir", state.to_str().unwrap(), "--namespace", "shared"];
    build_in_vain("evil", &at("logs"), &arguments).expect(1);
    let locks: Vec<_> = fs::read_dir(state.join("locks")).unwrap().collect();
    assert!(!locks.is_empty());
    fs::remove_dir_all(state.join("locks")).unwrap();
    fs::create_dir(at("elsewhere")).unwrap();
    std::os::unix::fs::symlink(at("elsewhere"), state.join("locks")).unwrap();
    let run = build_in_vain("evil", &at("logs"), &arguments).expect(1);
    assert!(run.stderr.contains("can't lock its images against other runs"), "{run:?}");
    assert_eq!(fs::read_dir(at("elsewhere")).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(at("victim")).unwrap(), "kept");
}

#[test]
fn name_too_long_for_a_file_has_a_log_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let name = "a".repeat(200) + "-" + &"b".repeat(41);
    let run = build_in_vain(&name, folder.path(), &["--namespace", "n", "--image-name-prefix", ""]);
    assert!(!run.stderr.contains("File name too long"), "{run:?}");
    assert_eq!(run.code, 1, "{run:?}");
    let names = fs::read_dir(folder.path()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.iter().all(|name| name.to_str().unwrap().contains('~')), "{names:?}");
}

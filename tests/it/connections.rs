//! Ways to an engine other than its socket, each to the real engine: over the network, with TLS,
//! through a real ssh server, and by the contexts of the Docker client.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crate::support::{Cleanup, Engine, Run, TestTree, free_ports, wait_for};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, UnixStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// Returns the socket of the tests' engine.
fn socket() -> PathBuf {
    Engine::Docker.require();
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let path = host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock");
    assert!(host.is_empty() || host.starts_with("unix://"), "these tests need the engine's socket");
    path.into()
}

/// Environment variables.
type Variables<'a> = &'a [(&'a str, &'a str)];

/// Tree with one image that is never taken from the cache.
struct Image {
    tree: TestTree,
    _cleanup: Cleanup,
}

impl Image {
    fn new() -> Self {
        let tree = TestTree::new(&[("lone", "FROM debian:bookworm\nRUN echo built for sure\n")]);
        let cleanup = Cleanup::new(tree.namespace());
        Self { tree, _cleanup: cleanup }
    }

    /// Builds with the engine that these variables select; no other variables select one.
    fn build(&self, variables: Variables<'_>) -> Run {
        let mut command = self.tree.command(&["--nocache"]);
        for name in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
            command.env_remove(name);
        }
        command.envs(variables.iter().copied());
        Run::of(command)
    }

    /// Builds, and fails the test unless the engine has the image.
    #[track_caller]
    fn is_built(&self, variables: Variables<'_>) -> Run {
        let run = self.build(variables).expect(0);
        let id = run.summary()["built"][0]["id"].as_str().expect("an id").to_owned();
        assert_eq!(Engine::Docker.image_id(&self.tree.reference("lone")), id);
        run
    }

    /// Fails the test unless the engine can't be reached and the error has these words.
    #[track_caller]
    fn is_out_of_reach(&self, variables: Variables<'_>, words: &[&str]) {
        let run = self.build(variables).expect(3);
        for word in words {
            assert!(run.stderr.contains(word), "no '{word}' in {run:?}");
        }
    }
}

/// Proxy on the loopback device that forwards everything to the engine's socket.
struct Proxy {
    port: u16,
    _runtime: Runtime,
}

impl Proxy {
    fn plain() -> Self {
        Self::through(None)
    }

    fn with_tls(config: ServerConfig) -> Self {
        Self::through(Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn through(tls: Option<TlsAcceptor>) -> Self {
        let socket = socket();
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (tls, socket) = (tls.clone(), socket.clone());
                tokio::spawn(async move {
                    match tls {
                        None => pass_on(connection, &socket).await,
                        Some(tls) => {
                            // A refused client learns the reason by TLS.
                            if let Ok(connection) = tls.accept(connection).await {
                                pass_on(connection, &socket).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, _runtime: runtime }
    }
}

async fn pass_on(mut connection: impl AsyncRead + AsyncWrite + Unpin, socket: &Path) {
    let mut engine = UnixStream::connect(socket).await.unwrap();
    let _ = copy_bidirectional(&mut connection, &mut engine).await;
}

#[test]
fn an_engine_is_reached_over_the_network() {
    let (proxy, image) = (Proxy::plain(), Image::new());
    for scheme in ["tcp", "http"] {
        let host = format!("{scheme}://127.0.0.1:{}", proxy.port);
        let run = image.is_built(&[("DOCKER_HOST", &host)]);
        let shown = format!("at tcp://127.0.0.1:{} with BuildKit", proxy.port);
        assert!(run.stderr.contains(&shown), "{run:?}");
    }
    let host = format!("tcp://localhost:{}", proxy.port);
    image.is_built(&[("DOCKER_HOST", &host)]);
}

#[test]
fn unreachable_engine_is_reported_with_the_cause() {
    let image = Image::new();
    let [port] = free_ports();
    let nobody = format!("tcp://127.0.0.1:{port}");
    image.is_out_of_reach(&[("DOCKER_HOST", &nobody)], &[&nobody, "connection refused"]);
    let folder = tempfile::tempdir().unwrap();
    let stale = folder.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let stale = format!("unix://{}", stale.display());
    image
        .is_out_of_reach(&[("DOCKER_HOST", &stale)], &[&stale, "no process listens on the socket"]);
    let wrong = image.build(&[("DOCKER_HOST", "localhost:2375")]).expect(2);
    assert!(wrong.stderr.contains("write unix:///path, tcp://host:port"), "{wrong:?}");
}

/// CA with the certificates that it issued, in the files that the Docker client expects.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        let authority = Self { folder, issuer };
        let (certificate, key) = authority.certificate("client");
        fs::write(authority.file("cert.pem"), certificate).unwrap();
        fs::write(authority.file("key.pem"), key).unwrap();
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn folder(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    /// Issues a certificate for this name; returns it and its key.
    fn certificate(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Returns a server of this name that accepts only clients with a certificate of this CA.
    fn server(&self, name: &str) -> ServerConfig {
        let (certificate, key) = self.certificate(name);
        let provider = Arc::new(ring::default_provider());
        let mut clients = RootCertStore::empty();
        clients.add(CertificateDer::from_pem_slice(self.issuer.pem().as_bytes()).unwrap()).unwrap();
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(clients), provider.clone());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap()
    }
}

#[test]
fn an_engine_is_reached_with_tls() {
    let (ours, image) = (Authority::new(), Image::new());
    let proxy = Proxy::with_tls(ours.server("127.0.0.1"));
    let host = format!("tcp://127.0.0.1:{}", proxy.port);
    let certificates = ("DOCKER_CERT_PATH", ours.folder());
    image.is_built(&[("DOCKER_HOST", &host), ("DOCKER_TLS_VERIFY", "1"), certificates]);
    image.is_built(&[("DOCKER_HOST", &host.replace("tcp", "https")), certificates]);
}

#[test]
fn tls_connection_needs_trust_on_both_sides() {
    let (ours, others, image) = (Authority::new(), Authority::new(), Image::new());
    let proxy = Proxy::with_tls(ours.server("127.0.0.1"));
    let elsewhere = Proxy::with_tls(ours.server("engine.example"));
    let refused = |proxy: &Proxy, certificates: &str, words: &[&str]| {
        let host = format!("tcp://127.0.0.1:{}", proxy.port);
        let variables = [
            ("DOCKER_HOST", host.as_str()),
            ("DOCKER_TLS_VERIFY", "1"),
            ("DOCKER_CERT_PATH", certificates),
        ];
        image.is_out_of_reach(&variables, &[&[host.as_str()], words].concat());
    };
    let of_another_ca = ["its certificate is not trusted", "ca.pem must contain the CA"];
    refused(&proxy, others.folder(), &of_another_ca);
    refused(&elsewhere, ours.folder(), &["its certificate is for another host"]);
    refused(&Proxy::plain(), ours.folder(), &["it does not speak TLS"]);

    fs::remove_file(ours.file("cert.pem")).unwrap();
    refused(&proxy, ours.folder(), &[ours.file("cert.pem").to_str().unwrap(), "can't be used"]);
    fs::remove_file(ours.file("key.pem")).unwrap();
    refused(&proxy, ours.folder(), &["it does not accept this client's certificate"]);
    fs::remove_file(ours.file("ca.pem")).unwrap();
    refused(&proxy, ours.folder(), &[ours.file("ca.pem").to_str().unwrap(), "can't be used"]);
}

/// Process that is ended with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Real ssh server for the user who runs the tests, and a client that trusts it.
struct SshServer {
    folder: TempDir,
    port: u16,
    _process: Process,
}

impl SshServer {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [port] = free_ports();
        for key in ["host", "user"] {
            let mut command = Command::new("ssh-keygen");
            command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.path().join(key));
            Run::of(command).expect(0);
        }
        let process = Process(start_ssh_server(folder.path(), port));
        let server = Self { folder, port, _process: process };
        server.write_client();
        server.wait();
        server
    }

    /// Writes a client called `ssh` with its own configuration: the real one takes the user's home
    /// from the system and not from the environment.
    fn write_client(&self) {
        let path = self.folder.path();
        let key = fs::read_to_string(path.join("host.pub")).unwrap();
        fs::write(path.join("known_hosts"), format!("[127.0.0.1]:{} {key}", self.port)).unwrap();
        let real = Run::of(shell("command -v ssh")).expect(0).stdout;
        let shown = path.display();
        let config = format!(
            "IdentityFile {shown}/user\nIdentitiesOnly yes\nIdentityAgent none\nBatchMode yes\n\
             UserKnownHostsFile {shown}/known_hosts\nStrictHostKeyChecking yes\n"
        );
        fs::write(path.join("config"), config).unwrap();
        fs::create_dir(path.join("bin")).unwrap();
        let client = path.join("bin/ssh");
        let script = format!("#!/bin/sh\nexec {} -F {shown}/config \"$@\"\n", real.trim());
        fs::write(&client, script).unwrap();
        fs::set_permissions(&client, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn wait(&self) {
        wait_for("the ssh server", || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok());
    }

    /// Returns a search path that begins with the client's folder.
    fn search_path(&self) -> String {
        let rest = std::env::var("PATH").unwrap();
        format!("{}/bin:{rest}", self.folder.path().display())
    }
}

/// Starts the server; on its side, the Docker client finds the engine of the tests.
fn start_ssh_server(folder: &Path, port: u16) -> Child {
    let user = Run::of(shell("id -u")).expect(0).stdout;
    if user.trim() == "0" {
        // The system may not have created the folder yet; without root the server does not need it.
        fs::create_dir_all("/run/sshd").unwrap();
    }
    let shown = folder.display();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {shown}/host\nPidFile none\n\
         AuthorizedKeysFile {shown}/user.pub\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         SetEnv DOCKER_HOST=unix://{}\n",
        socket().display()
    );
    fs::write(folder.join("sshd_config"), config).unwrap();
    Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f"])
        .arg(folder.join("sshd_config"))
        .stdin(Stdio::null())
        .stderr(fs::File::create(folder.join("sshd.log")).unwrap())
        .spawn()
        .expect("these tests need an ssh server: run scripts/install-tools")
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn an_engine_is_reached_through_ssh() {
    let (server, image) = (SshServer::new(), Image::new());
    let path = server.search_path();
    let user = Run::of(shell("id -un")).expect(0).stdout;
    let host = format!("ssh://{}@127.0.0.1:{}", user.trim(), server.port);
    let run = image.is_built(&[("PATH", &path), ("DOCKER_HOST", &host)]);
    assert!(run.stderr.contains(&format!("at {host} with BuildKit")), "{run:?}");
    let with_socket = format!("{host}{}", socket().display());
    image.is_built(&[("PATH", &path), ("DOCKER_HOST", &with_socket)]);
}

#[test]
fn errors_of_ssh_are_reported() {
    let (server, image) = (SshServer::new(), Image::new());
    let path = server.search_path();
    let refused = |host: &str, words: &[&str]| {
        image.is_out_of_reach(&[("PATH", &path), ("DOCKER_HOST", host)], words);
    };
    let [port] = free_ports();
    let nobody = format!("ssh://127.0.0.1:{port}");
    refused(&nobody, &[&nobody, "ssh: ", "Connection refused"]);
    let host = format!("ssh://127.0.0.1:{}", server.port);
    refused(
        &format!("{host}/nonexistent/e.sock"),
        &["/nonexistent/e.sock", "to test it, run: ssh"],
    );
    fs::write(server.folder.path().join("known_hosts"), "").unwrap();
    refused(&host, &["Host key verification failed"]);
    let variables = [("PATH", "/nonexistent"), ("DOCKER_HOST", host.as_str())];
    image.is_out_of_reach(&variables, &["the program ssh can't be run"]);
}

/// Configuration of the Docker client with contexts that the client itself creates.
struct Client {
    folder: TempDir,
}

impl Client {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn folder(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn run(&self, arguments: &[&str]) {
        let mut command = Command::new("docker");
        command.args(arguments).env("DOCKER_CONFIG", self.folder()).env_remove("DOCKER_HOST");
        command.env_remove("DOCKER_CONTEXT");
        Run::of(command).expect(0);
    }

    fn add(&self, name: &str, docker: &str) {
        self.run(&["context", "create", name, "--docker", docker]);
    }
}

#[test]
fn contexts_of_the_docker_client_are_followed() {
    let (client, image, ours) = (Client::new(), Image::new(), Authority::new());
    let (plain, tls) = (Proxy::plain(), Proxy::with_tls(ours.server("127.0.0.1")));
    let folder = ours.folder();
    client.add("plain", &format!("host=tcp://127.0.0.1:{}", plain.port));
    let files = format!("ca={folder}/ca.pem,cert={folder}/cert.pem,key={folder}/key.pem");
    client.add("safe", &format!("host=tcp://127.0.0.1:{},{files}", tls.port));
    client.run(&["context", "use", "plain"]);
    let config = ("DOCKER_CONFIG", client.folder());
    let current = image.is_built(&[config]);
    assert!(current.stderr.contains("(context 'plain')"), "{current:?}");
    let chosen = image.is_built(&[config, ("DOCKER_CONTEXT", "safe")]);
    assert!(chosen.stderr.contains("(context 'safe')"), "{chosen:?}");
    let host = format!("unix://{}", socket().display());
    let direct = image.is_built(&[config, ("DOCKER_CONTEXT", "safe"), ("DOCKER_HOST", &host)]);
    assert!(!direct.stderr.contains("context"), "{direct:?}");
}

#[test]
fn unusable_contexts_are_reported() {
    let (client, image) = (Client::new(), Image::new());
    client.add("far", "host=ssh://user@far.example");
    client.add("blind", "host=tcp://127.0.0.1:1,skip-tls-verify=true");
    let refused = |name: &str, words: &[&str]| {
        let variables = [("DOCKER_CONFIG", client.folder()), ("DOCKER_CONTEXT", name)];
        let run = image.build(&variables).expect(2);
        for word in words {
            assert!(run.stderr.contains(word), "no '{word}' in {run:?}");
        }
    };
    refused("near", &["no context 'near'", "known: blind, default, far"]);
    refused("blind", &["Kiln always verifies the engine's certificate"]);
}

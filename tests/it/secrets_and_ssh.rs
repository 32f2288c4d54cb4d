//! Secrets, ssh agents and caches that are lent to a build, with the real engine and real agents:
//! they reach the instructions, and no part of a secret is stored anywhere.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::{Cleanup, Engine, Run, TestTree, files_below, wait_for};
use sha2::{Digest as _, Sha256};

/// Secret that must not appear anywhere.
const SECRET: &str = "open sesame, said Ali Baba";

/// Tree with one image, built by an engine.
struct Lone {
    tree: TestTree,
    logs: tempfile::TempDir,
    _cleanup: Cleanup,
}

impl Lone {
    fn new(instruction: &str) -> Self {
        Self::on(Engine::Docker, instruction)
    }

    fn on(engine: Engine, instruction: &str) -> Self {
        engine.require();
        // BuildKit runs identical steps of concurrent builds only once.
        let text = format!("FROM debian:bookworm\nENV OF={{{{ namespace }}}}\n{instruction}\n");
        let tree = TestTree::new(&[("lone", &text)]).on(engine);
        let cleanup = Cleanup::of(engine, tree.namespace());
        Self { tree, logs: tempfile::tempdir().unwrap(), _cleanup: cleanup }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let logs = self.logs.path().to_str().unwrap();
        let usual = ["--nocache", "--debug", "--logs-dir", logs];
        let mut command = self.tree.command(&[&usual, arguments].concat());
        command.env_remove("SSH_AUTH_SOCK");
        command
    }

    fn build(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments))
    }

    fn reference(&self) -> String {
        self.tree.reference("lone")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.logs.path().join("lone.log")).unwrap()
    }

    /// Fails the test if the secret is in the output, the logs or the image.
    #[track_caller]
    fn keeps_the_secret(&self, run: &Run) {
        let reference = self.reference();
        let history = Engine::Docker.client(&["image", "history", "--no-trunc", &reference]);
        let inspect = Engine::Docker.client(&["image", "inspect", &reference]);
        let saved = Engine::Docker.client(&["save", &reference]);
        let said = format!("{run:?}{:?}{:?}", files_below(self.logs.path()), history.expect(0));
        let kept = format!("{}{}", inspect.expect(0).stdout, saved.expect(0).stdout);
        assert!(said.len() > 100 && kept.len() > 100_000, "too little to look through");
        assert!(!said.contains(SECRET) && !kept.contains(SECRET), "the secret is out: {said}");
    }
}

/// Instruction that prints the digest of a secret.
const DIGEST: &str = "RUN --mount=type=secret,id=x,required=true sha256sum /run/secrets/x";

fn digest() -> String {
    Sha256::digest(SECRET).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_secret_of_a_file_reaches_the_instruction_and_stays_nowhere() {
    let lone = Lone::new(DIGEST);
    lone.tree.write("secret.txt", SECRET);
    let file = lone.tree.path().join("secret.txt");
    let spec = format!("id=x,src={}", file.display());
    let run = lone.build(&["--secret", &spec]).expect(0);
    assert!(lone.log().contains(&digest()), "{}", lone.log());
    lone.keeps_the_secret(&run);
}

#[test]
fn a_secret_of_a_variable_reaches_the_instruction_and_stays_nowhere() {
    let lone = Lone::new(DIGEST);
    for spec in ["id=x,env=KEEP_ME", "type=env,id=x,src=KEEP_ME"] {
        let mut command = lone.command(&["--secret", spec]);
        command.env("KEEP_ME", SECRET);
        let run = Run::of(command).expect(0);
        assert!(lone.log().contains(&digest()), "{}", lone.log());
        lone.keeps_the_secret(&run);
    }
}

#[test]
fn secret_that_is_not_passed_fails_the_build() {
    let lone = Lone::new(DIGEST);
    let mut command = lone.command(&["--secret", "id=other,env=KEEP_ME"]);
    command.env("KEEP_ME", SECRET);
    let run = Run::of(command).expect(1);
    let reason = run.summary()["failed"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("secret x") && reason.contains("not found"), "{reason}");
    assert!(!format!("{run:?}").contains(SECRET), "{run:?}");
}

#[test]
fn builders_without_secrets_are_refused() {
    let lone = Lone::new("RUN true");
    lone.tree.write("secret.txt", SECRET);
    let spec = format!("id=x,src={}", lone.tree.path().join("secret.txt").display());
    let classic = lone.build(&["--nobuildkit", "--secret", &spec]).expect(2);
    assert!(classic.stderr.contains("leave out --nobuildkit"), "{classic:?}");
    let on_podman = Lone::on(Engine::Podman, "RUN true");
    let run = on_podman.build(&["--secret", &spec]).expect(2);
    assert!(run.stderr.contains("need BuildKit, which Podman"), "{run:?}");
    for refused in [&lone, &on_podman] {
        assert_eq!(files_below(refused.logs.path()).len(), 0, "something was built");
    }
}

/// Agent of ssh with one key.
struct Agent {
    folder: tempfile::TempDir,
    process: Child,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Agent {
    /// Starts an agent with a key that has this comment.
    fn with_key(comment: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        let process = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .expect("these tests need ssh: run scripts/install-tools");
        let agent = Self { folder, process };
        wait_for("the socket of the agent", || socket.exists());
        let key = agent.folder.path().join("key");
        let mut make = Command::new("ssh-keygen");
        make.args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]).arg(&key);
        Run::of(make).expect(0);
        let mut add = Command::new("ssh-add");
        add.arg(&key).env("SSH_AUTH_SOCK", &socket);
        Run::of(add).expect(0);
        agent
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }
}

/// Script that asks the agent for its keys, like `ssh-add -l`, and prints the printable characters
/// of the answer.
const ASK: &str = r#"
use IO::Socket::UNIX;
my $agent = IO::Socket::UNIX->new(Peer => $ENV{SSH_AUTH_SOCK}) or die "no agent: $!";
$agent->autoflush(1);
print $agent pack("NC", 1, 11);
read($agent, my $length, 4) == 4 or die "no answer";
read($agent, my $answer, unpack("N", $length));
$answer =~ s/[^ -~]+/ /g;
print "the agent says: $answer\n";
"#;

fn asking(mount: &str) -> Lone {
    let lone = Lone::new(&format!("COPY ask.pl /\nRUN --mount=type=ssh,{mount} perl /ask.pl"));
    lone.tree.write("lone/ask.pl", ASK);
    lone
}

#[test]
fn ssh_agents_are_reached_from_builds() {
    let (own, other) = (Agent::with_key("my own key"), Agent::with_key("the other key"));
    let lone = asking("required=true");
    let mut command = lone.command(&["--ssh", "default"]);
    command.env("SSH_AUTH_SOCK", own.socket());
    Run::of(command).expect(0);
    assert!(lone.log().contains("my own key"), "{}", lone.log());

    let named = asking("id=other,required=true");
    let spec = format!("other={}", other.socket().display());
    let mut command = named.command(&["--ssh", "default", "--ssh", &spec]);
    command.env("SSH_AUTH_SOCK", own.socket());
    Run::of(command).expect(0);
    assert!(named.log().contains("the other key"), "{}", named.log());
    assert!(!named.log().contains("my own key"), "{}", named.log());
}

#[test]
fn ssh_agent_that_is_not_passed_fails_the_build() {
    let lone = asking("required=true");
    lone.build(&[]).expect(1);
    let own = Agent::with_key("my own key");
    let spec = format!("else={}", own.socket().display());
    let run = lone.build(&["--ssh", &spec]).expect(1);
    let reason = run.summary()["failed"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("there is no --ssh default"), "{reason}");
}

/// BuildKit empties the cache mounts of a build without cache.
#[test]
fn a_cache_mount_is_kept_from_build_to_build() {
    let lone = Lone::new("");
    let cached = |text: &str, arguments: &[&str]| {
        let instruction = format!(
            "FROM debian:bookworm\nRUN --mount=type=cache,id={{{{ namespace }}}},target=/cache \
             echo {text} >> /cache/all && cp /cache/all /all\n"
        );
        lone.tree.image("lone", &instruction);
        lone.tree.build(arguments).expect(0);
        Engine::Docker.file_in(&lone.reference(), "/all")
    };
    assert_eq!(cached("first", &[]), "first\n");
    assert_eq!(cached("second", &[]), "first\nsecond\n");
    assert_eq!(cached("third", &["--nocache"]), "third\n");
}

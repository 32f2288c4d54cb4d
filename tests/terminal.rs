//! What a run looks like on a terminal: tmux is the terminal, and its screen is what is compared.

mod support;

use std::fs;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::{Cleanup, Engine, TestTree, in_older_words, replaced};

/// How long to wait for something to appear.
const PATIENCE: Duration = Duration::from_secs(120);

/// A terminal with a shell command in it, on a tmux server of its own.
struct Terminal {
    folder: tempfile::TempDir,
}

impl Terminal {
    fn running(command: &Command, columns: &str) -> Self {
        let terminal = Self { folder: tempfile::tempdir().unwrap() };
        let script = terminal.folder.path().join("script");
        fs::write(&script, shell_script(command)).unwrap();
        let start = ["-f", "/dev/null", "new-session", "-d", "-y", "40", "-x", columns, "sh"];
        let output = terminal.tmux(&[&start[..], &[script.to_str().unwrap()]].concat());
        assert!(output.status.success(), "tmux: {}", String::from_utf8_lossy(&output.stderr));
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(self.folder.path().join("socket")).args(arguments);
        tmux.env_remove("TMUX").env("LC_ALL", "C.UTF-8").output().expect("tmux is installed")
    }

    /// What is on the screen, and was scrolled off it, once all of `texts` are there. Lines that went
    /// on at the edge are whole again.
    fn screen_with(&self, texts: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            let output = self.tmux(&["capture-pane", "-p", "-J", "-S", "-"]);
            let screen = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
            if texts.iter().all(|text| screen.contains(text)) {
                return screen;
            }
            assert!(begun.elapsed() < PATIENCE, "no {texts:?} on the screen:\n{screen}");
            sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// The command with its environment, and its exit code after it.
fn shell_script(command: &Command) -> String {
    let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap());
    let mut script = String::new();
    for (name, value) in command.get_envs() {
        let name = name.to_str().unwrap();
        match value {
            Some(value) => script.push_str(&format!("export {name}={}\n", quoted(value))),
            None => script.push_str(&format!("unset {name}\n")),
        }
    }
    let words = [command.get_program()].into_iter().chain(command.get_args()).map(quoted);
    script.push_str(&words.collect::<Vec<_>>().join(" "));
    script.push_str("\necho \"exit $?\"\nsleep 600\n");
    script
}

/// The screen without what differs from run to run.
fn redacted(screen: &str, tree: &TestTree) -> String {
    let replacements = [
        (regex::escape(tree.path().to_str().unwrap()), "TREE"),
        (regex::escape(tree.namespace()), "NAMESPACE"),
        (r"Docker Engine \S+ at \S+".to_owned(), "ENGINE"),
        ("[0-9a-f]{12}".to_owned(), "SHORT-ID"),
        (r"\b\d+\.\d+s".to_owned(), "TIME"),
        ("[\u{2800}-\u{28ff}]".to_owned(), "*"),
        // A line of full width is followed by the next one as if it went on.
        (" *([█░]{12})".to_owned(), "\n$1"),
        (r" \d+s\b".to_owned(), " TIME"),
        (r" +TIME".to_owned(), " TIME"),
        (r"(?m) +$".to_owned(), ""),
    ];
    replaced(&in_older_words(screen), replacements.iter().map(|(from, to)| (from.as_str(), *to)))
}

/// An image that fails at once, and one that takes long enough to be seen.
fn family() -> TestTree {
    Engine::Docker.require();
    TestTree::new(&[
        ("base", "FROM debian:bookworm\nENV OF={{ namespace }}\n"),
        ("bad", "FROM @base\n\n# It fails.\nRUN echo is {{ base_distro }} \\\n    && false\n"),
        (
            "slow",
            "FROM @base\nRUN sleep 9 && echo a step with a name that is long, for narrow ones\n",
        ),
        ("waiting", "FROM @slow\n"),
    ])
}

fn command(tree: &TestTree) -> Command {
    let mut command = tree.command(&["--format", "none", "--nobuildkit", "--threads", "2"]);
    command.env("TERM", "xterm").env("NO_COLOR", "1").env_remove("COLUMNS");
    for name in ["DOCKER_HOST", "HOME", "PATH"] {
        command.env(name, std::env::var_os(name).unwrap_or_default());
    }
    command
}

fn a_failing_run_at(columns: &str) {
    let tree = family();
    let _cleanup = Cleanup::new(tree.namespace());
    let terminal = Terminal::running(&command(&tree), columns);
    let seen = terminal.screen_with(&["bad: error", "2/3 RUN sleep", "1 failed"]);
    insta::assert_snapshot!(format!("running-at-{columns}"), redacted(&seen, &tree));
    let seen = terminal.screen_with(&["exit 1"]);
    insta::assert_snapshot!(format!("ended-at-{columns}"), redacted(&seen, &tree));
}

#[test]
fn a_failing_run_on_a_usual_terminal() {
    a_failing_run_at("80");
}

#[test]
fn a_failing_run_on_a_narrow_terminal() {
    a_failing_run_at("40");
}

/// A window that changes its size in the middle of a run, and one of a terminal that can do nothing.
#[test]
fn odd_terminals_do_no_harm() {
    let tree = family();
    let _cleanup = Cleanup::new(tree.namespace());
    let terminal = Terminal::running(&command(&tree), "100");
    terminal.screen_with(&["2/3 RUN sleep"]);
    for columns in ["30", "10", "120"] {
        assert!(terminal.tmux(&["resize-window", "-x", columns]).status.success());
        sleep(Duration::from_millis(300));
    }
    let seen = terminal.screen_with(&["exit 1"]);
    assert!(seen.contains("2 built, 2 failed") || seen.contains("3 built, 1 failed"), "{seen}");

    let mut dumb = command(&tree);
    dumb.env("TERM", "dumb");
    let seen = Terminal::running(&dumb, "80").screen_with(&["exit 1"]);
    assert!(seen.contains("bad: building") && !seen.contains("3/4"), "{seen}");
    assert!(!seen.contains('\u{1b}'));
}

//! Display of a run on a terminal: the terminal is tmux, and the test compares its screen.

use std::fs;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

use crate::support::{Cleanup, Engine, TestTree, in_older_words, kiln, replaced, wait_within};

/// Longest time to wait for a text to appear.
const PATIENCE: Duration = Duration::from_secs(120);

/// Terminal that runs a shell command, on a tmux server of its own.
struct Terminal {
    folder: tempfile::TempDir,
}

impl Terminal {
    fn running(command: &Command, columns: &str) -> Self {
        let terminal = Self { folder: tempfile::tempdir().unwrap() };
        let script = terminal.folder.path().join("script");
        fs::write(&script, shell_script(command)).unwrap();
        // Programs may set the clipboard, as in many terminals.
        let conf = terminal.folder.path().join("conf");
        fs::write(&conf, "set-option -s set-clipboard on\n").unwrap();
        let start =
            ["-f", conf.to_str().unwrap(), "new-session", "-d", "-y", "40", "-x", columns, "sh"];
        let output = terminal.tmux(&[&start[..], &[script.to_str().unwrap()]].concat());
        assert!(output.status.success(), "tmux: {}", String::from_utf8_lossy(&output.stderr));
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(self.folder.path().join("socket")).args(arguments);
        tmux.env_remove("TMUX").env("LC_ALL", "C.UTF-8").output().expect("tmux is installed")
    }

    /// Returns the screen and the scrolled-off lines, once they contain all of `texts`. Wrapped
    /// lines are joined.
    fn screen_with(&self, texts: &[&str]) -> String {
        let mut screen = String::new();
        wait_within(PATIENCE, &format!("{texts:?} on the screen"), || {
            let output = self.tmux(&["capture-pane", "-p", "-J", "-S", "-"]);
            screen = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
            texts.iter().all(|text| screen.contains(text))
        });
        screen
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// Sequences that control a terminal: its clipboard, its title, its alternate screen, and the lines
/// above.
const DRIVING: &str = r"\033]52;c;cGxhbnRlZA==\007\033]0;planted-title\007\033[?1049h\033[2J\r\033[1A\033[2Kplanted: built";

/// Fails the test if a sequence has controlled the terminal.
#[track_caller]
fn expect_undriven(terminal: &Terminal) {
    let told = |arguments: &[&str]| {
        let output = terminal.tmux(arguments);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(told(&["show-buffer"]), "", "the clipboard was set");
    let state = told(&["display-message", "-p", "#{alternate_on} #{pane_title}"]);
    assert!(state.starts_with("0 ") && !state.contains("planted"), "{state}");
    let screen = told(&["capture-pane", "-p", "-J", "-S", "-"]);
    assert!(screen.starts_with("before\n"), "what stood there is gone:\n{screen}");
    assert!(!screen.lines().any(|line| line.starts_with("planted")), "{screen}");
}

/// Returns a script that runs the command with its environment, and prints its exit code.
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

/// Returns the screen without the parts that differ between runs.
fn redacted(screen: &str, tree: &TestTree) -> String {
    let replacements = [
        (regex::escape(tree.path().to_str().unwrap()), "TREE"),
        (regex::escape(tree.namespace()), "NAMESPACE"),
        (r"Docker Engine \S+ at \S+".to_owned(), "ENGINE"),
        ("[0-9a-f]{12}".to_owned(), "SHORT-ID"),
        (r"\b\d+\.\d+s".to_owned(), "TIME"),
        ("[\u{2800}-\u{28ff}]".to_owned(), "*"),
        // A line of full width is joined with the next one as if it were wrapped.
        (" *([█░]{12})".to_owned(), "\n$1"),
        (r" \d+s\b".to_owned(), " TIME"),
        (r" +TIME".to_owned(), " TIME"),
        (r"(?m) +$".to_owned(), ""),
    ];
    replaced(&in_older_words(screen), replacements.iter().map(|(from, to)| (from.as_str(), *to)))
}

/// Creates a tree with an image that fails at once, and one that takes long enough to be seen.
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

/// Tests a window that is resized in the middle of a run, and a terminal without any capabilities.
#[test]
fn unusual_terminals_are_tolerated() {
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

/// Returns the command, after one that prints a line.
fn after_a_line(command: &Command) -> Command {
    let mut after = Command::new("sh");
    after.args(["-c", "echo before; exec \"$0\" \"$@\""]);
    after.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => after.env(name, value),
            None => after.env_remove(name),
        };
    }
    after
}

/// Returns the sequences with real control characters.
fn driving() -> String {
    DRIVING.replace(r"\033", "\u{1b}").replace(r"\007", "\u{7}").replace(r"\r", "\r")
}

#[test]
fn the_terminal_of_these_tests_can_be_driven() {
    let mut command = Command::new("printf");
    command.arg(DRIVING);
    let terminal = Terminal::running(&command, "80");
    terminal.screen_with(&["planted: built"]);
    let clipboard = terminal.tmux(&["show-buffer"]);
    assert_eq!(String::from_utf8_lossy(&clipboard.stdout), "planted");
    let state = terminal.tmux(&["display-message", "-p", "#{alternate_on} #{pane_title}"]);
    assert_eq!(String::from_utf8_lossy(&state.stdout), "1 planted-title\n");
}

#[test]
fn a_tree_does_not_drive_the_terminal() {
    let tree = TestTree::new(&[("base", "FROM debian:bookworm\n"), ("never", "FROM @base\n")]);
    let manifest = fs::read_to_string(tree.path().join("tree.toml")).unwrap();
    let reason = DRIVING.replace(r"\033", r"\u001b").replace(r"\007", r"\u0007");
    let entry =
        format!("[[unbuildable]]\nimages = ['never']\nbase = ['one']\nreason = \"{reason}\"\n");
    tree.write("tree.toml", &format!("{manifest}{entry}"));
    tree.write(&format!("base/{}", driving()), "");
    let commands: [&[&str]; 4] =
        [&["explain", "never"], &["lint"], &["config", "show"], &["build", "--plan", "^never$"]];
    for words in commands {
        let mut command = kiln();
        command.args(words).args(["--namespace", "family", "--tree"]).arg(tree.path());
        command.env("TERM", "xterm");
        if words[0] == "config" {
            command.args(["--maintainer", &driving()]);
        }
        let terminal = Terminal::running(&after_a_line(&command), "80");
        terminal.screen_with(&[r"\u{1b}]52;c;cGxhbnRlZA==\u{7}", "\nexit "]);
        expect_undriven(&terminal);
    }
}

/// Tests the log of a build with and without progress bars, the report of a failure, and an
/// instruction beside a bar.
#[test]
fn a_build_does_not_drive_the_terminal() {
    Engine::Docker.require();
    let tree = TestTree::new(&[
        ("base", "FROM debian:bookworm\n"),
        (
            "bad",
            &format!(
                "FROM @base\nRUN printf '{DRIVING}\\n{DRIVING}\\n' && printf '{DRIVING}\\n' >&2 && sleep 1 && false\n"
            ),
        ),
        ("seen", &format!("FROM @base\nRUN sleep 3; : {}\n", driving())),
    ]);
    let _cleanup = Cleanup::new(tree.namespace());
    for arguments in [&["--nobuildkit"][..], &["--buildkit"], &["--buildkit", "--debug"]] {
        let mut command = tree.command(&[&["--nocache", "--format", "none"], arguments].concat());
        command.env("TERM", "xterm");
        for name in ["DOCKER_HOST", "HOME", "PATH"] {
            command.env(name, std::env::var_os(name).unwrap_or_default());
        }
        let terminal = Terminal::running(&after_a_line(&command), "120");
        let seen = terminal.screen_with(&["exit 1"]);
        expect_undriven(&terminal);
        assert!(seen.contains(r"bad | \u{1b}]52;c;cGxhbnRlZA==\u{7}"), "{seen}");
    }
}

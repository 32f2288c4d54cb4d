//! Pages of documentation: the files that they have a reader write and the commands that they have
//! one run, in their order.
//!
//! A fenced block with lines that begin with `$ ` is commands, each with what it says below it. A
//! block behind a line that ends with a path, as in "`docker/tree.toml`:", is that file; where it
//! begins with a remark that is a heading of TOML, as `# [users]`, its lines belong below that heading
//! of a file that is there. Other blocks show something.
//!
//! A command that is not run has a mark on a line of its own above its block, which no reader sees:
//! ``<!-- not run: `COMMAND`: REASON; instead: CHECK -->``, with the first line of the command, and
//! one of the checks of [`Check`].

use std::path::Path;

use regex::Regex;

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The line of the page, counted from 1.
    pub line: usize,
    /// Action of the step.
    pub act: Act,
}

/// Action that a page asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Write a file.
    Write { path: String, text: String },
    /// Put lines below a heading of a file.
    Insert { path: String, heading: String, text: String },
    /// Run a command, which says this; where nothing is shown, anything.
    Run { command: String, shown: Vec<String> },
}

/// Check in place of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// `spelled`: Kiln knows the options and takes their values.
    Spelled,
    /// `listed`: it would build something, in the tree that there is at this point of the page.
    Listed,
    /// `target`: there is such a target in the Makefile.
    Target,
    /// `file PATH`: the shell can read the command, and there is such a file in the repository.
    File(String),
}

/// Command that is not run.
#[derive(Debug, PartialEq, Eq)]
pub struct NotRun {
    /// First line of the command.
    pub command: String,
    pub check: Check,
}

impl NotRun {
    /// Returns true if this is the mark of a command.
    pub fn is_of(&self, command: &str) -> bool {
        let first = command.lines().next().unwrap_or_default();
        first.trim_end_matches('\\').trim_end() == self.command
    }
}

/// Returns the commands that a page marks as not run.
///
/// # Errors
/// When a mark is written wrongly.
pub fn not_run(page: &str) -> Result<Vec<NotRun>, String> {
    let mark = Regex::new("^<!-- not run: `([^`]+)`: .+; instead: ([a-z]+)(?: (\\S+))? -->$");
    let mark = mark.expect("a literal");
    let marks = page.lines().zip(1..).filter(|(line, _)| line.contains("<!-- not run"));
    let read = |(line, number): (&str, usize)| {
        let wrong = || format!("line {number}: this is no mark of a command that is not run");
        let found = mark.captures(line).ok_or_else(wrong)?;
        let check = match (&found[2], found.get(3)) {
            ("spelled", None) => Check::Spelled,
            ("listed", None) => Check::Listed,
            ("target", None) => Check::Target,
            ("file", Some(path)) => Check::File(path.as_str().to_owned()),
            _ => return Err(wrong()),
        };
        Ok(NotRun { command: found[1].to_owned(), check })
    };
    marks.map(read).collect()
}

/// Returns the steps of a page.
///
/// # Errors
/// The mistake in the page, in words.
pub fn steps(page: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut block: Option<Block> = None;
    let mut before = "";
    for (index, line) in page.lines().enumerate() {
        match &mut block {
            Some(open) if line.trim() == open.fence => {
                steps.extend(open.steps(before).map_err(|e| format!("line {}: {e}", open.line))?);
                block = None;
                before = "";
            }
            Some(open) => open.lines.push(line),
            None => match Block::opened_by(line, index + 1) {
                Some(opened) => block = Some(opened),
                None if line.starts_with("    ") && is_command(line.trim_start()) => {
                    return Err(format!("line {}: a command wants a fenced block", index + 1));
                }
                None if line.trim_start().starts_with("~~~") => {
                    return Err(format!("line {}: a block begins with three backticks", index + 1));
                }
                None if !line.trim().is_empty() => before = line,
                None => {}
            },
        }
    }
    match block {
        Some(open) => Err(format!("line {}: the block has no end", open.line)),
        None => Ok(steps),
    }
}

/// The text of a page without its blocks.
pub fn prose(page: &str) -> String {
    let mut within = false;
    let mut text = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            within = !within;
        } else if !within {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// Returns true if a line is a command for a shell.
fn is_command(line: &str) -> bool {
    let programs = Regex::new(r"^(\$ |(sudo )?(kiln|kolla-build|docker|podman|make|cargo|git) )");
    programs.expect("a literal").is_match(line)
}

struct Block<'a> {
    line: usize,
    fence: &'a str,
    language: &'a str,
    lines: Vec<&'a str>,
}

impl<'a> Block<'a> {
    fn opened_by(text: &'a str, line: usize) -> Option<Self> {
        let text = text.trim_start();
        let ticks = text.len() - text.trim_start_matches('`').len();
        let (fence, language) = text.split_at(ticks);
        (ticks >= 3).then_some(Self { line, fence, language, lines: Vec::new() })
    }

    fn steps(&self, before: &str) -> Result<Vec<Step>, String> {
        if self.lines.first().is_some_and(|line| line.starts_with("$ ")) {
            return self.commands();
        }
        if self.lines.iter().any(|line| is_command(line)) {
            return Err("commands begin with '$ ', and so does their block".to_owned());
        }
        if self.language == "console" {
            return Err("there is no command in this block".to_owned());
        }
        Ok(self.file(before).into_iter().collect())
    }

    fn commands(&self) -> Result<Vec<Step>, String> {
        let mut steps: Vec<Step> = Vec::new();
        let mut lines = self.lines.iter().zip(self.line + 1..);
        while let Some((line, number)) = lines.next() {
            let Some(first) = line.strip_prefix("$ ") else {
                let Some(Act::Run { shown, .. }) = steps.last_mut().map(|step| &mut step.act)
                else {
                    return Err("there is no command above this".to_owned());
                };
                shown.push((*line).to_owned());
                continue;
            };
            let mut command = first.to_owned();
            while command.ends_with('\\') {
                let (more, _) = lines.next().ok_or("the last command goes on nowhere")?;
                command = format!("{command}\n{more}");
            }
            steps.push(Step { line: number, act: Act::Run { command, shown: Vec::new() } });
        }
        for step in &mut steps {
            if let Act::Run { shown, .. } = &mut step.act {
                while shown.last().is_some_and(String::is_empty) {
                    shown.pop();
                }
            }
        }
        Ok(steps)
    }

    fn file(&self, before: &str) -> Option<Step> {
        let named = Regex::new("`([^`\\s]*[./][^`\\s]*)`:$").expect("a literal");
        let path = named.captures(before.trim_end())?[1].to_owned();
        let heading = self.lines.first().and_then(|line| line.strip_prefix("# "));
        let act = match heading.filter(|line| line.starts_with('[')) {
            Some(heading) => {
                let text = text_of(&self.lines[1..]);
                Act::Insert { path, heading: heading.to_owned(), text }
            }
            None => Act::Write { path, text: text_of(&self.lines) },
        };
        Some(Step { line: self.line, act })
    }
}

fn text_of(lines: &[&str]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// A text with lines put below a heading of it. A heading of a list, as `[[unbuildable]]`, makes an
/// entry of its own, before the others.
pub fn inserted(text: &str, heading: &str, lines: &str) -> Option<String> {
    let (start, rest) = text.split_once(&format!("\n{heading}\n"))?;
    let again = if heading.starts_with("[[") { format!("\n{heading}\n") } else { String::new() };
    Some(format!("{start}\n{heading}\n{lines}{again}{rest}"))
}

/// Returns true if the output of a command is the one that a page shows. A line `...` stands for any
/// lines, and `...` in a line for any text; times and digests may differ.
pub fn agrees(shown: &[String], said: &[String]) -> bool {
    match shown.split_first() {
        None => said.is_empty(),
        Some((any, rest)) if any == "..." => (0..=said.len()).any(|n| agrees(rest, &said[n..])),
        Some((line, rest)) => said
            .split_first()
            .is_some_and(|(first, more)| line_agrees(line, first) && agrees(rest, more)),
    }
}

fn line_agrees(shown: &str, said: &str) -> bool {
    let pattern = regex::escape(&settled(shown)).replace(r"\.\.\.", ".*");
    Regex::new(&format!("^{pattern}$")).expect("it is escaped").is_match(&settled(said))
}

/// A line with what differs from run to run put out of sight.
fn settled(line: &str) -> String {
    let mut line = line.trim_end().to_owned();
    let varying = [
        (r"\b\d+\.\d+ ?s\b", "TIME"),
        (r"\babout \d+s\b", "TIME"),
        (r"\b[0-9a-f]{12,}\b", "HEX"),
        (" +", " "),
    ];
    for (pattern, name) in varying {
        let pattern = Regex::new(pattern).expect("a literal");
        line = pattern.replace_all(&line, name).into_owned();
    }
    line
}

/// The paths that the links of a page lead to, without those to other sites.
pub fn links(page: &str) -> Vec<String> {
    let link = Regex::new(r"\]\(([^)\s]+)\)").expect("a literal");
    let targets = link.captures_iter(page).map(|found| found[1].to_owned());
    targets.filter(|target| !target.contains("://")).collect()
}

/// The pages below a folder, and in it, as paths from `root`.
pub fn pages_below(root: &Path, folder: &str) -> Vec<String> {
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(root.join(folder)).expect("a readable folder") {
        let entry = entry.expect("a readable entry");
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            pages.extend(pages_below(root, &path));
        } else if path.ends_with(".md") {
            pages.push(path);
        }
    }
    pages.sort();
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
Text, and a file, `one/two.toml`:

```toml
[users]
```

More of it, in `one/two.toml`:

```toml
# [users]
me = 1
```

```console
$ kiln build \\
    one
1 : base
...
$ true

```
";

    #[test]
    fn marks_of_commands_that_are_not_run_are_read() {
        let read = |check: &str| {
            not_run(&format!(
                "text\n<!-- not run: `make x \"y\"`: takes hours; instead: {check} -->\n"
            ))
        };
        let command = "make x \"y\"".to_owned();
        for (written, check) in [
            ("spelled", Check::Spelled),
            ("listed", Check::Listed),
            ("target", Check::Target),
            ("file a/b.toml", Check::File("a/b.toml".to_owned())),
        ] {
            assert_eq!(read(written), Ok(vec![NotRun { command: command.clone(), check }]));
        }
        for wrong in ["nothing", "file", "target x", ""] {
            assert!(read(wrong).unwrap_err().starts_with("line 2: "), "{wrong}");
        }
        let mark = NotRun { command, check: Check::Target };
        assert!(mark.is_of("make x \"y\"") && mark.is_of("make x \"y\" \\\n    z"));
        assert!(!mark.is_of("make x") && !mark.is_of("make x \"y\" z"));
    }

    #[test]
    fn files_and_commands_are_found_in_their_order() {
        let shown = ["1 : base", "..."].map(str::to_owned).to_vec();
        let text = |text: &str| text.to_owned();
        let expected = [
            (3, Act::Write { path: text("one/two.toml"), text: text("[users]\n") }),
            (
                9,
                Act::Insert {
                    path: text("one/two.toml"),
                    heading: text("[users]"),
                    text: text("me = 1\n"),
                },
            ),
            (15, Act::Run { command: text("kiln build \\\n    one"), shown }),
            (19, Act::Run { command: text("true"), shown: Vec::new() }),
        ];
        let expected = expected.map(|(line, act)| Step { line, act });
        assert_eq!(steps(PAGE).unwrap(), expected);
    }

    #[test]
    fn no_command_escapes() {
        for (page, wrong) in [
            ("```\nkiln build\n```\n", "line 1: commands begin with '$ '"),
            ("```sh\nsudo make install\n```\n", "line 1: commands begin with '$ '"),
            ("```\n[DEFAULT]\n$ kiln build\n```\n", "line 1: commands begin with '$ '"),
            ("```console\n1 : base\n```\n", "line 1: there is no command in this block"),
            ("\n    kiln build --push\n", "line 2: a command wants a fenced block"),
            ("~~~\nkiln build\n~~~\n", "line 1: a block begins with three backticks"),
            ("```\n$ true\n", "line 1: the block has no end"),
        ] {
            let told = steps(page).unwrap_err();
            assert!(told.starts_with(wrong), "{page}{told}");
        }
    }

    #[test]
    fn shown_output_is_compared() {
        let agree = |shown: &str, said: &str| {
            let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
            agrees(&lines(shown), &lines(said))
        };
        assert!(agree("one\n...\nfour", "one\ntwo\nthree\nfour"));
        assert!(agree("one\n...", "one"));
        assert!(agree("by ... at 1.0s", "by Docker at 12.3s"));
        assert!(agree("  wave 1  base    0.8s", "  wave 1  base      0.1s"));
        assert!(!agree("one\n...\nfour", "one\ntwo"));
        assert!(!agree("one", "one\ntwo"));
        assert!(!agree("1 built", "2 built"));
        assert!(!agree("a.c", "abc"));
    }

    #[test]
    fn lines_go_below_their_heading() {
        let text = "a = 1\n[x]\nb = 2\n[[y]]\nc = 3\n";
        let of = |heading, lines| inserted(text, heading, lines);
        assert_eq!(of("[x]", "n = 0\n").unwrap(), "a = 1\n[x]\nn = 0\nb = 2\n[[y]]\nc = 3\n");
        let entry = "a = 1\n[x]\nb = 2\n[[y]]\nn = 0\n\n[[y]]\nc = 3\n";
        assert_eq!(of("[[y]]", "n = 0\n").unwrap(), entry);
        assert_eq!(of("[z]", "n = 0\n"), None);
    }
}

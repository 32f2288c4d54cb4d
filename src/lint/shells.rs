//! Shells that the instructions of a stage are run in, and the commands that a shell gets.
//!
//! A stage begins with the shell of its base: an image of the tree, an earlier stage, or an image
//! that the tree does not have. The latter is taken to have the default of its operating system. Only
//! the text for a POSIX shell is a command to the rules; any other text is none of theirs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::dockerfile::{HereDocument, Instruction, StageBase, instructions};
use crate::graph;
use crate::image::{ImageRef, Platform};

/// Shell that a command is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shell {
    /// POSIX shell, the default of an image for Linux.
    Sh,
    /// Bash.
    Bash,
}

impl Shell {
    /// Returns the name of the program.
    pub fn program(self) -> &'static str {
        match self {
            Self::Sh => "sh",
            Self::Bash => "bash",
        }
    }

    /// Returns the shell that is run as `program`; `None` for any other program.
    fn run_as(program: &str) -> Option<Self> {
        match program.rsplit('/').next()? {
            "sh" | "dash" | "ash" => Some(Self::Sh),
            "bash" => Some(Self::Bash),
            _ => None,
        }
    }
}

/// Command of a `RUN`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShellCommand {
    /// Shell that runs the command.
    pub shell: Shell,
    /// Text of the command.
    pub code: String,
}

/// Environment that instructions are run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunEnvironment {
    /// Shell of `RUN`; `None` for one that is no POSIX shell, or unknown.
    shell: Option<Shell>,
    /// True for an image of Windows.
    pub(super) is_windows: bool,
}

impl RunEnvironment {
    fn of_system(is_windows: bool) -> Self {
        Self { shell: (!is_windows).then_some(Shell::Sh), is_windows }
    }

    /// Returns the environment after an instruction.
    fn after(self, instruction: &Instruction<'_>) -> Self {
        match instruction.is("SHELL") {
            true => Self { shell: shell_of(&instruction.code()), ..self },
            false => self,
        }
    }
}

/// Environments at the end of a stage, with which the stages based on it begin.
#[derive(Debug, Clone, Copy)]
struct StageEnd {
    own: RunEnvironment,
    /// The same after `ONBUILD`, which only the next stage runs.
    triggered: RunEnvironment,
}

/// Environment at the start of each stage, by the name of the image.
pub(super) struct Shells<'a> {
    starts: BTreeMap<&'a str, Vec<RunEnvironment>>,
}

impl<'a> Shells<'a> {
    /// Returns the environments for the images of an axis.
    pub(super) fn of(images: &'a [graph::Image]) -> Self {
        let references = images.iter().enumerate().flat_map(|(index, image)| {
            [Some(&image.reference), image.alias.as_ref()]
                .into_iter()
                .flatten()
                .map(move |r| (r, index))
        });
        let by_reference: BTreeMap<&ImageRef, usize> = references.collect();
        let mut ends: Vec<Option<StageEnd>> = vec![None; images.len()];
        let mut is_open = vec![false; images.len()];
        let mut starts = BTreeMap::new();
        for first in 0..images.len() {
            let mut open = vec![first];
            is_open[first] = true;
            while let Some(&index) = open.last() {
                let image = &images[index];
                let unread = bases(image)
                    .filter_map(|base| by_reference.get(base).copied())
                    // A base that is open is part of a cycle, which another rule finds.
                    .find(|base| ends[*base].is_none() && !is_open[*base]);
                if let Some(base) = unread {
                    is_open[base] = true;
                    open.push(base);
                    continue;
                }
                open.pop();
                if ends[index].is_none() {
                    let of_base = |base: &ImageRef| ends[*by_reference.get(base)?];
                    let (begun, last) = of_image(image, &of_base);
                    ends[index] = last;
                    starts.insert(image.name.as_str(), begun);
                }
            }
        }
        Self { starts }
    }

    /// Returns each instruction of an image with the environment that it is run in.
    pub(super) fn of_instructions<'i, 't>(
        &self,
        image: &graph::Image,
        instructions: &'i [Instruction<'t>],
    ) -> Vec<(&'i Instruction<'t>, RunEnvironment)> {
        let mut starts = self.starts.get(image.name.as_str()).into_iter().flatten().copied();
        let mut now = RunEnvironment::of_system(false);
        let each = instructions.iter().map(|instruction| {
            now = match instruction.is("FROM") {
                true => starts.next().unwrap_or(now),
                false => now.after(instruction),
            };
            (instruction, now)
        });
        each.collect()
    }
}

/// Returns the images that the stages of an image are based on.
fn bases(image: &graph::Image) -> impl Iterator<Item = &ImageRef> {
    let dockerfile = &image.dockerfile;
    dockerfile.stages.iter().filter_map(|stage| match stage.base {
        StageBase::Image(index) => Some(&dockerfile.references[index].image),
        StageBase::Scratch | StageBase::Stage(_) => None,
    })
}

/// Returns the environment at the start of each stage of an image, and those at the end of its last stage;
/// `of_base` returns the latter for an image of the tree.
fn of_image(
    image: &graph::Image,
    of_base: &dyn Fn(&ImageRef) -> Option<StageEnd>,
) -> (Vec<RunEnvironment>, Option<StageEnd>) {
    let dockerfile = &image.dockerfile;
    let mut starts: Vec<RunEnvironment> = Vec::new();
    let mut ends: Vec<StageEnd> = Vec::new();
    for instruction in &instructions(&image.text) {
        if instruction.is("FROM") {
            let Some(stage) = dockerfile.stages.get(starts.len()) else { break };
            let platform = stage.platform.as_ref().unwrap_or(&image.target);
            let start = match stage.base {
                StageBase::Scratch => RunEnvironment::of_system(is_windows(platform)),
                StageBase::Stage(earlier) => ends[earlier].triggered,
                StageBase::Image(index) => {
                    let base = &dockerfile.references[index].image;
                    let is_windows = is_windows(platform) || is_for_windows(base);
                    of_base(base).map_or(RunEnvironment::of_system(is_windows), |end| end.triggered)
                }
            };
            starts.push(start);
            ends.push(StageEnd { own: start, triggered: start });
        } else if let Some(end) = ends.last_mut() {
            end.own = end.own.after(instruction);
            if instruction.is("SHELL") {
                end.triggered = end.own;
            }
            if let Some(shell) = triggered_shell(instruction) {
                end.triggered.shell = shell;
            }
        }
    }
    (starts, ends.last().copied())
}

/// Returns the shell of `ONBUILD SHELL`; `None` for any other instruction.
fn triggered_shell(instruction: &Instruction<'_>) -> Option<Option<Shell>> {
    let code = instruction.is("ONBUILD").then(|| instruction.code())?;
    let (keyword, rest) = code.split_once(char::is_whitespace)?;
    keyword.eq_ignore_ascii_case("SHELL").then(|| shell_of(rest.trim()))
}

fn is_windows(platform: &Platform) -> bool {
    platform.os() == "windows"
}

/// Parts of references of base images for Windows, in the name or the tag.
const WINDOWS_PARTS: [&str; 2] = ["nanoserver", "servercore"];

/// Repositories of base images for Windows, with all below them.
const WINDOWS_REPOSITORIES: [(&str, &str); 2] =
    [("mcr.microsoft.com", "windows"), ("mcr.microsoft.com", "dotnet/framework")];

/// Returns true if an image is known to be for Windows by its reference.
fn is_for_windows(image: &ImageRef) -> bool {
    let is_in = |(registry, repository): &(&str, &str)| {
        let within = image.repository().strip_prefix(repository);
        image.registry() == Some(registry)
            && within.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let tag = image.tag().unwrap_or_default();
    WINDOWS_REPOSITORIES.iter().any(is_in)
        || WINDOWS_PARTS.iter().any(|part| image.repository().contains(part) || tag.contains(part))
}

/// Returns the shell that a list of words in JSON calls with a command, as in `SHELL`, directly or
/// through other programs; `None` for any other program.
fn shell_of(list: &str) -> Option<Shell> {
    let words: Vec<String> = serde_json::from_str(list).ok()?;
    let at = words.iter().rposition(|word| Shell::run_as(word).is_some())?;
    let takes_command =
        |word: &String| word.starts_with('-') && !word.starts_with("--") && word.contains('c');
    words[at + 1..].iter().any(takes_command).then(|| Shell::run_as(&words[at]))?
}

/// Returns the commands that shells get from a `RUN`: its line, the script that a here-document is,
/// or the here-document that the line feeds to a shell. Empty for the exec form, and for other
/// interpreters.
pub(super) fn shell_commands(
    instruction: &Instruction<'_>,
    environment: RunEnvironment,
) -> Vec<ShellCommand> {
    let code = instruction.code();
    if code.is_empty() || serde_json::from_str::<Vec<String>>(&code).is_ok() {
        return Vec::new();
    }
    if let Some(script) = instruction.script() {
        let code = script.content().into_owned();
        let shell = match code.strip_prefix("#!").filter(|_| !environment.is_windows) {
            Some(line) => interpreter(line.lines().next().unwrap_or_default()),
            None => environment.shell,
        };
        return shell.map(|shell| ShellCommand { shell, code }).into_iter().collect();
    }
    let Some(shell) = environment.shell else { return Vec::new() };
    let mut commands = Vec::new();
    if let [document] = instruction.documents()
        && let Some(fed) = reader(&code)
    {
        // Without quotes the outer shell changes the text before the inner one reads it.
        let is_as_written = document.is_quoted() || !document.body().contains(['$', '`', '\\']);
        let code = document.content().into_owned();
        commands.extend(is_as_written.then_some(ShellCommand { shell: fed, code }));
    }
    let code = with_documents(code, instruction.documents());
    commands.insert(0, ShellCommand { shell, code });
    commands
}

/// Returns a command as a shell gets it: with its here-documents below.
fn with_documents(mut code: String, documents: &[HereDocument<'_>]) -> String {
    for document in documents {
        code.push('\n');
        code.push_str(document.body());
        code.push_str(document.name());
    }
    code
}

/// Returns the interpreter of a script by its first line, without the `#!`; `None` if it is no POSIX
/// shell.
fn interpreter(line: &str) -> Option<Shell> {
    let mut words = line.split_whitespace();
    let program = words.next()?;
    if program.rsplit('/').next() != Some("env") {
        return Shell::run_as(program);
    }
    let is_setting = |word: &&str| word.starts_with('-') || word.contains('=');
    Shell::run_as(words.find(|word| !is_setting(word))?)
}

/// Returns the shell that reads the here-document of a line as its commands: the line calls it with
/// nothing but options, as `bash -eux <<EOF`. `None` for any other line.
fn reader(code: &str) -> Option<Shell> {
    let is_opening = |word: &str| word.trim_start_matches('-').starts_with("<<");
    let mut words = code.split_whitespace().filter(|word| !is_opening(word));
    let shell = Shell::run_as(words.next()?)?;
    let is_option = |word: &str| {
        word == "-s"
            || word.starts_with(['-', '+']) && !word.contains(['c', 'n', '<', '>', '|', '&'])
    };
    words.all(|word| is_option(word) || word == "pipefail").then_some(shell)
}

/// Returns the text of a `RUN` that is searched for commands: all that its shells get.
pub(super) fn whole_code(commands: &[ShellCommand]) -> Cow<'_, str> {
    match commands {
        [only] => Cow::Borrowed(&only.code),
        several => {
            let codes: Vec<&str> = several.iter().map(|one| one.code.as_str()).collect();
            Cow::Owned(codes.join("\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::{ReadingInput, parse};
    use crate::image::{ImageName, Naming};

    /// Returns images of a name and a Dockerfile; `@x` stands for the reference of image `x`.
    fn images(texts: &[(&str, &str)]) -> Vec<graph::Image> {
        let naming = Naming::new(None, "shells", "", "1").unwrap();
        let target: Platform = "linux/amd64".parse().unwrap();
        let image = |(name, text): &(&str, &str)| {
            let text = regex::Regex::new("@([a-z]+)").unwrap().replace_all(text, "shells/$1:1");
            graph::Image {
                name: ImageName::new(name),
                naming: naming.clone().into(),
                reference: naming.reference(name).unwrap(),
                list: None,
                alias: None,
                template: String::new(),
                dockerfile: parse(&text, &ReadingInput::default()).unwrap(),
                text: text.into(),
                target: target.clone().into(),
                builds_all_stages: false,
            }
        };
        texts.iter().map(image).collect()
    }

    /// Returns the shell of each command in the last image, each command once more in its words.
    fn commands_in_last(texts: &[(&str, &str)]) -> Vec<String> {
        let images = images(texts);
        let shells = Shells::of(&images);
        let last = images.last().unwrap();
        let instructions = instructions(&last.text);
        let runs = shells.of_instructions(last, &instructions).into_iter();
        let runs = runs.filter(|(instruction, _)| instruction.is("RUN"));
        let commands = runs.flat_map(|(run, environment)| shell_commands(run, environment));
        commands
            .map(|one| format!("{} {}", one.shell.program(), one.code.replace('\n', "\\n")))
            .collect()
    }

    #[test]
    fn shell_comes_from_the_stage_and_its_bases() {
        let bash = "SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\n";
        let powershell = "SHELL [\"pwsh\", \"-Command\"]\n";
        let parent = |text: &str| format!("FROM alpine:3\n{text}");
        for (base, text, expected) in [
            ("", "FROM alpine:3\nRUN a\n".to_owned(), &["sh a"][..]),
            ("", format!("FROM alpine:3\nRUN a\n{bash}RUN b\n"), &["sh a", "bash b"]),
            ("", format!("FROM alpine:3\n{powershell}RUN a\nFROM alpine:3\nRUN b\n"), &["sh b"]),
            ("", format!("FROM alpine:3 AS x\n{bash}FROM x\nRUN a\n"), &["bash a"]),
            (&parent(powershell), "FROM @base\nRUN a\n".to_owned(), &[]),
            (
                &parent(bash),
                "FROM @base AS x\nRUN a\nFROM x\nRUN b\n".to_owned(),
                &["bash a", "bash b"],
            ),
            (&parent(bash), "FROM alpine:3\nCOPY --from=@base / /\nRUN a\n".to_owned(), &["sh a"]),
            (
                &format!("FROM alpine:3 AS x\n{powershell}FROM alpine:3\nCOPY --from=x / /\n"),
                "FROM @base\nRUN a\n".to_owned(),
                &["sh a"],
            ),
            (&parent("ONBUILD SHELL [\"fish\", \"-c\"]\n"), "FROM @base\nRUN a\n".to_owned(), &[]),
            (
                &parent("SHELL [\"cmd\", \"/S\", \"/C\"]\n"),
                format!("FROM @base\n{bash}RUN a\n"),
                &["bash a"],
            ),
        ] {
            let mut texts = vec![("base", base), ("app", text.as_str())];
            texts.retain(|(_, text)| !text.is_empty());
            assert_eq!(commands_in_last(&texts), expected, "{base} {text}");
        }
        let circle = [("base", "FROM @app\nRUN a\n"), ("app", "FROM @base\nRUN b\n")];
        assert_eq!(commands_in_last(&circle), ["sh b"]);
    }

    #[test]
    fn images_of_windows_have_no_posix_shell() {
        for (from, expected) in [
            ("mcr.microsoft.com/windows/server:ltsc2022", false),
            ("mcr.microsoft.com/windows:20H2", false),
            ("mcr.microsoft.com/dotnet/framework/aspnet:4.8", false),
            ("mcr.microsoft.com/dotnet/sdk:8.0-nanoserver-1809", false),
            ("golang:1.25-windowsservercore-ltsc2025", false),
            ("--platform=windows/amd64 example.com/tools:1", false),
            ("--platform=windows/amd64 scratch", false),
            ("mcr.microsoft.com/dotnet/sdk:8.0", true),
            ("example.com/windows/fonts:1", true),
            ("mcr.microsoft.com/windowsfonts:1", true),
        ] {
            let text = format!("# escape=`\nFROM {from} AS x\nFROM x\nRUN a\n");
            assert_eq!(!commands_in_last(&[("app", &text)]).is_empty(), expected, "{from}");
        }
    }

    #[test]
    fn lists_name_shells_directly_or_through_other_programs() {
        for (list, expected) in [
            ("[\"/bin/sh\", \"-c\"]", Some(Shell::Sh)),
            ("[\"dash\", \"-ec\"]", Some(Shell::Sh)),
            ("[\"busybox\", \"ash\", \"-euc\"]", Some(Shell::Sh)),
            ("[\"conda\", \"run\", \"-n\", \"x\", \"/bin/bash\", \"-c\"]", Some(Shell::Bash)),
            ("[\"bash\", \"--login\"]", None),
            ("[\"powershell\", \"-Command\"]", None),
            ("[\"python3\", \"-c\"]", None),
            ("[\"bash\" \"-c\"]", None),
            ("[]", None),
        ] {
            assert_eq!(shell_of(list), expected, "{list}");
        }
    }

    #[test]
    fn shells_get_only_what_is_written_for_them() {
        for (run, expected) in [
            ("RUN [\"apt-get\", \"install\", \"a\"]", &[][..]),
            ("RUN [ -e /a ] || b", &["sh [ -e /a ] || b"]),
            ("RUN <<E\na\nb\nE", &["sh a\\nb\\n"]),
            ("RUN <<-'E'\n\ta\n\tE", &["sh a\\n"]),
            ("RUN <<E\n#!/usr/bin/env python3\nimport a\nE", &[]),
            ("RUN <<E\n#!/usr/bin/perl -w\na\nE", &[]),
            ("RUN <<E\n#!/bin/bash -eu\na\nE", &["bash #!/bin/bash -eu\\na\\n"]),
            (
                "RUN <<E\n#! /usr/bin/env -S A=b sh -e\na\nE",
                &["sh #! /usr/bin/env -S A=b sh -e\\na\\n"],
            ),
            ("RUN python3 <<E\nimport a\nE", &["sh python3 <<E\\nimport a\\nE"]),
            ("RUN cat <<E >/x && a\nb\nE", &["sh cat <<E >/x && a\\nb\\nE"]),
            (
                "RUN bash -euo pipefail <<'E'\na $b\nE",
                &["sh bash -euo pipefail <<'E'\\na $b\\nE", "bash a $b\\n"],
            ),
            ("RUN sh <<E\na \\$b\nE", &["sh sh <<E\\na \\$b\\nE"]),
            ("RUN bash -c 'cat' <<'E'\na\nE", &["sh bash -c 'cat' <<'E'\\na\\nE"]),
            ("RUN --mount=target=/x <<E\na\nE", &["sh a\\n"]),
        ] {
            let text = format!("FROM alpine:3\n{run}\n");
            assert_eq!(commands_in_last(&[("app", &text)]), expected, "{run}");
        }
    }
}

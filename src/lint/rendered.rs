//! Checks of the rendered Dockerfiles.
//!
//! A finding in a line of a Dockerfile is reported for the template's line that it comes from, or
//! for the component's line if only a component contains it. So an error in a component that all
//! images share is one finding.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use regex::Regex;

use super::commands::{PackageCommand, commands, package_command};
use super::{Axis, Findings, Remark, Rule, Subject, line_at};
use crate::diagnostic::nearest;
use crate::dockerfile::{Instruction, Via, instructions};
use crate::graph;
use crate::template::origin_line;

/// All instructions of the Dockerfile format.
const INSTRUCTIONS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Folder in which apt keeps the package lists.
const APT_LISTS: &str = "/var/lib/apt";

/// Shell that a command is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shell {
    /// POSIX shell, the default of an image.
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
}

/// Command of a `RUN`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShellCommand {
    /// Shell that runs the command.
    pub shell: Shell,
    /// Text of the command.
    pub code: String,
}

/// Adds the errors in the Dockerfiles of images that can be built.
pub(super) fn check(subject: &Subject<'_>, rules: &BTreeSet<Rule>, findings: &mut Findings<'_>) {
    let shells: Vec<_> = subject.axes.iter().map(shells).collect();
    let shell_of = |axis: &Axis, image: &graph::Image| {
        let at = subject.axes.iter().position(|one| std::ptr::eq(one, axis));
        at.map_or(Some(Shell::Sh), |at| shells[at].get(image.name.as_str()).copied().flatten())
    };
    let sheets: Vec<Sheet<'_>> = subject
        .images()
        .filter(|(axis, image, _)| !axis.unbuildable.contains(&image.name))
        .map(|(axis, image, template)| Sheet {
            axis,
            image,
            template,
            instructions: instructions(&image.text),
            shell: shell_of(axis, image),
        })
        .collect();
    let shared: Vec<(&str, &str)> =
        subject.templates().filter(|(path, _)| subject.folder_of(path).is_none()).collect();
    let objections = match rules.contains(&Rule::ShellSyntax) {
        true => objections(subject, &sheets),
        false => BTreeMap::new(),
    };
    for sheet in &sheets {
        let mut remarks = sheet.of_instructions();
        remarks.extend(sheet.of_references());
        remarks.extend(sheet.of_stages());
        remarks.extend(sheet.of_commands(&objections));
        for (line, remark) in remarks {
            let (path, line) = sheet.origin(subject, &shared, line);
            findings.add(path, line, &sheet.axis.label, remark);
        }
    }
}

/// Line of a rendered text, from 1, with a remark on it.
type Found = (usize, Remark);

/// Dockerfile of an image.
struct Sheet<'a> {
    axis: &'a Axis,
    image: &'a graph::Image,
    template: String,
    instructions: Vec<Instruction<'a>>,
    /// Shell at the start, inherited from the parent; `None` if it is unknown.
    shell: Option<Shell>,
}

impl Sheet<'_> {
    /// Returns the file and the line in it that a rendered line comes from.
    fn origin<'b>(
        &'b self,
        subject: &Subject<'_>,
        shared: &[(&'b str, &str)],
        line: usize,
    ) -> (&'b str, usize) {
        let own = subject.text(&self.template);
        let text = self.image.text.lines().nth(line - 1).unwrap_or_default();
        if !text.trim().is_empty() && !own.lines().any(|own| own == text) {
            let same = shared.iter().flat_map(|(path, shared)| {
                let lines = shared.lines().zip(1..).filter(|(shared, _)| *shared == text);
                lines.map(|(_, line)| (*path, line))
            });
            if let [only] = same.collect::<Vec<_>>()[..] {
                return only;
            }
        }
        (&self.template, origin_line(own, &self.image.text, line))
    }

    fn line_of(&self, instruction: &Instruction<'_>) -> usize {
        line_at(&self.image.text, instruction.lines().start)
    }

    fn of_instructions(&self) -> Vec<Found> {
        let remarks = self.instructions.iter().flat_map(|instruction| {
            let first = self.line_of(instruction);
            let of_it = [word(instruction), self.missing_source(instruction)].into_iter().flatten();
            let of_it = of_it.map(move |remark| (first, remark));
            of_it.chain(self.of_continuation(instruction))
        });
        remarks.collect()
    }

    /// Returns the errors in the continuation lines of an instruction.
    fn of_continuation(&self, instruction: &Instruction<'_>) -> Vec<Found> {
        let first = self.line_of(instruction);
        let lines: Vec<&str> = self.image.text[instruction.lines()].lines().collect();
        let mut found = Vec::new();
        let dangling = || {
            let message = "the line ends in '\\', but no line continues it";
            Remark::new(Rule::DanglingContinuation, message).help("remove the '\\'")
        };
        for (index, line) in lines.iter().enumerate().skip(1) {
            if line.trim().is_empty() {
                let remark =
                    Remark::new(Rule::BlankContinuation, "an empty line in an instruction");
                found.push((first + index, remark.help("remove it, or the '\\' above it")));
            }
            let keyword = line.split([' ', '\t']).next().unwrap_or_default();
            if INSTRUCTIONS.contains(&keyword) {
                found.push((first + index - 1, dangling()));
            }
        }
        if instruction.is_open() {
            found.push((first + lines.len().saturating_sub(1), dangling()));
        }
        found
    }

    fn missing_source(&self, instruction: &Instruction<'_>) -> Option<Remark> {
        let context = self.axis.contexts.get(&self.image.name)?;
        let is_there = |source: &String| context.iter().any(|path| copied(source, path));
        let missing = sources(instruction).into_iter().find(|source| !is_there(source))?;
        let keyword = instruction.keyword();
        let message = format!("{keyword} of '{missing}', which is not in the image's folder");
        let remark = Remark::new(Rule::MissingSource, message);
        let known: Vec<&str> = context.iter().map(String::as_str).collect();
        Some(match nearest(&missing, &known) {
            Some(known) => remark.help(format!("did you mean '{known}'?")),
            None => remark,
        })
    }

    fn of_references(&self) -> Vec<Found> {
        let from = self.image.dockerfile.references.iter().filter(|one| one.via == Via::From);
        let untagged = from.filter(|one| !is_tagged(&self.image.text[one.span.clone()]));
        let found = untagged.map(|one| {
            let written = self.image.text[one.span.clone()].trim_matches('"');
            let message = format!("FROM names '{written}' without a tag");
            let remark = Remark::new(Rule::UntaggedBase, message).help("name a tag or a digest");
            (line_at(&self.image.text, one.span.start), remark)
        });
        found.collect()
    }

    /// Returns the errors that depend on earlier instructions of the same stage.
    fn of_stages(&self) -> Vec<Found> {
        let mut found = Vec::new();
        let mut is_settled = false;
        for instruction in &self.instructions {
            if instruction.is("FROM") {
                is_settled = false;
            }
            let Some(path) = instruction.arguments().next().filter(|_| instruction.is("WORKDIR"))
            else {
                continue;
            };
            let path = path.trim_matches(['"', '\'']);
            if path.starts_with(['/', '$']) {
                is_settled = true;
            } else if !is_settled {
                let message = format!("WORKDIR '{path}' is relative");
                let remark = Remark::new(Rule::RelativeWorkdir, message);
                found.push((self.line_of(instruction), remark.help("start it with '/'")));
            }
        }
        found
    }

    /// Returns each `RUN` with the command that a shell runs; `None` for the exec form,
    /// here-documents, an unknown shell or no command.
    fn shell_commands(&self) -> Vec<(&Instruction<'_>, Option<ShellCommand>)> {
        let mut shell = self.shell;
        let mut found = Vec::new();
        for instruction in &self.instructions {
            if instruction.is("SHELL") {
                shell = shell_of(instruction);
            } else if instruction.is("RUN") {
                let code = instruction.code();
                let is_shell = !code.starts_with('[') && !instruction.has_documents();
                let shell = shell.filter(|_| is_shell && !code.is_empty());
                found.push((instruction, shell.map(|shell| ShellCommand { shell, code })));
            }
        }
        found
    }

    fn of_commands(&self, objections: &BTreeMap<ShellCommand, String>) -> Vec<Found> {
        let mut found = Vec::new();
        for (instruction, command) in self.shell_commands() {
            let Some(command) = command else { continue };
            let line = self.line_of(instruction);
            if let Some(said) = objections.get(&command) {
                let shell = command.shell.program();
                let message = format!("{shell} can't read the command: {said}");
                found.push((line, Remark::new(Rule::ShellSyntax, message)));
            }
            let keeps_lists = instruction.flags().any(|flag| flag.contains(APT_LISTS));
            let packages: Vec<PackageCommand<'_>> =
                commands(&command.code).iter().filter_map(|words| package_command(words)).collect();
            let remarks = installations(&packages, &command.code, keeps_lists);
            found.extend(remarks.into_iter().map(|remark| (line, remark)));
        }
        found
    }
}

/// Returns the errors in the installations of a `RUN`; `keeps_lists` is true if apt's lists are in
/// a mount.
fn installations(packages: &[PackageCommand<'_>], code: &str, keeps_lists: bool) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let mut of = |rule, message: String, help: String| {
        remarks.push(Remark::new(rule, message).help(help));
    };
    if let Some(asks) = packages.iter().find(|one| one.installs && !one.is_unattended) {
        let manager = asks.manager;
        let message = format!("{manager} installs without -y");
        of(Rule::UnattendedInstall, message, format!("write {manager} install -y"));
    }
    let install = packages.iter().position(|one| one.is_apt() && one.installs && !one.is_of_files);
    let update = packages.iter().position(|one| one.is_apt() && one.updates);
    let Some(install) = install.filter(|_| !keeps_lists) else { return remarks };
    let manager = packages[install].manager;
    match update {
        Some(update) if update < install => {
            if !code.contains(APT_LISTS) {
                let message =
                    format!("the package lists that {manager} downloads stay in the image");
                let help = format!("end the RUN with rm -rf {APT_LISTS}/lists/*");
                of(Rule::AptLists, message, help);
            }
        }
        _ => {
            let message = format!("{manager} installs with package lists of an earlier layer");
            of(Rule::AptUpdate, message, format!("write {manager} update in the same RUN, before"));
        }
    }
    remarks
}

/// Returns true if an image is written with a tag or digest, or with a variable that may contain
/// one.
fn is_tagged(written: &str) -> bool {
    let name = written.rsplit('/').next().unwrap_or(written);
    name.contains([':', '@', '$'])
}

/// Returns the error in an instruction's keyword, or that its arguments are missing.
fn word(instruction: &Instruction<'_>) -> Option<Remark> {
    let keyword = instruction.keyword();
    let upper = keyword.to_ascii_uppercase();
    if upper == "MAINTAINER" {
        let remark = Remark::new(Rule::Maintainer, "MAINTAINER is deprecated");
        return Some(remark.help("write LABEL maintainer=\"...\""));
    }
    if !INSTRUCTIONS.contains(&upper.as_str()) {
        let remark =
            Remark::new(Rule::UnknownInstruction, format!("'{keyword}' is not an instruction"));
        return Some(match nearest(&upper, &INSTRUCTIONS) {
            Some(known) => remark.help(format!("did you mean {known}?")),
            None => remark.help("end the line before with '\\' if it goes on here"),
        });
    }
    let is_empty = instruction.arguments().next().is_none() && !instruction.has_documents();
    is_empty.then(|| Remark::new(Rule::EmptyInstruction, format!("{upper} has no arguments")))
}

/// Returns the files of the context that an instruction copies, as they are written.
pub(super) fn sources(instruction: &Instruction<'_>) -> Vec<String> {
    let copies = instruction.is("COPY") || instruction.is("ADD");
    if !copies || instruction.flags().any(|flag| flag.starts_with("--from")) {
        return Vec::new();
    }
    let code = instruction.code();
    let mut words: Vec<String> = serde_json::from_str(&code).unwrap_or_else(|_| {
        let bare = |word: String| word.trim_matches(['"', '\'']).to_owned();
        instruction.arguments().map(bare).collect()
    });
    words.pop();
    let is_elsewhere = |word: &String| {
        word.contains("://")
            || word.contains('$')
            || word.starts_with("<<")
            || word.starts_with("git@")
    };
    words.into_iter().filter(|word| !is_elsewhere(word)).collect()
}

/// Returns true if a source of `COPY` matches the file at `path` of the context, or a folder that
/// contains it.
pub(super) fn copied(source: &str, path: &str) -> bool {
    let source = source.trim_start_matches("./").trim_matches('/');
    if source.is_empty() || source == "." || path == source {
        return true;
    }
    if path.strip_prefix(source).is_some_and(|rest| rest.starts_with('/')) {
        return true;
    }
    source.contains(['*', '?', '[']) && pattern(source).is_none_or(|one| one.is_match(path))
}

/// Converts a pattern of file names into a regex; `None` if it is not valid.
fn pattern(source: &str) -> Option<Regex> {
    let mut text = "^".to_owned();
    for c in source.chars() {
        match c {
            '*' => text.push_str("[^/]*"),
            '?' => text.push_str("[^/]"),
            '[' | ']' | '-' => text.push(c),
            c => text.push_str(&regex::escape(&c.to_string())),
        }
    }
    Regex::new(&(text + "(/.*)?$")).ok()
}

/// Returns the shell of a `SHELL` instruction; `None` if it is unknown.
fn shell_of(instruction: &Instruction<'_>) -> Option<Shell> {
    let words: Vec<String> = serde_json::from_str(&instruction.code()).ok()?;
    let program = words.first()?.rsplit('/').next()?;
    [Shell::Sh, Shell::Bash].into_iter().find(|shell| shell.program() == program)
}

/// Returns the shell that each image of an axis begins with: the one that its nearest ancestor
/// sets, or sh.
fn shells(axis: &Axis) -> BTreeMap<&str, Option<Shell>> {
    let last_of = |image: &graph::Image| {
        let all = instructions(&image.text);
        all.iter().rev().find(|one| one.is("SHELL")).map(shell_of)
    };
    let set: BTreeMap<&str, Option<Shell>> =
        axis.images.iter().filter_map(|one| Some((one.name.as_str(), last_of(one)?))).collect();
    let parent = |image: &graph::Image| {
        let reference = &image.dockerfile.parent()?.image;
        let name = axis.images.iter().find(|one| {
            one.reference == *reference || one.alias.as_ref().is_some_and(|one| one == reference)
        });
        name.map(|one| one.name.as_str())
    };
    if set.is_empty() {
        return axis.images.iter().map(|one| (one.name.as_str(), Some(Shell::Sh))).collect();
    }
    let parents: BTreeMap<&str, &str> =
        axis.images.iter().filter_map(|one| Some((one.name.as_str(), parent(one)?))).collect();
    let begins_with = |name: &str| {
        let line =
            std::iter::successors(parents.get(name).copied(), |name| parents.get(name).copied());
        // A chain of parents that never ends is a cycle, which another rule finds.
        let mut line = line.take(parents.len() + 1);
        line.find_map(|name| set.get(name).copied()).unwrap_or(Some(Shell::Sh))
    };
    axis.images.iter().map(|one| (one.name.as_str(), begins_with(one.name.as_str()))).collect()
}

/// Returns the shells' errors for the commands of all images.
fn objections(subject: &Subject<'_>, sheets: &[Sheet<'_>]) -> BTreeMap<ShellCommand, String> {
    let commands = sheets.iter().flat_map(Sheet::shell_commands);
    let commands: BTreeSet<ShellCommand> = commands.filter_map(|(_, command)| command).collect();
    let asked = commands.into_par_iter().filter_map(|command| {
        let said = (subject.objection)(&command)?;
        Some((command, said))
    });
    asked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_what_is_copied_from_the_context() {
        for (text, expected) in [
            ("COPY a b /x", "a b"),
            ("COPY --chown=a:b a /x", "a"),
            ("copy [\"a b\", \"c\", \"/x\"]", "a b|c"),
            ("COPY --from=other a /x", ""),
            ("ADD https://example.com/a /x", ""),
            ("ADD ${A} /x", ""),
            ("COPY <<EOF /x\na\nEOF", ""),
            ("RUN a b", ""),
        ] {
            let found = sources(&instructions(text)[0]);
            let separator = if expected.contains('|') { "|" } else { " " };
            assert_eq!(found.join(separator), expected, "{text}");
        }
    }

    #[test]
    fn a_source_means_files_and_folders() {
        for (source, path, expected) in [
            ("a", "a", true),
            ("./a/", "a/b", true),
            ("a", "ab", false),
            (".", "a", true),
            ("/", "a", true),
            ("*.sh", "a.sh", true),
            ("*.sh", "x/a.sh", false),
            ("a*", "ab/c", true),
            ("[ab].sh", "b.sh", true),
            ("?.sh", "bc.sh", false),
        ] {
            assert_eq!(copied(source, path), expected, "{source} {path}");
        }
    }
}

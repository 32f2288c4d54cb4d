//! Checks of the rendered Dockerfiles.
//!
//! A finding in a line of a Dockerfile is reported for the template's line that it comes from, or
//! for the component's line if only a component contains it. So an error in a component that all
//! images share is one finding.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::commands::{PackageCommand, commands, package_command};
use super::context_sources::{copied_sources, refers_to};
use super::findings::{Findings, Remark, line_at};
use super::frontend::{Builder, Frontend};
use super::rule::Rule;
use super::shells::{RunEnvironment, ShellCommand, Shells, shell_commands, whole_code};
use super::subject::{RenderedAxis, Subject};
use crate::diagnostic::nearest;
use crate::dockerfile::{Instruction, Via, instructions, syntax};
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

/// Adds the errors in the Dockerfiles of images that can be built.
pub(super) fn check(subject: &Subject<'_>, rules: &BTreeSet<Rule>, findings: &mut Findings) {
    let shells: Vec<Shells<'_>> =
        subject.axes.iter().map(|axis| Shells::of(&axis.images)).collect();
    let shells_of = |axis: &RenderedAxis| {
        let at = subject.axes.iter().position(|one| std::ptr::eq(one, axis));
        &shells[at.expect("the axis is one of the subject's")]
    };
    let sheets: Vec<Sheet<'_>> = subject
        .images()
        .filter(|(axis, image, _)| !axis.unbuildable.contains(&image.name))
        .map(|(axis, image, template)| Sheet {
            axis,
            image,
            template,
            instructions: instructions(&image.text),
            shells: shells_of(axis),
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
        remarks.extend(sheet.of_frontend(subject.builder));
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
    axis: &'a RenderedAxis,
    image: &'a graph::Image,
    template: String,
    instructions: Vec<Instruction<'a>>,
    /// Shells of all images of the axis.
    shells: &'a Shells<'a>,
}

impl<'a> Sheet<'a> {
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
        let mark = instruction.escape();
        let dangling = || {
            let message = format!("the line ends in '{mark}', but no line continues it");
            Remark::new(Rule::DanglingContinuation, message).help(format!("remove the '{mark}'"))
        };
        for (index, line) in lines.iter().enumerate().skip(1) {
            if line.trim().is_empty() {
                let remark =
                    Remark::new(Rule::BlankContinuation, "an empty line in an instruction");
                found.push((
                    first + index,
                    remark.help(format!("remove it, or the '{mark}' above it")),
                ));
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
        let is_there = |source: &String| context.iter().any(|path| refers_to(source, path));
        let missing = copied_sources(instruction).into_iter().find(|source| !is_there(source))?;
        let keyword = instruction.keyword();
        let message = format!("{keyword} of '{missing}', which is not in the image's folder");
        let remark = Remark::new(Rule::MissingSource, message);
        let known: Vec<&str> = context.iter().map(String::as_str).collect();
        Some(match nearest(&missing, &known) {
            Some(known) => remark.help(format!("did you mean '{known}'?")),
            None => remark,
        })
    }

    /// Returns the instructions that the builder can't read.
    fn of_frontend(&self, builder: Builder) -> Vec<Found> {
        let syntax = self.axis.syntax.clone().or_else(|| syntax(&self.image.text));
        let frontend = Frontend::of(builder, syntax.as_deref());
        let found = self.instructions.iter().flat_map(|instruction| {
            let remarks = frontend.remarks(instruction).into_iter();
            remarks.map(|remark| (self.line_of(instruction), remark))
        });
        found.collect()
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

    /// Returns the instructions, each with the environment that it is run in.
    fn of_shells(&self) -> Vec<(&Instruction<'a>, RunEnvironment)> {
        self.shells.of_instructions(self.image, &self.instructions)
    }

    /// Returns the errors that depend on earlier instructions of the same stage.
    fn of_stages(&self) -> Vec<Found> {
        let mut found = Vec::new();
        let mut is_settled = false;
        for (instruction, environment) in self.of_shells() {
            if instruction.is("FROM") {
                is_settled = false;
            }
            let Some(path) = instruction.arguments().next().filter(|_| instruction.is("WORKDIR"))
            else {
                continue;
            };
            let path = path.trim_matches(['"', '\'']);
            if is_absolute(path, environment.is_windows) {
                is_settled = true;
            } else if !is_settled {
                let message = format!("WORKDIR '{path}' is relative");
                let remark = Remark::new(Rule::RelativeWorkdir, message);
                found.push((self.line_of(instruction), remark.help("start it with '/'")));
            }
        }
        found
    }

    /// Returns each `RUN` with the commands that shells get from it.
    fn shell_commands(&self) -> Vec<(&Instruction<'a>, Vec<ShellCommand>)> {
        let runs = self.of_shells().into_iter().filter(|(instruction, _)| instruction.is("RUN"));
        runs.map(|(run, environment)| (run, shell_commands(run, environment))).collect()
    }

    fn of_commands(&self, objections: &BTreeMap<ShellCommand, String>) -> Vec<Found> {
        let mut found = Vec::new();
        for (instruction, shell_commands) in self.shell_commands() {
            let line = self.line_of(instruction);
            for command in &shell_commands {
                if let Some(said) = objections.get(command) {
                    let shell = command.shell.program();
                    let message = format!("{shell} can't read the command: {said}");
                    found.push((line, Remark::new(Rule::ShellSyntax, message)));
                }
            }
            let code = whole_code(&shell_commands);
            let keeps_lists = instruction.flags().any(|flag| flag.contains(APT_LISTS));
            let words = commands(&code);
            let packages: Vec<PackageCommand<'_>> =
                words.iter().filter_map(|words| package_command(words)).collect();
            let remarks = installations(&packages, &code, keeps_lists);
            found.extend(remarks.into_iter().map(|remark| (line, remark)));
        }
        found
    }
}

/// Returns true if a path of `WORKDIR` does not depend on an earlier one; a variable is taken to be
/// such a path. On Windows a drive may be before it, and a backslash is as good as a slash.
fn is_absolute(path: &str, is_windows: bool) -> bool {
    let has_drive = path.as_bytes().get(1) == Some(&b':') && path.starts_with(char::is_alphabetic);
    path.starts_with(['/', '$']) || is_windows && (has_drive || path.starts_with(['\\', '%']))
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
    let is_empty = instruction.arguments().next().is_none();
    is_empty.then(|| Remark::new(Rule::EmptyInstruction, format!("{upper} has no arguments")))
}

/// Returns the shells' errors for the commands of all images.
fn objections(subject: &Subject<'_>, sheets: &[Sheet<'_>]) -> BTreeMap<ShellCommand, String> {
    let commands = sheets.iter().flat_map(Sheet::shell_commands);
    let commands: BTreeSet<ShellCommand> = commands.flat_map(|(_, commands)| commands).collect();
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
    fn absolute_paths_of_windows_have_drives() {
        for (path, on_linux, on_windows) in [
            ("/app", true, true),
            ("$HOME/app", true, true),
            ("app", false, false),
            ("C:\\app", false, true),
            ("d:/app", false, true),
            ("\\app", false, true),
            ("app:x", false, false),
        ] {
            assert_eq!(is_absolute(path, false), on_linux, "{path}");
            assert_eq!(is_absolute(path, true), on_windows, "{path}");
        }
    }
}

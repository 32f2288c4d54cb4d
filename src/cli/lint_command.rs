//! `kiln lint`: reports all mistakes in a template tree at once.
//!
//! The tree is rendered for every requested axis, as for a build; a rendering error is a finding
//! like any other. Neither an engine nor the network is used, and no command of an image is run:
//! shells only parse them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::Stdio;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Serialize;

use super::arguments;
use super::exit::{Exit, Failure};
use super::terminal;
use super::workspace_host::HOST;
use crate::console::{Json, Listing};
use crate::diagnostic::{Diagnostic, Result as Diagnosed, nearest};
use crate::image::ImageName;
use crate::lint::{
    self, Builder, File, Finding, RenderedAxis, Rule, Shell, ShellCommand, Subject, Version,
};
use crate::name_pattern::NamePattern;
use crate::program;
use crate::settings::option_definition::CommandName;
use crate::settings::{AxisSettings, Profiles, RunSettings, Settings};
use crate::source;
use crate::tree::{ImageFolder, Tree};
use crate::workspace::{
    PartialRender, Resolved, Snapshot, add_site_files, render_lenient, resolve, unbuildable,
};

/// Arguments that choose rules.
const RULE: &str = "rule";
const IGNORE: &str = "ignore";

/// Argument for the version of the engine that the images are for.
const ENGINE_VERSION: &str = "engine-version";

/// Build argument that replaces `# syntax`.
const SYNTAX_ARGUMENT: &str = "BUILDKIT_SYNTAX";

/// Option for the format.
const FORMAT: &str = "format";

const JSON: &str = "json";

/// Returns the grammar of `kiln lint`.
pub fn command() -> Command {
    let rules = || PossibleValuesParser::new(Rule::ALL.map(Rule::name));
    let several = |name: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("RULE")
            .action(ArgAction::Append)
            .value_parser(rules())
            .hide_possible_values(true)
    };
    let names = Rule::ALL.map(Rule::name).join(", ");
    Command::new("lint")
        .about("Check a template tree for mistakes")
        .after_help(format!(
            "Takes the options of kiln build. Needs neither an engine nor the network. Patterns \
             select the images to check; without a pattern, the whole tree is checked.\n\n\
             Rules: {names}.\n\
             'kiln-lint: allow RULE' in a comment of a template disables a rule for its image.\n\n\
             Exit codes: 0 no findings; 1 findings; 2 usage or configuration error, or the tree \
             can't be checked; 4 no image matched."
        ))
        .arg(several(RULE).help("Check only this rule; may be repeated"))
        .arg(several(IGNORE).help("Skip this rule; may be repeated"))
        .arg(
            Arg::new(ENGINE_VERSION)
                .long(ENGINE_VERSION)
                .value_name("VERSION")
                .value_parser(|text: &str| text.parse::<Version>())
                .help("Docker Engine that the images must be built with, such as 23.0"),
        )
        .defer(|command| arguments::with_options(command, CommandName::Lint))
}

/// Prints the findings.
pub fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let line = arguments::request(matches, CommandName::Lint);
    let format = matches.get_one::<String>(FORMAT);
    let Resolved { mut tree, settings, .. } = resolve(&line, &Snapshot::Worktree, HOST)?;
    add_site_files(&mut tree, &settings.run, &Snapshot::Worktree)?;
    let rules = rules(matches, &tree)?;
    let labels: BTreeSet<&str> =
        settings.axes.iter().filter_map(|one| one.label.as_deref()).collect();
    let builder = builder(&settings.run, matches.get_one(ENGINE_VERSION).copied());
    let findings = findings(&tree, &settings, builder, &rules)?;
    if format.is_some_and(|format| format == JSON) {
        terminal::print_json(&Json::indented(
            &findings.iter().map(FindingJson::new).collect::<Vec<_>>(),
        ))?;
    } else {
        terminal::print_out(&as_text(&findings, labels.len()))?;
    }
    Ok(if findings.is_empty() { Exit::Done } else { Exit::Failed })
}

/// Returns the builder that the settings name, in an engine of this version.
fn builder(run: &RunSettings, engine: Option<Version>) -> Builder {
    match (run.engine.is_podman, run.build.buildkit) {
        (true, _) => Builder::Other,
        (false, false) => Builder::Classic,
        (false, true) => Builder::BuildKit(engine),
    }
}

/// Returns the rules to check: those of the command line, or else all that the tree's manifest does
/// not allow to be broken; without the ignored ones.
fn rules(matches: &ArgMatches, tree: &Tree) -> Result<BTreeSet<Rule>, Diagnostic> {
    let named = |argument: &str| -> BTreeSet<Rule> {
        let names = matches.get_many::<String>(argument).unwrap_or_default();
        names.filter_map(|name| Rule::named(name)).collect()
    };
    let mut rules = named(RULE);
    if rules.is_empty() {
        rules.extend(Rule::ALL);
        for name in tree.manifest().lint.allow.keys() {
            rules.remove(&Rule::named(name).ok_or_else(|| unknown_rule(name))?);
        }
    }
    let ignored = named(IGNORE);
    rules.retain(|rule| !ignored.contains(rule));
    Ok(rules)
}

fn unknown_rule(name: &str) -> Diagnostic {
    let diagnostic =
        Diagnostic::new(format!("[lint.allow] in tree.toml names the unknown rule '{name}'"));
    match nearest(name, &Rule::ALL.map(Rule::name)) {
        Some(known) => diagnostic.help(format!("did you mean '{known}'?")),
        None => diagnostic.help("'kiln lint --help' lists the rules"),
    }
}

/// Returns the findings of the rules in a tree.
fn findings(
    tree: &Tree,
    settings: &Settings,
    builder: Builder,
    rules: &BTreeSet<Rule>,
) -> Result<Vec<Finding>, Failure> {
    if rules.contains(&Rule::ShellSyntax) {
        require_shells()?;
    }
    let files = files(tree)?;
    let folders = tree.images()?;
    let axes = settings.axes.iter().map(|of_axis| axis(tree, &settings.run, of_axis));
    let axes = crate::diagnostic::collect(axes)?;
    let names: BTreeSet<&str> = names_in(&folders, &axes).collect();
    let patterns = settings.run.selection.patterns.as_deref();
    let selected = patterns.map(|patterns| found_by(patterns, &names)).transpose()?;
    let is_selected = |name: &str| selected.as_ref().is_none_or(|all| all.contains(name));
    let profiles = Profiles::of_tree(tree.profiles()?)?;
    let in_profiles = found_by(&profiles, &names)?;
    if !folders.iter().any(|folder| is_selected(folder.name.as_str())) {
        let diagnostics = Diagnostic::new("no image matches").into();
        return Err(Failure { exit: Exit::NothingMatched, diagnostics });
    }
    let bases = tree.manifest().bases.values();
    let subject = Subject {
        files: &files,
        folders: &folders,
        axes: &axes,
        in_profiles: (!profiles.is_empty()).then_some(&in_profiles),
        package_types: &bases.map(|base| base.package_type.clone()).collect(),
        is_selected: &is_selected,
        builder,
        is_whole: patterns.is_none(),
        objection: &objection,
    };
    Ok(lint::check(&subject, rules))
}

/// Returns the names of the images with folders, and of those that were rendered.
fn names_in<'a>(
    folders: &'a [ImageFolder],
    axes: &'a [RenderedAxis],
) -> impl Iterator<Item = &'a str> {
    let rendered = axes.iter().flat_map(|axis| &axis.images).map(|image| &image.name);
    folders.iter().map(|folder| &folder.name).chain(rendered).map(ImageName::as_str)
}

/// Returns those of `names` that a pattern is found in.
fn found_by(
    patterns: &[NamePattern],
    names: &BTreeSet<&str>,
) -> Result<BTreeSet<String>, Diagnostic> {
    let found = patterns.iter().map(|pattern| pattern.found_in(names.iter().copied()));
    Ok(found.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Reads the files of the tree.
fn files(tree: &Tree) -> Diagnosed<BTreeMap<String, File>> {
    let all = tree.files();
    let read = |path: &String| {
        let file = File { shown: tree.display_path(path), text: tree.text(path)? };
        Ok((path.clone(), file))
    };
    Ok(crate::diagnostic::collect(all.keys().map(read))?.into_iter().collect())
}

/// Renders the images on the axis of these settings, and collects the facts that the rules need.
fn axis(tree: &Tree, run: &RunSettings, settings: &AxisSettings) -> Diagnosed<RenderedAxis> {
    let PartialRender { images, failures } =
        render_lenient(tree, run, settings, &Snapshot::Worktree, HOST)?;
    let mut axis = RenderedAxis {
        label: settings.label.clone().unwrap_or_default(),
        images: images.images,
        syntax: settings.build.given_args.get(SYNTAX_ARGUMENT).cloned(),
        unbuildable: unbuildable(run, settings, tree).into_iter().map(|(name, _)| name).collect(),
        ..RenderedAxis::default()
    };
    for (name, (folder, context)) in images.contexts {
        let mut paths = context.paths().map_err(|error| {
            Diagnostic::new(format!("the context of '{folder}' can't be read: {error}"))
        })?;
        if settings.install_type.fetches_sources {
            let sources = source::of_image(&name, &settings.sources);
            paths.extend(source::archives(&name, &sources));
        }
        axis.contexts.insert(name.clone(), paths);
        axis.folders.insert(name, folder);
    }
    axis.failures = failures
        .into_iter()
        .map(|(folder, text, errors)| lint::Failure { folder, text, errors: errors.0 })
        .collect();
    Ok(axis)
}

/// Checks that the shells can be run.
fn require_shells() -> Result<(), Diagnostic> {
    for shell in [Shell::Sh, Shell::Bash] {
        let asked = shell_reads(shell, ":");
        asked.map_err(|error| {
            let name = shell.program();
            let message = format!("commands can't be checked without {name}: {error}");
            Diagnostic::new(message)
                .help("install it, or leave them out with --ignore shell-syntax")
        })?;
    }
    Ok(())
}

/// Returns the error of a shell that parses a command without running it; `None` if there is none.
fn objection(command: &ShellCommand) -> Option<String> {
    shell_reads(command.shell, &command.code).unwrap_or_else(|error| Some(error.to_string()))
}

fn shell_reads(shell: Shell, code: &str) -> std::io::Result<Option<String>> {
    let mut asked = program::isolated_command(shell.program())?;
    let output = asked.args(["-n", "-c", code]).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or_default();
    // A prefix that names a position is dropped: the command is on one line.
    let said = first.split_once(": ").map_or(first, |(_, rest)| rest);
    let is_place = |part: &str| part.chars().any(|c| c.is_ascii_digit()) && !part.contains(' ');
    let said = match said.split_once(": ") {
        Some((place, rest)) if is_place(place) || place.starts_with("line ") => rest,
        _ => said,
    };
    Ok(Some(said.to_owned()))
}

/// Returns the findings, one per line, and their number. `axes` is the number of axes that were
/// checked.
fn as_text(findings: &[Finding], axes: usize) -> Listing {
    let mut text = Listing::default();
    for Finding { path, line, rule, message, help, axes: found_on } in findings {
        let mut told = format!("{path}:{line}: {}: {message}", rule.name());
        if let Some(help) = help {
            write!(told, "; {help}").expect("a string takes all");
        }
        if !found_on.is_empty() && found_on.len() < axes {
            let on: Vec<&str> = found_on.iter().map(String::as_str).collect();
            write!(told, " (on {})", on.join(", ")).expect("a string takes all");
        }
        text.line(told);
    }
    let files: BTreeSet<&str> = findings.iter().map(|finding| finding.path.as_str()).collect();
    text.line(match (findings.len(), files.len()) {
        (0, _) => "nothing found".to_owned(),
        (1, _) => "1 finding in 1 file".to_owned(),
        (count, 1) => format!("{count} findings in 1 file"),
        (count, files) => format!("{count} findings in {files} files"),
    });
    text
}

/// A finding, from `kiln lint --format json`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields, rename = "Finding"))]
pub struct FindingJson<'a> {
    /// Path of the file.
    path: &'a str,
    /// Line of the file, from 1.
    line: usize,
    /// Name of the rule.
    rule: &'static str,
    /// Description of the mistake.
    message: &'a str,
    /// Cure; absent if none is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    /// Bases, types and platforms that have the finding; absent if only one was checked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    axes: Vec<&'a str>,
}

impl<'a> FindingJson<'a> {
    fn new(finding: &'a Finding) -> Self {
        let Finding { path, line, rule, message, help, axes } = finding;
        Self {
            path,
            line: *line,
            rule: rule.name(),
            message,
            help: help.as_deref(),
            axes: axes.iter().map(String::as_str).collect(),
        }
    }
}

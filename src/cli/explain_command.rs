//! `kiln explain`: tells whether one image would be built, and why.

use clap::{Arg, ArgMatches, Command};

use super::arguments;
use super::build_session::{BuildSession, View, connect, runtime};
use super::exit::{Exit, Failure};
use super::terminal;
use super::workspace_host::HOST;
use crate::console::Listing;
use crate::diagnostic::Diagnostic;
use crate::graph::{self, Graph, Index};
use crate::image::ImageRef;
use crate::incremental::Found;
use crate::incremental::survey::{Comparison, Survey};
use crate::plan::{Decision, Plan};
use crate::settings::option_definition::CommandName;
use crate::workspace::{Request, Snapshot, Workspace};

/// Argument for the image.
const IMAGE: &str = "IMAGE";

/// Number of digits shown of a fingerprint.
const SHORT: usize = 12;

/// Returns the grammar of `kiln explain`.
pub fn command() -> Command {
    Command::new("explain")
        .about("Explain why kiln build, with the same options, would build an image or skip it")
        .arg(
            Arg::new(IMAGE)
                .required(true)
                .help("Name of the image; if several targets are built, as TARGET/NAME"),
        )
        .defer(|command| arguments::with_options(command, CommandName::Explain))
}

/// Explains the image.
pub fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let name: &String = matches.get_one(IMAGE).expect("clap asks for it");
    explain(name, &arguments::request(matches, CommandName::Explain))
}

fn explain(name: &str, request: &Request) -> Result<Exit, Failure> {
    let workspace = Workspace::load(request, &Snapshot::Worktree, HOST, None)?;
    find(&workspace.graph, name)?;
    let selection = workspace.selection()?;
    let mut view = View::new(request, workspace, selection)?;
    let found = match view.workspace.settings.run.engine.endpoint.clone() {
        Some(endpoint) => {
            let session = async {
                let engine = connect(endpoint, &view.workspace.settings).await?;
                if let Some(fitted) = view.fitted_to(&engine, request)? {
                    view = fitted;
                }
                BuildSession::begin(engine, &view, true).await
            };
            match runtime()?.block_on(session) {
                Ok(session) => session.found,
                Err(failure) => {
                    tell(failure);
                    Found::without_engine(view.unaffected())
                }
            }
        }
        None => Found::without_engine(view.unaffected()),
    };
    let graph = &view.workspace.graph;
    let image = find(graph, name)?;
    let plan = Plan::new(graph, &view.selection, &found.facts);
    let survey = found.survey.as_ref();
    let mut text = of_plan(&plan, image);
    let of_engine = survey.and_then(|survey| of_engine(survey, &graph.images()[image]));
    of_engine.into_iter().flatten().for_each(|line| text.line(line));
    terminal::print_out(&text)
}

/// Prints errors of the engine as warnings: without it, the plan can still be explained.
fn tell(failure: Failure) {
    for diagnostic in failure.diagnostics.0 {
        terminal::warn(&format!("warning: {}", diagnostic.message));
    }
}

fn find(graph: &Graph, name: &str) -> Result<Index, Diagnostic> {
    let images = graph.images();
    let named: Vec<Index> = (0..images.len())
        .filter(|index| {
            let image = &images[*index].name;
            image.to_string() == name || image.as_str() == name
        })
        .collect();
    match named[..] {
        [image] => Ok(image),
        [] => {
            let known = images.iter().map(|image| image.name.as_str());
            Err(Diagnostic::new(format!("there is no image '{name}'")).suggest(name, known))
        }
        _ => {
            let names: Vec<_> = named.iter().map(|i| images[*i].name.to_string()).collect();
            Err(Diagnostic::new(format!("there are several images '{name}'"))
                .help(format!("name one of: {}", names.join(", "))))
        }
    }
}

/// Returns the plan's decision about the image, and its reasons.
fn of_plan(plan: &Plan<'_>, image: Index) -> Listing {
    let graph = plan.graph();
    let about = &graph.images()[image];
    let decision = match plan.decision(image) {
        Decision::Build => "will be built".to_owned(),
        Decision::NotMatched => "will not be built: not selected".to_owned(),
        Decision::Unbuildable(reason) => format!("will not be built, unbuildable: {reason}"),
        Decision::Skip(skip) => format!("skipped: {}", skip.reason(&about.reference)),
    };
    let line = std::iter::successors(graph.parent(image), |parent| graph.parent(*parent));
    let names = |images: &mut dyn Iterator<Item = Index>| {
        let names: Vec<_> = images.map(|i| graph.images()[i].name.to_string()).collect();
        if names.is_empty() { "no image of the tree".to_owned() } else { names.join(", ") }
    };
    let externals: Vec<_> = graph.externals(image).into_iter().map(ImageRef::to_string).collect();
    let mut text = Listing::default();
    text.line(format!("{}: {decision}", about.name));
    let mut say = |what: &str, value: &str| text.line(format!("  {what:<12} {value}"));
    say("reference", &about.reference.to_string());
    say("template", &about.template);
    say("wave", &graph.wave(image).to_string());
    say("built on", &names(&mut line.into_iter()));
    if !externals.is_empty() {
        say("from outside", &externals.join(", "));
    }
    say("needs", &names(&mut graph.needs(image).into_iter()));
    say("needed by", &names(&mut graph.needed_by(image).into_iter()));
    text
}

/// Returns the parts of the image's fingerprint, and a comparison with the image in the engine;
/// `None` if no fingerprint is known.
fn of_engine(survey: &Survey, image: &graph::Image) -> Option<Vec<String>> {
    let printed = survey.expected.get(&image.name)?;
    let mut lines = Vec::new();
    let mut say = |line: String| lines.push(line);
    say(format!("  fingerprint  {}", printed.fingerprint));
    for (name, part) in &printed.parts {
        say(format!("    {:<SHORT$}  {name}", part.chars().take(SHORT).collect::<String>()));
    }
    match survey.known.get(&image.reference) {
        Some(known) => say(format!("  in engine    {}", known.id)),
        None => say("  in engine    no image with this name and tag".to_owned()),
    }
    match survey.comparison(image)? {
        Comparison::Absent => {}
        Comparison::Unlabelled => say("    it has no fingerprint".to_owned()),
        Comparison::Unchanged => say("    unchanged".to_owned()),
        Comparison::Misplaced => {
            say("    it is not built on the current layers of its parent".to_owned());
        }
        Comparison::Changed(changes) => {
            changes.iter().for_each(|change| say(format!("    {change}")));
        }
        Comparison::BuiltAs(fingerprint) => say(format!("    built as {fingerprint}")),
    }
    Some(lines)
}

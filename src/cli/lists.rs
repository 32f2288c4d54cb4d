//! Prints or writes lists and graphs, as `kiln build` does instead of building.

use std::fs;

use super::exit::{Exit, Failure};
use super::terminal;
use crate::console::{Json, Listing};
use crate::diagnostic::Diagnostic;
use crate::graph::{Graph, Index};
use crate::plan::Plan;
use crate::settings::{GraphFormat, Target, Task};

/// Prints or writes the list or graph of the task. Does nothing for a build, a plan, or a task that
/// only renders templates.
pub fn show(task: &Task, plan: &Plan<'_>) -> Result<Exit, Failure> {
    let graph = plan.graph();
    let shown = |image: Index| plan.is_built(image);
    match task {
        Task::Build | Task::Plan(_) | Task::TemplateOnly => Ok(Exit::Done),
        Task::ListImages => {
            let names = plan.to_build().map(|image| &graph.images()[image].name);
            let lines = names.enumerate().map(|(n, name)| format!("{} : {name}", n + 1));
            terminal::print_out(&lines.collect())
        }
        Task::ListDependencies => terminal::print_json(&Json::indented(&graph.nested(&shown))),
        Task::SaveDependency(target, format) => write(target, &drawn(graph, *format, &shown)),
    }
}

/// A graph in an output format.
enum Drawn {
    Lines(Listing),
    Json(Json),
}

/// Returns the images for which `shown` is true in this format.
fn drawn(graph: &Graph, format: GraphFormat, shown: &dyn Fn(Index) -> bool) -> Drawn {
    match format {
        GraphFormat::Dot => Drawn::Lines(graph.dot(shown).lines().collect()),
        GraphFormat::Json => Drawn::Json(Json::indented(&graph.json(shown))),
        GraphFormat::Mermaid => Drawn::Lines(graph.mermaid(shown).lines().collect()),
    }
}

fn write(target: &Target, drawn: &Drawn) -> Result<Exit, Failure> {
    match (target, drawn) {
        (Target::Stdout, Drawn::Lines(lines)) => terminal::print_out(lines),
        (Target::Stdout, Drawn::Json(json)) => terminal::print_json(json),
        (Target::File(file), drawn) => {
            let text = match drawn {
                Drawn::Lines(lines) => lines.as_str(),
                Drawn::Json(json) => json.as_str(),
            };
            fs::write(file, text).map_err(|error| {
                Diagnostic::new(format!("'{}' can't be written: {error}", file.display()))
            })?;
            Ok(Exit::Done)
        }
    }
}

//! What `kiln build` prints or writes instead of building: lists and graphs.

use std::fs;

use super::{Exit, Failure, terminal};
use crate::diagnostic::Diagnostic;
use crate::graph::{Graph, Index};
use crate::plan::Plan;
use crate::settings::{GraphFormat, Target, Task};

/// Prints or writes what is asked for instead of building; nothing where a build is.
pub fn show(task: &Task, plan: &Plan<'_>) -> Result<Exit, Failure> {
    let graph = plan.graph();
    let shown = |image: Index| plan.is_built(image);
    match task {
        Task::Build | Task::Plan(_) | Task::TemplateOnly => Ok(Exit::Done),
        Task::ListImages => {
            let names = plan.to_build().map(|image| &graph.images()[image].name);
            let lines = names.enumerate().map(|(n, name)| format!("{} : {name}\n", n + 1));
            terminal::print_out(&lines.collect::<String>())
        }
        Task::ListDependencies => terminal::print_json(&graph.nested(&shown)),
        Task::SaveDependency(target, format) => write(target, &drawn(graph, *format, &shown)),
    }
}

/// The images for which `shown` is true as a text of this format.
fn drawn(graph: &Graph, format: GraphFormat, shown: &dyn Fn(Index) -> bool) -> String {
    match format {
        GraphFormat::Dot => graph.dot(shown),
        GraphFormat::Json => terminal::pretty(&graph.json(shown)),
        GraphFormat::Mermaid => graph.mermaid(shown),
    }
}

fn write(target: &Target, text: &str) -> Result<Exit, Failure> {
    match target {
        Target::Stdout => terminal::print_out(text),
        Target::File(file) => {
            fs::write(file, text).map_err(|error| {
                Diagnostic::new(format!("'{}' can't be written: {error}", file.display()))
            })?;
            Ok(Exit::Done)
        }
    }
}

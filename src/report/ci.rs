//! Output for continuous integration services: logs that the service folds, and failures that it
//! shows next to the file that they come from.
//!
//! GitHub Actions: [workflow
//! commands](https://docs.github.com/actions/reference/workflow-commands-for-github-actions).
//! GitLab CI/CD: [custom collapsible
//! sections](https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections); it has no
//! annotations in logs, and takes failures from JUnit reports.

use std::time::{SystemTime, UNIX_EPOCH};

use super::catalogue::Place;
use crate::console::{CiService, Command};
use crate::image::ImageName;

/// Returns the commands that go before and after the log of a failed image, so that `service` folds
/// it. `now` is the time of the section.
pub fn fold(service: CiService, name: &ImageName, now: SystemTime) -> (Command, Command) {
    let title = format!("log of {name}");
    match service {
        CiService::GitHub => {
            (Command::github("group", &[], &title), Command::github("endgroup", &[], ""))
        }
        CiService::GitLab => {
            let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let section = format!("kiln_{name}");
            (
                Command::gitlab_section(now, &section, &title),
                Command::gitlab_section_end(now, &section),
            )
        }
    }
}

/// Returns the command by which `service` shows the failure of an image next to its template line;
/// `None` if the service has none.
pub fn annotation(
    service: CiService,
    name: &ImageName,
    text: &str,
    place: Option<&Place>,
) -> Option<Command> {
    match service {
        CiService::GitHub => Some(error(name, text, place)),
        CiService::GitLab => None,
    }
}

fn error(name: &ImageName, text: &str, place: Option<&Place>) -> Command {
    let title = format!("{name} is not built");
    let line = place.map(|place| place.template_line.to_string());
    let mut properties = Vec::new();
    let mut said = text.to_owned();
    if let (Some(place), Some(line)) = (place, &line) {
        properties.extend([("file", place.template.as_str()), ("line", line)]);
        said = format!("{text}\n{}", place.text.trim());
    }
    properties.push(("title", &title));
    Command::github("error", &properties, &said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_of_commands_are_escaped() {
        let place = Place {
            template: "a,b/100%:x".to_owned(),
            template_line: 3,
            line: 4,
            text: "  RUN a:b \\".to_owned(),
        };
        let name = ImageName::new("app").on(Some("one-source"));
        let annotation =
            |text, place| annotation(CiService::GitHub, &name, text, place).unwrap().to_string();
        assert_eq!(
            annotation("exit: 1,\r\n::error::", Some(&place)),
            "::error file=a%2Cb/100%25%3Ax,line=3,title=one-source/app is not built\
              ::exit: 1,%0A: :error::%0ARUN a:b \\"
        );
        assert_eq!(annotation("no", None), "::error title=one-source/app is not built::no");
        let (beginning, end) = fold(CiService::GitLab, &name, UNIX_EPOCH);
        let (beginning, end) = (beginning.to_string(), end.to_string());
        assert!(beginning.contains(":0:kiln_one-source_app[collapsed=true]\r"), "{beginning:?}");
        assert!(end.contains("section_end:0:kiln_one-source_app\r"), "{end:?}");
    }
}

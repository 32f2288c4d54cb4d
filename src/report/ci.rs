//! What services for continuous integration make of lines: parts that are folded, and failures that
//! are shown beside the file that they come from.
//!
//! GitHub Actions: [workflow commands](https://docs.github.com/actions/reference/workflow-commands-for-github-actions).
//! GitLab CI/CD: [custom collapsible sections](https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections);
//! it has no annotations in logs, and takes failures from JUnit reports.

use std::time::{SystemTime, UNIX_EPOCH};

use super::catalogue::Place;
use crate::image::ImageName;

/// A service that keeps what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ci {
    /// GitHub Actions.
    GitHub,
    /// GitLab CI/CD.
    GitLab,
}

impl Ci {
    /// The lines before and after the log of a failed image, which fold it.
    pub fn fold(self, name: &ImageName, now: SystemTime) -> (String, String) {
        match self {
            Self::GitHub => (format!("::group::log of {name}"), "::endgroup::".to_owned()),
            Self::GitLab => {
                let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                let id = section_id(name);
                (
                    format!(
                        "\x1b[0Ksection_start:{now}:{id}[collapsed=true]\r\x1b[0Klog of {name}"
                    ),
                    format!("\x1b[0Ksection_end:{now}:{id}\r\x1b[0K"),
                )
            }
        }
    }

    /// The lines that show the failure of an image where it comes from.
    pub fn annotation(self, name: &ImageName, text: &str, place: Option<&Place>) -> Vec<String> {
        match self {
            Self::GitHub => vec![command(name, text, place)],
            Self::GitLab => Vec::new(),
        }
    }
}

fn command(name: &ImageName, text: &str, place: Option<&Place>) -> String {
    let title = property(&format!("{name} is not built"));
    let (at, said) = match place {
        None => (String::new(), text.to_owned()),
        Some(place) => (
            format!("file={},line={},", property(&place.template), place.template_line),
            format!("{text}\n{}", place.text.trim()),
        ),
    };
    format!("::error {at}title={title}::{}", data(&said))
}

/// Text as a workflow command takes it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property as a workflow command takes it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The name of a section: letters, digits, and `_`, `.` and `-`.
fn section_id(name: &ImageName) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let plain: String =
        name.to_string().chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    format!("kiln_{plain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_would_take_for_its_own_is_escaped() {
        let place = Place {
            template: "a,b/100%:x".to_owned(),
            template_line: 3,
            line: 4,
            text: "  RUN a:b \\".to_owned(),
        };
        let name = ImageName::new("app").on(Some("one-source"));
        assert_eq!(
            Ci::GitHub.annotation(&name, "exit: 1,\r\n::error::", Some(&place)),
            ["::error file=a%2Cb/100%25%3Ax,line=3,title=one-source/app is not built\
              ::exit: 1,%0D%0A::error::%0ARUN a:b \\"]
        );
        assert_eq!(
            Ci::GitHub.annotation(&name, "no", None),
            ["::error title=one-source/app is not built::no"]
        );
        let (beginning, end) = Ci::GitLab.fold(&name, UNIX_EPOCH);
        assert!(beginning.contains(":0:kiln_one-source_app[collapsed=true]\r"), "{beginning:?}");
        assert!(end.contains("section_end:0:kiln_one-source_app\r"), "{end:?}");
    }
}

//! Classes of the errors that engines report as text only, by one table of patterns. The texts are
//! those of Docker's classic builder, of BuildKit and of Podman; their wording changes between
//! versions.

use std::sync::LazyLock;

use regex::Regex;

use crate::engine::EngineError;
use crate::registry::{Error, Kind};

/// Class of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// The Dockerfile can't be parsed.
    InvalidDockerfile,
    /// The registry could not be reached, rather than having refused.
    OutOfReach,
    /// The registry answered that it is temporarily unable.
    Busy,
    /// The registry denies access.
    Denied,
}

/// Patterns of error texts with their class; the first match counts.
static CLASSES: LazyLock<Vec<(Class, Regex)>> = LazyLock::new(|| {
    let table = [
        (
            Class::InvalidDockerfile,
            r#"(?is)^(?:failed to (?:solve|create|read)[^:]*: )*(?:failed to create LLB definition: )?(?:dockerfile parse error|failed to parse dockerfile:|parsing main dockerfile:|no build stage in current context|no FROM statement found|file with no instructions|building: no stages to build|invalid escape token|invalid containerport:|\w+ must have two arguments|[A-Z]+ requires (?:at least|exactly|either) \w+ argument|building at STEP ".*": (?:Build error: Unknown instruction|Unknown type|[A-Z]+ requires (?:at least|exactly|either) \w+ argument|[A-Z]+ only supports the ))"#,
        ),
        (
            Class::OutOfReach,
            "dial tcp|no such host|connection refused|connection reset|i/o timeout|\
             no route to host|TLS handshake timeout|Client.Timeout|server misbehaving|\
             network is unreachable|broken pipe|EOF$",
        ),
        (
            Class::Busy,
            r"(?i)toomanyrequests|too many requests|unexpected (?:HTTP )?status(?: code)?:? .*\b5\d\d\b|status(?: code)?:? 5\d\d\b|internal server error|bad gateway|service unavailable|gateway time-?out|insufficient storage|unknown: unknown error",
        ),
        (
            Class::Denied,
            r"(?i)\bunauthorized|\bdenied\b|no basic auth credentials|authentication required|\b403 forbidden",
        ),
    ];
    let compiled = table.map(|(class, pattern)| (class, Regex::new(pattern).expect("a literal")));
    compiled.into()
});

/// Returns the class of a text among `classes`; `None` if it has none of them.
fn class(text: &str, classes: &[Class]) -> Option<Class> {
    let text = text.trim();
    let among = CLASSES.iter().filter(|(class, _)| classes.contains(class));
    among.clone().find(|(_, pattern)| pattern.is_match(text)).map(|(class, _)| *class)
}

/// Classifies the error of a build: a Dockerfile that can't be parsed fails every time.
pub(super) fn of_build(error: EngineError) -> EngineError {
    match error {
        EngineError::Refused(text) if class(&text, &[Class::InvalidDockerfile]).is_some() => {
            EngineError::Rejected(text)
        }
        other => other,
    }
}

/// Classifies the error of a push: the registry was out of reach, temporarily unable, or denies it.
/// Any other refusal may be temporary.
pub(super) fn of_push(error: EngineError) -> EngineError {
    let EngineError::Refused(text) = error else { return error };
    let kind = match class(&text, &[Class::OutOfReach, Class::Busy, Class::Denied]) {
        Some(Class::OutOfReach) => Kind::OutOfReach,
        Some(Class::Busy) => Kind::Busy { pause: None },
        Some(Class::Denied) => Kind::Denied,
        Some(Class::InvalidDockerfile) | None => return EngineError::Refused(text),
    };
    EngineError::Registry(Error { kind, text })
}

/// Classifies the error of a pull like that of a push; any other refusal is final.
pub(super) fn of_pull(error: EngineError) -> EngineError {
    match of_push(error) {
        EngineError::Refused(text) => EngineError::Rejected(text),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::{Prospect, Retryable as _};

    fn refused(text: &str) -> EngineError {
        EngineError::Refused(text.to_owned())
    }

    #[test]
    fn errors_of_registries_have_their_class() {
        let busy = Kind::Busy { pause: None };
        let table = [
            (
                "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                Kind::OutOfReach,
            ),
            ("denied: requested access to the resource is denied", Kind::Denied),
            ("unauthorized: authentication required", Kind::Denied),
            ("no basic auth credentials", Kind::Denied),
            ("received unexpected HTTP status: 403 Forbidden", Kind::Denied),
            ("toomanyrequests: You have reached your pull rate limit.", busy),
            ("received unexpected HTTP status: 503 Service Unavailable", busy),
            ("received unexpected HTTP status: 500 Internal Server Error", busy),
            (
                "error parsing HTTP 429 response body: invalid character 's': \"429 Too Many \
                 Requests\"",
                busy,
            ),
        ];
        for (text, kind) in table {
            let expected = EngineError::Registry(Error { kind, text: text.to_owned() });
            assert_eq!(of_push(refused(text)), expected, "{text}");
            assert_eq!(of_pull(refused(text)), expected, "{text}");
        }
        let other = "manifest invalid: manifest invalid";
        assert_eq!(of_push(refused(other)), refused(other));
        assert_eq!(of_pull(refused(other)), EngineError::Rejected(other.to_owned()));
    }

    /// The texts are those of Docker Engine 20.10 and 28, of Podman 4.3, and of BuildKit 0.8 and
    /// 0.23.
    #[test]
    fn dockerfile_that_cannot_be_parsed_is_not_retried() {
        let llb = "failed to solve with frontend dockerfile.v0: failed to create LLB definition: ";
        let table = [
            "dockerfile parse error line 2: unknown instruction: RUNN".to_owned(),
            "dockerfile parse error on line 2: unknown instruction: RUNN".to_owned(),
            "Dockerfile parse error line 2: Unknown flag: bad".to_owned(),
            "failed to parse Dockerfile: ENV must have two arguments".to_owned(),
            "failed to parse Dockerfile: file with no instructions".to_owned(),
            "no build stage in current context".to_owned(),
            "Invalid containerPort: x".to_owned(),
            format!("{llb}dockerfile parse error line 2: unknown instruction: RUNN"),
            format!("{llb}no build stage in current context"),
            format!("{llb}LABEL must have two arguments"),
            format!("{llb}file with no instructions"),
            format!("{llb}invalid escape token 'x' does not match ` or \\"),
            "failed to solve: dockerfile parse error on line 2: unknown instruction: RUNN"
                .to_owned(),
            "building at STEP \"RUNN \": Build error: Unknown instruction: \"RUNN\" \
             &imagebuilder.Step{Env:[]string{\"PATH=/usr/bin\"}, Command:\"runn\"}\n"
                .to_owned(),
            "building at STEP \"COPY a\": COPY requires at least one argument\n".to_owned(),
            "building at STEP \"COPY --bad=1 a b\": COPY only supports the --chmod=<permissions> \
             --chown=<uid:gid> and the --from=<image|stage> flags\n"
                .to_owned(),
            "building at STEP \"HEALTHCHECK foo\": Unknown type \"FOO\" in HEALTHCHECK (try CMD)\n"
                .to_owned(),
            "parsing main Dockerfile: /var/tmp/b/build/Dockerfile: ENV must have two arguments\n"
                .to_owned(),
            "no FROM statement found\n".to_owned(),
            "FROM requires either one argument, or three: FROM <source> [as <name>]\n".to_owned(),
            "building: no stages to build\n".to_owned(),
        ];
        for text in table {
            assert_eq!(of_build(refused(&text)).prospect(), Prospect::Permanent, "{text}");
        }
    }

    #[test]
    fn other_failures_of_a_build_are_retried() {
        let table = [
            "The command '/bin/sh -c exit 3' returned a non-zero code: 3",
            "The command '/bin/sh -c echo dockerfile parse error; false' returned a non-zero code: 1",
            "executor failed running [/bin/sh -c exit 3]: exit code: 3",
            "building at STEP \"RUN exit 3\": while running runtime: exit status 3\n",
            "COPY failed: file not found in build context or excluded by .dockerignore: stat nope: \
             file does not exist",
            "failed to solve with frontend dockerfile.v0: failed to create LLB definition: failed to \
             do request: Head \"https://h.example/v2/a/manifests/1\": dial tcp: i/o timeout",
        ];
        for text in table {
            assert_eq!(of_build(refused(text)).prospect(), Prospect::Transient(None), "{text}");
        }
    }
}

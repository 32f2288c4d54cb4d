//! Classes of the errors that engines report as text only. The texts of builds are those of Docker's
//! classic builder, of BuildKit and of Podman; their wording changes between versions. The texts of
//! transfers repeat what registries answer, and are classified with those answers.

use std::sync::LazyLock;

use regex::Regex;

use crate::engine::EngineError;
use crate::registry::{Error, Purpose, kind_of_text};

/// Errors of builds that are about the Dockerfile: it can't be parsed.
static INVALID_DOCKERFILE: LazyLock<Regex> = LazyLock::new(|| {
    let literal = r#"(?is)^(?:failed to (?:solve|create|read)[^:]*: )*(?:failed to create LLB definition: )?(?:dockerfile parse error|failed to parse dockerfile:|parsing main dockerfile:|no build stage in current context|no FROM statement found|file with no instructions|building: no stages to build|invalid escape token|invalid containerport:|\w+ must have two arguments|[A-Z]+ requires (?:at least|exactly|either) \w+ argument|building at STEP ".*": (?:Build error: Unknown instruction|Unknown type|[A-Z]+ requires (?:at least|exactly|either) \w+ argument|[A-Z]+ only supports the ))"#;
    Regex::new(literal).expect("a literal")
});

/// Classifies the error of a build: a Dockerfile that can't be parsed fails every time.
pub(super) fn of_build(error: EngineError) -> EngineError {
    match error {
        EngineError::Refused(text) if INVALID_DOCKERFILE.is_match(text.trim()) => {
            EngineError::Rejected(text)
        }
        other => other,
    }
}

/// Classifies the error of a push.
pub(super) fn of_push(error: EngineError) -> EngineError {
    of_transfer(error, Purpose::Write)
}

/// Classifies the error of a pull.
pub(super) fn of_pull(error: EngineError) -> EngineError {
    of_transfer(error, Purpose::Read)
}

/// Classifies the error of a transfer from or to a registry. Any refusal that is not known may be
/// temporary.
fn of_transfer(error: EngineError, purpose: Purpose) -> EngineError {
    let EngineError::Refused(text) = error else { return error };
    match kind_of_text(purpose, &text) {
        Some(kind) => EngineError::Registry(Error::new(kind, text)),
        None => EngineError::Refused(text),
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
    fn transfers_are_retried_unless_the_registry_gave_a_final_answer() {
        let digest = "filesystem layer verification failed for digest sha256:0";
        let again = Prospect::Transient(None);
        let table = [
            ("manifest unknown: manifest unknown", Prospect::Permanent, again),
            ("name unknown: there is no such repository", Prospect::Permanent, Prospect::Permanent),
            ("denied: access forbidden", Prospect::Once, Prospect::Once),
            ("unknown: 'a:1' configured as immutable.", again, Prospect::Permanent),
            ("context deadline exceeded", again, again),
            ("received unexpected HTTP status: 502 Bad Gateway", again, again),
            (digest, again, again),
        ];
        for (text, pulled, pushed) in table {
            assert_eq!(of_pull(refused(text)).prospect(), pulled, "{text}");
            assert_eq!(of_push(refused(text)).prospect(), pushed, "{text}");
        }
        assert_eq!(of_push(EngineError::Rejected(digest.into())).prospect(), Prospect::Permanent);
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

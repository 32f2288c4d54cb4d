//! Classification of failed requests to registries and token services, by one table. It serves for
//! the answers that Kiln gets itself, with a status and the codes of the distribution specification,
//! and for the texts in which engines report such answers.
//!
//! Registries answer the same thing in different ways. The rows name those whose habits they follow;
//! `tests/it/registry_habits.rs` tries each habit with engines.

use std::sync::LazyLock;

use regex::Regex;

use super::registry_error::Kind;

/// Purpose of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Reading an image: a question about it, or its pull.
    Read,
    /// Pushing an image.
    Write,
}

/// Row of the table: the kind of the answers that match all its columns.
struct Row {
    /// Purpose of the request; `None` for any.
    purpose: Option<Purpose>,
    status: Status,
    /// Pattern of the codes and the message; empty for any.
    words: &'static str,
    kind: Kind,
}

/// Column with the status of an answer.
#[derive(Debug, Clone, Copy)]
enum Status {
    Any,
    /// The text of an engine that names no status.
    Untold,
    OneOf(&'static [u16]),
    /// Any status from 500.
    OfServer,
}

impl Status {
    fn fits(self, status: Option<u16>) -> bool {
        match self {
            Self::Any => true,
            Self::Untold => status.is_none(),
            Self::OneOf(among) => status.is_some_and(|status| among.contains(&status)),
            Self::OfServer => status.is_some_and(|status| status >= 500),
        }
    }
}

const READ: Option<Purpose> = Some(Purpose::Read);
const WRITE: Option<Purpose> = Some(Purpose::Write);
const BUSY: Kind = Kind::Busy { pause: None };

/// Table of the answers; the first row that matches counts.
const ROWS: &[Row] = &[
    // An engine got no answer.
    row(
        None,
        Status::Untold,
        r"dial tcp|no such host|connection refused|connection reset|connection timed out|i/o timeout|no route to host|TLS handshake timeout|Client\.Timeout|context deadline exceeded|server misbehaving|network is unreachable|broken pipe|stream error|EOF$",
        Kind::OutOfReach,
    ),
    // ECR (400, TAG_INVALID), Harbor (412, PRECONDITION), Quay, Artifact Registry, GitLab and Docker Hub
    // (in their own words): the tag has an image, and can't get another one. ACR: it is locked.
    row(
        WRITE,
        Status::Any,
        r"immutab|cannot be overwritten|can't be overwritten|operation is disallowed on this registry",
        Kind::Immutable,
    ),
    // The answer is about a layer of this push that has not arrived at all replicas.
    row(WRITE, Status::Any, r"blob[ _]unknown|blob[ _]upload[ _]unknown", BUSY),
    // ECR, Artifact Registry (NAME_UNKNOWN), Harbor (NOT_FOUND or UNAUTHORIZED): whoever pushes has to
    // create the repository or its project before.
    row(
        WRITE,
        Status::Any,
        r"name[ _]unknown|(?:repository|project) .{0,300}(?:does not exist|not found)",
        Kind::Uncreated,
    ),
    // Docker Hub (429, TOOMANYREQUESTS), ECR (429, or the words alone), distribution and all proxies.
    row(None, Status::OneOf(&[408, 425, 429]), "", BUSY),
    row(None, Status::OfServer, "", BUSY),
    row(
        None,
        Status::Any,
        r"toomanyrequests|too many requests|rate exceeded|rate limit|internal server error|bad gateway|service unavailable|gateway time-?out|insufficient storage|unknown: unknown error",
        BUSY,
    ),
    // Distribution, ECR and Harbor say so of repositories, too; others do not tell them from hidden ones.
    row(READ, Status::OneOf(&[404]), "", Kind::Missing),
    row(
        READ,
        Status::Any,
        r"(?:manifest|name|blob)[ _]unknown|manifest for \S+ not found|no matching manifest|no image found in",
        Kind::Missing,
    ),
    // Quay and Docker Hub (401), GHCR, GitLab and Artifactory (403), ACR (401): also for a repository that
    // does not exist.
    row(None, Status::OneOf(&[401, 403]), "", Kind::Denied),
    row(
        None,
        Status::Any,
        r"\bunauthorized|\bdenied\b|no basic auth credentials|authentication required|\b403 forbidden",
        Kind::Denied,
    ),
];

const fn row(purpose: Option<Purpose>, status: Status, words: &'static str, kind: Kind) -> Row {
    Row { purpose, status, words, kind }
}

/// Patterns of the rows.
static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let pattern = |row: &Row| Regex::new(&format!("(?i){}", row.words)).expect("a literal");
    ROWS.iter().map(pattern).collect()
});

/// Status of an answer in the text of an engine.
static STATUS: LazyLock<Regex> = LazyLock::new(|| {
    let literal =
        r"(?i)(?:status(?: ?code)?|http(?: code)?):? (?:from [^:]+: |.{0,80}: )?([1-5]\d\d)\b";
    Regex::new(literal).expect("a literal")
});

/// Returns the kind of the answer with this status, and with these codes and messages as words;
/// `None` if it is none that the table knows.
pub(super) fn kind_of_answer(purpose: Purpose, status: u16, words: &str) -> Option<Kind> {
    kind(purpose, Some(status), words)
}

/// Returns the kind of the failure that an engine reports with this text; `None` if it is none that
/// the table knows.
pub fn kind_of_text(purpose: Purpose, text: &str) -> Option<Kind> {
    let text = text.trim();
    let status = STATUS.captures(text).and_then(|found| found[1].parse().ok());
    kind(purpose, status, text)
}

fn kind(purpose: Purpose, status: Option<u16>, words: &str) -> Option<Kind> {
    let fits =
        |row: &Row| row.purpose.is_none_or(|of_row| of_row == purpose) && row.status.fits(status);
    let mut rows = ROWS.iter().zip(&*PATTERNS);
    rows.find(|(row, pattern)| fits(row) && pattern.is_match(words)).map(|(row, _)| row.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_registries_have_their_kind() {
        use Purpose::{Read, Write};
        let table = [
            // Distribution 2 and 3.
            (Read, 404, "manifest unknown: manifest unknown", Some(Kind::Missing)),
            (Read, 404, "name unknown: repository name not known to registry", Some(Kind::Missing)),
            (Read, 404, "", Some(Kind::Missing)),
            (Read, 401, "unauthorized: authentication required", Some(Kind::Denied)),
            (Write, 404, "blob upload unknown: blob upload unknown to registry", Some(BUSY)),
            (Write, 400, "manifest invalid: manifest invalid", None),
            (Write, 400, "manifest blob unknown: blob unknown to registry", Some(BUSY)),
            // Docker Hub.
            (Read, 401, "", Some(Kind::Denied)),
            (Read, 429, "toomanyrequests: You have reached your pull rate limit.", Some(BUSY)),
            (Write, 401, "denied: requested access to the resource is denied", Some(Kind::Denied)),
            // Quay.
            (
                Read,
                401,
                "unauthorized: access to the requested resource is not authorized",
                Some(Kind::Denied),
            ),
            (Write, 409, "tag immutable: the tag can't be changed", Some(Kind::Immutable)),
            // Harbor.
            (
                Write,
                412,
                "precondition: Failed to process request due to 'a:1' configured as immutable.",
                Some(Kind::Immutable),
            ),
            (Write, 404, "not found: project library2 not found", Some(Kind::Uncreated)),
            (
                Write,
                401,
                "unauthorized: project heimdall not found: project heimdall not found",
                Some(Kind::Uncreated),
            ),
            (
                Write,
                401,
                "unauthorized: unauthorized to access repository: a/b, action: push",
                Some(Kind::Denied),
            ),
            // ECR.
            (
                Read,
                404,
                "name unknown: The repository with name 'a' does not exist in the registry with id '1'",
                Some(Kind::Missing),
            ),
            (
                Write,
                404,
                "name unknown: The repository with name 'a' does not exist in the registry with id '1'",
                Some(Kind::Uncreated),
            ),
            (
                Write,
                400,
                "tag invalid: The image tag '1' already exists in the 'a' repository and cannot be overwritten because the repository is immutable.",
                Some(Kind::Immutable),
            ),
            (
                Read,
                403,
                "denied: Your authorization token has expired. Reauthenticate and try again.",
                Some(Kind::Denied),
            ),
            // GHCR and GitLab.
            (Read, 403, "denied: requested access to the resource is denied", Some(Kind::Denied)),
            (Read, 403, "denied: access forbidden", Some(Kind::Denied)),
            // Artifactory and ACR.
            (Read, 403, "", Some(Kind::Denied)),
            (
                Write,
                405,
                "denied: The operation is disallowed on this registry, repository or image.",
                Some(Kind::Immutable),
            ),
            (
                Read,
                401,
                "unauthorized: authentication required, visit a page for more",
                Some(Kind::Denied),
            ),
            // Artifact Registry.
            (Write, 404, "name unknown: Repository \"a\" not found", Some(Kind::Uncreated)),
            (Read, 502, "the gateway says: connection refused", Some(BUSY)),
            (Read, 400, "", None),
        ];
        for (purpose, status, words, expected) in table {
            assert_eq!(kind_of_answer(purpose, status, words), expected, "{status} {words}");
        }
    }

    /// The texts are those of Docker Engine 20.10 and 28, and of Podman 4.3.
    #[test]
    fn texts_of_engines_have_their_kind() {
        use Purpose::{Read, Write};
        let dial =
            "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused";
        let table = [
            (dial, Some(Kind::OutOfReach), Some(Kind::OutOfReach)),
            ("unexpected EOF", Some(Kind::OutOfReach), Some(Kind::OutOfReach)),
            (
                "net/http: request canceled (Client.Timeout exceeded while awaiting headers)",
                Some(Kind::OutOfReach),
                Some(Kind::OutOfReach),
            ),
            (
                "denied: requested access to the resource is denied",
                Some(Kind::Denied),
                Some(Kind::Denied),
            ),
            ("unauthorized: authentication required", Some(Kind::Denied), Some(Kind::Denied)),
            ("no basic auth credentials", Some(Kind::Denied), Some(Kind::Denied)),
            (
                "received unexpected HTTP status: 403 Forbidden",
                Some(Kind::Denied),
                Some(Kind::Denied),
            ),
            (
                "pull access denied for a/b, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                Some(Kind::Denied),
                Some(Kind::Uncreated),
            ),
            ("toomanyrequests: You have reached your pull rate limit.", Some(BUSY), Some(BUSY)),
            ("received unexpected HTTP status: 503 Service Unavailable", Some(BUSY), Some(BUSY)),
            ("received unexpected HTTP status: 500 Internal Server Error", Some(BUSY), Some(BUSY)),
            (
                "error parsing HTTP 429 response body: invalid character 's': \"429 Too Many Requests\"",
                Some(BUSY),
                Some(BUSY),
            ),
            ("error parsing HTTP 502 response body: unexpected EOF", Some(BUSY), Some(BUSY)),
            (
                "manifest for 127.0.0.1:5000/a:1 not found: manifest unknown: manifest unknown",
                Some(Kind::Missing),
                None,
            ),
            (
                "initializing source docker://127.0.0.1:5000/a:1: reading manifest 1 in 127.0.0.1:5000/a: name unknown: not here",
                Some(Kind::Missing),
                Some(Kind::Uncreated),
            ),
            (
                "no matching manifest for linux/s390x in the manifest list entries",
                Some(Kind::Missing),
                None,
            ),
            (
                "name unknown: The repository with name 'a' does not exist in the registry with id '1'",
                Some(Kind::Missing),
                Some(Kind::Uncreated),
            ),
            (
                "tag invalid: The image tag '1' already exists in the 'a' repository and cannot be overwritten because the repository is immutable.",
                None,
                Some(Kind::Immutable),
            ),
            (
                "unknown: Failed to process request due to 'a:1' configured as immutable.",
                None,
                Some(Kind::Immutable),
            ),
            ("filesystem layer verification failed for digest sha256:0", None, None),
            ("manifest invalid: manifest invalid", None, None),
        ];
        for (text, read, written) in table {
            assert_eq!(kind_of_text(Read, text), read, "{text}");
            assert_eq!(kind_of_text(Write, text), written, "{text}");
        }
    }
}

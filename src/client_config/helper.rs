//! Credential helpers: programs called `docker-credential-<name>` that a client's configuration
//! names.
//!
//! A name must not be a path, the program is searched only in the absolute folders of `PATH`, and
//! it runs in the root folder: neither the configuration nor the current folder decides which file
//! is executed. Its answer is limited in size and time. Its output is never included in a message,
//! since it may be the secret.

use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use super::credentials::{Credentials, Reason};
use crate::program::{self, Limits};
use crate::secret::Secret;

/// Prefix of the programs' names.
const PREFIX: &str = "docker-credential-";

/// Largest output of a helper, in bytes.
const MOST_BYTES: usize = 1 << 20;

/// Message of helpers that have no credentials for a registry.
const NOTHING_KNOWN: &str = "credentials not found";

/// User name that helpers return with an identity token.
const OF_TOKEN: &str = "<token>";

/// Answer of a helper.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Runs the helper called `name` to get the credentials of a registry, and kills it and all that it
/// has started if it takes longer than `timeout`. Returns `None` if it has none.
///
/// # Errors
/// When there is no such helper, or it fails; the reason contains nothing of its output.
pub(super) async fn ask(
    name: &str,
    registry: &str,
    timeout: Duration,
) -> Result<Option<Credentials>, Reason> {
    require_name(name)?;
    let program = format!("{PREFIX}{name}");
    let helper = program::command(&program).map_err(|_| {
        format!("the credential helper {program} is not in any absolute folder of PATH")
    })?;
    let answer = run(helper, registry, timeout).await;
    answer.map_err(|reason| Reason {
        text: format!("the credential helper {program} {reason}"),
        is_transient: true,
    })
}

/// Refuses an invalid name of a helper, such as a path.
fn require_name(name: &str) -> Result<(), String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_name = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if is_name && name.bytes().all(is_part) {
        return Ok(());
    }
    Err(format!(
        "{name:?} is not a name of a credential helper: use letters, digits, '.', '_' and '-', without a path"
    ))
}

async fn run(
    mut helper: Command,
    registry: &str,
    timeout: Duration,
) -> Result<Option<Credentials>, String> {
    helper.arg("get").current_dir("/");
    let limits = Limits { silence: timeout, total: timeout, output: MOST_BYTES, folder: None };
    let ended = program::run_async(helper, registry.into(), limits).await;
    let ended = ended.map_err(|error| match error.is_transient() {
        true => format!("did not answer within {} s (--timeout)", timeout.as_secs_f32()),
        false => format!("failed: {error}"),
    })?;
    if !ended.status.success() {
        let knows_nothing = String::from_utf8_lossy(&ended.stdout).contains(NOTHING_KNOWN)
            || ended.stderr.contains(NOTHING_KNOWN);
        return if knows_nothing { Ok(None) } else { Err(format!("failed ({})", ended.status)) };
    }
    let answer: Answer = serde_json::from_slice(&ended.stdout)
        .map_err(|_| "answered without Username and Secret".to_owned())?;
    let secret = Secret::new(answer.secret.into_bytes());
    Ok(Some(match answer.username.as_str() {
        OF_TOKEN => Credentials::of_identity(secret),
        _ => Credentials::of_user(answer.username, secret),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};

    fn program(folder: &Path, name: &str, script: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn names_of_helpers_are_no_paths() {
        for name in ["osxkeychain", "ecr-login", "desktop.exe", "a_b", "1"] {
            require_name(name).unwrap();
        }
        for name in ["", "x/../helper", "/bin/sh", "..", ".x", "-x", "a b", "a\n", "a\0b", "ä"] {
            let refused = require_name(name).unwrap_err();
            assert!(refused.contains("is not a name of a credential helper"), "{refused}");
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    async fn came_to(script: &str, timeout: Duration) -> Result<Option<Credentials>, String> {
        let folder = tempfile::tempdir().unwrap();
        run(Command::new(program(folder.path(), "helper", script)), "h.example", timeout).await
    }

    #[tokio::test]
    async fn answers_are_understood_and_never_repeated() {
        let password = came_to(
            r#"read server; echo "{\"Username\": \"me at $server in $PWD\", \"Secret\": \"s\"}""#,
            LONG,
        );
        let Credentials { user, password, .. } = password.await.unwrap().unwrap();
        assert_eq!((user.as_str(), password.expose()), ("me at h.example in /", &b"s"[..]));
        let token =
            came_to(r#"echo '{"Username": "<token>", "Secret": "t"}'"#, LONG).await.unwrap();
        assert_eq!(token.unwrap().identity_token.unwrap().expose(), b"t");
        let nothing = came_to("echo credentials not found in native keychain; exit 1", LONG).await;
        assert!(nothing.unwrap().is_none());
        let table = [
            ("echo SECRET; exit 3", "failed (exit status: 3)"),
            ("echo SECRET", "answered without Username and Secret"),
            // What a helper leaves running, such as an agent, is not waited for.
            ("sleep 60 & echo SECRET", "answered without Username and Secret"),
            ("cat /dev/zero", "failed: it writes more than 1 MiB"),
            ("cat /dev/zero >&2", "failed: it prints more than 16 MiB"),
        ];
        for (script, reason) in table {
            assert_eq!(came_to(script, LONG).await.unwrap_err(), reason, "{script}");
        }
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_given_up() {
        for script in ["exec sleep 60", "sleep 60 & wait", "exec 0<&-; while :; do :; done"] {
            let answer = came_to(script, Duration::from_millis(1500)).await;
            assert_eq!(answer.unwrap_err(), "did not answer within 1.5 s (--timeout)", "{script}");
        }
    }
}

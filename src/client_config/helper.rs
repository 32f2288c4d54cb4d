//! Credential helpers: programs called `docker-credential-<name>` that a client's configuration
//! names.
//!
//! A name must not be a path, the program is searched only in the absolute folders of `PATH`, and
//! it runs in the root folder: neither the configuration nor the current folder decides which file
//! is executed. Its answer is limited in size and time. Its output is never included in a message,
//! since it may be the secret.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::credentials::Credentials;
use crate::program;
use crate::secret::Secret;

/// Prefix of the programs' names.
const PREFIX: &str = "docker-credential-";

/// Largest output of a helper, in bytes.
const MOST_BYTES: u64 = 1 << 20;

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

/// Runs the helper called `name` to get the credentials of a registry, and kills it if it takes
/// longer than `timeout`. Returns `None` if it has none.
///
/// # Errors
/// When there is no such helper, or it fails; the reason contains nothing of its output.
pub(super) async fn ask(
    name: &str,
    registry: &str,
    timeout: Duration,
) -> Result<Option<Credentials>, String> {
    require_name(name)?;
    let program = format!("{PREFIX}{name}");
    let helper = program::command(&program).map_err(|_| {
        format!("the credential helper {program} is not in any absolute folder of PATH")
    })?;
    match tokio::time::timeout(timeout, run(helper, registry)).await {
        Ok(answer) => answer.map_err(|reason| format!("the credential helper {program} {reason}")),
        Err(_) => {
            let seconds = timeout.as_secs();
            Err(format!(
                "the credential helper {program} did not answer within {seconds} s (--timeout)"
            ))
        }
    }
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

async fn run(helper: std::process::Command, registry: &str) -> Result<Option<Credentials>, String> {
    let mut helper = Command::from(helper)
        .arg("get")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("can't be run: {error}"))?;
    let mut stdin = helper.stdin.take().expect("it is piped");
    let stdout = helper.stdout.take().expect("it is piped");
    let stderr = helper.stderr.take().expect("it is piped");
    let ask = async {
        // A helper may exit without reading its input.
        drop(stdin.write_all(registry.as_bytes()).await);
        drop(stdin);
    };
    let ((), said, complaint) = tokio::join!(ask, read(stdout), read(stderr));
    let (said, complaint) = (said?, complaint?);
    let status = helper.wait().await.map_err(|error| format!("can't be waited for: {error}"))?;
    if !status.success() {
        let knows_nothing = [&said, &complaint]
            .iter()
            .any(|text| String::from_utf8_lossy(text).contains(NOTHING_KNOWN));
        return if knows_nothing { Ok(None) } else { Err(format!("failed ({status})")) };
    }
    let answer: Answer = serde_json::from_slice(&said)
        .map_err(|_| "answered without Username and Secret".to_owned())?;
    let secret = Secret::new(answer.secret.into_bytes());
    Ok(Some(match answer.username.as_str() {
        OF_TOKEN => Credentials::of_identity(secret),
        _ => Credentials::of_user(answer.username, secret),
    }))
}

async fn read(pipe: impl AsyncRead + Unpin) -> Result<Vec<u8>, String> {
    let mut said = Vec::new();
    let read = pipe.take(MOST_BYTES + 1).read_to_end(&mut said).await;
    read.map_err(|error| format!("can't be read: {error}"))?;
    if said.len() as u64 > MOST_BYTES {
        return Err(format!("printed more than {MOST_BYTES} bytes"));
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};
    use std::time::Instant;

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

    async fn came_to(script: &str) -> Result<Option<Credentials>, String> {
        let folder = tempfile::tempdir().unwrap();
        run(std::process::Command::new(program(folder.path(), "helper", script)), "h.example").await
    }

    #[tokio::test]
    async fn answers_are_understood_and_never_repeated() {
        let password = came_to(
            r#"read server; echo "{\"Username\": \"me at $server in $PWD\", \"Secret\": \"s\"}""#,
        );
        let Credentials { user, password, .. } = password.await.unwrap().unwrap();
        assert_eq!((user.as_str(), password.expose()), ("me at h.example in /", &b"s"[..]));
        let token = came_to(r#"echo '{"Username": "<token>", "Secret": "t"}'"#).await.unwrap();
        assert_eq!(token.unwrap().identity_token.unwrap().expose(), b"t");
        let nothing = came_to("echo credentials not found in native keychain; exit 1").await;
        assert!(nothing.unwrap().is_none());
        let table = [
            ("echo SECRET; exit 3", "failed (exit status: 3)"),
            ("echo SECRET", "answered without Username and Secret"),
            ("cat /dev/zero", "printed more than 1048576 bytes"),
            ("cat /dev/zero >&2", "printed more than 1048576 bytes"),
        ];
        for (script, reason) in table {
            assert_eq!(came_to(script).await.unwrap_err(), reason, "{script}");
        }
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_given_up() {
        for script in ["exec sleep 60", "sleep 60 & echo x", "exec 0<&-; while :; do :; done"] {
            let folder = tempfile::tempdir().unwrap();
            let path = program(folder.path(), "helper", script);
            let start = Instant::now();
            let answer = tokio::time::timeout(
                Duration::from_millis(300),
                run(std::process::Command::new(&path), "h"),
            )
            .await;
            assert!(answer.is_err(), "{script}");
            assert!(start.elapsed() < Duration::from_secs(5));
        }
    }
}

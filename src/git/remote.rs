//! Server from which a source is fetched for the user, with the user's configuration and keys. The
//! server sends objects only; no program that it names is run. Secrets in its location are neither
//! passed as arguments of a program nor written to a file.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::export;
use super::git_command::{ALWAYS, git, prepare_environment};
use crate::program::{self, Ended, Limits, RunError};
use crate::secret::without_secrets;

/// Variables with the user's settings for the connection to servers.
const OF_TRANSPORT: [&str; 18] = [
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_ASKPASS",
    "GIT_PROXY_COMMAND",
    "GIT_HTTP_PROXY_AUTHMETHOD",
    "GIT_HTTP_USER_AGENT",
    "GIT_SSL_NO_VERIFY",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
    "GIT_SSL_CERT_PASSWORD_PROTECTED",
    "GIT_SSL_CIPHER_LIST",
    "GIT_SSL_VERSION",
    "GIT_PROXY_SSL_CAINFO",
    "GIT_PROXY_SSL_CERT",
    "GIT_PROXY_SSL_KEY",
];

/// Variables of these and of the configuration that name files. A relative path is made absolute,
/// since git runs in another folder.
const PATHS: [&str; 9] = [
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
    "GIT_PROXY_SSL_CAINFO",
    "GIT_PROXY_SSL_CERT",
    "GIT_PROXY_SSL_KEY",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
];

/// Variables that pass user and password to the credential helper that git calls.
const USER: &str = "KILN_SOURCE_USER";
const PASSWORD: &str = "KILN_SOURCE_PASSWORD";

/// Credential helper that answers with these variables.
const HELPER: &str = "!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \
                      \"$KILN_SOURCE_USER\" \"$KILN_SOURCE_PASSWORD\"; }; f";

/// Slowest transfer by HTTP, in bytes per second: a slower one counts as silence.
const SLOWEST: u32 = 10;

/// Largest number of files of a checkout.
const MOST_FILES: usize = 250_000;

/// Error for a location that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RemoteError(String);

/// Repository on a server or in another folder.
#[derive(Debug, Clone)]
pub struct Remote {
    /// Location without user and password.
    location: String,
    transport: Transport,
    /// Command that runs ssh; `None` if the user has configured one, or no ssh is used.
    ssh: Option<String>,
    /// Configuration of git beyond the user's.
    settings: Vec<(String, String)>,
    credentials: Option<Credentials>,
    /// Folder that git works in.
    folder: PathBuf,
}

#[derive(Debug, Clone)]
struct Credentials {
    user: String,
    password: String,
}

/// Transport of a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Https,
    Http,
    Ssh,
    Git,
    File,
}

impl Transport {
    fn of(location: &str) -> Result<Self, RemoteError> {
        let refuse = |what: &str| {
            Err(RemoteError(format!(
                "Kiln does not fetch by {what}: use a URL of https, http, ssh, git or file, or a path"
            )))
        };
        if let Some((scheme, _)) = location.split_once("://") {
            return match scheme.to_ascii_lowercase().as_str() {
                "https" => Ok(Self::Https),
                "http" => Ok(Self::Http),
                "ssh" | "git+ssh" | "ssh+git" => Ok(Self::Ssh),
                "git" => Ok(Self::Git),
                "file" => Ok(Self::File),
                other => refuse(&format!("'{}'", other.escape_debug())),
            };
        }
        let colon = location.find(':');
        let slash = location.find('/');
        match colon {
            Some(colon) if location[colon..].starts_with("::") => refuse("a helper ('::')"),
            Some(colon) if slash.is_none_or(|slash| colon < slash) => Ok(Self::Ssh),
            _ => Ok(Self::File),
        }
    }

    /// Returns the transports that redirects may lead to, and that the user's configuration may
    /// replace this one with (`insteadOf`). None of them is weaker.
    fn allowed(self) -> &'static str {
        match self {
            Self::Https | Self::Ssh => "https:ssh",
            Self::Http => "http:https:ssh",
            Self::Git => "git:http:https:ssh",
            Self::File => "file",
        }
    }
}

impl Remote {
    /// Prepares to fetch from `location`; git runs in the empty folder `folder`. `silence` is the
    /// longest time that the server may send nothing.
    ///
    /// # Errors
    /// When the location can't be used.
    pub async fn new(
        location: &str,
        folder: &Path,
        silence: Duration,
    ) -> Result<Self, RemoteError> {
        if location.chars().any(char::is_control) {
            return Err(RemoteError("its location contains control characters".to_owned()));
        }
        let transport = Transport::of(location)?;
        let (location, credentials, mut settings) = match transport {
            Transport::Https | Transport::Http => split_user_info(location)?,
            Transport::File => (absolute(location), None, Vec::new()),
            Transport::Ssh | Transport::Git if has_password(location) => {
                return Err(RemoteError(
                    "a password in a location needs https: remove it, and use a key".to_owned(),
                ));
            }
            Transport::Ssh | Transport::Git => (location.to_owned(), None, Vec::new()),
        };
        if location.contains('?') && without_secrets(&location) != location {
            return Err(RemoteError(
                "git does not accept a secret in the query of a URL: write it as a password, https://user:token@host/path".to_owned(),
            ));
        }
        settings.push(("http.lowSpeedLimit".to_owned(), SLOWEST.to_string()));
        settings.push(("http.lowSpeedTime".to_owned(), seconds(silence).to_string()));
        settings.push(("transfer.bundleURI".to_owned(), "false".to_owned()));
        let ssh = match transport {
            Transport::File => None,
            _ => ssh(folder, silence).await,
        };
        let folder = folder.to_owned();
        Ok(Self { location, transport, ssh, settings, credentials, folder })
    }

    /// Returns the location, without user and password.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Returns the output of `git ls-remote` for `patterns`.
    ///
    /// # Errors
    /// When git can't be run or exceeds its limits.
    pub async fn list(&self, patterns: &[String], limits: Limits) -> Result<Ended, RunError> {
        let mut git = self.git()?;
        git.args(["ls-remote", "--quiet", "--", &self.location]).args(patterns);
        self.run(git, limits).await
    }

    /// Clones the repository to the folder `clone`, without checking anything out.
    ///
    /// # Errors
    /// When git can't be run or exceeds its limits.
    pub async fn clone_to(&self, clone: &Path, limits: Limits) -> Result<Ended, RunError> {
        let mut git = self.git()?;
        git.args(["clone", "--progress", "--no-checkout", "--no-local", "--template="]);
        git.args(["--origin", "origin", "--", &self.location]).arg(clone);
        self.run(git, limits).await
    }

    /// Returns the commit id that a clone has for a branch, a tag or a commit id, which
    /// may be abbreviated. `None` if there is none.
    ///
    /// # Errors
    /// When git can't be run or exceeds its limits.
    pub async fn commit(
        &self,
        clone: &Path,
        wanted: &str,
        limits: Limits,
    ) -> Result<Option<String>, RunError> {
        for spelling in [format!("refs/remotes/origin/{wanted}"), wanted.to_owned()] {
            let mut git = self.git_in(clone)?;
            git.args(["rev-parse", "--verify", "--quiet", "--end-of-options"]);
            git.arg(format!("{spelling}^{{commit}}"));
            let ended = self.run(git, limits.clone()).await?;
            let commit = String::from_utf8_lossy(&ended.stdout).trim().to_owned();
            let is_id = commit.len() >= 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
            if ended.status.success() && is_id {
                return Ok(Some(commit));
            }
        }
        Ok(None)
    }

    /// Checks out a commit of a clone, unless its files have more than `most` bytes.
    ///
    /// # Errors
    /// When git can't be run or exceeds its limits, or the commit is too large.
    pub async fn check_out(
        &self,
        clone: &Path,
        commit: &str,
        most: u64,
        limits: Limits,
    ) -> Result<Ended, RunError> {
        let mut listing = self.git_in(clone)?;
        listing.args(["ls-tree", "-r", "-z", "-l", "--full-tree", commit]);
        // Few bytes of objects can describe any number of files.
        let listed = self.run(listing, limits.clone()).await?;
        if !listed.status.success() {
            return Ok(listed);
        }
        let mut entries = export::Listing::new(MOST_FILES);
        entries.take(&listed.stdout).map_err(RunError::Unusable)?;
        if entries.size() > most {
            let reason = format!("the commit has more than {} GiB of files", most >> 30);
            return Err(RunError::TooMuch(reason));
        }
        let mut git = self.git_in(clone)?;
        git.args(["checkout", "--progress", "--detach", "--no-recurse-submodules", commit]);
        self.run(git, limits).await
    }

    /// Passes the same settings to another program that runs git, by its environment.
    pub fn lend_to(&self, command: &mut Command) {
        prepare_environment(command, &self.folder, &OF_TRANSPORT);
        self.set_environment(command, &ALWAYS);
        // Unlike Kiln, other programs follow the submodules that a server names.
        command.env("GIT_ALLOW_PROTOCOL", self.transport.allowed());
    }

    fn git(&self) -> Result<Command, RunError> {
        self.git_in(&self.folder)
    }

    fn git_in(&self, folder: &Path) -> Result<Command, RunError> {
        let mut git = git(folder, &OF_TRANSPORT).map_err(RunError::Start)?;
        self.set_environment(&mut git, &[]);
        // The user's `insteadOf` may replace a server by a mirror on this machine.
        git.env("GIT_ALLOW_PROTOCOL", format!("{}:file", self.transport.allowed()));
        Ok(git)
    }

    /// Sets the variables of all settings, including the secret ones that no argument may contain.
    fn set_environment(&self, command: &mut Command, more: &[(&str, &str)]) {
        for name in PATHS {
            if let Some(value) = env::var_os(name).filter(|value| !value.is_empty()) {
                command.env(name, env::current_dir().unwrap_or_default().join(value));
            }
        }
        let own = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let settings: Vec<_> = more.iter().copied().chain(own).collect();
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (index, (name, value)) in settings.into_iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{index}"), name);
            command.env(format!("GIT_CONFIG_VALUE_{index}"), value);
        }
        command.env("GIT_PROGRESS_DELAY", "0");
        if let Some(Credentials { user, password }) = &self.credentials {
            command.env(USER, user).env(PASSWORD, password);
        }
        if let Some(ssh) = &self.ssh {
            command.env("GIT_SSH_COMMAND", ssh);
        }
    }

    async fn run(&self, git: Command, limits: Limits) -> Result<Ended, RunError> {
        program::run_async(git, Vec::new(), limits).await
    }
}

/// Returns a command that runs ssh without prompts, which nobody could answer, and with a timeout.
/// `None` if the user has configured a command.
async fn ssh(folder: &Path, silence: Duration) -> Option<String> {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    if is_set("GIT_SSH_COMMAND") || is_set("GIT_SSH") {
        return None;
    }
    let mut git = git(folder, &OF_TRANSPORT).ok()?;
    git.args(["config", "--get", "core.sshCommand"]);
    let output = LONGEST_SETTING;
    let limits = Limits { silence, total: silence, output, folder: None };
    let asked = program::run_async(git, Vec::new(), limits).await;
    let is_configured = asked.is_ok_and(|ended| ended.status.success());
    let timeout = seconds(silence);
    (!is_configured).then(|| format!("ssh -o BatchMode=yes -o ConnectTimeout={timeout}"))
}

/// Largest output of `git config`, in bytes.
const LONGEST_SETTING: usize = 64 << 10;

/// Returns a time in whole seconds, at least one.
fn seconds(time: Duration) -> u64 {
    time.as_secs().max(1)
}

/// Returns a path as an absolute one; a URL is returned unchanged.
fn absolute(location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let path = std::path::absolute(location).unwrap_or_else(|_| PathBuf::from(location));
    path.to_string_lossy().into_owned()
}

type Split = (String, Option<Credentials>, Vec<(String, String)>);

/// Splits user and password off a URL of HTTP, and returns the settings by which git uses them.
fn split_user_info(url: &str) -> Result<Split, RemoteError> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((user_info, host)) = authority.rsplit_once('@') else {
        let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
        let is_host = authority.starts_with('[') || port.chars().all(|c| c.is_ascii_digit());
        if !is_host {
            return Err(RemoteError(
                "the user and password in its location can't be separated from the host: write '/' as %2F, '?' as %3F, '#' as %23 and '@' as %40 in them".to_owned(),
            ));
        }
        return Ok((url.to_owned(), None, Vec::new()));
    };
    let (user, password) = match user_info.split_once(':') {
        Some((user, password)) => (decoded(user)?, Some(decoded(password)?)),
        None => (decoded(user_info)?, None),
    };
    let place = format!("{scheme}://{host}");
    let set = |key: &str, value: &str| (format!("credential.{place}.{key}"), value.to_owned());
    let location = format!("{place}{path}");
    match password {
        // The user's own helpers must not store the password.
        Some(password) => {
            let settings = vec![set("helper", ""), set("helper", HELPER)];
            Ok((location, Some(Credentials { user, password }), settings))
        }
        None => Ok((location, None, vec![set("username", &user)])),
    }
}

/// Decodes the percent escapes in a part of a URL.
fn decoded(part: &str) -> Result<String, RemoteError> {
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let [first, others @ ..] = rest {
        let escaped = (*first == b'%').then(|| others.get(..2)).flatten();
        let escaped = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => Ok(text),
        _ => Err(RemoteError(
            "the user or password in its location is not UTF-8, or contains control characters"
                .to_owned(),
        )),
    }
}

/// Returns true if a location of ssh or git contains a password.
fn has_password(location: &str) -> bool {
    let Some((_, rest)) = location.split_once("://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user_info, _)| user_info.contains(':'))
}

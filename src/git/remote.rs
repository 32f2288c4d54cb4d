//! A server that a source is fetched from: for the user, with the user's configuration and keys. What
//! it sends is objects; no program that it names is run, and what is secret in its location is neither
//! an argument of any program nor written to a file.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{export, git, prepare_environment};
use crate::program::{self, Ended, Limits, RunError};
use crate::secret::without_secrets;

/// Variables that say how the user reaches servers.
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

/// Those of the variables that name files: they hold wherever git is run.
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

/// Variables that hand user and password to the helper, which git asks for them.
const USER: &str = "KILN_SOURCE_USER";
const PASSWORD: &str = "KILN_SOURCE_PASSWORD";

/// A credential helper that answers with these variables.
const HELPER: &str = "!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \
                      \"$KILN_SOURCE_USER\" \"$KILN_SOURCE_PASSWORD\"; }; f";

/// Slowest transfer by HTTP, in bytes per second: less is silence.
const SLOWEST: u32 = 10;

/// Most files of a checkout.
const MOST_FILES: usize = 250_000;

/// A location that can't be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RemoteError(String);

/// A repository somewhere else.
#[derive(Debug, Clone)]
pub struct Remote {
    /// Where it is, without user and password.
    location: String,
    transport: Transport,
    /// How ssh is run, where the user has no other way.
    ssh: Option<String>,
    /// What git is configured to do beside what the user has configured.
    settings: Vec<(String, String)>,
    credentials: Option<Credentials>,
    /// The folder that git works in.
    folder: PathBuf,
}

#[derive(Debug, Clone)]
struct Credentials {
    user: String,
    password: String,
}

/// How a location is reached.
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
                "git is not asked to fetch by {what}: give a URL of https, http, ssh, git or file, or a path"
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

    /// The transports that redirects may lead to, and that the user's configuration may put in the place
    /// of this one (`insteadOf`). None is weaker.
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
    /// Prepares to fetch from `location`, with git in the empty folder `folder`; the server may be silent
    /// for so long.
    ///
    /// # Errors
    /// When the location can't be used.
    pub fn new(location: &str, folder: &Path, silence: Duration) -> Result<Self, RemoteError> {
        if location.chars().any(char::is_control) {
            return Err(RemoteError("its location has control characters in it".to_owned()));
        }
        let transport = Transport::of(location)?;
        let (location, credentials, mut settings) = match transport {
            Transport::Https | Transport::Http => split_user_info(location)?,
            Transport::File => (absolute(location), None, Vec::new()),
            Transport::Ssh | Transport::Git if has_password(location) => {
                return Err(RemoteError(
                    "only https takes a password from a location: leave it out, and use a key"
                        .to_owned(),
                ));
            }
            Transport::Ssh | Transport::Git => (location.to_owned(), None, Vec::new()),
        };
        if location.contains('?') && without_secrets(&location) != location {
            return Err(RemoteError(
                "git takes no secret from the query of a URL: give it as the password of a user, https://user:token@host/path".to_owned(),
            ));
        }
        settings.push(("http.lowSpeedLimit".to_owned(), SLOWEST.to_string()));
        settings.push(("http.lowSpeedTime".to_owned(), seconds(silence).to_string()));
        settings.push(("transfer.bundleURI".to_owned(), "false".to_owned()));
        let ssh = if transport == Transport::File { None } else { ssh(folder, silence) };
        let folder = folder.to_owned();
        Ok(Self { location, transport, ssh, settings, credentials, folder })
    }

    /// The location, without user and password.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Returns what `git ls-remote` prints for these patterns.
    ///
    /// # Errors
    /// When git can't be run or exceeds its limits.
    pub async fn list(&self, patterns: &[String], limits: Limits) -> Result<Ended, RunError> {
        let mut git = self.git()?;
        git.args(["ls-remote", "--quiet", "--", &self.location]).args(patterns);
        self.run(git, limits).await
    }

    /// Clones the repository to the folder `clone` and checks nothing out.
    ///
    /// # Errors
    /// When git can't be run or exceeds its limits.
    pub async fn clone_to(&self, clone: &Path, limits: Limits) -> Result<Ended, RunError> {
        let mut git = self.git()?;
        git.args(["clone", "--progress", "--no-checkout", "--no-local", "--template="]);
        git.args(["--origin", "origin", "--", &self.location]).arg(clone);
        self.run(git, limits).await
    }

    /// Returns the commit that a clone has for a branch, a tag or the start of a digest.
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

    /// Checks a commit of a clone out, unless it has more than `most` bytes.
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
        // Few bytes can be objects that stand for any number of files.
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

    /// Has another program run git in the way that this does: it gets the same settings by its
    /// environment.
    pub fn lend_to(&self, command: &mut Command) {
        prepare_environment(command, &self.folder, &OF_TRANSPORT);
        self.set_environment(command, &super::ALWAYS);
        // Unlike this program, others follow the submodules that a server names.
        command.env("GIT_ALLOW_PROTOCOL", self.transport.allowed());
    }

    fn git(&self) -> Result<Command, RunError> {
        self.git_in(&self.folder)
    }

    fn git_in(&self, folder: &Path) -> Result<Command, RunError> {
        let mut git = git(folder, &OF_TRANSPORT).map_err(RunError::Start)?;
        self.set_environment(&mut git, &[]);
        // A mirror on this machine may stand for a server by the user's `insteadOf`.
        git.env("GIT_ALLOW_PROTOCOL", format!("{}:file", self.transport.allowed()));
        Ok(git)
    }

    /// Sets what no argument may tell, and with it all other settings.
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
        program::run_async(git, limits).await
    }
}

/// Returns how ssh is to be run, unless the user has another way: it asks nobody anything, as nobody
/// would hear it, and does not wait for ever.
fn ssh(folder: &Path, silence: Duration) -> Option<String> {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    if is_set("GIT_SSH_COMMAND") || is_set("GIT_SSH") {
        return None;
    }
    let mut git = git(folder, &OF_TRANSPORT).ok()?;
    git.args(["config", "--get", "core.sshCommand"]);
    let output = LONGEST_SETTING;
    let limits = Limits { silence, total: silence, output, folder: None };
    let is_configured = program::run(git, &limits).is_ok_and(|ended| ended.status.success());
    let timeout = seconds(silence);
    (!is_configured).then(|| format!("ssh -o BatchMode=yes -o ConnectTimeout={timeout}"))
}

/// Most bytes of a setting.
const LONGEST_SETTING: usize = 64 << 10;

/// Whole seconds, one at least.
fn seconds(time: Duration) -> u64 {
    time.as_secs().max(1)
}

/// A path made one that holds in any folder.
fn absolute(location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let path = std::path::absolute(location).unwrap_or_else(|_| PathBuf::from(location));
    path.to_string_lossy().into_owned()
}

type Split = (String, Option<Credentials>, Vec<(String, String)>);

/// Takes user and password out of a URL of HTTP, with what configures git to use them.
fn split_user_info(url: &str) -> Result<Split, RemoteError> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((user_info, host)) = authority.rsplit_once('@') else {
        let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
        let is_host = authority.starts_with('[') || port.chars().all(|c| c.is_ascii_digit());
        if !is_host {
            return Err(RemoteError(
                "the user and password in its location can't be told from the host: write '/' as %2F, '?' as %3F, '#' as %23 and '@' as %40 in them".to_owned(),
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
        // The user's own helpers must not keep it.
        Some(password) => {
            let settings = vec![set("helper", ""), set("helper", HELPER)];
            Ok((location, Some(Credentials { user, password }), settings))
        }
        None => Ok((location, None, vec![set("username", &user)])),
    }
}

/// A part of a URL without its escapes.
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
        _ => Err(RemoteError("the user or password in its location is no text".to_owned())),
    }
}

/// Tells a location of ssh or git that has a password in it.
fn has_password(location: &str) -> bool {
    let Some((_, rest)) = location.split_once("://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user_info, _)| user_info.contains(':'))
}

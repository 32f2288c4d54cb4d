//! Secrets and ssh agents that builds may use and images never contain, with the syntax of
//! `docker buildx`.
//!
//! No message repeats a whole specification: a user who misunderstands `--secret` may have written
//! the secret itself.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use super::resolver::Resolver;
use crate::diagnostic::Diagnostic;
use crate::secret::Secret;
use crate::settings::given::Given;
use crate::settings::types::{SecretSource, SecretSources};

/// Variable that names the socket of the user's ssh agent.
const AGENT_VARIABLE: &str = "SSH_AUTH_SOCK";

/// Keys of a secret.
const KEYS: [&str; 5] = ["id", "src", "source", "env", "type"];

const SECRET_SYNTAX: &str = "write id=NAME[,src=FILE][,env=VARIABLE][,type=file|env]";

const AGENT_SYNTAX: &str = "write default or ID[=SOCKET]";

/// Parsed specification of a secret.
#[derive(Debug, Default, PartialEq, Eq)]
struct Spec {
    id: String,
    file: Option<String>,
    variable: Option<String>,
}

impl Resolver<'_> {
    /// Returns the secrets and agents for builds. For a build, their files and sockets have to
    /// exist.
    pub(super) fn secret_sources(&mut self, is_build: bool) -> SecretSources {
        let mut sources = SecretSources::default();
        for given in self.all("secret") {
            match self.secret(&given, is_build) {
                Ok((id, _)) if sources.secrets.contains_key(&id) => self.refuse_twice(&given, &id),
                Ok((id, source)) => drop(sources.secrets.insert(id, source)),
                Err(error) => self.refuse(error),
            }
        }
        for given in self.all("ssh") {
            match self.agent(&given, is_build) {
                Ok((id, _)) if sources.agents.contains_key(&id) => self.refuse_twice(&given, &id),
                Ok((id, socket)) => drop(sources.agents.insert(id, socket)),
                Err(error) => self.refuse(error),
            }
        }
        self.refuse_without_buildkit();
        sources
    }

    fn refuse_twice(&mut self, given: &Given, id: &str) {
        self.refuse(given.refuse(format!("the id '{id}' is given twice")));
    }

    /// Refuses secrets and agents for the classic builder, which supports neither.
    fn refuse_without_buildkit(&mut self) {
        let cure = match (self.flag("buildkit"), self.flag("squash")) {
            (false, _) => "leave out --nobuildkit",
            (true, true) => "leave out --squash, which uses the classic builder",
            (true, false) => return,
        };
        for name in ["secret", "ssh"] {
            if let Some(given) = self.all(name).first() {
                let message = format!("--{name} needs BuildKit, which is switched off");
                self.refuse(given.refuse(message).help(cure));
            }
        }
    }

    fn secret(&self, given: &Given, is_build: bool) -> Result<(String, SecretSource), Diagnostic> {
        let spec = spec(&given.value).map_err(|wrong| wrong.diagnostic(given))?;
        let variable = |name: &str| self.layers.variable(name).map(|v| Secret::new(v.as_bytes()));
        let source = match (spec.file, spec.variable) {
            (None, None) => match variable(&spec.id) {
                Some(value) => SecretSource::Variable(value),
                None => SecretSource::File(spec.id.clone().into()),
            },
            (Some(path), _) => SecretSource::File(path.into()),
            (None, Some(name)) => match variable(&name) {
                Some(value) => SecretSource::Variable(value),
                None if !is_build => SecretSource::Variable(Secret::new([])),
                None => {
                    let message = format!(
                        "the environment variable {name} of the secret '{}' is not set",
                        spec.id
                    );
                    return Err(given.refuse(message));
                }
            },
        };
        match &source {
            SecretSource::File(path) if is_build && !path.is_file() => {
                let message = format!(
                    "the file '{}' of the secret '{}' does not exist",
                    path.display(),
                    spec.id
                );
                Err(given.refuse(message))
            }
            _ => Ok((spec.id, source)),
        }
    }

    fn agent(&self, given: &Given, is_build: bool) -> Result<(String, PathBuf), Diagnostic> {
        let (id, socket) = match given.value.split_once('=') {
            Some((id, socket)) => (id, Some(socket)),
            None => (given.value.as_str(), None),
        };
        if id.is_empty() || socket.is_some_and(str::is_empty) {
            return Err(given.refuse("an ssh agent needs an id").help(AGENT_SYNTAX));
        }
        let of_user = || self.layers.variable(AGENT_VARIABLE).filter(|socket| !socket.is_empty());
        let socket = match socket.or_else(of_user) {
            Some(socket) => PathBuf::from(socket),
            None if !is_build => PathBuf::new(),
            None => {
                let message = format!("{AGENT_VARIABLE} is not set: no ssh agent is running");
                let help = format!("start one with ssh-agent, or write {id}=SOCKET");
                return Err(given.refuse(message).help(help));
            }
        };
        if is_build && !is_socket(&socket) {
            let message = format!("'{}', the ssh agent '{id}', is not a socket", socket.display());
            let help = "Kiln forwards ssh agents, not keys: add the key to an agent with ssh-add";
            return Err(given.refuse(message).help(help));
        }
        Ok((id.to_owned(), socket))
    }
}

fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// Error in a specification.
#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    NoPair,
    UnknownKey(String),
    Type,
    NoId,
    Twice(&'static str),
    TwoSources,
}

impl Wrong {
    fn diagnostic(&self, given: &Given) -> Diagnostic {
        let message = match self {
            Self::NoPair => "a secret consists of key=value pairs".to_owned(),
            Self::UnknownKey(key) => {
                return given.refuse(format!("a secret has no key '{key}'")).suggest(key, KEYS);
            }
            Self::Type => "the type of a secret must be file or env".to_owned(),
            Self::NoId => "a secret needs an id".to_owned(),
            Self::Twice(key) => format!("a secret can have only one {key}"),
            Self::TwoSources => "a secret can't come from both a file and a variable".to_owned(),
        };
        given.refuse(message).help(SECRET_SYNTAX)
    }
}

/// Parses the value of `--secret`.
fn spec(text: &str) -> Result<Spec, Wrong> {
    let (mut id, mut src, mut env, mut kind) = (None, None, None, None);
    for pair in text.split(',') {
        let (key, value) = pair.split_once('=').ok_or(Wrong::NoPair)?;
        let (name, place) = match key.trim().to_ascii_lowercase().as_str() {
            "id" => ("id", &mut id),
            "src" | "source" => ("src", &mut src),
            "env" => ("env", &mut env),
            "type" => ("type", &mut kind),
            unknown => return Err(Wrong::UnknownKey(unknown.to_owned())),
        };
        if place.replace(value.to_owned()).is_some() {
            return Err(Wrong::Twice(name));
        }
    }
    let [id, src, env] = [id, src, env].map(|value| value.filter(|value| !value.is_empty()));
    let id = id.ok_or(Wrong::NoId)?;
    let (file, variable) = match (kind.as_deref(), src, env) {
        (None | Some("env" | "file"), Some(_), Some(_)) | (Some("file"), _, Some(_)) => {
            return Err(Wrong::TwoSources);
        }
        (None, src, env) => (src, env),
        (Some("file"), src, None) => (src.or_else(|| Some(id.clone())), None),
        (Some("env"), src, env) => (None, env.or(src).or_else(|| Some(id.clone()))),
        (Some(_), ..) => return Err(Wrong::Type),
    };
    Ok(Spec { id, file, variable })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_written_as_for_docker_buildx() {
        let table = [
            ("id=a", Ok("a None None")),
            ("id=a,src=/f", Ok("a Some(\"/f\") None")),
            ("ID=a,Source=f=g", Ok("a Some(\"f=g\") None")),
            ("type=file,id=a", Ok("a Some(\"a\") None")),
            ("id=a,env=V", Ok("a None Some(\"V\")")),
            ("id=a,type=env", Ok("a None Some(\"a\")")),
            ("id=a,type=env,src=V", Ok("a None Some(\"V\")")),
            ("id=a,src=", Ok("a None None")),
            ("", Err(Wrong::NoPair)),
            ("a", Err(Wrong::NoPair)),
            ("id=a,", Err(Wrong::NoPair)),
            ("src=f", Err(Wrong::NoId)),
            ("id=", Err(Wrong::NoId)),
            ("id=a,id=b", Err(Wrong::Twice("id"))),
            ("id=a,src=f,source=g", Err(Wrong::Twice("src"))),
            ("id=a,scr=f", Err(Wrong::UnknownKey("scr".to_owned()))),
            ("id=a,type=raw", Err(Wrong::Type)),
            ("id=a,src=f,env=V", Err(Wrong::TwoSources)),
            ("id=a,type=file,env=V", Err(Wrong::TwoSources)),
        ];
        for (text, expected) in table {
            let found = spec(text).map(|s| format!("{} {:?} {:?}", s.id, s.file, s.variable));
            assert_eq!(found, expected.map(str::to_owned), "{text}");
        }
    }
}

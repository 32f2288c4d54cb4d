//! Selection of the engine in the same way as the Docker client does: `DOCKER_HOST`, else the
//! context that `DOCKER_CONTEXT` or the client's configuration names, else the default socket.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::endpoint::{ACCEPTED, Endpoint, Identity, TlsFiles};
use super::variables::{Lookup, client_folder};
use crate::diagnostic::Diagnostic;
use crate::files::{self, MOST_OF_CONFIGURATION};

/// Address of the engine if nothing else is configured.
const USUAL_ADDRESS: &str = "unix:///var/run/docker.sock";

/// Name of the context that stands for the default socket.
const DEFAULT_CONTEXT: &str = "default";

/// Names of the files for TLS in the Docker client's folders.
const CA_FILE: &str = "ca.pem";
const CERTIFICATE_FILE: &str = "cert.pem";
const KEY_FILE: &str = "key.pem";

/// Configuration of the Docker client, as far as it is used here.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ClientConfiguration {
    current_context: String,
}

/// Metadata of a context.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    name: String,
    #[serde(default)]
    endpoints: Endpoints,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Endpoints {
    docker: DockerEndpoint,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DockerEndpoint {
    #[serde(rename = "Host")]
    host: String,
    #[serde(rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

/// Returns the engine that the Docker client would use in this environment.
///
/// # Errors
/// When an address is invalid, a context does not exist, or its files can't be read.
pub fn configured_endpoint(variable: Lookup<'_>) -> Result<Endpoint, Diagnostic> {
    let environment = Environment { variable };
    if let Some(host) = environment.variable("DOCKER_HOST") {
        return environment.endpoint(&host).map_err(|reason| {
            Diagnostic::new(format!("DOCKER_HOST has the invalid value '{host}': {reason}"))
                .help(ACCEPTED)
        });
    }
    let (name, origin) = environment.chosen_context()?;
    if name == DEFAULT_CONTEXT {
        return environment.endpoint(USUAL_ADDRESS).map_err(Diagnostic::new);
    }
    let folder = client_folder(variable).unwrap_or_default().join("contexts");
    let store = Store { folder };
    store.endpoint(&name).map_err(|error| error.note(format!("the context comes from {origin}")))
}

/// Returns the engine at an `address` that is written like `DOCKER_HOST`.
///
/// # Errors
/// The reason when the address is invalid.
pub fn endpoint_at(address: &str, variable: Lookup<'_>) -> Result<Endpoint, String> {
    Environment { variable }.endpoint(address)
}

/// Environment variables that the Docker client reads.
struct Environment<'a> {
    variable: Lookup<'a>,
}

impl Environment<'_> {
    /// Returns a variable, unless it is empty.
    fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    fn endpoint(&self, address: &str) -> Result<Endpoint, String> {
        let folder = self.variable("DOCKER_CERT_PATH").map(PathBuf::from);
        let folder = folder.or_else(|| client_folder(self.variable)).unwrap_or_default();
        let asked_for = ["DOCKER_TLS_VERIFY", "DOCKER_TLS"]
            .iter()
            .any(|variable| self.variable(variable).is_some());
        let asked_for =
            asked_for.then(|| TlsFiles { ca: Some(folder.join(CA_FILE)), ..files_in(&folder) });
        Endpoint::parse(address, asked_for, || files_in(&folder))
    }

    /// Returns the context to use, and the place that names it.
    fn chosen_context(&self) -> Result<(String, String), Diagnostic> {
        if let Some(name) = self.variable("DOCKER_CONTEXT") {
            return Ok((name, "$DOCKER_CONTEXT".to_owned()));
        }
        let Some(folder) = client_folder(self.variable) else {
            return Ok((DEFAULT_CONTEXT.to_owned(), String::new()));
        };
        let file = folder.join("config.json");
        let configuration: ClientConfiguration = read_json(&file)?.unwrap_or_default();
        let name = match configuration.current_context {
            name if name.is_empty() => DEFAULT_CONTEXT.to_owned(),
            name => name,
        };
        Ok((name, format!("currentContext in {}", file.display())))
    }
}

/// Contexts of the Docker client.
struct Store {
    folder: PathBuf,
}

impl Store {
    fn endpoint(&self, name: &str) -> Result<Endpoint, Diagnostic> {
        let id = folder_name(name);
        let file = self.folder.join("meta").join(&id).join("meta.json");
        let meta: Option<Meta> = read_json(&file)?;
        let Some(DockerEndpoint { host, skip_tls_verify }) = meta.map(|meta| meta.endpoints.docker)
        else {
            let known = self.names();
            let known = known.iter().map(String::as_str);
            return Err(Diagnostic::new(format!("the Docker client has no context '{name}'"))
                .suggest(name, known));
        };
        if skip_tls_verify {
            return Err(Diagnostic::new(format!(
                "the context '{name}' disables the verification of the engine's certificate"
            ))
            .note("Kiln always verifies the engine's certificate")
            .help(format!(
                "give the context the engine's CA: docker context update {name} --docker host={host},ca=FILE"
            )));
        }
        let files = files_in(&self.folder.join("tls").join(&id).join("docker"));
        let asked_for = (files != TlsFiles::default()).then_some(files);
        let host = if host.is_empty() { USUAL_ADDRESS } else { &host };
        let endpoint = Endpoint::parse(host, asked_for, TlsFiles::default);
        endpoint.map(|endpoint| endpoint.of_context(name)).map_err(|reason| {
            Diagnostic::new(format!("the context '{name}' has the invalid host '{host}': {reason}"))
                .help(ACCEPTED)
        })
    }

    /// Returns the names of all contexts.
    fn names(&self) -> Vec<String> {
        let folders = fs::read_dir(self.folder.join("meta")).into_iter().flatten().flatten();
        let metas = folders.filter_map(|folder| {
            read_json::<Meta>(&folder.path().join("meta.json")).ok().flatten()
        });
        let mut names: Vec<String> = metas.map(|meta| meta.name).collect();
        names.push(DEFAULT_CONTEXT.to_owned());
        names.sort();
        names
    }
}

/// Returns the name of the folder with a context's files: the SHA-256 of its name.
fn folder_name(context: &str) -> String {
    Sha256::digest(context.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the files for TLS in a folder, by their usual names.
fn files_in(folder: &Path) -> TlsFiles {
    let existing = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
    let identity = match (existing(CERTIFICATE_FILE), existing(KEY_FILE)) {
        (None, None) => None,
        // A missing file is reported by the code that reads it.
        _ => Some(Identity {
            certificate: folder.join(CERTIFICATE_FILE),
            key: folder.join(KEY_FILE),
        }),
    };
    TlsFiles { ca: existing(CA_FILE), identity }
}

/// Parses a JSON file of the Docker client; `None` if there is no such file or it is empty.
fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, Diagnostic> {
    let refuse = |reason: String| {
        let path = path.display();
        Diagnostic::new(format!("the Docker client's file '{path}' can't be read: {reason}"))
    };
    match files::read(path, MOST_OF_CONFIGURATION) {
        Ok(text) if text.trim_ascii().is_empty() => Ok(None),
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|e| refuse(e.to_string())),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(refuse(error.to_string())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Returns the endpoint in an environment in which `@` stands for the client's folder.
    fn found(folder: &Path, variables: &[(&str, &str)]) -> Result<Endpoint, Diagnostic> {
        let folder = folder.to_str().unwrap();
        let environment: BTreeMap<String, String> = [("DOCKER_CONFIG", "@")]
            .iter()
            .chain(variables)
            .map(|(name, value)| ((*name).to_owned(), value.replace('@', folder)))
            .collect();
        configured_endpoint(&|name| environment.get(name).cloned())
    }

    fn message(error: &Diagnostic) -> String {
        format!("{} | {}", error.message, error.help.as_deref().unwrap_or_default())
    }

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn add_context(folder: &Path, name: &str, docker: &str) {
        let path = folder.join("contexts/meta").join(folder_name(name)).join("meta.json");
        write(&path, &format!(r#"{{"Name":"{name}","Endpoints":{{"docker":{docker}}}}}"#));
    }

    #[test]
    fn the_host_wins_over_contexts_and_those_over_the_usual_socket() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let shown = |variables: &[(&str, &str)]| found(folder, variables).unwrap().to_string();
        assert_eq!(shown(&[]), USUAL_ADDRESS);
        add_context(folder, "near", r#"{"Host":"unix:///near.sock"}"#);
        add_context(folder, "far", r#"{"Host":"ssh://far","SkipTLSVerify":false}"#);
        write(&folder.join("config.json"), r#"{"auths":{},"currentContext":"near"}"#);
        assert_eq!(shown(&[]), "unix:///near.sock (context 'near')");
        assert_eq!(shown(&[("DOCKER_CONTEXT", "far")]), "ssh://far (context 'far')");
        assert_eq!(shown(&[("DOCKER_CONTEXT", "default")]), USUAL_ADDRESS);
        let both = [("DOCKER_CONTEXT", "far"), ("DOCKER_HOST", "tcp://h:1")];
        assert_eq!(shown(&both), "tcp://h:1");
        assert_eq!(shown(&[("DOCKER_HOST", ""), ("DOCKER_CONTEXT", "")]), shown(&[]));
    }

    #[test]
    fn contexts_that_can_not_be_followed_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        add_context(folder, "near", r#"{"Host":"unix:///near.sock"}"#);
        add_context(folder, "blind", r#"{"Host":"tcp://h:1","SkipTLSVerify":true}"#);
        add_context(folder, "odd", r#"{"Host":"npipe://x"}"#);
        let refused = |name: &str| {
            let error = found(folder, &[("DOCKER_CONTEXT", name)]).unwrap_err();
            assert!(error.notes.contains(&"the context comes from $DOCKER_CONTEXT".to_owned()));
            message(&error)
        };
        assert_eq!(
            refused("naer"),
            "the Docker client has no context 'naer' | did you mean 'near'?"
        );
        assert_eq!(
            refused("zzz"),
            "the Docker client has no context 'zzz' | known: blind, default, near, odd"
        );
        assert!(refused("blind").contains("--docker host=tcp://h:1,ca=FILE"));
        assert!(refused("odd").contains("unknown scheme 'npipe'"));
        write(&folder.join("config.json"), "{");
        let error = found(folder, &[]).unwrap_err();
        assert!(error.message.contains("config.json"), "{error:?}");
    }

    #[test]
    fn files_of_the_client_that_are_no_regular_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let meta = folder.join("contexts/meta").join(folder_name("near")).join("meta.json");
        fs::create_dir_all(meta.parent().unwrap()).unwrap();
        let context = [("DOCKER_CONTEXT", "near")];
        for (file, variables) in [(folder.join("config.json"), &[][..]), (meta, &context)] {
            let mut mkfifo = std::process::Command::new("mkfifo");
            assert!(mkfifo.arg(&file).status().unwrap().success());
            let error = found(folder, variables).unwrap_err();
            assert!(error.message.contains(&*file.to_string_lossy()), "{error:?}");
            assert!(error.message.ends_with("it is a pipe, not a regular file"), "{error:?}");
            fs::remove_file(&file).unwrap();
            fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
            let error = found(folder, variables).unwrap_err();
            assert!(error.message.ends_with("it has more than 16777216 bytes"), "{error:?}");
            fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn tls_is_that_of_the_environment_or_of_the_context() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let tls = |variables: &[(&str, &str)]| found(folder, variables).unwrap().tls;
        let at = ("DOCKER_HOST", "tcp://h:1");
        assert_eq!(tls(&[at]), None);
        assert_eq!(tls(&[at, ("DOCKER_TLS_VERIFY", "")]), None);
        let ca = |path: &str| Some(folder.join(path));
        let asked = tls(&[at, ("DOCKER_TLS_VERIFY", "1")]).unwrap();
        assert_eq!((asked.ca, asked.identity), (ca("ca.pem"), None));
        write(&folder.join("certs/key.pem"), "");
        let asked = tls(&[at, ("DOCKER_TLS", "1"), ("DOCKER_CERT_PATH", "@/certs")]).unwrap();
        assert_eq!(asked.ca, ca("certs/ca.pem"));
        assert_eq!(asked.identity.unwrap().certificate, folder.join("certs/cert.pem"));
        assert_eq!(tls(&[("DOCKER_HOST", "https://h")]), Some(TlsFiles::default()));

        add_context(folder, "far", r#"{"Host":"tcp://h:1"}"#);
        let of_context = || tls(&[("DOCKER_CONTEXT", "far"), ("DOCKER_TLS_VERIFY", "1")]);
        assert_eq!(of_context(), None);
        let path = format!("contexts/tls/{}/docker/ca.pem", folder_name("far"));
        write(&folder.join(&path), "");
        assert_eq!(of_context().unwrap().ca, ca(&path));
    }

    #[test]
    fn a_host_that_is_none_is_refused_with_what_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let error = found(folder.path(), &[("DOCKER_HOST", "localhost:2375")]).unwrap_err();
        let expected = format!(
            "DOCKER_HOST has the invalid value 'localhost:2375': it has no scheme | {ACCEPTED}"
        );
        assert_eq!(message(&error), expected);
    }
}

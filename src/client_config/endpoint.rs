//! Address of a container engine as the Docker client writes it, and the files that a connection
//! with TLS needs.
//!
//! The code that creates an [`Endpoint`] resolves the user's settings; code that uses one does not
//! look at them again.

use std::fmt;
use std::path::{Path, PathBuf};

/// Schemes of addresses, as messages list them.
pub const ACCEPTED: &str = "write unix:///path, tcp://host:port, http://host:port, \
                            https://host:port or ssh://[user@]host[:port][/path]";

/// Default port of an engine without TLS.
const PLAIN_PORT: u16 = 2375;

/// Default port of an engine with TLS.
const TLS_PORT: u16 = 2376;

/// Address of an engine, by kind of connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Unix socket of this machine.
    Unix(PathBuf),
    /// Network connection.
    Tcp {
        /// Name or address of the host.
        host: String,
        /// Port of the engine.
        port: u16,
    },
    /// Connection through ssh to the Docker client of another machine.
    Ssh(SshTarget),
}

/// Machine that is reached through ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshTarget {
    /// User to log in as; `None` leaves it to ssh's own configuration.
    pub user: Option<String>,
    /// Host, which may be an alias in ssh's configuration.
    pub host: String,
    /// Port of the ssh server; `None` leaves it to ssh's own configuration.
    pub port: Option<u16>,
    /// Path of the engine's socket on that machine; `None` for the one that its Docker client uses.
    pub socket: Option<String>,
}

/// Files of a connection with TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFiles {
    /// CA certificates that may sign the engine's certificate; `None` for those that this machine
    /// trusts.
    pub ca: Option<PathBuf>,
    /// Client certificate; `None` if the client does not identify itself.
    pub identity: Option<Identity>,
}

/// Client certificate and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// File of the certificate and its chain up to the CA.
    pub certificate: PathBuf,
    /// File of the private key.
    pub key: PathBuf,
}

/// Engine to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Address of the engine.
    pub address: Address,
    /// Files for TLS; `None` for a connection without TLS.
    pub tls: Option<TlsFiles>,
    /// Context of the Docker client that names the engine, if one does.
    pub context: Option<String>,
}

impl Endpoint {
    /// Parses an address. `tls` is used where the scheme leaves TLS open; `usual_tls` is used where
    /// the scheme asks for TLS and `tls` is `None`.
    ///
    /// # Errors
    /// When the address is invalid; the text says why.
    pub fn parse(
        address: &str,
        tls: Option<TlsFiles>,
        usual_tls: impl FnOnce() -> TlsFiles,
    ) -> Result<Self, String> {
        let (scheme, rest) = address.split_once("://").ok_or("it has no scheme")?;
        let (address, tls) = match scheme {
            "unix" => (Address::Unix(socket(rest)?), None),
            "ssh" => (Address::Ssh(ssh_target(rest)?), None),
            "http" if tls.is_some() => {
                return Err("http does not use TLS, which DOCKER_TLS_VERIFY requires".to_owned());
            }
            "http" => (tcp(rest, PLAIN_PORT)?, None),
            "https" => (tcp(rest, TLS_PORT)?, Some(tls.unwrap_or_else(usual_tls))),
            "tcp" if tls.is_some() => (tcp(rest, TLS_PORT)?, tls),
            "tcp" => (tcp(rest, PLAIN_PORT)?, None),
            other => return Err(format!("unknown scheme '{other}'")),
        };
        Ok(Self { address, tls, context: None })
    }

    /// Returns the variables that make other clients of engines use this endpoint. A variable
    /// without a value is empty, so that it overrides an inherited one.
    pub fn environment(&self) -> Vec<(String, String)> {
        let files = self.tls.as_ref().and_then(|tls| {
            tls.ca.as_deref().or_else(|| Some(tls.identity.as_ref()?.certificate.as_path()))
        });
        let folder = files.and_then(Path::parent).map(|folder| folder.display().to_string());
        let verify = if self.tls.is_some() { "1" } else { "" };
        [
            ("DOCKER_HOST", self.address.to_string()),
            ("DOCKER_CONTEXT", String::new()),
            ("DOCKER_TLS_VERIFY", verify.to_owned()),
            ("DOCKER_CERT_PATH", folder.unwrap_or_default()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Returns the endpoint, named by a context of the Docker client.
    #[must_use]
    pub fn of_context(self, name: &str) -> Self {
        Self { context: Some(name.to_owned()), ..self }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        match &self.context {
            Some(name) => write!(f, " (context '{name}')"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } => write!(f, "tcp://{}:{port}", bracketed(host)),
            Self::Ssh(target) => target.fmt(f),
        }
    }
}

impl fmt::Display for SshTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&bracketed(&self.host))?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.socket.as_deref().unwrap_or_default())
    }
}

/// Returns a host as it is written before a port: an IPv6 address is put in brackets.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn socket(path: &str) -> Result<PathBuf, String> {
    if Path::new(path).is_absolute() {
        Ok(path.into())
    } else {
        Err(format!("'{path}' is not an absolute path"))
    }
}

fn tcp(rest: &str, usual_port: u16) -> Result<Address, String> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('/') {
        return Err("the address of an engine has no path".to_owned());
    }
    let (host, port) = host_and_port(rest)?;
    Ok(Address::Tcp { host, port: port.unwrap_or(usual_port) })
}

fn ssh_target(rest: &str) -> Result<SshTarget, String> {
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => {
            return Err("it can't contain a password".to_owned());
        }
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    // Ssh would take a name that begins with a hyphen for an option.
    if user.is_some_and(|user| user.is_empty() || user.starts_with('-')) || host.starts_with('-') {
        return Err(format!("'{authority}' is not [user@]host"));
    }
    let (host, port) = host_and_port(host)?;
    let socket = (!path.trim_matches('/').is_empty()).then(|| path.to_owned());
    Ok(SshTarget { user: user.map(str::to_owned), host, port, socket })
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("a bracket is not closed")?;
            (host, after.strip_prefix(':').or_else(|| (!after.is_empty()).then_some(after)))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "?#@".contains(c)) {
        return Err(format!("'{host}' is not a host"));
    }
    let port = match port {
        None => None,
        Some(port) => match port.parse() {
            Ok(number) if number > 0 => Some(number),
            _ => return Err(format!("'{port}' is not a port")),
        },
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(address: &str, tls: bool) -> Result<Endpoint, String> {
        Endpoint::parse(address, tls.then(TlsFiles::default), TlsFiles::default)
    }

    #[test]
    fn addresses_are_those_of_the_docker_client() {
        let table = [
            ("unix:///run/e.sock", false, "unix:///run/e.sock plain"),
            ("unix:///run/e.sock", true, "unix:///run/e.sock plain"),
            ("tcp://h", false, "tcp://h:2375 plain"),
            ("tcp://h/", true, "tcp://h:2376 tls"),
            ("tcp://10.0.0.1:99", false, "tcp://10.0.0.1:99 plain"),
            ("tcp://[::1]:99", true, "tcp://[::1]:99 tls"),
            ("tcp://[::1]", false, "tcp://[::1]:2375 plain"),
            ("http://h:1", false, "tcp://h:1 plain"),
            ("https://h", false, "tcp://h:2376 tls"),
            ("ssh://h", true, "ssh://h plain"),
            ("ssh://u@h:22/run/e.sock", false, "ssh://u@h:22/run/e.sock plain"),
            ("ssh://u@[::1]:22/", false, "ssh://u@[::1]:22 plain"),
        ];
        for (address, tls, expected) in table {
            let endpoint = parse(address, tls).unwrap();
            let security = if endpoint.tls.is_some() { "tls" } else { "plain" };
            assert_eq!(format!("{endpoint} {security}"), expected, "{address}");
        }
    }

    #[test]
    fn invalid_address_is_refused() {
        let table = [
            ("", "it has no scheme"),
            ("/run/e.sock", "it has no scheme"),
            ("npipe:////./pipe/e", "unknown scheme 'npipe'"),
            ("unix://e.sock", "'e.sock' is not an absolute path"),
            ("tcp://", "'' is not a host"),
            ("tcp://:1", "'' is not a host"),
            ("tcp://h:", "'' is not a port"),
            ("tcp://h:0", "'0' is not a port"),
            ("tcp://h:65536", "'65536' is not a port"),
            ("tcp://[::1", "a bracket is not closed"),
            ("tcp://[::1]x", "'x' is not a port"),
            ("tcp://h:1/v1", "the address of an engine has no path"),
            ("tcp://u@h:1", "'u@h' is not a host"),
            ("ssh://u:p@h", "it can't contain a password"),
            ("ssh://-oProxyCommand=x", "'-oProxyCommand=x' is not [user@]host"),
            ("ssh://-l@h", "'-l@h' is not [user@]host"),
        ];
        for (address, expected) in table {
            assert_eq!(parse(address, false), Err(expected.to_owned()), "{address}");
        }
        assert!(parse("http://h", true).is_err_and(|reason| reason.contains("DOCKER_TLS_VERIFY")));
    }

    #[test]
    fn other_clients_are_recognised_by_their_variables() {
        let shown = |endpoint: &Endpoint| {
            endpoint.environment().iter().map(|(name, value)| format!("{name}={value}")).collect()
        };
        let mut endpoint = parse("tcp://h:1", false).unwrap().of_context("far");
        let plain: Vec<String> = shown(&endpoint);
        let none = ["DOCKER_CONTEXT=", "DOCKER_TLS_VERIFY=", "DOCKER_CERT_PATH="];
        assert_eq!(plain, [["DOCKER_HOST=tcp://h:1"].as_slice(), &none].concat());
        endpoint.tls = Some(TlsFiles { ca: Some("/certs/ca.pem".into()), identity: None });
        let safe: Vec<String> = shown(&endpoint);
        assert_eq!(safe[2..], ["DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH=/certs"]);
    }

    #[test]
    fn a_context_is_named_beside_the_address() {
        let endpoint = parse("ssh://h", false).unwrap().of_context("far");
        assert_eq!(endpoint.to_string(), "ssh://h (context 'far')");
    }
}

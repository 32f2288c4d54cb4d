//! Address of the engine, and the credentials of its clients.

use std::time::Duration;

use super::resolver::Resolver;
use crate::client_config::endpoint::{ACCEPTED, Endpoint};
use crate::client_config::{configured_endpoint, credential_files, endpoint_at};
use crate::diagnostic::Diagnostic;
use crate::settings::given::Given;
use crate::settings::layers::Layers;
use crate::settings::types::{ClientSettings, EngineSettings};

impl Resolver<'_> {
    /// Returns the settings of the engine; its address if one `is_needed`.
    pub(super) fn engine(&mut self, is_needed: bool) -> EngineSettings {
        EngineSettings {
            endpoint: self.endpoint(is_needed),
            is_podman: self.is_podman(),
            timeout: Duration::from_secs(self.count("timeout") as u64),
        }
    }

    /// Returns the configuration of the clients of container engines.
    pub(super) fn clients(&mut self) -> ClientSettings {
        let is_podman = self.is_podman();
        let variable = lookup(self.layers);
        ClientSettings { credential_files: credential_files(&variable, is_podman) }
    }

    /// Returns true if the configured engine is Podman.
    pub(super) fn is_podman(&mut self) -> bool {
        self.choice("engine") == "podman"
    }

    /// Returns the address of the engine, if one is needed. A check of files ignores the Docker
    /// client's settings on this machine, since the files may be used on another one.
    fn endpoint(&mut self, is_needed: bool) -> Option<Endpoint> {
        let found = if self.is_podman() {
            let given = self.given("podman_base_url")?;
            podman_endpoint(&given, self.layers)
        } else if is_needed && !self.is_partial {
            configured_endpoint(&lookup(self.layers))
        } else {
            return None;
        };
        match found {
            Ok(endpoint) => is_needed.then_some(endpoint),
            Err(error) => {
                self.refuse(error);
                None
            }
        }
    }
}

/// Returns the environment variables of the layers as a function.
fn lookup(layers: &Layers) -> impl Fn(&str) -> Option<String> {
    |name| layers.variable(name).map(str::to_owned)
}

/// Returns the engine at the address that the option of Podman gives.
fn podman_endpoint(given: &Given, layers: &Layers) -> Result<Endpoint, Diagnostic> {
    endpoint_at(&given.value, &lookup(layers)).map_err(|reason| {
        let message = format!("podman_base_url has the invalid value '{}': {reason}", given.value);
        given.refuse(message).help(ACCEPTED)
    })
}

//! Address of the engine, and the credentials of its clients.

use std::time::Duration;

use super::resolver::Resolver;
use crate::endpoint::Endpoint;
use crate::settings::credential_files::credential_files;
use crate::settings::endpoint;
use crate::settings::types::{ClientSettings, EngineSettings};

impl Resolver<'_> {
    /// Returns the settings of the engine; its address if one `is_needed`.
    pub(super) fn engine(&mut self, is_needed: bool) -> EngineSettings {
        EngineSettings {
            endpoint: self.endpoint(is_needed),
            timeout: Duration::from_secs(self.count("timeout") as u64),
        }
    }

    /// Returns the configuration of the clients of container engines.
    pub(super) fn clients(&mut self) -> ClientSettings {
        let is_podman = self.is_podman();
        ClientSettings { credential_files: credential_files(self.layers, is_podman) }
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
            endpoint::of_option("podman_base_url", &given, self.layers)
        } else if is_needed && !self.is_partial {
            endpoint::of_docker_client(self.layers)
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

//! Secrets and SSH agents for builds: refused if the builder supports none, and read before
//! building.

use super::exit::Failure;
use crate::diagnostic::Diagnostic;
use crate::engine::docker::DockerEngine;
use crate::engine::{BuildSecrets, Builder};
use crate::secret::Secret;
use crate::settings::{SecretSource, SecretSources};

/// Reads the secrets for builds by `builder`.
pub fn read_secrets(
    sources: &SecretSources,
    builder: Builder,
    engine: &DockerEngine,
) -> Result<BuildSecrets, Failure> {
    if builder != Builder::BuildKit && !sources.is_empty() {
        let message = format!(
            "--secret and --ssh need BuildKit, which {} does not have",
            engine.description()
        );
        return Err(Diagnostic::new(message)
            .help("leave them out, or build with a Docker Engine that has BuildKit")
            .into());
    }
    let mut secrets = BuildSecrets { agents: sources.agents.clone(), ..BuildSecrets::default() };
    for (id, source) in &sources.secrets {
        secrets.secrets.insert(id.clone(), value(id, source)?);
    }
    Ok(secrets)
}

fn value(id: &str, source: &SecretSource) -> Result<Secret, Diagnostic> {
    match source {
        SecretSource::Variable(value) => Ok(value.clone()),
        SecretSource::File(path) => Secret::read(path).map_err(|error| {
            let path = path.display();
            Diagnostic::new(format!(
                "the file '{path}' of the secret '{id}' can't be used: {error}"
            ))
        }),
    }
}

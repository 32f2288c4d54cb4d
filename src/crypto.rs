//! Who does the cryptography of TLS: one choice for every client in the program.

use std::sync::Once;

/// Chooses, unless somebody else has chosen already.
pub fn provide() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

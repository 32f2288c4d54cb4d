//! Choice of the cryptography provider of TLS (ring), made once for every client in the program.

use std::sync::Once;

/// Installs ring as the default provider of rustls, unless one is installed already.
pub fn install_provider() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

//! Registries that a test starts for itself.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use super::{free_ports, wait_for};

/// Registry of one test; it is removed with its contents when it is dropped.
pub struct Registry {
    /// Folder that is removed with the registry.
    pub folder: tempfile::TempDir,
    /// Address, as host:port.
    pub address: String,
    process: Child,
}

/// User `me` with the password `secret`, in the format of htpasswd.
const USER: &str = "me:$2b$12$Ctsuv/Megb.s4OTW4yuLqe9x5yEvBm.gR4WaKnSH3yIuLO0U95XmG\n";

/// Password of the user `me`.
pub const PASSWORD: &str = "secret";

/// User and password as they are encoded in a credentials file.
pub const AUTH: &str = "bWU6c2VjcmV0";

impl Registry {
    /// Starts a registry without authentication.
    pub fn open() -> Self {
        Self::start("")
    }

    /// Starts a registry that requires authentication to push and pull.
    pub fn private() -> Self {
        Self::start("auth: {htpasswd: {realm: test, path: FOLDER/htpasswd}}\n")
    }

    fn start(auth: &str) -> Self {
        let program = std::env::var("KILN_TEST_REGISTRY_PROGRAM").expect(
            "these tests need a registry: run 'make engine' and eval \"$(scripts/engine env)\"",
        );
        let folder = tempfile::tempdir().unwrap();
        let [port] = free_ports();
        let address = format!("127.0.0.1:{port}");
        let shown = folder.path().display().to_string();
        fs::write(folder.path().join("htpasswd"), USER).unwrap();
        let config = folder.path().join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {shown}/data}}}}\n\
             http: {{addr: {address}}}\n{}",
            auth.replace("FOLDER", &shown)
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(program);
        command.arg("serve").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("the registry starts");
        wait_for("the registry", || TcpStream::connect(&address).is_ok());
        Self { folder, address, process }
    }

    /// Writes a file with credentials for the registry below its folder, and returns the path.
    /// `REGISTRY` in `text` stands for the address.
    pub fn credentials(&self, file: &str, text: &str) -> std::path::PathBuf {
        let path = self.folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text.replace("REGISTRY", &self.address)).unwrap();
        path
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

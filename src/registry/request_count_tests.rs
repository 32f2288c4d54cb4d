//! Tests that count the requests and the connections to a registry.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};

use super::image_registry::{EngineConfig, ImageRegistry as _, RegistryConfig};
use super::label_cache::LabelCache;
use super::registries::Registries;
use super::registry_error::Error;
use crate::client_config::CredentialFiles;
use crate::image::{Digest, ImageRef};
use crate::retry::RetryPolicy;

const IMAGES: usize = 50;
const CONNECTIONS: usize = 4;

/// Registry that serves any image, each with its name as a label, and counts.
struct CountingRegistry {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl CountingRegistry {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let connections = Arc::<AtomicUsize>::default();
        let (seen, opened) = (requests.clone(), connections.clone());
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                opened.fetch_add(1, Ordering::SeqCst);
                let seen = seen.clone();
                std::thread::spawn(move || serve(&connection, &seen));
            }
        });
        Self { address, requests, connections }
    }

    /// Takes the number of requests with each method, and the number of connections.
    fn take_counts(&self) -> (usize, usize, usize) {
        let requests = std::mem::take(&mut *self.requests.lock().unwrap());
        let heads = requests.iter().filter(|method| *method == "HEAD").count();
        (requests.len() - heads, heads, self.connections.swap(0, Ordering::SeqCst))
    }
}

fn config_of(name: &str) -> String {
    format!(r#"{{"architecture":"amd64","os":"linux","config":{{"Labels":{{"name":"{name}"}}}}}}"#)
}

/// Serves the requests of a connection until the client closes it.
fn serve(connection: &TcpStream, seen: &Mutex<Vec<String>>) -> Option<()> {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    let mut writer = connection;
    while let Some(first) = lines.next() {
        lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
        let mut words = first.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        seen.lock().unwrap().push(method.to_owned());
        let name = path.split('/').nth(2)?;
        let config = config_of(name);
        let digest = Digest::of(config.as_bytes());
        let manifest = format!(r#"{{"schemaVersion":2,"config":{{"digest":"{digest}"}}}}"#);
        let body = if path.contains("/blobs/") { &config } else { &manifest };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n\
             Docker-Content-Digest: {}\r\nContent-Length: {}\r\n\r\n",
            Digest::of(body.as_bytes()),
            body.len()
        );
        writer.write_all(head.as_bytes()).ok()?;
        if method != "HEAD" {
            writer.write_all(body.as_bytes()).ok()?;
        }
    }
    Some(())
}

/// Engine without a configuration of registries.
#[derive(Default)]
struct NoConfig(RegistryConfig);

impl EngineConfig for NoConfig {
    fn registry_config(&self) -> BoxFuture<'_, Result<&RegistryConfig, Error>> {
        Box::pin(async { Ok(&self.0) })
    }
}

/// Reads the labels of all images of a registry as one run does.
async fn read_all_labels(address: &str, file: &Path) {
    let registries = Registries::new(
        Duration::from_secs(20),
        RetryPolicy { retries: 0, max_pause: Duration::ZERO },
        CONNECTIONS,
        CredentialFiles::default(),
        Arc::new(NoConfig::default()),
        LabelCache::new(Some(file.to_owned())),
    );
    let images: Vec<ImageRef> =
        (0..IMAGES).map(|n| format!("{address}/image-{n}:1").parse().unwrap()).collect();
    let registries = &registries;
    let questions = images.iter().map(|image| async move {
        let labels = registries.labels(image).await.unwrap();
        assert_eq!(labels["name"], image.repository());
    });
    stream::iter(questions).buffer_unordered(16).collect::<Vec<_>>().await;
    registries.save_labels();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn known_labels_cost_one_request_and_connections_are_bounded() {
    let registry = CountingRegistry::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("labels.json");
    read_all_labels(&registry.address, &file).await;
    let (others, heads, connections) = registry.take_counts();
    assert_eq!((others, heads), (2 * IMAGES, 0));
    assert!((1..=CONNECTIONS).contains(&connections), "{connections}");
    read_all_labels(&registry.address, &file).await;
    let (others, heads, connections) = registry.take_counts();
    assert_eq!((others, heads), (0, IMAGES));
    assert!((1..=CONNECTIONS).contains(&connections), "{connections}");
}

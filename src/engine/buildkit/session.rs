//! Connection and services of a session.

use std::collections::BTreeMap;
use std::future::ready;
use std::io;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use bollard::health::health_check_response::ServingStatus;
use bollard::health::health_server::{Health, HealthServer};
use bollard::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use bollard::moby::buildkit::secrets::v1::secrets_server::{Secrets, SecretsServer};
use bollard::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bollard::moby::filesync::v1::auth_server::{Auth, AuthServer};
use bollard::moby::filesync::v1::file_sync_server::FileSyncServer;
use bollard::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse,
    GetTokenAuthorityRequest, GetTokenAuthorityResponse, VerifyTokenAuthorityRequest,
    VerifyTokenAuthorityResponse,
};
use bollard::moby::sshforward::v1::ssh_server::{Ssh, SshServer};
use bollard::moby::sshforward::v1::{BytesMessage, CheckAgentRequest, CheckAgentResponse};
use futures_util::{Stream, StreamExt as _, stream};
use hyper::header::{CONNECTION, UPGRADE};
use hyper::{Method, Request};
use hyper_util::rt::TokioExecutor;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;
use tonic::service::Routes;
use tonic::{Response, Status, Streaming, async_trait};

use super::context_files::ContextFiles;
use super::message_stream::{CHUNK, MessageStream};
use crate::client_config::CredentialFiles;
use crate::engine::connection::Connections;
use crate::engine::{BuildSecrets, EngineError};
use crate::secret::Secret;

/// Names of the headers of the request that opens a session.
const ID_HEADER: &str = "X-Docker-Expose-Session-Uuid";
const NAME_HEADER: &str = "X-Docker-Expose-Session-Name";
const METHOD_HEADER: &str = "X-Docker-Expose-Session-Grpc-Method";

/// Header with a key for reusing files: BuildKit takes the files of an earlier session with the
/// same key, and then requests only those with another size or time. All times are zero here, so
/// the key has to identify the whole contents: it is a digest of all entries of the context.
const KEY_HEADER: &str = "X-Docker-Expose-Session-Sharedkey";

/// gRPC methods of every session.
const METHODS: [&str; 4] = [
    "/grpc.health.v1.Health/Check",
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/moby.filesync.v1.FileSync/DiffCopy",
];

/// gRPC methods of a session with ssh agents.
const AGENT_METHODS: [&str; 2] =
    ["/moby.sshforward.v1.SSH/CheckAgent", "/moby.sshforward.v1.SSH/ForwardAgent"];

/// Id of the agent that a build requests without a name.
const DEFAULT_AGENT: &str = "default";

/// Open session.
#[derive(Debug)]
pub struct Session {
    id: String,
    /// Ends the tasks when it is dropped.
    _serving: JoinSet<()>,
}

impl Session {
    /// Opens a session for a build, with the files of its context, with secrets and agents, and with
    /// the credentials in these files, by priority.
    ///
    /// # Errors
    /// When the engine can't be asked or does not support sessions.
    pub async fn open(
        connections: &Connections,
        files: ContextFiles,
        secrets: BuildSecrets,
        credential_files: CredentialFiles,
    ) -> Result<Self, EngineError> {
        let id = unique_name();
        let request = request(&id, files.key(), &secrets);
        let connection = connections.upgraded("/session", request).await?;
        let services = services(files, secrets, credential_files);
        let service = TowerToHyperService::new(services.prepare());
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            // If the session breaks, the build itself fails and reports it.
            let _ = server.serve_connection(connection, service).await;
        });
        Ok(Self { id, _serving: serving })
    }

    /// Returns the id by which the build refers to the session.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Returns a name that is unique across processes.
pub fn unique_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let started = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    format!("kiln-{}-{started}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn request(id: &str, key: &str, secrets: &BuildSecrets) -> Request<()> {
    let agent_methods = if secrets.agents.is_empty() { [].as_slice() } else { &AGENT_METHODS };
    let mut request = Request::builder()
        .method(Method::POST)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "h2c")
        .header(ID_HEADER, id)
        .header(NAME_HEADER, "kiln")
        .header(KEY_HEADER, key);
    for method in METHODS.iter().chain(agent_methods) {
        request = request.header(METHOD_HEADER, *method);
    }
    request.body(()).expect("the headers are plain words")
}

fn services(
    files: ContextFiles,
    secrets: BuildSecrets,
    credential_files: CredentialFiles,
) -> Routes {
    let BuildSecrets { secrets, agents } = secrets;
    let routes = Routes::new(HealthServer::new(HealthService))
        .add_service(AuthServer::new(ClientCredentials(credential_files)))
        .add_service(SecretsServer::new(SecretProvider(secrets)))
        .add_service(FileSyncServer::new(files));
    // Without any agent, BuildKit's own error message is clearer.
    if agents.is_empty() { routes } else { routes.add_service(SshServer::new(SshAgents(agents))) }
}

/// Health service: BuildKit checks now and then that the session is alive.
struct HealthService;

#[async_trait]
impl Health for HealthService {
    type WatchStream = MessageStream<HealthCheckResponse>;

    async fn check(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn list(
        &self,
        _: tonic::Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented("nobody asks for a list"))
    }

    async fn watch(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("nobody watches"))
    }
}

/// Credentials from the configuration of the user's clients. BuildKit logs in with them itself, so
/// no other method is needed.
struct ClientCredentials(CredentialFiles);

#[async_trait]
impl Auth for ClientCredentials {
    async fn credentials(
        &self,
        request: tonic::Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let registry = request.into_inner().host;
        let found = self.0.look_up(&registry, "").await;
        let found = found.map_err(|error| Status::unavailable(error.to_string()))?;
        let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
        let Some(found) = found else {
            return Ok(Response::new(CredentialsResponse::default()));
        };
        Ok(Response::new(match &found.identity_token {
            Some(token) => CredentialsResponse { username: String::new(), secret: text(token) },
            None => CredentialsResponse { username: found.user, secret: text(&found.password) },
        }))
    }

    async fn fetch_token(
        &self,
        _: tonic::Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        Err(Status::unimplemented("BuildKit fetches tokens itself"))
    }

    async fn get_token_authority(
        &self,
        _: tonic::Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("BuildKit fetches tokens itself"))
    }

    async fn verify_token_authority(
        &self,
        _: tonic::Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("BuildKit fetches tokens itself"))
    }
}

struct SecretProvider(BTreeMap<String, Secret>);

#[async_trait]
impl Secrets for SecretProvider {
    async fn get_secret(
        &self,
        request: tonic::Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        match self.0.get(&id) {
            Some(secret) => Ok(Response::new(GetSecretResponse { data: secret.expose().to_vec() })),
            None => Err(Status::not_found(format!("there is no --secret id={id}"))),
        }
    }
}

struct SshAgents(BTreeMap<String, PathBuf>);

impl SshAgents {
    fn socket(&self, id: &str) -> Result<&PathBuf, Status> {
        let id = if id.is_empty() { DEFAULT_AGENT } else { id };
        self.0.get(id).ok_or_else(|| Status::not_found(format!("there is no --ssh {id}")))
    }
}

#[async_trait]
impl Ssh for SshAgents {
    async fn check_agent(
        &self,
        request: tonic::Request<CheckAgentRequest>,
    ) -> Result<Response<CheckAgentResponse>, Status> {
        self.socket(&request.into_inner().id).map(|_| Response::new(CheckAgentResponse {}))
    }

    type ForwardAgentStream = MessageStream<BytesMessage>;

    async fn forward_agent(
        &self,
        request: tonic::Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::ForwardAgentStream>, Status> {
        let id = request.metadata().get(AGENT_ID_KEY).and_then(|id| id.to_str().ok());
        let socket = self.socket(id.unwrap_or_default())?;
        let agent = UnixStream::connect(socket)
            .await
            .map_err(|error| Status::unavailable(format!("{}: {error}", socket.display())))?;
        let (from_agent, to_agent) = agent.into_split();
        let questions = stream::once(pass_on(request.into_inner(), to_agent));
        let failures = questions.filter_map(|passed| ready(passed.err().map(Err).map(Some)));
        // The end of the agent's stream ends the whole response.
        let answers = answers(from_agent).map(Some).chain(stream::once(ready(None)));
        let both = stream::select(failures, answers);
        let parts = both.take_while(|part| ready(part.is_some())).filter_map(ready);
        Ok(Response::new(Box::pin(parts)))
    }
}

/// Metadata key with the id of the agent.
const AGENT_ID_KEY: &str = "buildkit.ssh.id";

/// Forwards the requests of a build to an agent.
async fn pass_on(
    mut questions: Streaming<BytesMessage>,
    mut agent: OwnedWriteHalf,
) -> Result<(), Status> {
    while let Some(question) = questions.message().await? {
        agent.write_all(&question.data).await.map_err(|error| broken(&error))?;
    }
    agent.shutdown().await.map_err(|error| broken(&error))
}

/// Returns the answers of an agent, until it closes the connection.
fn answers(agent: OwnedReadHalf) -> impl Stream<Item = Result<BytesMessage, Status>> {
    stream::unfold(agent, async |mut agent| {
        let mut data = vec![0; CHUNK];
        match agent.read(&mut data).await {
            Ok(0) => None,
            Ok(length) => {
                data.truncate(length);
                Some((Ok(BytesMessage { data }), agent))
            }
            Err(error) => Some((Err(broken(&error)), agent)),
        }
    })
}

fn broken(error: &io::Error) -> Status {
    Status::unavailable(format!("the ssh agent: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use bollard::BollardRequest;
    use hyper::body::{Body as _, Incoming};
    use hyper::client::conn::http2::{self, SendRequest};
    use hyper_util::rt::TokioIo;
    use tokio::net::UnixListener;
    use tokio::runtime::Handle;

    use bytes::Bytes;

    use crate::client_config::endpoint::Endpoint;
    use crate::context::Context;
    use crate::engine::connection::HasBody;
    use crate::engine::context_sending::ContextSending;

    /// Accepts the request for an upgrade. Returns its head and the upgraded connection.
    async fn grant(listener: UnixListener) -> (String, UnixStream) {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await.unwrap());
        }
        let answer = "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
        connection.write_all(answer.as_bytes()).await.unwrap();
        (String::from_utf8(head).unwrap(), connection)
    }

    /// Client in the role of the engine; the connection stays open as long as it exists.
    type Caller = SendRequest<<BollardRequest as HasBody>::Body>;

    async fn caller(engine: UnixStream) -> Caller {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(engine)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// Calls a method with one message. Returns the message of the response and its status.
    async fn ask(sender: &mut Caller, method: &str, message: &[u8]) -> (Vec<u8>, String) {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let frame: Vec<u8> = [&[0], length.as_slice(), message].concat();
        let request = Request::post(format!("http://session{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(bollard::body_full(Bytes::from(frame)))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let early = response.headers().get("grpc-status").cloned();
        let (data, late) = whole(response.into_body()).await;
        (data, early.or(late).unwrap().to_str().unwrap().to_owned())
    }

    async fn whole(mut body: Incoming) -> (Vec<u8>, Option<hyper::header::HeaderValue>) {
        let (mut data, mut status) = (Vec::new(), None);
        let mut next =
            async || std::future::poll_fn(|c| std::pin::Pin::new(&mut body).poll_frame(c)).await;
        while let Some(frame) = next().await {
            match frame.unwrap().into_data() {
                Ok(part) => data.extend(part),
                Err(frame) => status = frame.trailers_ref().unwrap().get("grpc-status").cloned(),
            }
        }
        (data, status)
    }

    /// Calls one method of a session that has a secret, and drops the session. Returns the head of
    /// the upgrade request, the message and the status.
    fn answer(method: &str, message: &[u8]) -> (String, Vec<u8>, String) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let socket = folder.path().join("e.sock");
            let listener = UnixListener::bind(&socket).unwrap();
            let address = format!("unix://{}", socket.display());
            let endpoint = Endpoint::parse(&address, None, Default::default).unwrap();
            let secrets = BuildSecrets {
                secrets: BTreeMap::from([("s".to_owned(), Secret::new(*b"open sesame"))]),
                agents: BTreeMap::new(),
            };
            let context = Context::new("FROM x".into(), []).measure().unwrap();
            let files = ContextFiles::new(context.clone(), ContextSending::default());
            let connections = Connections::to(endpoint).unwrap();
            let granted = tokio::spawn(grant(listener));
            let session = Session::open(&connections, files, secrets, CredentialFiles::default())
                .await
                .unwrap();
            let (head, engine) = granted.await.unwrap();
            assert!(head.contains(session.id()), "{head}");
            assert!(head.contains(context.key()), "{head}");
            let mut caller = caller(engine).await;
            let (data, status) = ask(&mut caller, method, message).await;
            drop(session);
            drop(connections);
            // Both ends of the connection have their own tasks.
            let is_quiet = async {
                while Handle::current().metrics().num_alive_tasks() > 0 {
                    tokio::task::yield_now().await;
                }
            };
            let ended = tokio::time::timeout(Duration::from_secs(5), is_quiet).await;
            assert!(ended.is_ok(), "something of the session is left");
            assert!(caller.is_closed());
            (head, data, status)
        })
    }

    #[test]
    fn session_passes_secrets_and_leaves_nothing() {
        let (head, data, status) = answer(METHODS[2], b"\x0a\x01s");
        assert_eq!((status.as_str(), &data[5..]), ("0", b"\x0a\x0bopen sesame".as_slice()));
        assert!(head.starts_with("POST /session HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(METHODS[2]) && !head.contains(AGENT_METHODS[0]), "{head}");
        const NOT_FOUND: &str = "5";
        const UNIMPLEMENTED: &str = "12";
        assert_eq!(answer(METHODS[2], b"\x0a\x01t").2, NOT_FOUND);
        assert_eq!(answer(METHODS[0], b"").1[5..], [8, 1]);
        assert_eq!(answer(METHODS[1], b"\x0a\x01h").2, "0");
        assert_eq!(answer(AGENT_METHODS[0], b"").2, UNIMPLEMENTED);
    }
}

//! Builds of images: with the classic builder, with BuildKit over a session, or with Buildah.

use std::collections::HashMap;
use std::convert;
use std::pin::pin;
use std::time::Duration;

use bollard::models::BuildInfo;
use bollard::query_parameters::{BuildImageOptionsBuilder, BuilderVersion};
use bollard::{BollardRequest, body_full, body_try_stream};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::time::Instant;

use super::classify::of_build;
use super::docker_engine::{DockerEngine, private_reference};
use super::listener::Listener;
use crate::context::MeasuredContext;
use crate::engine::buildkit::{ContextFiles, Session};
use crate::engine::connection::{Record, records};
use crate::engine::context_sending::{ContextSending, archive};
use crate::engine::{
    BuildOptions, BuildRequest, Builder, Engine as _, EngineError, Inspected, Sink, SquashOptions,
    squash,
};
use crate::image::ImageRef;

/// Longest time until an engine begins to answer a build, if it takes the context all the time: the
/// classic builder answers when it has all of it.
const LONGEST_SENDING: Duration = Duration::from_hours(24);

/// Silence of a build after which it is reported for the first time, unless `--timeout` is less than
/// twice as long.
const FIRST_SILENCE: Duration = Duration::from_mins(1);

/// Remote context that BuildKit reads from the session.
const FROM_SESSION: &str = "client-session";

impl DockerEngine {
    /// Builds an image without tagging it, and inspects it.
    pub(super) async fn build_image(
        &self,
        request: BuildRequest<'_>,
        sink: Sink<'_>,
    ) -> Result<Inspected, EngineError> {
        let BuildRequest { context, options, labels, .. } = request;
        let build_args: HashMap<_, _> = options.build_args.clone().into_iter().collect();
        let labels: HashMap<_, _> = labels.clone().into_iter().collect();
        let mut query = BuildImageOptionsBuilder::default()
            .dockerfile(crate::context::DOCKERFILE)
            .nocache(!options.cache)
            .rm(true)
            .forcerm(!options.keep)
            .networkmode(&options.network_mode)
            .buildargs(&build_args)
            .labels(&labels);
        if let Some(platform) = &options.platform {
            query = query.platform(platform);
        }
        let sending = ContextSending::default();
        // The session stays open until the build ends.
        let session = match options.builder {
            Builder::BuildKit => Some(self.open_session(context, &sending, options).await?),
            Builder::Classic | Builder::Buildah => None,
        };
        if let Some(session) = &session {
            query = query.version(BuilderVersion::BuilderBuildKit).session(session.id());
            query = query.remote(FROM_SESSION);
        }
        let sent = session.is_none().then(|| (context.clone(), sending.clone()));
        let change = match &options.squash {
            Some(_) if self.is_podman => in_one_layer,
            _ => convert::identity,
        };
        let docker = self.docker.clone().with_timeout(LONGEST_SENDING);
        let mut stream = records(&docker, change, move |docker| {
            let body = match sent {
                Some((context, sending)) => body_try_stream(archive(context, sending)),
                None => body_full(Bytes::new()),
            };
            docker.build_image(query.build(), None, Some(body)).boxed()
        });
        let mut listener = Listener::new(sink);
        let heard = self.hear_build(&mut stream, &mut listener, &sending).await;
        if let Some(failure) = sending.failure() {
            return Err(failure);
        }
        heard.map_err(of_build)?;
        let id = listener.image_id().map(str::to_owned).ok_or_else(|| {
            EngineError::NoEvidence("its answer ended without an image ID".to_owned())
        })?;
        drop(listener);
        let built = self.known(&id).await?;
        if built.id == id {
            return Ok(built);
        }
        Err(EngineError::NoEvidence(format!("it has {}, not {id}", built.id)))
    }

    /// Passes the records of a build to `listener` until their stream ends. While the engine takes
    /// the context, it need not send any.
    async fn hear_build(
        &self,
        stream: &mut (impl Stream<Item = Record<BuildInfo>> + Unpin),
        listener: &mut Listener<'_>,
        sending: &ContextSending,
    ) -> Result<(), EngineError> {
        loop {
            let before = sending.bytes();
            match self.next_of_build(stream, listener, sending).await {
                Ok(Some(record)) => listener.hear(record),
                Ok(None) => return Ok(()),
                Err(EngineError::Silent(_)) if sending.bytes() > before => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the next record of a build. Until it comes, reports the silence after times that
    /// double, unless the engine takes the context.
    async fn next_of_build(
        &self,
        stream: &mut (impl Stream<Item = Record<BuildInfo>> + Unpin),
        listener: &mut Listener<'_>,
        sending: &ContextSending,
    ) -> Result<Option<BuildInfo>, EngineError> {
        let (began, before) = (Instant::now(), sending.bytes());
        let mut next = pin!(self.next(stream, listener.image_id().is_some()));
        let mut silence = FIRST_SILENCE.min(self.timeout / 2);
        loop {
            tokio::select! {
                biased;
                record = &mut next => return record,
                () = tokio::time::sleep_until(began + silence) => {
                    if sending.bytes() == before {
                        listener.report_silence(silence, self.timeout);
                    }
                    silence *= 2;
                }
            }
        }
    }

    /// Squashes the image under a unique reference, and tags the result with `reference` once it is
    /// checked to be on its parent: docker-squash identifies an image by its reference and tags the
    /// result.
    pub(super) async fn squash_image(
        &self,
        built: Inspected,
        reference: &ImageRef,
        parent: Option<&Inspected>,
        how: &SquashOptions,
        sink: Sink<'_>,
    ) -> Result<Inspected, EngineError> {
        let parent_id = parent.map(|parent| parent.id.as_str());
        if self.is_podman || self.layers_above(&built.id, parent_id).await? < 2 {
            self.tag(&built.id, reference).await?;
            return Ok(built);
        }
        let private = private_reference();
        self.tag(&built.id, &private).await?;
        let environment = self.endpoint.environment();
        let squashed = async {
            squash::run(&environment, &private, parent_id, how, self.timeout, sink).await?;
            let squashed = self.known(&private.to_string()).await?;
            if squashed.id == built.id {
                return Err(EngineError::NoEvidence(format!("{reference} is still {}", built.id)));
            }
            if parent.is_some_and(|parent| !squashed.is_on(parent)) {
                let reason =
                    "the squashed image is not built on the layers of its parent".to_owned();
                return Err(EngineError::NoEvidence(reason));
            }
            self.tag(&squashed.id, reference).await?;
            Ok(squashed)
        };
        let squashed = squashed.await;
        drop(self.untag(&private).await);
        squashed
    }

    async fn open_session(
        &self,
        context: &MeasuredContext,
        sending: &ContextSending,
        options: &BuildOptions,
    ) -> Result<Session, EngineError> {
        let (files, secrets) = (self.credential_files.clone(), options.secrets.clone());
        let context = ContextFiles::new(context.clone(), sending.clone());
        let session = Session::open(&self.connections, context, secrets, files);
        let opened = tokio::time::timeout(self.timeout, session).await;
        opened.unwrap_or(Err(EngineError::Silent(self.timeout)))
    }

    /// Returns the number of layers of an image above its parent, or of all its layers without one.
    async fn layers_above(&self, id: &str, parent: Option<&str>) -> Result<usize, EngineError> {
        let history = self.answer(self.docker.image_history(id)).await?;
        let own = history.iter().take_while(|layer| Some(layer.id.as_str()) != parent);
        Ok(own.count())
    }
}

/// Changes a request so that Podman builds the layers that an image adds to its parent as one.
/// Podman's own option to squash would include the parent's layers.
fn in_one_layer(mut request: BollardRequest) -> BollardRequest {
    let uri = request.uri().to_string();
    if uri.contains("/build?")
        && let Ok(changed) = format!("{uri}&layers=false").parse()
    {
        *request.uri_mut() = changed;
    }
    request
}

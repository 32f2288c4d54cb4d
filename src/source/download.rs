//! Downloads archives from URLs.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response};
use tokio::time::{Instant, timeout};

use super::{FetchError, LARGEST, Pace, Source};
use crate::diagnostic::with_causes;
use crate::tls;

/// Largest number of redirects that are followed.
const MOST_REDIRECTS: usize = 10;

/// Downloads a source into `folder`.
pub(super) async fn download(
    source: &Source,
    folder: &Path,
    pace: Pace,
) -> Result<PathBuf, FetchError> {
    let path = folder.join("archive");
    let file = File::create(&path).map_err(|error| source.failed(error.to_string()))?;
    let downloaded = async {
        let response = answer(source, pace).await?;
        keep(source, response, file, pace).await
    };
    match timeout(pace.total(), downloaded).await {
        Ok(downloaded) => downloaded.map(|()| path),
        Err(_) => {
            let seconds = pace.total().as_secs_f32();
            Err(source.failed_for_now(format!("it took longer than {seconds} s")))
        }
    }
}

/// Requests the file and returns the response, if its status is a success.
async fn answer(source: &Source, pace: Pace) -> Result<Response, FetchError> {
    tls::install_provider();
    let client = Client::builder()
        .connect_timeout(pace.silence)
        .read_timeout(pace.silence)
        // The URL of the previous page may contain a token.
        .referer(false)
        .redirect(Policy::custom(redirect))
        .build()
        .map_err(|error| source.failed(with_causes(&error)))?;
    let response =
        client.get(&source.location).send().await.map_err(|error| refuse(source, error))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let reason = format!("the server says {status}");
    let passing = status.is_server_error() || [408, 429].contains(&status.as_u16());
    Err(if passing { source.failed_for_now(reason) } else { source.failed(reason) })
}

/// Follows a redirect, unless it leads from TLS to plain HTTP or is one too many.
fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_secure = attempt.previous().iter().any(|url| url.scheme() == "https");
    if was_secure && attempt.url().scheme() != "https" {
        let host = attempt.url().host_str().unwrap_or_default().to_owned();
        return attempt.error(Refused(format!(
            "the server redirects from https to plain http on {host}, where anyone on the network path can change the answer"
        )));
    }
    if attempt.previous().len() > MOST_REDIRECTS {
        return attempt
            .error(Refused(format!("it is redirected more than {MOST_REDIRECTS} times")));
    }
    attempt.follow()
}

/// Redirect that is not followed, with the reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

fn refuse(source: &Source, error: reqwest::Error) -> FetchError {
    let is_final = error.is_builder() || error.is_redirect();
    let reason = with_causes(&error.without_url());
    if is_final { source.failed(reason) } else { source.failed_for_now(reason) }
}

/// Writes the body of a response to a file. Fails if the body is too large or too slow.
async fn keep(
    source: &Source,
    response: Response,
    mut file: File,
    pace: Pace,
) -> Result<(), FetchError> {
    let too_large = || source.failed(format!("it is larger than {} GiB", LARGEST >> 30));
    let mut left = LARGEST;
    if response.content_length().is_some_and(|length| length > left) {
        return Err(too_large());
    }
    let mut chunks = response.bytes_stream();
    let (mut since, mut came) = (Instant::now(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| refuse(source, error))?;
        left = left.checked_sub(chunk.len() as u64).ok_or_else(too_large)?;
        file.write_all(&chunk).map_err(|error| source.failed(error.to_string()))?;
        came += chunk.len() as u64;
        if since.elapsed() >= pace.silence {
            if came < pace.least() {
                let seconds = since.elapsed().as_secs();
                let reason = format!("the server sent only {came} bytes in {seconds} s");
                return Err(source.failed_for_now(reason));
            }
            (since, came) = (Instant::now(), 0);
        }
    }
    Ok(())
}

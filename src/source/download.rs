//! Downloads archives from URLs.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, Url};
use tokio::time::{Instant, timeout};

use super::configured_source::Source;
use super::fetch_error::{FetchError, OF_TIME};
use super::fetch_limits::{LARGEST, Pace};
use super::netrc;
use super::trusted_certificates::trusted_certificates;
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
            Err(source.failed_for_now(format!("it took longer than {seconds} s {OF_TIME}")))
        }
    }
}

/// Requests the file and returns the response, if its status is a success.
async fn answer(source: &Source, pace: Pace) -> Result<Response, FetchError> {
    tls::install_provider();
    let mut builder = Client::builder()
        .connect_timeout(pace.silence)
        .read_timeout(pace.silence)
        // The URL of the previous page may contain a token.
        .referer(false)
        .redirect(Policy::custom(redirect));
    let trusted = trusted_certificates().map_err(|reason| source.failed(reason))?;
    if let Some(certificates) = trusted {
        builder = builder.tls_certs_only(certificates);
    }
    let client = builder.build().map_err(|error| source.failed(with_causes(&error)))?;
    let mut request = client.get(&source.location);
    // A login of the user's file replaces the one in the URL, as in Python's requests. No redirect
    // to another host carries it on.
    let url = Url::parse(&source.location).ok();
    if let Some(login) = url.as_ref().and_then(Url::host_str).and_then(netrc::login_for) {
        request = request.basic_auth(login.user, Some(login.password));
    }
    let response = request.send().await.map_err(|error| refuse(source, pace, error))?;
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

fn refuse(source: &Source, pace: Pace, error: reqwest::Error) -> FetchError {
    if error.is_timeout() {
        let seconds = pace.silence.as_secs_f32();
        let what = if error.is_connect() { "no connection" } else { "no data came" };
        return source.failed_for_now(format!("{what} for {seconds} s {OF_TIME}"));
    }
    let mut is_final = error.is_builder() || error.is_redirect();
    let mut reason = with_causes(&error.without_url());
    is_final |= reason.contains("invalid peer certificate");
    // A CA that was made anew under the same name does not match the signature.
    if ["UnknownIssuer", "BadSignature"].iter().any(|cause| reason.contains(cause)) {
        reason.push_str(
            " (the issuer of its certificate is not trusted: name the file of the CA in REQUESTS_CA_BUNDLE)",
        );
    }
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
        let chunk = chunk.map_err(|error| refuse(source, pace, error))?;
        left = left.checked_sub(chunk.len() as u64).ok_or_else(too_large)?;
        file.write_all(&chunk).map_err(|error| source.failed(error.to_string()))?;
        came += chunk.len() as u64;
        if since.elapsed() >= pace.silence {
            if came < pace.least() {
                let seconds = since.elapsed().as_secs();
                let reason = format!("the server sent only {came} bytes in {seconds} s {OF_TIME}");
                return Err(source.failed_for_now(reason));
            }
            (since, came) = (Instant::now(), 0);
        }
    }
    Ok(())
}

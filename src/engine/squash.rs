//! Squashes images with the external program docker-squash: it exports an image from Docker, merges
//! several layers into one, and imports the result. Its output goes to the image's log.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::line_buffer::LineBuffer;
use super::{EngineError, Output, Sink, SquashOptions};
use crate::image::ImageRef;
use crate::program::{self, Group, Limits};

/// Name of the program.
const PROGRAM: &str = "docker-squash";

/// Size of the buffer for the program's output, in bytes.
const CHUNK: usize = 8 * 1024;

/// Largest output of the program's version, in bytes.
const LONGEST_VERSION: usize = 64 << 10;

/// Longest silence of the program while it works, as a multiple of `--timeout`: it says nothing
/// while the engine exports or imports a large image.
const SILENCES: u32 = 30;

/// Checks that the program can be run, and tells its version within `timeout`.
///
/// # Errors
/// Returns the reason in words if it does not start or fails.
pub async fn require(timeout: Duration) -> Result<(), String> {
    let mut asked = program::command(PROGRAM).map_err(|error| error.to_string())?;
    asked.arg("--version");
    let output = LONGEST_VERSION;
    let limits = Limits { silence: timeout, total: timeout, output, folder: None };
    match program::run_async(asked, Vec::new(), limits).await {
        Ok(ended) if ended.status.success() => Ok(()),
        Ok(ended) => Err(ended.status.to_string()),
        Err(error) if error.is_transient() => Err(format!("{error} (--timeout)")),
        Err(error) => Err(error.to_string()),
    }
}

/// Squashes the layers of `reference` above the image with the id `parent`, or all layers without a
/// parent. `environment` selects the engine, and `timeout` is the option for its answers.
pub(super) async fn run(
    environment: &[(String, String)],
    reference: &ImageRef,
    parent: Option<&str>,
    how: &SquashOptions,
    timeout: Duration,
    sink: Sink<'_>,
) -> Result<(), EngineError> {
    let refuse = |reason: String| EngineError::Refused(format!("{PROGRAM}: {reason}"));
    let command = program::command(PROGRAM).map_err(|error| refuse(error.to_string()))?;
    let mut command = Command::from(command);
    command.envs(environment.iter().cloned()).stdin(Stdio::null()).process_group(0);
    command.args(["--tag", &reference.to_string()]);
    if let Some(parent) = parent {
        command.args(["--from-layer", parent]);
    }
    if how.cleanup {
        command.arg("--cleanup");
    }
    if let Some(folder) = &how.tmp_dir {
        command.arg("--tmp-dir").arg(folder.join(folder_name(reference)));
    }
    command.arg(reference.to_string()).stdout(Stdio::null()).stderr(Stdio::piped());
    let started = Group::start(|| command.spawn(), tokio::process::Child::id);
    let (mut child, group) = started.map_err(|error| refuse(error.to_string()))?;
    let said = child.stderr.take().expect("it is piped");
    let last = pass_on(said, timeout * SILENCES, sink).await.map_err(refuse)?;
    let ended = tokio::time::timeout(timeout, child.wait()).await;
    let ended = ended.map_err(|_| refuse("it closed its output and goes on".to_owned()))?;
    let status = ended.map_err(|error| refuse(error.to_string()))?;
    group.let_go();
    if status.success() { Ok(()) } else { Err(refuse(format!("{status}: {last}"))) }
}

/// Returns the name of the working folder of an image. The program requires a folder that does not
/// exist yet.
fn folder_name(reference: &ImageRef) -> String {
    let tag = reference.tag().unwrap_or_default();
    format!("{}-{tag}", reference.repository().replace('/', "-"))
}

/// Passes on the output line by line. Returns the first line that contains an error, or else the
/// last line. Fails after `silence` without output.
async fn pass_on(
    mut said: impl AsyncRead + Unpin,
    silence: Duration,
    sink: Sink<'_>,
) -> Result<String, String> {
    let mut last = String::new();
    let mut error = None;
    let mut pass_on = |line: String| {
        if line.contains("ERROR") && error.is_none() {
            error = Some(line.clone());
        }
        last.clone_from(&line);
        sink(Output::Line(line));
    };
    let (mut lines, mut piece) = (LineBuffer::default(), vec![0; CHUNK]);
    loop {
        let read = tokio::time::timeout(silence, said.read(&mut piece)).await;
        let read = read.map_err(|_| {
            format!("it said nothing for {} s ({SILENCES} times --timeout)", silence.as_secs())
        })?;
        match read.map_err(|error| error.to_string())? {
            0 => break,
            length => lines.push(&piece[..length], &mut pass_on),
        }
    }
    lines.rest().into_iter().for_each(pass_on);
    Ok(error.unwrap_or(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_line_of_an_error_is_the_reason() {
        let table: [(&[u8], &str, &[&str]); 3] = [
            (b"one\nERROR a\nERROR b\nend", "ERROR a", &["one", "ERROR a", "ERROR b", "end"]),
            (b"one\ntwo \xff\n", "two \u{fffd}", &["one", "two \u{fffd}"]),
            (b"", "", &[]),
        ];
        for (said, reason, expected) in table {
            let mut heard = Vec::new();
            let mut sink = |output| heard.push(output);
            let passed_on = pass_on(said, Duration::MAX, &mut sink).await.unwrap();
            let expected: Vec<_> =
                expected.iter().map(|it| Output::Line((*it).to_owned())).collect();
            assert_eq!((passed_on.as_str(), heard), (reason, expected));
        }
    }
}

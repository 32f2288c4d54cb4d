//! Connections through the ssh program to the Docker client on another machine, which forwards them
//! to the engine there. Each connection is one program, which is killed when it is dropped.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::{Sleep, sleep};

use super::connect_error::ConnectError;
use crate::client_config::endpoint::SshTarget;
use crate::program::{self, Group};

/// Largest number of bytes of ssh's messages that are kept.
const MOST_BYTES: usize = 4096;

/// Longest time to wait for further messages after the connection is closed: a process that ssh
/// leaves behind may hold standard error open forever.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Standard input and output of an ssh process.
pub struct SshStream {
    stdin: ChildStdin,
    stdout: ChildStdout,
    complaints: Complaints,
    is_answered: bool,
    _group: Group,
    _process: Child,
}

impl SshStream {
    /// Starts ssh.
    ///
    /// # Errors
    /// When the program can't be started.
    pub fn open(target: &SshTarget) -> Result<Self, ConnectError> {
        let ssh = program::command("ssh").map_err(|error| ConnectError::program("ssh", &error))?;
        let mut ssh = Command::from(ssh);
        ssh.args(arguments(target))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // An interrupt at the terminal must not reach ssh: Kiln closes its connections itself.
            .process_group(0);
        let started = Group::start(|| ssh.spawn(), Child::id);
        let (mut process, group) = started.map_err(|error| ConnectError::program("ssh", &error))?;
        let stderr = process.stderr.take().expect("it is piped");
        Ok(Self {
            stdin: process.stdin.take().expect("it is piped"),
            stdout: process.stdout.take().expect("it is piped"),
            complaints: Complaints { stderr, said: Vec::new(), end: None },
            is_answered: false,
            _group: group,
            _process: process,
        })
    }
}

/// Returns the arguments of ssh: those of the Docker client, and `BatchMode`, because many
/// processes run at once and none may prompt.
fn arguments(target: &SshTarget) -> Vec<String> {
    let fixed = ["-o", "ConnectTimeout=30", "-o", "BatchMode=yes", "-T"];
    let mut arguments: Vec<String> = fixed.map(str::to_owned).into();
    if let Some(user) = &target.user {
        arguments.extend(["-l".to_owned(), user.clone()]);
    }
    if let Some(port) = target.port {
        arguments.extend(["-p".to_owned(), port.to_string()]);
    }
    arguments.extend(["--".to_owned(), target.host.clone(), "docker".to_owned()]);
    if let Some(socket) = &target.socket {
        arguments.push(quoted(&format!("--host=unix://{socket}")));
    }
    arguments.extend(["system", "dial-stdio"].map(str::to_owned));
    arguments
}

/// Quotes a word for the remote shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl AsyncRead for SshStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let this = &mut *self;
        // Standard error is drained all the time, since ssh blocks if its buffer is full.
        let _ = this.complaints.poll_end(context);
        ready!(Pin::new(&mut this.stdout).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            this.is_answered = true;
            return Poll::Ready(Ok(()));
        }
        if this.is_answered {
            return Poll::Ready(Ok(()));
        }
        this.complaints.poll_failure(context).map(Err)
    }
}

impl AsyncWrite for SshStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.stdin).poll_write(context, data)) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.complaints.poll_failure(context).map(Err)
            }
            other => Poll::Ready(other),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_shutdown(context)
    }
}

/// Messages of ssh on its standard error.
struct Complaints {
    stderr: ChildStderr,
    said: Vec<u8>,
    /// End of the wait for further messages; `None` until it begins.
    end: Option<Pin<Box<Sleep>>>,
}

impl Complaints {
    /// Reads all available messages. Ready when no more can arrive.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut buffer = [0; 512];
            let mut buffer = ReadBuf::new(&mut buffer);
            let read = ready!(Pin::new(&mut self.stderr).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
            let room = MOST_BYTES.saturating_sub(self.said.len());
            self.said.extend(buffer.filled().iter().take(room));
        }
    }

    /// Returns the failure with ssh's messages, when they are complete or the wait for them is
    /// over.
    fn poll_failure(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let end = self.end.get_or_insert_with(|| Box::pin(sleep(LAST_WORDS)));
        let is_late = end.as_mut().poll(context).is_ready();
        if self.poll_end(context).is_pending() && !is_late {
            return Poll::Pending;
        }
        let said = String::from_utf8_lossy(&self.said);
        Poll::Ready(io::Error::other(ConnectError::ssh(&said)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_is_called_nearly_as_the_docker_client_calls_it() {
        let mut target = SshTarget { user: None, host: "h".to_owned(), port: None, socket: None };
        let words = |target: &SshTarget| arguments(target).join(" ");
        assert_eq!(
            words(&target),
            "-o ConnectTimeout=30 -o BatchMode=yes -T -- h docker system dial-stdio"
        );
        target.user = Some("u".to_owned());
        target.port = Some(22);
        target.socket = Some("/a 'b'".to_owned());
        assert_eq!(
            words(&target),
            "-o ConnectTimeout=30 -o BatchMode=yes -T -l u -p 22 -- h docker '--host=unix:///a '\\''b'\\''' system \
             dial-stdio"
        );
    }
}

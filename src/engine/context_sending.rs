//! Sends a build context in pieces, as fast as an engine takes them.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::mpsc;

use super::engine_error::EngineError;
use crate::context::MeasuredContext;

/// Size of a piece, in bytes.
const PIECE: usize = 64 << 10;

/// Number of pieces that wait for the engine.
const WAITING: usize = 2;

/// State of sending a context: the number of bytes so far, and the failure if there is one.
#[derive(Debug, Clone, Default)]
pub struct ContextSending(Arc<State>);

#[derive(Debug, Default)]
struct State {
    bytes: AtomicU64,
    failure: OnceLock<String>,
}

impl ContextSending {
    /// Records that this number of bytes is sent.
    pub fn add(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns the number of bytes sent so far.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Records that a file can't be sent. Only the first failure is kept.
    pub fn fail(&self, error: &io::Error) {
        let _ = self.0.failure.set(error.to_string());
    }

    /// Returns the failure to send a file; `None` if there is none. A build whose context was not
    /// sent as a whole has failed, whatever the engine says about it.
    pub fn failure(&self) -> Option<EngineError> {
        self.0.failure.get().cloned().map(EngineError::Context)
    }
}

/// Returns the pieces of the context as a tar archive. A thread reads the files, and waits while
/// the pieces are not taken. If a file can't be sent, the last piece is an error.
pub fn archive(
    context: MeasuredContext,
    sending: ContextSending,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let pieces = Pieces { sender: sender.clone(), sending: sending.clone() };
        let written = context
            .write_tar(BufWriter::with_capacity(PIECE, pieces))
            .and_then(|mut out| out.flush());
        if let Err(error) = written
            && !sender.is_closed()
        {
            sending.fail(&error);
            let _ = sender.blocking_send(Err(error));
        }
    });
    stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)))
}

/// Writer of the pieces.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    sending: ContextSending,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        let sent = self.sender.blocking_send(Ok(piece));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        self.sending.add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use futures_util::StreamExt as _;

    use crate::context::Context;
    use crate::tree::TreeFile;

    /// Returns the context of one file.
    fn context(file: &std::path::Path) -> MeasuredContext {
        let file = TreeFile::on_disk(file.to_owned());
        Context::new("FROM x".into(), [("file".to_owned(), file)]).measure().unwrap()
    }

    #[tokio::test]
    async fn pieces_make_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x".repeat(3 * PIECE + 5)).unwrap();
        let (context, sending) = (context(&file), ContextSending::default());
        let pieces: Vec<_> = archive(context.clone(), sending.clone()).collect().await;
        let bytes: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.unwrap().to_vec()).collect();
        assert_eq!(bytes, context.write_tar(Vec::new()).unwrap());
        assert_eq!(sending.bytes(), bytes.len() as u64);
        assert_eq!(sending.failure(), None);
    }

    #[tokio::test]
    async fn changed_file_ends_the_archive_with_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x".repeat(3 * PIECE)).unwrap();
        let (context, sending) = (context(&file), ContextSending::default());
        fs::write(&file, "y".repeat(3 * PIECE)).unwrap();
        let pieces: Vec<_> = archive(context, sending.clone()).collect().await;
        assert!(pieces.last().unwrap().is_err());
        let failure = sending.failure().unwrap().to_string();
        assert!(
            failure.starts_with("its context can't be sent: 'file': it has changed"),
            "{failure}"
        );
    }

    #[tokio::test]
    async fn files_are_read_no_faster_than_pieces_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x".repeat(100 * PIECE)).unwrap();
        let sending = ContextSending::default();
        let pieces = archive(context(&file), sending.clone());
        let mut pieces = std::pin::pin!(pieces);
        for taken in 1..10 {
            pieces.next().await.unwrap().unwrap();
            let most = (taken + WAITING + 1) * PIECE;
            assert!(sending.bytes() <= most as u64, "{taken}: {}", sending.bytes());
        }
    }
}

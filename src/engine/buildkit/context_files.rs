//! Serves the files of a build context that BuildKit requests.
//!
//! A context that is sent as an archive is unpacked by a separate process for every build, and
//! copied once more. Files that BuildKit requests from its client are written directly where they
//! are needed, and are only those that the Dockerfile copies. The method is
//! `moby.filesync.v1.FileSync/DiffCopy`, with the packets of `github.com/tonistiigi/fsutil`: first
//! the list of all entries, in the order of a directory walk; then the requested contents, by the
//! number of the entry.

use std::cmp::min;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bollard::fsutil::types::packet::PacketType;
use bollard::fsutil::types::{Packet, Stat};
use bollard::moby::filesync::v1::file_sync_server::FileSync;
use futures_util::{Stream, StreamExt as _, stream};
use percent_encoding::percent_decode_str;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinSet;
use tonic::metadata::MetadataMap;
use tonic::{Response, Status, Streaming, async_trait};

use super::message_stream::{CHUNK, MessageStream};
use crate::context::{EntryReader, MeasuredContext, Patterns, target_path};
use crate::engine::context_sending::ContextSending;

/// Names by which BuildKit requests the context, and the folder of the Dockerfile. Both are the
/// same here.
const FOLDERS: [&str; 2] = ["context", "dockerfile"];

/// Metadata keys of a request: the folder, and the patterns of the files.
const FOLDER_KEY: &str = "dir-name";
const FOLLOWED_KEY: &str = "followpaths";
const INCLUDED_KEY: &str = "include-patterns";
const EXCLUDED_KEY: &str = "exclude-patterns";

/// Suffix of the metadata key that marks the values of another key as percent-encoded.
const ENCODED: &str = "-encoded";

/// Mode bits as in Go's `os.FileMode`: of a folder, of a link, and those that replace the bits of
/// Unix for setting the user, for setting the group, and of a sticky folder.
const FOLDER: u32 = 1 << 31;
const LINK: u32 = 1 << 27;
const SPECIAL: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];

/// Characters that make a name a pattern.
const WILDCARDS: [char; 3] = ['*', '?', '['];

/// File or folder of the context, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    path: String,
    mode: u32,
    size: u64,
    /// Target of a link; empty if the entry is no link.
    target: String,
    /// Index in [`MeasuredContext::entries`].
    index: usize,
}

/// Files of a context, in the order of a directory walk.
pub struct ContextFiles {
    context: MeasuredContext,
    entries: Vec<Entry>,
    sending: ContextSending,
}

impl ContextFiles {
    /// Prepares the files of `context` for a session. Updates `sending` while they are sent.
    pub fn new(context: MeasuredContext, sending: ContextSending) -> Self {
        // Paths are compared component by component, unlike strings.
        let mut entries: BTreeMap<PathBuf, Entry> = BTreeMap::new();
        for (index, entry) in context.entries().iter().enumerate() {
            let is_name = |part: &Component<'_>| matches!(part, Component::Normal(_));
            let path: PathBuf = Path::new(entry.path()).components().filter(is_name).collect();
            if path.as_os_str().is_empty() {
                continue;
            }
            let special = SPECIAL.iter().filter(|(bit, _)| entry.mode() & bit != 0);
            let special: u32 = special.map(|(_, bit)| bit).sum();
            let kind = match entry.target() {
                Some(_) => LINK,
                None if entry.is_folder() => FOLDER,
                None => 0,
            };
            let mode = entry.mode() & 0o777 | special | kind;
            let name = path.to_string_lossy().into_owned();
            let target = entry.target().unwrap_or_default().to_owned();
            entries.insert(path, Entry { path: name, mode, size: entry.size(), target, index });
        }
        Self { entries: entries.into_values().collect(), context, sending }
    }

    /// Returns the digest of the context.
    pub(super) fn key(&self) -> &str {
        self.context.key()
    }

    /// Returns the entries that match the question, and the folders that contain them.
    fn in_question(&self, question: &FileRequest) -> Vec<Entry> {
        let mut found: Vec<Entry> = Vec::new();
        for entry in self.entries.iter().rev() {
            let folder = format!("{}/", entry.path);
            // The contents of a folder follow it, so in reverse order they were found just before
            // it.
            let holds_some = found.last().is_some_and(|last| last.path.starts_with(&folder));
            if holds_some || question.is_about(&entry.path) {
                found.push(entry.clone());
            }
        }
        found.reverse();
        found
    }
}

/// Selection of the context's files that BuildKit requests.
struct FileRequest {
    /// Patterns of the included files; `None` includes all.
    included: Option<Patterns>,
    excluded: Patterns,
}

impl FileRequest {
    /// Reads the request for files of the context with these `entries`.
    fn of(metadata: &MetadataMap, entries: &[Entry]) -> Result<Self, Status> {
        let folder = values(metadata, FOLDER_KEY).into_iter().next().unwrap_or_default();
        if !FOLDERS.contains(&folder.as_str()) {
            return Err(Status::not_found(format!("there is no folder '{folder}' to build from")));
        }
        let patterns = |values: &[String]| {
            let patterns = Patterns::new(values.iter().map(String::as_str));
            patterns.map_err(|error| Status::invalid_argument(error.to_string()))
        };
        let mut included = values(metadata, INCLUDED_KEY);
        let followed = values(metadata, FOLLOWED_KEY);
        let all = included.iter().chain(&followed);
        let is_for_all = all.clone().next().is_none() || all.clone().any(|value| is_root(value));
        let mut links = Links { entries, found: BTreeSet::new(), seen: BTreeSet::new() };
        followed.iter().for_each(|path| links.follow(path, 0));
        included.extend(links.found);
        let included = patterns(&included)?;
        let excluded = patterns(&values(metadata, EXCLUDED_KEY))?;
        Ok(Self { included: (!is_for_all).then_some(included), excluded })
    }

    fn is_about(&self, path: &str) -> bool {
        self.included.as_ref().is_none_or(|included| included.is_ignored(path))
            && !self.excluded.is_ignored(path)
    }
}

/// Largest number of links that are followed one after the other, as in Linux.
const MOST_LINKS: usize = 40;

/// Paths that BuildKit wants, with the links that lead to them, as `FollowLinks` of fsutil finds
/// them.
struct Links<'a> {
    entries: &'a [Entry],
    found: BTreeSet<String>,
    /// Paths that have been followed.
    seen: BTreeSet<String>,
}

impl Links<'_> {
    /// Adds a path, which may have patterns in its parts, and the links in it with their targets.
    /// `hops` is the number of links that led to the path.
    fn follow(&mut self, path: &str, hops: usize) {
        let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        if hops > MOST_LINKS || !self.seen.insert(parts.join("/")) {
            return;
        }
        for end in 1..=parts.len() {
            let current = parts[..end].join("/");
            let targets = self.at(&current);
            if end == parts.len() || !targets.is_empty() {
                self.found.insert(current);
            }
            let rest = parts[end..].join("/");
            for target in &targets {
                self.follow(&format!("{target}/{rest}"), hops + 1);
            }
            let is_pattern = parts[end - 1].contains(WILDCARDS);
            if !targets.is_empty() && !is_pattern {
                return;
            }
        }
    }

    /// Returns the paths that the links at `path` lead to. Its last part may be a pattern.
    fn at(&self, path: &str) -> Vec<String> {
        let is_pattern = path.rsplit('/').next().is_some_and(|name| name.contains(WILDCARDS));
        let pattern = Patterns::new([path]).ok().filter(|_| is_pattern);
        let is_there = |entry: &&Entry| match &pattern {
            Some(pattern) => {
                entry.path.matches('/').count() == path.matches('/').count()
                    && pattern.is_ignored(&entry.path)
            }
            None => entry.path == path,
        };
        let links = self.entries.iter().filter(|entry| entry.mode & LINK != 0).filter(is_there);
        links.map(|link| target_path(&link.path, &link.target)).collect()
    }
}

/// Returns true if a path is that of the context itself.
fn is_root(path: &str) -> bool {
    path.split('/').all(|part| matches!(part, "" | "."))
}

/// Returns the values of a metadata key, decoded if they are encoded.
fn values(metadata: &MetadataMap, key: &str) -> Vec<String> {
    let texts = |key: &str| -> Vec<String> {
        let values = metadata.get_all(key).iter();
        values.filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
    };
    let values = texts(key);
    if texts(&format!("{key}{ENCODED}")).is_empty() {
        return values;
    }
    let decoded = values.iter().map(|value| {
        let value = value.replace('+', " ");
        percent_decode_str(&value).decode_utf8_lossy().into_owned()
    });
    decoded.collect()
}

#[async_trait]
impl FileSync for ContextFiles {
    type DiffCopyStream = MessageStream<Packet>;

    async fn diff_copy(
        &self,
        request: tonic::Request<Streaming<Packet>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let question = FileRequest::of(request.metadata(), &self.entries)?;
        let entries = self.in_question(&question);
        let (context, sending) = (self.context.clone(), self.sending.clone());
        Ok(Response::new(Box::pin(answer(context, entries, sending, request.into_inner()))))
    }

    type TarStreamStream = MessageStream<Packet>;

    async fn tar_stream(
        &self,
        _: tonic::Request<Streaming<Packet>>,
    ) -> Result<Response<Self::TarStreamStream>, Status> {
        Err(Status::unimplemented("files are given one by one"))
    }
}

/// Returns the list of these entries, and the contents that are requested.
fn answer<Q: Stream<Item = Result<Packet, Status>> + Unpin + Send + 'static>(
    context: MeasuredContext,
    entries: Vec<Entry>,
    sending: ContextSending,
    asked_for: Q,
) -> impl Stream<Item = Result<Packet, Status>> {
    let entries: Arc<[Entry]> = entries.into();
    let listing = listing(entries.clone());
    let contents = Contents {
        asked_for: Requests::from(asked_for, entries.len()),
        context,
        entries,
        sending,
        state: State::Waiting,
    };
    let contents = stream::try_unfold(contents, async |mut contents| {
        Ok(contents.next().await?.map(|packet| (packet, contents)))
    });
    // Both run at the same time: BuildKit requests files while it still receives the list, and may
    // wait for an answer before it reads more.
    stream::select(stream::iter(listing), contents)
}

/// Queue of the requests, in order.
///
/// BuildKit requests all files of a context long before it reads their contents. The requests are
/// received even while BuildKit reads no answers, since it gives up a connection on which a few
/// thousand requests wait.
struct Requests {
    heard: UnboundedReceiver<Result<Request, Status>>,
    /// Ends the task when it is dropped.
    _hearing: JoinSet<()>,
}

enum Request {
    /// The contents of the file with this number.
    File(u32),
    /// No more requests.
    End,
}

impl Requests {
    /// Receives the requests in `packets`, at most one for each of the `entries` and an end.
    fn from<Q: Stream<Item = Result<Packet, Status>> + Unpin + Send + 'static>(
        mut packets: Q,
        entries: usize,
    ) -> Self {
        let (hear, heard) = mpsc::unbounded_channel();
        let mut hearing = JoinSet::new();
        hearing.spawn(async move {
            for _ in 0..=entries {
                let Some(packet) = packets.next().await else { return };
                if hear.send(packet.and_then(|packet| request(&packet))).is_err() {
                    return;
                }
            }
            let too_many = "more files are asked for than there are";
            let _ = hear.send(Err(Status::invalid_argument(too_many)));
        });
        Self { heard, _hearing: hearing }
    }

    async fn next(&mut self) -> Result<Option<Request>, Status> {
        self.heard.recv().await.transpose()
    }
}

/// Returns the request in a packet.
fn request(packet: &Packet) -> Result<Request, Status> {
    match packet.r#type() {
        PacketType::PacketReq => Ok(Request::File(packet.id)),
        PacketType::PacketFin => Ok(Request::End),
        PacketType::PacketErr => {
            Err(Status::aborted(String::from_utf8_lossy(&packet.data).into_owned()))
        }
        PacketType::PacketStat | PacketType::PacketData => {
            Err(Status::invalid_argument("files are given and not taken"))
        }
    }
}

/// Returns a packet for each entry, and one that ends the list.
fn listing(entries: Arc<[Entry]>) -> impl Iterator<Item = Result<Packet, Status>> {
    let told = (0..entries.len()).map(move |number| told(&entries[number]));
    told.chain([packet(PacketType::PacketStat)]).map(Ok)
}

/// Sends the contents of the requested files, one after the other, until the requests end. A file
/// is read no faster than BuildKit takes it.
struct Contents {
    asked_for: Requests,
    context: MeasuredContext,
    entries: Arc<[Entry]>,
    sending: ContextSending,
    state: State,
}

enum State {
    Waiting,
    /// In the file with this number.
    Sending(u32, Box<OpenFile>),
    Ended,
}

impl Contents {
    async fn next(&mut self) -> Result<Option<Packet>, Status> {
        let (id, mut file) = match mem::replace(&mut self.state, State::Ended) {
            State::Ended => return Ok(None),
            State::Sending(id, file) => (id, file),
            State::Waiting => match self.asked_for.next().await? {
                None => return Ok(None),
                Some(Request::End) => return Ok(Some(packet(PacketType::PacketFin))),
                Some(Request::File(number)) => (number, Box::new(self.open(number)?)),
            },
        };
        if file.is_block_sent() {
            *file = file.next_block().await.map_err(|error| self.failed(&error))?;
        }
        let data = file.next_part().to_vec();
        self.sending.add(data.len());
        // A packet without data ends a file.
        self.state = match data.is_empty() {
            true => State::Waiting,
            false => State::Sending(id, file),
        };
        Ok(Some(Packet { id, data, ..packet(PacketType::PacketData) }))
    }

    fn open(&self, number: u32) -> Result<OpenFile, Status> {
        let entry = self.entries.get(number as usize);
        let entry =
            entry.ok_or_else(|| Status::invalid_argument(format!("there is no file {number}")))?;
        let reader = self.context.entries()[entry.index].open();
        let reader = reader.map_err(|error| self.failed(&error))?;
        Ok(OpenFile { reader, block: Vec::new(), sent: 0 })
    }

    /// Records a failure, and returns the status with which the answer ends.
    fn failed(&self, error: &io::Error) -> Status {
        self.sending.fail(error);
        Status::aborted(error.to_string())
    }
}

/// File in the middle of being sent.
struct OpenFile {
    reader: EntryReader,
    block: Vec<u8>,
    /// Number of bytes of the block that are sent.
    sent: usize,
}

impl OpenFile {
    fn is_block_sent(&self) -> bool {
        self.sent == self.block.len()
    }

    /// Reads the next block, on another thread if the file is on disk.
    async fn next_block(mut self) -> io::Result<Self> {
        let is_in_memory = self.reader.is_in_memory();
        let read = move || {
            self.sent = 0;
            self.reader.next_block(&mut self.block).map(|()| self)
        };
        if is_in_memory {
            return read();
        }
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(error.into()))
    }

    /// Returns the next part of the block.
    fn next_part(&mut self) -> &[u8] {
        let start = self.sent;
        self.sent = min(start + CHUNK, self.block.len());
        &self.block[start..self.sent]
    }
}

/// Returns the packet of an entry. Its times and owner are zero.
fn told(entry: &Entry) -> Packet {
    let stat = Stat {
        path: entry.path.clone(),
        mode: entry.mode,
        size: i64::try_from(entry.size).unwrap_or(i64::MAX),
        linkname: entry.target.clone(),
        ..Stat::default()
    };
    Packet { stat: Some(stat), ..packet(PacketType::PacketStat) }
}

fn packet(kind: PacketType) -> Packet {
    Packet { r#type: kind.into(), ..Packet::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::context::Context;
    use crate::tree::{ContextEntry, TreeFile};

    /// Returns the context of these files, each with its path as the content, and of the folders
    /// whose paths end with a slash.
    fn context(paths: &[&str]) -> MeasuredContext {
        let mut context = Context::new("FROM x".into(), []);
        for path in paths {
            match path.strip_suffix('/') {
                Some(folder) => context.add_folder(folder.to_owned()),
                None => context.add((*path).to_owned(), TreeFile::of_text((*path).to_owned())),
            }
        }
        context.measure().unwrap()
    }

    /// Returns the entries of a context that match a request with this metadata. Folders have a
    /// trailing slash.
    fn found(said: &[(&'static str, &str)]) -> Result<String, String> {
        let paths = ["a-b", "a/", "a/b/", "./a/b/c", "a/d", "ä ö", "empty/", ".dockerignore"];
        let files = ContextFiles::new(context(&paths), ContextSending::default());
        let mut metadata = MetadataMap::new();
        for (key, value) in said {
            metadata.append(*key, value.parse().unwrap());
        }
        let question = FileRequest::of(&metadata, &files.entries)
            .map_err(|status| status.message().to_owned())?;
        let found = files.in_question(&question);
        let shown = found.iter().map(|entry| {
            format!("{}{}", entry.path, if entry.mode & FOLDER == 0 { "" } else { "/" })
        });
        Ok(shown.collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn requested_files_are_found_in_walk_order() {
        let all = ".dockerignore, Dockerfile, a/, a/b/, a/b/c, a/d, a-b, empty/, ä ö";
        let context = ("dir-name", "context");
        let cases: &[(&[(&'static str, &str)], &str)] = &[
            (&[context], all),
            (&[("dir-name", "dockerfile"), ("followpaths", "a-b")], "a-b"),
            (&[context, ("followpaths", "a/b")], "a/, a/b/, a/b/c"),
            (&[context, ("followpaths", "/a/d"), ("followpaths", "empty")], "a/, a/d, empty/"),
            (&[context, ("followpaths", "a/d"), ("include-patterns", "a?b")], "a/, a/d, a-b"),
            (&[context, ("followpaths", "./")], all),
            (&[context, ("followpaths", "none")], ""),
            (
                &[context, ("exclude-patterns", "a*"), ("exclude-patterns", "!a/b/c")],
                ".dockerignore, Dockerfile, a/, a/b/, a/b/c, empty/, ä ö",
            ),
            (&[context, ("followpaths", "%C3%A4+%C3%B6"), ("followpaths-encoded", "1")], "ä ö"),
        ];
        for (said, expected) in cases {
            assert_eq!(found(said).as_deref(), Ok(*expected), "{said:?}");
        }
    }

    /// Sends these packets to a context of a folder with one file. Returns the list, and the
    /// contents.
    fn answered(content: &str, asked: Vec<Packet>) -> [String; 2] {
        let file = TreeFile::of_text(content.to_owned());
        let context = Context::new("".into(), [("a/b".to_owned(), file)]).measure().unwrap();
        let files = ContextFiles::new(context.clone(), ContextSending::default());
        let entries = files.entries[1..].to_vec();
        let asked = stream::iter(asked.into_iter().map(Ok));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answers: Vec<_> = runtime
            .block_on(async { answer(context, entries, files.sending, asked).collect().await });
        let (listing, given): (Vec<_>, Vec<_>) = answers.into_iter().partition(
            |answer| matches!(answer, Ok(packet) if packet.r#type() == PacketType::PacketStat),
        );
        [listing, given].map(|answers| {
            let shown = answers.into_iter().map(|answer| match answer {
                Err(status) => status.message().to_owned(),
                Ok(Packet { stat: Some(s), .. }) => format!("{} {:o} {}", s.path, s.mode, s.size),
                Ok(p) => format!("{:?} {} {}", p.r#type(), p.id, p.data.len()),
            });
            shown.collect::<Vec<_>>().join(", ")
        })
    }

    #[test]
    fn links_on_the_way_are_sent_with_their_targets() {
        let link = |target: &str| ContextEntry::Link(target.to_owned());
        let file = || ContextEntry::File(TreeFile::of_text(String::new()));
        let entries = [
            ("a/current", link("../tool/1.2")),
            ("absolute", link("/tool/1.2/bin")),
            ("again", link("again/x")),
            ("gone", link("nowhere")),
            ("loop", link("loop")),
            ("tool/1.2/bin", file()),
            ("tool/1.2/lib", file()),
            ("tool/other", file()),
        ];
        let entries = entries.map(|(path, entry)| (path.to_owned(), entry));
        let context = Context::of_entries("".into(), entries).measure().unwrap();
        let files = ContextFiles::new(context, ContextSending::default());
        let table: [(&[&str], &str); 8] = [
            (&["a/current/bin"], "a a/current tool tool/1.2 tool/1.2/bin"),
            (
                &["a/current/bin", "a/current/lib"],
                "a a/current tool tool/1.2 tool/1.2/bin tool/1.2/lib",
            ),
            (&["absolute"], "absolute tool tool/1.2 tool/1.2/bin"),
            (&["a/c*"], "a a/current tool tool/1.2 tool/1.2/bin tool/1.2/lib"),
            (&["gone"], "gone"),
            (&["loop"], "loop"),
            (&["again/y"], "again"),
            (&["tool/other"], "tool tool/other"),
        ];
        for (followed, expected) in table {
            let mut metadata = MetadataMap::new();
            metadata.append("dir-name", "context".parse().unwrap());
            for path in followed {
                metadata.append("followpaths", path.parse().unwrap());
            }
            let question = FileRequest::of(&metadata, &files.entries).unwrap();
            let found = files.in_question(&question);
            let paths: Vec<_> = found.iter().map(|entry| entry.path.as_str()).collect();
            assert_eq!(paths.join(" "), expected, "{followed:?}");
        }
        let told = told(files.entries.iter().find(|entry| entry.path == "absolute").unwrap());
        let stat = told.stat.unwrap();
        assert_eq!((stat.mode, stat.linkname.as_str()), (LINK | 0o777, "/tool/1.2/bin"));
    }

    #[test]
    fn files_are_listed_and_sent_in_parts() {
        let ask = |id| Packet { id, ..packet(PacketType::PacketReq) };
        let end = || packet(PacketType::PacketFin);
        let data = b"disk full".to_vec();
        let error = Packet { data, ..packet(PacketType::PacketErr) };
        let long = "x".repeat(CHUNK + 1);
        let [listing, given] = answered(&long, vec![ask(1), ask(0), end()]);
        assert_eq!(listing, "a 20000000755 0, a/b 644 32769, PacketStat 0 0");
        let parts = "PacketData 1 32768, PacketData 1 1, PacketData 1 0, PacketData 0 0";
        assert_eq!(given, format!("{parts}, PacketFin 0 0"));
        let given = |asked: &[Packet]| answered("", asked.to_vec())[1].clone();
        assert_eq!(given(&[end(), ask(1)]), "PacketFin 0 0");
        assert_eq!(given(&[ask(2), end()]), "there is no file 2");
        assert_eq!(given(&[error, end()]), "disk full");
        assert_eq!(given(&[packet(PacketType::PacketStat)]), "files are given and not taken");
        let too_many = given(&[ask(1), ask(1), ask(1), ask(1)]);
        assert!(too_many.ends_with("more files are asked for than there are"), "{too_many}");
    }

    /// Requests are received even if the answers are not read.
    #[tokio::test]
    async fn requests_do_not_wait_for_contents() {
        let context = context(&[]);
        let entry =
            Entry { path: "a".to_owned(), mode: 0o644, size: 6, target: String::new(), index: 0 };
        let (ask, asked) = mpsc::channel(1);
        let asked = stream::unfold(asked, async |mut asked| Some((asked.recv().await?, asked)));
        let entries = vec![entry; 5000];
        let answers = answer(context, entries, ContextSending::default(), Box::pin(asked));
        for id in 0..5000 {
            let question = Packet { id, ..packet(PacketType::PacketReq) };
            ask.send(Ok(question)).await.unwrap();
        }
        ask.send(Ok(packet(PacketType::PacketFin))).await.unwrap();
        let given = answers.filter(|answer| {
            let is_data = matches!(answer, Ok(it) if it.r#type() == PacketType::PacketData);
            std::future::ready(is_data)
        });
        // Each file has a packet of data and one for its end.
        assert_eq!(given.count().await, 10_000);
    }

    #[tokio::test]
    async fn file_that_has_changed_ends_the_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "x".repeat(1 << 20)).unwrap();
        let file = TreeFile::on_disk(path.clone());
        let context = Context::new("".into(), [("a".to_owned(), file)]).measure().unwrap();
        std::fs::write(&path, "y".repeat(1 << 20)).unwrap();
        let files = ContextFiles::new(context.clone(), ContextSending::default());
        let asked = [Packet { id: 1, ..packet(PacketType::PacketReq) }];
        let asked = stream::iter(asked.into_iter().map(Ok));
        let sending = files.sending.clone();
        let answers: Vec<_> = answer(context, files.entries, sending, asked).collect().await;
        let is_end = |answer: &Result<Packet, Status>| matches!(answer, Ok(it) if it.r#type() == PacketType::PacketData && it.data.is_empty());
        assert!(!answers.iter().any(is_end));
        let failure = files.sending.failure().unwrap().to_string();
        assert_eq!(
            failure,
            "its context can't be sent: 'a': it has changed since Kiln computed its digest: run Kiln again"
        );
    }

    #[test]
    fn invalid_requests_are_refused() {
        let refused = |said: &[(&'static str, &str)]| found(said).unwrap_err();
        let other = refused(&[("dir-name", "home")]);
        assert_eq!(other, "there is no folder 'home' to build from");
        let pattern = refused(&[("dir-name", "context"), ("exclude-patterns", "[")]);
        assert_eq!(pattern, "line 1: '[' is not a path pattern");
    }
}

//! Execution of other programs. They are found in the absolute folders of PATH only, are limited in
//! time and size, and are killed together with every process of their process group: when they
//! exceed their limits, when nobody waits for them any more, and when Kiln itself ends.

use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read, Write as _};
use std::mem;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// Ids of the process groups of the programs that run; `None` once the process is ending.
static RUNNING: Mutex<Option<BTreeSet<i32>>> = Mutex::new(Some(BTreeSet::new()));

/// Value of PATH if the environment has none.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Largest number of bytes that a program may write to standard error before it is killed: progress
/// output of an hour is smaller.
const MOST_TALK: usize = 16 << 20;

/// Number of bytes kept from the end of standard error.
const KEPT_TALK: usize = 64 << 10;

/// Number of bytes read at once.
const CHUNK: usize = 64 << 10;

/// Longest interval between two checks of the size of a folder, and of whether the program has
/// ended while another process keeps its output open.
const LOOK: Duration = Duration::from_millis(250);

/// Time for which output is still read after the program has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Prepares to run the program called `name`, which is looked up in the absolute folders of PATH.
/// The program gets the same reduced PATH.
///
/// # Errors
/// When there is no such program.
pub fn command(name: &str) -> io::Result<Command> {
    let path = absolute_path();
    let program = find_in(name, &path).ok_or_else(|| {
        let reason = format!("there is no program '{name}' in the absolute folders of PATH");
        io::Error::new(io::ErrorKind::NotFound, reason)
    })?;
    let mut command = Command::new(program);
    command.env("PATH", path);
    Ok(command)
}

/// Prepares to run the program called `name` as [`command`] does, in an environment that is the same
/// for every user: PATH, HOME and SHELL, and nothing else. HOME and SHELL are set since a shell
/// without them asks the C library for the user, which may contact a name service.
///
/// # Errors
/// When there is no such program.
pub fn isolated_command(name: &str) -> io::Result<Command> {
    let mut command = command(name)?;
    command.env_clear().env("PATH", absolute_path()).env("HOME", "/").env("SHELL", "/bin/sh");
    Ok(command)
}

/// Returns the value of PATH without empty and relative folders.
fn absolute_path() -> OsString {
    let given = env::var_os("PATH").unwrap_or_else(|| USUAL_PATH.into());
    only_absolute(&given)
}

/// Returns a list of folders in the format of PATH without the entries that depend on the current
/// folder.
pub fn only_absolute(list: &OsStr) -> OsString {
    let absolute = env::split_paths(list).filter(|folder| folder.is_absolute());
    env::join_paths(absolute).unwrap_or_default()
}

fn find_in(name: &str, path: &OsString) -> Option<PathBuf> {
    let is_program = |file: &PathBuf| {
        let metadata = fs::metadata(file);
        metadata.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(path).map(|folder| folder.join(name)).find(is_program)
}

/// Limits of a program.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest time without output.
    pub silence: Duration,
    /// Longest time in total.
    pub total: Duration,
    /// Largest number of bytes on standard output.
    pub output: usize,
    /// Folder that the program writes to, with the largest number of bytes in it.
    pub folder: Option<(PathBuf, u64)>,
}

/// Result of a program that ended by itself.
#[derive(Debug)]
pub struct Ended {
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// End of standard error.
    pub stderr: String,
}

/// Reason why a program did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program can't be started.
    #[error("it can't be run: {0}")]
    Start(io::Error),
    /// The program wrote nothing for too long.
    #[error("no data came for {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// The program exceeded its total time.
    #[error("it took longer than {} s", .0.as_secs_f32())]
    Endless(Duration),
    /// The program writes more than it may.
    #[error("{0}")]
    TooMuch(String),
    /// The output can't be used.
    #[error("{0}")]
    Unusable(io::Error),
    /// The caller dropped the future of the run.
    #[error("it was stopped")]
    Stopped,
}

impl RunError {
    /// Returns true for an error that may not occur again in another run.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Silent(_) | Self::Endless(_))
    }
}

/// Runs a program to its end and returns all of its output.
///
/// # Errors
/// When it can't be started or exceeds its limits.
pub fn run(command: Command, limits: &Limits) -> Result<Ended, RunError> {
    run_held(command, Vec::new(), limits, &Hold::default())
}

/// Runs a program to its end without blocking the caller's thread, and writes `input` to its standard
/// input. Dropping the future kills the program with its process group.
///
/// # Errors
/// When it can't be started or exceeds its limits.
pub async fn run_async(
    command: Command,
    input: Vec<u8>,
    limits: Limits,
) -> Result<Ended, RunError> {
    let hold = Hold::default();
    let dropped = Release(hold.clone());
    let run = tokio::task::spawn_blocking(move || run_held(command, input, &limits, &hold));
    let ended = run.await.map_err(|error| RunError::Unusable(io::Error::other(error)))?;
    drop(dropped);
    ended
}

fn run_held(
    command: Command,
    input: Vec<u8>,
    limits: &Limits,
    hold: &Hold,
) -> Result<Ended, RunError> {
    let mut stdout = Vec::new();
    let mut keep = |chunk: &[u8]| {
        if stdout.len() + chunk.len() > limits.output {
            let reason = format!("it writes more than {} MiB", limits.output >> 20);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        stdout.extend_from_slice(chunk);
        Ok(())
    };
    let (status, stderr) = stream_held(command, input, limits, hold, &mut keep)?;
    Ok(Ended { status, stdout, stderr })
}

/// Runs a program to its end, writes `input` to its standard input, and passes its output to `take`
/// as it arrives. Returns the exit status and the end of standard error.
///
/// # Errors
/// When the program can't be started, exceeds its limits, or `take` fails.
pub fn stream(
    command: Command,
    input: Vec<u8>,
    limits: &Limits,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(ExitStatus, String), RunError> {
    stream_held(command, input, limits, &Hold::default(), take)
}

fn stream_held(
    mut command: Command,
    input: Vec<u8>,
    limits: &Limits,
    hold: &Hold,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(ExitStatus, String), RunError> {
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = hold.start(&mut command)?;
    let began = Instant::now();
    let listened = Listener::new(&mut child, input).listen(&mut child, limits, take);
    let listened = listened.and_then(|heard| {
        await_end(&mut child, limits, began)?;
        Ok(heard)
    });
    if !matches!(listened, Ok(End::Closed(_))) {
        hold.kill();
    }
    let status = child.wait();
    let was_stopped = hold.end();
    let (End::Closed(stderr) | End::LeftOpen(stderr)) = listened?;
    if was_stopped {
        return Err(RunError::Stopped);
    }
    Ok((status.map_err(RunError::Unusable)?, String::from_utf8_lossy(&stderr).into_owned()))
}

/// Waits for the end of a program that has closed its outputs.
fn await_end(child: &mut Child, limits: &Limits, began: Instant) -> Result<(), RunError> {
    let (closed, mut pause) = (Instant::now(), Duration::from_micros(100));
    while child.try_wait().map_err(RunError::Unusable)?.is_none() {
        if closed.elapsed() >= limits.silence {
            return Err(RunError::Silent(limits.silence));
        }
        limits.look_at_clock(began)?;
        thread::sleep(pause);
        pause = (pause * 2).min(LOOK);
    }
    Ok(())
}

/// End of standard error, with the state of both outputs.
enum End {
    /// Both outputs were closed.
    Closed(Vec<u8>),
    /// The program has ended, but another process keeps an output open.
    LeftOpen(Vec<u8>),
}

/// Chunk of the output of a program.
enum Heard {
    Out(Vec<u8>),
    Err(Vec<u8>),
}

/// Reader of both outputs of a program.
struct Listener {
    heard: Receiver<Heard>,
}

impl Listener {
    fn new(child: &mut Child, input: Vec<u8>) -> Self {
        let (send, heard) = sync_channel(8);
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read all of its input reports the reason itself.
            thread::spawn(move || drop(stdin.write_all(&input)));
        }
        if let Some(stdout) = child.stdout.take() {
            let send = send.clone();
            thread::spawn(move || forward(stdout, &send, Heard::Out));
        }
        if let Some(stderr) = child.stderr.take() {
            thread::spawn(move || forward(stderr, &send, Heard::Err));
        }
        Self { heard }
    }

    /// Reads until both outputs are closed, or the program has ended.
    fn listen(
        self,
        child: &mut Child,
        limits: &Limits,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<End, RunError> {
        let began = Instant::now();
        let (mut last, mut looked) = (began, began);
        let (mut talked, mut stderr) = (0, Vec::new());
        let mut ended = None;
        loop {
            match self.heard.recv_timeout(LOOK) {
                Ok(Heard::Out(chunk)) => take(&chunk).map_err(RunError::Unusable)?,
                Ok(Heard::Err(chunk)) => {
                    talked += chunk.len();
                    if talked > MOST_TALK {
                        let reason = format!("it prints more than {} MiB", MOST_TALK >> 20);
                        return Err(RunError::TooMuch(reason));
                    }
                    keep_end(&mut stderr, &chunk);
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(End::Closed(stderr)),
                Err(RecvTimeoutError::Timeout) => {
                    let now = Instant::now();
                    if ended.is_none() && child.try_wait().map_err(RunError::Unusable)?.is_some() {
                        ended = Some(now);
                    }
                    if ended.is_some_and(|ended| now - ended >= LAST_WORDS) {
                        return Ok(End::LeftOpen(stderr));
                    }
                    if now - last >= limits.silence {
                        return Err(RunError::Silent(limits.silence));
                    }
                    limits.look_at_folder(&mut looked)?;
                    limits.look_at_clock(began)?;
                    continue;
                }
            }
            last = Instant::now();
            limits.look_at_folder(&mut looked)?;
            limits.look_at_clock(began)?;
        }
    }
}

impl Limits {
    fn look_at_clock(&self, began: Instant) -> Result<(), RunError> {
        if began.elapsed() >= self.total { Err(RunError::Endless(self.total)) } else { Ok(()) }
    }

    fn look_at_folder(&self, looked: &mut Instant) -> Result<(), RunError> {
        let Some((folder, most)) = &self.folder else { return Ok(()) };
        if looked.elapsed() < LOOK {
            return Ok(());
        }
        *looked = Instant::now();
        if size_below(folder) > *most {
            let reason = format!("it writes more than {} MiB", most >> 20);
            return Err(RunError::TooMuch(reason));
        }
        Ok(())
    }
}

/// Returns the size of all files below a folder, in bytes; files that vanish meanwhile count as 0.
fn size_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

fn forward(mut from: impl Read, to: &SyncSender<Heard>, of: fn(Vec<u8>) -> Heard) {
    loop {
        let mut chunk = vec![0; CHUNK];
        match from.read(&mut chunk) {
            Ok(0) => return,
            Ok(read) => {
                chunk.truncate(read);
                if to.send(of(chunk)).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Appends to the kept end of a long text.
fn keep_end(kept: &mut Vec<u8>, chunk: &[u8]) {
    kept.extend_from_slice(chunk);
    if kept.len() > 2 * KEPT_TALK {
        kept.drain(..kept.len() - KEPT_TALK);
    }
}

/// Process group of a running program, killed when it is dropped, or by [`kill_all`].
#[derive(Debug)]
pub struct Group {
    leader: i32,
    is_over: bool,
}

impl Group {
    /// Starts a program with `spawn`, in a group of its own (`process_group(0)`); `id` returns the
    /// id of the program. Returns the program and its group.
    ///
    /// # Errors
    /// When it can't be started, or the process is ending.
    pub fn start<P>(
        spawn: impl FnOnce() -> io::Result<P>,
        id: impl FnOnce(&P) -> Option<u32>,
    ) -> io::Result<(P, Self)> {
        // Locked until the program is known: otherwise one that starts at the end would be left.
        let mut running = running();
        let Some(groups) = &mut *running else {
            return Err(io::Error::other("the program is ending"));
        };
        let program = spawn()?;
        let leader = id(&program).map_or(0, u32::cast_signed);
        groups.insert(leader);
        Ok((program, Self { leader, is_over: false }))
    }

    fn kill(&self) {
        kill_group(self.leader);
    }

    /// Leaves the group alone from now on, since its leader has ended: another process may get the
    /// id, and what the leader has left behind is to stay.
    pub fn let_go(mut self) {
        self.is_over = true;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.is_over {
            self.kill();
        }
        if let Some(running) = &mut *running() {
            running.remove(&self.leader);
        }
    }
}

fn kill_group(leader: i32) {
    if let Some(leader) = Pid::from_raw(leader) {
        // Fails for a group without processes.
        let _ = kill_process_group(leader, Signal::KILL);
    }
}

fn running() -> MutexGuard<'static, Option<BTreeSet<i32>>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills all programs that run, before the process ends. No more can be started afterwards. A program
/// that is just being started is waited for, up to [`LAST_WORDS`].
pub fn kill_all() {
    let began = Instant::now();
    let groups = loop {
        match RUNNING.try_lock() {
            Ok(mut running) => break running.take(),
            Err(TryLockError::Poisoned(error)) => break error.into_inner().take(),
            Err(TryLockError::WouldBlock) if began.elapsed() >= LAST_WORDS => break None,
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(1)),
        }
    };
    groups.unwrap_or_default().into_iter().for_each(kill_group);
}

/// Handle that lets another thread kill a running program.
#[derive(Clone, Default)]
struct Hold(Arc<Mutex<State>>);

#[derive(Default)]
enum State {
    #[default]
    NotStarted,
    Running(Group),
    Ended,
    Stopped,
}

impl Hold {
    fn start(&self, command: &mut Command) -> Result<Child, RunError> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Stopped) {
            return Err(RunError::Stopped);
        }
        let started = Group::start(|| command.spawn(), |child| Some(child.id()));
        let (child, group) = started.map_err(RunError::Start)?;
        *state = State::Running(group);
        Ok(child)
    }

    /// Kills the program's process group.
    fn kill(&self) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Running(group) = &*state {
            group.kill();
        }
    }

    /// Kills the program and waits up to [`LAST_WORDS`] for its end, or keeps it from being
    /// started.
    fn stop(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match mem::replace(&mut *state, State::Stopped) {
            State::Running(group) => drop(group),
            State::Ended => {
                *state = State::Ended;
                return;
            }
            State::NotStarted | State::Stopped => return,
        }
        drop(state);
        // The program could still write to a folder that is removed next.
        let killed = Instant::now();
        while killed.elapsed() < LAST_WORDS && !self.has_ended() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn has_ended(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), State::Ended)
    }

    /// Records that the program has ended, and returns true if it was stopped.
    fn end(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match mem::replace(&mut *state, State::Ended) {
            State::Running(group) => {
                group.let_go();
                false
            }
            State::Stopped => true,
            State::NotStarted | State::Ended => false,
        }
    }
}

/// Guard that stops the program when dropped.
struct Release(Hold);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        let long = Duration::from_secs(60);
        Limits { silence: long, total: long, output: 1 << 20, folder: None }
    }

    fn shell(script: &str) -> Command {
        let mut shell = command("sh").unwrap();
        shell.arg("-c").arg(script);
        shell
    }

    fn refusal(script: &str, limits: &Limits) -> String {
        let began = Instant::now();
        let error = run(shell(script), limits).unwrap_err().to_string();
        assert!(began.elapsed() < Duration::from_secs(10), "{error}");
        error
    }

    #[test]
    fn output_and_status_are_returned() {
        let ended = run(shell("echo out; echo err >&2; exit 3"), &limits()).unwrap();
        assert_eq!((ended.stdout.as_slice(), ended.stderr.as_str()), (&b"out\n"[..], "err\n"));
        assert_eq!(ended.status.code(), Some(3));
        let mut out = Vec::new();
        let input = vec![b'x'; 1 << 20];
        let mut take = |chunk: &[u8]| {
            out.extend_from_slice(chunk);
            Ok(())
        };
        let (status, _) = stream(shell("cat"), input.clone(), &limits(), &mut take).unwrap();
        assert!(status.success() && out == input);
    }

    #[test]
    fn silent_program_is_ended() {
        let silence = Duration::from_millis(600);
        let of = |script: &str| refusal(script, &Limits { silence, ..limits() });
        assert_eq!(of("sleep 60"), "no data came for 0.6 s");
        assert_eq!(of("echo x; sleep 60 & wait"), "no data came for 0.6 s");
    }

    #[test]
    fn program_without_end_is_ended() {
        let total = Duration::from_millis(600);
        let drip = "while :; do echo x; sleep 0.1; done";
        assert_eq!(refusal(drip, &Limits { total, ..limits() }), "it took longer than 0.6 s");
        assert_eq!(refusal("yes", &limits()), "it writes more than 1 MiB");
        assert_eq!(refusal("yes >&2", &limits()), "it prints more than 16 MiB");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let writes = format!("yes > '{}'", file.display());
        let folder = Some((folder.path().to_owned(), 1 << 20));
        assert_eq!(refusal(&writes, &Limits { folder, ..limits() }), "it writes more than 1 MiB");
    }

    #[test]
    fn all_that_a_program_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sh -c 'echo $$ > {}; exec sleep 600' & wait", file.display());
        let silence = Duration::from_millis(800);
        refusal(&script, &Limits { silence, ..limits() });
        let child = fs::read_to_string(&file).unwrap();
        assert!(is_gone(child.trim()), "{child} is left");
    }

    /// Returns true for a process that has ended, including a zombie.
    fn is_gone(process: &str) -> bool {
        let ended = || {
            let stat = fs::read_to_string(format!("/proc/{process}/stat"));
            stat.map_or(true, |stat| stat.rsplit(')').next().unwrap().trim().starts_with('Z'))
        };
        (0..50).any(|_| {
            ended() || {
                thread::sleep(Duration::from_millis(20));
                false
            }
        })
    }

    #[test]
    fn program_ends_when_its_future_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("echo $$ > '{}'; sleep 600", file.display());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let run = run_async(shell(&script), Vec::new(), limits());
            let _ = tokio::time::timeout(Duration::from_millis(800), run).await;
        });
        drop(runtime);
        assert!(is_gone(fs::read_to_string(&file).unwrap().trim()));
    }

    #[test]
    fn output_that_stays_open_is_not_waited_for() {
        let began = Instant::now();
        let ended = run(shell("setsid sleep 30 & echo done"), &limits()).unwrap();
        assert!(ended.status.success() && began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn programs_are_found_in_absolute_folders_alone() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("some-program");
        fs::write(&program, "").unwrap();
        let here = env::current_dir().unwrap();
        let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
        let relative = up.join(folder.path().strip_prefix("/").unwrap());
        assert!(relative.join("some-program").exists());
        let list = |folders: &[&Path]| only_absolute(&env::join_paths(folders).unwrap());
        let path = list(&[&relative, Path::new(""), Path::new("."), folder.path()]);
        assert_eq!(path, folder.path().as_os_str());
        assert_eq!(find_in("some-program", &path), None);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find_in("some-program", &path), Some(program));
        assert_eq!(find_in("some-program", &list(&[&relative, Path::new("")])), None);
    }
}

//! Parses the output of a build of any builder into lines and steps, and keeps the id of the image.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use bollard::moby::buildkit::v1::{StatusResponse, Vertex, VertexLog};
use bollard::models::{BuildInfo, BuildInfoAux};
use regex::Regex;

use crate::engine::line_buffer::LineBuffer;
use crate::engine::{Output, Sink};

/// Step lines of the classic builder, and of Buildah.
static STEP_LINE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(?:Step|STEP) (\d+)/(\d+) ?: (.*)").expect("a literal"));

/// Names of BuildKit's vertices that are instructions, with or without the name of a stage.
static BUILDKIT_STEP: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)^\[(?:\S+ +)?(\d+)/(\d+)\] (.*)").expect("a literal"));

/// Number of the standard error stream in BuildKit's logs.
const STANDARD_ERROR: i64 = 2;

/// Listener to the output of one build. When it is dropped, it passes on the incomplete lines,
/// however the build ends: they often contain the reason.
pub(super) struct Listener<'s> {
    lines: Lines<'s>,
    image_id: Option<String>,
    partial: LineBuffer,
    vertices: BTreeMap<String, VertexState>,
}

/// Sink of a build's lines and steps, with the last line that it got.
struct Lines<'s> {
    sink: Sink<'s>,
    last: String,
}

#[derive(Default)]
struct VertexState {
    begun: bool,
    done: bool,
    /// Incomplete lines of standard output and of standard error.
    partial: [LineBuffer; 2],
}

impl<'s> Listener<'s> {
    /// Returns a listener that passes lines and steps to `sink`.
    pub(super) fn new(sink: Sink<'s>) -> Self {
        Self {
            lines: Lines { sink, last: String::new() },
            image_id: None,
            partial: LineBuffer::default(),
            vertices: BTreeMap::new(),
        }
    }

    /// Returns the id of the built image; `None` until the engine has reported it.
    pub(super) fn image_id(&self) -> Option<&str> {
        self.image_id.as_deref()
    }

    /// Processes the next record of the build's answer.
    pub(super) fn hear(&mut self, record: BuildInfo) {
        if let Some(text) = record.stream {
            self.partial.push(text.as_bytes(), |line| self.lines.say_classic(line));
        }
        if let Some(status) = record.status {
            self.lines.say(status);
        }
        match record.aux {
            Some(BuildInfoAux::Default(image)) => self.image_id = image.id,
            Some(BuildInfoAux::BuildKit(status)) => self.hear_buildkit(status),
            None => {}
        }
    }

    /// Reports that the build has had no output for `silence`, and is given up after `limit`, with
    /// its last line: an incomplete one, such as a prompt, if there is one.
    pub(super) fn report_silence(&mut self, silence: Duration, limit: Duration) {
        let of_vertices = self.vertices.values().flat_map(|state| &state.partial);
        let incomplete = of_vertices.chain([&self.partial]).find_map(LineBuffer::incomplete);
        let last = incomplete.unwrap_or_else(|| self.lines.last.clone());
        (self.lines.sink)(Output::Silence { silence, limit, last });
    }

    /// Processes starts first, then logs, then ends: the logs of a vertex come between its start
    /// and its end.
    fn hear_buildkit(&mut self, status: StatusResponse) {
        for vertex in &status.vertexes {
            self.begin(vertex);
        }
        for log in status.logs {
            self.hear_log(log);
        }
        for vertex in status.vertexes {
            self.complete(vertex);
        }
    }

    fn begin(&mut self, vertex: &Vertex) {
        let state = self.vertices.entry(vertex.digest.clone()).or_default();
        if vertex.started.is_some() && !state.begun {
            state.begun = true;
            self.lines.say_step(&BUILDKIT_STEP, &vertex.name);
            self.lines.say(vertex.name.clone());
        }
    }

    fn hear_log(&mut self, log: VertexLog) {
        let state = self.vertices.entry(log.vertex).or_default();
        let partial = &mut state.partial[usize::from(log.stream == STANDARD_ERROR)];
        partial.push(&log.msg, |line| self.lines.say(line));
    }

    fn complete(&mut self, vertex: Vertex) {
        let state = self.vertices.entry(vertex.digest).or_default();
        if vertex.completed.is_none() || state.done {
            return;
        }
        state.done = true;
        state.say_rest(&mut self.lines);
        if vertex.cached && vertex.error.is_empty() {
            self.lines.say("CACHED".to_owned());
        }
        if !vertex.error.is_empty() {
            // Other vertices may have started since.
            self.lines.say_step(&BUILDKIT_STEP, &vertex.name);
            self.lines.say(format!("ERROR: {}", vertex.error));
        }
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        if let Some(line) = self.partial.rest() {
            self.lines.say_classic(line);
        }
        for state in self.vertices.values_mut() {
            state.say_rest(&mut self.lines);
        }
    }
}

impl VertexState {
    fn say_rest(&mut self, lines: &mut Lines<'_>) {
        self.partial.iter_mut().filter_map(LineBuffer::rest).for_each(|line| lines.say(line));
    }
}

impl Lines<'_> {
    fn say(&mut self, line: String) {
        if !line.is_empty() {
            self.last.clone_from(&line);
        }
        (self.sink)(Output::Line(line));
    }

    fn say_classic(&mut self, line: String) {
        self.say_step(&STEP_LINE, &line);
        self.say(line);
    }

    /// Passes on a step if `text` is an instruction by this pattern.
    fn say_step(&mut self, pattern: &Regex, text: &str) {
        if let Some((number, total, instruction)) = step(pattern, text) {
            (self.sink)(Output::Step { number, total, instruction });
        }
    }
}

/// Returns number, total and instruction of a step; `None` if `text` is not one.
fn step(pattern: &Regex, text: &str) -> Option<(usize, usize, String)> {
    let found = pattern.captures(text)?;
    Some((found[1].parse().ok()?, found[2].parse().ok()?, found[3].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::line_buffer::LONGEST;

    /// Returns the output for these records.
    fn heard(records: impl IntoIterator<Item = BuildInfo>) -> Vec<Output> {
        let mut heard = Vec::new();
        let mut sink = |output| heard.push(output);
        let mut listener = Listener::new(&mut sink);
        records.into_iter().for_each(|record| listener.hear(record));
        drop(listener);
        heard
    }

    fn stream(text: &str) -> BuildInfo {
        BuildInfo { stream: Some(text.to_owned()), ..BuildInfo::default() }
    }

    fn buildkit(status: StatusResponse) -> BuildInfo {
        BuildInfo { aux: Some(BuildInfoAux::BuildKit(status)), ..BuildInfo::default() }
    }

    fn vertex(name: &str, is_completed: bool, error: &str) -> Vertex {
        Vertex {
            digest: name.to_owned(),
            name: name.to_owned(),
            started: Some(Default::default()),
            completed: is_completed.then(Default::default),
            error: error.to_owned(),
            ..Vertex::default()
        }
    }

    /// Returns the output of a vertex on one of its streams.
    fn written(vertex: &str, stream: i64, text: &[u8]) -> VertexLog {
        VertexLog { vertex: vertex.to_owned(), stream, msg: text.to_vec(), ..VertexLog::default() }
    }

    fn line(text: &str) -> Output {
        Output::Line(text.to_owned())
    }

    #[test]
    fn steps_of_both_builders_are_understood() {
        let classic = |text: &str| step(&STEP_LINE, text);
        let buildkit = |text: &str| step(&BUILDKIT_STEP, text);
        let of = |n, t, i: &str| Some((n, t, i.to_owned()));
        assert_eq!(classic("Step 3/10 : RUN true"), of(3, 10, "RUN true"));
        assert_eq!(classic("STEP 3/10: RUN true"), of(3, 10, "RUN true"));
        assert_eq!(classic(" ---> Running in 1"), None);
        assert_eq!(buildkit("[2/5] RUN true"), of(2, 5, "RUN true"));
        assert_eq!(buildkit("[stage-1 2/5] RUN true"), of(2, 5, "RUN true"));
        assert_eq!(buildkit("[internal] load build context"), None);
    }

    #[test]
    fn lines_are_put_together_across_records() {
        let records = ["Step 1/1 : FR", "OM a\n ---> ", "id\n", "rest"].map(stream);
        let step = Output::Step { number: 1, total: 1, instruction: "FROM a".to_owned() };
        let expected = [step, line("Step 1/1 : FROM a"), line(" ---> id"), line("rest")];
        assert_eq!(heard(records), expected);
    }

    #[test]
    fn last_output_comes_before_its_error() {
        let name = "[1/1] RUN false";
        let records = [
            StatusResponse { vertexes: vec![vertex(name, false, "")], ..Default::default() },
            StatusResponse {
                logs: vec![written(name, 1, b"first\n"), written(name, 2, b"E: the disk ")],
                ..Default::default()
            },
            StatusResponse {
                vertexes: vec![vertex(name, true, "exit code: 4")],
                logs: vec![written(name, 2, b"is full")],
                ..Default::default()
            },
        ];
        let heard = heard(records.map(buildkit));
        let step = || Output::Step { number: 1, total: 1, instruction: "RUN false".to_owned() };
        let expected = [
            step(),
            line(name),
            line("first"),
            line("E: the disk is full"),
            step(),
            line("ERROR: exit code: 4"),
        ];
        assert_eq!(heard, expected);
    }

    #[test]
    fn streams_and_vertices_do_not_run_into_each_other() {
        let logs = vec![
            written("a", 1, b"out "),
            written("a", 2, b"err \xc3"),
            written("b", 1, b"other "),
            written("a", 1, b"1\n"),
            written("a", 2, b"\xa9\n"),
            written("b", 1, b"2\n"),
        ];
        let records = [buildkit(StatusResponse { logs, ..Default::default() })];
        assert_eq!(heard(records), [line("out 1"), line("err é"), line("other 2")]);
    }

    #[test]
    fn prompt_of_a_hanging_build_is_reported_when_given_up() {
        let prompt = b"Continue? [Y/n] ";
        let logs = vec![written("a", 1, prompt)];
        let records = [buildkit(StatusResponse { logs, ..Default::default() })];
        assert_eq!(heard(records), [line("Continue? [Y/n]")]);
        assert_eq!(heard([stream("Continue? [Y/n] ")]), [line("Continue? [Y/n]")]);
    }

    #[test]
    fn silence_is_reported_with_the_last_line() {
        let reported = |records: &[BuildInfo]| {
            let mut heard = Vec::new();
            let mut sink = |output| heard.push(output);
            let mut listener = Listener::new(&mut sink);
            records.iter().for_each(|record| listener.hear(record.clone()));
            listener.report_silence(Duration::from_secs(1), Duration::from_secs(2));
            drop(listener);
            let mut words = heard.into_iter().filter_map(|output| match output {
                Output::Silence { last, .. } => Some(last),
                _ => None,
            });
            words.next().unwrap()
        };
        let logs = |logs: Vec<VertexLog>| buildkit(StatusResponse { logs, ..Default::default() });
        let table: [(&[BuildInfo], &str); 6] = [
            (&[], ""),
            (&[stream("Step 2/2 : RUN make\n"), stream("\n")], "Step 2/2 : RUN make"),
            (&[stream("Unpacking\nOverwrite a? [N] ")], "Overwrite a? [N]"),
            (&[logs(vec![written("a", 1, b"cc -o x x.c\n \n")])], "cc -o x x.c"),
            (&[logs(vec![written("a", 2, b"Password: "), written("b", 1, b"b\n")])], "Password:"),
            (&[logs(vec![written("a", 1, b"n\xc3\xa9"), written("a", 1, b"e\n")])], "née"),
        ];
        for (records, expected) in table {
            assert_eq!(reported(records), expected);
        }
    }

    #[test]
    fn a_line_without_end_is_passed_on_while_it_comes() {
        let text = "a".repeat(LONGEST / 4);
        let mut longest = 0;
        let mut total = 0;
        let mut sink = |output: Output| {
            let Output::Line(line) = output else { panic!("no step") };
            longest = longest.max(line.len());
            total += line.len();
        };
        let mut listener = Listener::new(&mut sink);
        for _ in 0..1001 {
            listener.hear(stream(&text));
        }
        drop(listener);
        assert_eq!((longest, total), (LONGEST, 1001 * text.len()));
    }
}

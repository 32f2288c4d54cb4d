//! Listens to a build: makes lines and steps of what either builder says, and keeps the id of the image.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bollard::moby::buildkit::v1::{StatusResponse, Vertex, VertexLog};
use bollard::models::{BuildInfo, BuildInfoAux};
use regex::Regex;

use super::lines::LineBuffer;
use super::{Output, Sink};

/// Step lines of the classic builder, and of Buildah.
static STEP_LINE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(?:Step|STEP) (\d+)/(\d+) ?: (.*)").expect("a literal"));

/// Names of BuildKit's vertices that stand for instructions, with or without a stage's name.
static BUILDKIT_STEP: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)^\[(?:\S+ +)?(\d+)/(\d+)\] (.*)").expect("a literal"));

/// Number that BuildKit gives standard error.
const STANDARD_ERROR: i64 = 2;

/// The listener to one build. What the build has said of a line by the time the listener is dropped is
/// passed on, however the build ends: often it is why.
pub(super) struct Listener<'s> {
    sink: Sink<'s>,
    image_id: Option<String>,
    partial: LineBuffer,
    vertices: BTreeMap<String, VertexState>,
}

#[derive(Default)]
struct VertexState {
    begun: bool,
    done: bool,
    /// What has come of a line on standard output, and of one on standard error.
    partial: [LineBuffer; 2],
}

impl<'s> Listener<'s> {
    /// Returns a listener that passes on to `sink` what it hears.
    pub(super) fn new(sink: Sink<'s>) -> Self {
        Self { sink, image_id: None, partial: LineBuffer::default(), vertices: BTreeMap::new() }
    }

    /// The id of the image that was built, as soon as that is known.
    pub(super) fn image_id(&self) -> Option<&str> {
        self.image_id.as_deref()
    }

    /// Takes the next record of the build's answer.
    pub(super) fn hear(&mut self, record: BuildInfo) {
        if let Some(text) = record.stream {
            self.partial.push(text.as_bytes(), |line| say_classic(line, self.sink));
        }
        if let Some(status) = record.status {
            self.say(status);
        }
        match record.aux {
            Some(BuildInfoAux::Default(image)) => self.image_id = image.id,
            Some(BuildInfoAux::BuildKit(status)) => self.hear_buildkit(status),
            None => {}
        }
    }

    /// What is said of a vertex comes between its beginning and its end.
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
            self.say_step(&vertex.name);
            self.say(vertex.name.clone());
        }
    }

    fn hear_log(&mut self, log: VertexLog) {
        let state = self.vertices.entry(log.vertex).or_default();
        let partial = &mut state.partial[usize::from(log.stream == STANDARD_ERROR)];
        partial.push(&log.msg, |line| (self.sink)(Output::Line(line)));
    }

    fn complete(&mut self, vertex: Vertex) {
        let state = self.vertices.entry(vertex.digest).or_default();
        if vertex.completed.is_none() || state.done {
            return;
        }
        state.done = true;
        state.say_rest(self.sink);
        if vertex.cached {
            self.say("CACHED".to_owned());
        }
        if !vertex.error.is_empty() {
            // Others may have begun since.
            self.say_step(&vertex.name);
            self.say(format!("ERROR: {}", vertex.error));
        }
    }

    fn say(&mut self, line: String) {
        (self.sink)(Output::Line(line));
    }

    /// Tells of an instruction that begins, if the vertex is one.
    fn say_step(&mut self, vertex: &str) {
        if let Some((number, total, instruction)) = step(&BUILDKIT_STEP, vertex) {
            (self.sink)(Output::Step { number, total, instruction });
        }
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        if let Some(line) = self.partial.rest() {
            say_classic(line, self.sink);
        }
        for state in self.vertices.values_mut() {
            state.say_rest(self.sink);
        }
    }
}

impl VertexState {
    fn say_rest(&mut self, sink: Sink<'_>) {
        for line in self.partial.iter_mut().filter_map(LineBuffer::rest) {
            sink(Output::Line(line));
        }
    }
}

fn say_classic(line: String, sink: Sink<'_>) {
    if let Some((number, total, instruction)) = step(&STEP_LINE, &line) {
        sink(Output::Step { number, total, instruction });
    }
    sink(Output::Line(line));
}

/// Number, total and instruction of a step, where `text` is one.
fn step(pattern: &Regex, text: &str) -> Option<(usize, usize, String)> {
    let found = pattern.captures(text)?;
    Some((found[1].parse().ok()?, found[2].parse().ok()?, found[3].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::lines::LONGEST;

    /// What is heard of these records.
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

    /// What a vertex writes to one of its streams.
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
    fn last_words_come_before_the_error_that_they_explain() {
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
    fn a_prompt_that_a_build_hangs_at_is_told_when_it_is_given_up() {
        let prompt = b"Continue? [Y/n] ";
        let logs = vec![written("a", 1, prompt)];
        let records = [buildkit(StatusResponse { logs, ..Default::default() })];
        assert_eq!(heard(records), [line("Continue? [Y/n]")]);
        assert_eq!(heard([stream("Continue? [Y/n] ")]), [line("Continue? [Y/n]")]);
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

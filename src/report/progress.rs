//! Progress of a run on standard error: bars on a terminal, plain lines elsewhere.
//!
//! On a terminal, there is one bar for all images and one line for each image that is being built.
//! The lines that stay on the screen are the same in both cases: one for each image that ends and,
//! if it failed, the last lines of its log and the instruction that failed. If a continuous
//! integration service keeps the lines, logs are folded and failures are shown next to the template
//! that they come from.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::ci;
use super::format::{clock, rough, silent};
use super::record::{Entry, Fate, Record};
use crate::console::{self, CiService, Colour, Command, LONGEST_TEXT, Line, Verbosity, Writer};
use crate::event::{Event, Outcome, Pushed, Transfer};
use crate::image::ImageName;
use crate::visible;

/// Number of log lines shown for a failed image.
const TAIL: usize = 20;

/// Settings of the display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisplaySettings {
    /// Amount of output.
    pub verbosity: Verbosity,
    /// True if lines may be drawn over.
    pub is_terminal: bool,
    /// True if colours are used.
    pub colours: bool,
    /// The continuous integration service that keeps the output; `None` if there is none.
    pub ci: Option<CiService>,
}

/// Reports the progress of a run on standard error.
pub struct Progress {
    display: DisplaySettings,
    screen: Screen,
}

impl Progress {
    /// Returns a progress report on standard error: with bars on a terminal, unless only failures
    /// or all log lines are shown or a service keeps the output.
    pub fn on_stderr(display: DisplaySettings) -> Self {
        let bars =
            display.verbosity == Verbosity::Normal && display.is_terminal && display.ci.is_none();
        let screen =
            if bars { Screen::Bars(Bars::new()) } else { Screen::Lines(Writer::on_stderr()) };
        Self { display, screen }
    }

    /// Reports an event that `record` has already handled.
    pub fn hear(&mut self, event: &Event, record: &Record) {
        match event {
            Event::Started { to_build, .. } => self.begin_run(to_build.len(), record),
            Event::Warning(warning) => {
                self.say(&Line::new("warning: ").text(warning.to_string()));
            }
            Event::Pulling(reference) => {
                self.say_change(&Line::new("").text(format!("pulling {reference}")));
                self.screen.begin(reference);
            }
            Event::Transferred(transfer) => {
                self.screen.step(&transfer.artifact, &transferred(transfer));
            }
            Event::PullEnded(reference) => self.screen.end(reference),
            Event::BuildStarted { name, attempt } => {
                self.screen.begin(name);
                if !self.screen.has_bars() {
                    let again =
                        if *attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
                    self.say_change(&about(name).text(format!("building{again}")));
                }
            }
            Event::Step { name, number, total, instruction } => {
                self.screen.step(name, &format!("{number}/{total} {}", in_a_bar(instruction)));
            }
            Event::Log { name, line } => {
                if self.display.verbosity == Verbosity::Debug {
                    self.say(&of_log(name, line));
                }
            }
            Event::Silent { name, silence, limit, last } => {
                self.say_change(&about(name).text(silent(*silence, *limit, last)));
            }
            Event::Retrying { name, error, pause } => {
                let failed = format!("failed, retrying in {}: ", clock(*pause));
                self.say(&about(name).text(failed).text(error));
            }
            Event::Built { .. } => {}
            Event::PushStarted { name } => {
                self.screen.step(name, "pushing");
                if !self.screen.has_bars() {
                    self.say_change(&about(name).text("pushing"));
                }
            }
            Event::ListPushed(Pushed { reference, digest }) => {
                let line = Line::new(format!("{reference}: "));
                self.say_change(&line.text(format!("manifest list pushed as {digest}")));
            }
            Event::Finished { name, outcome, took } => {
                self.screen.end(name);
                self.screen.count();
                self.finished(name, outcome, *took, record);
            }
            Event::Interrupting => {
                self.say(&Line::new("").text("interrupted: cancelling what is running"));
            }
            Event::Ended { .. } => self.screen.end_run(),
        }
        let is_talk =
            matches!(event, Event::Step { .. } | Event::Log { .. } | Event::Transferred(_));
        self.screen.stand(record, is_talk);
    }

    fn say(&mut self, line: &Line<'_>) {
        self.screen.say(line);
    }

    fn say_change(&mut self, line: &Line<'_>) {
        if self.display.verbosity != Verbosity::Quiet {
            self.say(line);
        }
    }

    fn begin_run(&mut self, count: usize, record: &Record) {
        self.screen.begin_run(count);
        if count == 0 {
            return;
        }
        let pending = record.images.values().filter(|entry| entry.fate == Fate::Pending);
        let deepest = pending.map(|entry| entry.wave).max().unwrap_or(0);
        let about = record.estimate.map(|estimate| format!(", about {}", rough(estimate)));
        let about = about.unwrap_or_default();
        self.say_change(
            &Line::new("").text(format!(
                "{count} to build, up to wave {deepest}{about}, by {}",
                record.engine
            )),
        );
    }

    fn finished(&mut self, name: &ImageName, outcome: &Outcome, took: Duration, record: &Record) {
        match outcome {
            Outcome::Built { pushed, .. } => {
                let built = about(name).painted(self.colour(Colour::Green), "built");
                let how = match pushed.first() {
                    None => format!(" in {}", clock(took)),
                    Some(Pushed { digest, .. }) => {
                        format!(" and pushed in {} as {digest}", clock(took))
                    }
                };
                self.say_change(&built.text(how));
            }
            Outcome::ParentError { ancestor } => {
                self.say(&about(name).text(format!("not built, because {ancestor} failed")));
            }
            Outcome::Interrupted => self.say_change(&about(name).text("interrupted")),
            Outcome::Error(text) | Outcome::PushError(text) | Outcome::ConnectionError(text) => {
                self.failed(name, outcome.status(), text, took, record);
            }
        }
    }

    fn failed(
        &mut self,
        name: &ImageName,
        status: &'static str,
        text: &str,
        took: Duration,
        record: &Record,
    ) {
        let Some(entry) = record.images.get(name) else { return };
        self.tell_log(name, entry, record);
        let failed = about(name).painted(self.colour(Colour::Red), status);
        self.say(&failed.text(format!(" after {}: ", clock(took))).text(text));
        if let Some(place) = &entry.place {
            let (template, line) = (&place.template, place.template_line);
            self.say(&about(name).text(format!("at {template}:{line}")));
            let line = format!("line {} of its Dockerfile: {}", place.line, place.text);
            self.say(&about(name).text(line));
        }
        let annotation = self
            .display
            .ci
            .and_then(|service| ci::annotation(service, name, text, entry.place.as_ref()));
        annotation.iter().for_each(|command| self.screen.command(command));
    }

    /// Shows the end of the log of a failed image, unless all log lines have been shown.
    fn tell_log(&mut self, name: &ImageName, entry: &Entry, record: &Record) {
        if self.display.verbosity == Verbosity::Debug || entry.tail.is_empty() {
            return;
        }
        let now = record.at + entry.ended.unwrap_or_default();
        let fold = self.display.ci.map(|service| ci::fold(service, name, now));
        let shown = if fold.is_some() { entry.tail.len() } else { TAIL };
        if let Some((beginning, _)) = &fold {
            self.screen.command(beginning);
        }
        for line in entry.tail.iter().skip(entry.tail.len().saturating_sub(shown)) {
            self.say(&of_log(name, line));
        }
        if let Some((_, end)) = &fold {
            self.screen.command(end);
        }
    }

    fn colour(&self, colour: Colour) -> Option<Colour> {
        self.display.colours.then_some(colour)
    }
}

/// Returns a line prefixed with the name of an image.
fn about(name: &ImageName) -> Line<'static> {
    Line::new(format!("{name}: "))
}

/// Returns the state of a transfer as it is shown next to a bar.
fn transferred(Transfer { done, total, .. }: &Transfer) -> String {
    format!("{} of {}", HumanBytes(*done), HumanBytes(*total))
}

/// Returns a line of an image's log, without the colours that build tools use.
fn of_log(name: &ImageName, line: &str) -> Line<'static> {
    let line = visible::cut(line, LONGEST_TEXT);
    Line::new(format!("{name} | ")).text(visible::without_colours(&line).into_owned())
}

/// Returns the expected time until all builds are done, from their expected durations; `None` if
/// too few durations are known.
fn remaining(record: &Record, now: Duration) -> Option<Duration> {
    let estimate = record.estimate?;
    let (mut whole, mut left) = (Duration::ZERO, Duration::ZERO);
    for entry in record.images.values() {
        let Some(expected) = entry.expected else { continue };
        whole += expected;
        if entry.fate == Fate::Pending && entry.built.is_none() {
            let spent = entry.started.map(|started| now.saturating_sub(started));
            left += expected.saturating_sub(spent.unwrap_or_default());
        }
    }
    (!whole.is_zero()).then(|| estimate.mul_f64(left.as_secs_f64() / whole.as_secs_f64()))
}

/// Largest size of a text next to a bar, in bytes: more than any terminal shows.
const LONGEST_IN_A_BAR: usize = 1 << 10;

/// Returns a text as it is shown next to a bar: in one line, cut and escaped.
fn in_a_bar(text: &str) -> String {
    let text = visible::cut(text, LONGEST_IN_A_BAR);
    visible::line(&text.split_whitespace().collect::<Vec<_>>().join(" ")).into_owned()
}

/// Destination of the output.
enum Screen {
    Lines(Writer),
    Bars(Bars),
}

impl Screen {
    fn has_bars(&self) -> bool {
        matches!(self, Self::Bars(_))
    }

    fn say(&mut self, line: &Line<'_>) {
        match self {
            Self::Lines(writer) => writer.say(line),
            Self::Bars(bars) => drop(bars.all.println(console::above_bars(line))),
        }
    }

    /// Writes a command for the service that keeps the lines. Ignored with bars, which no service
    /// reads.
    fn command(&mut self, command: &Command) {
        if let Self::Lines(writer) = self {
            writer.command(command);
        }
    }

    fn begin_run(&mut self, images: usize) {
        if let Self::Bars(bars) = self {
            bars.overall.set_length(images as u64);
            bars.overall.enable_steady_tick(TICK);
        }
    }

    /// Begins the line of `subject`, an image of the tree or an external one.
    fn begin(&mut self, subject: &impl ToString) {
        if let Self::Bars(bars) = self {
            bars.begin(subject.to_string());
        }
    }

    fn step(&mut self, subject: &impl ToString, text: &str) {
        if let Self::Bars(bars) = self
            && let subject = subject.to_string()
            && let Some(bar) = bars.images.get(&subject)
        {
            bar.set_message(format!("{} {text}", in_a_bar(&subject)));
        }
    }

    /// Removes the line of `subject`.
    fn end(&mut self, subject: &impl ToString) {
        if let Self::Bars(bars) = self
            && let Some(bar) = bars.images.remove(&subject.to_string())
        {
            bar.finish_and_clear();
        }
    }

    /// Counts an image that is done.
    fn count(&mut self) {
        if let Self::Bars(bars) = self {
            bars.overall.inc(1);
        }
    }

    /// Updates the overall bar. This visits all images, so an event that is only talk (a log line
    /// or a step) updates it at most once per [`TICK`].
    fn stand(&mut self, record: &Record, is_talk: bool) {
        if let Self::Bars(bars) = self {
            if is_talk && bars.stood.elapsed() < TICK {
                return;
            }
            bars.stood = Instant::now();
            let failed = record.finished(false).count();
            let failed = (failed > 0).then(|| format!("{failed} failed"));
            let left = remaining(record, bars.began.elapsed());
            let left = left.filter(|left| !left.is_zero());
            let left = left.map(|left| format!("about {} left", rough(left)));
            let stand: Vec<String> = failed.into_iter().chain(left).collect();
            bars.overall.set_message(stand.join(", "));
        }
    }

    fn end_run(&mut self) {
        if let Self::Bars(bars) = self {
            bars.overall.finish_and_clear();
        }
    }
}

/// Interval at which elapsed times are redrawn.
const TICK: Duration = Duration::from_millis(200);

/// Parts that may be long come last, where the edge of the terminal cuts them off.
const IMAGE_BAR: &str = "{spinner} {elapsed:>4} {wide_msg}";
const OVERALL_BAR: &str = "{bar:12} {pos}/{len} {elapsed} {wide_msg}";

struct Bars {
    all: MultiProgress,
    overall: ProgressBar,
    /// Lines of the images that are built or pulled, by name or reference.
    images: BTreeMap<String, ProgressBar>,
    began: Instant,
    /// Time of the last update of the overall bar.
    stood: Instant,
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let overall = all.add(ProgressBar::new(0).with_style(style(OVERALL_BAR)));
        let now = Instant::now();
        Self { all, overall, images: BTreeMap::new(), began: now, stood: now }
    }

    fn begin(&mut self, subject: String) {
        if self.images.contains_key(&subject) {
            return;
        }
        let bar = ProgressBar::new_spinner()
            .with_style(style(IMAGE_BAR))
            .with_message(in_a_bar(&subject));
        let bar = self.all.insert_before(&self.overall, bar);
        bar.enable_steady_tick(TICK);
        self.images.insert(subject, bar);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a literal")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Subscriber as _;
    use crate::report::testing::{catalogue, run_of_all_fates, warning};
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const PLAIN: DisplaySettings = DisplaySettings {
        verbosity: Verbosity::Normal,
        is_terminal: false,
        colours: false,
        ci: None,
    };

    fn told(display: DisplaySettings) -> String {
        told_of(run_of_all_fates(), display)
    }

    fn told_of(run: Vec<(Duration, Event)>, display: DisplaySettings) -> String {
        let paper = Paper::default();
        let screen = Screen::Lines(Writer::on(Box::new(paper.clone()), display.ci.is_some()));
        let mut progress = Progress { display, screen };
        let mut record = Record::new(catalogue(), None);
        for (at, event) in run {
            record.hear(at, &event);
            progress.hear(&event, &record);
        }
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    /// Hostile text, put into every text of every event.
    const HOSTILE: &str = "a\u{1b}]52;c;cm0=\u{7}\u{1b}[31m\r\u{1b}[2K\u{1b}[1Ab\n\
        ::set-output name=x::y\n  ::stop-commands::z\u{2028}##[add-mask]e \
        section_end:1:kiln_bad\r\u{1b}[0K\u{202e}\u{9b}2J";

    fn hostile_run() -> Vec<(Duration, Event)> {
        let name = || ImageName::new("bad");
        let hostile = || HOSTILE.to_owned();
        let mut run = run_of_all_fates();
        for (_, event) in &mut run {
            match event {
                Event::Started { engine, .. } => *engine = hostile(),
                Event::Step { instruction, .. } => *instruction = hostile(),
                Event::Log { line, .. } => *line = hostile(),
                Event::Retrying { error, .. } => *error = hostile(),
                Event::Finished { name, outcome: Outcome::Error(text), .. } => {
                    *text = hostile();
                    *name = ImageName::new("bad");
                }
                _ => {}
            }
        }
        let pushed = Pushed { reference: "h:1/x:1".parse().unwrap(), digest: hostile() };
        let others = [
            Event::Warning(warning(HOSTILE)),
            Event::Silent {
                name: name(),
                silence: Duration::from_mins(1),
                limit: Duration::from_mins(2),
                last: hostile(),
            },
            Event::ListPushed(pushed.clone()),
            Event::Finished {
                name: name(),
                outcome: Outcome::Built { made: Default::default(), pushed: vec![pushed] },
                took: Duration::ZERO,
            },
            Event::Finished {
                name: name(),
                outcome: Outcome::PushError(hostile()),
                took: Duration::ZERO,
            },
        ];
        let at = run.len() - 1;
        run.splice(at..at, others.map(|event| (Duration::from_secs(1), event)));
        run
    }

    /// Returns true if a line is a command of Kiln's own.
    fn is_own_command(line: &str) -> bool {
        ["::group::log of ", "::endgroup::", "::error file=", "::error title=", "\u{1b}[0Ksection_"]
            .iter()
            .any(|start| line.starts_with(start))
    }

    #[test]
    fn hostile_text_becomes_neither_command_nor_control() {
        for verbosity in [Verbosity::Quiet, Verbosity::Normal, Verbosity::Debug] {
            for ci in [Some(CiService::GitHub), Some(CiService::GitLab)] {
                let text = told_of(hostile_run(), DisplaySettings { verbosity, ci, ..PLAIN });
                assert!(text.contains("add-mask]e"), "{text:?}");
                for line in text.split('\n') {
                    let is_own = is_own_command(line);
                    assert!(is_own || !line.contains(char::is_control), "{line:?}");
                    assert!(is_own || !line.trim_start().starts_with("::"), "{line:?}");
                    assert!(!line.contains("##["), "{line:?}");
                    assert!(is_own || !line.contains("section_end:"), "{line:?}");
                    assert!(!line.contains('\u{202e}'), "{line:?}");
                }
            }
        }
    }

    #[test]
    fn every_line_of_a_log_names_its_image() {
        let text = told_of(hostile_run(), DisplaySettings { verbosity: Verbosity::Debug, ..PLAIN });
        let own = ["base", "good", "bad", "below-bad", "warning", "h:1/x:1"];
        for line in text.lines().skip(1) {
            let (start, _) = line.split_once([':', '|']).unwrap();
            let is_own = own.contains(&start.trim()) || line.starts_with("h:1/x:1: ");
            assert!(is_own, "{line:?}");
        }
    }

    #[test]
    fn a_carriage_return_ends_a_line_and_colours_are_left_out() {
        let name = ImageName::new("bad");
        let line = "10%\r\u{1b}[32m20%\u{1b}[0m\r::error file=x::injected\r".to_owned();
        let run = vec![(Duration::ZERO, Event::Log { name, line })];
        let display =
            DisplaySettings { verbosity: Verbosity::Debug, ci: Some(CiService::GitHub), ..PLAIN };
        assert_eq!(told_of(run, display), "bad | 10%\nbad | 20%\nbad | ::error file=x::injected\n");
    }

    #[test]
    fn an_endless_line_is_cut() {
        let name = || ImageName::new("bad");
        let mut run = run_of_all_fates();
        run.truncate(1);
        let line = "a\r".repeat(32 << 20);
        run.push((Duration::ZERO, Event::Log { name: name(), line: line.clone() }));
        let instruction = line.clone();
        run.push((Duration::ZERO, Event::Step { name: name(), number: 1, total: 1, instruction }));
        let mut record = Record::new(catalogue(), None);
        run.iter().for_each(|(at, event)| record.hear(*at, event));
        assert_eq!(
            record.images[&name()].tail[0].len(),
            (4 << 10) + "… (67104768 bytes more)".len()
        );
        let text = told_of(run, DisplaySettings { verbosity: Verbosity::Debug, ..PLAIN });
        assert!(text.len() < 1 << 20, "{}", text.len());
        assert!(text.contains("bytes more)"));
        assert!(in_a_bar(&line).len() < 4 << 10);
    }

    #[test]
    fn remaining_time_excludes_finished_builds() {
        let mut record = Record::new(catalogue(), None);
        for (at, event) in run_of_all_fates() {
            record.hear(at, &event);
            let left = remaining(&record, at).unwrap().as_secs();
            match event {
                Event::Started { .. } => assert_eq!(left, 720),
                // 120 s of 1020 s of builds are done; the estimate of the run is 720 s.
                Event::Built { name, .. } if name.as_str() == "base" => assert_eq!(left, 635),
                Event::Ended { .. } => assert_eq!(left, 0),
                _ => {}
            }
        }
        record.estimate = None;
        assert_eq!(remaining(&record, Duration::ZERO), None);
    }

    #[test]
    fn changes_are_printed_in_lines() {
        insta::assert_snapshot!(told(PLAIN));
    }

    #[test]
    fn quiet_prints_failures_alone() {
        insta::assert_snapshot!(told(DisplaySettings { verbosity: Verbosity::Quiet, ..PLAIN }));
    }

    #[test]
    fn debug_prints_logs_once() {
        insta::assert_snapshot!(told(DisplaySettings { verbosity: Verbosity::Debug, ..PLAIN }));
    }

    #[test]
    fn github_folds_logs_and_shows_failures_in_templates() {
        insta::assert_snapshot!(told(DisplaySettings { ci: Some(CiService::GitHub), ..PLAIN }));
    }

    #[test]
    fn gitlab_folds_logs() {
        let text = told(DisplaySettings { ci: Some(CiService::GitLab), colours: true, ..PLAIN });
        insta::assert_snapshot!(text.replace('\x1b', "ESC").replace('\r', "CR"));
    }
}

//! What is said while a run goes on: bars on a terminal, plain lines elsewhere.
//!
//! On a terminal there is one bar for all images and one line for each that is being built. What
//! stays on the screen is the same in both: a line for each image that ends, and, where it failed,
//! the last lines of its log and the instruction that failed. Where a service for continuous
//! integration keeps the lines, these are put so that it folds logs and shows failures where they
//! come from.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::ci::Ci;
use super::record::{Entry, Fate, Record};
use super::summary::{clock, rough};
use crate::event::{Event, Outcome, Pushed};
use crate::image::ImageName;

/// How many lines of a failed image's log are shown.
const TAIL: usize = 20;

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Only what failed.
    Failures,
    /// What begins and what ends.
    Changes,
    /// And every line of the logs.
    Logs,
}

/// How it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// What is said.
    pub detail: Detail,
    /// Whether lines may be drawn over.
    pub is_terminal: bool,
    /// Whether there are colours.
    pub colours: bool,
    /// Which service keeps what is said, if one does.
    pub ci: Option<Ci>,
}

/// Tells the progress of a run on standard error.
pub struct Progress {
    manner: Manner,
    screen: Screen,
}

impl Progress {
    /// Tells it on standard error.
    pub fn on_stderr(manner: Manner) -> Self {
        let bars = manner.detail == Detail::Changes && manner.is_terminal && manner.ci.is_none();
        let screen =
            if bars { Screen::Bars(Bars::new()) } else { Screen::Lines(Box::new(io::stderr())) };
        Self { manner, screen }
    }

    /// Tells of an event that `record` has taken note of.
    pub fn hear(&mut self, event: &Event, record: &Record) {
        match event {
            Event::Started { to_build, .. } => self.begin_run(to_build.len(), record),
            Event::Warning(text) => self.say(&format!("warning: {text}")),
            Event::Pulling(reference) => self.say_change(&format!("pulling {reference}")),
            Event::BuildStarted { name, attempt } => {
                self.screen.begin(name);
                if !self.screen.has_bars() {
                    let again =
                        if *attempt > 1 { format!(" (try {attempt})") } else { String::new() };
                    self.say_change(&format!("{name}: building{again}"));
                }
            }
            Event::Step { name, number, total, instruction } => {
                self.screen.step(name, &format!("{number}/{total} {}", one_line(instruction)));
            }
            Event::Log { name, line } => {
                if self.manner.detail == Detail::Logs {
                    self.say(&format!("{name} | {line}"));
                }
            }
            Event::Retrying { name, error, pause } => {
                self.say(&format!("{name}: failed, next try in {}: {error}", clock(*pause)));
            }
            Event::Built { .. } => {}
            Event::PushStarted { name } => {
                self.screen.step(name, "pushing");
                if !self.screen.has_bars() {
                    self.say_change(&format!("{name}: pushing"));
                }
            }
            Event::ListPushed(Pushed { reference, digest }) => {
                self.say_change(&format!("{reference}: images joined and pushed as {digest}"));
            }
            Event::Finished { name, outcome, took } => {
                self.screen.end(name);
                self.finished(name, outcome, *took, record);
            }
            Event::Interrupting => self.say("interrupted: giving up what is under way"),
            Event::Ended { .. } => self.screen.end_run(),
        }
        let is_talk = matches!(event, Event::Step { .. } | Event::Log { .. });
        self.screen.stand(record, is_talk);
    }

    fn say(&mut self, line: &str) {
        self.screen.say(line);
    }

    fn say_change(&mut self, line: &str) {
        if self.manner.detail != Detail::Failures {
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
        self.say_change(&format!(
            "{count} to build, the deepest in wave {deepest}{about}, by {}",
            record.engine
        ));
    }

    fn finished(&mut self, name: &ImageName, outcome: &Outcome, took: Duration, record: &Record) {
        match outcome {
            Outcome::Built { pushed, .. } => {
                let built = self.painted(AnsiColor::Green, "built");
                match pushed.first() {
                    None => self.say_change(&format!("{name}: {built} in {}", clock(took))),
                    Some(Pushed { digest, .. }) => self.say_change(&format!(
                        "{name}: {built} and pushed in {} as {digest}",
                        clock(took)
                    )),
                }
            }
            Outcome::ParentError { ancestor } => {
                self.say(&format!("{name}: not built, as {ancestor} failed"));
            }
            Outcome::Interrupted => self.say_change(&format!("{name}: interrupted")),
            Outcome::Error(text) | Outcome::PushError(text) | Outcome::ConnectionError(text) => {
                self.failed(name, outcome.status(), text, took, record);
            }
        }
    }

    fn failed(
        &mut self,
        name: &ImageName,
        status: &str,
        text: &str,
        took: Duration,
        record: &Record,
    ) {
        let Some(entry) = record.images.get(name) else { return };
        self.tell_log(name, entry, record);
        let status = self.painted(AnsiColor::Red, status);
        // No line begins with what somebody else wrote.
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        self.say(&format!("{name}: {status} after {}: {first}", clock(took)));
        lines.for_each(|line| self.say(&format!("{name}: {line}")));
        if let Some(place) = &entry.place {
            self.say(&format!("{name}: at {}:{}", place.template, place.template_line));
            self.say(&format!("{name}: line {} of its Dockerfile: {}", place.line, place.text));
        }
        if let Some(ci) = self.manner.ci {
            ci.annotation(name, text, entry.place.as_ref()).iter().for_each(|line| self.say(line));
        }
    }

    /// Says how the log ended, unless all of it was said.
    fn tell_log(&mut self, name: &ImageName, entry: &Entry, record: &Record) {
        if self.manner.detail == Detail::Logs || entry.tail.is_empty() {
            return;
        }
        let now = record.at + entry.ended.unwrap_or_default();
        let fold = self.manner.ci.map(|ci| ci.fold(name, now));
        let shown = if fold.is_some() { entry.tail.len() } else { TAIL };
        if let Some((beginning, _)) = &fold {
            self.say(beginning);
        }
        for line in entry.tail.iter().skip(entry.tail.len().saturating_sub(shown)) {
            self.say(&format!("{name} | {line}"));
        }
        if let Some((_, end)) = &fold {
            self.say(end);
        }
    }

    fn painted(&self, colour: AnsiColor, word: &str) -> String {
        if !self.manner.colours {
            return word.to_owned();
        }
        let style = Style::new().fg_color(Some(colour.into()));
        format!("{style}{word}{style:#}")
    }
}

/// How long the rest of a run takes, going by what was expected of it; `None` where too little is
/// known.
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

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where it is said.
enum Screen {
    Lines(Box<dyn io::Write>),
    Bars(Bars),
}

impl Screen {
    fn has_bars(&self) -> bool {
        matches!(self, Self::Bars(_))
    }

    /// A closed standard error must not end a build.
    fn say(&mut self, line: &str) {
        match self {
            Self::Lines(out) => drop(writeln!(out, "{line}")),
            Self::Bars(bars) => drop(bars.all.println(line)),
        }
    }

    fn begin_run(&mut self, images: usize) {
        if let Self::Bars(bars) = self {
            bars.overall.set_length(images as u64);
            bars.overall.enable_steady_tick(TICK);
        }
    }

    fn begin(&mut self, name: &ImageName) {
        if let Self::Bars(bars) = self {
            bars.begin(name);
        }
    }

    fn step(&mut self, name: &ImageName, text: &str) {
        if let Self::Bars(bars) = self
            && let Some(bar) = bars.images.get(name)
        {
            bar.set_message(format!("{name} {text}"));
        }
    }

    fn end(&mut self, name: &ImageName) {
        if let Self::Bars(bars) = self {
            if let Some(bar) = bars.images.remove(name) {
                bar.finish_and_clear();
            }
            bars.overall.inc(1);
        }
    }

    /// Shows how far the run is. All images are looked at for it: not for each line of each log, which is
    /// mere talk.
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

/// How often elapsed times move on.
const TICK: Duration = Duration::from_millis(200);

/// Whatever may be long comes last, where it is cut off at the edge.
const IMAGE_BAR: &str = "{spinner} {elapsed:>4} {wide_msg}";
const OVERALL_BAR: &str = "{bar:12} {pos}/{len} {elapsed} {wide_msg}";

struct Bars {
    all: MultiProgress,
    overall: ProgressBar,
    images: BTreeMap<ImageName, ProgressBar>,
    began: Instant,
    /// When it was last shown how far the run is.
    stood: Instant,
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let overall = all.add(ProgressBar::new(0).with_style(style(OVERALL_BAR)));
        let now = Instant::now();
        Self { all, overall, images: BTreeMap::new(), began: now, stood: now }
    }

    fn begin(&mut self, name: &ImageName) {
        if self.images.contains_key(name) {
            return;
        }
        let bar =
            ProgressBar::new_spinner().with_style(style(IMAGE_BAR)).with_message(name.to_string());
        let bar = self.all.insert_before(&self.overall, bar);
        bar.enable_steady_tick(TICK);
        self.images.insert(name.clone(), bar);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a literal")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Subscriber as _;
    use crate::report::testing::{catalogue, run_of_all_fates};
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

    const PLAIN: Manner =
        Manner { detail: Detail::Changes, is_terminal: false, colours: false, ci: None };

    fn told(manner: Manner) -> String {
        let paper = Paper::default();
        let screen = Screen::Lines(Box::new(paper.clone()));
        let mut progress = Progress { manner, screen };
        let mut record = Record::new(catalogue(), None);
        for (at, event) in run_of_all_fates() {
            record.hear(at, &event);
            progress.hear(&event, &record);
        }
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_is_left_is_what_was_expected_and_is_not_done() {
        let mut record = Record::new(catalogue(), None);
        for (at, event) in run_of_all_fates() {
            record.hear(at, &event);
            let left = remaining(&record, at).unwrap().as_secs();
            match event {
                Event::Started { .. } => assert_eq!(left, 720),
                // 120 s of 1020 are done, of which 720 s were expected in all.
                Event::Built { name, .. } if name.as_str() == "base" => assert_eq!(left, 635),
                Event::Ended { .. } => assert_eq!(left, 0),
                _ => {}
            }
        }
        record.estimate = None;
        assert_eq!(remaining(&record, Duration::ZERO), None);
    }

    #[test]
    fn changes_are_told_in_lines() {
        insta::assert_snapshot!(told(PLAIN));
    }

    #[test]
    fn quiet_tells_failures_alone() {
        insta::assert_snapshot!(told(Manner { detail: Detail::Failures, ..PLAIN }));
    }

    #[test]
    fn debug_tells_logs_once() {
        insta::assert_snapshot!(told(Manner { detail: Detail::Logs, ..PLAIN }));
    }

    #[test]
    fn github_folds_logs_and_shows_failures_in_templates() {
        insta::assert_snapshot!(told(Manner { ci: Some(Ci::GitHub), ..PLAIN }));
    }

    #[test]
    fn gitlab_folds_logs() {
        let text = told(Manner { ci: Some(Ci::GitLab), colours: true, ..PLAIN });
        insta::assert_snapshot!(text.replace('\x1b', "ESC").replace('\r', "CR"));
    }
}

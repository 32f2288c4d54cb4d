//! What is said while a run goes on: bars on a terminal, plain lines elsewhere.
//!
//! On a terminal there is one bar for all images and one line for each that is being built. What
//! stays on the screen is the same in both: a line for each image that ends, and, where it failed,
//! the last lines of its log.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Subscriber;
use super::summary::clock;
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

/// Tells the progress of a run on standard error.
pub struct Progress {
    detail: Detail,
    tails: BTreeMap<ImageName, VecDeque<String>>,
    screen: Screen,
}

impl Progress {
    /// A teller fit for what standard error is.
    pub fn on_stderr(detail: Detail) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let bars = detail == Detail::Changes && io::stderr().is_terminal() && !dumb;
        let screen =
            if bars { Screen::Bars(Bars::new()) } else { Screen::Lines(Box::new(io::stderr())) };
        Self { detail, tails: BTreeMap::new(), screen }
    }

    fn say(&mut self, line: &str) {
        self.screen.say(line);
    }

    fn say_change(&mut self, line: &str) {
        if self.detail != Detail::Failures {
            self.say(line);
        }
    }

    fn finished(&mut self, name: &ImageName, outcome: &Outcome, took: Duration) {
        self.screen.end(name);
        let tail = self.tails.remove(name).unwrap_or_default();
        match outcome {
            Outcome::Built { pushed, .. } => match pushed.first() {
                None => self.say_change(&format!("{name}: built in {}", clock(took))),
                Some(Pushed { digest, .. }) => self.say_change(&format!(
                    "{name}: built and pushed in {} as {digest}",
                    clock(took)
                )),
            },
            Outcome::ParentError { ancestor } => {
                self.say(&format!("{name}: not built, as {ancestor} failed"));
            }
            Outcome::Interrupted => self.say_change(&format!("{name}: interrupted")),
            Outcome::Error(text) | Outcome::PushError(text) | Outcome::ConnectionError(text) => {
                if self.detail != Detail::Logs {
                    for line in tail {
                        self.say(&format!("{name} | {line}"));
                    }
                }
                self.say(&format!("{name}: {} after {}: {text}", outcome.status(), clock(took)));
            }
        }
    }

    fn log(&mut self, name: &ImageName, line: &str) {
        let tail = self.tails.entry(name.clone()).or_default();
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line.to_owned());
        if self.detail == Detail::Logs {
            self.say(&format!("{name} | {line}"));
        }
    }
}

impl Subscriber for Progress {
    fn hear(&mut self, _: Duration, event: &Event) {
        match event {
            Event::Started { engine, to_build, estimate, .. } => {
                let waves = to_build.iter().map(|image| image.wave).max().unwrap_or(0);
                let count = to_build.len();
                self.screen.begin_run(count);
                if count > 0 {
                    let about = estimate.map(|estimate| format!(", about {}", rough(estimate)));
                    let about = about.unwrap_or_default();
                    self.say_change(&format!(
                        "{count} to build, the deepest in wave {waves}{about}, by {engine}"
                    ));
                }
            }
            Event::Warning(text) => self.say(&format!("warning: {text}")),
            Event::Pulling(reference) => self.say_change(&format!("pulling {reference}")),
            Event::BuildStarted { name, attempt } => {
                self.tails.remove(name);
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
            Event::Log { name, line } => self.log(name, line),
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
            Event::Finished { name, outcome, took } => self.finished(name, outcome, *took),
            Event::Interrupting => self.say("interrupted: giving up what is under way"),
            Event::Ended { .. } => self.screen.end_run(),
        }
    }
}

/// A duration that is a guess: `40s`, `12m`, `2h 10m`.
fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 99.5 {
        return format!("{}s", seconds.round().max(1.0));
    }
    let minutes = (seconds / 60.0).round();
    if minutes < 60.0 {
        return format!("{minutes}m");
    }
    let tens = (seconds / 600.0).round();
    format!("{}h {:02}m", (tens / 6.0).floor(), tens % 6.0 * 10.0)
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
            bar.set_message(text.to_owned());
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

    fn end_run(&mut self) {
        if let Self::Bars(bars) = self {
            bars.overall.finish_and_clear();
        }
    }
}

/// How often elapsed times move on.
const TICK: Duration = Duration::from_millis(200);

struct Bars {
    all: MultiProgress,
    overall: ProgressBar,
    images: BTreeMap<ImageName, ProgressBar>,
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let overall = all
            .add(ProgressBar::new(0).with_style(style("{bar:24} {pos}/{len} images, {elapsed}")));
        Self { all, overall, images: BTreeMap::new() }
    }

    fn begin(&mut self, name: &ImageName) {
        if self.images.contains_key(name) {
            return;
        }
        let bar = ProgressBar::new_spinner()
            .with_style(style("{spinner} {prefix} {elapsed} {wide_msg}"))
            .with_prefix(name.to_string());
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
    use crate::report::testing::run_of_all_fates;
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

    fn told(detail: Detail) -> String {
        let paper = Paper::default();
        let screen = Screen::Lines(Box::new(paper.clone()));
        let mut progress = Progress { detail, tails: BTreeMap::new(), screen };
        run_of_all_fates().iter().for_each(|(at, event)| progress.hear(*at, event));
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn guesses_are_rough() {
        let table = [
            (0.2, "1s"),
            (89.6, "90s"),
            (100.0, "2m"),
            (724.0, "12m"),
            (3599.0, "1h 00m"),
            (7500.0, "2h 10m"),
        ];
        for (seconds, expected) in table {
            assert_eq!(rough(Duration::from_secs_f64(seconds)), expected);
        }
    }

    #[test]
    fn changes_are_told_in_lines() {
        insta::assert_snapshot!(told(Detail::Changes));
    }

    #[test]
    fn quiet_tells_failures_alone() {
        insta::assert_snapshot!(told(Detail::Failures));
    }

    #[test]
    fn debug_tells_logs_once() {
        insta::assert_snapshot!(told(Detail::Logs));
    }
}

//! JUnit report of a run, which continuous integration servers show.
//!
//! Every image is a test case: an image that was set aside is a skipped case, and a failed case
//! carries the end of the image's log. The standard error of the suite has the warnings.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::plain::plain;
use super::record::{Entry, Fate, Record};
use crate::image::ImageName;
use crate::visible;

/// Returns the report as XML.
pub fn xml(record: &Record) -> String {
    let mut suite = TestSuite::new("images");
    suite.set_time(record.took);
    suite.add_test_cases(record.images.iter().map(|(name, entry)| case(name, entry)));
    if !record.warnings.is_empty() {
        let warnings = record.warnings.iter().map(|it| visible::line(&it.to_string()).into_owned());
        suite.set_system_err(warnings.collect::<Vec<_>>().join("\n"));
    }
    let mut report = Report::new("kiln");
    report.set_time(record.took);
    report.add_test_suite(suite);
    report.to_string().expect("it is written to memory")
}

fn case(name: &ImageName, entry: &Entry) -> TestCase {
    let mut case = TestCase::new(&*visible::line(name.as_str()), status(entry));
    case.set_classname(&*visible::line(name.axis().unwrap_or("image")));
    case.set_time(entry.took());
    let has_failed = matches!(&entry.fate, Fate::Finished(outcome) if !outcome.is_success());
    if has_failed && !entry.tail.is_empty() {
        let tail: Vec<String> = entry.tail.iter().map(|line| plain(line)).collect();
        case.set_system_out(tail.join("\n"));
    }
    case
}

fn status(entry: &Entry) -> TestCaseStatus {
    let reason = entry.fate.reason().unwrap_or_default();
    let mut status = match &entry.fate {
        Fate::Finished(outcome) if outcome.is_success() => return TestCaseStatus::success(),
        Fate::Finished(_) | Fate::Pending => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Fate::Aside { .. } => TestCaseStatus::skipped(),
    };
    status.set_type(entry.fate.status()).set_message(&*visible::block(&reason));
    if let Some(place) = &entry.place {
        let (template, line) = (&place.template, place.template_line);
        let described = format!("{template}:{line}: {}\n{reason}", place.text);
        status.set_description(&*visible::block(&described));
    }
    status
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::Place;
    use super::super::testing::{record_of_all_fates, warning};
    use super::*;
    use crate::event::Outcome;

    #[test]
    fn every_image_is_a_case() {
        insta::assert_snapshot!(xml(&record_of_all_fates()));
    }

    #[test]
    fn warnings_are_in_the_output_of_the_suite() {
        let mut record = record_of_all_fates();
        assert!(!xml(&record).contains("system-err"));
        record.warnings = ["the pull failed: <404>", "a\nb"].map(warning).into();
        let expected =
            "<system-err>debian:1: the pull failed: &lt;404&gt;\ndebian:1: a\\nb</system-err>";
        assert!(xml(&record).contains(expected), "{}", xml(&record));
    }

    #[test]
    fn nothing_in_the_report_is_hidden() {
        let hidden = "nimda\u{202e}\u{9b}\u{200b}\u{fffe}\u{ffff}\u{e0041}";
        let mut record = record_of_all_fates();
        let bad = record.images.get_mut(&ImageName::new("bad")).unwrap();
        bad.tail.push_back(hidden.to_owned());
        record.warnings = [warning(hidden)].into();
        let bad = record.images.get_mut(&ImageName::new("bad")).unwrap();
        bad.fate = Fate::Finished(Outcome::Error(format!("{hidden}\n{hidden}")));
        bad.place = Some(Place {
            template: hidden.to_owned(),
            template_line: 1,
            line: 1,
            text: hidden.to_owned(),
        });
        let text = xml(&record);
        assert!(text.matches(r"nimda\u{202e}").count() >= 6, "{text}");
        assert!(!text.contains(|c| visible::is_hidden(c) && c != '\n'), "{text}");
    }

    #[test]
    fn characters_invalid_in_xml_are_left_out() {
        let mut record = record_of_all_fates();
        let bad = record.images.get_mut(&ImageName::new("bad")).unwrap();
        bad.tail.push_back("\u{1b}[31m]]> <b> & \u{0} end".to_owned());
        let text = xml(&record);
        assert!(text.contains("]]&gt; &lt;b&gt; &amp;  end"), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains('\u{0}'));
    }
}

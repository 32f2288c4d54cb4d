//! Text of the page: the frame, the style and the script, with the data embedded as JSON.

use serde_json::{Value, json};

use super::data::data;
use crate::report::record::Record;
use crate::visible;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Returns the HTML page about a run.
pub fn page(record: &Record) -> String {
    let data = embedded(&all_visible(json!(data(record))));
    fill(PAGE, &[("%style%", STYLE), ("%data%", &data), ("%script%", SCRIPT)])
}

/// Replaces the marks in `page` by the parts. The marks must be in this order; marks within the
/// parts stay text.
fn fill(page: &str, parts: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = page;
    for (mark, part) in parts {
        let (before, after) = rest.split_once(mark).expect("the page has this mark");
        filled.push_str(before);
        filled.push_str(part);
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// Returns JSON that is safe in a script element: nothing in it ends the element, begins a comment,
/// or is a line end to a JavaScript parser.
fn embedded(data: &Value) -> String {
    let text = data.to_string();
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                safe.push_str(&format!("\\u{:04x}", char as u32));
            }
            _ => safe.push(char),
        }
    }
    safe
}

/// Returns the data with the hidden characters of every text escaped.
fn all_visible(data: Value) -> Value {
    match data {
        Value::String(text) => json!(visible::block(&text)),
        Value::Array(all) => all.into_iter().map(all_visible).collect(),
        Value::Object(pairs) => {
            let shown = |(key, value): (String, Value)| {
                (visible::line(&key).into_owned(), all_visible(value))
            };
            Value::Object(pairs.into_iter().map(shown).collect())
        }
        data => data,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::{Event, Outcome};
    use crate::image::ImageName;
    use crate::report::Subscriber as _;
    use crate::report::record::Fate;
    use crate::report::testing::{catalogue, record_of_all_fates, warning};

    #[test]
    fn page_data_has_every_outcome() {
        let data = json!(data(&record_of_all_fates()));
        insta::assert_snapshot!(serde_json::to_string_pretty(&data).unwrap());
    }

    /// Returns the JSON embedded in the page.
    fn data_in(page: &str) -> &str {
        let (_, rest) = page.split_once("id=\"data\">").unwrap();
        rest.split_once("</script>").unwrap().0
    }

    #[test]
    fn hostile_text_stays_text() {
        let hostile = [
            "</script><script>alert(1)",
            "<!-- <script>",
            "a\u{2028}b\u{2029}c",
            "]]> &lt; \" ' \\ \u{0}",
            "%script% %data% {{ }}",
            "\u{1b}[31m<img src=x onerror=alert(1)>",
        ];
        let mut record = record_of_all_fates();
        let name = ImageName::new("bad");
        for line in hostile {
            let event = Event::Log { name: name.clone(), line: line.to_owned() };
            record.hear(Duration::ZERO, &event);
            record.hear(Duration::ZERO, &Event::Warning(warning(line)));
        }
        let text = hostile.join("\n");
        record.catalogue.images.get_mut(&name).unwrap().dockerfile = text.as_str().into();
        let page = page(&record);
        let data = data_in(&page);
        for char in ['<', '>', '&', '\u{2028}', '\u{2029}'] {
            assert!(!data.contains(char), "{char:?}");
        }
        let read: Value = serde_json::from_str(data).unwrap();
        let bad = read["images"].as_array().unwrap().iter().find(|i| i["name"] == "bad").unwrap();
        let tail: Vec<_> = bad["tail"].as_array().unwrap().iter().skip(2).collect();
        assert_eq!(tail[0], hostile[0]);
        assert_eq!(tail[2], "a\\u{2028}b\\u{2029}c");
        assert_eq!(tail[5], "<img src=x onerror=alert(1)>");
        assert_eq!(bad["dockerfile"], *visible::block(&text));
        assert_eq!(read["run"]["warnings"][1], warning(hostile[1]).to_string());
        // The page around the data does not depend on the data.
        let bare = fill(PAGE, &[("%style%", STYLE), ("%data%", ""), ("%script%", SCRIPT)]);
        assert_eq!(page.replacen(data, "", 1), bare);
    }

    #[test]
    fn nothing_on_the_page_is_hidden() {
        let hidden = "nimda\u{202e}\u{2066}\u{9b}\u{200b}\u{feff}\u{e0041}";
        let mut record = record_of_all_fates();
        let name = ImageName::new("bad");
        record.hear(Duration::ZERO, &Event::Warning(warning(hidden)));
        record.hear(Duration::ZERO, &Event::Log { name: name.clone(), line: hidden.to_owned() });
        record.engine = hidden.to_owned();
        let facts = record.catalogue.images.get_mut(&name).unwrap();
        facts.template = hidden.to_owned();
        facts.externals.push(hidden.to_owned());
        facts.dockerfile = format!("FROM x\n# {hidden}\n").into();
        let labels = [(hidden.to_owned(), hidden.to_owned())].into();
        let made = crate::event::BuiltImage { labels, ..Default::default() };
        record.images.get_mut(&ImageName::new("good")).unwrap().fate =
            Fate::Finished(Outcome::Built { made, pushed: Vec::new() });
        let page = page(&record);
        assert!(page.matches(r"nimda\\u{202e}").count() >= 7, "{page}");
        assert!(!data_in(&page).contains(visible::is_hidden));
    }

    #[test]
    fn the_page_asks_for_nothing_elsewhere() {
        let page = page(&Record::new(catalogue(), None));
        for word in ["http:", "https:", "src=", "@import", "url(", "innerHTML", "fetch("] {
            let without = page.replace("http://www.w3.org/2000/svg", "");
            assert!(!without.contains(word), "{word}");
        }
        assert!(page.contains("Content-Security-Policy"));
    }

    #[test]
    fn estimates_are_not_on_the_page() {
        let mut record = record_of_all_fates();
        let expected = |record: &Record| {
            let images = json!(data(record))["images"].clone();
            images
                .as_array()
                .unwrap()
                .iter()
                .filter(|image| image["expected"] != json!(null))
                .count()
        };
        assert_eq!(expected(&record), 4);
        record.estimate = None;
        assert_eq!(expected(&record), 0);
    }

    #[test]
    fn page_shows_an_empty_run() {
        let data = json!(data(&Record::new(catalogue(), None)));
        assert_eq!(data["images"], json!([]));
        assert_eq!(data["critical"], json!([]));
        assert_eq!(data["bands"], json!([]));
    }
}

//! The cases: those of corpus.toml, and those that it says how to generate.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// Files to read together, beside what the command line gives.
pub struct Case {
    pub name: String,
    pub files: Vec<Vec<u8>>,
    /// Values by the option's name.
    pub flags: BTreeMap<String, Vec<String>>,
}

/// Cases in which Kiln differs, and is meant to.
pub struct Difference {
    pub why: String,
    /// Difference of Kiln.
    pub kiln: Way,
    pub cases: Vec<Case>,
}

/// Kind of a difference between Kiln and oslo.config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Kiln refuses the input, and oslo.config reads it.
    Refuses,
    /// Kiln reads the input, and oslo.config refuses it.
    Reads,
    /// Both read the input, with different results.
    ReadsOtherwise,
}

/// All cases.
pub struct Corpus {
    /// Files that need not make sense as options: they are only taken apart.
    pub parsed: Vec<Case>,
    /// Files of options.
    pub settled: Vec<Case>,
    pub on_purpose: Vec<Difference>,
}

impl Corpus {
    /// Reads corpus.toml.
    pub fn read() -> Self {
        let written: Written = toml::from_str(include_str!("corpus.toml")).expect("a corpus");
        let parsed = written.parsed.into_iter().map(Case::of_texts);
        let bytes = written.bytes.into_iter().map(|(name, digits)| Case::of_bytes(name, &digits));
        let settled = written.settled.into_iter().map(Case::of_texts);
        let command_line = written.command_line.into_iter().map(Call::into_case);
        let on_purpose = written.on_purpose.into_iter().map(|difference| Difference {
            why: difference.why,
            kiln: difference.kiln,
            cases: difference.cases.into_iter().map(Case::of_texts).collect(),
        });
        let [more_parsed, more_settled] = [written.generated.parsed, written.generated.settled]
            .map(|generators| generators.into_iter().flat_map(Generator::cases));
        Self {
            parsed: without_repetitions(parsed.chain(bytes).chain(more_parsed)),
            settled: without_repetitions(settled.chain(command_line).chain(more_settled)),
            on_purpose: on_purpose.collect(),
        }
    }
}

/// The first of all cases that are the same but for their names.
fn without_repetitions(cases: impl Iterator<Item = Case>) -> Vec<Case> {
    let mut seen = BTreeSet::new();
    cases.filter(|case| seen.insert((case.files.clone(), case.flags.clone()))).collect()
}

impl Case {
    fn of_texts((name, texts): (String, Texts)) -> Self {
        let files = match texts {
            Texts::One(text) => vec![text.into_bytes()],
            Texts::Several(texts) => texts.into_iter().map(String::into_bytes).collect(),
        };
        Self { name, files, flags: BTreeMap::new() }
    }

    fn of_bytes(name: String, digits: &str) -> Self {
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
        let file = (0..digits.len()).step_by(2).map(byte).collect();
        Self { name, files: vec![file], flags: BTreeMap::new() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    parsed: BTreeMap<String, Texts>,
    bytes: BTreeMap<String, String>,
    settled: BTreeMap<String, Texts>,
    generated: Generators,
    command_line: Vec<Call>,
    on_purpose: Vec<WrittenDifference>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDifference {
    why: String,
    kiln: Way,
    cases: BTreeMap<String, Texts>,
}

/// A case with a command line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    name: String,
    #[serde(default)]
    file: String,
    flags: BTreeMap<String, Vec<String>>,
}

impl Call {
    fn into_case(self) -> Case {
        let name = format!("command line: {}", self.name);
        Case { name, files: vec![self.file.into_bytes()], flags: self.flags }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Generators {
    parsed: Vec<Generator>,
    settled: Vec<Generator>,
}

/// Makes a case of every way to put one part of each list after another.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Generator {
    name: String,
    /// Text in which `{}` stands for the joined parts.
    text: String,
    parts: Vec<Vec<String>>,
    /// Number of times that the lists are repeated.
    #[serde(default = "once")]
    times: usize,
}

fn once() -> usize {
    1
}

impl Generator {
    fn cases(self) -> impl Iterator<Item = Case> {
        let Self { name, text, parts, times } = self;
        let lists = std::iter::repeat_n(&parts, times).flatten();
        let start = vec![String::new()];
        let all = lists.fold(start, |begun, list| {
            let longer = |begun: &String| list.iter().map(|part| begun.clone() + part).collect();
            begun.iter().flat_map::<Vec<String>, _>(longer).collect()
        });
        all.into_iter().map(move |made| {
            let file = text.replace("{}", &made).into_bytes();
            Case { name: format!("{name}: {made:?}"), files: vec![file], flags: BTreeMap::new() }
        })
    }
}

#[test]
fn every_way_to_put_parts_together_is_a_case() {
    let parts = [["a", "b"], ["1", "2"]].map(|list| list.map(str::to_owned).to_vec()).to_vec();
    let generator =
        |times| Generator { name: "n".into(), text: "<{}>".into(), parts: parts.clone(), times };
    let texts = |times| -> Vec<String> {
        generator(times)
            .cases()
            .map(|case| String::from_utf8(case.files[0].clone()).expect("UTF-8"))
            .collect()
    };
    assert_eq!(texts(1), ["<a1>", "<a2>", "<b1>", "<b2>"]);
    assert_eq!(texts(2).len(), 16);
    assert_eq!(texts(2)[1], "<a1a2>");
    assert_eq!(generator(1).cases().next().expect("a case").name, "n: \"a1\"");
}

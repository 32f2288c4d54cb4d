//! The comparison of what two programs came to: pure, so that it can be trusted without either.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use similar::TextDiff;

/// Something in a working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    File(Vec<u8>),
    Folder,
    /// Neither of the two, such as a symbolic link: a build context should have none.
    Other,
}

/// Result of a case: the exit code, and files by their path. Output that is compared is one of the
/// files.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub code: i32,
    /// Messages of the program: shown, but not compared.
    pub told: String,
    pub images: BTreeSet<String>,
    pub entries: BTreeMap<String, Entry>,
}

impl Outcome {
    /// Returns the result with the files below the folders of images, which are those with a
    /// Dockerfile. No image contains the other files: macros, and folders that only group images.
    pub fn of_tree(code: i32, mut entries: BTreeMap<String, Entry>) -> Self {
        let images: BTreeSet<String> = entries
            .keys()
            .filter_map(|path| Some(path.strip_suffix("/Dockerfile")?.to_owned()))
            .collect();
        entries.retain(|path, _| {
            path.match_indices('/').any(|(end, _)| images.contains(&path[..end]))
        });
        Self { code, images, entries, ..Self::default() }
    }

    /// A text that was printed.
    pub fn of_text(code: i32, name: &str, text: String) -> Self {
        let entries = BTreeMap::from([(name.to_owned(), Entry::File(text.into_bytes()))]);
        Self { code, entries, ..Self::default() }
    }

    /// Only the exit code, and what was said.
    pub fn of_failure(code: i32, told: String) -> Self {
        Self { code, told, ..Self::default() }
    }

    /// Returns the number of files.
    pub fn files(&self) -> usize {
        self.entries.values().filter(|entry| matches!(entry, Entry::File(_))).count()
    }

    /// The image whose folder a path is in.
    fn image_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.match_indices('/')
            .map(|(end, _)| &path[..end])
            .find(|start| self.images.contains(*start))
    }
}

/// Something that is not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The path of a file, or of the folder of an image.
    pub path: String,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Code { expected: i32, actual: i32, told: String },
    MissingImage,
    ExtraImage,
    Missing,
    Extra,
    Changed { expected: Entry, actual: Entry },
}

/// Everything that is not the same. Of an image that only one side has, the files are not told
/// one by one.
pub fn compare(expected: &Outcome, actual: &Outcome) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut add = |path: &str, kind| found.push(Difference { path: path.to_owned(), kind });
    if expected.code != actual.code {
        let told = format!("{}{}", expected.told, actual.told);
        add("exit code", Kind::Code { expected: expected.code, actual: actual.code, told });
    }
    for image in expected.images.difference(&actual.images) {
        add(image, Kind::MissingImage);
    }
    for image in actual.images.difference(&expected.images) {
        add(image, Kind::ExtraImage);
    }
    let of_one_side = |path: &str| {
        [expected, actual]
            .iter()
            .filter_map(|side| side.image_of(path))
            .any(|image| !(expected.images.contains(image) && actual.images.contains(image)))
    };
    let paths: BTreeSet<&String> = expected.entries.keys().chain(actual.entries.keys()).collect();
    for path in paths.into_iter().filter(|path| !of_one_side(path)) {
        match (expected.entries.get(path), actual.entries.get(path)) {
            (Some(_), None) => add(path, Kind::Missing),
            (None, Some(_)) => add(path, Kind::Extra),
            (Some(expected), Some(actual)) if expected != actual => {
                let (expected, actual) = (expected.clone(), actual.clone());
                add(path, Kind::Changed { expected, actual });
            }
            _ => {}
        }
    }
    found
}

/// Number of lines of a difference that are shown.
const LINES: usize = 40;

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.kind {
            Kind::Code { expected, actual, told } => {
                writeln!(f, "the exit code is {actual}, and kolla-build's {expected}")?;
                let lines: Vec<&str> = told.lines().collect();
                // A traceback has its reason at its end.
                let last = lines.len().saturating_sub(LINES);
                lines[last..].iter().try_for_each(|line| writeln!(f, "  {line}"))
            }
            Kind::MissingImage => writeln!(f, "there is no image {path}"),
            Kind::ExtraImage => writeln!(f, "kolla-build has no image {path}"),
            Kind::Missing => writeln!(f, "there is no {path}"),
            Kind::Extra => writeln!(f, "kolla-build has no {path}"),
            Kind::Changed { expected: Entry::File(expected), actual: Entry::File(actual) } => {
                let [expected, actual] =
                    [expected, actual].map(|text| String::from_utf8_lossy(text));
                let diff = TextDiff::from_lines(&expected, &actual);
                let shown =
                    diff.unified_diff().header(&format!("kolla-build: {path}"), "kiln").to_string();
                for line in shown.lines().take(LINES) {
                    writeln!(f, "{line}")?;
                }
                match shown.lines().count().saturating_sub(LINES) {
                    0 => Ok(()),
                    more => writeln!(f, "... and {more} more lines"),
                }
            }
            Kind::Changed { expected, actual } => {
                let name = |entry: &Entry| match entry {
                    Entry::File(_) => "a file",
                    Entry::Folder => "a folder",
                    Entry::Other => "neither file nor folder",
                };
                writeln!(f, "{path} is {}, and kolla-build's {}", name(actual), name(expected))
            }
        }
    }
}

/// Writes the same for every date on which a run was under way, where kolla-build puts today's:
/// the label of a Dockerfile.
pub fn without_dates(entries: &mut BTreeMap<String, Entry>, dates: &BTreeSet<String>) {
    let dockerfiles = entries.iter_mut().filter(|(path, _)| path.ends_with("/Dockerfile"));
    for (_, entry) in dockerfiles {
        let Entry::File(bytes) = entry else { continue };
        let Ok(mut text) = String::from_utf8(std::mem::take(bytes)) else {
            unreachable!("kolla-build writes UTF-8 and we compare it as it is: {entry:?}");
        };
        for date in dates {
            text = text.replace(&format!("build-date=\"{date}\""), "build-date=\"today\"");
        }
        *bytes = text.into_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Outcome {
        let entry = |&(path, text): &(&str, &str)| {
            let entry = match text {
                "<folder>" => Entry::Folder,
                "<link>" => Entry::Other,
                _ => Entry::File(text.as_bytes().to_vec()),
            };
            (path.to_owned(), entry)
        };
        Outcome::of_tree(0, files.iter().map(entry).collect())
    }

    const TREE: &[(&str, &str)] = &[
        ("macros.j2", "macro"),
        ("base/Dockerfile", "FROM x\nRUN a\n"),
        ("base/patches", "<folder>"),
        ("nova/nova-api/Dockerfile", "FROM base"),
        ("nova/nova-api/etc/nova.conf", "debug"),
    ];

    /// The tree with one path gone, added or replaced.
    fn with(path: &str, text: Option<&str>) -> Outcome {
        let mut files: Vec<(&str, &str)> =
            TREE.iter().filter(|(name, _)| *name != path).copied().collect();
        files.extend(text.map(|text| (path, text)));
        tree(&files)
    }

    fn found(actual: &Outcome) -> Vec<(String, String)> {
        let found = compare(&tree(TREE), actual);
        found
            .into_iter()
            .map(|difference| (difference.path.clone(), difference.to_string()))
            .collect()
    }

    #[track_caller]
    fn finds(actual: &Outcome, path: &str, told: &str) {
        assert_eq!(found(actual), [(path.to_owned(), told.to_owned())]);
    }

    #[test]
    fn equal_results_have_no_difference() {
        assert_eq!(found(&tree(TREE)), []);
        assert_eq!(tree(TREE).files(), 3);
        assert_eq!(tree(TREE).images, ["base", "nova/nova-api"].map(str::to_owned).into());
    }

    #[test]
    fn files_outside_of_images_are_not_compared() {
        assert_eq!(found(&with("macros.j2", Some("other"))), []);
        assert_eq!(found(&with("macros.j2", None)), []);
        assert_eq!(found(&with("nova/README", Some("read"))), []);
        assert_eq!(found(&with("nova/nova-compute", Some("<folder>"))), []);
    }

    #[test]
    fn a_missing_file_is_found() {
        let path = "nova/nova-api/etc/nova.conf";
        finds(&with(path, None), path, "there is no nova/nova-api/etc/nova.conf\n");
        finds(&with("base/patches", None), "base/patches", "there is no base/patches\n");
    }

    #[test]
    fn an_extra_file_is_found() {
        let path = "nova/nova-api/notes";
        finds(&with(path, Some("")), path, "kolla-build has no nova/nova-api/notes\n");
    }

    #[test]
    fn image_of_one_side_is_reported_once() {
        let path = "nova/nova-api/Dockerfile";
        finds(&with(path, None), "nova/nova-api", "there is no image nova/nova-api\n");
        let path = "cron/Dockerfile";
        finds(&with(path, Some("FROM base")), "cron", "kolla-build has no image cron\n");
    }

    #[test]
    fn one_byte_is_found() {
        let expected = "--- kolla-build: base/Dockerfile\n+++ kiln\n@@ -1,2 +1,2 @@\n FROM x\n-RUN a\n+RUN b\n";
        finds(&with("base/Dockerfile", Some("FROM x\nRUN b\n")), "base/Dockerfile", expected);
        let path = "base/Dockerfile";
        assert_eq!(found(&with(path, Some("FROM x\nRUN a"))).len(), 1, "the last line break");
        assert_eq!(found(&with(path, Some("FROM x\r\nRUN a\n"))).len(), 1, "another line break");
    }

    #[test]
    fn another_kind_of_entry_is_found() {
        let path = "base/patches";
        let told = "base/patches is a file, and kolla-build's a folder\n";
        finds(&with(path, Some("")), path, told);
        let path = "nova/nova-api/etc/nova.conf";
        let told =
            "nova/nova-api/etc/nova.conf is neither file nor folder, and kolla-build's a file\n";
        finds(&with(path, Some("<link>")), path, told);
    }

    #[test]
    fn another_exit_code_is_found() {
        let told = "the exit code is 1, and kolla-build's 0\n  no such thing\n";
        let failed = Outcome { told: "no such thing\n".to_owned(), code: 1, ..tree(TREE) };
        finds(&failed, "exit code", told);
    }

    #[test]
    fn a_long_difference_is_cut() {
        let lines = |word: &str| format!("{word}\n").repeat(100);
        let [expected, actual] =
            [lines("a"), lines("b")].map(|text| Outcome::of_text(0, "list", text));
        let told = compare(&expected, &actual)[0].to_string();
        assert!(told.ends_with("\n... and 163 more lines\n"), "{told}");
        assert_eq!(told.lines().count(), LINES + 1);
    }

    #[test]
    fn only_dates_of_the_run_are_left_out() {
        let text = |date: &str, name: &str| {
            let label = format!("FROM x\nLABEL build-date=\"{date}\"\nRUN date {date}\n");
            let mut entries = BTreeMap::from([(name.to_owned(), Entry::File(label.into_bytes()))]);
            without_dates(&mut entries, &["20240101".to_owned(), "20240102".to_owned()].into());
            entries
        };
        let today = "FROM x\nLABEL build-date=\"today\"\nRUN date 20240102\n";
        let normalised = text("20240102", "a/Dockerfile");
        assert_eq!(normalised["a/Dockerfile"], Entry::File(today.as_bytes().to_vec()));
        assert_ne!(text("20240103", "a/Dockerfile"), normalised);
        assert_ne!(
            text("20240102", "a/Dockerfile.j2")["a/Dockerfile.j2"],
            normalised["a/Dockerfile"]
        );
    }
}

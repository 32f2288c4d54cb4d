//! Results of the matrix, as a table in docs/kolla.md.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Compared;

const BEGIN: &str = "<!-- conformance: written by make conformance -->";
const END: &str = "<!-- end of conformance -->";

/// A release in the table.
pub struct Row {
    version: String,
    why: String,
    cases: usize,
    files: usize,
    different: usize,
    /// Number of differences by cause.
    causes: BTreeMap<String, usize>,
    /// Number of differences without a known cause.
    pub unknown: usize,
}

impl Row {
    /// Adds up the cases of a release. `cause` knows the differences of a case by their path.
    pub fn of<'a>(
        version: &str,
        why: &str,
        compared: &[Compared],
        cause: impl Fn(&str, &str) -> Option<&'a str>,
    ) -> Self {
        let mut causes = BTreeMap::new();
        let mut unknown = 0;
        for of in compared {
            for difference in &of.differences {
                match cause(&of.case.name, &difference.path) {
                    Some(cause) => *causes.entry(cause.to_owned()).or_default() += 1,
                    None => unknown += 1,
                }
            }
        }
        Self {
            version: version.to_owned(),
            why: why.to_owned(),
            cases: compared.len(),
            files: compared.iter().map(|of| of.files).sum(),
            different: compared.iter().map(|of| of.differences.len()).sum(),
            causes,
            unknown,
        }
    }

    fn told_causes(&self) -> String {
        let known = self.causes.iter().map(|(cause, count)| format!("{count}: {cause}"));
        let unknown = (self.unknown > 0).then(|| format!("{}: not known", self.unknown));
        known.chain(unknown).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, cases, files, different, .. } = self;
        write!(f, "kolla {version}: {cases} cases, {files} files, {different} differences")
    }
}

/// The whole table, and the document that it is for.
pub struct Report {
    document: PathBuf,
    pub rows: Vec<Row>,
}

impl Report {
    /// An empty one. That the document has its marks had better be known before the long run.
    pub fn of(document: &Path) -> Self {
        let report = Self { document: document.to_owned(), rows: Vec::new() };
        report.filled_in();
        report
    }

    /// Puts the table between the marks of the document.
    pub fn write(&self) {
        fs::write(&self.document, self.filled_in()).expect("a document that can be written");
    }

    fn filled_in(&self) -> String {
        let name = self.document.display();
        let text = fs::read_to_string(&self.document).unwrap_or_else(|e| panic!("{name}: {e}"));
        let text = between_marks(&text, &self.to_string());
        text.unwrap_or_else(|| panic!("{name}: needs the lines {BEGIN} and {END}"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| Kolla | among the others for | cases | files | the same | different | cause |"
        )?;
        writeln!(f, "|---|---|--:|--:|--:|--:|---|")?;
        let mut line = |version: &str, why: &str, counts: [usize; 3], causes: &str| {
            let [cases, files, different] = counts;
            let same = files.saturating_sub(different);
            writeln!(
                f,
                "| {version} | {why} | {cases} | {files} | {same} | {different} | {causes} |"
            )
        };
        for row in &self.rows {
            let counts = [row.cases, row.files, row.different];
            line(&row.version, &row.why, counts, &row.told_causes())?;
        }
        let total = |count: fn(&Row) -> usize| self.rows.iter().map(count).sum();
        let counts = [total(|row| row.cases), total(|row| row.files), total(|row| row.different)];
        line("all", "", counts, "")
    }
}

/// A document with other text between its marks; none without marks.
fn between_marks(document: &str, text: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{text}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_goes_between_its_marks() {
        let row = Row {
            version: "9.4.0".to_owned(),
            why: "the newest 9".to_owned(),
            cases: 2,
            files: 100,
            different: 3,
            causes: [("Jinja2 sorts otherwise".to_owned(), 2)].into(),
            unknown: 1,
        };
        let report = Report { document: PathBuf::new(), rows: vec![row] }.to_string();
        let document = format!("# Kolla\n\n{BEGIN}\nold\n{END}\nThe end.\n");
        let written = between_marks(&document, &report).unwrap();
        let expected = "\
| Kolla | among the others for | cases | files | the same | different | cause |
|---|---|--:|--:|--:|--:|---|
| 9.4.0 | the newest 9 | 2 | 100 | 97 | 3 | 2: Jinja2 sorts otherwise; 1: not known |
| all |  | 2 | 100 | 97 | 3 |  |
";
        assert_eq!(written, format!("# Kolla\n\n{BEGIN}\n\n{expected}\n{END}\nThe end.\n"));
        assert_eq!(between_marks(&written, &report).unwrap(), written);
        assert_eq!(between_marks("# Kolla\n", &report), None);
    }
}

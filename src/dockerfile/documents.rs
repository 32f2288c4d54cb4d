//! Here-documents: `RUN <<EOF` and the like, found and named as BuildKit does.

use super::budget::Budget;
use super::flags::flags;
use super::instruction::Instruction;
use super::lexer::Lexer;
use super::logical_line::{BLANKS, Logical};

/// Mark that opens a here-document.
const OPENS_DOCUMENT: &str = "<<";

/// Instructions that may have here-documents.
const WITH_DOCUMENTS: [&str; 3] = ["RUN", "COPY", "ADD"];

/// One here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    /// Line that ends it, without quotes and escapes.
    pub(super) name: String,
    /// True if tabs at the start of its lines are removed.
    pub(super) strips_tabs: bool,
}

/// Returns the here-documents that an instruction opens, in order.
///
/// # Errors
/// When the name of one is not a valid word; the message is returned.
pub(super) fn documents(instruction: &Instruction<'_>) -> Result<Vec<Document>, String> {
    let line = instruction.line();
    if !line.text.contains(OPENS_DOCUMENT) || !may_open(instruction, &line) {
        return Ok(Vec::new());
    }
    let lexer = Lexer { raw_quotes: true, raw_escapes: true, ..bare() };
    // A line that is no valid list of words has no here-documents.
    let words = lexer.split(&line.text, &|_| None, &mut Budget::new()).unwrap_or_default();
    let found = words.iter().map(|word| document(word));
    found.filter_map(Result::transpose).collect()
}

/// Returns the lexer of here-documents, which always has the backslash and no variables.
fn bare() -> Lexer {
    Lexer { keeps_unset: true, ..Lexer::new('\\') }
}

fn may_open(instruction: &Instruction<'_>, line: &Logical<'_>) -> bool {
    let mut keyword = instruction.keyword();
    let mut arguments = instruction.flags_of(line).end;
    if instruction.is("ONBUILD") {
        let rest = &line.text[arguments..];
        keyword = &rest[..rest.find(BLANKS).unwrap_or(rest.len())];
        arguments = flags(line, arguments + keyword.len(), instruction.escape).end;
    }
    let arguments = &line.text[arguments..];
    WITH_DOCUMENTS.iter().any(|one| keyword.eq_ignore_ascii_case(one)) && !is_list(arguments)
}

/// Returns true if the arguments are a list in JSON.
fn is_list(arguments: &str) -> bool {
    let arguments = arguments.trim();
    arguments.starts_with('[') && serde_json::from_str::<Vec<String>>(arguments).is_ok()
}

/// Reads a word as the opening of a here-document: digits for a file descriptor, `<<`, an optional
/// `-`, white space and the name.
fn document(word: &str) -> Result<Option<Document>, String> {
    let opening = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(after) = opening.strip_prefix(OPENS_DOCUMENT) else { return Ok(None) };
    let (strips_tabs, name) = match after.strip_prefix('-') {
        Some(name) => (true, name),
        None => (false, after),
    };
    let name = name.trim_start_matches(['\t', '\n', '\x0c', '\r', ' ']);
    if name.is_empty() || name.contains('<') {
        return Ok(None);
    }
    let mut words = bare().split(name, &|_| None, &mut Budget::new()).map_err(|error| {
        format!("the name of the here-document '{name}' is not valid: {}", error.0)
    })?;
    match (words.pop(), words.is_empty()) {
        (Some(name), true) => Ok(Some(Document { name, strips_tabs })),
        _ => Ok(None),
    }
}

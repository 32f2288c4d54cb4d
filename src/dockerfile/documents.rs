//! Here-documents: `RUN <<EOF` and the like, found and named as BuildKit does.

use super::budget::Budget;
use super::flags::flags;
use super::here_document::{OPENS_DOCUMENT, Opening, bare_lexer, opening};
use super::instruction::Instruction;
use super::lexer::Lexer;
use super::logical_line::{BLANKS, Logical};

/// Instructions that may have here-documents.
const WITH_DOCUMENTS: [&str; 3] = ["RUN", "COPY", "ADD"];

/// Returns the here-documents that an instruction opens, in order.
///
/// # Errors
/// When the name of one is not a valid word; the message is returned.
pub(super) fn documents(instruction: &Instruction<'_>) -> Result<Vec<Opening>, String> {
    let line = instruction.line();
    if !line.text.contains(OPENS_DOCUMENT) || !may_open(instruction, &line) {
        return Ok(Vec::new());
    }
    let lexer = Lexer { raw_quotes: true, raw_escapes: true, ..bare_lexer() };
    // A line that is no valid list of words has no here-documents.
    let words = lexer.split(&line.text, &|_| None, &mut Budget::new()).unwrap_or_default();
    let found = words.iter().map(|word| opening(word));
    found.filter_map(Result::transpose).collect()
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

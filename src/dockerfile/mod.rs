//! Finds the images that a Dockerfile refers to, with their places in the text.
//!
//! Parsing is a pure function from the text, the build arguments and the platforms to stages and
//! references. It is a port of the parts of BuildKit's frontend that decide on these: the structure
//! of lines, parser directives, here-documents, the lexer of shell words, `ARG` before the first
//! `FROM`, the automatic arguments, stages and their edges. Everything else about an instruction is
//! left to the engine. The parsers on crates.io either resolve no arguments or do not know
//! `RUN --mount` and here-documents.

mod budget;
mod build_arguments;
mod directives;
mod documents;
mod flags;
mod here_document;
mod insertion;
mod instruction;
mod lexer;
mod lines;
mod logical_line;
mod mount;
mod parse_error;
mod parser;
mod pattern;
mod stage_resolution;
mod stages;

pub use here_document::HereDocument;
pub use insertion::{insert, refreshed};
pub use instruction::Instruction;
pub use lines::{instructions, line_of, syntax};
pub use parser::parse;
pub use stages::{Dockerfile, ReadingInput, Reference, StageBase, Via};

//! Finds the images that a Dockerfile refers to, with their places in the text.
//!
//! Parsing is a pure function from the text and the build arguments to stages and references. It
//! knows only the syntax that affects references (continuation lines, comments, here-documents, the
//! `escape` directive, `ARG` before the first `FROM`, stage names); everything else about an
//! instruction is left to the engine. The parser is written by hand because those on crates.io
//! either resolve no arguments or do not know `RUN --mount` and here-documents. It follows the
//! Dockerfile reference of the Docker project.

mod insertion;
mod instruction;
mod parser;
mod stages;

pub use insertion::insert;
pub use parser::{Instruction, instructions, line_of, parse};
pub use stages::{Dockerfile, ReadingInput, Reference, Via};

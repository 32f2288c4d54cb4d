//! Patterns that select images: regular expressions that are searched in image names.
//!
//! Users have patterns of two kinds: in the syntax of the `regex` crate, and in that of Python's `re`,
//! which kolla-build uses. A pattern that the `regex` crate accepts is matched by it, in linear time.
//! Any other is read as one of Python's. If it has look-around, back-references, conditionals, or
//! atomic or possessive repetitions, a backtracking engine matches it. Its steps are limited, and a
//! search that reaches the limit is an error: as a result, it would select the wrong images.

mod python_syntax;
mod search;

pub use search::NamePattern;

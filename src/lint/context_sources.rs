//! Files of an image's folder that its instructions refer to.
//!
//! `COPY` and `ADD` name them, and a bind mount without another source makes them readable. A path is
//! below the folder however it is written: `./a`, `/a` and `../a` are the same.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use crate::dockerfile::Instruction;

/// Returns the files that an instruction copies from the context, as they are written; without those
/// that only an expansion of variables names.
pub(super) fn copied_sources(instruction: &Instruction<'_>) -> Vec<String> {
    let sources = copies(instruction).into_iter();
    sources.filter(|source| !source.contains('$')).collect()
}

/// Returns the files and folders of the context that an instruction refers to, as they are written.
/// A variable in one stands for any text.
pub(super) fn used_sources(instruction: &Instruction<'_>) -> Vec<String> {
    let mounts = instruction.mounts().into_iter();
    let bound = mounts
        .filter(|mount| mount.from.is_none() && (mount.kind == "bind" || mount.kind.contains('$')));
    copies(instruction).into_iter().chain(bound.map(|mount| mount.source)).collect()
}

static OPENING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"[0-9]*<<-?\s*(?:"[^"]*"|'[^']*'|[^\s"'])+"#).expect("a literal")
});

/// Returns the sources of `COPY` and `ADD` that are in the context.
fn copies(instruction: &Instruction<'_>) -> Vec<String> {
    let is_elsewhere =
        |flag: String| flag.strip_prefix("--from=").is_some_and(|from| !from.is_empty());
    let copies = instruction.is("COPY") || instruction.is("ADD");
    if !copies || instruction.flags().any(is_elsewhere) {
        return Vec::new();
    }
    let code = instruction.code();
    let mut words: Vec<String> = serde_json::from_str(&code).unwrap_or_else(|_| {
        let code = match instruction.documents().is_empty() {
            true => Cow::Borrowed(code.as_str()),
            false => OPENING.replace_all(&code, " "),
        };
        let bare = |word: &str| word.trim_matches(['"', '\'']).to_owned();
        code.split_whitespace().map(bare).collect()
    });
    words.pop();
    words.retain(|word| !word.contains("://") && !word.starts_with("git@"));
    if instruction.escape() == '`' {
        // With this escape character a backslash separates folders.
        words = words.into_iter().map(|word| word.replace('\\', "/")).collect();
    }
    words
}

/// Returns true if a source matches the file at `path` of the context, or a folder that contains it.
pub(super) fn refers_to(source: &str, path: &str) -> bool {
    let source = below_root(source);
    if source.is_empty() || path == source {
        return true;
    }
    if path.strip_prefix(source.as_str()).is_some_and(|rest| rest.starts_with('/')) {
        return true;
    }
    source.contains(['*', '?', '[', '\\', '$'])
        && pattern(&source).is_none_or(|one| one.is_match(path))
}

/// Returns a path without the parts that change nothing below the root of the context; the `/./` of
/// `COPY --parents` is one of them.
fn below_root(source: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in source.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

static VARIABLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\$(?:\{[^}]*\}|[A-Za-z0-9_]+)").expect("a literal"));

/// Converts a pattern of file names into a regex; `None` if it is not valid.
fn pattern(source: &str) -> Option<Regex> {
    let mut text = "^".to_owned();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let mut size = c.len_utf8();
        if let Some(variable) = VARIABLE.find(rest) {
            text.push_str(".*");
            size = variable.len();
        } else if rest.starts_with("**/") {
            text.push_str("(?:.*/)?");
            size = 3;
        } else if rest.starts_with("**") {
            text.push_str(".*");
            size = 2;
        } else {
            match c {
                '*' => text.push_str("[^/]*"),
                '?' => text.push_str("[^/]"),
                '[' => {
                    let class = class(rest)?;
                    text.push_str(&class.0);
                    size = class.1;
                }
                '\\' => {
                    let escaped = rest[1..].chars().next()?;
                    text.push_str(&regex::escape(&escaped.to_string()));
                    size += escaped.len_utf8();
                }
                c => text.push_str(&regex::escape(&c.to_string())),
            }
        }
        rest = &rest[size..];
    }
    Regex::new(&(text + "(?:/.*)?$")).ok()
}

/// Converts the class of characters at the start of `rest`, such as `[^a-z]`. Returns it and its
/// length; `None` if it has no end.
fn class(rest: &str) -> Option<(String, usize)> {
    let mut text = "[".to_owned();
    let mut inner = rest.char_indices().skip(1).peekable();
    if inner.next_if(|(_, c)| *c == '^').is_some() {
        text.push('^');
    }
    let mut is_first = true;
    while let Some((at, c)) = inner.next() {
        match c {
            ']' if !is_first => return Some((text + "]", at + 1)),
            '-' => text.push('-'),
            '\\' => text.push_str(&regex::escape(&inner.next()?.1.to_string())),
            '[' | ']' | '^' | '&' | '~' => text.extend(['\\', c]),
            c => text.push(c),
        }
        is_first = false;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::instructions;

    #[test]
    fn sources_are_what_is_copied_from_the_context() {
        for (text, expected) in [
            ("COPY a b /x", "a b"),
            ("COPY --chown=a:b a /x", "a"),
            ("copy [\"a b\", \"c\", \"/x\"]", "a b|c"),
            ("COPY --from=other a /x", ""),
            ("COPY --from= a /x", "a"),
            ("COPY --exclude=*.md --exclude=b . /x", "."),
            ("COPY --parents a/./b/*.c /x", "a/./b/*.c"),
            ("ADD https://example.com/a /x", ""),
            ("ADD git@example.com:a/b.git#main /x", ""),
            ("ADD ${A} /x", ""),
            ("COPY <<EOF /x\na\nEOF", ""),
            ("COPY a 3<<EOF /x\nb c\nEOF", "a"),
            ("COPY << EOF b <<-\"C D\" /x\nEOF\nC D", "b"),
            ("RUN a b", ""),
        ] {
            let found = copied_sources(&instructions(text)[0]);
            let separator = if expected.contains('|') { "|" } else { " " };
            assert_eq!(found.join(separator), expected, "{text}");
        }
        let windows = instructions("# escape=`\nFROM a\nCOPY bin\\app.exe C:\\");
        assert_eq!(copied_sources(&windows[1]), ["bin/app.exe"]);
    }

    #[test]
    fn bind_mounts_of_the_context_are_uses() {
        for (text, expected) in [
            ("RUN --mount=type=bind,target=/src make", "/"),
            ("RUN --mount=target=. make", "/"),
            ("RUN --mount=type=bind,source=.,target=/src make", "."),
            ("RUN --mount=type=bind,src=conf/a,dst=/x --mount=source=b,target=/y true", "conf/a b"),
            ("RUN --mount=type=bind,from=tools,target=/x make", ""),
            ("RUN --mount=type=bind,from=,source=c,target=/x make", "c"),
            ("RUN --mount=type=cache,target=/x --mount=type=secret,id=a true", ""),
            ("RUN --mount=type=$KIND,source=d,target=/x true", "d"),
            ("ONBUILD COPY . /x", ""),
            ("COPY $A.conf /x", "$A.conf"),
        ] {
            assert_eq!(used_sources(&instructions(text)[0]).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn a_source_means_files_and_folders() {
        for (source, path, expected) in [
            ("a", "a", true),
            ("./a/", "a/b", true),
            ("/a", "a", true),
            ("../a", "a", true),
            ("b/../a", "a", true),
            ("a/./b", "a/b", true),
            ("a", "ab", false),
            (".", "a", true),
            ("/", "a", true),
            ("*.sh", "a.sh", true),
            ("*.sh", "x/a.sh", false),
            ("**/*.sh", "x/y/a.sh", true),
            ("**/*.sh", "a.sh", true),
            ("x/**", "x/y/a.sh", true),
            ("a*", "ab/c", true),
            ("[ab].sh", "b.sh", true),
            ("[^ab].sh", "b.sh", false),
            ("[^ab].sh", "c.sh", true),
            ("[[]a].sh", "[a].sh", true),
            ("\\*.sh", "a.sh", false),
            ("\\*.sh", "*.sh", true),
            ("?.sh", "bc.sh", false),
            ("${A}.sh", "x/a.sh", true),
            ("$A.sh", "a.conf", false),
            ("$A", "a", true),
        ] {
            assert_eq!(refers_to(source, path), expected, "{source} {path}");
        }
    }
}

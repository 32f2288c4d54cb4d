//! Commands of a shell, parsed as far as package installations need it.
//!
//! Quotes, comments, continued lines and here-documents are told from commands; expansions and
//! substitutions are left as they are.

/// Returns the words of each simple command, from its program on, without quotes.
pub(super) fn commands(code: &str) -> Vec<Vec<String>> {
    let mut reader = Reader {
        rest: code,
        word: None,
        words: Vec::new(),
        found: Vec::new(),
        documents: Vec::new(),
    };
    reader.read();
    let programs = reader.found.into_iter();
    let programs = programs.map(|words| words.into_iter().skip_while(|w| is_before(w)).collect());
    programs.filter(|words: &Vec<String>| !words.is_empty()).collect()
}

/// Reader of a shell's text.
struct Reader<'a> {
    rest: &'a str,
    /// Word so far; `None` between words.
    word: Option<String>,
    words: Vec<String>,
    found: Vec<Vec<String>>,
    /// Names of the here-documents of the line, each with true if tabs are removed.
    documents: Vec<(String, bool)>,
}

impl Reader<'_> {
    fn read(&mut self) {
        while let Some(c) = self.next() {
            match c {
                '\\' => match self.next() {
                    Some('\n') | None => {}
                    Some(escaped) => self.push(escaped),
                },
                '\'' | '"' => self.quoted(c),
                '#' if self.word.is_none() => {
                    let end = self.rest.find('\n').unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                }
                '<' if self.rest.starts_with('<') => self.document(),
                '&' if self.word.as_ref().is_some_and(|word| word.ends_with(['<', '>'])) => {
                    self.push(c);
                }
                '\n' => {
                    self.end_command();
                    self.skip_documents();
                }
                ';' | '(' | ')' | '|' | '&' | '`' => self.end_command(),
                c if c.is_whitespace() => self.end_word(),
                c => self.push(c),
            }
        }
        self.end_command();
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    /// Reads a quoted text up to its end.
    fn quoted(&mut self, quote: char) {
        self.word.get_or_insert_default();
        while let Some(c) = self.next().filter(|c| *c != quote) {
            match c {
                '\\' if quote == '"' => match self.next() {
                    Some('\n') | None => {}
                    Some(escaped) => self.push(escaped),
                },
                c => self.push(c),
            }
        }
    }

    /// Reads the opening of a here-document behind its first `<`; `<<<` opens none.
    fn document(&mut self) {
        self.end_word();
        let is_string = self.rest.starts_with("<<");
        self.rest = self.rest.trim_start_matches('<');
        let strips_tabs = self.rest.starts_with('-');
        self.rest =
            self.rest.strip_prefix('-').unwrap_or(self.rest).trim_start_matches([' ', '\t']);
        let is_end = |c: char| c.is_whitespace() || ";()|&<>`".contains(c);
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let name: String = self.rest[..end].chars().filter(|c| !"\\'\"".contains(*c)).collect();
        self.rest = &self.rest[end..];
        if !is_string {
            self.documents.push((name, strips_tabs));
        }
    }

    /// Skips the bodies of the here-documents of the line before.
    fn skip_documents(&mut self) {
        for (name, strips_tabs) in std::mem::take(&mut self.documents) {
            while !self.rest.is_empty() {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                let line = &self.rest[..end];
                let line = if strips_tabs { line.trim_start_matches('\t') } else { line };
                let is_end = line == name;
                self.rest = self.rest[end..].strip_prefix('\n').unwrap_or_default();
                if is_end {
                    break;
                }
            }
        }
    }

    fn end_word(&mut self) {
        self.words.extend(self.word.take());
    }

    fn end_command(&mut self) {
        self.end_word();
        self.found.push(std::mem::take(&mut self.words));
    }
}

/// Returns true if a word can precede the program in a command.
fn is_before(word: &str) -> bool {
    let is_variable = word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    });
    let words =
        ["!", "{", "if", "then", "else", "elif", "do", "while", "until", "sudo", "env", "time"];
    is_variable || words.contains(&word)
}

/// Command of a package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PackageCommand<'a> {
    /// Package manager.
    pub(super) manager: &'a str,
    /// True if the command installs packages.
    pub(super) installs: bool,
    /// True if the command fetches the package lists.
    pub(super) updates: bool,
    /// True if the command asks no questions.
    pub(super) is_unattended: bool,
    /// True if the command installs only packages that are given by path.
    pub(super) is_of_files: bool,
}

const MANAGERS: [&str; 5] = ["apt-get", "apt", "dnf", "yum", "microdnf"];

/// Parses the command of a package manager; `None` for any other command.
pub(super) fn package_command(words: &[String]) -> Option<PackageCommand<'_>> {
    let (program, rest) = words.split_first()?;
    let manager = program.rsplit('/').next()?;
    if !MANAGERS.contains(&manager) {
        return None;
    }
    let at = |what: &str| rest.iter().position(|word| *word == what);
    let installs = at("install");
    let names = &rest[installs.map_or(rest.len(), |at| at + 1)..];
    let mut named = names.iter().filter(|word| !word.starts_with('-')).peekable();
    Some(PackageCommand {
        manager,
        installs: installs.is_some(),
        updates: at("update").is_some(),
        is_unattended: rest.iter().any(|word| says_yes(word)),
        is_of_files: named.peek().is_some() && named.all(|name| name.contains('/')),
    })
}

/// Returns true if an option answers all questions.
fn says_yes(word: &str) -> bool {
    let is_cluster = word.starts_with('-') && !word.starts_with("--");
    ["--yes", "--assume-yes", "--assumeyes"].contains(&word)
        || (is_cluster && (word.contains('y') || word.contains("qq")) && !word.contains('='))
}

impl PackageCommand<'_> {
    /// Returns true if this is a command of apt.
    pub(super) fn is_apt(self) -> bool {
        self.manager.starts_with("apt")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installations_are_distinguished_from_other_commands() {
        for (code, expected) in [
            ("apt-get update && apt-get install -y a", "update install-y"),
            ("A=b apt-get -qq install a", "install-y"),
            ("if true; then apt-get install a; fi", "install"),
            ("dnf -y --setopt=x=y install a", "install-y"),
            ("dnf install --setopt=x=y a", "install"),
            ("apt-get --assume-yes install ./a.deb /b.deb", "install-y-files"),
            ("echo apt-get install a", ""),
            ("/usr/bin/apt-get clean", "other"),
            ("A='b c' apt-get install -y a", "install-y"),
            ("apt-get install \\\n    -y a", "install-y"),
            ("echo 'first; apt-get install a'", ""),
            ("echo \"a \\\" | apt-get install b\"", ""),
            ("# apt-get install a\napt-get install a # -y", "install"),
            ("cat >run <<'E'\napt-get install a\nE\napt-get update", "update"),
            ("cat <<-A <<B\n\tA\napt-get install a\nB\napt install a", "install"),
            ("cat <<<word\napt-get install a", "install"),
            ("dnf install a >log 2>&1 -y", "install-y"),
            ("x=`yum install a`", "install"),
            ("cat <<E", ""),
            ("apt-get install 'a", "install"),
        ] {
            let told = commands(code).into_iter().filter_map(|words| {
                let command = package_command(&words)?;
                Some(match command {
                    PackageCommand { installs: true, is_unattended, is_of_files, .. } => format!(
                        "install{}{}",
                        if is_unattended { "-y" } else { "" },
                        if is_of_files { "-files" } else { "" }
                    ),
                    PackageCommand { updates: true, .. } => "update".to_owned(),
                    _ => "other".to_owned(),
                })
            });
            assert_eq!(told.collect::<Vec<_>>().join(" "), expected, "{code}");
        }
    }
}

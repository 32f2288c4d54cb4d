//! Commands of a `RUN`, parsed as far as package installations need it.

/// Returns the words of each simple command, from its program on.
pub(super) fn commands(code: &str) -> Vec<Vec<&str>> {
    let parts = code.split(['\n', ';', '(', ')', '|', '&']);
    let commands = parts.map(|part| part.split_whitespace().skip_while(|w| is_before(w)).collect());
    commands.filter(|words: &Vec<&str>| !words.is_empty()).collect()
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
pub(super) fn package_command<'a>(words: &[&'a str]) -> Option<PackageCommand<'a>> {
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

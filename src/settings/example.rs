//! Generator of `build.conf.example`: every option with its meaning and default, commented out.

use std::fmt::Write as _;

use super::option_definition::{Authority, Effect, Kind, Opt, OptionDefault};
use super::options::OPTIONS;

/// Returns the text of the example file.
pub fn example() -> String {
    let mut text = String::from(
        "# Options of kiln build. Copy this file to build.conf and uncomment the lines that you want to\n\
         # change; the values shown are the defaults. The command line and the environment variables\n\
         # KILN_<OPTION> take precedence over this file.\n\
         #\n\
         # A build.conf in a git repository, or beside a template tree, is part of a checkout and is not\n\
         # fully trusted, unless --config-file names it: it can't set options with the note 'Not in a\n\
         # checkout.', and its paths must be inside the checkout.\n\
         #\n\
         # This file is the output of: kiln config example\n\
         \n\
         [DEFAULT]\n",
    );
    for option in OPTIONS {
        writeln!(text, "\n# {}.", option.help).expect("a string takes all");
        if let Some(note) = note(option) {
            writeln!(text, "# {note}").expect("a string takes all");
        }
        if option.authority == Authority::User {
            writeln!(text, "# Not in a checkout.").expect("a string takes all");
        }
        match option.effect {
            Effect::Normal => Ok(()),
            Effect::Nothing(reason) => writeln!(text, "# No effect: {reason}."),
        }
        .expect("a string takes all");
        writeln!(text, "#{} = {}", option.name, shown_default(option)).expect("a string takes all");
    }
    text.push_str(
        "\n# Profiles, in addition to those of the tree or replacing them: patterns, separated by commas.\n\
         [profiles]\n\
         #mine = ^first$, ^second-\n\
         \n# Source of an image of a source type, instead of the tree's. Sections called\n\
         # <image>-plugin-<name> and <image>-additions-<name> add further sources.\n\
         #[some-image]\n\
         # One of: url, git, local, pip.\n\
         #type = git\n\
         #location = https://git.example.com/some-image\n\
         # Branch, tag or commit of a git source.\n\
         #reference = main\n\
         # Expected SHA-256 of the downloaded file.\n\
         #sha256 =\n\
         #enabled = true\n",
    );
    text
}

/// Returns a note about the values of an option, if there is something to add to its help.
fn note(option: &Opt) -> Option<String> {
    match (option.kind, option.default) {
        (Kind::Repeated | Kind::Paths, _) => {
            Some("Can be set several times; the command line adds to it.".to_owned())
        }
        (Kind::Positional, _) => {
            Some("Can be set several times; the command line replaces it.".to_owned())
        }
        (Kind::List, _) => Some("Separate values by commas.".to_owned()),
        (Kind::CommaList, OptionDefault::FromTree) => Some(
            "Separate several values by commas. Default: set by the tree's manifest.".to_owned(),
        ),
        (Kind::CommaList, _) => Some("Separate several values by commas.".to_owned()),
        (Kind::Choice(words) | Kind::OptionalChoice(words), _) => {
            Some(format!("One of: {}.", words.join(", ")))
        }
        (_, OptionDefault::FromTree) => Some("Default: set by the tree's manifest.".to_owned()),
        (_, OptionDefault::Computed(what)) => Some(format!("Default: {what}.")),
        _ => None,
    }
}

fn shown_default(option: &Opt) -> &'static str {
    match option.default {
        OptionDefault::Value(value) => value,
        OptionDefault::Unset | OptionDefault::FromTree | OptionDefault::Computed(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ini;

    /// The example with every line uncommented has to be a valid file.
    #[test]
    fn the_example_is_understood_by_its_reader() {
        let uncommented: String = example()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if !rest.starts_with(' ') && !rest.is_empty() => format!("{rest}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let parsed = ini::parse(&uncommented, "example").unwrap();
        let keys: Vec<_> = parsed
            .entries
            .iter()
            .filter(|e| e.section == "DEFAULT")
            .map(|e| e.key.as_str())
            .collect();
        let names: Vec<_> = OPTIONS.iter().map(|option| option.name).collect();
        assert_eq!(keys, names);
    }
}

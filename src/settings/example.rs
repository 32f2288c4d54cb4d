//! Generator of `build.conf.example`: every option with its meaning and default, commented out.

use std::fmt::Write as _;

use super::options::{Authority, Effect, Fallback, Kind, OPTIONS, Opt};

/// Returns the text of the example file.
pub fn example() -> String {
    let mut text = String::from(
        "# Options of kiln build. Copy this file to build.conf and take the '#' from the lines you\n\
         # want to change; the values shown are the defaults. What is given on the command line, or\n\
         # in the environment as KILN_<OPTION>, wins over this file.\n\
         #\n\
         # A build.conf that lies in a git repository, or beside its tree, is a part of the checkout and\n\
         # has less to say, unless --config-file names it: options with the note 'Not in a checkout.' are\n\
         # refused, and paths stay within the checkout.\n\
         #\n\
         # This file is made by: kiln config example\n\
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
            Effect::AsSaid => Ok(()),
            Effect::Nothing(reason) => writeln!(text, "# No effect: {reason}."),
        }
        .expect("a string takes all");
        writeln!(text, "#{} = {}", option.name, shown_default(option)).expect("a string takes all");
    }
    text.push_str(
        "\n# Profiles beside those of the tree, or in their place: patterns, separated by commas.\n\
         [profiles]\n\
         #mine = ^first$, ^second-\n\
         \n# What an image of a source type is made of, instead of what the tree says. Sections called\n\
         # <image>-plugin-<name> and <image>-additions-<name> add to it.\n\
         #[some-image]\n\
         # One of: url, git, local, pip.\n\
         #type = git\n\
         #location = https://git.example.com/some-image\n\
         # The branch, tag or commit of a git source.\n\
         #reference = main\n\
         # The digest that the fetched file has to have.\n\
         #sha256 =\n\
         #enabled = true\n",
    );
    text
}

/// Returns a note about the values of an option, if there is something to add to its help.
fn note(option: &Opt) -> Option<String> {
    match (option.kind, option.default) {
        (Kind::Many | Kind::Paths, _) => {
            Some("May stand several times; the command line adds to it.".to_owned())
        }
        (Kind::Positional, _) => {
            Some("May stand several times; the command line replaces it.".to_owned())
        }
        (Kind::List, _) => Some("Values are separated by commas.".to_owned()),
        (Kind::Several, Fallback::OfTree) => Some(
            "Several are separated by commas. Default: what the tree's manifest says.".to_owned(),
        ),
        (Kind::Several, _) => Some("Several are separated by commas.".to_owned()),
        (Kind::Choice(words) | Kind::Degree(words), _) => {
            Some(format!("One of: {}.", words.join(", ")))
        }
        (_, Fallback::OfTree) => Some("Default: what the tree's manifest says.".to_owned()),
        (_, Fallback::Found(what)) => Some(format!("Default: {what}.")),
        _ => None,
    }
}

fn shown_default(option: &Opt) -> &'static str {
    match option.default {
        Fallback::Is(value) => value,
        Fallback::Unset | Fallback::OfTree | Fallback::Found(_) => "",
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

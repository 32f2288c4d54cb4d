//! Arguments of `build`, which other commands have, too: made from the table of options. Types of
//! clap are used only in `cli`.

use clap::builder::{PossibleValuesParser, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::clock::local_time;
use crate::settings::option_definition::{CommandName, Effect, Form, Kind, Opt, OptionDefault};
use crate::settings::options::OPTIONS;
use crate::workspace::{GivenOptions, Request};

/// Argument for the configuration files, the one option that can't be set in such a file.
const CONFIG_FILE: &str = "config_file";

/// Argument for the folders of configuration files.
const CONFIG_DIR: &str = "config_dir";

/// Adds the options that the table names for a command. Call it from `Command::defer`, so that it
/// only runs for the command in use: the options are many, and several commands have them.
pub fn with_options(command: Command, name: CommandName) -> Command {
    let command = command
        .arg(
            Arg::new(CONFIG_FILE)
                .long("config-file")
                .value_name("FILE")
                .value_parser(ValueParser::path_buf())
                .action(ArgAction::Append)
                .help_heading("Configuration")
                .help(
                    "Read options from this file; may be repeated \
                     [default: the first of ./build.conf, ~/.config/kiln/build.conf and /etc/kiln/build.conf, \
                     else kolla-build.conf in the folders that kolla-build searches]",
                ),
        )
        .arg(
            Arg::new(CONFIG_DIR)
                .long("config-dir")
                .value_name("DIR")
                .value_parser(ValueParser::path_buf())
                .action(ArgAction::Append)
                .help_heading("Configuration")
                .help("Read options from the *.conf files of this folder, after all --config-file; may be repeated"),
        );
    let options = OPTIONS.iter().filter_map(|option| option.in_command(name));
    options.fold(command, |command, option| match option.kind {
        Kind::Bool => command.args(switch(&option)),
        _ => {
            let is_hidden = option.form_in(name) == Some(Form::Hidden);
            command.arg(valued(&option).hide(is_hidden))
        }
    })
}

/// Returns the flags `--name` and `--noname`. The help shows the one that changes the default.
fn switch(option: &Opt) -> [Arg; 2] {
    let on_by_default = option.default == OptionDefault::Value("true");
    let off = negative(option);
    let both = [option.name.to_owned(), off.clone()];
    let default = if on_by_default { "yes" } else { "no" };
    let help = format!("{} [default: {default}]{}", option.help, effect(option));
    let mut positive = Arg::new(option.name)
        .long(option.flag)
        .action(ArgAction::SetTrue)
        .overrides_with_all(both.clone())
        .help_heading(option.group.heading())
        .help(help);
    if let Some(short) = option.short {
        positive = positive.short(short);
    }
    let mut negative = Arg::new(off.clone())
        .long(off.clone())
        .action(ArgAction::SetTrue)
        .overrides_with_all(both)
        .help_heading(option.group.heading())
        .help(format!("The opposite of --{}", option.flag));
    if option.flag.contains('_') || option.flag.contains('-') {
        positive = positive.alias(other_spelling(option.flag));
        negative = negative.alias(other_spelling(&off));
    }
    [positive, negative.hide(!on_by_default)]
}

fn negative(option: &Opt) -> String {
    format!("no{}", option.flag)
}

fn valued(option: &Opt) -> Arg {
    let argument = Arg::new(option.name)
        .value_name(option.value)
        .help_heading(option.group.heading())
        .help(help(option))
        .action(match option.kind {
            Kind::Repeated | Kind::Paths | Kind::Positional | Kind::CommaList => ArgAction::Append,
            _ => ArgAction::Set,
        });
    let argument = match option.kind {
        Kind::Choice(words) => argument.value_parser(PossibleValuesParser::new(words)),
        Kind::Positional => return argument.num_args(0..),
        Kind::OptionalChoice(words) => argument
            .value_parser(PossibleValuesParser::new(words))
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value(words[1]),
        _ => argument,
    };
    let argument = argument.long(option.flag);
    let repeats = option.adds_up() || option.kind == Kind::CommaList;
    let argument = if repeats { argument } else { argument.overrides_with(option.name) };
    let argument = match option.short {
        Some(short) => argument.short(short),
        None => argument,
    };
    if option.flag.contains(['-', '_']) {
        argument.alias(other_spelling(option.flag))
    } else {
        argument
    }
}

fn help(option: &Opt) -> String {
    let default = match option.default {
        OptionDefault::Unset => String::new(),
        OptionDefault::Value(value) => format!(" [default: {value}]"),
        OptionDefault::FromTree => " [default: set by the tree]".to_owned(),
        OptionDefault::Computed(what) => format!(" [default: {what}]"),
    };
    format!("{}{default}{}", option.help, effect(option))
}

/// Returns a note for the help of an option that has no effect.
fn effect(option: &Opt) -> String {
    match option.effect {
        Effect::Normal => String::new(),
        Effect::Nothing(reason) => format!(" [no effect: {reason}]"),
    }
}

/// Returns the flag with hyphens instead of underscores, or the other way round: both are accepted.
fn other_spelling(flag: &str) -> String {
    if flag.contains('_') { flag.replace('_', "-") } else { flag.replace('-', "_") }
}

/// Reads the command line of a command with options of the table.
pub fn request(matches: &ArgMatches, command: CommandName) -> Request {
    let paths = |name| matches.get_many(name).unwrap_or_default().cloned().collect();
    let variables = std::env::vars_os();
    Request {
        given: given(matches, command),
        config_files: paths(CONFIG_FILE),
        config_folders: paths(CONFIG_DIR),
        environment: variables
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        now: local_time(),
    }
    .with_fixed_values(command)
}

/// Returns the given settings. An option of the command itself is not one.
fn given(matches: &ArgMatches, command: CommandName) -> GivenOptions {
    OPTIONS
        .iter()
        .filter(|option| {
            let is_own = matches!(option.form_in(command), Some(Form::Own { .. }));
            option.commands.contains(&command) && !is_own
        })
        .filter_map(|option| {
            let values: Vec<String> = match option.kind {
                Kind::Bool => switched(option, matches).into_iter().collect(),
                _ => matches.get_many::<String>(option.name).unwrap_or_default().cloned().collect(),
            };
            (!values.is_empty()).then_some((option.name, values))
        })
        .collect()
}

fn switched(option: &Opt, matches: &ArgMatches) -> Option<String> {
    if matches.get_flag(option.name) {
        Some("true".to_owned())
    } else if matches.get_flag(&negative(option)) {
        Some("false".to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build_given(arguments: &[&str]) -> GivenOptions {
        let all = ["kiln"].iter().chain(arguments);
        let grammar = with_options(Command::new("kiln"), CommandName::Build);
        given(&grammar.try_get_matches_from(all).unwrap(), CommandName::Build)
    }

    #[test]
    fn options_are_spelled_as_kolla_build_spells_them() {
        let given = build_given(&[
            "-b",
            "x",
            "-t",
            "y",
            "-n",
            "z",
            "-p",
            "one",
            "-p",
            "two",
            "-T",
            "3",
            "-r",
            "0",
            "-f",
            "none",
            "-D",
            "d",
            "-l",
            "-q",
            "-d",
            "--network_mode",
            "m",
            "--nopull",
            "--nocache",
            "--nosummary",
            "first",
            "^second$",
        ]);
        let shown: Vec<_> = given.iter().map(|(k, v)| format!("{k}={}", v.join(","))).collect();
        assert_eq!(
            shown,
            [
                "base=x",
                "cache=false",
                "debug=true",
                "docker_dir=d",
                "format=none",
                "install_type=y",
                "list_dependencies=true",
                "namespace=z",
                "network_mode=m",
                "profile=one,two",
                "pull=false",
                "quiet=true",
                "regex=first,^second$",
                "retries=0",
                "summary=false",
                "threads=3",
            ]
        );
    }

    #[test]
    fn the_last_of_contrary_switches_holds() {
        assert_eq!(build_given(&["--pull", "--nopull"])["pull"], ["false"]);
        assert_eq!(build_given(&["--nopull", "--pull"])["pull"], ["true"]);
        assert_eq!(build_given(&["--pull", "--pull"])["pull"], ["true"]);
        assert_eq!(build_given(&["--nopull", "--nopull"])["pull"], ["false"]);
    }

    #[test]
    fn hyphens_and_underscores_are_alike() {
        assert_eq!(build_given(&["--network-mode", "m"])["network_mode"], ["m"]);
        assert_eq!(build_given(&["--base_tag", "t"])["base_tag"], ["t"]);
        assert_eq!(build_given(&["--skip_existing"])["skip_existing"], ["true"]);
        assert_eq!(build_given(&["--nosquash_cleanup"])["squash_cleanup"], ["false"]);
        assert_eq!(build_given(&["--noclean-package-cache"])["clean_package_cache"], ["false"]);
    }
}

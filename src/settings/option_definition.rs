//! Definition of one option: spelling, kind, default, meaning, and who may set it.

use super::convert::boolean;

/// Kind of the values of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `--name` and `--noname`; true or false in a file.
    Bool,
    /// Whole number of at least this.
    Count(usize),
    /// Any text.
    Text,
    /// Path; in a file, relative to the working folder.
    Path,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these words; the flag without a word means the second.
    OptionalChoice(&'static [&'static str]),
    /// Texts separated by commas.
    List,
    /// One word or several, separated by commas; on the command line the option may be repeated.
    CommaList,
    /// Pairs of name and value, with a colon between them and separated by commas.
    Dict,
    /// Any number of texts: the option may be repeated, and the values of files and command line
    /// add up.
    Repeated,
    /// Like `Repeated`, for paths.
    Paths,
    /// Words of the command line that belong to no option; they replace a file's.
    Positional,
}

impl Kind {
    /// Returns true if the option has a single value, to which other texts can refer.
    pub fn is_of_one_value(self) -> bool {
        match self {
            Self::Bool
            | Self::Count(_)
            | Self::Text
            | Self::Path
            | Self::Choice(_)
            | Self::OptionalChoice(_)
            | Self::CommaList => true,
            Self::List | Self::Dict | Self::Repeated | Self::Paths | Self::Positional => false,
        }
    }
}

/// Value of an option that is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionDefault {
    /// No value.
    Unset,
    /// This text.
    Value(&'static str),
    /// Value from the tree's manifest, under `[defaults]` or for the base.
    FromTree,
    /// Value found at run time, described here.
    Computed(&'static str),
}

/// Effect of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The option does what its help says.
    Normal,
    /// No effect, for this reason: the option is accepted for compatibility with kolla-build.
    Nothing(&'static str),
}

/// Least trusted party that may set an option.
///
/// A template tree and a configuration file that came along with one are data from someone else:
/// they may define images, but not what happens on the machine that builds these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Authority {
    /// Only the user: on the command line, in the environment, and in configuration files that are
    /// outside of the current checkout or named with `--config-file`.
    User,
    /// Also a configuration file found in a checkout; its paths may not leave the checkout.
    Checkout,
    /// Also the manifest of a template tree.
    Tree,
}

/// Group of options, with a heading in the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Base, type and names of images.
    Images,
    /// Templates.
    Templates,
    /// Content of images.
    Contents,
    /// Package repositories.
    Packages,
    /// Selection of images.
    Selection,
    /// Course of a build.
    Build,
    /// Container engine.
    Engine,
    /// Pushing to registries.
    Push,
    /// Output of lists in place of a build.
    Listing,
    /// Output of a run.
    Output,
    /// Options of kolla-build that have no effect in Kiln.
    Compatibility,
}

impl Group {
    /// Returns the heading.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Images => "Names and targets of images",
            Self::Templates => "Templates",
            Self::Contents => "Content of images",
            Self::Packages => "Packages",
            Self::Selection => "Selection of images",
            Self::Build => "Building",
            Self::Engine => "Engine",
            Self::Push => "Pushing",
            Self::Listing => "Listing, instead of building",
            Self::Output => "Output",
            Self::Compatibility => "Accepted for compatibility with kolla-build",
        }
    }
}

/// Command that has options of this table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandName {
    /// `kiln build`.
    Build,
    /// `kiln explain`.
    Explain,
    /// `kiln affected`.
    Affected,
    /// `kiln lint`.
    Lint,
    /// `kiln config show`.
    ConfigShow,
}

/// Commands that load a workspace: they have the options of `kiln build`.
const ALL_COMMANDS: &[CommandName] = &[
    CommandName::Build,
    CommandName::Explain,
    CommandName::Affected,
    CommandName::Lint,
    CommandName::ConfigShow,
];

/// Form of an option in a command, where it differs from that in `kiln build`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Accepted, and not in the help.
    Hidden,
    /// Accepted, and without effect: the command always uses this value.
    Fixed(&'static str),
    /// An option of the command itself that has only the name in common; it is not a setting.
    Own {
        /// Words to choose from.
        words: &'static [&'static str],
        /// Value if it is not given.
        default: &'static str,
        /// Meaning, in a sentence.
        help: &'static str,
    },
}

/// Option of a command.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// Key in a file.
    pub name: &'static str,
    /// Spelling on the command line, without the two hyphens.
    pub flag: &'static str,
    /// Short form.
    pub short: Option<char>,
    /// Kind of its values.
    pub kind: Kind,
    /// Value if it is not given.
    pub default: OptionDefault,
    /// Placeholder of the value in the help.
    pub value: &'static str,
    /// Group in the help.
    pub group: Group,
    /// Meaning, in a sentence.
    pub help: &'static str,
    /// Effect of giving it.
    pub effect: Effect,
    /// Least trusted party that may set it.
    pub authority: Authority,
    /// Commands that have it.
    pub commands: &'static [CommandName],
    /// Forms of the option in commands where it differs.
    pub forms: &'static [(CommandName, Form)],
}

impl Opt {
    /// Returns the option as a `command` has it; `None` if the command does not have it.
    pub fn in_command(&self, command: CommandName) -> Option<Self> {
        let has = self.commands.contains(&command);
        has.then(|| match self.form_in(command) {
            Some(Form::Own { words, default, help }) => Self {
                kind: Kind::Choice(words),
                default: OptionDefault::Value(default),
                help,
                ..*self
            },
            Some(Form::Hidden | Form::Fixed(_)) | None => *self,
        })
    }

    /// Returns the form of the option in a `command`, if it differs from that in `kiln build`.
    pub fn form_in(&self, command: CommandName) -> Option<Form> {
        self.forms.iter().find(|(name, _)| *name == command).map(|(_, form)| *form)
    }

    /// Returns the name of the environment variable that sets the option.
    pub fn environment(&self) -> String {
        format!("KILN_{}", self.name.to_ascii_uppercase())
    }

    /// Returns true if the manifest of a template tree may set the option, and values of a tree may
    /// refer to it.
    pub fn is_for_trees(&self) -> bool {
        self.authority == Authority::Tree
    }

    /// Returns true if `value` means the same as not giving the option.
    pub fn is_default(&self, value: &str) -> bool {
        match (self.default, self.kind) {
            (OptionDefault::Value(default), Kind::Bool) => boolean(default) == boolean(value),
            (OptionDefault::Value(default), _) => default == value,
            _ => value.is_empty(),
        }
    }

    /// Returns true if the values are paths.
    pub fn is_path(&self) -> bool {
        matches!(self.kind, Kind::Path | Kind::Paths)
    }

    /// Returns true if values from several layers add up instead of replacing each other.
    pub fn adds_up(&self) -> bool {
        matches!(self.kind, Kind::Repeated | Kind::Paths)
    }
}

/// Creates an option of all commands that configuration files of a checkout may set; without a short
/// form.
pub(super) const fn opt(
    group: Group,
    name: &'static str,
    flag: &'static str,
    kind: Kind,
    default: OptionDefault,
    help: &'static str,
) -> Opt {
    Opt {
        name,
        flag,
        short: None,
        kind,
        default,
        value: "VALUE",
        group,
        help,
        effect: Effect::Normal,
        authority: Authority::Checkout,
        commands: ALL_COMMANDS,
        forms: &[],
    }
}

impl Opt {
    /// Gives the option a short form.
    pub(super) const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    /// Names the placeholder of the value in the help.
    pub(super) const fn value(mut self, value: &'static str) -> Self {
        self.value = value;
        self
    }

    /// Gives the option another form in some commands.
    pub(super) const fn forms(mut self, forms: &'static [(CommandName, Form)]) -> Self {
        self.forms = forms;
        self
    }

    /// Allows the manifests of trees to set the option, too.
    pub(super) const fn for_trees(mut self) -> Self {
        self.authority = Authority::Tree;
        self
    }

    /// Forbids configuration files of a checkout to set the option.
    pub(super) const fn for_users_alone(mut self) -> Self {
        self.authority = Authority::User;
        self
    }

    /// Declares that the option has no effect, for this reason.
    pub(super) const fn without_effect(mut self, reason: &'static str) -> Self {
        self.effect = Effect::Nothing(reason);
        self
    }
}

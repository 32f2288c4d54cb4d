//! Commands that enable and disable package repositories, in the wording of Kolla's `handle_repos`
//! and `cleanup_repos`.
//!
//! A tree keeps tables of repositories beside its templates, and the series of Kolla derive
//! different commands from them. There are four dialects:
//! - 10 to 12: an entry is a word or a line.
//! - 13 to 20: a deb entry has fields.
//! - 21 and 22: every entry has fields, and an unknown repository is an error.
//! - 23: a site's file is laid over the tree's, and changes that are meant for the build only are
//!   undone.
//!
//! A gap in the tables is an error where Python raises one and is skipped where Python continues,
//! since templates rely on both. Nothing is read from disk here.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::version::Version;
use super::yaml::{Yaml, set};

/// File name of the table that every tree with tables has.
const DEFAULT_FILE: &str = "repos.yaml";
const NOBLE_FILE: &str = "repos-noble.yaml";
const EL10_FILE: &str = "repos-el10.yaml";

const APT_FOLDER: &str = "/etc/apt/sources.list.d";
const APT_KEYS: &str = "/etc/kolla/apt-keys";
const YUM_FOLDER: &str = "/etc/yum.repos.d";
const BACKUP: &str = "/tmp/kolla-repos-backup";
const ADDRESSES: [&str; 3] = ["baseurl", "metalink", "mirrorlist"];

/// Error of a template that asks for repositories of a tree without tables.
pub const NO_TABLES: &str = "no table of package repositories was found beside the templates";

/// Repository tables of a tree.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// Files of the tree, by name.
    pub files: BTreeMap<String, Yaml>,
    /// Parsed file of the site (`repos_yaml`). Before 23 it replaces the tree's file; since 23 it
    /// is laid over it.
    site: Option<Yaml>,
}

impl Tables {
    /// Returns the tables with the site's file. It takes the place of all files of a tree that has
    /// none.
    #[must_use]
    pub fn with_site(mut self, site: Yaml) -> Self {
        if self.files.is_empty() {
            let names = [DEFAULT_FILE, NOBLE_FILE, EL10_FILE].map(str::to_owned);
            self.files = names.into_iter().map(|name| (name, site.clone())).collect();
        } else {
            self.site = Some(site);
        }
        self
    }
}

/// Release and base that the commands are for.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Release of Kolla that the tree belongs to.
    pub version: Version,
    /// Package type, `rpm` or `deb`; for anything else there are no commands.
    pub package_type: &'a str,
    /// Name of the base distro.
    pub distro: &'a str,
    /// Machine architecture.
    pub arch: &'a str,
    /// Tag of the base image.
    pub distro_tag: &'a str,
    /// Code name of the services' release, from 21 on.
    pub codename: Option<&'a str>,
}

/// Returns the instruction that enables or disables repositories, given by their names in the
/// tables; empty if there is nothing to do.
///
/// # Errors
/// One line with the reason: the mode is unknown (to 20), or a table, a repository (from 21) or a
/// field is missing or of the wrong type.
pub fn handle_repos(
    tables: &Tables,
    about: &About,
    names: &[String],
    mode: &str,
) -> Result<String, String> {
    let commands = match about.version.major {
        ..=9 => Err(format!("Kolla {} has no function handle_repos", about.version.major)),
        10..=12 => by_switches(tables, about, names, mode, one_line_list),
        13..=20 => by_switches(tables, about, names, mode, sources_or_nothing),
        21..=22 => {
            let file = chosen_file(tables, about)?;
            let table = flattened(file, about, |_, _, fields| Ok(Cow::Borrowed(fields)))?;
            by_entries(&table, about, names, mode, |repo| enabling(about, repo).map(Some))
        }
        _ => Merged::of(tables, about)?.commands(about, names, mode),
    }?;
    Ok(run(commands))
}

/// Returns the instruction that restores the files that the build replaced; empty if it replaced
/// none.
///
/// # Errors
/// One line that says what is wrong with the tables, or that Kolla has no `cleanup_repos` before
/// 23.
pub fn cleanup_repos(tables: &Tables, about: &About) -> Result<String, String> {
    match about.version.major {
        ..=22 => Err(format!("Kolla {} has no function cleanup_repos", about.version.major)),
        _ => Merged::of(tables, about)?.cleanup(about).map(run),
    }
}

fn run(commands: String) -> String {
    if commands.is_empty() { commands } else { format!("RUN {commands}") }
}

// Choice of the table.

type Entries = [(String, Yaml)];

/// Repositories by name. Templates ask for some of them hundreds of times, so entries that are
/// unchanged from a file are borrowed.
type Repositories<'a> = Vec<(Cow<'a, str>, Cow<'a, Yaml>)>;

/// Returns the one file that applies before 23.
fn chosen_file<'a>(tables: &'a Tables, about: &About) -> Result<&'a Entries, String> {
    match (&tables.site, about.version.major, about.version.minor) {
        (Some(site), 12, 3..) | (Some(site), 13 | 14, 2..) | (Some(site), 15.., _) => {
            entries(site, "the site's file of repositories")
        }
        _ => tree_file(tables, about),
    }
}

fn tree_file<'a>(tables: &'a Tables, about: &About) -> Result<&'a Entries, String> {
    let tagged = |start| about.distro_tag.starts_with(start);
    let name = match (about.version.major, about.version.minor, about.distro) {
        (18, 7.., _) if tagged("24.04") || tagged("noble") => NOBLE_FILE,
        (20, 4.., "centos") if tagged("stream10") => EL10_FILE,
        (20, 4.., "rocky") if tagged("10") => EL10_FILE,
        _ => DEFAULT_FILE,
    };
    match tables.files.get(name) {
        Some(file) => entries(file, name),
        None if tables.files.is_empty() => Err(NO_TABLES.to_owned()),
        None => Err(format!("the tree has no {name}")),
    }
}

/// Returns the distro's name in section titles.
fn section_name<'a>(about: &About<'a>) -> &'a str {
    let stream9 = about.distro == "centos" && about.distro_tag.starts_with("stream9");
    match (about.version.major, about.version.minor) {
        (14, 10..) if stream9 => "centos9",
        _ => about.distro,
    }
}

/// Returns the table up to 20: the section of distro and architecture, or that of the distro if
/// there is none.
fn single_table<'a>(tables: &'a Tables, about: &About) -> Result<&'a Yaml, String> {
    let file = chosen_file(tables, about)?;
    let distro = section_name(about);
    find(file, &format!("{distro}-{}", about.arch))
        .or_else(|| find(file, distro))
        .ok_or_else(|| format!("the table of repositories has no section '{distro}'"))
}

/// Returns the table from 21 on: the entries of all matching sections, in order. `join` merges two
/// entries of the same name.
fn flattened<'a>(
    file: &'a Entries,
    about: &About,
    join: impl Fn(&str, &Yaml, &'a Yaml) -> Result<Cow<'a, Yaml>, String>,
) -> Result<Repositories<'a>, String> {
    let machine = format!("{}-{}", about.distro, about.arch);
    let mut table = Repositories::new();
    for section in [about.package_type, about.distro, &machine] {
        let Some(repos) = find(file, section) else { continue };
        for (name, fields) in entries(repos, section)? {
            match table.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = join(name, known, fields)?,
                None => table.push((Cow::Borrowed(name), Cow::Borrowed(fields))),
            }
        }
    }
    Ok(table)
}

fn find_repository<'a>(table: &'a Repositories, name: &str) -> Option<&'a Yaml> {
    table.iter().find(|(known, _)| known == name).map(|(_, fields)| &**fields)
}

fn find<'a>(table: &'a Entries, name: &str) -> Option<&'a Yaml> {
    table.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

fn entries<'a>(value: &'a Yaml, what: &str) -> Result<&'a Entries, String> {
    value.as_map().ok_or_else(|| format!("{what} is not a mapping"))
}

// Dialects up to 20: rpm repositories are switched by one command, deb repositories have a file
// each.

/// Returns the commands that enable a deb repository; `None` if its entry is incomplete.
type DebCommands = fn(&About, &str, &Yaml) -> Result<Option<String>, String>;

fn by_switches(
    tables: &Tables,
    about: &About,
    names: &[String],
    mode: &str,
    deb_commands: DebCommands,
) -> Result<String, String> {
    if !matches!(mode, "enable" | "disable") {
        return Err(format!("repositories can be enabled or disabled, not '{mode}'"));
    }
    let table = single_table(tables, about)?;
    let mut commands = Vec::new();
    let wanted = match (about.package_type, mode) {
        ("rpm", _) | ("deb", "enable") => names,
        _ => &[],
    };
    for name in wanted {
        let Some(entry) = find(entries(table, "the table of repositories")?, name) else {
            continue;
        };
        match about.package_type {
            "rpm" => commands.push(format!(" --{mode} {}", entry.python_str())),
            _ => commands.extend(deb_commands(about, name, entry)?),
        }
    }
    Ok(match about.package_type {
        "rpm" if commands.is_empty() => String::new(),
        "rpm" => format!("dnf config-manager {} || true", commands.concat()),
        _ => commands.join(" && "),
    })
}

/// Returns the command for 10 to 12, where the entry is the line itself.
fn one_line_list(_: &About, name: &str, entry: &Yaml) -> Result<Option<String>, String> {
    Ok(Some(format!("echo \"{}\" >{APT_FOLDER}/{name}.list", entry.python_str())))
}

/// Returns the commands for 13 to 20, where the entry has fields; `None` if one is missing.
fn sources_or_nothing(about: &About, name: &str, entry: &Yaml) -> Result<Option<String>, String> {
    let repo = Repo::of(name, entry)?;
    let Ok(mut lines) = repo.sources() else { return Ok(None) };
    let release = (about.version.major, about.version.minor);
    let knows_arch = matches!(release, (14, 11..) | (15, 3..) | (16, 2..) | (17.., _));
    if knows_arch && repo.is("arch") {
        lines.extend(repo.architectures());
    }
    Ok(Some(written(&repo.sources_file(), &lines)))
}

// Dialects from 21: every entry has fields, and a repository is switched by name or described by
// its fields.

/// Returns the commands for repositories, all of which must be in the table; `enable` returns those
/// for one, or `None`. Enabling commands are separated by `&&`, even if the repositories that
/// follow have no commands; disabling commands are not.
fn by_entries(
    table: &Repositories,
    about: &About,
    names: &[String],
    mode: &str,
    mut enable: impl FnMut(&Repo) -> Result<Option<String>, String>,
) -> Result<String, String> {
    let mut commands = String::new();
    for (index, name) in names.iter().enumerate() {
        let entry = find_repository(table, name)
            .ok_or_else(|| format!("there is no repository '{name}' for {}", about.distro))?;
        match (about.package_type, mode) {
            ("rpm" | "deb", "enable") => {
                if let Some(command) = enable(&Repo::of(name, entry)?)? {
                    commands += &command;
                    commands += if index + 1 < names.len() { " && " } else { "" };
                }
            }
            ("rpm", "disable") => {
                let repo = Repo::of(name, entry)?;
                if repo.is("distro") {
                    commands += &repo.switch("disable")?;
                }
            }
            _ => {}
        }
    }
    Ok(commands)
}

/// Returns the commands for 21 and 22, which write addresses even for repositories that the distro
/// has.
fn enabling(about: &About, repo: &Repo) -> Result<String, String> {
    if about.package_type == "deb" {
        let mut lines = repo.sources()?;
        lines.extend(repo.architectures());
        return Ok(written(&repo.sources_file(), &lines));
    }
    if !repo.is("distro") {
        return Ok(written(&repo.repo_file(), &[repo.description()?, repo.addresses()?].concat()));
    }
    let file = repo.repo_file();
    let addresses = repo.addresses()?;
    let addresses = addresses.iter().map(|line| format!(" && echo '{line}' >>{file}"));
    Ok(repo.switch("enable")? + &addresses.collect::<String>())
}

/// Tables for 23: those of the tree with the site's file laid over them, in order, and those of the
/// tree alone.
struct Merged<'a> {
    repos: Repositories<'a>,
    shipped: Repositories<'a>,
}

impl<'a> Merged<'a> {
    fn of(tables: &'a Tables, about: &About) -> Result<Self, String> {
        let file = tree_file(tables, about)?;
        let shipped = flattened(file, about, combined)?;
        let repos = match &tables.site {
            None => shipped.clone(),
            Some(site) => {
                let mut file = file.to_vec();
                for (section, over) in entries(site, "the site's file of repositories")? {
                    lay_over(&mut file, section, over)?;
                }
                owned(flattened(&file, about, combined)?)
            }
        };
        Ok(Self { repos, shipped })
    }

    fn commands(&self, about: &About, names: &[String], mode: &str) -> Result<String, String> {
        if about.package_type == "rpm" {
            self.refuse_half_replaced_files()?;
        }
        let mut kept = BTreeSet::new();
        by_entries(&self.repos, about, names, mode, |repo| match about.package_type {
            "deb" if repo.is("distro") => Ok(None),
            "deb" => sources_for_now(about, repo, &mut kept).map(Some),
            _ if repo.is("distro") => repo.switch("enable").map(Some),
            _ => self.description_for_now(repo, &mut kept).map(Some),
        })
    }

    /// Refuses to replace only some of the distro's repositories that share a file. The file is
    /// removed when one of them is described anew, so the others could not be enabled any more.
    fn refuse_half_replaced_files(&self) -> Result<(), String> {
        let repos = self.repos.iter().map(|(name, fields)| Repo::of(name, fields));
        let (switched, described): (Vec<_>, Vec<_>) =
            repos.collect::<Result<Vec<_>, _>>()?.into_iter().partition(|repo| repo.is("distro"));
        let replaced = described.iter().filter_map(|repo| self.shipped(repo.name));
        let groups: Vec<_> = replaced
            .filter(|shipped| shipped.is("distro") && shipped.is("file_group"))
            .filter_map(|shipped| shipped.field("file_group"))
            .collect();
        let shares = |repo: &&Repo| repo.field("file_group").is_some_and(|g| groups.contains(&g));
        let mut left: Vec<_> = switched.iter().filter(shares).map(|repo| repo.name).collect();
        left.sort_unstable();
        if left.is_empty() {
            return Ok(());
        }
        Err(format!(
            "the site replaces repositories of the distribution, so it must also replace those in the same file: {}",
            left.join(", ")
        ))
    }

    fn shipped<'b>(&'b self, name: &'b str) -> Option<Repo<'b>> {
        Repo::of(name, find_repository(&self.shipped, name)?).ok()
    }

    /// Returns the name of the distro's file that a repository is in, or would be in.
    fn home(&self, repo: &Repo) -> String {
        let group = |repo: &Repo| {
            repo.field("file_group").filter(|group| group.is_truthy()).map(Yaml::python_str)
        };
        group(repo)
            .or_else(|| group(&self.shipped(repo.name)?))
            .unwrap_or_else(|| format!("{}.repo", repo.name))
    }

    /// Returns the commands for a repository that the distro does not have. If it is for the build
    /// only, its former file is backed up first.
    fn description_for_now(
        &self,
        repo: &Repo,
        kept: &mut BTreeSet<String>,
    ) -> Result<String, String> {
        let mut commands = String::new();
        let home = self.home(repo);
        if repo.is("build_only") && kept.insert(home.clone()) {
            commands = put_by(YUM_FOLDER, &home, &home);
        }
        if repo.address().is_none() {
            return Err(format!(
                "the repository '{}' has no {}",
                repo.name,
                ADDRESSES.join(" or ")
            ));
        }
        let name = repo.shown("name")?;
        let lines = [repo.description()?, repo.addresses()?].concat();
        Ok(format!(
            "{commands}grep -rlF '[{name}]' {YUM_FOLDER}/ 2>/dev/null | xargs -r rm -f && {}",
            written(&repo.repo_file(), &lines)
        ))
    }

    fn cleanup(&self, about: &About) -> Result<String, String> {
        let mut commands = Vec::new();
        let mut restored = BTreeSet::new();
        for (name, fields) in &self.repos {
            let repo = Repo::of(name, fields)?;
            if !repo.is("build_only") || repo.is("distro") {
                continue;
            }
            match about.package_type {
                "rpm" => {
                    let (home, own) = (self.home(&repo), format!("{name}.repo"));
                    if home != own {
                        commands.push(format!("rm -f {YUM_FOLDER}/{own}"));
                    }
                    if home == own || restored.insert(home.clone()) {
                        commands.push(put_back(YUM_FOLDER, &home, &home));
                    }
                }
                "deb" => commands.push(put_back(APT_FOLDER, &format!("{name}.sources"), name)),
                _ => {}
            }
        }
        if commands.is_empty() {
            return Ok(String::new());
        }
        commands.push(format!("rm -rf {BACKUP}"));
        Ok(commands.join(" \\\n    && "))
    }
}

/// Lays a section over the one of the same name, or adds it if there is none.
fn lay_over(file: &mut Vec<(String, Yaml)>, section: &str, over: &Yaml) -> Result<(), String> {
    let laid = match find(file, section) {
        Some(former) => Yaml::Map(both(former, over, section)?),
        None => over.clone(),
    };
    set(file, section, laid);
    Ok(())
}

fn owned(table: Repositories<'_>) -> Repositories<'static> {
    let owned = |(name, fields): (Cow<'_, str>, Cow<'_, Yaml>)| {
        (Cow::Owned(name.into_owned()), Cow::Owned(fields.into_owned()))
    };
    table.into_iter().map(owned).collect()
}

/// Merges the fields of two entries. If the result has an address, the repository is not the
/// distro's any more, so the field `distro` is dropped.
fn combined<'a>(name: &str, former: &Yaml, fields: &Yaml) -> Result<Cow<'a, Yaml>, String> {
    let mut combined = both(former, fields, &format!("the entry of the repository '{name}'"))?;
    if combined.iter().any(|(field, _)| field == "url" || ADDRESSES.contains(&field.as_str())) {
        combined.retain(|(field, _)| field != "distro");
    }
    Ok(Cow::Owned(Yaml::Map(combined)))
}

/// Merges two mappings; the second one wins for keys that are in both.
fn both(former: &Yaml, over: &Yaml, what: &str) -> Result<Vec<(String, Yaml)>, String> {
    let mut both = entries(former, what)?.to_vec();
    for (key, value) in entries(over, what)? {
        set(&mut both, key, value.clone());
    }
    Ok(both)
}

/// Returns the commands of 23 for a deb repository. If it is for the build only, its former file is
/// backed up first.
fn sources_for_now(
    about: &About,
    repo: &Repo,
    kept: &mut BTreeSet<String>,
) -> Result<String, String> {
    let mut commands = String::new();
    if repo.is("build_only") && kept.insert(repo.name.to_owned()) {
        commands = put_by(APT_FOLDER, &format!("{}.sources", repo.name), repo.name);
    }
    let codename =
        about.codename.ok_or("the release of the services has no code name")?.to_lowercase();
    let suite = repo.text("suite")?.replace("{openstack_release_codename}", &codename);
    let key = repo.text("gpg_key")?;
    let in_keys = format!("{APT_KEYS}/{key}");
    let mut lines = repo.sources_with(&suite, if key.starts_with('/') { key } else { &in_keys })?;
    if repo.is("trusted") {
        lines.push("Trusted: yes".to_owned());
    }
    lines.extend(repo.architectures());
    Ok(commands + &written(&repo.sources_file(), &lines))
}

/// Returns the commands, ending in `&&`, that back up a file if it exists and create a mark that
/// says to restore it.
fn put_by(folder: &str, file: &str, mark: &str) -> String {
    format!(
        "mkdir -p {BACKUP} && cp {folder}/{file} {BACKUP}/{file} 2>/dev/null || true \
         && touch {BACKUP}/{mark}.enabled && "
    )
}

/// Returns the command that restores a marked file, or removes it if there was none.
fn put_back(folder: &str, file: &str, mark: &str) -> String {
    format!(
        "[ -f {BACKUP}/{mark}.enabled ] && ( mv {BACKUP}/{file} {folder}/{file} 2>/dev/null \
         || rm -f {folder}/{file} ) || true"
    )
}

/// Returns the commands that write lines to a new file.
fn written(file: &str, lines: &[String]) -> String {
    let echo =
        |(index, line)| format!("echo '{line}' {}{file}", if index == 0 { ">" } else { ">>" });
    lines.iter().enumerate().map(echo).collect::<Vec<_>>().join(" && ")
}

/// Repository whose entry has fields.
struct Repo<'a> {
    name: &'a str,
    fields: &'a Entries,
}

impl<'a> Repo<'a> {
    fn of(name: &'a str, entry: &'a Yaml) -> Result<Self, String> {
        let fields = entries(entry, &format!("the entry of the repository '{name}'"))?;
        Ok(Self { name, fields })
    }

    fn field(&self, field: &str) -> Option<&'a Yaml> {
        find(self.fields, field)
    }

    fn is(&self, field: &str) -> bool {
        self.field(field).is_some_and(Yaml::is_truthy)
    }

    fn required(&self, field: &str) -> Result<&'a Yaml, String> {
        let missing = || format!("the repository '{}' has no {field}", self.name);
        self.field(field).ok_or_else(missing)
    }

    /// Returns a required field in Python's spelling.
    fn shown(&self, field: &str) -> Result<String, String> {
        self.required(field).map(Yaml::python_str)
    }

    /// Returns a required field that must be text.
    fn text(&self, field: &str) -> Result<&'a str, String> {
        let other = || format!("the {field} of the repository '{}' is not a string", self.name);
        self.required(field)?.as_text().ok_or_else(other)
    }

    fn sources_file(&self) -> String {
        format!("{APT_FOLDER}/{}.sources", self.name)
    }

    fn repo_file(&self) -> String {
        format!("{YUM_FOLDER}/{}.repo", self.name)
    }

    /// Returns the command that enables or disables a repository that the distro has.
    fn switch(&self, mode: &str) -> Result<String, String> {
        Ok(format!("dnf config-manager --{mode} {} || true", self.shown("name")?))
    }

    /// Returns the lines of apt's sources file, with suite and key as they are in the table.
    fn sources(&self) -> Result<Vec<String>, String> {
        let key = format!("{APT_KEYS}/{}", self.shown("gpg_key")?);
        self.sources_with(&self.shown("suite")?, &key)
    }

    fn sources_with(&self, suite: &str, key: &str) -> Result<Vec<String>, String> {
        Ok(vec![
            format!("Uris: {}", self.shown("url")?),
            format!("Components: {}", self.shown("component")?),
            "Types: deb".to_owned(),
            format!("Suites: {suite}"),
            format!("Signed-By: {key}"),
        ])
    }

    /// Returns the line of architectures if the field exists, even if it is empty.
    fn architectures(&self) -> Option<String> {
        self.field("arch").map(|arch| format!("Architectures: {}", arch.python_str()))
    }

    /// Returns the lines of dnf's repository file, except for the addresses.
    fn description(&self) -> Result<Vec<String>, String> {
        let name = self.shown("name")?;
        let mut lines = vec![format!("[{name}]"), format!("name={name}"), "enabled=1".to_owned()];
        for check in ["gpgcheck", "repo_gpgcheck"] {
            if self.is(check) {
                lines.push(format!("{check}={}", self.shown(check)?));
            }
        }
        let lead = |index| if index == 0 { "gpgkey=" } else { "       " };
        let keys = self.lines("gpgkey")?.into_iter().enumerate();
        lines.extend(keys.map(|(index, key)| format!("{}{key}", lead(index))));
        Ok(lines)
    }

    /// Returns the name of the field with the packages' address: the first of [`ADDRESSES`] that
    /// exists.
    fn address(&self) -> Option<&'static str> {
        ADDRESSES.into_iter().find(|address| self.field(address).is_some())
    }

    fn addresses(&self) -> Result<Vec<String>, String> {
        match self.address() {
            Some("baseurl") => {
                Ok(self.lines("baseurl")?.iter().map(|url| format!("baseurl={url}")).collect())
            }
            Some(field) => Ok(vec![format!("{field}={}", self.shown(field)?)]),
            None => Ok(Vec::new()),
        }
    }

    /// Returns the lines of a field that must be text, split at Python's line ends.
    fn lines(&self, field: &str) -> Result<Vec<String>, String> {
        const ENDS: [char; 10] =
            ['\n', '\r', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\u{85}', '\u{2028}', '\u{2029}'];
        let text = self.text(field)?.replace("\r\n", "\n");
        Ok(text.split_terminator(ENDS).map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::yaml::parse;

    const OLD: &str = "
centos: {ceph: centos-ceph, crb: powertools}
centos9: {crb: crb}
rocky: {crb: crb}
ubuntu: {x: deb http://x y z, n: 1}
debian:
  x: {url: http://x, suite: s, component: '', gpg_key: x.asc, arch: amd64}
  half: {url: http://h}
  text: http://t
debian-aarch64: {}
";

    const NEW: &str = "
rpm:
  x: {name: x-1, gpgkey: \"k1\\nk2\", baseurl: \"u1\\nu2\", gpgcheck: 1, repo_gpgcheck: no}
  m: {name: m, gpgkey: k, metalink: l, mirrorlist: r}
  none: {name: none, gpgkey: k}
deb:
  x: {url: u, suite: 's/{openstack_release_codename}', component: c, gpg_key: x.asc}
  os: {distro: true}
rocky:
  base: {distro: true, name: baseos, file_group: rocky.repo}
  apps: {distro: true, name: appstream, file_group: rocky.repo}
debian-aarch64:
  x: {arch: amd64}
";

    fn tables(tree: &str, site: Option<&str>) -> Tables {
        let files = [DEFAULT_FILE, NOBLE_FILE, EL10_FILE]
            .map(|name| (name.to_owned(), parse(&tree.replace("@", name)).unwrap()));
        let tables = Tables { files: files.into(), site: None };
        match site {
            Some(text) => tables.with_site(parse(text).unwrap()),
            None => tables,
        }
    }

    fn about(major: u32, minor: u32, base: &'static str) -> About<'static> {
        let mut words = base.split(' ');
        let distro = words.next().unwrap();
        let package_type = if matches!(distro, "ubuntu" | "debian") { "deb" } else { "rpm" };
        About {
            version: Version { major, minor, patch: 0 },
            package_type,
            distro,
            arch: "x86_64",
            distro_tag: words.next().unwrap_or_default(),
            codename: Some("Hibiscus"),
        }
    }

    fn handle(tables: &Tables, about: About, names: &str, mode: &str) -> Result<String, String> {
        let names: Vec<_> = names.split_whitespace().map(str::to_owned).collect();
        handle_repos(tables, &about, &names, mode)
    }

    /// Returns the shell commands that write `lines` to a file.
    fn echoed(file: &str, lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(|&line| line.to_owned()).collect();
        written(file, &lines)
    }

    #[test]
    fn until_20_names_are_switched_in_one_command() {
        let tables = tables(OLD, None);
        let rows = [
            (
                about(10, 4, "centos"),
                "ceph crb",
                "enable",
                " --enable centos-ceph --enable powertools",
            ),
            (about(20, 0, "centos"), "none crb", "disable", " --disable powertools"),
            (
                about(14, 9, "centos stream9"),
                "ceph crb",
                "enable",
                " --enable centos-ceph --enable powertools",
            ),
            (about(14, 10, "centos stream9"), "ceph crb", "enable", " --enable crb"),
        ];
        for (about, names, mode, switches) in rows {
            let expected = format!("RUN dnf config-manager {switches} || true");
            assert_eq!(handle(&tables, about, names, mode), Ok(expected), "{about:?}");
        }
        for (names, mode) in [("", "enable"), ("none", "disable")] {
            assert_eq!(handle(&tables, about(20, 0, "rocky"), names, mode), Ok(String::new()));
        }
        assert!(handle(&tables, about(20, 0, "rocky"), "", "remove").is_err());
        assert!(handle(&tables, about(20, 0, "rhel"), "", "enable").is_err());
    }

    #[test]
    fn until_12_a_deb_repository_is_a_line() {
        let expected = "RUN echo \"deb http://x y z\" >/etc/apt/sources.list.d/x.list && \
                        echo \"1\" >/etc/apt/sources.list.d/n.list";
        let tables = tables(OLD, None);
        let text = handle(&tables, about(11, 3, "ubuntu"), "x none n", "enable");
        assert_eq!(text.as_deref(), Ok(expected));
        assert_eq!(handle(&tables, about(11, 3, "ubuntu"), "x", "disable"), Ok(String::new()));
    }

    #[test]
    fn until_20_a_deb_repository_is_a_file_and_counts_only_if_complete() {
        let key = "Signed-By: /etc/kolla/apt-keys/x.asc";
        let lines = ["Uris: http://x", "Components: ", "Types: deb", "Suites: s", key];
        let with_arch = [&lines[..], &["Architectures: amd64"]].concat();
        let tables = tables(OLD, None);
        let rows: [(u32, u32, &[&str]); 8] = [
            (13, 10, &lines),
            (14, 10, &lines),
            (14, 11, &with_arch),
            (15, 2, &lines),
            (15, 3, &with_arch),
            (16, 1, &lines),
            (16, 2, &with_arch),
            (17, 0, &with_arch),
        ];
        for (major, minor, lines) in rows {
            let text = handle(&tables, about(major, minor, "debian"), "half x none", "enable");
            let echoes = echoed("/etc/apt/sources.list.d/x.sources", lines);
            assert_eq!(text, Ok(format!("RUN {echoes}")), "{major}.{minor}");
        }
        assert!(handle(&tables, about(20, 0, "debian"), "text", "enable").is_err());
        let machine = About { arch: "aarch64", ..about(20, 0, "debian") };
        assert_eq!(handle(&tables, machine, "x", "enable"), Ok(String::new()));
    }

    #[test]
    fn the_tables_are_chosen_by_release_base_and_tag() {
        let tree = "{centos: {x: @}, rocky: {x: @}, rhel: {x: @}}";
        let site = Some("{centos: {x: site}, rocky: {x: site}, rhel: {x: site}}");
        let rows = [
            (about(18, 6, "rocky 24.04"), None, "repos.yaml"),
            (about(18, 7, "rocky 24.04"), None, "repos-noble.yaml"),
            (about(18, 8, "rocky noble"), None, "repos-noble.yaml"),
            (about(19, 0, "rocky noble"), None, "repos.yaml"),
            (about(20, 3, "rocky 10"), None, "repos.yaml"),
            (about(20, 4, "rocky 10.1"), None, "repos-el10.yaml"),
            (about(20, 4, "rocky 9"), None, "repos.yaml"),
            (about(20, 4, "centos stream10"), None, "repos-el10.yaml"),
            (about(20, 4, "centos 10"), None, "repos.yaml"),
            (about(20, 4, "rhel 10"), None, "repos.yaml"),
            (about(20, 4, "rocky 10"), site, "site"),
            (about(12, 2, "rhel 8"), site, "repos.yaml"),
            (about(12, 3, "rhel 8"), site, "site"),
            (about(13, 1, "centos stream8"), site, "repos.yaml"),
            (about(14, 2, "centos stream8"), site, "site"),
        ];
        for (about, site, chosen) in rows {
            let text = handle(&tables(tree, site), about, "x", "enable");
            let expected = format!("RUN dnf config-manager  --enable {chosen} || true");
            assert_eq!(text, Ok(expected), "{about:?}");
        }
    }

    #[test]
    fn from_21_a_repository_is_described_or_switched() {
        let tables = tables(NEW, None);
        let x = echoed(
            "/etc/yum.repos.d/x.repo",
            &[
                "[x-1]",
                "name=x-1",
                "enabled=1",
                "gpgcheck=1",
                "gpgkey=k1",
                "       k2",
                "baseurl=u1",
                "baseurl=u2",
            ],
        );
        let m = echoed(
            "/etc/yum.repos.d/m.repo",
            &["[m]", "name=m", "enabled=1", "gpgkey=k", "metalink=l"],
        );
        let base = "dnf config-manager --enable baseos || true";
        let remove = |name| {
            format!("grep -rlF '[{name}]' /etc/yum.repos.d/ 2>/dev/null | xargs -r rm -f && ")
        };
        let text = handle(&tables, about(22, 0, "rocky"), "x base m", "enable");
        assert_eq!(text, Ok(format!("RUN {x} && {base} && {m}")));
        let text = handle(&tables, about(23, 0, "rocky"), "x base m", "enable");
        assert_eq!(text, Ok(format!("RUN {}{x} && {base} && {}{m}", remove("x-1"), remove("m"))));
        let off = |name| format!("dnf config-manager --disable {name} || true");
        for major in [21, 23] {
            let text = handle(&tables, about(major, 0, "rocky"), "base x apps", "disable");
            assert_eq!(text, Ok(format!("RUN {}{}", off("baseos"), off("appstream"))));
            assert_eq!(handle(&tables, about(major, 0, "rocky"), "x", "other"), Ok(String::new()));
            assert!(handle(&tables, about(major, 0, "rocky"), "unknown", "other").is_err());
        }
        assert!(handle(&tables, about(22, 0, "rocky"), "none", "enable").is_ok());
        assert!(handle(&tables, about(23, 0, "rocky"), "none", "enable").is_err());
    }

    #[test]
    fn from_21_sections_are_put_together() {
        let tables = tables(NEW, None);
        let machine = |major| About { arch: "aarch64", ..about(major, 0, "debian") };
        let file = "/etc/apt/sources.list.d/x.sources";
        let lines = [
            "Uris: u",
            "Components: c",
            "Types: deb",
            "Suites: s/hibiscus",
            "Signed-By: /etc/kolla/apt-keys/x.asc",
        ];
        let x = echoed(file, &lines);
        let text = handle(&tables, about(23, 0, "debian"), "x os", "enable");
        assert_eq!(text, Ok(format!("RUN {x} && ")), "the distro's own says nothing");
        let text = handle(&tables, machine(23), "x", "enable");
        assert_eq!(text, Ok(format!("RUN {x} && echo 'Architectures: amd64' >>{file}")));
        let text = handle(&tables, machine(22), "x", "enable");
        assert_eq!(text.unwrap_err(), "the repository 'x' has no gpg_key");
        let text = handle(&tables, about(22, 0, "debian"), "x", "enable");
        assert!(text.unwrap().contains("s/{openstack_release_codename}"));
        let nameless = About { codename: None, ..about(23, 0, "debian") };
        assert!(handle(&tables, nameless, "x", "enable").is_err());
    }

    #[test]
    fn repositories_for_the_build_are_enabled_and_disabled_again() {
        let site = "
rocky:
  base: {name: b, gpgkey: k, baseurl: u, build_only: true}
  apps: {name: a, gpgkey: k, baseurl: u, build_only: true, file_group: rocky.repo}
deb: {x: {url: u, suite: s, component: c, gpg_key: /k, trusted: yes, arch: '', build_only: 1}}
";
        let tables = tables(NEW, Some(site));
        let text = handle(&tables, about(23, 0, "rocky"), "base apps", "enable").unwrap();
        let put_by = "mkdir -p /tmp/kolla-repos-backup && cp /etc/yum.repos.d/rocky.repo \
                      /tmp/kolla-repos-backup/rocky.repo 2>/dev/null || true && \
                      touch /tmp/kolla-repos-backup/rocky.repo.enabled && grep";
        assert!(text.starts_with(&format!("RUN {put_by}")), "{text}");
        assert_eq!(text.matches("mkdir").count(), 1);
        let put_back = "RUN rm -f /etc/yum.repos.d/base.repo \\
    && [ -f /tmp/kolla-repos-backup/rocky.repo.enabled ] && \
    ( mv /tmp/kolla-repos-backup/rocky.repo /etc/yum.repos.d/rocky.repo 2>/dev/null || \
    rm -f /etc/yum.repos.d/rocky.repo ) || true \\
    && rm -f /etc/yum.repos.d/apps.repo \\
    && rm -rf /tmp/kolla-repos-backup";
        let text = cleanup_repos(&tables, &about(23, 0, "rocky")).unwrap();
        assert_eq!(text, put_back);
        let text = handle(&tables, about(23, 0, "debian"), "x", "enable").unwrap();
        assert!(
            text.contains("cp /etc/apt/sources.list.d/x.sources /tmp/kolla-repos-backup/x.sources")
        );
        assert!(text.contains("'Signed-By: /k'"));
        let file = "/etc/apt/sources.list.d/x.sources";
        let end = format!(" && echo 'Trusted: yes' >>{file} && echo 'Architectures: ' >>{file}");
        assert!(text.ends_with(&end), "{text}");
        let text = cleanup_repos(&tables, &about(23, 0, "debian")).unwrap();
        assert!(text.starts_with("RUN [ -f /tmp/kolla-repos-backup/x.enabled ] && ( mv"));
    }

    #[test]
    fn nothing_only_for_the_build_leaves_nothing_to_put_back() {
        let cleanup = |about| cleanup_repos(&tables(NEW, None), &about);
        assert_eq!(cleanup(about(23, 0, "rocky")), Ok(String::new()));
        assert!(cleanup(about(22, 0, "rocky")).is_err());
    }

    #[test]
    fn a_file_of_the_distro_is_replaced_whole_or_not_at_all() {
        let site = "rocky: {base: {name: b, gpgkey: k, baseurl: u}}";
        let error = handle(&tables(NEW, Some(site)), about(23, 0, "rocky"), "", "enable");
        assert!(error.unwrap_err().ends_with(": apps"));
        let whole = format!("{site}\nrocky-x86_64: {{apps: {{gpgkey: k, baseurl: u}}}}");
        let text = handle(&tables(NEW, Some(&whole)), about(23, 0, "rocky"), "apps", "enable");
        assert!(text.unwrap().contains("name=appstream"));
    }

    #[test]
    fn release_9_has_no_repository_functions() {
        assert!(handle(&tables(OLD, None), about(9, 4, "centos"), "", "enable").is_err());
    }
}

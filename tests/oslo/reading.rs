//! Kiln's reading of the cases, in the same form as the oracle's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Zoned;
use kiln::internals::diagnostic::Diagnostics;
use kiln::internals::settings::option;
use kiln::internals::settings::{
    AxisSettings, IniEntry, Layers, Profiles, RunSettings, overlays, parse_ini, settle,
};
use kiln::internals::source::{Digest, Kind, Source};
use kiln::internals::tree::{Manifest, Tree, UserVariables};
use serde_json::{Map, Value, json};

use crate::Answer;
use crate::corpus::Case;

/// The sources and users that the oracle keeps of kolla-build's; it tells of those in files, too.
const SOURCES: [&str; 3] = ["etcd", "gnocchi-base", "horizon"];
const USERS: [&str; 2] = ["nova", "horizon"];

/// Build arguments that are options of their own.
const PIP: [(&str, &str); 3] = [
    ("pip_index_url", "PIP_INDEX_URL"),
    ("pip_trusted_host", "PIP_TRUSTED_HOST"),
    ("pip_extra_index_url", "PIP_EXTRA_INDEX_URL"),
];

/// The files of a case, one by one, as they are taken apart.
pub fn parsed(case: &Case) -> Vec<Answer> {
    let file = |bytes: &Vec<u8>| {
        let text = str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let ini = parse_ini(text, "file").map_err(|errors| told(&errors))?;
        let sections: Vec<_> = ini.sections.into_iter().map(|section| section.name).collect();
        let entry = |entry: IniEntry| [entry.section, entry.key, entry.value];
        let entries: Vec<_> = ini.entries.into_iter().map(entry).collect();
        Ok(json!({"sections": sections, "entries": entries}))
    };
    case.files.iter().map(file).collect()
}

/// Settles cases for the tree of a release.
pub struct Reader {
    tree: Tree,
    folder: tempfile::TempDir,
}

impl Reader {
    /// With the tree in the virtual environment of a release.
    pub fn of(prefix: &Path) -> Self {
        let tree = Tree::open(prefix, None).unwrap_or_else(|errors| panic!("{}", told(&errors)));
        Self { tree, folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// The options that are compared.
    pub fn options(&self) -> Vec<String> {
        let nothing = Case { name: String::new(), files: Vec::new(), flags: BTreeMap::new() };
        let settled = self.settled(&nothing).expect("nothing is no mistake");
        settled["options"].as_object().expect("an object").keys().cloned().collect()
    }

    /// Returns the meaning of a case.
    pub fn settled(&self, case: &Case) -> Answer {
        self.try_to_settle(case).map_err(|errors| told(&errors))
    }

    fn try_to_settle(&self, case: &Case) -> Result<Value, Diagnostics> {
        let manifest = self.tree.manifest();
        let flags = case.flags.iter().map(|(name, values)| (option(name).name, values.clone()));
        let layers = Layers::gather(flags.collect(), &self.write(case), &BTreeMap::new())?;
        let profiles = Profiles::new(self.tree.profiles()?, &layers);
        let settings = settle(&layers, manifest, &profiles, &Zoned::default())?;
        let axis = &settings.axes[0];
        let mut options = options(&settings.run, axis);
        options.insert("docker_dir".to_owned(), json!(overlays(&layers, manifest)?));
        let patterns = settings.run.selection.patterns.iter().flatten();
        let patterns = patterns.map(|pattern| pattern.text().as_ref());
        Ok(json!({
            "options": options,
            "patterns": patterns.collect::<Vec<_>>(),
            "sources": sources(axis, manifest),
            "users": users(axis, manifest),
        }))
    }

    fn write(&self, case: &Case) -> Vec<PathBuf> {
        let write = |(part, bytes): (usize, &Vec<u8>)| {
            let path = self.folder.path().join(format!("{part}.conf"));
            fs::write(&path, bytes).expect("a file");
            path
        };
        case.files.iter().enumerate().map(write).collect()
    }
}

/// The options, by name, whose values can be compared as they are.
fn options(run: &RunSettings, settings: &AxisSettings) -> Map<String, Value> {
    let RunSettings { selection, site, build, push, engine, output, .. } = run;
    let AxisSettings { axis, templating, build: axis_build, .. } = settings;
    let path = |path: &Option<PathBuf>| path.as_deref().unwrap_or(Path::new("")).to_owned();
    let reference = settings.naming.reference("x").expect("a name").to_string();
    let mut build_args = axis_build.build_args.clone();
    let pip = PIP.map(|(name, key)| (name, build_args.remove(key).unwrap_or_default()));
    let told = json!({
        "allowed_to_fail": selection.allowed_to_fail,
        "apt_preferences": path(&site.apt_preferences),
        "apt_sources_list": path(&site.apt_sources_list),
        "base": axis.base,
        "base_arch": axis.arch,
        "base_image": axis.base_image,
        "base_tag": axis.base_tag,
        "build_args": build_args,
        "buildkit": build.buildkit,
        "cache": build.cache,
        "clean_package_cache": templating.clean_package_cache,
        "docker_healthchecks": templating.healthchecks,
        "enable_unbuildable": selection.enable_unbuildable,
        "format": if output.json { "json" } else { "none" },
        "keep": build.keep,
        "logs_dir": path(&output.logs_dir),
        "maintainer": settings.maintainer,
        "network_mode": axis_build.network_mode,
        "openstack_branch": templating.branch,
        "openstack_branch_slashed": templating.branch_slashed,
        "openstack_release": templating.release,
        "openstack_release_codename": templating.codename,
        "patches_path": path(&templating.patches_path),
        "platform": axis_build.platform.as_ref().map(ToString::to_string).unwrap_or_default(),
        "pull": build.pull,
        "push": push.is_wanted(),
        "repos_yaml": path(&templating.repos_yaml),
        "retries": build.retries,
        "rpm_setup_config": templating.rpm_setup_config,
        "skip_existing": selection.skip_existing,
        "skip_parents": selection.skip_parents,
        "summary": output.summary,
        "tag": reference.rsplit_once(':').expect("a tag").1,
        "tarballs_base": templating.tarballs_base,
        "template_override": templating.overrides,
        "threads": build.threads,
        "timeout": engine.timeout.as_secs(),
        "use_dumb_init": templating.use_dumb_init,
        "work_dir": path(&output.work_dir),
    });
    let Value::Object(mut told) = told else { unreachable!("it is written as one") };
    told.extend(pip.map(|(name, value)| (name.to_owned(), value.into())));
    told
}

fn sources(settings: &AxisSettings, manifest: &Manifest) -> Map<String, Value> {
    let asked =
        |s: &&Source| SOURCES.contains(&s.name.as_str()) || !manifest.sources.contains_key(&s.name);
    let source = |source: &Source| {
        let kind = Kind::NAMES.iter().find(|(_, kind)| *kind == source.kind).expect("a kind").0;
        let sha256 = match &source.digest {
            Digest::Sha256(digest) => digest,
            Digest::Unknown | Digest::OfOthers(_) => "",
        };
        let mut told = json!({"type": kind, "location": source.location, "sha256": sha256});
        if source.kind == Kind::Git {
            told["reference"] = json!(source.reference.as_deref().unwrap_or_default());
        }
        (source.name.to_string(), told)
    };
    settings.sources.iter().filter(asked).map(source).collect()
}

fn users(settings: &AxisSettings, manifest: &Manifest) -> Map<String, Value> {
    let asked = |(name, _): &(&String, &UserVariables)| {
        USERS.contains(&name.as_str()) || !manifest.users.contains_key(*name)
    };
    let user = |(name, user): (&String, &UserVariables)| (name.clone(), json!(user));
    settings.users.iter().filter(asked).map(user).collect()
}

/// The messages of a refusal.
fn told(errors: &Diagnostics) -> String {
    let messages: Vec<_> = errors.0.iter().map(|error| error.message.as_str()).collect();
    messages.join("; ")
}

//! Tests of the resolution as a whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use jiff::Zoned;
use jiff::civil::date;
use jiff::tz::{Offset, TimeZone};

use super::settle;
use crate::diagnostic::{Diagnostics, Result};
use crate::settings::layers::Layers;
use crate::settings::profiles::Profiles;
use crate::settings::types::{
    AxisSettings, GraphFormat, PlanFormat, RunSettings, Settings, Target, Task,
};
use crate::tree::{Manifest, ProfileFile};

/// Returns the time of the runs, at which the day in UTC is the next one.
fn now() -> Zoned {
    let zone = TimeZone::fixed(Offset::constant(-5));
    date(2026, 1, 31).at(23, 30, 0, 0).to_zoned(zone).unwrap()
}

const MANIFEST: &str = r#"
    [defaults]
    namespace = "family"
    base = "one"
    install_type = "binary"
    [bases.one]
    image = "one"
    tag = "1"
    package_type = "deb"
    package_manager = "apt"
    install_types = ["binary"]
    [install_types.variant]
    renders_as = "binary"
    variables = { flavour = "v" }
    [install_types.source]
    fetches_sources = true
    [sources]
    app = { type = "pip", location = "app==1", sha256 = "00" }
    other = { type = "git", location = "https://r", reference = "v1" }
    [bases.two]
    image = "two"
    tag = "2"
    package_type = "rpm"
    package_manager = "dnf"
    install_types = ["binary", "source", "variant"]
"#;

/// Resolves settings from flags, the text of a file and variables.
fn settled(
    flags: &[(&'static str, &str)],
    file: &str,
    environment: &[(&str, &str)],
) -> Result<Settings> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("build.conf");
    fs::write(&path, file).unwrap();
    let mut given: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for (name, value) in flags {
        given.entry(name).or_default().push((*value).to_owned());
    }
    let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let manifest = Manifest::parse(MANIFEST, "tree.toml").unwrap();
    let layers = Layers::gather(given, &[path], &environment)?;
    let few = ProfileFile { path: None, text: "# a comment\n^a$\n\nb\n".to_owned() };
    let files = BTreeMap::from([("few".to_owned(), few)]);
    let profiles = Profiles::new(files, &layers);
    settle(&layers, &manifest, &profiles, &now())
}

/// Resolves the settings of the run.
fn settled_run(
    flags: &[(&'static str, &str)],
    file: &str,
    environment: &[(&str, &str)],
) -> Result<RunSettings> {
    settled(flags, file, environment).map(|settings| settings.run)
}

/// Resolves the settings of the first axis.
fn settled_axis(
    flags: &[(&'static str, &str)],
    file: &str,
    environment: &[(&str, &str)],
) -> Result<AxisSettings> {
    settled(flags, file, environment).map(|mut settings| settings.axes.remove(0))
}

fn message(result: Result<Settings>) -> String {
    let diagnostics = result.unwrap_err().0;
    assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
    let diagnostic = &diagnostics[0];
    format!("{} | {}", diagnostic.message, diagnostic.help.as_deref().unwrap_or(""))
}

#[test]
fn the_stronger_layer_wins() {
    let file = "[DEFAULT]\nthreads = 2\n";
    let threads = |flags, file, env| settled_run(flags, file, env).unwrap().build.threads;
    assert_eq!(threads(&[], "", &[]), 8);
    assert_eq!(threads(&[], file, &[]), 2);
    assert_eq!(threads(&[], file, &[("KILN_THREADS", "3")]), 3);
    assert_eq!(threads(&[("threads", "4")], file, &[("KILN_THREADS", "3")]), 4);
    let of_tree = settled_axis(&[], "", &[]).unwrap();
    assert_eq!(of_tree.axis.base, "one");
    assert_eq!(settled_axis(&[], "[DEFAULT]\nbase = two", &[]).unwrap().axis.base_image, "two");
}

#[test]
fn the_summary_goes_to_a_file_as_json_alone() {
    let output = |flags| settled_run(flags, "", &[]).unwrap().output;
    let to_file = output(&[("summary_json_file", "f")]);
    assert_eq!((to_file.json, to_file.summary_json_file), (false, Some(PathBuf::from("f"))));
    let none = output(&[("summary_json_file", "f"), ("format", "none")]);
    assert_eq!((none.json, none.summary_json_file), (false, None));
}

#[test]
fn a_graph_is_written_as_its_file_ends_unless_the_format_is_said() {
    let task = |flags: &[(&'static str, &str)]| settled_run(flags, "", &[]).unwrap().task;
    let file = |name: &str| Target::File(PathBuf::from(name));
    let table = [
        ("graph.dot", GraphFormat::Dot),
        ("graph", GraphFormat::Dot),
        ("graph.json", GraphFormat::Json),
        ("graph.JSON", GraphFormat::Json),
        ("graph.mmd", GraphFormat::Mermaid),
        ("graph.mermaid", GraphFormat::Mermaid),
    ];
    for (name, format) in table {
        let expected = Task::SaveDependency(file(name), format);
        assert_eq!(task(&[("save_dependency", name)]), expected);
    }
    let said = [("save_dependency", "graph.json"), ("graph_format", "mermaid")];
    assert_eq!(task(&said), Task::SaveDependency(file("graph.json"), GraphFormat::Mermaid));
    let stdout = Task::SaveDependency(Target::Stdout, GraphFormat::Dot);
    assert_eq!(task(&[("save_dependency", "-")]), stdout);
}

#[test]
fn a_plan_is_text_unless_json_is_asked_for() {
    let task = |flags: &[(&'static str, &str)], file: &str| {
        settled_run(&[&[("plan", "true")], flags].concat(), file, &[]).unwrap().task
    };
    assert_eq!(task(&[], ""), Task::Plan(PlanFormat::Text));
    assert_eq!(task(&[("format", "none")], ""), Task::Plan(PlanFormat::Text));
    assert_eq!(task(&[("format", "json")], ""), Task::Plan(PlanFormat::Json));
    assert_eq!(task(&[], "[DEFAULT]\nformat = json\n"), Task::Plan(PlanFormat::Json));
    assert_eq!(task(&[("list_images", "true")], ""), Task::ListImages);
}

#[test]
fn names_follow_from_the_axis() {
    let flags = [("base", "two"), ("install_type", "source"), ("registry", "h:1"), ("tag", "t")];
    let settings = settled_axis(&flags, "", &[]).unwrap();
    let reference = settings.naming.reference("x").unwrap();
    assert_eq!(reference.to_string(), "h:1/family/two-source-x:t");
    let plain = settled_axis(&[], "", &[]).unwrap().naming.reference("x").unwrap();
    assert_eq!(plain.to_string(), format!("family/one-binary-x:{}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn patterns_win_over_profiles_and_profiles_add_up() {
    let patterns = |flags: &[(&'static str, &str)], file: &str| {
        let found = settled_run(flags, file, &[]).unwrap().selection.patterns;
        found.map(|p| p.iter().map(|p| p.text().to_string()).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(patterns(&[], ""), None);
    assert_eq!(patterns(&[("profile", "few")], "").as_deref(), Some("^a$ b"));
    assert_eq!(patterns(&[("profile", "few"), ("regex", "x")], "").as_deref(), Some("x"));
    let own = "[DEFAULT]\nprofile = own\n[profiles]\nown = ^c, d\nfew = z\n";
    assert_eq!(patterns(&[], own).as_deref(), Some("^c d"));
    assert_eq!(patterns(&[("profile", "few")], own).as_deref(), Some("^c d z"));
}

#[test]
fn wrong_values_are_refused_with_a_cure() {
    type Flags = &'static [(&'static str, &'static str)];
    let table: &[(Flags, &str, &str)] = &[
        (&[("base", "onw")], "", "the tree has no base 'onw' | did you mean 'one'?"),
        (&[("base", "zzz")], "", "the tree has no base 'zzz' | known: one, two"),
        (
            &[("install_type", "binray")],
            "",
            "the base 'one' has no type 'binray' | did you mean 'binary'?",
        ),
        (&[("install_type", "source")], "", "the base 'one' has no type 'source' | known: binary"),
        (&[("threads", "0")], "", "threads can't be '0' | write a whole number of at least 1"),
        (&[("format", "xml")], "", "format can't be 'xml' | choose one of: json, none"),
        (
            &[("save_dependency", "f"), ("graph_format", "svg")],
            "",
            "graph_format can't be 'svg' | choose one of: dot, json, mermaid",
        ),
        (
            &[("graph_format", "json")],
            "",
            "graph_format has no effect without --save-dependency | add --save-dependency FILE, or - for standard output",
        ),
        (&[("profile", "feww")], "", "there is no profile 'feww' | did you mean 'few'?"),
        (
            &[("regex", "(")],
            "",
            "'(' is not a regular expression | write it in the syntax of Python or of the regex crate; a backslash takes the meaning from a character, as in '\\+'",
        ),
        (&[], "[DEFAULT]\npush = maybe", "push can't be 'maybe' | write true or false"),
        (&[], "[DEFAULT]\nthraeds = 1", "there is no option 'thraeds' | did you mean 'threads'?"),
        (
            &[],
            "[DEFAULT]\nbase-tag = 1",
            "there is no option 'base-tag' | in a file it is called 'base_tag'",
        ),
        (
            &[],
            "[profile]\na = b",
            "there is no key 'a' in a section like [profile], which describes a source | did you mean the section [profiles]?",
        ),
        (&[("secret", "id=a,sorce=f")], "", "a secret has no key 'sorce' | did you mean 'source'?"),
        (
            &[("secret", "open sesame")],
            "",
            "a secret consists of key=value pairs | write id=NAME[,src=FILE][,env=VARIABLE][,type=file|env]",
        ),
        (
            &[("secret", "id=a,src=/nonexistent/f")],
            "",
            "the file '/nonexistent/f' of the secret 'a' does not exist | ",
        ),
        (
            &[("secret", "id=a,env=V")],
            "",
            "the environment variable V of the secret 'a' is not set | ",
        ),
        (
            &[("secret", "id=a,src=Cargo.toml"), ("secret", "id=a,src=Cargo.lock")],
            "",
            "the id 'a' is given twice | ",
        ),
        (
            &[("secret", "id=a,src=Cargo.toml"), ("buildkit", "false")],
            "",
            "--secret needs BuildKit, which is switched off | leave out --nobuildkit",
        ),
        (
            &[("secret", "id=a,src=Cargo.toml"), ("squash", "true")],
            "",
            "--secret needs BuildKit, which is switched off | leave out --squash, which uses the classic builder",
        ),
        (
            &[("ssh", "default")],
            "",
            "SSH_AUTH_SOCK is not set: no ssh agent is running | start one with ssh-agent, or write default=SOCKET",
        ),
        (
            &[("ssh", "k=Cargo.toml")],
            "",
            "'Cargo.toml', the ssh agent 'k', is not a socket | Kiln forwards ssh agents, not keys: add the key to an agent with ssh-add",
        ),
        (
            &[("namespace", "Upper")],
            "",
            "'Upper/one-binary-x:1.0.0' is not an image reference: a repository is lower-case letters and digits, with one '.', '_' or '__', or hyphens, between them | check --registry, --namespace and --tag",
        ),
    ];
    for (flags, file, expected) in table {
        assert_eq!(message(settled(flags, file, &[])), *expected);
    }
}

#[test]
fn secrets_of_variables_are_hidden_and_checked_where_there_is_a_build() {
    let flags = [("secret", "id=a,env=V")];
    let settings = settled(&flags, "", &[("V", "open sesame")]).unwrap();
    assert_eq!(settings.run.build.secrets.secrets.len(), 1);
    assert!(!format!("{settings:?}").contains("sesame"));
    let listed = [("secret", "id=a,src=/nonexistent"), ("list_images", "true")];
    assert!(settled(&listed, "", &[]).is_ok());
}

#[test]
fn the_engine_is_looked_for_where_one_is_needed() {
    let wrong = [("DOCKER_HOST", "nowhere")];
    let listing = [("list_images", "true")];
    assert_eq!(settled_run(&listing, "", &wrong).unwrap().engine.endpoint, None);
    assert!(
        message(settled(&[], "", &wrong))
            .starts_with("DOCKER_HOST has the invalid value 'nowhere'")
    );
    let podman = "[DEFAULT]\nengine = podman\npodman_base_url = tcp:/h\n";
    let refused = message(settled(&listing, podman, &wrong));
    assert!(
        refused.starts_with("podman_base_url has the invalid value 'tcp:/h': it has no scheme")
    );
}

#[test]
fn a_variant_is_named_as_what_it_renders_as() {
    let settings = settled_axis(&[("base", "two"), ("install_type", "variant")], "", &[]).unwrap();
    assert_eq!(settings.naming.prefix(), "two-binary-");
    assert_eq!(settings.install_type.variables["flavour"].as_str(), Some("v"));
    assert!(settings.sources.is_empty());
}

#[test]
fn references_stand_for_values() {
    let table = [
        ("$base-$$ \\$x", "one-$ $x"),
        ("$threads $push <$registry>", "8 False <>"),
        ("${base_tag} $base_image", "1 one"),
        ("$openstack_branch_slashed", "stable/"),
        ("${other.reference} ${app.enabled}", "v1 True"),
        ("$network_mode\nnetwork_mode = ${engine}x", "dockerx"),
    ];
    for (text, expected) in table {
        let file = format!("[DEFAULT]\nmaintainer = {text}\n");
        assert_eq!(settled_axis(&[], &file, &[]).unwrap().maintainer, expected, "{text}");
    }
    let file = "[DEFAULT]\nallowed_to_fail = $base-a,b\nregex = ^$base$\n";
    let settings = settled(&[], file, &[]).unwrap();
    assert_eq!(settings.run.selection.allowed_to_fail, ["one-a", "b"]);
    assert_eq!(settings.run.selection.patterns.unwrap()[0].text().as_ref(), "^one$");
}

#[test]
fn references_that_lead_nowhere_are_refused() {
    let cure = "write $$ for a dollar sign";
    let table = [
        (
            "maintainer = $treads",
            "there is no option 'treads', which maintainer refers to | did you mean 'threads'?"
                .to_owned(),
        ),
        (
            "maintainer = ${other.x}",
            format!("there is no option 'other.x', which maintainer refers to | {cure}"),
        ),
        (
            "locals_base = $locals_base",
            format!("locals_base refers to 'locals_base', whose value refers to itself | {cure}"),
        ),
        (
            "maintainer = $profile",
            format!("maintainer can't refer to 'profile', which takes several values | {cure}"),
        ),
        (
            "[x-user]\ngroup = $nobody",
            format!("there is no option 'nobody', which group in [x-user] refers to | {cure}"),
        ),
    ];
    for (text, expected) in table {
        assert_eq!(message(settled(&[], &format!("[DEFAULT]\n{text}\n"), &[])), expected);
    }
}

#[test]
fn names_of_sections_may_have_capital_letters() {
    let file = "[DEFAULT]\nprofile = own\n[Profiles]\nown = a\n[X-USER]\nuid = 5\n[x-user]\ngid = 6\n[y-user]\n";
    let settings = settled(&[], file, &[]).unwrap();
    assert_eq!(settings.run.selection.patterns.unwrap()[0].text().as_ref(), "a");
    let ids = |name: &str| (settings.axes[0].users[name].uid, settings.axes[0].users[name].gid);
    assert_eq!(ids("X"), (Some(5), Some(6)));
    assert_eq!(ids("y"), (None, None));
    let errors = settled(&[], "[default]\nthreads = 1\n", &[]).unwrap_err();
    assert_eq!(errors.0[0].help.as_deref(), Some("did you mean the section [DEFAULT]?"));
}

#[test]
fn sections_change_and_add_sources() {
    let flags = [("base", "two"), ("install_type", "source")];
    let sources = |file: &str| {
        let found = settled_axis(&flags, file, &[])?.sources;
        let shown = found.into_iter().map(|s| {
            format!("{} {:?} {} {:?} {:?}", s.name, s.kind, s.location, s.reference, s.digest)
        });
        Ok::<_, Diagnostics>(shown.collect::<Vec<_>>())
    };
    let app = "app Pip app==1 None Sha256(\"00\")";
    let other = "other Git https://r Some(\"v1\") Unknown";
    assert_eq!(sources("").unwrap(), [app, other]);
    let changed = "[app]\nlocation = app==2\n[other]\nenabled = no\n[app-plugin-x]\ntype = local\nlocation = /p\n";
    assert_eq!(
        sources(changed).unwrap(),
        ["app Pip app==2 None Unknown", "app-plugin-x Local /p None Unknown"]
    );
    let message = |file| sources(file).unwrap_err().0.remove(0).message;
    let digest = "[app]\nsha256 = nowhere:aa\n";
    assert!(message(digest).starts_with("there is no digest for "), "{}", message(digest));
    assert_eq!(message("[app]\ntype = svn\n"), "the source [app] has an unknown type: 'svn'");
    assert_eq!(message("[new]\ntype = url\n"), "the source [new] has no location");
    assert_eq!(
        message("[app]\nlocaton = x\n"),
        "there is no key 'locaton' in a section like [app], which describes a source"
    );
}

#[test]
fn all_wrong_values_are_reported_at_once() {
    let errors = settled(&[("threads", "x"), ("retries", "-1")], "", &[]).unwrap_err();
    assert_eq!(errors.0.len(), 2);
}

#[test]
fn day_is_that_of_the_epoch_or_else_the_given_one() {
    let today = |environment: &[_]| settled_run(&[], "", environment).unwrap().today;
    let table = [("", "20260131"), ("no number", "20260131"), ("86400", "19700102")];
    for (epoch, expected) in table {
        assert_eq!(today(&[("SOURCE_DATE_EPOCH", epoch)]), expected, "{epoch}");
    }
    assert_eq!(today(&[("TZ", "Asia/Tokyo")]), "20260131");
}

#[test]
fn images_are_refreshed_in_each_day_or_week_of_utc() {
    let refresh = |length: &str, epoch: &str| {
        let environment = [("SOURCE_DATE_EPOCH", epoch)];
        settled_run(&[("refresh", length)], "", &environment).unwrap().refresh
    };
    let table = [
        ("day", "", "2026-02-01"),
        ("week", "", "2026-W05"),
        ("day", "86399", "1970-01-01"),
        ("day", "86400", "1970-01-02"),
        // The last Sunday of 2026, the Monday after it, and the first Monday of 2027.
        ("week", "1798415999", "2026-W52"),
        ("week", "1798416000", "2026-W53"),
        ("week", "1799020800", "2027-W01"),
    ];
    for (length, epoch, expected) in table {
        assert_eq!(refresh(length, epoch).as_deref(), Some(expected), "{length} {epoch}");
    }
    assert_eq!(refresh("no", "0"), None);
    assert_eq!(
        settled_run(&[], "[DEFAULT]\nrefresh = week\n", &[]).unwrap().refresh.as_deref(),
        Some("2026-W05")
    );
}

#[test]
fn every_axis_has_its_own_values() {
    let flags = [("base", "one,two"), ("namespace", "n")];
    let file = "[DEFAULT]\nnetwork_mode = net-$base\nmaintainer = of $base\n";
    let settings = settled(&flags, file, &[]).unwrap();
    let of_axis = |axis: &AxisSettings| {
        (axis.label.clone().unwrap(), axis.build.network_mode.clone(), axis.maintainer.clone())
    };
    let expected =
        ["one", "two"].map(|base| (base.to_owned(), format!("net-{base}"), format!("of {base}")));
    assert_eq!(settings.axes.iter().map(of_axis).collect::<Vec<_>>(), expected);
}

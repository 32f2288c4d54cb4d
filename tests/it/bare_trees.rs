//! Folders of kolla-build's templates without the Python package: package repositories are needed
//! only where a template asks for them.

use std::fs;
use std::path::Path;

use crate::support::{Run, kiln};

/// Macros of a tree since release 10. Only a call of one of them asks for repositories.
const MACROS: &str = "\
{% macro enable_extra_repos(names) %}\n{{ handle_repos(names, 'enable') }}\n{% endmacro %}\n\
{% macro tidy() %}\n{{ cleanup_repos() }}\n{% endmacro %}\n\
{% macro plain(word) %}\nRUN echo {{ word }}\n{% endmacro %}\n";

/// Image that uses a macro, but no repositories.
const BASE: &str = "FROM {{ base_image }}:{{ base_distro_tag }}\n\
                    {% import 'macros.j2' as macros with context %}\n{{ macros.plain('x') }}\n";

const ASKS: &str = "FROM {{ namespace }}/{{ image_prefix }}base:{{ tag }}\n\
                    {% import 'macros.j2' as macros with context %}\n\
                    {{ macros.enable_extra_repos(['extra']) }}\n";

/// Repositories of a site, in the form since release 21.
const SITE: &str = "deb:\n  extra: {url: 'http://deb.example.com', suite: s, component: c, gpg_key: k.asc}\n\
                    rpm:\n  extra: {name: extra, gpgkey: k, baseurl: 'http://rpm.example.com'}\n";

/// Creates a folder of templates: `base`, and the given ones beside it.
fn tree(images: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("docker/macros.j2", MACROS);
    write("site.yaml", SITE);
    for (name, text) in [("base", BASE)].iter().chain(images) {
        write(&format!("docker/{name}/Dockerfile.j2"), text);
    }
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> Run {
    let mut command = kiln();
    command.args(arguments).args(["--tree", "docker"]).current_dir(folder);
    Run::of(command)
}

#[test]
fn repositories_are_not_needed_where_no_template_asks() {
    let folder = tree(&[]);
    for (dialect, base) in [
        (None, "debian"),
        (Some("11"), "ubuntu"),
        (Some("14.11"), "centos"),
        (Some("18"), "rocky"),
        (Some("21"), "debian"),
        (Some("23"), "rocky"),
    ] {
        let dialect: Vec<&str> =
            dialect.iter().flat_map(|release| ["--dialect", release]).collect();
        let list = ["build", "--list-images", "--base", base];
        let listed = run(folder.path(), &[&list[..], &dialect].concat()).expect(0);
        assert_eq!(listed.stdout, "1 : base\n", "{dialect:?}");
    }
}

#[test]
fn lack_of_repositories_is_reported_once_where_a_template_asks() {
    let folder = tree(&[("app", ASKS), ("more", ASKS)]);
    let list = ["build", "--list-images", "--base", "debian", "--dialect", "21"];
    let stderr = run(folder.path(), &list).expect(2).stderr;
    let expected = "no table of package repositories was found beside the templates";
    assert_eq!(stderr.matches("error:").count(), 1, "{stderr}");
    assert!(stderr.contains(expected), "{stderr}");
    assert!(stderr.contains("docker/macros.j2:2"), "{stderr}");
    assert!(stderr.contains("docker/app/Dockerfile.j2:3"), "{stderr}");
    assert!(stderr.contains("one other image fails for the same reason"), "{stderr}");
    assert!(stderr.contains("help: name a file with --repos-yaml"), "{stderr}");

    let tidy = ASKS.replace("enable_extra_repos(['extra'])", "tidy()");
    let folder = tree(&[("app", &tidy)]);
    let list = ["build", "--list-images", "--base", "rocky", "--dialect", "23"];
    let stderr = run(folder.path(), &list).expect(2).stderr;
    assert!(stderr.contains(expected) && stderr.contains("docker/macros.j2:5"), "{stderr}");
}

#[test]
fn repositories_of_the_site_serve_a_bare_tree() {
    let folder = tree(&[("app", ASKS)]);
    for (base, tag, dialect, expected) in [
        ("debian", "bookworm", "21", "http://deb.example.com"),
        ("rocky", "10", "20.6", ""),
        ("rocky", "10", "23", "http://rpm.example.com"),
    ] {
        let arguments =
            ["build", "--template-only", "--repos-yaml", "site.yaml", "--work-dir", "out"];
        let axis = ["--base", base, "--base-tag", tag, "--dialect", dialect];
        let rendered = run(folder.path(), &[&arguments[..], &axis].concat());
        if expected.is_empty() {
            // The form of this release has a section for each base, which the file lacks.
            assert!(rendered.expect(2).stderr.contains("has no section 'rocky'"));
            continue;
        }
        rendered.expect(0);
        let text = fs::read_to_string(folder.path().join("out/docker/app/Dockerfile")).unwrap();
        assert!(text.contains(expected), "{dialect}: {text}");
    }
}

#[test]
fn lint_reports_the_line_that_asks() {
    let folder = tree(&[("app", ASKS)]);
    let found = run(folder.path(), &["lint", "--base", "debian", "--dialect", "22"]).expect(1);
    assert!(found.stdout.contains("no table of package repositories"), "{found:?}");
}

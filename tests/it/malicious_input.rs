//! Malicious trees and archives: which are refused, with which messages, and the resources that are
//! used before that.
//!
//! Single readers are tested in their own modules. Here the program runs as a whole, and where a
//! test is about memory, the system enforces its limit.

use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::support::idle::idle_engine;
use crate::support::{FETCHING, Run, TestTree};
use flate2::Compression;
use flate2::write::GzEncoder;

/// Address space of the program while it reads an archive, in KiB: its code and its threads' stacks
/// take some hundred MiB before it does anything.
const ADDRESS_SPACE_KIB: u64 = 1_000_000;

/// Returns the reason why a program with little memory refuses the archive at `path` as a plugin.
fn refusal(path: &Path) -> String {
    let tree = TestTree::new(&[("app", "FROM debian:bookworm\nADD plugins-archive /\n")]);
    tree.write("tree.toml", FETCHING);
    let text = format!("[app-plugin-bomb]\ntype = local\nlocation = {}\n", path.display());
    let conf = tree.path().join("build.conf");
    fs::write(&conf, text).unwrap();
    let build = tree.command(&["--nobuildkit", "--config-file", conf.to_str().unwrap()]);
    let mut limited = Command::new("sh");
    limited.arg("-c").arg(format!("ulimit -v {ADDRESS_SPACE_KIB}; exec \"$0\" \"$@\""));
    limited.arg(build.get_program()).args(build.get_args());
    limited.env("DOCKER_HOST", format!("tcp://{}", idle_engine()));
    limited.env("XDG_CONFIG_HOME", "/nonexistent").env("XDG_STATE_HOME", tree.path().join("state"));
    // Otherwise the allocator reserves address space for every thread, which is no use of memory.
    limited.env("MALLOC_ARENA_MAX", "1");
    let run = Run::of(limited).expect(1);
    let reason = run.summary()["failed"][0]["reason"].as_str().unwrap().to_owned();
    let start =
        format!("the source [app-plugin-bomb] {}: its archive can't be used: ", path.display());
    reason.strip_prefix(&start).unwrap_or_else(|| panic!("{reason}")).to_owned()
}

/// Returns a header for an entry of this name, kind and size.
fn header(name: &str, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    header
}

/// Writes `start`, followed by `mebibytes` of zeros, in a few MB: one compressed chunk is repeated.
fn zeros_behind(start: &[u8], mebibytes: usize, path: &Path) {
    let compressed = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    const CHUNK: usize = 16;
    let chunk = compressed(&vec![0; CHUNK << 20]);
    let mut file = BufWriter::new(File::create(path).unwrap());
    file.write_all(&compressed(start)).unwrap();
    for _ in 0..mebibytes / CHUNK {
        file.write_all(&chunk).unwrap();
    }
    file.flush().unwrap();
}

#[test]
fn a_file_of_10_gb_in_an_archive_of_10_mb_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.tar.gz");
    let size = 10 << 30;
    zeros_behind(header("zeros", tar::EntryType::Regular, size).as_bytes(), 10 << 10, &path);
    let packed = path.metadata().unwrap().len();
    assert!(packed < 12 << 20, "{packed}");
    let mut start = Vec::new();
    let archive = flate2::read::MultiGzDecoder::new(File::open(&path).unwrap());
    archive.take(64 << 20).read_to_end(&mut start).unwrap();
    assert_eq!(start.len(), 64 << 20, "it is no bomb");
    assert_eq!(refusal(&path), "'zeros' makes the sources of the image larger than 8 GiB");
}

#[test]
fn gigabytes_between_archive_entries_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.tar.gz");
    let table = [
        (tar::EntryType::Directory, "'zeros/' is followed by what can't be read: "),
        (tar::EntryType::GNULongName, "its start can't be read: "),
        (tar::EntryType::XHeader, "its start can't be read: "),
    ];
    for (kind, start) in table {
        zeros_behind(header("zeros/", kind, 1 << 30).as_bytes(), 1 << 10, &path);
        let reason = refusal(&path);
        assert!(reason.starts_with(start), "{reason}");
        assert!(reason.ends_with("its headers are larger than names and attributes need"));
    }
}

/// Returns the header of an empty file whose name is a number of seven digits.
fn numbered(number: u32) -> [u8; 512] {
    let mut raw = [0; 512];
    raw[..7].copy_from_slice(format!("{number:07}").as_bytes());
    raw[100..107].copy_from_slice(b"0000644");
    raw[124..135].copy_from_slice(b"00000000000");
    raw[156] = b'0';
    let sum = 8 * 32 + raw.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    raw[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    raw
}

#[test]
fn a_million_entries_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.tar.gz");
    // First as many different names as are remembered, then one name repeatedly.
    let mut file = GzEncoder::new(File::create(&path).unwrap(), Compression::none());
    for thousand in 0..260 {
        let headers: Vec<_> = (thousand * 1000..(thousand + 1) * 1000).flat_map(numbered).collect();
        file.write_all(&headers).unwrap();
    }
    let mut file = file.finish().unwrap();
    let mut same = GzEncoder::new(Vec::new(), Compression::fast());
    same.write_all(&numbered(0).repeat(10_000)).unwrap();
    let same = same.finish().unwrap();
    for _ in 0..74 {
        file.write_all(&same).unwrap();
    }
    assert_eq!(refusal(&path), "'0250000' exceeds the number of entries for one image");
}

/// Creates a tree with one template, `Dockerfile.tera` or `Dockerfile.j2`, and others beside it.
fn tree(template: &str, text: &str, others: &[(&str, &str)]) -> TestTree {
    let tree = TestTree::new(&[]);
    tree.write(&format!("app/{template}"), text);
    for (path, text) in others {
        tree.write(path, text);
    }
    tree
}

/// Returns the error of a tree that is refused, without the tree's path.
fn told(tree: &TestTree) -> String {
    let run = tree.build(&["--list-images"]).expect(2);
    assert_eq!(run.stdout, "");
    run.stderr.replace(&format!("{}/", tree.path().display()), "")
}

#[test]
fn templates_reach_nothing_but_their_tree() {
    let table = [
        ("Dockerfile.tera", "{% include \"/etc/passwd\" %}", "Unknown template `/etc/passwd`"),
        ("Dockerfile.tera", "{% include \"../../etc/passwd\" %}", "Unknown template"),
        ("Dockerfile.tera", "{{ get_env(name=\"HOME\") }}", "Unknown function `get_env`"),
        ("Dockerfile.tera", "{{ load_data(path=\"/etc/passwd\") }}", "Unknown function"),
        ("Dockerfile.tera", "{{ now() }}", "Unknown function `now`"),
        ("Dockerfile.j2", "{% include '/etc/passwd' %}", "a template is missing"),
        ("Dockerfile.j2", "{% include '../../../etc/passwd' %}", "a template is missing"),
        ("Dockerfile.j2", "{% import '/etc/passwd' as p %}", "a template is missing"),
        ("Dockerfile.j2", "{% from '/etc/passwd' import p %}", "a template is missing"),
        ("Dockerfile.j2", "{% extends '/etc/passwd' %}", "a template is missing"),
        ("Dockerfile.j2", "{{ get_env('HOME') }}", "get_env is unknown"),
        ("Dockerfile.j2", "{{ 'x'.__class__.mro() }}", "can't be rendered"),
        ("Dockerfile.j2", "{{ lookup('file', '/etc/passwd') }}", "lookup is unknown"),
    ];
    for (template, text, message) in table {
        let told = told(&tree(template, &format!("FROM x\n{text}\n"), &[]));
        assert!(told.contains(message), "{text}: {told}");
        assert!(told.contains(&format!("app/{template}:2:")), "{text}: {told}");
    }
}

#[test]
fn templates_see_nothing_of_the_environment() {
    let table = [("Dockerfile.tera", "{{ __tera_context }}"), ("Dockerfile.j2", "{{ debug() }}")];
    for (template, text) in table {
        let tree = tree(template, &format!("FROM x\n# {text}\n"), &[]);
        let out = tempfile::tempdir().unwrap();
        let out_path = out.path().to_str().unwrap();
        let mut command = tree.command(&["--template-only", "--work-dir", out_path]);
        command.env("SECRET_OF_THE_BUILD", "mum's the word");
        Run::of(command).expect(0);
        let dockerfile = fs::read_to_string(out.path().join("docker/app/Dockerfile")).unwrap();
        assert!(dockerfile.contains("base_distro"), "{dockerfile}");
        assert!(!dockerfile.contains("mum's the word") && !dockerfile.contains("SECRET_OF"));
    }
}

#[test]
fn templates_that_call_themselves_are_refused_where_they_do() {
    type Others = &'static [(&'static str, &'static str)];
    let table: [(&str, &str, Others, &str); 8] = [
        ("Dockerfile.tera", "{% include \"app/Dockerfile.tera\" %}", &[], "circular include"),
        (
            "Dockerfile.tera",
            "{% include \"b.tera\" %}",
            &[("b.tera", "{% include \"app/Dockerfile.tera\" %}")],
            "circular include",
        ),
        ("Dockerfile.tera", "{% for i in range(end=1000000000000) %}{% endfor %}", &[], "`range`"),
        ("Dockerfile.j2", "{% include 'app/Dockerfile.j2' %}", &[], "recursion limit"),
        (
            "Dockerfile.j2",
            "{% include 'b.j2' %}",
            &[("b.j2", "{% include 'app/Dockerfile.j2' %}")],
            "recursion limit",
        ),
        (
            "Dockerfile.j2",
            "{% extends 'b.j2' %}",
            &[("b.j2", "{% extends 'app/Dockerfile.j2' %}")],
            "cycle in template inheritance",
        ),
        (
            "Dockerfile.j2",
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            &[],
            "recursion limit",
        ),
        ("Dockerfile.j2", "{% for i in range(10**12) %}{% endfor %}", &[], "too many elements"),
    ];
    for (template, text, others, message) in table {
        let told = told(&tree(template, &format!("{{# #}}\n{text}\n"), others));
        assert!(told.contains(message), "{text}: {told}");
        assert!(told.contains(&format!("app/{template}:2:")), "{text}: {told}");
    }
    let extends = "{# #}\n{% extends \"b.tera\" %}";
    let told_of = told(&tree(
        "Dockerfile.tera",
        extends,
        &[("b.tera", "{# #}\n{% extends \"app/Dockerfile.tera\" %}")],
    ));
    assert!(told_of.contains("circular extend") && told_of.contains(":2:"), "{told_of}");
    let component = "{% component m() %}{{ <m /> }}{% endcomponent m %}{{ <m /> }}";
    let told_of = told(&tree("Dockerfile.tera", component, &[]));
    assert!(told_of.contains("recursion depth for components"), "{told_of}");
    assert!(told_of.contains("app/Dockerfile.tera"), "{told_of}");
}

#[test]
fn templates_that_nest_too_deep_are_refused_where_they_do() {
    const DEEP: usize = 60_000;
    let chains = [
        ("", "(", "1", ")"),
        ("", "[", "1", "]"),
        ("", "not ", "1", ""),
        ("", "-", "1", ""),
        ("1", " + 1", "", ""),
        ("1", " ~ 1", "", ""),
        ("1", " and 1", "", ""),
        ("a", ".a", "", ""),
        ("a", "['a']", "", ""),
        ("a", "()", "", ""),
        ("'a'", " | trim", "", ""),
        ("1", " if 1 else 1", "", ""),
        ("1", " is defined", "", ""),
    ];
    let expression = |(start, part, middle, end): (&str, &str, &str, &str)| {
        format!("{{{{ {start}{}{middle}{} }}}}", part.repeat(DEEP), end.repeat(DEEP))
    };
    let tags = [("{% if 1 %}", "{% endif %}"), ("{% if 0 %}", ""), ("{% for a in [1] %}", "")];
    let tags = tags.map(|(open, close)| format!("{}{}", open.repeat(DEEP), close.repeat(DEEP)));
    let others = format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(DEEP));
    let all: Vec<String> = chains.map(expression).into_iter().chain(tags).chain([others]).collect();
    for template in ["Dockerfile.tera", "Dockerfile.j2"] {
        for text in &all {
            let told = told(&tree(template, &format!("FROM x\n{text}"), &[]));
            let start: String = told.chars().take(200).collect();
            assert!(start.starts_with("error: the template can't be "), "{}: {start}", &text[..40]);
            let is_placed = told.contains(&format!("app/{template}:2:"))
                || told.contains(&format!("line 2 of 'app/{template}'"));
            assert!(is_placed, "{}: {start}", &text[..40]);
        }
    }
}

#[test]
fn endless_loop_is_ended_with_its_place() {
    let loops = "{% for a in range(end=99999) %}{% for b in range(end=99999) %}\
                 {% for c in range(end=99999) %}{% endfor %}{% endfor %}{% endfor %}";
    let told = told(&tree("Dockerfile.tera", &format!("FROM x\n{loops}"), &[]));
    assert!(told.contains("rendering the template needs more than 10 seconds"), "{told}");
    assert!(told.contains("app/Dockerfile.tera:2:1"), "{told}");
}

#[test]
fn unbounded_text_is_ended_with_its_place() {
    let table = [
        (
            "Dockerfile.tera",
            "{% for a in range(end=99999) %}{{ \"x\" | indent(width=1000, first=true) }}{% endfor %}",
        ),
        ("Dockerfile.j2", "{% for a in range(99999) %}{{ 'x' * 1000 }}{% endfor %}"),
    ];
    for (template, text) in table {
        let told = told(&tree(template, &format!("FROM x\n{text}"), &[]));
        assert!(told.contains("it renders more than 4 MiB of text"), "{told}");
        assert!(told.contains(&format!("app/{template}:2:1")), "{told}");
    }
}

#[test]
fn unbounded_memory_is_ended_with_its_place() {
    let table = [
        (
            "Dockerfile.tera",
            "{% set_global t = \"x\" %}\n{% for a in range(end=60) %}{% set_global t = t ~ t %}{% endfor %}",
            "3:1",
        ),
        (
            "Dockerfile.j2",
            "{% macro m(t, n) %}{% if n %}{{ m(t ~ t, n - 1) }}{% endif %}{% endmacro %}\n{{ m('x', 60) }}",
            "1:1",
        ),
    ];
    for (template, text, place) in table {
        let told = told(&tree(template, &format!("FROM x\n{text}"), &[]));
        assert!(
            told.contains("rendering the template needs more than 1024 MiB of memory"),
            "{told}"
        );
        assert!(told.contains(&format!("app/{template}:{place}")), "{told}");
    }
}

#[test]
fn a_template_of_50_mb_is_refused_and_a_file_of_that_size_is_sent() {
    let large = "x".repeat(50 << 20);
    for template in ["Dockerfile.tera", "Dockerfile.j2"] {
        let told = told(&tree(template, &large, &[]));
        assert!(told.contains("it is longer than 4 MiB"), "{told}");
        assert!(told.contains(&format!("app/{template}")), "{told}");
    }
    let tree = tree("Dockerfile.j2", "FROM x\nCOPY large /\n", &[("app/large", &large)]);
    let included = TestTree::new(&[]);
    included.write("app/Dockerfile.j2", "FROM x\n{% include 'app/large' %}\n");
    included.write("app/large", &large);
    let told = told(&included);
    assert!(told.contains("'app/large' can't be read: it is longer than 4 MiB"), "{told}");
    assert!(told.contains("app/Dockerfile.j2:2:"), "{told}");

    let out = tempfile::tempdir().unwrap();
    tree.build(&["--template-only", "--work-dir", out.path().to_str().unwrap()]).expect(0);
    assert_eq!(out.path().join("docker/app/large").metadata().unwrap().len(), 50 << 20);
}

#[test]
fn links_that_leave_the_tree_are_refused_where_kiln_reads() {
    for place in ["file", "link", "app/file.tera", "folder"] {
        let tree = tree("Dockerfile.tera", "FROM x\n", &[]);
        let outside = if place.ends_with("folder") { "/etc" } else { "/etc/passwd" };
        symlink(outside, tree.path().join(place)).unwrap();
        let told_of = told(&tree);
        assert!(
            told_of.contains(&format!("'{place}' is a link to a path outside of the tree")),
            "{told_of}"
        );
        assert!(told_of.contains(&format!("it points to '{outside}'")), "{told_of}");
    }
    let sending = tree("Dockerfile.tera", "FROM x\n", &[]);
    symlink("/etc/passwd", sending.path().join("app/file")).unwrap();
    symlink("/etc", sending.path().join("app/folder")).unwrap();
    let out = tempfile::tempdir().unwrap();
    sending.build(&["--template-only", "--work-dir", out.path().to_str().unwrap()]).expect(0);
    for (link, target) in [("file", "/etc/passwd"), ("folder", "/etc")] {
        let link = out.path().join("docker/app").join(link);
        assert_eq!(fs::read_link(link).unwrap(), std::path::Path::new(target));
    }
    let over = tempfile::tempdir().unwrap();
    let tree = tree("Dockerfile.tera", "FROM x\n", &[]);
    symlink(tree.path().join("tree.toml"), over.path().join("file")).unwrap();
    let run = tree.build(&["--list-images", "--docker-dir", over.path().to_str().unwrap()]);
    let run = run.expect(2);
    assert!(run.stderr.contains("is a link to a path outside of the tree"), "{run:?}");
}

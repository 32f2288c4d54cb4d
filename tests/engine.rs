//! Builds and pushes through a real engine and a real registry.

mod support;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Cleanup, Run, TestTree, docker, pull_all_by_digest, registry, require_engine};

/// A family whose builds take no time: each image adds a file.
const FAMILY: &[(&str, &str)] = &[
    ("base", "FROM {{ base_image }}:{{ base_distro_tag }}\nRUN echo base > /base\n"),
    ("mid", "FROM @base\nCOPY mid.txt /mid\nRUN echo step of mid\n"),
    ("leaf", "FROM @mid\nCOPY --from=@tool /tool /tool\n"),
    ("tool", "FROM @base\nRUN echo tool > /tool\n"),
];

fn tree(images: &[(&str, &str)]) -> (TestTree, Cleanup) {
    require_engine();
    let tree = TestTree::new(images);
    tree.write("mid/mid.txt", "from the context\n");
    let cleanup = Cleanup(tree.namespace().to_owned());
    (tree, cleanup)
}

/// The id that the engine has for a reference; empty where it has none.
fn image_id(reference: &str) -> String {
    let found = docker(&["image", "inspect", "--format", "{{.Id}}", reference]);
    found.stdout.trim().to_owned()
}

/// The text of a file in an image.
fn file_in(reference: &str, path: &str) -> String {
    docker(&["run", "--rm", "--network", "none", reference, "cat", path]).expect(0).stdout
}

#[track_caller]
fn builds_the_family(builder: &str) {
    let (tree, _cleanup) = tree(FAMILY);
    let logs = tempfile::tempdir().unwrap();
    let run = tree.build(&[builder, "--logs-dir", logs.path().to_str().unwrap()]).expect(0);
    assert_eq!(run.names("built"), ["base", "leaf", "mid", "tool"]);
    for entry in run.summary()["built"].as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        assert_eq!(entry["id"], image_id(&tree.reference(name)).as_str(), "{name}");
    }
    assert_eq!(file_in(&tree.reference("leaf"), "/tool"), "tool\n");
    assert_eq!(file_in(&tree.reference("leaf"), "/mid"), "from the context\n");
    let log = fs::read_to_string(logs.path().join("mid.log")).unwrap();
    assert!(log.contains("step of mid") && log.ends_with("built\n"), "{log}");
}

#[test]
fn the_classic_builder_builds_the_family() {
    builds_the_family("--nobuildkit");
}

#[test]
fn buildkit_builds_the_family() {
    builds_the_family("--buildkit");
}

#[test]
fn buildkit_mounts_from_siblings() {
    let (tree, _cleanup) = tree(FAMILY);
    tree.image(
        "mounting",
        "FROM debian:bookworm\nRUN --mount=type=bind,from=@tool,target=/m cp /m/tool /copied\n",
    );
    let run = tree.build(&["mounting"]).expect(0);
    assert_eq!(run.names("built"), ["base", "mounting", "tool"]);
    assert_eq!(file_in(&tree.reference("mounting"), "/copied"), "tool\n");
}

#[track_caller]
fn a_failure_stays_below_the_failed(builder: &str) {
    let (tree, _cleanup) = tree(FAMILY);
    tree.image("mid", "FROM @base\nRUN echo about to fail && exit 7\n");
    let logs = tempfile::tempdir().unwrap();
    let run = tree.build(&[builder, "--logs-dir", logs.path().to_str().unwrap()]).expect(1);
    assert_eq!(run.names("built"), ["base", "tool"]);
    assert_eq!(run.names("failed"), ["leaf parent_error", "mid error"]);
    assert_eq!(image_id(&tree.reference("mid")), "");
    assert!(run.stderr.contains("mid | ") && run.stderr.contains("about to fail"), "{run:?}");
    let reason = run.summary()["failed"][1]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains('7'), "{reason}");
    let log = fs::read_to_string(logs.path().join("000_FAILED_mid.log")).unwrap();
    assert!(log.contains("about to fail"), "{log}");
}

#[test]
fn a_failure_stays_below_the_failed_with_the_classic_builder() {
    a_failure_stays_below_the_failed("--nobuildkit");
}

#[test]
fn a_failure_stays_below_the_failed_with_buildkit() {
    a_failure_stays_below_the_failed("--buildkit");
}

#[test]
fn what_failed_is_tried_again() {
    let (tree, _cleanup) = tree(&[("flaky", "FROM debian:bookworm\nRUN exit 3\n")]);
    let run = tree.build(&["--retries", "1"]).expect(1);
    assert_eq!(run.summary()["failed"][0]["attempts"], 2);
    assert!(run.stderr.contains("next try in"), "{run:?}");
}

#[test]
fn a_second_run_builds_nothing() {
    let (tree, _cleanup) = tree(FAMILY);
    tree.build(&[]).expect(0);
    let before = image_id(&tree.reference("leaf"));
    let run = tree.build(&["--skip-existing"]).expect(0);
    assert_eq!(run.names("built"), Vec::<String>::new());
    assert_eq!(run.names("skipped"), ["base", "leaf", "mid", "tool"]);
    assert_eq!(image_id(&tree.reference("leaf")), before);
}

/// kolla-build turned the skipped parent into one that was not matched, never built its child and
/// reported "Failed with status: matched".
#[test]
fn an_existing_parent_is_skipped_and_its_child_is_built_on_it() {
    let (tree, _cleanup) = tree(FAMILY);
    tree.build(&["^base$"]).expect(0);
    let parent = image_id(&tree.reference("base"));
    let run = tree.build(&["--skip-existing", "^mid$"]).expect(0);
    assert_eq!(run.names("skipped"), ["base"]);
    assert_eq!(run.names("built"), ["mid"]);
    assert_eq!(run.names("failed"), Vec::<String>::new());
    assert_eq!(image_id(&tree.reference("base")), parent);
    assert_eq!(file_in(&tree.reference("mid"), "/base"), "base\n");
}

#[test]
fn the_cache_is_used_unless_it_is_not_wanted() {
    for builder in ["--buildkit", "--nobuildkit"] {
        let stamp = format!("FROM debian:bookworm\nRUN echo {builder} && date +%s%N > /stamp\n");
        let (tree, _cleanup) = tree(&[("stamped", &stamp)]);
        let build = |arguments: &[&str]| {
            tree.build(&[&[builder], arguments].concat()).expect(0);
            file_in(&tree.reference("stamped"), "/stamp")
        };
        let first = build(&[]);
        assert_eq!(build(&[]), first, "{builder}");
        assert_ne!(build(&["--nocache"]), first, "{builder}");
    }
}

#[test]
fn pushed_images_can_be_pulled_by_digest() {
    let (tree, _cleanup) = tree(FAMILY);
    let registry = registry();
    let pushed = Cleanup(format!("{registry}/{}", tree.namespace()));
    let run = tree.build(&["--push", "--push-threads", "2", "--registry", &registry]).expect(0);
    let summary = run.summary();
    let built = summary["built"].as_array().unwrap();
    assert_eq!(built.len(), FAMILY.len());
    drop(pushed);
    pull_all_by_digest(built);
}

#[test]
fn a_registry_out_of_reach_is_told_apart() {
    let (tree, _cleanup) = tree(&[("only", "FROM debian:bookworm\nRUN true\n")]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let _cleanup = Cleanup(format!("{address}/{}", tree.namespace()));
    let run = tree.build(&["--push", "--registry", &address]).expect(3);
    assert_eq!(run.names("failed"), ["only connection_error"]);
}

#[test]
fn a_base_that_cannot_be_had_fails_with_its_name() {
    let (tree, _cleanup) = tree(&[("only", "FROM 127.0.0.1:1/no/such:image\nRUN true\n")]);
    let run = tree.build(&["--pull"]).expect(3);
    assert!(run.stderr.contains("its base 127.0.0.1:1/no/such:image can't be pulled"), "{run:?}");
}

/// Processes of this machine whose command line has `mark` in it.
fn processes(mark: &str) -> usize {
    let found = Command::new("pgrep").args(["--full", "--count", mark]).output().unwrap();
    String::from_utf8_lossy(&found.stdout).trim().parse().unwrap()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < patience, "{what}: it did not come to that");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[track_caller]
fn an_interrupt_ends_builds(builder: &str, seconds: &str) {
    let sleeping = format!("FROM debian:bookworm\nRUN sleep {seconds}\n");
    let (tree, _cleanup) = tree(&[("asleep", &sleeping), ("after", "FROM @asleep\n")]);
    let mark = format!("^sleep {seconds}$");
    let mut command = tree.command(&[builder]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the build sleeps", || processes(&mark) == 1);
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let run = Run::from(child.wait_with_output().unwrap()).expect(130);
    assert_eq!(run.names("failed"), ["after interrupted", "asleep interrupted"]);
    wait_until("the build is gone", || processes(&mark) == 0);
}

#[test]
fn an_interrupt_ends_builds_of_the_classic_builder() {
    an_interrupt_ends_builds("--nobuildkit", "7131");
}

#[test]
fn an_interrupt_ends_builds_of_buildkit() {
    an_interrupt_ends_builds("--buildkit", "7132");
}

#[test]
fn a_silent_engine_is_given_up_on() {
    let (tree, _cleanup) = tree(&[("silent", "FROM debian:bookworm\nRUN sleep 7133\n")]);
    let run = tree.build(&["--timeout", "2"]).expect(3);
    assert_eq!(run.names("failed"), ["silent connection_error"]);
    assert!(run.stderr.contains("no word from the engine for 2 s"), "{run:?}");
    wait_until("the build is gone", || processes("^sleep 7133$") == 0);
}

#[test]
fn the_summary_goes_where_it_is_asked_for() {
    let (tree, _cleanup) = tree(&[("only", "FROM debian:bookworm\n")]);
    let file = tree.path().join("summary.json");
    let run = tree.build(&["--summary-json-file", file.to_str().unwrap()]).expect(0);
    assert_eq!(run.stdout, "");
    let summary: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(summary["built"][0]["name"], "only");
    let silent = tree.build(&["--nosummary"]).expect(0);
    assert_eq!(silent.stdout, "");
    assert!(!silent.stderr.contains("1 built"), "{silent:?}");
    let quiet = tree.build(&["--quiet", "--format", "none"]).expect(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

/// What a whole run says, with what differs from run to run put out of sight.
#[test]
fn a_run_is_told_in_lines() {
    let (tree, _cleanup) = tree(FAMILY);
    tree.image("bad", "FROM @base\nRUN exit 9\n");
    let run = tree.build(&["--nobuildkit", "--threads", "1", "bad", "mid"]).expect(1);
    let text = run.shown(&[
        (&regex::escape(tree.namespace()), "NAMESPACE"),
        (r"Docker Engine \S+ at \S+", "ENGINE"),
        (r"sha256:[0-9a-f]{64}", "sha256:ID"),
        (r#""seconds":[0-9.]+"#, "\"seconds\":0"),
        (r"[0-9a-f]{12}", "SHORT-ID"),
        (r" +\d+\.\d+s", " TIME"),
    ]);
    insta::assert_snapshot!(text);
}

const FETCHING: &str = r#"
ca_certificates = "base/site.crt"
[defaults]
base = "one"
install_type = "source"
[bases.one]
image = "debian"
tag = "bookworm"
package_type = "deb"
package_manager = "apt"
install_types = ["source"]
[install_types.source]
fetches_sources = true
"#;

#[test]
fn sources_are_built_from_and_a_missing_one_harms_nobody_else() {
    let unpack = "FROM debian:bookworm\nADD {{ image_name }}-archive /app\nADD plugins-archive additions-archive /\n";
    let (tree, _cleanup) =
        tree(&[("app", unpack), ("lost", unpack), ("plain", "FROM debian:bookworm\n")]);
    tree.write("tree.toml", FETCHING);
    let sources = tempfile::tempdir().unwrap();
    let folder = sources.path().join("app-1.0");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "of the source\n").unwrap();
    let archive = sources.path().join("plugin.tar");
    let packed =
        Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&folder).arg("file").status();
    assert!(packed.unwrap().success());
    let conf = tree.path().join("build.conf");
    let (folder, archive) = (folder.display(), archive.display());
    let text = format!(
        "[app]\ntype = local\nlocation = {folder}\n\
         [app-plugin-x]\ntype = local\nlocation = {archive}\n\
         [lost]\ntype = local\nlocation = /nonexistent/source\n"
    );
    fs::write(&conf, text).unwrap();
    let run = tree.build(&["--config-file", conf.to_str().unwrap()]).expect(1);
    assert_eq!(run.names("built"), ["app", "plain"]);
    assert_eq!(run.names("failed"), ["lost error"]);
    let reason = run.summary()["failed"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("the source [lost] /nonexistent/source: "), "{reason}");
    let image = format!("{}/one-source-app:t", tree.namespace());
    assert_eq!(file_in(&image, "/app/app-1.0/file"), "of the source\n");
    assert_eq!(file_in(&image, "/plugins/file"), "of the source\n");
}

#[test]
fn the_sites_certificates_reach_the_images() {
    let template =
        "FROM debian:bookworm\n{% if ca_certificates %}COPY site.crt /site.crt\n{% endif %}";
    let (tree, _cleanup) = tree(&[("base", template)]);
    tree.write("tree.toml", FETCHING);
    let certificates = tree.path().join("mine.pem");
    fs::write(&certificates, "a certificate\n").unwrap();
    tree.build(&["--ca-certificates", certificates.to_str().unwrap()]).expect(0);
    let image = format!("{}/one-source-base:t", tree.namespace());
    assert_eq!(file_in(&image, "/site.crt"), "a certificate\n");
    let missing = tree.build(&["--ca-certificates", "/nonexistent/ca.pem"]).expect(2);
    assert!(missing.stderr.contains("'/nonexistent/ca.pem' can't be read"), "{missing:?}");
}

//! Builds and pushes through real engines and a real registry. Every test runs with the classic
//! builder of Docker, with BuildKit, and with Podman, unless it is about one of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Cleanup, Engine, FETCHING, Run, TestTree};
use crate::support::{in_older_words, kiln, kolla, pull_all_by_digest, registry, wait_within};

/// Builder of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Classic,
    BuildKit,
    Podman,
}

impl Way {
    fn engine(self) -> Engine {
        match self {
            Self::Classic | Self::BuildKit => Engine::Docker,
            Self::Podman => Engine::Podman,
        }
    }

    /// Returns the option that selects the builder, in addition to those that select the engine.
    fn option(self) -> &'static str {
        match self {
            Self::Classic => "--nobuildkit",
            Self::BuildKit | Self::Podman => "--buildkit",
        }
    }
}

/// Creates a test of each function for every builder.
macro_rules! by_every_way {
    ($($test:ident)+) => {
        mod classic { $(#[test] fn $test() { super::$test(super::Way::Classic) })+ }
        mod buildkit { $(#[test] fn $test() { super::$test(super::Way::BuildKit) })+ }
        mod podman { $(#[test] fn $test() { super::$test(super::Way::Podman) })+ }
    };
}

/// Family whose builds take no time: each image adds a file.
const FAMILY: &[(&str, &str)] = &[
    ("base", "FROM {{ base_image }}:{{ base_distro_tag }}\nRUN echo base > /base\n"),
    ("mid", "FROM @base\nCOPY mid.txt /mid\nRUN echo step of mid\n"),
    ("leaf", "FROM @mid\nCOPY --from=@tool /tool /tool\n"),
    ("tool", "FROM @base\nRUN echo tool > /tool\n"),
];

by_every_way! {
    the_family_is_built
    a_sibling_is_mounted_from
    failure_affects_descendants_alone
    failed_builds_are_retried
    dockerfile_that_cannot_be_parsed_is_not_retried
    a_second_run_builds_nothing
    only_changed_images_are_rebuilt
    parent_by_a_build_argument_is_built_first_and_again
    stage_that_nothing_needs_is_built_by_the_classic_builder_alone
    an_existing_parent_is_skipped_and_its_child_is_built_on_it
    the_cache_is_used_unless_it_is_not_wanted
    instructions_are_executed_anew_in_each_period_of_a_refresh
    contexts_arrive_complete
    contexts_of_many_files_are_built_and_known_again
    last_output_of_a_failed_instruction_is_reported
    prompt_at_which_a_build_hangs_is_reported
    builds_leave_no_dangling_images
    an_image_on_another_parent_is_not_taken_for_unchanged
    files_of_one_size_are_not_taken_for_each_other
    large_files_are_sent_with_little_memory
    links_folders_and_modes_arrive
    pushed_images_can_be_pulled_by_digest
    unreachable_registry_is_a_connection_error
    missing_base_image_is_named_in_the_failure
    images_are_squashed_down_to_their_parents
    an_interrupt_ends_the_run
    a_silent_engine_is_given_up_on
    summary_is_written_where_requested
    progress_is_printed_in_lines
    missing_source_fails_its_image_alone
    the_sites_certificates_reach_the_images
}

/// Tree whose images are removed at the end of the test.
struct Built {
    way: Way,
    tree: TestTree,
    _cleanup: Cleanup,
}

impl Built {
    fn by(way: Way, images: &[(&str, &str)]) -> Self {
        way.engine().require();
        let tree = TestTree::new(images).on(way.engine());
        tree.write("mid/mid.txt", "from the context\n");
        let cleanup = Cleanup::of(way.engine(), tree.namespace());
        Self { way, tree, _cleanup: cleanup }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.tree.command(&[&[self.way.option()], arguments].concat())
    }

    fn build(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments))
    }

    fn image_id(&self, name: &str) -> String {
        self.way.engine().image_id(&self.tree.reference(name))
    }

    fn file_in(&self, name: &str, path: &str) -> String {
        self.way.engine().file_in(&self.tree.reference(name), path)
    }
}

fn the_family_is_built(way: Way) {
    let family = Built::by(way, FAMILY);
    let logs = tempfile::tempdir().unwrap();
    let run = family.build(&["--logs-dir", logs.path().to_str().unwrap()]).expect(0);
    assert_eq!(run.names("built"), ["base", "leaf", "mid", "tool"]);
    for entry in run.summary()["built"].as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        assert_eq!(entry["id"], family.image_id(name).as_str(), "{name}");
    }
    assert_eq!(family.file_in("leaf", "/tool"), "tool\n");
    assert_eq!(family.file_in("leaf", "/mid"), "from the context\n");
    let log = fs::read_to_string(logs.path().join("mid.log")).unwrap();
    assert!(log.contains("step of mid") && log.ends_with("built\n"), "{log}");
}

fn a_sibling_is_mounted_from(way: Way) {
    let family = Built::by(way, FAMILY);
    family.tree.image(
        "mounting",
        "FROM debian:bookworm\nRUN --mount=type=bind,from=@tool,target=/m cp /m/tool /copied\n",
    );
    // The classic builder can't do this, and says so.
    let run = family.build(&["mounting"]).expect(i32::from(way == Way::Classic));
    if way == Way::Classic {
        assert_eq!(run.names("failed"), ["mounting error"]);
    } else {
        assert_eq!(run.names("built"), ["base", "mounting", "tool"]);
        assert_eq!(family.file_in("mounting", "/copied"), "tool\n");
    }
}

fn failure_affects_descendants_alone(way: Way) {
    let family = Built::by(way, FAMILY);
    family.tree.image("mid", "FROM @base\nRUN echo about to fail && exit 7\n");
    let logs = tempfile::tempdir().unwrap();
    let run = family.build(&["--logs-dir", logs.path().to_str().unwrap()]).expect(1);
    assert_eq!(run.names("built"), ["base", "tool"]);
    assert_eq!(run.names("failed"), ["leaf parent_error", "mid error"]);
    assert_eq!(family.image_id("mid"), "");
    assert!(run.stderr.contains("mid | ") && run.stderr.contains("about to fail"), "{run:?}");
    let reason = run.summary()["failed"][1]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains('7'), "{reason}");
    let log = fs::read_to_string(logs.path().join("000_FAILED_mid.log")).unwrap();
    assert!(log.contains("about to fail"), "{log}");
}

fn dockerfile_that_cannot_be_parsed_is_not_retried(way: Way) {
    let family = Built::by(way, &[("bad", "FROM debian:bookworm\nRUNN true\n")]);
    let run = family.build(&["--retries", "3"]).expect(1);
    assert_eq!(run.summary()["failed"][0]["attempts"], 1);
    assert!(run.stderr.to_lowercase().contains("unknown instruction"), "{run:?}");
}

fn failed_builds_are_retried(way: Way) {
    let family = Built::by(way, &[("flaky", "FROM debian:bookworm\nRUN exit 3\n")]);
    let run = family.build(&["--retries", "1"]).expect(1);
    assert_eq!(run.summary()["failed"][0]["attempts"], 2);
    assert!(run.stderr.contains("retrying in"), "{run:?}");
}

fn a_second_run_builds_nothing(way: Way) {
    let family = Built::by(way, FAMILY);
    family.build(&[]).expect(0);
    let before = family.image_id("leaf");
    let run = family.build(&["--skip-existing"]).expect(0);
    assert_eq!(run.names("built"), Vec::<String>::new());
    assert_eq!(run.names("skipped"), ["base", "leaf", "mid", "tool"]);
    assert_eq!(family.image_id("leaf"), before);
}

/// kolla-build turned the skipped parent into one that was not matched, never built its child and
/// reported "Failed with status: matched".
fn an_existing_parent_is_skipped_and_its_child_is_built_on_it(way: Way) {
    let family = Built::by(way, FAMILY);
    family.build(&["^base$"]).expect(0);
    let parent = family.image_id("base");
    let run = family.build(&["--skip-existing", "^mid$"]).expect(0);
    assert_eq!(run.names("skipped"), ["base"]);
    assert_eq!(run.names("built"), ["mid"]);
    assert_eq!(run.names("failed"), Vec::<String>::new());
    assert_eq!(family.image_id("base"), parent);
    assert_eq!(family.file_in("mid", "/base"), "base\n");
}

fn the_cache_is_used_unless_it_is_not_wanted(way: Way) {
    let stamp = format!("FROM debian:bookworm\nRUN echo {way:?} && date +%s%N > /stamp\n");
    let family = Built::by(way, &[("stamped", &stamp)]);
    let build = |arguments: &[&str]| {
        family.build(arguments).expect(0);
        family.file_in("stamped", "/stamp")
    };
    let first = build(&[]);
    assert_eq!(build(&[]), first);
    assert_ne!(build(&["--nocache"]), first);
}

/// Images in which each instruction could be taken from the cache: one with a stage that only files
/// are copied from, and one whose parent has the same files in each period.
fn instructions_are_executed_anew_in_each_period_of_a_refresh(way: Way) {
    let tool = format!(
        "FROM debian:bookworm AS built\nRUN echo {way:?} && date +%s%N > /stamp\n\
         FROM debian:bookworm\nCOPY --from=built /stamp /stamp\n"
    );
    let plain = format!("FROM debian:bookworm\nCMD [\"echo\", \"{way:?}\"]\n");
    let child = "FROM @plain\nRUN date +%s%N > /stamp\n";
    let family = Built::by(way, &[("tool", &tool), ("plain", &plain), ("child", child)]);
    let build = |time: &str, arguments: &[&str]| {
        // Two builds at once may give the classic builder two images for the same instruction, of
        // which the next build takes one.
        let mut command = family.command(&[arguments, &["--threads", "1"]].concat());
        command.env("SOURCE_DATE_EPOCH", time);
        Run::of(command).expect(0)
    };
    let stamps = || ["tool", "child"].map(|name| family.file_in(name, "/stamp"));
    // Monday 2026-06-01, its last second, Tuesday, Sunday, and the next Monday.
    let [monday, night, tuesday, sunday, next] =
        ["1780272000", "1780358399", "1780358400", "1780876799", "1780876800"];
    let all = ["child", "plain", "tool"];

    assert_eq!(build(monday, &["--refresh", "day"]).names("built"), all);
    let first = stamps();
    assert_eq!(build(night, &["--refresh", "day"]).names("built"), all);
    assert_eq!(stamps(), first);
    let unchanged = build(night, &["--refresh", "day", "--skip-unchanged"]);
    assert_eq!(unchanged.names("skipped"), all);
    let anew = build(tuesday, &["--refresh", "day", "--skip-unchanged"]);
    assert_eq!(anew.names("built"), all);
    let second = stamps();
    assert!(second[0] != first[0] && second[1] != first[1], "{first:?} {second:?}");

    assert_eq!(build(tuesday, &["--refresh", "week"]).names("built"), all);
    let third = stamps();
    let weekly = build(sunday, &["--refresh", "week", "--skip-unchanged"]);
    assert_eq!(weekly.names("skipped"), all);
    assert_eq!(build(next, &["--refresh", "week", "--skip-unchanged"]).names("built"), all);
    let fourth = stamps();
    assert!(fourth[0] != third[0] && fourth[1] != third[1], "{third:?} {fourth:?}");
    let inspect = ["inspect", "--format", "{{.Config.Env}}", &family.tree.reference("child")];
    let environment = family.way.engine().client(&inspect).expect(0).stdout;
    assert!(environment.contains("PATH") && !environment.contains("REFRESH"), "{environment}");
}

fn contexts_arrive_complete(way: Way) {
    let family = Built::by(way, &[]);
    family.tree.image(
        "whole",
        "FROM debian:bookworm\n\
         COPY . /all/\n\
         COPY [\"a/b/ä ö\", \"/one\"]\n\
         COPY a/m* /some/\n\
         RUN cd /all && find . -type d -printf '%m %p\\n' | sort > /folders \\\n\
          && find . /one /some -type f -printf '%m %s %T@ %p\\n' | sort -k 4 > /files \\\n\
          && find . /one /some -type f | sort | xargs -d '\\n' cat | sha256sum >> /files\n",
    );
    let long = "0123456789\n".repeat(30_000);
    let files = [
        ("a/b/ä ö", "two words\n"),
        ("a/many", &long),
        ("a/more", ""),
        ("a-b", "beside the folder\n"),
        ("a/secret", "not sent\n"),
        ("a/secrets/key", "not sent\n"),
        ("a/secrets/public", "sent\n"),
        ("notes.md", "not sent\n"),
        (".dockerignore", "# what stays here\n*.md\n**/secret*\n!a/secrets/public\n"),
    ];
    for (path, text) in files {
        family.tree.write(&format!("whole/{path}"), text);
    }
    for number in 0..300 {
        family.tree.write(&format!("whole/many/{number:03}"), &format!("{number}\n"));
    }
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(family.tree.path().join("whole/a/more"), executable).unwrap();
    family.build(&[]).expect(0);
    let files = family.file_in("whole", "/files");
    let (many, others): (Vec<_>, Vec<_>) = files.lines().partition(|line| line.contains("./many/"));
    assert_eq!(many.len(), 300);
    let folders = family.file_in("whole", "/folders");
    insta::assert_snapshot!("context", format!("{folders}{}", others.join("\n")));
}

/// Returns the label of an image's fingerprint.
fn label(way: Way, reference: &str) -> String {
    let format = r#"{{index .Config.Labels "kiln.fingerprint"}}"#;
    let found = way.engine().client(&["image", "inspect", "--format", format, reference]);
    found.expect(0).stdout.trim().to_owned()
}

fn contexts_of_many_files_are_built_and_known_again(way: Way) {
    let family = Built::by(way, &[("many", "FROM debian:bookworm\nCOPY modules /modules\n")]);
    for number in 0..5000 {
        let path = format!("many/modules/some-package-{}/lib/file-{number}.js", number / 100);
        family.tree.write(&path, "x");
    }
    family.build(&[]).expect(0);
    let label = label(way, &family.tree.reference("many"));
    assert!("kiln.fingerprint".len() + label.len() <= 4096, "{}", label.len());
    assert_eq!(family.file_in("many", "/modules/some-package-49/lib/file-4999.js"), "x");
    assert_eq!(family.build(&["--skip-unchanged"]).expect(0).names("skipped"), ["many"]);
    family.tree.write("many/modules/some-package-3/lib/file-351.js", "y");
    let plan = family.build(&["--skip-unchanged", "--plan"]).expect(0);
    assert!(plan.stdout.contains("; files below modules/some-package-3/lib changed"), "{plan:?}");
}

fn last_output_of_a_failed_instruction_is_reported(way: Way) {
    let words = "E: the disk of the mirror is full";
    let failing = format!("FROM debian:bookworm\nRUN printf '{words}' >&2 && exit 4\n");
    let run = Built::by(way, &[("bad", &failing)]).build(&[]).expect(1);
    let lines: Vec<&str> = run.stderr.lines().collect();
    let is_told = |line: &&str| line.starts_with("bad | ") && !line.contains("RUN");
    let told = lines.iter().filter(|line| is_told(line)).position(|line| line.contains(words));
    let error = lines.iter().filter(|line| is_told(line)).position(|line| line.contains("ERROR"));
    assert!(told.is_some() && error.is_none_or(|error| told < Some(error)), "{run:?}");
}

fn prompt_at_which_a_build_hangs_is_reported(way: Way) {
    let prompting = "FROM debian:bookworm\nRUN printf 'Continue? [Y/n] ' && sleep 8\n";
    let run = Built::by(way, &[("asks", prompting)]).build(&["--timeout", "3"]).expect(3);
    assert!(run.stderr.contains("asks | Continue? [Y/n]\n"), "{run:?}");
    let silent = "asks: no output for 1.5s, given up after 3.0s (--timeout); the last line is: \
                  Continue? [Y/n]\n";
    assert!(run.stderr.contains(silent), "{run:?}");
}

fn files_of_one_size_are_not_taken_for_each_other(way: Way) {
    let copying = "FROM debian:bookworm\nCOPY file /file\n";
    let family = Built::by(way, &[("one", copying), ("two", copying)]);
    let write = |one: &str, two: &str| {
        family.tree.write("one/file", one);
        family.tree.write("two/file", two);
        family.build(&["--threads", "1"]).expect(0);
        [family.file_in("one", "/file"), family.file_in("two", "/file")]
    };
    assert_eq!(write("1\n", "2\n"), ["1\n", "2\n"]);
    assert_eq!(write("2\n", "3\n"), ["2\n", "3\n"]);
    assert_eq!(write("1\n", "2\n"), ["1\n", "2\n"]);
}

fn links_folders_and_modes_arrive(way: Way) {
    let checks = [
        "test \"$(readlink etc/localtime)\" = /usr/share/zoneinfo/UTC",
        "test \"$(readlink etc/resolv.conf)\" = ../run/resolv.conf",
        "test \"$(readlink opt/current)\" = 1.2",
        "test -d var/spool/tool",
        "test \"$(stat -c %a etc/key)\" = 600",
        "test \"$(stat -c %a etc/shared)\" = 644",
        "test \"$(stat -c %a opt/1.2)\" = 750",
        "test \"$(cat /bin-of-tool)\" = x",
    ];
    let template = format!(
        "FROM debian:bookworm\nCOPY rootfs/ /r/\nCOPY rootfs/opt/current/bin /bin-of-tool\n\
         RUN cd /r && {}\n",
        checks.join(" && ")
    );
    let family = Built::by(way, &[("app", &template)]);
    for file in ["etc/key", "etc/shared", "opt/1.2/bin"] {
        family.tree.write(&format!("app/rootfs/{file}"), "x");
    }
    let rootfs = family.tree.path().join("app/rootfs");
    fs::create_dir_all(rootfs.join("var/spool/tool")).unwrap();
    for (target, link) in [
        ("/usr/share/zoneinfo/UTC", "etc/localtime"),
        ("../run/resolv.conf", "etc/resolv.conf"),
        ("1.2", "opt/current"),
    ] {
        std::os::unix::fs::symlink(target, rootfs.join(link)).unwrap();
    }
    for (path, mode) in [("etc/key", 0o600), ("etc/shared", 0o664), ("opt/1.2", 0o770)] {
        fs::set_permissions(rootfs.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    family.build(&[]).expect(0);
    let unchanged = family.build(&["--skip-unchanged"]).expect(0);
    assert_eq!(unchanged.names("built"), [""; 0]);
    fs::remove_file(rootfs.join("etc/localtime")).unwrap();
    std::os::unix::fs::symlink("/usr/share/zoneinfo/UTC", rootfs.join("etc/localtime")).unwrap();
    fs::set_permissions(rootfs.join("etc/shared"), fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(family.build(&["--skip-unchanged"]).expect(0).names("built"), [""; 0]);
    fs::create_dir(rootfs.join("srv")).unwrap();
    assert_eq!(family.build(&["--skip-unchanged"]).expect(0).names("built"), ["app"]);
}

/// Runs a command to its end. Returns its result, and the largest size of its memory in MiB.
fn run_measured(mut command: Command) -> (Run, u64) {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the command is started");
    let status = format!("/proc/{}/status", child.id());
    let measuring = std::thread::spawn(move || {
        let mut peak = 0;
        // A process that has ended has no memory.
        while let Some(kibibytes) = fs::read_to_string(&status).ok().as_deref().and_then(peak_in) {
            peak = kibibytes;
            std::thread::sleep(Duration::from_millis(1));
        }
        peak / 1024
    });
    let run = Run::from(child.wait_with_output().expect("the command ends"));
    (run, measuring.join().expect("the memory is measured"))
}

/// Returns the largest size of a process's memory in KiB, by its status.
fn peak_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

fn large_files_are_sent_with_little_memory(way: Way) {
    const SIZE: u64 = 100 << 20;
    let copying = "FROM scratch\nCOPY data /data\n";
    let images = ["one", "two", "three", "four"].map(|name| (name, copying));
    let family = Built::by(way, &images);
    for (number, (name, _)) in images.iter().enumerate() {
        let data = fs::File::create(family.tree.path().join(name).join("data")).unwrap();
        // The files differ, so that no builder takes one for another.
        data.set_len(SIZE + number as u64).unwrap();
    }
    let (run, peak) = run_measured(family.command(&["--threads", "4"]));
    let run = run.expect(0);
    assert_eq!(run.names("built").len(), images.len(), "{run:?}");
    assert!((1..150).contains(&peak), "{peak} MiB");
}

fn pushed_images_can_be_pulled_by_digest(way: Way) {
    let family = Built::by(way, FAMILY);
    let registry = registry();
    let pushed = Cleanup::of(way.engine(), format!("{registry}/{}", family.tree.namespace()));
    let run = family.build(&["--push", "--push-threads", "2", "--registry", &registry]).expect(0);
    let summary = run.summary();
    let built = summary["built"].as_array().unwrap();
    assert_eq!(built.len(), FAMILY.len());
    drop(pushed);
    pull_all_by_digest(built);
}

fn unreachable_registry_is_a_connection_error(way: Way) {
    let family = Built::by(way, &[("only", "FROM debian:bookworm\nRUN true\n")]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let _cleanup = Cleanup::of(way.engine(), format!("{address}/{}", family.tree.namespace()));
    let run = family.build(&["--push", "--registry", &address]).expect(3);
    assert_eq!(run.names("failed"), ["only connection_error"]);
}

fn missing_base_image_is_named_in_the_failure(way: Way) {
    let family = Built::by(way, &[("only", "FROM 127.0.0.1:1/no/such:image\nRUN true\n")]);
    let run = family.build(&["--pull"]).expect(3);
    assert!(run.stderr.contains("its base 127.0.0.1:1/no/such:image can't be pulled"), "{run:?}");
}

/// Returns the number of an image's layers.
fn layers(way: Way, reference: &str) -> usize {
    let format = "{{len .RootFS.Layers}}";
    let found = way.engine().client(&["image", "inspect", "--format", format, reference]);
    found.expect(0).stdout.trim().parse().unwrap()
}

fn images_are_squashed_down_to_their_parents(way: Way) {
    let steps = "RUN echo 1 > /1\nRUN rm /1\nRUN echo 2 > /2\n";
    let family = Built::by(
        way,
        &[
            ("base", &format!("FROM debian:bookworm\n{steps}")),
            ("mid", &format!("FROM @base\nUSER nobody\n{}", steps.replace('/', "/tmp/"))),
            ("leaf", "FROM @mid\nLABEL only=one\n"),
        ],
    );
    let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/bin");
    let path = format!("{tools}:{}", std::env::var("PATH").unwrap());
    let squashed = |arguments: &[&str]| {
        let mut command = family.tree.command(&[&["--squash"], arguments].concat());
        command.env("PATH", &path);
        Run::of(command)
    };
    if way == Way::BuildKit {
        let run = squashed(&["--buildkit"]).expect(2);
        assert!(run.stderr.contains("leave out one of buildkit and squash"), "{run:?}");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let run = squashed(&["--squash-tmp-dir", scratch.path().to_str().unwrap()]).expect(0);
    let of_debian = layers(way, "debian:bookworm");
    let reference = |name: &str| family.tree.reference(name);
    assert_eq!(layers(way, &reference("base")), of_debian + 1, "{run:?}");
    assert_eq!(layers(way, &reference("mid")), of_debian + 2, "{run:?}");
    assert_eq!(family.file_in("leaf", "/2"), "2\n");
    assert_eq!(family.file_in("leaf", "/tmp/2"), "2\n");
    let user = ["image", "inspect", "--format", "{{.Config.User}}", &reference("leaf")];
    assert_eq!(way.engine().client(&user).stdout.trim(), "nobody");
    for built in run.summary()["built"].as_array().unwrap() {
        let name = built["name"].as_str().unwrap();
        assert_eq!(built["id"], family.image_id(name).as_str(), "{name}");
    }
}

#[test]
fn squashing_needs_its_program() {
    let family = Built::by(Way::Classic, &[("base", "FROM debian:bookworm\nRUN true\n")]);
    let mut command = family.tree.command(&["--squash"]);
    command.env("PATH", "/nonexistent");
    let run = Run::of(command).expect(2);
    assert!(run.stderr.contains("pip install docker-squash"), "{run:?}");
    assert_eq!(family.image_id("base"), "");
}

/// Returns the number of processes of this machine whose command line matches `mark`.
fn processes(mark: &str) -> usize {
    let found = Command::new("pgrep").args(["--full", "--count", mark]).output().unwrap();
    String::from_utf8_lossy(&found.stdout).trim().parse().unwrap()
}

/// Duration of a step whose build is abandoned.
const SLEEP: Duration = Duration::from_secs(20);

/// Returns an instruction that sleeps, and the pattern that matches its process. No two tests and
/// builders sleep equally long.
fn sleep(way: Way, test: u32) -> (String, String) {
    let command = format!("sleep {}.{test}{}", SLEEP.as_secs(), way as u32);
    (format!("FROM debian:bookworm\nRUN {command}\n"), format!("^{command}$"))
}

/// Waits until the process of a build is gone. Docker ends it when the client disconnects; Podman
/// lets the step end.
fn wait_until_gone(way: Way, mark: &str) {
    let slack = Duration::from_secs(5);
    let patience = if way == Way::Podman { SLEEP + slack } else { SLEEP / 2 };
    wait_within(patience, "the end of the build", || processes(mark) == 0);
}

fn an_interrupt_ends_the_run(way: Way) {
    let (sleeping, mark) = sleep(way, 1);
    let family = Built::by(way, &[("asleep", &sleeping), ("after", "FROM @asleep\n")]);
    let mut command = family.command(&[]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_within(SLEEP, "the sleep of the build", || processes(&mark) == 1);
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let run = Run::from(child.wait_with_output().unwrap()).expect(130);
    assert_eq!(run.names("failed"), ["after interrupted", "asleep interrupted"]);
    wait_until_gone(way, &mark);
}

fn a_silent_engine_is_given_up_on(way: Way) {
    let (sleeping, mark) = sleep(way, 2);
    let family = Built::by(way, &[("silent", &sleeping)]);
    let run = family.build(&["--timeout", "2"]).expect(3);
    assert_eq!(run.names("failed"), ["silent connection_error"]);
    assert!(run.stderr.contains("no answer from the engine for 2 s"), "{run:?}");
    wait_until_gone(way, &mark);
}

fn summary_is_written_where_requested(way: Way) {
    let family = Built::by(way, &[("only", "FROM debian:bookworm\n")]);
    let file = family.tree.path().join("summary.json");
    let run = family.build(&["--summary-json-file", file.to_str().unwrap()]).expect(0);
    assert_eq!(run.stdout, "");
    let summary: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(summary["built"][0]["name"], "only");
    let silent = family.build(&["--nosummary"]).expect(0);
    assert_eq!(silent.stdout, "");
    assert!(!silent.stderr.contains("1 built"), "{silent:?}");
    let quiet = family.build(&["--quiet", "--format", "none"]).expect(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

/// Compares the whole output of a run, without the parts that differ between runs.
fn progress_is_printed_in_lines(way: Way) {
    let family = Built::by(way, FAMILY);
    family.tree.image("bad", "FROM @base\nRUN exit 9\n");
    let run = family.build(&["^bad$"]).expect(1);
    let text = run.shown(&[
        (&regex::escape(family.tree.path().to_str().unwrap()), "TREE"),
        (&regex::escape(family.tree.namespace()), "NAMESPACE"),
        (r"(Docker Engine|Podman) \S+ at \S+", "ENGINE"),
        (r"\n\w+ \| CACHED", ""),
        // BuildKit prints the default registry, which the reference omits.
        (r"(metadata for|FROM) \S+/NAMESPACE", "$1 NAMESPACE"),
        (r"sha256:[0-9a-f]{64}", "sha256:ID"),
        (r#""seconds":[0-9.]+"#, "\"seconds\":0"),
        (r#""size":\d+"#, "\"size\":0"),
        (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIMESTAMP"),
        (r"[0-9a-f]{64}", "FINGERPRINT"),
        (r"[0-9a-f]{12}", "SHORT-ID"),
        (r" +\d+\.\d+s", " TIME"),
    ]);
    let text = in_older_words(&text);
    insta::assert_snapshot!(format!("run-told-{way:?}").to_lowercase(), text);
}

/// Returns the manifest of a tree whose images are built from sources and trust a certificate of
/// their site.
fn with_certificate() -> String {
    format!("ca_certificates = \"base/site.crt\"\n{FETCHING}")
}

fn missing_source_fails_its_image_alone(way: Way) {
    let unpack = "FROM debian:bookworm\nADD {{ image_name }}-archive /app\nADD plugins-archive additions-archive /\n";
    let family =
        Built::by(way, &[("app", unpack), ("lost", unpack), ("plain", "FROM debian:bookworm\n")]);
    family.tree.write("tree.toml", &with_certificate());
    let sources = tempfile::tempdir().unwrap();
    let folder = sources.path().join("app-1.0");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "of the source\n").unwrap();
    let archive = sources.path().join("plugin.tar");
    let packed =
        Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&folder).arg("file").status();
    assert!(packed.unwrap().success());
    let conf = family.tree.path().join("build.conf");
    let (folder, archive) = (folder.display(), archive.display());
    let text = format!(
        "[app]\ntype = local\nlocation = {folder}\n\
         [app-plugin-x]\ntype = local\nlocation = {archive}\n\
         [lost]\ntype = local\nlocation = /nonexistent/source\n"
    );
    fs::write(&conf, text).unwrap();
    let run = family.build(&["--config-file", conf.to_str().unwrap()]).expect(1);
    assert_eq!(run.names("built"), ["app", "plain"]);
    assert_eq!(run.names("failed"), ["lost error"]);
    let reason = run.summary()["failed"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("the source [lost] /nonexistent/source: "), "{reason}");
    let image = format!("{}/one-source-app:t", family.tree.namespace());
    assert_eq!(way.engine().file_in(&image, "/app/app-1.0/file"), "of the source\n");
    assert_eq!(way.engine().file_in(&image, "/plugins/file"), "of the source\n");
}

fn the_sites_certificates_reach_the_images(way: Way) {
    let template =
        "FROM debian:bookworm\n{% if ca_certificates %}COPY site.crt /site.crt\n{% endif %}";
    let family = Built::by(way, &[("base", template)]);
    family.tree.write("tree.toml", &with_certificate());
    let certificates = family.tree.path().join("mine.pem");
    fs::write(&certificates, "a certificate\n").unwrap();
    family.build(&["--ca-certificates", certificates.to_str().unwrap()]).expect(0);
    let image = format!("{}/one-source-base:t", family.tree.namespace());
    assert_eq!(way.engine().file_in(&image, "/site.crt"), "a certificate\n");
    let missing = family.build(&["--ca-certificates", "/nonexistent/ca.pem"]).expect(2);
    assert!(missing.stderr.contains("'/nonexistent/ca.pem' can't be read"), "{missing:?}");
}

fn only_changed_images_are_rebuilt(way: Way) {
    let family = Built::by(way, FAMILY);
    let nothing: Vec<String> = Vec::new();
    let everything = ["base", "leaf", "mid", "tool"];
    let skipping = |arguments: &[&str]| {
        let run = family.build(&[&["--skip-unchanged"], arguments].concat()).expect(0);
        assert_eq!(run.names("failed"), nothing);
        (run.names("built"), run.names("skipped"))
    };
    assert_eq!(skipping(&[]).0, everything);
    let before = family.image_id("leaf");
    let (built, skipped) = skipping(&[]);
    assert_eq!((built, skipped), (nothing.clone(), everything.map(str::to_owned).to_vec()));
    assert_eq!(family.image_id("leaf"), before);

    family.tree.write("mid/mid.txt", "another\n");
    let (built, skipped) = skipping(&[]);
    assert_eq!(
        (built, skipped),
        (vec!["leaf".into(), "mid".into()], vec!["base".into(), "tool".into()])
    );
    assert_eq!(family.file_in("leaf", "/mid"), "another\n");
    assert_eq!(skipping(&[]).0, nothing);

    // A changed image that is not selected is built only if a selected one needs it.
    family.tree.image("tool", "FROM @base\nRUN echo tool > /tool && true\n");
    assert_eq!(skipping(&["^mid$"]).0, nothing);
    assert_eq!(skipping(&["^leaf$"]).0, ["leaf", "tool"]);

    // A build argument is a part of the fingerprint; a network setting is not.
    assert_eq!(skipping(&["--build-args", "X:1", "^base$"]).0, ["base"]);
    assert_eq!(skipping(&["--build-args", "X:1", "^base$"]).0, nothing);
    assert_eq!(skipping(&["--build-args", "X:1,HTTP_PROXY:http://p", "^base$"]).0, nothing);

    // An image with another build argument, or one that was removed, is built again.
    let reference = family.tree.reference("base");
    way.engine().client(&["tag", "debian:bookworm", &reference]).expect(0);
    assert_eq!(skipping(&["^base$"]).0, ["base"]);
}

/// Returns the number of untagged images in the engine that have the label `test` with this value.
fn dangling(way: Way, test: &str) -> usize {
    let filter = format!("label=test={test}");
    let arguments = ["image", "ls", "--quiet", "--filter", "dangling=true", "--filter", &filter];
    way.engine().client(&arguments).expect(0).stdout.lines().count()
}

/// A rebuilt image leaves its predecessor without a tag; nothing else is left.
fn builds_leave_no_dangling_images(way: Way) {
    let mark = format!("dangling-{way:?}-{}", std::process::id()).to_lowercase();
    let template = format!("FROM debian:bookworm\nLABEL test={mark}\nCOPY file /file\n");
    let family = Built::by(way, &[("only", &template)]);
    for (number, left) in [(1, 0), (2, 1)] {
        family.tree.write("only/file", &format!("{number} {mark}\n"));
        family.build(&[]).expect(0);
        assert_eq!(dangling(way, &mark), left);
    }
    let filter = format!("label=test={mark}");
    way.engine().client(&["image", "prune", "--force", "--filter", &filter]).expect(0);
}

fn parent_by_a_build_argument_is_built_first_and_again(way: Way) {
    let family = Built::by(
        way,
        &[
            ("tool", "FROM debian:bookworm\nRUN echo one > /tool\n"),
            ("app", "ARG ON\nARG KIND=none\nFROM ${ON:-debian:bookworm} AS x\nFROM $KIND\n"),
        ],
    );
    let given = format!("ON:{},KIND:x", family.tree.reference("tool"));
    let build = || {
        let given = ["--skip-unchanged", "--build-args", &given, "^app$"];
        family.build(&given).expect(0).names("built")
    };
    assert_eq!(build(), ["app", "tool"]);
    assert_eq!(family.file_in("app", "/tool"), "one\n");
    assert_eq!(build(), [""; 0]);
    family.tree.image("tool", "FROM debian:bookworm\nRUN echo two > /tool\n");
    assert_eq!(build(), ["app", "tool"]);
    assert_eq!(family.file_in("app", "/tool"), "two\n");
}

fn stage_that_nothing_needs_is_built_by_the_classic_builder_alone(way: Way) {
    let gone = "FROM 127.0.0.1:1/gone:1 AS debug\nRUN true\nFROM debian:bookworm\nENV A=1\n";
    let family = Built::by(way, &[("app", gone), ("other", "FROM debian:bookworm\nENV B=1\n")]);
    let code = if way == Way::Classic { 3 } else { 0 };
    family.build(&["--pull", "^app$"]).expect(code);
    // The image is not made from that stage: a change of its base changes nothing.
    family.tree.image("app", "FROM @other AS unused\nRUN true\nFROM debian:bookworm\nENV A=1\n");
    let build = || family.build(&["--skip-unchanged", "^app$"]).expect(0).names("built");
    let first = if way == Way::Classic { &["app", "other"][..] } else { &["app"] };
    assert_eq!(build(), first);
    family.tree.image("other", "FROM debian:bookworm\nENV B=2\n");
    assert_eq!(build(), [""; 0]);
}

/// Former versions did not record the layers in the label. Their fingerprints are accepted if the
/// layers are right.
fn an_image_on_another_parent_is_not_taken_for_unchanged(way: Way) {
    let family = Built::by(
        way,
        &[("base", "FROM debian:bookworm\nCOPY file /base\n"), ("leaf", "FROM @base\nENV A=1\n")],
    );
    let skipped = || family.build(&["--skip-unchanged", "--nocache"]).expect(0).names("skipped");
    family.tree.write("base/file", family.tree.namespace());
    family.build(&[]).expect(0);
    assert_eq!(skipped(), ["base", "leaf"]);
    // The same images with labels of a former version; the second one is on the right parent at
    // first.
    let relabel = |name: &str, from: &str| {
        let reference = family.tree.reference(name);
        let fingerprint = label(way, &reference).split(' ').next().unwrap().to_owned();
        let folder = tempfile::tempdir().unwrap();
        let label = format!(r#"LABEL kiln.fingerprint='{fingerprint} {{"Dockerfile":"0"}}'"#);
        let text = format!("FROM {from}\n{label}\n");
        fs::write(folder.path().join("Dockerfile"), text).unwrap();
        let folder = folder.path().to_str().unwrap();
        let mut docker = Command::new("docker");
        docker.args(["build", "--quiet", "--tag", &reference, folder]).env("DOCKER_BUILDKIT", "0");
        if way == Way::Podman {
            docker.env("DOCKER_HOST", std::env::var("KILN_TEST_PODMAN").unwrap());
        }
        Run::of(docker).expect(0);
    };
    let base = family.tree.reference("base");
    relabel("base", &base);
    relabel("leaf", &base);
    assert_eq!(skipped(), ["base", "leaf"]);
    relabel("leaf", "debian:bookworm");
    assert_eq!(skipped(), ["base"]);
    assert_eq!(skipped(), ["base", "leaf"]);
    assert_eq!(family.file_in("leaf", "/base"), family.tree.namespace());
}

/// Runs `kiln explain` on a tree.
fn explained(built: &Built, arguments: &[&str]) -> Run {
    let mut command = kiln();
    command.arg("explain").args(arguments).arg(built.way.option());
    command.args(["--tag", "t", "--namespace", built.tree.namespace(), "--tree"]);
    command.arg(built.tree.path());
    Run::of(command)
}

#[test]
fn explain_lists_the_changes_of_an_image() {
    let family = Built::by(Way::Classic, FAMILY);
    let told = |what: &str| {
        let run = explained(&family, &["mid"]).expect(0);
        let text = run.shown(&[
            (&regex::escape(family.tree.namespace()), "NAMESPACE"),
            (&regex::escape(&family.tree.path().display().to_string()), "TREE"),
            (r"[0-9a-f]{64}", "DIGEST"),
            (r"    (sha256:[0-9a-f]{5}|[0-9a-f]{12})  ", "    SHORT  "),
        ]);
        insta::assert_snapshot!(format!("explained-{what}"), text);
    };
    told("before");
    family.build(&[]).expect(0);
    told("built");
    family.tree.write("mid/mid.txt", "another\n");
    family.tree.write("mid/new.txt", "new\n");
    family.tree.image("base", "FROM debian:bookworm\nRUN echo other > /base\n");
    told("changed");
    family.way.engine().client(&["tag", "debian:bookworm", &family.tree.reference("mid")]);
    told("foreign");
}

/// No image depends on the clock, although a label of Kolla's trees contains the date.
#[test]
fn images_do_not_depend_on_the_date() {
    let release = kolla::install("9.4.0");
    let on = |epoch: &str, what: &[&str]| {
        let mut command = kiln();
        command.args(what).args(["--base", "debian", "--type", "source", "--tree"]).arg(&release);
        Run::of({
            command.env("SOURCE_DATE_EPOCH", epoch);
            command
        })
        .expect(0)
        .stdout
    };
    let explain = ["explain", "base"];
    assert_eq!(on("0", &explain), on("86400", &explain));
    assert!(on("0", &explain).contains("fingerprint"));
    let folder = tempfile::tempdir().unwrap();
    let rendered = |epoch: &str| {
        let work_dir = folder.path().join(epoch).display().to_string();
        on(epoch, &["build", "--template-only", "--work-dir", &work_dir, "^base$"]);
        fs::read_to_string(folder.path().join(epoch).join("docker/base/Dockerfile")).unwrap()
    };
    assert!(rendered("0").contains("build-date=\"19700101"), "{}", rendered("0"));
    assert!(rendered("86400").contains("build-date=\"19700102"));
}

#[test]
fn the_second_that_images_are_dated_reaches_buildkit() {
    let template =
        "FROM debian:bookworm\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH > /e\n";
    let family = Built::by(Way::BuildKit, &[("dated", template)]);
    let build = |epoch: &str| {
        let mut command = family.command(&["--skip-unchanged"]);
        Run::of({
            command.env("SOURCE_DATE_EPOCH", epoch);
            command
        })
        .expect(0)
    };
    assert_eq!(build("5").names("built"), ["dated"]);
    assert_eq!(family.file_in("dated", "/e"), "5\n");
    assert_eq!(build("6").names("skipped"), ["dated"]);
}

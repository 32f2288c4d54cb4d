//! Engines whose answers do not end: time and memory that the program uses before it gives up.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::http::{OPEN_HEAD, Reply, Server, empty, idle_engine_reply, json};
use crate::support::{Run, TestTree};

/// Address space of the program, in KiB.
const ADDRESS_SPACE_KIB: u64 = 1_500_000;

const PART: usize = 64 << 10;

/// Runs the program with little memory, on an engine that answers requests with `word` in their
/// path with `reply`.
fn said(word: &'static str, reply: Reply, arguments: &[&str]) -> Run {
    let engine = Server::plain(move |request| match request.path.contains(word) {
        true => reply.clone(),
        false => idle_engine_reply(request),
    });
    let tree = TestTree::new(&[("app", "FROM debian:bookworm\n")]);
    let build = tree.command(&[&["--nobuildkit", "--timeout", "3"], arguments].concat());
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -v {ADDRESS_SPACE_KIB}; exec \"$0\" \"$@\""));
    command.arg(build.get_program()).args(build.get_args());
    command.env("DOCKER_HOST", format!("tcp://127.0.0.1:{}", engine.port));
    command.env("XDG_CONFIG_HOME", "/nonexistent").env("XDG_STATE_HOME", tree.path().join("state"));
    command.env("MALLOC_ARENA_MAX", "1");
    let start = Instant::now();
    let run = Run::of(command);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(12), "{took:?}: {run:?}");
    assert!([1, 3].contains(&run.code), "{run:?}");
    run
}

fn endless(part: &str) -> Reply {
    Reply::Endless(OPEN_HEAD.to_owned(), part.repeat(PART / part.len()).into_bytes())
}

const SKIPPING: &[&str] = &["--skip-existing", "--list-images"];

#[test]
fn answers_without_end_are_given_up() {
    let questions: [(&str, &[&str]); 3] = [
        ("/version", &[]),
        ("/images/json", SKIPPING),
        ("/images/debian:bookworm/json", &["--skip-unchanged", "--plan"]),
    ];
    for (word, arguments) in questions {
        for part in [" ", "[", "{\"a\":[", "\\u0041"] {
            println!("{word} {part}");
            let run = said(word, endless(part), arguments);
            let is_limited = run.stderr.contains("the engine sent an answer of more than");
            assert!(is_limited || run.stderr.contains("--timeout"), "{run:?}");
        }
    }
}

#[test]
fn errors_without_end_are_given_up() {
    let head = "HTTP/1.1 500 Status\r\nConnection: close\r\n\r\n".to_owned();
    for (word, arguments) in [("/version", &[][..]), ("/images/json", SKIPPING), ("/build", &[])] {
        let run = said(word, Reply::Endless(head.clone(), vec![b'x'; PART]), arguments);
        let told = format!("{}{}", run.stderr, run.stdout);
        assert!(told.contains("the engine sent an answer of more than 1 MiB"), "{run:?}");
    }
}

#[test]
fn records_without_end_are_given_up() {
    let table = [
        ("blanks", endless(" ")),
        ("a string", Reply::Endless(format!("{OPEN_HEAD}{{\"stream\":\""), vec![b'x'; PART])),
        ("an unknown field", Reply::Endless(format!("{OPEN_HEAD}{{\"x\":["), b"1,".repeat(PART))),
        ("nesting", endless("[")),
    ];
    for (what, reply) in table {
        println!("{what}");
        let run = said("/build", reply, &[]);
        let reason = run.summary()["failed"][0]["reason"].as_str().unwrap().to_owned();
        let words =
            ["sent a record of more than 4 MiB", "no answer from the engine", "invalid type"];
        assert!(words.iter().any(|word| reason.contains(word)), "{what}: {reason}");
    }
}

#[test]
fn heads_and_chunks_without_end_are_given_up() {
    let head = |start: &str, part: &str| Reply::Endless(start.to_owned(), part.repeat(999).into());
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let table = [
        ("headers", head("HTTP/1.1 200 OK\r\n", "A: b\r\n")),
        ("a header", head("HTTP/1.1 200 OK\r\nA: ", "xxxxxxxxxxxxxxxx")),
        ("interim answers", head("", "HTTP/1.1 103 E\r\n\r\n")),
        ("chunks", head(chunked, "1\r\n \r\n")),
        ("a chunk's extension", head(&format!("{chunked}1;a="), "xxxxxxxxxxxxxxxx")),
        ("trailers", head(&format!("{chunked}2\r\n{{}}\r\n0\r\n"), "A: b\r\n")),
    ];
    for (what, reply) in table {
        println!("{what}");
        said("/version", reply.clone(), &[]);
        said("/build", reply, &[]);
    }
}

#[test]
fn engine_that_sends_a_byte_a_second_is_given_up() {
    for (word, arguments) in [("/version", &[][..]), ("/images/json", SKIPPING), ("/build", &[])] {
        let start = Instant::now();
        said(word, Reply::Drip(OPEN_HEAD.to_owned()), arguments);
        assert!(start.elapsed() < Duration::from_secs(8), "{word}");
    }
}

#[test]
fn invalid_id_is_not_passed_on() {
    for id in ["--help", "", "sha256:../../x", "a b", "a\\u001b[2J"] {
        let body = format!(
            r#"[{{"Id":"{id}","ParentId":"","RepoTags":["a:b"],"RepoDigests":[],"Created":0,"Size":1,"SharedSize":-1,"Labels":{{}},"Containers":-1}}]"#
        );
        let run = said("/images/json", json(200, &body), SKIPPING);
        assert!(run.stderr.contains("is not an image ID"), "{run:?}");
        assert!(!run.stderr.contains('\u{1b}'), "{run:?}");
    }
    let run = said("/version", empty(204, ""), &[]);
    assert_eq!(run.code, 3);
}

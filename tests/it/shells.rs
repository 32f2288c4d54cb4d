//! Completions in their shells, and the manual pages in a formatter.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Run, kiln};

/// Returns the completions for a shell.
fn completions(shell: &str) -> String {
    let mut command = kiln();
    command.args(["completions", shell]);
    Run::of(command).expect(0).stdout
}

/// Returns the output of `script` in a shell that has read the completions.
fn told(program: &[&str], shell: &str, script: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("completions");
    fs::write(&file, completions(shell)).unwrap();
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).arg("-c").arg(script).env("COMPLETIONS", &file);
    command.env("HOME", folder.path()).env("XDG_CONFIG_HOME", folder.path());
    let output = command.output().unwrap_or_else(|error| {
        panic!("these tests need {}, run scripts/install-tools: {error}", program[0])
    });
    let run = Run::from(output).expect(0);
    assert_eq!(run.stderr, "", "{run:?}");
    run.stdout.lines().map(str::to_owned).collect()
}

/// Returns bash's suggestions for the last word of a command line.
fn offered_by_bash(words: &[&str]) -> Vec<String> {
    let [.., before, word] = words else { panic!("a command and a word") };
    let script = format!(
        "source \"$COMPLETIONS\"\n\
         COMP_WORDS=({}) COMP_CWORD={}\n\
         how=$(complete -p kiln) && [[ $how == *' -F _kiln '* ]]\n\
         _kiln kiln '{word}' '{before}'\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        words.len() - 1
    );
    told(&["bash", "--norc", "--noprofile", "-eu"], "bash", &script)
}

#[test]
fn bash_completes() {
    assert_eq!(offered_by_bash(&["kiln", "expl"]), ["explain"]);
    assert_eq!(
        offered_by_bash(&["kiln", "build", "--list-"]),
        ["--list-images", "--list-dependencies"]
    );
    assert_eq!(offered_by_bash(&["kiln", "build", "--engine", "p"]), ["podman"]);
    assert_eq!(offered_by_bash(&["kiln", "config", "sh"]), ["show"]);
}

#[test]
fn fish_completes() {
    let offered = |line: &str| {
        let script = format!("source $COMPLETIONS; complete --do-complete '{line}'");
        let told = told(&["fish", "--no-config"], "fish", &script);
        let words = told.iter().map(|line| line.split('\t').next().unwrap().to_owned());
        words.collect::<Vec<_>>()
    };
    assert_eq!(offered("kiln expl"), ["explain"]);
    assert_eq!(offered("kiln build --list-im"), ["--list-images"]);
    assert_eq!(offered("kiln build --engine "), ["docker", "podman"]);
}

#[test]
fn zsh_takes_the_completions() {
    let script = "autoload -U compinit && compinit -u -d $HOME/dump && source $COMPLETIONS && \
                  print $_comps[kiln] && print $+functions[_kiln__subcmd__build_commands]";
    assert_eq!(told(&["zsh", "-f"], "zsh", script), ["_kiln", "1"]);
}

#[test]
fn completions_exist_for_the_other_shells() {
    for shell in ["elvish", "powershell"] {
        assert!(completions(shell).contains("--skip-unchanged"), "{shell}");
    }
    let mut command = kiln();
    command.args(["completions", "tcsh"]);
    assert!(Run::of(command).expect(2).stderr.contains("elvish"));
}

/// Returns a formatter's warnings about a page.
fn complaints(page: &Path) -> String {
    let mut command = Command::new("groff");
    command.args(["-man", "-Tutf8", "-ww", "-z"]).arg(page);
    let output = command.output().expect("these tests need groff: run scripts/install-tools");
    Run::from(output).expect(0).stderr
}

#[test]
fn every_command_has_a_page_of_the_manual() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("new/man1");
    let mut command = kiln();
    command.arg("man").arg(&pages);
    let run = Run::of(command).expect(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));

    let mut names = Vec::new();
    for entry in fs::read_dir(&pages).unwrap() {
        let page = entry.unwrap().path();
        assert_eq!(complaints(&page), "", "{}", page.display());
        names.push(page.file_stem().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    let text = |name: &str| fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
    let referred = regex::Regex::new(r"(?m)^(kiln[a-z\\-]*)\(1\)$").unwrap();
    for name in &names {
        for found in referred.captures_iter(&text(name)) {
            let other = found[1].replace('\\', "");
            assert!(names.contains(&other), "{name} refers to {other}, which has no page");
        }
    }
    for name in ["kiln", "kiln-build", "kiln-config-show", "kiln-tree-export"] {
        assert!(names.iter().any(|known| known == name), "no page of {name}: {names:?}");
    }
    assert!(text("kiln-build").contains(r"\-\-skip\-unchanged"));

    let mut command = kiln();
    command.arg("man");
    assert_eq!(Run::of(command).expect(0).stdout, text("kiln"));
}

#[test]
fn unwritable_folder_is_reported() {
    let mut command = kiln();
    command.args(["man", "/dev/null/man1"]);
    let run = Run::of(command).expect(2);
    assert!(run.stderr.contains("can't be written to '/dev/null/man1'"), "{run:?}");
}

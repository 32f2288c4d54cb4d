//! Replays the corpora in `fuzz/corpus`, one for each reader of data from third parties: inputs
//! that its fuzzer found useful, and inputs that were once read wrongly.

use std::fs;
use std::path::Path;

use kiln::internals::fuzzing::READERS;

#[test]
fn every_corpus_is_read_by_its_reader() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut folders = fs::read_dir(&corpora).unwrap().count();
    for (name, read) in READERS {
        let inputs: Vec<_> = fs::read_dir(corpora.join(name)).unwrap().collect();
        assert!(!inputs.is_empty(), "there is no corpus for {name}");
        for input in inputs {
            let path = input.unwrap().path();
            println!("{}", path.display());
            read(&fs::read(path).unwrap());
        }
        folders -= 1;
    }
    assert_eq!(folders, 0, "a corpus has no reader");
}

#[test]
fn every_reader_has_a_fuzzer() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    for (name, _) in READERS {
        assert!(targets.join(format!("{name}.rs")).is_file(), "{name}");
    }
    assert_eq!(fs::read_dir(targets).unwrap().count(), READERS.len());
}

//! Checks the properties for every kept input: seeds, the fuzzer's corpus, and its earlier findings.

use std::fs;
use std::path::{Path, PathBuf};

use vrrpd_properties::{TARGETS, Target};

/// Maximum size of the whole corpus in octets.
const MAX_OCTETS: u64 = 300 << 10;

fn inputs(kind: &str, target: &Target) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(kind).join(target.name);
    // A target without kept inputs has no directory.
    let mut files: Vec<_> = fs::read_dir(directory).into_iter().flatten().flatten().collect();
    files.sort_by_key(fs::DirEntry::file_name);
    files.into_iter().map(|file| file.path()).collect()
}

fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    for (number, seed) in (target.seeds)().iter().enumerate() {
        // The last one printed is the one that fails.
        println!("seed {number}: {}", seed.escape_ascii());
        (target.check)(seed);
    }
    let corpus = inputs("corpus", target);
    assert!(!corpus.is_empty(), "the corpus of {name} is committed");
    for file in corpus.into_iter().chain(inputs("crashes", target)) {
        println!("{}", file.display());
        (target.check)(&fs::read(&file).expect("it can be read"));
    }
}

#[test]
fn frames() {
    replay("frame");
}

#[test]
fn events_of_a_router() {
    replay("machine");
}

#[test]
fn configurations() {
    replay("config");
}

#[test]
fn messages_of_other_processes() {
    replay("control");
}

#[test]
fn the_corpus_is_small() {
    let files = TARGETS.iter().flat_map(|target| inputs("corpus", target));
    let octets: u64 = files.map(|file| fs::metadata(file).expect("it is there").len()).sum();
    assert!(octets <= MAX_OCTETS, "{octets} octets; `cargo xtask fuzz --minimise` makes it smaller");
}

//! Recordings from laboratories, a directory each: `input.jsonl` is the output of `atropos --record`, `transcript` its
//! replay.
//!
//! `UPDATE_GOLDEN=1 cargo test -p vrrpd-engine --test replays` rewrites the transcripts. A fault that was seen on a
//! machine becomes another directory.
//!
//! `input.jsonl` is never changed: recordings of earlier programs stay readable (see `FORMAT`). `replays.keys` has the
//! keys of a recording.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;
use vrrpd_engine::recording::{FORMAT, read, transcript};

/// The directories, in order.
fn cases() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replays");
    let mut cases: Vec<_> =
        fs::read_dir(all).expect("a directory").map(|entry| entry.expect("an entry").path()).collect();
    cases.sort();
    assert!(cases.len() >= 3, "{cases:?}");
    cases
}

fn input(case: &Path) -> String {
    fs::read_to_string(case.join("input.jsonl")).expect("each case has one")
}

#[test]
fn each_recording_gives_its_transcript_again() {
    for case in cases() {
        let words = transcript(&input(&case)).expect("is a recording");
        assert!(words.contains(" > TRANSITION "), "{words}");
        let file = case.join("transcript");
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(file, words).expect("can be written");
            continue;
        }
        let before = fs::read_to_string(file).expect("each case has one");
        assert_eq!(words, before, "{}; see the head of this file", case.display());
    }
}

/// The paths of all keys.
fn collect_keys(value: &Value, path: &str, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(values) => {
            for (key, value) in values {
                collect_keys(value, &format!("{path}.{key}"), keys);
            }
        }
        Value::Array(values) => {
            for value in values {
                collect_keys(value, &format!("{path}[]"), keys);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            keys.insert(path.to_owned());
        }
    }
}

#[test]
fn recorded_keys_change_only_with_the_format_or_with_a_default() {
    let mut keys = BTreeSet::new();
    for case in cases() {
        for segment in read(&input(&case)).expect("is a recording").into_iter().flat_map(|one| one.segments) {
            let snapshot = serde_json::to_value(&segment.snapshot).expect("can be written");
            collect_keys(&snapshot, "snapshot", &mut keys);
            for entry in segment.entries {
                collect_keys(&serde_json::to_value(entry).expect("can be written"), "happened", &mut keys);
            }
        }
    }
    let keys = format!("format {FORMAT}\n") + &keys.into_iter().map(|key| key + "\n").collect::<String>();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replays.keys");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(file, keys).expect("can be written");
        return;
    }
    let before = fs::read_to_string(file).expect("it is there");
    assert_eq!(
        keys, before,
        "a field that is new needs a default, anything else another FORMAT: see recording/lines"
    );
}

#[test]
fn a_recording_of_another_program_is_refused_with_the_version_that_can_replay_it() {
    let text = input(&cases()[0]);
    let error = |text: &str| transcript(text).expect_err("is refused").to_string();
    let other_format = text.replacen(&format!("\"format\":{FORMAT}"), "\"format\":99", 1);
    let program = read(&text).expect("is a recording").remove(0).head.program;
    assert_eq!(
        error(&other_format),
        format!(
            "line 1: written by {program} in format 99, this program reads format {FORMAT}: replay it with the version \
             that wrote it"
        )
    );
    let newer = text.replacen("{\"snapshot\":{", "{\"snapshot\":{\"mood\":3,", 1);
    assert_eq!(
        error(&newer),
        format!(
            "line 2: unknown key snapshot.mood, written by {program}: replay it with the version that wrote it"
        )
    );
    let newer = text.replacen("\"StartUp\":", "\"Teleport\":", 1);
    assert_ne!(newer, text);
    let line = 1 + newer.lines().position(|line| line.contains("Teleport")).expect("it is there");
    assert_eq!(
        error(&newer),
        format!(
            "line {line}: unknown value `Teleport`, written by {program}: replay it with the version that wrote it"
        )
    );
}

/// Damage of a recording.
#[derive(Clone, Debug)]
enum Damage {
    /// Truncated here.
    Cut(usize),
    /// This octet is replaced.
    Octet(usize, u8),
    /// This line is removed.
    Missing(usize),
    /// This line is repeated after that one.
    Again(usize, usize),
    /// The number after this position is replaced.
    Number(usize, u64),
}

impl Damage {
    fn of(&self, text: &str) -> String {
        let mut lines: Vec<_> = text.lines().collect();
        let count = lines.len();
        match self {
            Self::Cut(at) => text[..at % text.len()].to_owned(),
            Self::Octet(at, octet) => {
                let mut octets = text.as_bytes().to_vec();
                let at = at % octets.len();
                octets[at] = *octet;
                String::from_utf8_lossy(&octets).into_owned()
            }
            Self::Missing(line) => {
                lines.remove(line % count);
                lines.join("\n")
            }
            Self::Again(line, behind) => {
                let line = lines[line % count];
                lines.insert(1 + behind % count, line);
                lines.join("\n")
            }
            Self::Number(at, number) => {
                let at = at % text.len();
                let Some(start) = text[at..].find(|character: char| character.is_ascii_digit()) else {
                    return text.to_owned();
                };
                let (before, behind) = text.split_at(at + start);
                format!(
                    "{before}{number}{}",
                    behind.trim_start_matches(|character: char| character.is_ascii_digit())
                )
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        1 => any::<usize>().prop_map(Damage::Cut),
        2 => (any::<usize>(), 32..127_u8).prop_map(|(at, octet)| Damage::Octet(at, octet)),
        1 => any::<usize>().prop_map(Damage::Missing),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(line, behind)| Damage::Again(line, behind)),
        4 => (any::<usize>(), prop_oneof![any::<u64>(), 0..300_u64, Just(u64::MAX), Just(1 << 62)])
            .prop_map(|(at, number)| Damage::Number(at, number)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_damaged_recording_is_replayed_or_refused_with_its_line(
        case in any::<prop::sample::Index>(),
        damages in proptest::collection::vec(damage(), 1..4),
    ) {
        let cases = cases();
        let case: &PathBuf = case.get(&cases);
        let mut text = input(case);
        for damage in damages {
            text = damage.of(&text);
            if text.is_empty() {
                break;
            }
        }
        if let Err(error) = transcript(&text) {
            prop_assert!((1..=text.lines().count().max(1)).contains(&error.line), "{error}");
        }
    }
}

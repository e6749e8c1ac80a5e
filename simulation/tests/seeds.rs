//! Some fixed seeds and some new ones. `VRRPD_SEED` selects the first new one; `cargo xtask sim` runs many.
#![expect(clippy::panic, reason = "the story of what failed is longer than an assertion's message")]

use std::time::{SystemTime, UNIX_EPOCH};

use vrrpd_simulation::many::seeds;
use vrrpd_simulation::run::{run, transcript};

const FIXED: u64 = 100;
const OTHERS: u64 = 60;
const THREADS: usize = 2;

#[test]
fn the_state_is_correct_some_time_after_the_last_fault() {
    check(1, FIXED);
}

#[test]
fn new_seeds_pass() {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    let first = std::env::var("VRRPD_SEED")
        .map_or(since.as_secs() * 1_000, |seed| seed.parse().expect("VRRPD_SEED is a number"));
    println!("VRRPD_SEED={first}");
    check(first, OTHERS);
}

#[test]
fn a_seed_is_the_same_each_time() {
    let outcome = run(42).expect("nothing fails");
    assert_eq!(run(42).expect("nothing fails"), outcome);
    assert_eq!(transcript(42), transcript(42));
    assert!(transcript(42).ends_with("all is well\n"));
}

fn check(first: u64, count: u64) {
    if let Err(failure) = seeds(first, count, THREADS) {
        panic!(
            "{}seed {} failed: {}\nagain: cargo xtask sim --seed {}",
            failure.transcript, failure.seed, failure.what, failure.seed
        );
    }
}

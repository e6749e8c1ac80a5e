//! `cargo xtask sim` runs this: many seeds, or one with its transcript.

use std::process::ExitCode;
use std::time::Instant;

use vrrpd_simulation::cases::searches;
use vrrpd_simulation::many::seeds;
use vrrpd_simulation::run::{Nearest, Outcome, Worst, transcript};
use vrrpd_simulation::search::{Searched, search};

const USAGE: &str = "\
usage: simulate [--seeds N] [--seed S] [--threads T]
       simulate --search
  --seeds N    run N seeds (1000), from S on (1); end with the first that fails, and print its transcript
  --seed S     without --seeds: run this seed alone, and print its transcript
  --threads T  run so many at once (as many as there are processors)
  --search     search through every order of events, within limits that take some minutes";

struct Options {
    seeds: Option<u64>,
    seed: Option<u64>,
    threads: usize,
}

fn main() -> ExitCode {
    if std::env::args().skip(1).eq(["--search"]) {
        return search_all();
    }
    let Some(options) = options(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if let (None, Some(seed)) = (options.seeds, options.seed) {
        print!("{}", transcript(seed));
        return ExitCode::SUCCESS;
    }
    let (first, count) = (options.seed.unwrap_or(1), options.seeds.unwrap_or(1000));
    let start = Instant::now();
    match seeds(first, count, options.threads) {
        Ok(outcome) => {
            println!(
                "seeds {first} to {}: all is well, in {} s",
                first + count - 1,
                start.elapsed().as_secs()
            );
            show(&outcome);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{}", failure.transcript);
            println!("seed {} failed: {}", failure.seed, failure.what);
            println!("again: cargo xtask sim --seed {}", failure.seed);
            ExitCode::FAILURE
        }
    }
}

fn search_all() -> ExitCode {
    for (name, _, plan, limits) in searches() {
        let start = Instant::now();
        match search(&plan, &limits) {
            Ok(Searched { states, steps }) => {
                println!("{name}: {states} states, {steps} steps, in {} s", start.elapsed().as_secs());
            }
            Err(story) => {
                println!("{story}\n{name}: failed");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn options(mut words: impl Iterator<Item = String>) -> Option<Options> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options { seeds: None, seed: None, threads };
    while let Some(word) = words.next() {
        let value = words.next();
        match word.as_str() {
            "--seeds" => options.seeds = Some(value?.parse().ok()?),
            "--seed" => options.seed = Some(value?.parse().ok()?),
            "--threads" => options.threads = value?.parse().ok()?,
            _ => return None,
        }
    }
    Some(options)
}

fn show(outcome: &Outcome) {
    let figures = &outcome.figures;
    println!("virtual time         {} h", figures.time / 3_600_000_000_000);
    println!("adverts              {}", figures.adverts);
    println!("promotions           {}", figures.promotions);
    println!("faults               {}", figures.faults.values().sum::<u64>());
    for (kind, count) in &figures.faults {
        println!("  {kind:<40} {count}");
    }
    println!("single faults in peace {}", outcome.single_faults);
    println!("nearest to its bound, after many faults:");
    print_nearest(&outcome.many_faults);
    println!("nearest to its bound, after a single fault:");
    print_nearest(&outcome.single_fault);
}

fn print_nearest(nearest: &Nearest) {
    print_worst("until all is well", nearest.took);
    print_worst("a LAN without a master", nearest.no_master);
    print_worst("a LAN with two masters", nearest.two_masters);
}

fn print_worst(what: &str, worst: Worst) {
    let millis = |nanos: u64| format!("{}.{:03} s", nanos / 1_000_000_000, nanos / 1_000_000 % 1_000);
    println!("  {what:<40} {} of {}", millis(worst.took), millis(worst.bound));
}

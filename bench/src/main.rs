//! Benchmarks: cost and lateness of the daemon, beside keepalived in the same laboratories, for docs/performance.md.
//! `cargo xtask bench` runs it.
//!
//! Each scenario has its own file or function, and adds its figures to a [`record::Record`]; `table` and `plot` present
//! them. Start reading at [`SCENARIOS`]; `subject` has the measured programs.

mod failover;
mod flood;
mod footprint;
mod forward;
mod generator;
mod killed;
mod lateness;
mod machine;
mod master;
mod packet;
mod plot;
mod record;
mod scale;
mod starved;
mod steady;
mod subject;
mod table;
mod take_over;
mod tracked;

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use clap::builder::PossibleValuesParser;
use serde_json::json;
use vrrpd_lab::{message, needs, use_binaries_in};
use xtask::{cargo, setup};

use machine::Machine;
use record::Record;

/// Measure what the daemon costs and how late it is, beside keepalived (needs root).
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Options {
    /// Only this scenario; again for a second one
    #[arg(long = "scenario", value_name = "NAME", value_parser = PossibleValuesParser::new(SCENARIOS.map(|scenario| scenario.name)))]
    scenarios: Vec<String>,

    /// How often each scenario is run
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,

    /// A fifth of the time and of the failovers, for a first look
    #[arg(long)]
    quick: bool,

    /// Measure vrrpd and atropos in DIR, such as an earlier release's, instead of building them
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,

    /// Write the figures to this file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Draw each scenario as DIR/NAME.svg
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
}

/// A benchmark.
struct Scenario {
    name: &'static str,
    /// It is part of one of this many runs; more than 1 for a scenario that takes long and varies little.
    one_of: usize,
    about: &'static str,
    /// Runs it once.
    run: fn(&mut Record, Effort) -> Result<()>,
}

const SCENARIOS: [Scenario; 14] = [
    Scenario {
        name: "backup-steady",
        one_of: 1,
        about: "255 routers as backup, version 3, each master at 100 adverts a second",
        run: steady::hundred_adverts_a_second,
    },
    Scenario {
        name: "backup-slow",
        one_of: 3,
        about: "255 routers as backup, version 3, each master at one advert a second",
        run: steady::one_advert_a_second,
    },
    Scenario {
        name: "master-steady",
        one_of: 1,
        about: "255 routers as master, version 3, at 100 adverts a second each",
        run: master::run,
    },
    Scenario {
        name: failover::NAME,
        one_of: 3,
        about: "from when the protocol demands the first advert of the new master until it is on the wire",
        run: failover::run,
    },
    Scenario {
        name: "killed",
        one_of: 3,
        about: "a master is killed (SIGKILL): until its guardian has resigned for it and taken its addresses off",
        run: killed::run,
    },
    Scenario {
        name: "tracked",
        one_of: 3,
        about: "a process that the master tracks is killed: until the master has resigned, and the other router is master",
        run: tracked::run,
    },
    Scenario {
        name: "take-over-200",
        one_of: 1,
        about: "a router with 200 addresses takes over: gratuitous ARP after the deadline",
        run: take_over::run,
    },
    Scenario {
        name: "flood",
        one_of: 1,
        about: "malformed and foreign adverts as fast as they can be sent, beside a master at 10 ms",
        run: flood::malformed_and_foreign,
    },
    Scenario {
        name: "spoof-flood",
        one_of: 1,
        about: "2,000 adverts a second of lower priority for the same router, beside its master at 10 ms",
        run: flood::lower_priority,
    },
    Scenario {
        name: "starved",
        one_of: 1,
        about: "backups at 10 ms while threads spin on every core and one writes and syncs a file",
        run: starved::run,
    },
    Scenario {
        name: "packet-cost",
        one_of: 1,
        about: "the XDP program on one frame (BPF_PROG_TEST_RUN), beyond a program that returns at once",
        run: packet::run,
    },
    Scenario {
        name: "forward",
        one_of: 3,
        about: "UDP packets forwarded through a namespace, with and without a program on the interface where they arrive",
        run: forward::run,
    },
    Scenario {
        name: "scale",
        one_of: 3,
        about: "routers in one process, 255 on each interface, as backup at an advert a second",
        run: scale::run,
    },
    Scenario {
        name: "footprint",
        one_of: 3,
        about: "one router: memory of all its processes; the program on disk",
        run: footprint::run,
    },
];

/// How thoroughly to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    quick: bool,
}

impl Effort {
    const SHARE: u32 = 5;

    /// Duration of a measurement.
    pub(crate) fn seconds(self, seconds: u64) -> Duration {
        let span = Duration::from_secs(seconds);
        if self.quick { span / Self::SHARE } else { span }
    }

    /// Number of repetitions.
    pub(crate) const fn times(self, times: u32) -> u32 {
        if self.quick { times.div_ceil(Self::SHARE) } else { times }
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    ensure!(needs::is_root(), "this makes network namespaces, which needs root: run as root");
    let start = Instant::now();
    setup::see_to(&[needs::IP, needs::KEEPALIVED])?;
    use_binaries_in(match &options.binaries {
        Some(directory) => directory.canonicalize().with_context(|| directory.display().to_string())?,
        None => cargo::build_release(None)?,
    });
    let machine = Machine::look();
    println!("{machine}");
    let mut record = Record::default();
    let mut failed = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| options.wants(scenario)) {
        record.begin(scenario.name, scenario.about);
        for run in (1..=options.runs).step_by(scenario.one_of) {
            eprintln!("bench: {}, run {run} of {}", scenario.name, options.runs);
            // A failed scenario does not end the others.
            if let Err(error) = scenario.once(&mut record, Effort { quick: options.quick }) {
                eprintln!("bench: {}: {error:#}", scenario.name);
                failed.push(scenario.name);
            }
        }
        println!("{}", table::of(record.last()));
    }
    for missed in record.missed() {
        println!("bench: missed: {missed}");
    }
    println!("bench: {} s, load average at the end {}", start.elapsed().as_secs(), machine::load());
    if let Some(file) = &options.json {
        let value = json!({ "machine": machine.to_json(), "runs": options.runs, "quick": options.quick, "scenarios": record.to_json() });
        fs::write(file, format!("{value:#}\n")).with_context(|| file.display().to_string())?;
    }
    if let Some(directory) = &options.plots {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        for scenario in record.scenarios() {
            plot::draw(scenario, &machine, &directory.join(format!("{}.svg", scenario.name)), |_| true)?;
            if scenario.name == failover::NAME {
                let file = directory.join(failover::README_PLOT);
                plot::draw(scenario, &machine, &file, failover::is_in_readme)?;
            }
        }
    }
    ensure!(failed.is_empty(), "not everything was measured: {}", failed.join(", "));
    Ok(())
}

impl Scenario {
    fn once(&self, record: &mut Record, effort: Effort) -> Result<()> {
        // The laboratory panics when it cannot go on; here that is an ordinary error.
        let result = panic::catch_unwind(AssertUnwindSafe(|| (self.run)(record, effort)));
        result.unwrap_or_else(|panic| Err(anyhow!("{}", message(panic.as_ref()))))
    }
}

impl Options {
    fn wants(&self, scenario: &Scenario) -> bool {
        self.scenarios.is_empty() || self.scenarios.iter().any(|name| name == scenario.name)
    }
}

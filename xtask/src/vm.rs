//! Runs tests as root on other kernels, each in a virtual machine emulated by QEMU, which needs no hardware support.
//!
//! [`plan`] selects the tests of each kernel; [`kernel`] downloads kernels; [`guest`] creates a machine's file system;
//! [`cards`] are its network cards; [`machine`] runs it. The guest runs `vm/init.sh`.

mod cards;
mod guest;
mod initramfs;
mod kernel;
mod machine;
mod plan;

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{panic, thread};

use anyhow::{Result, ensure};
use clap::Args;

use crate::test::Datapath;
use crate::{cargo, setup};
use guest::Programs;
use kernel::Series;
use machine::End;
use plan::{Choice, Job};

/// Directory of kernels and guests.
const CACHE: &str = "target/vm";
/// Number of machines that run at once: they wait as much as they compute.
const AT_ONCE: usize = 2;
/// The guest's last line.
const END: &str = "vm: end";

/// Options of `cargo xtask vm-test`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Run on this kernel only (repeatable)
    #[arg(long = "kernel", value_name = "SERIES")]
    kernels: Vec<Series>,

    /// Run every test suitable for other kernels, and those of network cards, instead of the selection of continuous
    /// integration
    #[arg(long)]
    all: bool,

    /// Run this test file only (repeatable)
    #[arg(long = "test", value_name = "NAME")]
    tests: Vec<String>,

    /// Run with this data path only (repeatable)
    #[arg(long = "datapath", value_name = "PATH")]
    datapaths: Vec<Datapath>,

    /// Timeout of a machine in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    limit: u64,

    /// Passed on to the tests: a filter on their names, `--nocapture`, `--skip NAME`
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let start = Instant::now();
    install_what_is_missing()?;
    let cache = cargo::root().join(CACHE);
    fs::create_dir_all(&cache)?;
    let choice = Choice {
        all: options.all,
        tests: options.tests.clone(),
        datapaths: options.datapaths.clone(),
        arguments: options.arguments.clone(),
    };
    let is_wanted = |series: &Series| match options.kernels.as_slice() {
        [] => *series != Series::Cards || options.all || !options.tests.is_empty(),
        chosen => chosen.contains(series),
    };
    let kernels: Vec<_> = Series::ALL.into_iter().filter(is_wanted).collect();
    let jobs: Vec<_> = kernels.iter().map(|kernel| choice.jobs(*kernel)).collect();
    let names: BTreeSet<_> = jobs.iter().flatten().map(|job| job.test).collect();
    for test in &choice.tests {
        ensure!(names.contains(test.as_str()), "no selected kernel runs tests of {test}");
    }

    let binaries = cargo::build_release(None)?;
    let mut tests = cargo::build_tests("vrrpd-tests")?;
    tests.retain(|(name, _)| names.contains(name.as_str()));
    let programs = Programs::gather(&binaries, &tests, &cache)?;
    let limit = Duration::from_secs(options.limit);
    let machines: Result<VecDeque<_>> = kernels
        .into_iter()
        .zip(jobs)
        .filter(|(_, jobs)| !jobs.is_empty())
        .map(|(series, jobs)| Machine::prepare(series, jobs, &programs, &cache))
        .collect();
    let machines = Mutex::new(machines?);
    let next = || machines.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let run_all =
        || -> Vec<String> { std::iter::from_fn(next).flat_map(|machine| machine.run(limit)).collect() };
    let failed: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(run_all)).collect();
        let results = workers.into_iter().map(thread::ScopedJoinHandle::join);
        results.flat_map(|result| result.unwrap_or_else(|panic| panic::resume_unwind(panic))).collect()
    });
    ensure!(failed.is_empty(), "failed: {}", failed.join("; "));
    println!("cargo xtask vm-test: passed in {} s", start.elapsed().as_secs());
    Ok(())
}

fn install_what_is_missing() -> Result<()> {
    setup::everything()?;
    setup::see_to(&[machine::QEMU, guest::BUSYBOX, guest::STRIP, guest::XZ])
}

/// A prepared machine.
struct Machine {
    series: Series,
    image: PathBuf,
    jobs: Vec<Job>,
    cache: PathBuf,
}

impl Machine {
    fn prepare(series: Series, jobs: Vec<Job>, programs: &Programs, cache: &Path) -> Result<Self> {
        let kernel = series.kernel(cache)?;
        let machine = Self { series, image: kernel.image()?, jobs, cache: cache.to_owned() };
        programs.write(&kernel, series.cards(), &machine.jobs, &machine.file("cpio"))?;
        Ok(machine)
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.cache.join(format!("{}.{kind}", self.series.name()))
    }

    /// Runs it to its end; returns the failures.
    fn run(self, limit: Duration) -> Vec<String> {
        let start = Instant::now();
        let name = self.series.name();
        let mut results = vec![None; self.jobs.len()];
        let mut ended = self.run_from(0, limit, &mut results);
        if matches!(ended, Ok(End::StaleBreakpoint)) {
            let first = results.iter().take_while(|code| code.is_some()).count();
            println!(
                "cargo xtask vm-test: kernel {name}: a fault of QEMU; continuing with job {first} in another machine"
            );
            ended = self.run_from(first, limit, &mut results);
        }
        let failed = self.jobs.iter().zip(results).filter(|(_, code)| *code != Some(0));
        let mut failed: Vec<_> = failed.map(|(job, _)| format!("kernel {name}: {job}")).collect();
        println!(
            "cargo xtask vm-test: kernel {name}: {} of {} runs passed, {} s",
            self.jobs.len() - failed.len(),
            self.jobs.len(),
            start.elapsed().as_secs()
        );
        failed.extend(ended.err().map(|error| format!("kernel {name}: {error:#}")));
        failed
    }

    /// Runs its jobs from `first` on, and stores the exit code of each.
    fn run_from(&self, first: usize, limit: Duration, results: &mut [Option<i32>]) -> Result<End> {
        let name = self.series.name();
        let (cpio, log) = (self.file("cpio"), self.file("log"));
        machine::run(&self.image, &cpio, &log, self.series.cards(), first, limit, |line| {
            println!("{name} | {line}");
            if let Some((job, code)) = result(line)
                && let Some(slot) = results.get_mut(job)
            {
                *slot = Some(code);
            }
        })
    }
}

/// The number of a job and its exit code, from a line of the guest.
fn result(line: &str) -> Option<(usize, i32)> {
    let (job, rest) = line.strip_prefix("vm: job ")?.split_once(" ended with ")?;
    Some((job.parse().ok()?, rest.split(' ').next()?.parse().ok()?))
}

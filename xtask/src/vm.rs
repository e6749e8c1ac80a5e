//! Tests as root on other kernels: each kernel in a virtual machine that has nothing but the tests, emulated by QEMU, so
//! that it works wherever QEMU does.
//!
//! [`plan`] says what runs where; [`kernel`] fetches kernels; [`guest`] puts a machine's file system together;
//! [`machine`] runs it. What the guest does is in `vm/init.sh`.

mod guest;
mod initramfs;
mod kernel;
mod machine;
mod plan;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::test::Datapath;
use crate::{cargo, setup};
use guest::Programs;
use kernel::Series;
use plan::{Choice, Job};

/// Kernels, and what is made for the guests.
const CACHE: &str = "target/vm";
/// The guest's last line.
const END: &str = "vm: end";

/// Which tests to run, and on which kernels.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// On this kernel only; again for a second one
    #[arg(long = "kernel", value_name = "SERIES")]
    kernels: Vec<Series>,

    /// Every test that makes sense on another kernel, instead of those that continuous integration runs
    #[arg(long)]
    all: bool,

    /// Tests of this file only; again for a second one
    #[arg(long = "test", value_name = "NAME")]
    tests: Vec<String>,

    /// With this data path only; again for a second one
    #[arg(long = "datapath", value_name = "PATH")]
    datapaths: Vec<Datapath>,

    /// After this many seconds a machine is ended
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
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
    let kernels: Vec<_> = Series::ALL
        .into_iter()
        .filter(|one| options.kernels.is_empty() || options.kernels.contains(one))
        .collect();
    let jobs: Vec<_> = kernels.iter().map(|kernel| choice.jobs(*kernel)).collect();
    let names: BTreeSet<_> = jobs.iter().flatten().map(|job| job.test).collect();
    for test in &choice.tests {
        ensure!(names.contains(test.as_str()), "no kernel that was chosen runs tests of {test}");
    }

    let binaries = cargo::build_release()?;
    let mut tests = cargo::build_tests("vrrpd-tests")?;
    tests.retain(|(name, _)| names.contains(name.as_str()));
    let programs = Programs::gather(&binaries, &tests, &cache)?;
    let mut failed = Vec::new();
    for (kernel, jobs) in kernels.into_iter().zip(jobs) {
        let limit = Duration::from_secs(options.limit);
        failed.extend(run_on(kernel, &jobs, &programs, &cache, limit)?);
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join("; "));
    println!("cargo xtask vm-test: passed in {} s", start.elapsed().as_secs());
    Ok(())
}

fn install_what_is_missing() -> Result<()> {
    setup::everything()?;
    setup::see_to(&[machine::QEMU, guest::BUSYBOX, guest::STRIP, guest::XZ])
}

/// Runs one machine; gives back what failed in it.
fn run_on(
    series: Series,
    jobs: &[Job],
    programs: &Programs,
    cache: &Path,
    limit: Duration,
) -> Result<Vec<String>> {
    let start = Instant::now();
    let kernel = series.kernel(cache)?;
    let name = series.name();
    let file = |kind: &str| cache.join(format!("{name}.{kind}"));
    let initramfs = file("cpio");
    programs.write(&kernel, jobs, &initramfs)?;
    let mut results = vec![None; jobs.len()];
    let ended = machine::run(&kernel.image()?, &initramfs, &file("log"), limit, |line| {
        println!("{name} | {line}");
        if let Some((job, code)) = result(line)
            && let Some(slot) = results.get_mut(job)
        {
            *slot = Some(code);
        }
    });
    let failed: Vec<_> = jobs.iter().zip(&results).filter(|(_, code)| **code != Some(0)).collect();
    println!(
        "cargo xtask vm-test: kernel {name}: {} of {} runs passed, {} s",
        jobs.len() - failed.len(),
        jobs.len(),
        start.elapsed().as_secs()
    );
    ended.with_context(|| format!("kernel {name}"))?;
    Ok(failed.iter().map(|(job, _)| format!("kernel {name}: {job}")).collect())
}

/// The number of a job and its exit code, from the line that the guest writes when it has ended.
fn result(line: &str) -> Option<(usize, i32)> {
    let (job, rest) = line.strip_prefix("vm: job ")?.split_once(" ended with ")?;
    Some((job.parse().ok()?, rest.split(' ').next()?.parse().ok()?))
}

//! `cargo xtask`: the commands for developers and continuous integration.
//!
//! The benchmarks of `cargo xtask bench` are a separate crate, which uses [`cargo`] and [`setup`], so that other
//! commands do not wait for its build.

mod apt;
mod bench;
pub mod cargo;
mod ci;
mod dist;
mod ebpf;
mod fuzz;
mod lab;
pub mod setup;
mod sim;
mod test;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The commands of this project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install missing programs that the tests run
    Setup(setup::Options),
    /// Build the BPF programs, or check that the committed ones match their sources
    Ebpf(ebpf::Options),
    /// Show a failover: two routers and a client in network namespaces (needs root)
    Lab(lab::Options),
    /// Measure cost and lateness of the daemon, beside keepalived, for docs/performance.md (needs root)
    Bench(bench::Options),
    /// Make an archive of static programs with manual pages, units and licences, and test it
    Dist,
    /// Simulate machines, networks and faults in virtual time
    Sim(sim::Options),
    /// Fuzz: look for inputs from outside that violate a property, guided by coverage
    Fuzz(fuzz::Options),
    /// Build the daemon and run every test (needs root)
    Test(test::Options),
    /// Run tests on other kernels, in virtual machines
    VmTest(vm::Options),
    /// Everything that must hold before a change is merged: format, lints, tests, a failover (needs root)
    Ci,
}

/// Runs the given command.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup(options) => set_up(&options),
        Command::Ebpf(options) => ebpf::run(&options),
        Command::Lab(options) => lab::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Dist => dist::run(),
        Command::Sim(options) => sim::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Test(options) => test::run(&options),
        Command::VmTest(options) => vm::run(&options),
        Command::Ci => ci::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn set_up(options: &setup::Options) -> Result<()> {
    setup::everything()?;
    if options.ebpf { ebpf::install_toolchain() } else { Ok(()) }
}

//! `cargo xtask`: what a developer runs by hand and what continuous integration runs, written once.
//!
//! The measurements of `cargo xtask bench` are a crate of their own, which uses [`cargo`] and [`setup`], so that the
//! other commands do not wait until it is built.

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
    /// Install the programs that the tests run, where they are missing
    Setup(setup::Options),
    /// Build the program that runs in the kernel, or check that the committed one belongs to its sources
    Ebpf(ebpf::Options),
    /// Show a failover: two routers and a client in network namespaces (needs root)
    Lab(lab::Options),
    /// Measure what the daemon costs and how late it is, beside keepalived: the figures of docs/performance.md (needs root)
    Bench(bench::Options),
    /// Make an archive of programs that need no other file, with manual pages, units and licences, and test them
    Dist,
    /// Simulate machines, networks and faults in virtual time
    Sim(sim::Options),
    /// Look for inputs from outside for which a property does not hold, guided by coverage
    Fuzz(fuzz::Options),
    /// Build the daemon and run every test (needs root)
    Test(test::Options),
    /// Run tests on other kernels, in virtual machines
    VmTest(vm::Options),
    /// Everything that must hold before a change is merged: format, lints, tests, a failover (needs root)
    Ci,
}

/// Runs the command that the command line names.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup(options) => setup::run(&options),
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

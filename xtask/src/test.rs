//! Every test, against the daemon as it is shipped.

use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args;
use vrrpd_lab::needs;

use crate::{cargo, setup};

/// Tests in a laboratory mostly wait for timers, so more of them run at once than there are cores; more than this,
/// and the machines of a laboratory begin to be late.
const THREADS: &str = "6";

/// How to run the tests.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Passed on to `cargo test`: a filter on test names, `--test election`, `-- --nocapture`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(needs::is_root(), "the tests make network namespaces, which needs root: run as root");
    let start = Instant::now();
    setup::everything()?;
    let binaries = cargo::build_release()?;
    let mut command = cargo::cargo(&["test", "--workspace", "--no-fail-fast"]);
    command.args(&options.arguments);
    command.env("VRRPD_LAB_BINARIES", binaries);
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        command.env("RUST_TEST_THREADS", THREADS);
    }
    cargo::run(&mut command)?;
    println!("cargo xtask test: passed in {} s", start.elapsed().as_secs());
    Ok(())
}

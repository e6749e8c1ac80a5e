//! Runs the benchmarks, which are a separate crate.

use anyhow::Result;
use clap::Args;

use crate::cargo;

/// What to measure.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// See `cargo xtask bench --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut command = cargo::cargo(&["run", "--quiet", "--package", "vrrpd-bench", "--"]);
    cargo::run(command.args(&options.arguments))
}

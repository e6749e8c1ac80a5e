//! Coverage-guided fuzzing of inputs from outside: the targets of `fuzz/`, built by cargo-fuzz.
//!
//! Inputs that reach new code are added to `target/fuzz/corpus`. An input that violates a property goes to
//! `fuzz/crashes`, where `cargo test` replays it.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::{cargo, setup};

/// Pinned, since newer versions may have other options.
const CARGO_FUZZ_VERSION: &str = "0.13.2";
/// The crate of the fuzzer.
const CRATE: &str = "fuzz";
/// Committed inputs: those that reach all code ever reached, and those that violated a property.
const CORPUS: &str = "fuzz/corpus";
const CRASHES: &str = "fuzz/crashes";
/// Builds, logs, seeds and the growing corpus.
const BUILT: &str = "target/fuzz";
/// Number of log lines shown of a failed run.
const SHOWN: usize = 60;

/// Options of `cargo xtask fuzz`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Fuzz this target only
    target: Option<Target>,

    /// Total time, divided among the targets: 90s, 15m, 1h
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = seconds)]
    time: u64,

    /// Seed of the fuzzer's random numbers; 0: a random one
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u32,

    /// Afterwards replace fuzz/corpus by the fewest inputs that reach the same code
    #[arg(long)]
    minimise: bool,
}

/// The targets of `vrrpd_properties::TARGETS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Frames from the network
    Frame,
    /// Events of one virtual router, in any order and at any time
    Machine,
    /// Configuration files and command lines
    Config,
    /// Messages of clients, group peers and daemons, and journals
    Control,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let targets = options.target.as_ref().map_or(Target::value_variants(), std::slice::from_ref);
    install()?;
    build()?;
    let seeds = at("seeds");
    let write = ["run", "--quiet", "--package", "vrrpd-properties", "--bin", "fuzz-seeds", "--"];
    cargo::run(cargo::cargo(&write).arg(&seeds))?;
    let each = (options.time / targets.len() as u64).max(1);
    let mut failed = Vec::new();
    for target in targets {
        match target.fuzz(each, options.seed)? {
            Some(done) => println!("fuzz: {}: {done}", target.name()),
            // The other targets still run.
            None => failed.push(target.name()),
        }
    }
    ensure!(
        failed.is_empty(),
        "a property does not hold for an input of {}; it is in {CRASHES}, and `cargo test -p vrrpd-properties` replays it",
        failed.join(", ")
    );
    if options.minimise {
        for target in targets {
            target.minimise()?;
        }
    }
    Ok(())
}

impl Target {
    const fn name(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Machine => "machine",
            Self::Config => "config",
            Self::Control => "control",
        }
    }

    /// The fuzzer with common options.
    fn program(self) -> Result<Command> {
        let release = Path::new(&cargo::target()?).join("release");
        let mut command = Command::new(at("").join(release).join(self.name()));
        command.current_dir(cargo::root());
        Ok(command)
    }

    /// The directories that inputs are read from; new ones are written to the first.
    fn inputs(self) -> Result<[PathBuf; 3]> {
        let directories =
            [at("corpus"), cargo::root().join(CORPUS), at("seeds")].map(|parent| parent.join(self.name()));
        for directory in &directories {
            fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        }
        Ok(directories)
    }

    /// Runs for some seconds and returns a summary; `None` if a property was violated.
    fn fuzz(self, seconds: u64, seed: u32) -> Result<Option<String>> {
        let crashes = cargo::root().join(CRASHES).join(self.name());
        fs::create_dir_all(&crashes)?;
        let path = at(&format!("{}.log", self.name()));
        let log = File::create(&path).with_context(|| path.display().to_string())?;
        let mut command = self.program()?;
        command.args([
            format!("-max_total_time={seconds}"),
            format!("-seed={seed}"),
            format!("-artifact_prefix={}/", crashes.display()),
            "-timeout=60".to_owned(),
            "-print_final_stats=1".to_owned(),
        ]);
        command.args(self.inputs()?).stdout(log.try_clone()?).stderr(log);
        let status = command.status().with_context(|| format!("{} cannot be run", cargo::shown(&command)))?;
        let told = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        // Git does not track empty directories.
        let _ = fs::remove_dir(&crashes);
        if !status.success() {
            let lines: Vec<_> = told.lines().collect();
            eprintln!("{}", lines[lines.len().saturating_sub(SHOWN)..].join("\n"));
            return Ok(None);
        }
        summary(&told).context("the fuzzer printed no statistics").map(Some)
    }

    /// Replaces the committed corpus by the fewest inputs that reach the same code.
    fn minimise(self) -> Result<()> {
        let aside = at("minimised").join(self.name());
        if aside.exists() {
            fs::remove_dir_all(&aside)?;
        }
        fs::create_dir_all(&aside)?;
        let mut command = self.program()?;
        // Coverage counts, not the number of executions.
        command.args(["-set_cover_merge=1", "-use_counters=0"]).arg(&aside).args(self.inputs()?);
        let output = command.output().with_context(|| format!("{} cannot be run", cargo::shown(&command)))?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let committed = cargo::root().join(CORPUS).join(self.name());
        fs::remove_dir_all(&committed)?;
        fs::create_dir_all(&committed)?;
        let (mut files, mut octets) = (0, 0);
        for entry in fs::read_dir(&aside)? {
            let entry = entry?;
            octets += fs::copy(entry.path(), committed.join(entry.file_name()))?;
            files += 1;
        }
        println!("fuzz: {}: {files} inputs of {octets} octets in {CORPUS}", self.name());
        Ok(())
    }
}

/// A path in the build directory.
fn at(name: &str) -> PathBuf {
    cargo::root().join(BUILT).join(name)
}

/// The summary in the fuzzer's log.
fn summary(log: &str) -> Option<String> {
    let figure = |name: &str| {
        let line = log.lines().rev().find_map(|line| line.strip_prefix(&format!("stat::{name}:")))?;
        Some(line.trim().to_owned())
    };
    let coverage =
        log.lines().rev().find_map(|line| line.split_once(" cov: "))?.1.split_whitespace().next()?;
    Some(format!(
        "{} inputs, {} a second, {} of them new; {coverage} edges reached; at most {} MiB",
        figure("number_of_executed_units")?,
        figure("average_exec_per_sec")?,
        figure("new_units_added")?,
        figure("peak_rss_mb")?
    ))
}

/// Builds every target, instrumented. The instrumentation is an unstable option of the stable compiler.
fn build() -> Result<()> {
    let mut command = Command::new(cargo_fuzz().context("cargo-fuzz is not installed")?);
    // The tested code has no `unsafe` that inputs reach, so a sanitizer would only make it slow.
    command.args(["build", "--sanitizer", "none", "--fuzz-dir", CRATE, "--target-dir", BUILT]);
    command.current_dir(cargo::root()).env("RUSTC_BOOTSTRAP", "1");
    cargo::run(&mut command)
}

/// Installs cargo-fuzz and a C++ compiler for the fuzzer's runtime, if missing.
fn install() -> Result<()> {
    if !Path::new("/usr/bin/c++").exists() {
        setup::install_packages(&["g++"])?;
    }
    if cargo_fuzz().is_none() {
        let arguments = ["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ_VERSION];
        cargo::run(&mut cargo::cargo(&arguments))?;
    }
    Ok(())
}

fn cargo_fuzz() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME")
        .map_or_else(|| PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo"), PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain([home.join("bin")]);
    directories.map(|directory| directory.join("cargo-fuzz")).find(|file| file.is_file())
}

/// Parses a time span, in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600)];
    let split = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)));
    split
        .and_then(|(number, unit): (_, u64)| number.parse::<u64>().ok()?.checked_mul(unit))
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| "expected a number with s, m or h, like 90s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_span_has_a_unit() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("15m"), Ok(900));
        assert_eq!(seconds("1h"), Ok(3600));
        for wrong in ["", "90", "0s", "s", "-1s", "1d", "99999999999999999999s", "9999999999999999999h"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_log_of_a_run_is_summed_up() {
        let log = "#2\tINITED cov: 12 ft: 13 corp: 1/1b\n#9\tDONE   cov: 34 ft: 50 corp: 9/9b\n\
                   stat::number_of_executed_units: 1000\nstat::average_exec_per_sec:     100\n\
                   stat::new_units_added:          7\nstat::slowest_unit_time_sec:    0\nstat::peak_rss_mb: 33\n";
        let expected = "1000 inputs, 100 a second, 7 of them new; 34 edges reached; at most 33 MiB";
        assert_eq!(summary(log).as_deref(), Some(expected));
        assert_eq!(summary("INFO: nothing"), None);
    }

    #[test]
    fn every_target_has_a_program_and_a_module() {
        for target in Target::value_variants() {
            for file in
                [format!("fuzz/targets/{}.rs", target.name()), format!("properties/src/{}.rs", target.name())]
            {
                assert!(cargo::root().join(&file).is_file(), "{file}");
            }
        }
    }

    /// Name and version of each package in a lock file.
    fn locked(file: &str) -> BTreeSet<(String, String)> {
        let text = fs::read_to_string(cargo::root().join(file)).expect("it is committed");
        let packages = text.split("[[package]]").skip(1);
        let value = |package: &str, key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
            line.expect("each package has it").trim_matches('"').to_owned()
        };
        packages.map(|package| (value(package, "name"), value(package, "version"))).collect()
    }

    #[test]
    fn fuzzed_dependencies_have_the_shipped_versions() {
        let shipped = locked("Cargo.lock");
        let names: BTreeSet<_> = shipped.iter().map(|(name, _)| name).collect();
        let fuzzed = locked("fuzz/Cargo.lock");
        let others: Vec<_> = fuzzed
            .iter()
            .filter(|(name, _)| names.contains(name))
            .filter(|one| !shipped.contains(one))
            .collect();
        assert!(others.is_empty(), "copy Cargo.lock to fuzz/Cargo.lock, and `cargo xtask fuzz`: {others:?}");
    }
}

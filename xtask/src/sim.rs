//! Runs the simulation, and checks with mutations that it finds faults.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::cargo;

/// Patches of the code under test; the simulation must detect each.
const MUTATIONS: &str = "simulation/mutations";
/// Packages that the simulation consists of.
const PACKAGES: [&str; 3] = ["vrrpd-common", "vrrpd-engine", "simulation"];
/// Directory for the copy of the sources and its build.
const COPY: &str = "target/mutations";
/// Maximum number of seeds to detect a mutation, with a large margin.
const SEEDS: &str = "3000";

/// Options of `cargo xtask sim`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Run this many seeds; stop at the first that fails, and print its transcript
    #[arg(long, value_name = "N", conflicts_with_all = ["search", "mutations"])]
    seeds: Option<u64>,

    /// Start with this seed; without --seeds run only this one, and print its transcript
    #[arg(long, value_name = "S", conflicts_with_all = ["search", "mutations"])]
    seed: Option<u64>,

    /// Number of threads [default: one per processor]
    #[arg(long, value_name = "T", conflicts_with_all = ["search", "mutations"])]
    threads: Option<usize>,

    /// Search every order of events instead, within limits that take some minutes
    #[arg(long, conflicts_with = "mutations")]
    search: bool,

    /// Apply each patch of simulation/mutations to a copy of the sources, and check that the simulation finds it
    #[arg(long)]
    mutations: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.mutations {
        return mutations();
    }
    let mut command = cargo::cargo(&["run", "--release", "--quiet", "--package", "vrrpd-simulation", "--"]);
    let numbers = [
        ("--seeds", options.seeds),
        ("--seed", options.seed),
        ("--threads", options.threads.map(|threads| threads as u64)),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            command.args([name, &number.to_string()]);
        }
    }
    if options.search {
        command.arg("--search");
    }
    cargo::run(&mut command)
}

fn patches() -> Result<Vec<PathBuf>> {
    let mut patches: Vec<PathBuf> = fs::read_dir(cargo::root().join(MUTATIONS))
        .context(MUTATIONS)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    patches.sort();
    ensure!(!patches.is_empty(), "there are no patches in {MUTATIONS}");
    Ok(patches)
}

fn mutations() -> Result<()> {
    let patches = patches()?;
    let copy = cargo::root().join(COPY);
    for patch in &patches {
        let name = patch.file_stem().unwrap_or_default().to_string_lossy();
        copy_sources(&copy)?;
        cargo::run(
            Command::new("git")
                .arg("apply")
                .arg(patch)
                .current_dir(&copy)
                .env("GIT_CEILING_DIRECTORIES", copy.parent().unwrap_or(&copy)),
        )
        .with_context(|| format!("{name} does not apply any more: update it"))?;
        let mut build =
            cargo::cargo(&["build", "--release", "--quiet", "--offline", "--package", "vrrpd-simulation"]);
        let fast = [("RUSTFLAGS", "--cap-lints=allow"), ("CARGO_PROFILE_RELEASE_LTO", "off")];
        cargo::run(build.current_dir(&copy).envs(fast).env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"))?;
        let output = Command::new(copy.join("target/release/simulate"))
            .args(["--seeds", SEEDS])
            .output()
            .context("the simulation cannot be run")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let failed = said.lines().find(|line| line.starts_with("seed ") && line.contains(" failed: "));
        ensure!(!output.status.success(), "{name}: not found in {SEEDS} seeds");
        println!("{name}: found: {}", failed.context("the simulation has not said what it found")?);
    }
    println!("cargo xtask sim: {} mutations, all found", patches.len());
    Ok(())
}

/// Creates a workspace with what the simulation needs. Earlier build results are kept, so that it builds fast.
fn copy_sources(copy: &Path) -> Result<()> {
    for package in PACKAGES {
        let to = copy.join(package);
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        copy_directory(&cargo::root().join(package), &to)?;
    }
    let manifest = fs::read_to_string(cargo::root().join("Cargo.toml"))?;
    let line = |line: &str| match line.split(" = ").next() {
        Some("members") => format!("members = {PACKAGES:?}"),
        Some("exclude" | "default-members") => String::new(),
        _ => line.to_owned(),
    };
    let manifest: Vec<String> = manifest.lines().map(line).collect();
    fs::write(copy.join("Cargo.toml"), manifest.join("\n"))?;
    fs::copy(cargo::root().join("Cargo.lock"), copy.join("Cargo.lock"))?;
    Ok(())
}

fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that a hunk must match: all but those that it adds.
    fn found_by(hunk: &str) -> String {
        let lines = hunk.lines().skip(1).filter(|line| !line.starts_with('+'));
        let lines: Vec<_> = lines.map(|line| line.get(1..).unwrap_or_default()).collect();
        lines.join("\n")
    }

    #[test]
    fn every_mutation_still_applies() {
        for patch in patches().expect("there are some") {
            let text = fs::read_to_string(&patch).expect("it can be read");
            for of_file in text.split("diff --git ").skip(1) {
                let (head, hunks) = of_file.split_once("\n@@").expect("it changes something");
                let file =
                    head.lines().find_map(|line| line.strip_prefix("--- a/")).expect("it names a file");
                let source = fs::read_to_string(cargo::root().join(file)).expect("the file is there");
                for hunk in hunks.split("\n@@") {
                    let wanted = found_by(hunk);
                    assert!(!wanted.is_empty());
                    assert!(
                        source.contains(&wanted),
                        "{}: make it anew; {file} has not\n{wanted}",
                        patch.display()
                    );
                }
            }
        }
    }
}

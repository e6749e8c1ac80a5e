//! Installs the programs that the tests run, if missing.
//!
//! Installing keepalived starts no service: its unit and its init script require `/etc/keepalived/keepalived.conf`,
//! which the package does not contain. The tests use their own configuration files.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use vrrpd_lab::needs::{self, Program};

use clap::Args;

use crate::apt::{Apt, apt_get, never_asking, update_missing_lists};
use crate::cargo;

/// Options of `cargo xtask setup`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Also install the toolchain of the BPF programs: Debian's compiler with its sources, LLVM and bpf-linker
    #[arg(long)]
    pub(crate) ebpf: bool,
}

/// Installs all missing programs that the tests run.
pub(crate) fn everything() -> Result<()> {
    see_to(&[&needs::ALL[..], &needs::ON_THIS_MACHINE].concat())
}

/// Installs the packages of missing programs with apt-get.
pub fn see_to(programs: &[Program]) -> Result<()> {
    let missing: Vec<_> = programs.iter().filter(|program| program.find().is_none()).collect();
    if missing.is_empty() {
        let names: Vec<_> = programs.iter().map(|program| program.name).collect();
        println!("setup: {} found, nothing to install", names.join(", "));
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|program| program.name).collect();
    let packages: BTreeSet<_> = missing.iter().map(|program| program.package).collect();
    let packages: Vec<_> = packages.into_iter().collect();
    let (names, list) = (names.join(", "), packages.join(" "));
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "missing: {names}; install them with this system's package manager (on Debian the packages are {list})"
        );
    }
    ensure!(needs::is_root(), "missing: {names}; installing needs root: apt-get install {list}");

    println!("setup: {names} missing, installing {list}");
    install_packages(&packages)?;
    for program in missing {
        ensure!(
            program.find().is_some(),
            "{} is still missing after installing {}",
            program.name,
            program.package
        );
    }
    Ok(())
}

/// Installs packages with apt-get, without removing others.
pub(crate) fn install_packages(packages: &[&str]) -> Result<()> {
    update_missing_lists()?;
    let install = [&["install", "--yes", "--no-install-recommends", "--no-remove"], packages].concat();
    let Err(error) = cargo::run(&mut apt_get(&install)) else { return Ok(()) };
    // The package lists may be outdated.
    println!("setup: {error}; once more with new package lists");
    cargo::run(&mut apt_get(&["update"]))?;
    let Err(error) = cargo::run(&mut apt_get(&install)) else { return Ok(()) };
    // Installed packages from backports may require further packages from backports.
    println!("setup: {error}; once more with backports");
    let (apt, backports) = Apt::with_backports(&cargo::root().join("target/apt"))?;
    let from_backports = [&install[..], &["--target-release", &backports]].concat();
    cargo::run(never_asking(apt.command("apt-get")).args(from_backports))
}

//! The archive for users who do not build: static programs with documentation and units.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use vrrpd_lab::needs;

use crate::{cargo, setup};

/// Directory of the archive, below the root.
const TARGET: &str = "target/dist";
const PROGRAMS: [&str; 2] = ["vrrpd", "atropos"];
/// Files added to the programs, with their paths in the repository, so that the README's commands work for both.
const WITH_THEM: [&str; 6] = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "dist", "docs"];

pub(crate) fn run() -> Result<()> {
    let built = cargo::build_static()?;
    let architecture = env::consts::ARCH;
    let name = format!("vrrpd-{}-{architecture}", env!("CARGO_PKG_VERSION"));
    let target = cargo::root().join(TARGET);
    let directory = target.join(&name);
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
    }
    for program in PROGRAMS {
        copy(&built.join(program), &directory.join(program))?;
    }
    for path in WITH_THEM {
        copy(&cargo::root().join(path), &directory.join(path))?;
    }
    let archive = pack(&target, &name)?;
    test(&directory)?;
    println!("dist: {} is made", archive.display());
    Ok(())
}

/// Copies a file or a directory, recursively.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    fs::copy(from, to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Creates a reproducible archive of a directory.
fn pack(target: &Path, name: &str) -> Result<PathBuf> {
    let archive = target.join(format!("{name}.tar.gz"));
    let mut command = Command::new("tar");
    command.args(["--create", "--use-compress-program=gzip -9n", "--sort=name", "--format=gnu"]);
    command.args(["--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"]);
    command.arg(format!("--mtime=@{}", time_of_sources()));
    command.arg("--file").arg(&archive).arg("--directory").arg(target).arg(name);
    cargo::run(&mut command)?;
    Ok(archive)
}

/// Time of the newest commit in seconds since 1970, or `SOURCE_DATE_EPOCH`.
fn time_of_sources() -> u64 {
    let commit = || {
        let mut command = Command::new("git");
        command.args(["log", "-1", "--format=%ct"]).current_dir(cargo::root());
        String::from_utf8(command.output().ok()?.stdout).ok()
    };
    let time = env::var("SOURCE_DATE_EPOCH").ok().or_else(commit);
    time.and_then(|time| time.trim().parse().ok()).unwrap_or(0)
}

/// Checks that the packed programs run and route.
fn test(directory: &Path) -> Result<()> {
    for program in PROGRAMS {
        let output = Command::new(directory.join(program)).arg("--version").output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && said.contains(env!("CARGO_PKG_VERSION")),
            "{program} says {said:?}"
        );
    }
    if !needs::is_root() {
        println!("dist: not root, so the programs are not tested in a laboratory");
        return Ok(());
    }
    setup::see_to(&[needs::IP])?;
    let mut command = cargo::cargo(&["test", "--package", "vrrpd-tests", "--test", "dist"]);
    command.args(["--", "--ignored"]).env("VRRPD_LAB_BINARIES", directory);
    cargo::run(&mut command)
}

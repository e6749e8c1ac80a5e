//! Everything that must hold before a change is merged.

use std::process::Stdio;
use std::time::Instant;

use anyhow::Result;

use crate::cargo;

/// Runs every step; stops at the first that fails.
pub(crate) fn run() -> Result<()> {
    if is_there("fmt") {
        step(&["fmt", "--all", "--check"])?;
    }
    if is_there("clippy") {
        step(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"])?;
    }
    step(&["xtask", "ebpf", "--check"])?;
    step(&["xtask", "test", "--fresh-object"])?;
    // A fixed seed and time, so that new findings do not fail unrelated changes.
    step(&["xtask", "fuzz", "--time", "60s", "--seed", "1"])?;
    step(&["xtask", "lab"])?;
    step(&["xtask", "vm-test"])?;
    println!("ci: everything holds");
    Ok(())
}

fn step(arguments: &[&str]) -> Result<()> {
    let mut command = cargo::cargo(arguments);
    println!("ci: {}", cargo::shown(&command));
    let start = Instant::now();
    cargo::run(&mut command)?;
    println!("ci: {} took {} s", cargo::shown(&command), start.elapsed().as_secs());
    Ok(())
}

/// Whether a component of the toolchain is installed.
fn is_there(component: &str) -> bool {
    let mut command = cargo::cargo(&[component, "--version"]);
    let found =
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !found {
        println!("ci: cargo {component} is not installed here and is left out");
    }
    found
}

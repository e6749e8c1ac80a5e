//! What one router takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use vrrpd_lab::{Lab, binary};

use super::Effort;
use super::record::{Goal, Metric, Record, count};
use super::subject::{Routers, Subject};
use crate::cargo;

const MUSL: &str = "x86_64-unknown-linux-musl";
const INTERVAL: Duration = Duration::from_secs(1);
/// After the start, so that what it took has been given back.
const SETTLE: Duration = Duration::from_secs(5);
const MIB: f64 = 1_048_576.0;

const RESIDENT: Metric = Metric { name: "resident memory", unit: "MiB", goal: Goal::AtMost(4.0) };
const SIZE: Metric = Metric { name: "program, stripped", unit: "MiB", goal: Goal::AtMost(6.0) };

pub(crate) fn run(record: &mut Record, _: Effort) -> Result<()> {
    for subject in [Subject::Raw, Subject::Native, Subject::Keepalived] {
        let lab = Lab::new();
        let [host] = lab.hosts();
        let running = subject.start(&host, &Routers::new(1, INTERVAL));
        thread::sleep(SETTLE);
        record.add("", RESIDENT, subject.name(), count(running.usage().resident) / 1024.0);
    }
    let (linked, program) = match static_program()? {
        Some(program) => ("static", program),
        None => ("dynamic (there is no musl target)", binary("vrrpd")),
    };
    let size = fs::metadata(&program).with_context(|| program.display().to_string())?.len();
    record.add(linked, SIZE, "vrrpd", count(size) / MIB);
    Ok(())
}

/// The program without a library it needs, if the toolchain can make one.
fn static_program() -> Result<Option<PathBuf>> {
    let libraries = Command::new("rustc").args(["--print", "target-libdir", "--target", MUSL]).output()?;
    let directory = String::from_utf8_lossy(&libraries.stdout);
    if !Path::new(directory.trim()).is_dir() {
        return Ok(None);
    }
    cargo::run(&mut cargo::cargo(&[
        "build",
        "--quiet",
        "--release",
        "--target",
        MUSL,
        "--package",
        "vrrpd",
        "--bin",
        "vrrpd",
    ]))?;
    Ok(Some(cargo::root().join(format!("target/{MUSL}/release/vrrpd"))))
}

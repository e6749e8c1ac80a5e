//! The content of a guest: the programs under test, the tests, and the programs that these run.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use vrrpd_lab::needs::{self, Program};

use super::cards::{self, Card};
use super::initramfs::Initramfs;
use super::kernel::Kernel;
use super::plan::Job;

pub(super) const BUSYBOX: Program = Program { name: "busybox", package: "busybox-static" };
pub(super) const STRIP: Program = Program { name: "strip", package: "binutils" };
pub(super) const XZ: Program = Program { name: "xz", package: "xz-utils" };

/// The kernel modules that tests use. They are all loaded at start, so nothing has to be found later.
const MODULES: [&str; 13] = [
    "veth",
    "bridge",
    "macvlan",
    "ipvlan",
    "8021q",
    "bonding",
    "vrf",
    "dummy",
    "ifb",
    "sch_netem",
    "sch_ingress",
    "cls_bpf",
    "nf_tables",
];

/// Users and groups by name.
const FILES: [(&str, &str); 4] = [
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
    ("init", include_str!("init.sh")),
];

/// Programs with their shared libraries, without debugging information.
#[derive(Debug)]
pub(super) struct Programs {
    /// Path in the guest, and path here.
    files: Vec<(String, PathBuf)>,
}

impl Programs {
    /// Collects the programs in `binaries`, these tests (name and executable), and the programs that tests run. Copies
    /// are made below `directory`.
    pub(super) fn gather(binaries: &Path, tests: &[(String, PathBuf)], directory: &Path) -> Result<Self> {
        let copies = directory.join("tests");
        fs::create_dir_all(&copies)?;
        let mut files = vec![("bin/busybox".to_owned(), BUSYBOX.require())];
        for program in needs::ALL {
            files.push((format!("usr/sbin/{}", program.name), program.require()));
        }
        for name in needs::XDP_PROGRAMS {
            let file = needs::xdp_program(name);
            files.push((file.display().to_string(), file));
        }
        for name in ["vrrpd", "atropos"] {
            files.push((format!("vm/bin/{name}"), binaries.join(name)));
        }
        for (name, executable) in tests {
            let copy = copies.join(name);
            strip(executable, &copy)?;
            files.push((format!("vm/tests/{name}"), copy));
        }
        let mut libraries = BTreeSet::new();
        for (_, file) in &files {
            libraries.extend(libraries_of(file)?);
        }
        files.extend(libraries.into_iter().map(|file| (file.display().to_string(), file)));
        Ok(Self { files })
    }

    /// Writes the file system of a guest with these cards that runs these jobs on this kernel.
    pub(super) fn write(&self, kernel: &Kernel, cards: &[Card], jobs: &[Job], to: &Path) -> Result<()> {
        let mut archive = Initramfs::new(BufWriter::new(File::create(to)?));
        for directory in ["dev", "proc", "sys", "tmp"] {
            archive.directory(directory)?;
        }
        for (path, content) in FILES {
            archive.file(path, content.as_bytes())?;
        }
        for (path, file) in &self.files {
            let content = fs::read(file).with_context(|| file.display().to_string())?;
            archive.file(path, &content)?;
        }
        // Cards need no other interfaces than those on them.
        let wanted = if cards.is_empty() { MODULES.to_vec() } else { cards::modules(cards) };
        let modules = kernel.modules(&wanted)?;
        for (name, content) in &modules {
            archive.file(&format!("vm/modules/{name}.ko"), content)?;
        }
        let order: Vec<_> = modules.iter().map(|(name, _)| name.as_str()).chain([""]).collect();
        archive.file("vm/modules/order", order.join("\n").as_bytes())?;
        let jobs: String = jobs.iter().map(Job::line).collect();
        archive.file("vm/jobs", jobs.as_bytes())?;
        Ok(archive.finish()?)
    }
}

/// Copies an executable without its debugging information, unless the copy is newer.
fn strip(executable: &Path, copy: &Path) -> Result<()> {
    let modified = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    if modified(copy).is_ok_and(|made| modified(executable).is_ok_and(|built| built < made)) {
        return Ok(());
    }
    let mut command = Command::new(STRIP.require());
    let status = command.arg("-o").args([copy, executable]).status().context("strip cannot be run")?;
    ensure!(status.success(), "{} cannot be stripped", executable.display());
    Ok(())
}

/// The shared libraries of an executable, and its loader.
fn libraries_of(executable: &Path) -> Result<Vec<PathBuf>> {
    let mut command = Command::new("ldd");
    command.arg(executable);
    let finished = command.output().context("ldd cannot be run")?;
    let said = String::from_utf8_lossy(&finished.stdout).into_owned();
    // Fails for static executables, which need none.
    let words = said.split_whitespace().filter(|word| word.starts_with('/') && word.contains(".so"));
    ensure!(!said.contains("not found"), "a library of {} is missing: {said}", executable.display());
    Ok(words.map(PathBuf::from).collect())
}

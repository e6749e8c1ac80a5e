//! The BPF programs: built with a separate toolchain and committed, so that other builds do not need one.
//!
//! `vrrpd/ebpf` has the objects that the daemon embeds, and in `vrrpd.bpf.sources` the hash of their sources.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use sha2::{Digest, Sha256};

use crate::{cargo, setup};

/// Directory of the committed objects.
const COMMITTED: &str = "vrrpd/ebpf";
/// The programs, one object each.
const PROGRAMS: [&str; 4] = ["vrrpd", "tcx", "own_mac", "claims"];
/// File with the hash of the sources.
const SOURCES: &str = "vrrpd/ebpf/vrrpd.bpf.sources";
/// Target directory of the BPF build.
const TARGET: &str = "target/ebpf";
/// Directory of the resulting objects, including the logging variant, where `vrrpd/build.rs` looks for them.
const BUILT: &str = "objects";
const BUILT_WITH_LOG: &str = "objects-debug-log";
/// The version that supports the LLVM of Debian's compiler.
const LINKER_VERSION: &str = "0.13.0";
const LLVM: &str = "/usr/lib/llvm-22";
/// Debian's toolchain, with the sources of `core`, and what is needed to build the linker.
const PACKAGES: [&str; 8] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "llvm-22-dev",
    "libpolly-22-dev",
    "libzstd-dev",
    "zlib1g-dev",
    "libxml2-dev",
];

/// Options of `cargo xtask ebpf`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only check whether the committed objects match the sources
    #[arg(long, conflicts_with = "debug_log")]
    check: bool,

    /// Build a variant that logs each discarded advert, and leave the committed object alone
    #[arg(long)]
    debug_log: bool,
}

/// A compiler that can build `core` for BPF.
enum Toolchain {
    /// rustup's nightly, with its sources in this directory.
    Nightly(PathBuf),
    /// Debian's compiler with unstable features allowed, with its sources in this directory.
    Debian(PathBuf),
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.check {
        return check();
    }
    let built = build(options.debug_log)?;
    if options.debug_log {
        println!(
            "ebpf: what is in {} logs what it discards; `cargo build --features debug-log` embeds it",
            built.display()
        );
        return Ok(());
    }
    let committed = cargo::root().join(COMMITTED);
    fs::create_dir_all(&committed)?;
    for program in PROGRAMS {
        let object = object(&committed, program);
        fs::copy(self::object(&built, program), &object)
            .with_context(|| format!("{} cannot be written", object.display()))?;
    }
    fs::write(cargo::root().join(SOURCES), format!("{}\n", hash_of_sources()?))?;
    println!("ebpf: the objects in {COMMITTED} were updated");
    Ok(())
}

/// An error unless the committed objects match the sources.
pub(crate) fn check() -> Result<()> {
    let recorded = fs::read_to_string(cargo::root().join(SOURCES)).with_context(|| SOURCES.to_owned())?;
    ensure!(
        recorded.trim() == hash_of_sources()?,
        "the objects in {COMMITTED} were built from other sources than these; `cargo xtask ebpf` rebuilds them"
    );
    println!("ebpf: the objects in {COMMITTED} belong to these sources");
    Ok(())
}

/// The path of a program's object.
fn object(directory: &Path, program: &str) -> PathBuf {
    directory.join(format!("{program}.bpf.o"))
}

/// Builds the objects if there is a toolchain; returns their directory if they differ from the committed ones. Builds
/// are reproducible with the same compiler, wherever the sources are.
pub(crate) fn fresh() -> Result<Option<PathBuf>> {
    if !can_build() {
        println!(
            "ebpf: no toolchain for programs in the kernel here; the committed objects in {COMMITTED} are tested"
        );
        return Ok(None);
    }
    let built = build(false)?;
    let committed = cargo::root().join(COMMITTED);
    let mut others = Vec::new();
    for program in PROGRAMS {
        let octets = |directory: &Path| {
            let object = object(directory, program);
            fs::read(&object).with_context(|| object.display().to_string())
        };
        if octets(&built)? != octets(&committed)? {
            others.push(program);
        }
    }
    if others.is_empty() {
        println!("ebpf: rebuilt, the objects in {COMMITTED} are the same octet for octet; they are tested");
        return Ok(None);
    }
    println!(
        "ebpf: rebuilt, {} differs from the committed object; the new ones in {} are tested",
        others.join(" and "),
        built.display()
    );
    Ok(Some(built))
}

/// Whether there is a toolchain.
fn can_build() -> bool {
    linker().is_some() && toolchain().is_some()
}

/// Builds the objects without debugging information, and returns their directory.
fn build(debug_log: bool) -> Result<PathBuf> {
    let Some(linker) = linker() else {
        bail!("bpf-linker is missing; `cargo xtask setup --ebpf` installs it")
    };
    let Some(toolchain) = toolchain() else {
        bail!("no compiler with the sources of core; `cargo xtask setup --ebpf` installs one")
    };
    let root = cargo::root();
    let (mut command, sysroot) = match toolchain {
        Toolchain::Nightly(sysroot) => {
            let mut command = Command::new("cargo");
            command.arg("+nightly");
            (command, sysroot)
        }
        Toolchain::Debian(sysroot) => {
            let mut command = Command::new("/usr/bin/cargo");
            command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
            (command, sysroot)
        }
    };
    command.args(["build", "--release", "-Z", "build-std=core", "--target", "bpfel-unknown-none"]);
    if debug_log {
        command.args(["--features", "debug-log"]);
    }
    let home = env::var_os("CARGO_HOME")
        .map_or_else(|| PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo"), PathBuf::from);
    let mut flags = vec![
        "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
        format!("-Clinker={}", linker.display()),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        "-Clink-arg=--disable-expand-memcpy-in-order".to_owned(),
    ];
    // Objects must not contain paths of this machine.
    let mut remap =
        |from: &Path, to: &str| flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    remap(root, "/vrrpd");
    remap(&sysroot, "/rust");
    for registry in fs::read_dir(home.join("registry/src")).into_iter().flatten().flatten() {
        remap(&registry.path(), "/cargo");
    }
    command
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("CARGO_TARGET_DIR", root.join(TARGET))
        .env_remove("RUSTUP_TOOLCHAIN")
        .current_dir(root.join("vrrpd-ebpf"));
    cargo::run(&mut command)?;
    let target = root.join(TARGET);
    let objects = target.join(if debug_log { BUILT_WITH_LOG } else { BUILT });
    fs::create_dir_all(&objects)?;
    for program in PROGRAMS {
        finish(&target.join("bpfel-unknown-none/release").join(program), &object(&objects, program))?;
    }
    Ok(objects)
}

/// Removes debugging information, and what depends on the location of the sources. BTF is kept, since the kernel needs
/// it for timers and locks.
fn finish(built: &Path, object: &Path) -> Result<()> {
    let listed = llvm("llvm-nm").arg("--format=just-symbols").arg(built).output().context("llvm-nm")?;
    ensure!(listed.status.success(), "llvm-nm: {}", String::from_utf8_lossy(&listed.stderr).trim());
    let mut copy = llvm("llvm-objcopy");
    copy.arg("--strip-debug");
    for symbol in String::from_utf8_lossy(&listed.stdout).lines() {
        if let Some(lasting) = without_disambiguators(symbol) {
            copy.arg(format!("--redefine-sym={symbol}={lasting}"));
        }
    }
    cargo::run(copy.arg(built).arg(object))
}

/// The name of a Rust symbol without the hashes of its crates, which depend on their directories; `None` if it has
/// none.
fn without_disambiguators(symbol: &str) -> Option<String> {
    let mut parts = symbol.strip_prefix("_R")?.split("Cs");
    let mut name = format!("_R{}", parts.next()?);
    for part in parts {
        let (_hash, rest) = part.split_once('_')?;
        name.push('C');
        name.push_str(rest);
    }
    (name != symbol).then_some(name)
}

/// A tool of LLVM.
fn llvm(tool: &str) -> Command {
    let debian = Path::new(LLVM).join("bin").join(tool);
    if debian.exists() { Command::new(debian) } else { Command::new(tool) }
}

/// Installs the Debian packages of the toolchain, and the linker.
pub(crate) fn install_toolchain() -> Result<()> {
    if can_build() {
        println!("setup: a toolchain for the program in the kernel is there");
        return Ok(());
    }
    setup::install_packages(&PACKAGES)?;
    if linker().is_none() {
        let mut command = cargo::cargo(&["install", "bpf-linker", "--version", LINKER_VERSION]);
        command.args(["--no-default-features", "--features", "llvm-22"]);
        command.env("LLVM_PREFIX", LLVM).env("RUSTFLAGS", format!("-C link-arg=-Wl,-rpath,{LLVM}/lib"));
        cargo::run(&mut command)?;
    }
    ensure!(can_build(), "the toolchain is still incomplete");
    Ok(())
}

fn linker() -> Option<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default().join(".cargo/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain([home]).map(|dir| dir.join("bpf-linker")).find(|file| file.is_file())
}

fn toolchain() -> Option<Toolchain> {
    let sources_of = |mut rustc: Command| {
        let output = rustc.args(["--print", "sysroot"]).env_remove("RUSTUP_TOOLCHAIN").output().ok()?;
        let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let there = output.status.success() && sysroot.join("lib/rustlib/src/rust/library/core").is_dir();
        there.then_some(sysroot)
    };
    let mut nightly = Command::new("rustc");
    nightly.arg("+nightly");
    let debian =
        || Path::new("/usr/bin/cargo").exists().then(|| sources_of(Command::new("/usr/bin/rustc"))).flatten();
    sources_of(nightly).map(Toolchain::Nightly).or_else(|| debian().map(Toolchain::Debian))
}

/// A hash of every source file of the objects, by name and content. Tests are excluded.
fn hash_of_sources() -> Result<String> {
    let root = cargo::root();
    let mut files = vec![root.join("vrrpd-ebpf/Cargo.toml"), root.join("vrrpd-ebpf/Cargo.lock")];
    for dir in ["vrrpd-ebpf/src", "vrrpd-common/src"] {
        list(&root.join(dir), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
        let content = fs::read(&file).with_context(|| name.clone())?;
        hash.update(format!("{name} {}\n", content.len()));
        hash.update(content);
    }
    let mut text = String::new();
    for octet in hash.finalize() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{octet:02x}");
    }
    Ok(text)
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let is_test = path.file_stem().is_some_and(|name| name == "tests");
        if path.is_dir() && !is_test {
            list(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_the_sources_is_in_no_symbol() {
        let symbol = "_RNvNtCsh9KRkgTvEUH_5vrrpd5timer7ran_out";
        assert_eq!(without_disambiguators(symbol).as_deref(), Some("_RNvNtC5vrrpd5timer7ran_out"));
        for symbol in ["vrrpd", "ROUTERS", "_RNvNtC5vrrpd5timer7ran_out"] {
            assert_eq!(without_disambiguators(symbol), None, "{symbol}");
        }
    }
}

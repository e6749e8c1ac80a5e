//! Running cargo.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Cargo, in the root of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// The root directory of the workspace.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Runs a command with inherited output; an error unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{} cannot be run", shown(command)))?;
    ensure!(status.success(), "{} failed ({status})", shown(command));
    Ok(())
}

/// Runs a command with inherited output; returns whether it succeeded, and the lines of its standard output.
pub(crate) fn run_telling(command: &mut Command) -> Result<(bool, Vec<String>)> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} cannot be run", shown(command)))?;
    let output = child.stdout.take().context("its output is piped")?;
    let mut lines = Vec::new();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        lines.push(line);
    }
    Ok((child.wait()?.success(), lines))
}

/// The command as typed in a shell.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Directory of BPF objects to use instead of the committed ones, for the build of the daemon and for the laboratory.
pub(crate) const BPF_OBJECTS: &str = "VRRPD_BPF_OBJECTS";

const RELEASE: [&str; 5] = ["build", "--release", "--package", "vrrpd", "--bins"];

/// Builds the release version of the daemon and its client, and returns their directory. `objects` is for
/// [`BPF_OBJECTS`].
pub fn build_release(objects: Option<&Path>) -> Result<PathBuf> {
    directory_of(build(cargo(&RELEASE).envs(objects.map(|objects| (BPF_OBJECTS, objects))))?)
}

/// Builds them statically linked, at a fixed address, without relocations. Returns their directory.
pub fn build_static() -> Result<PathBuf> {
    // With an explicit target, build scripts are built as usual.
    let target = target()?;
    let mut command = cargo(&RELEASE);
    command.args(["--target", &target]);
    command.env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static");
    directory_of(build(&mut command)?)
}

/// The target of this machine.
pub(crate) fn target() -> Result<String> {
    let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let output = command.arg("--version").arg("--verbose").output().context("rustc cannot be run")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc has not said what it builds for")?.to_owned())
}

fn directory_of(built: Vec<(String, PathBuf)>) -> Result<PathBuf> {
    let daemon = built.into_iter().find(|(name, _)| name == "vrrpd").map(|(_, executable)| executable);
    let directory = daemon.and_then(|executable| executable.parent().map(Path::to_owned));
    directory.context("the build made no program called vrrpd")
}

/// Builds the test files of a package, and returns each with its name.
pub(crate) fn build_tests(package: &str) -> Result<Vec<(String, PathBuf)>> {
    build(&mut cargo(&["test", "--no-run", "--package", package, "--tests"]))
}

/// Runs a cargo command that builds, and returns the executables by target name.
fn build(command: &mut Command) -> Result<Vec<(String, PathBuf)>> {
    command.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    let mut child = command.spawn().context("cargo cannot be run")?;
    let messages = child.stdout.take().context("its output is piped")?;
    let mut executables = Vec::new();
    for line in BufReader::new(messages).lines() {
        let message: Value = serde_json::from_str(&line?).unwrap_or_default();
        if let (Some(name), Some(file)) = (message["target"]["name"].as_str(), message["executable"].as_str())
        {
            executables.push((name.to_owned(), PathBuf::from(file)));
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "{} failed ({status})", shown(command));
    Ok(executables)
}

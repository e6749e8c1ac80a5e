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

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Runs a command, its output going where ours goes; an error unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{} cannot be run", shown(command)))?;
    ensure!(status.success(), "{} failed ({status})", shown(command));
    Ok(())
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Names the directory of the objects for the kernel that are to be built in and tested, instead of the committed ones: to the
/// build of the daemon, and to the laboratory.
pub(crate) const BPF_OBJECTS: &str = "VRRPD_BPF_OBJECTS";

/// Builds the daemon and its client as they are shipped, and returns the directory they are in. `objects` is for
/// [`BPF_OBJECTS`].
pub(crate) fn build_release(objects: Option<&Path>) -> Result<PathBuf> {
    let mut command = cargo(&["build", "--release", "--package", "vrrpd", "--bins"]);
    command.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    command.envs(objects.map(|objects| (BPF_OBJECTS, objects)));
    let mut child = command.spawn().context("cargo cannot be run")?;
    let messages = child.stdout.take().context("its output is piped")?;
    let mut directory = None;
    for line in BufReader::new(messages).lines() {
        let message: Value = serde_json::from_str(&line?).unwrap_or_default();
        if let Some(executable) = message["executable"].as_str().map(PathBuf::from)
            && executable.file_name().is_some_and(|name| name == "vrrpd")
        {
            directory = executable.parent().map(Path::to_owned);
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "the daemon does not build");
    directory.context("the build made no program called vrrpd")
}

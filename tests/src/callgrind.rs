//! Counts the instructions of a program with callgrind: reproducible, whatever else runs on the machine.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::needs;

/// Number of instructions that a program executes in user space.
pub fn instructions<A: AsRef<OsStr>>(program: &Path, arguments: impl IntoIterator<Item = A>) -> u64 {
    let mut command = Command::new(needs::VALGRIND.require());
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program).args(arguments);
    let output = command.stdin(Stdio::null()).output().expect("valgrind can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} under callgrind: {said}", program.display());
    let count = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    count.unwrap_or_else(|| panic!("callgrind has not said what it collected: {said}"))
}

/// Builds an example of a package in release mode, and returns its path.
pub fn release_example(package: &str, example: &str) -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--release", "--package", package, "--example", example]);
    command.args(["--message-format=json", "--manifest-path"]).arg(manifest);
    let output = command.stdin(Stdio::null()).output().expect("cargo can be run");
    assert!(output.status.success(), "{example} is built: {}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut messages =
        messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let file = messages.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    file.unwrap_or_else(|| panic!("the build of {example} made no program"))
}

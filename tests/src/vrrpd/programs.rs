//! The programs under test, and the files of a daemon.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs};

use crate::{Finished, Host};

/// Directory of the programs under test, set by `cargo xtask`.
const BINARIES: &str = "VRRPD_LAB_BINARIES";

/// Set by [`use_binaries_in`].
static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// Makes [`binary`] use only this directory; the first call counts.
pub fn use_binaries_in(directory: PathBuf) {
    CHOSEN.get_or_init(|| directory);
}

/// Path of a program under test: in the directory set by [`use_binaries_in`] or the environment variable
/// `VRRPD_LAB_BINARIES`, or else in the build directory of the running executable.
pub fn binary(name: &str) -> PathBuf {
    let chosen = CHOSEN.get().cloned().or_else(|| env::var_os(BINARIES).map(PathBuf::from));
    let file = chosen.unwrap_or_else(build_directory).join(name);
    assert!(
        file.is_file(),
        "{} is missing: `cargo xtask test` builds the programs and then runs the tests",
        file.display()
    );
    file
}

/// `target/PROFILE`: tests run from its subdirectory `deps`, other programs from itself.
fn build_directory() -> PathBuf {
    let executable = env::current_exe().expect("a running program has a file");
    let directory = executable.parent().expect("a file is in a directory");
    match directory.file_name() {
        Some(name) if name == "deps" => directory.parent().expect("a directory is in a directory").to_owned(),
        _ => directory.to_owned(),
    }
}

/// The pid files and sockets in a directory; after the last daemon there must be none.
pub fn left_files(directory: &Path) -> Vec<String> {
    let Ok(files) = fs::read_dir(directory) else { return Vec::new() };
    let of_a_daemon = |file: &PathBuf| {
        let extension = file.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| ["pid", "sock", "group"].contains(&extension))
    };
    let mut names: Vec<_> = files
        .flatten()
        .map(|file| file.path())
        .filter(of_a_daemon)
        .map(|file| file.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Runs the client on a machine, for the daemons with their files in `directory`.
pub fn atropos(host: &Host, directory: &Path, arguments: &[&str]) -> Finished {
    let mut all: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    all.extend(["-f".into(), directory.into()]);
    host.run(binary("atropos"), all)
}

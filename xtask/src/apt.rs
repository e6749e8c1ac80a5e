//! `apt-get`, also with Debian suites that the machine itself does not use: their packages come from its mirror, with a
//! separate configuration and package lists under `target/`. apt checks signatures and checksums; the machine's sources
//! and lists are not changed.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::cargo;

/// Label of the archives in `apt-get indextargets`.
const MAIN: &str = "Debian";
const SECURITY: &str = "Debian-Security";

/// `apt-get` and `apt-cache` with their own sources.
#[derive(Debug)]
pub(crate) struct Apt {
    config: PathBuf,
}

impl Apt {
    /// With only this suite of the security archive.
    pub(crate) fn of_security(suite: &str, directory: &Path) -> Result<Self> {
        let (address, _) = mirror(SECURITY)?;
        Self::with(&source(&address, suite), "Dir::Etc::SourceParts \"-\";\n", directory)
    }

    /// With the machine's sources and its backports; also returns the suite of the backports.
    pub(crate) fn with_backports(directory: &Path) -> Result<(Self, String)> {
        let (address, suite) = mirror(MAIN)?;
        let backports = format!("{suite}-backports");
        let own = fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
        let sources = format!("{own}\n{}", source(&address, &backports));
        Ok((Self::with(&sources, "", directory)?, backports))
    }

    /// With these sources and settings; the lists are downloaded to `directory`.
    fn with(sources: &str, settings: &str, directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory.join("lists/partial"))?;
        fs::write(directory.join("sources.list"), sources)?;
        let place = directory.display();
        // Downloads as root, since apt's own user may have no access to the directory.
        let config = format!(
            "Dir::Etc::SourceList \"{place}/sources.list\";\n{settings}Dir::State::Lists \"{place}/lists\";\n\
             Dir::Cache::pkgcache \"\";\nDir::Cache::srcpkgcache \"\";\nAPT::Sandbox::User \"root\";\n"
        );
        let apt = Self { config: directory.join("apt.conf") };
        fs::write(&apt.config, config)?;
        cargo::run(apt.command("apt-get").args(["--quiet=2", "update"]))?;
        Ok(apt)
    }

    /// `apt-get` or `apt-cache`, with these sources.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--config-file").arg(&self.config).stdin(Stdio::null());
        command
    }

    /// The names of all packages with this prefix.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = output(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Downloads a package and unpacks it into a new directory, completely or not at all; nothing is installed.
    pub(crate) fn unpack(&self, package: &str, directory: &Path) -> Result<()> {
        let aside = directory.with_extension("part");
        if aside.exists() {
            fs::remove_dir_all(&aside)?;
        }
        fs::create_dir_all(&aside)?;
        let mut download = self.command("apt-get");
        cargo::run(download.args(["--quiet=2", "download", package]).current_dir(&aside))?;
        let mut files = fs::read_dir(&aside)?.flatten().map(|entry| entry.path());
        let file = files.find(|path| path.extension() == Some(OsStr::new("deb")));
        let file = file.context("apt-get download has left no package")?;
        let tree = aside.join("tree");
        cargo::run(Command::new("dpkg-deb").arg("--extract").args([&file, &tree]))?;
        fs::rename(&tree, directory)?;
        Ok(fs::remove_dir_all(&aside)?)
    }
}

fn source(address: &str, suite: &str) -> String {
    format!("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {address} {suite} main\n")
}

/// The URL of the machine's mirror of an archive, and the first suite that the machine uses from it.
fn mirror(label: &str) -> Result<(String, String)> {
    update_missing_lists()?;
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(LABEL) $(REPO_URI) $(RELEASE)", "Created-By: Packages"]);
    let targets = output(&mut command)?;
    let of_archive = targets.lines().find_map(|line| line.strip_prefix(label)?.strip_prefix(' '));
    let (address, suite) = of_archive
        .and_then(|rest| rest.split_once(' '))
        .with_context(|| format!("apt has no source of the archive {label:?}"))?;
    Ok((address.to_owned(), suite.to_owned()))
}

/// The output of a command.
fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("{} cannot be run", cargo::shown(command)))?;
    ensure!(output.status.success(), "{} failed ({})", cargo::shown(command), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Downloads the machine's package lists if there are none.
pub(crate) fn update_missing_lists() -> Result<()> {
    if lists_are_missing() { cargo::run(&mut apt_get(&["update"])) } else { Ok(()) }
}

/// `apt-get` with these arguments; it asks nothing.
pub(crate) fn apt_get(arguments: &[&str]) -> Command {
    let mut command = never_asking(Command::new("apt-get"));
    command.args(arguments);
    command
}

/// A command of apt that asks nothing.
pub(crate) fn never_asking(mut command: Command) -> Command {
    command.arg("--quiet").stdin(Stdio::null());
    command.env("DEBIAN_FRONTEND", "noninteractive").env("NEEDRESTART_MODE", "l");
    command
}

fn lists_are_missing() -> bool {
    let Ok(entries) = fs::read_dir("/var/lib/apt/lists") else { return true };
    !entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}

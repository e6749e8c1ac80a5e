//! Debian packages of suites that the machine itself does not use, from the mirror that it does use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{cargo, setup};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An archive of Debian, as `apt-get indextargets` calls it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Archive {
    Main,
    Security,
}

impl Archive {
    const fn label(self) -> &'static str {
        match self {
            Self::Main => "Debian",
            Self::Security => "Debian-Security",
        }
    }

    /// Its address, and the machine's own suites of it.
    fn configured(self) -> Result<(String, Vec<String>)> {
        let mut command = Command::new("apt-get");
        command.args(["indextargets", "--format", "$(LABEL) $(REPO_URI) $(RELEASE)"]);
        let targets = output(command.arg("Created-By: Packages"))?;
        let mut lines = targets.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next()? == self.label()).then_some((words.next()?.to_owned(), words.next()?.to_owned()))
        });
        let (address, first) = lines
            .next()
            .with_context(|| format!("apt has no source of the archive {:?} of Debian", self.label()))?;
        let mut suites = vec![first];
        suites.extend(lines.filter(|(other, _)| *other == address).map(|(_, suite)| suite));
        Ok((address, suites))
    }
}

/// Package lists of their own, beside those of the machine, which stay as they are.
#[derive(Debug)]
pub(crate) struct Lists {
    /// What makes apt use them.
    options: Vec<String>,
}

impl Lists {
    /// Those of one suite of an archive, fetched anew. Their files go into `directory`.
    pub(crate) fn of_suite(archive: Archive, suite: &str, directory: &Path) -> Result<Self> {
        setup::update_missing_lists()?;
        let (address, _) = archive.configured()?;
        Self::fetch(&source(&address, suite), directory)
    }

    /// Those of the machine's suites together with its backports.
    pub(crate) fn with_backports(directory: &Path) -> Result<(Self, String)> {
        let (main, suites) = Archive::Main.configured()?;
        let (security, updates) = Archive::Security.configured()?;
        let backports = format!("{}-backports", suites.first().map_or("stable", String::as_str));
        let of_main = suites.iter().chain([&backports]).map(|suite| source(&main, suite));
        let of_security = updates.iter().map(|suite| source(&security, suite));
        let sources: String = of_main.chain(of_security).collect();
        Ok((Self::fetch(&sources, directory)?, backports))
    }

    fn fetch(sources: &str, directory: &Path) -> Result<Self> {
        let lists = directory.join("lists");
        fs::create_dir_all(lists.join("partial"))?;
        let list = directory.join("sources.list");
        fs::write(&list, sources)?;
        let options = [
            format!("Dir::Etc::SourceList={}", list.display()),
            "Dir::Etc::SourceParts=-".to_owned(),
            format!("Dir::State::Lists={}", lists.display()),
            "Dir::Cache::pkgcache=".to_owned(),
            "Dir::Cache::srcpkgcache=".to_owned(),
            // The directory need not be open to apt's own user.
            "APT::Sandbox::User=root".to_owned(),
        ];
        let options = options.into_iter().flat_map(|option| ["--option".to_owned(), option]).collect();
        let lists = Self { options };
        cargo::run(lists.command("apt-get").args(["--quiet=2", "update"]))?;
        Ok(lists)
    }

    /// `apt-get` or `apt-cache`, with these lists.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options).stdin(Stdio::null());
        command
    }

    /// The names of all packages that begin so.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = output(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Downloads a package and unpacks it into a directory, which it makes; nothing is installed.
    pub(crate) fn unpack(&self, package: &str, directory: &Path) -> Result<()> {
        // Unpacked aside and renamed, so that it is there whole or not at all.
        let aside = directory.with_extension("part");
        if aside.exists() {
            fs::remove_dir_all(&aside)?;
        }
        let tree = aside.join("tree");
        fs::create_dir_all(&tree)?;
        let mut download = self.command("apt-get");
        cargo::run(download.args(["--quiet=2", "download", package]).current_dir(&aside))?;
        let file = only_file(&aside)?;
        cargo::run(Command::new("dpkg-deb").arg("--extract").args([&file, &tree]))?;
        fs::rename(&tree, directory)?;
        fs::remove_dir_all(&aside)?;
        Ok(())
    }
}

fn source(address: &str, suite: &str) -> String {
    format!("deb [signed-by={KEYRING}] {address} {suite} main\n")
}

fn only_file(directory: &Path) -> Result<PathBuf> {
    let files = fs::read_dir(directory)?.flatten().map(|entry| entry.path());
    files.filter(|path| path.is_file()).last().context("apt-get download has left no file")
}

/// What a command prints.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("{} cannot be run", cargo::shown(command)))?;
    ensure!(output.status.success(), "{} failed ({})", cargo::shown(command), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

//! Debian kernels, from packages of the machine's mirror, unpacked but not installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use super::cards::{self, Card};
use crate::apt::Apt;

/// A series of stable kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Series {
    #[value(name = "5.10")]
    V5_10,
    #[value(name = "6.1")]
    V6_1,
    #[value(name = "6.12")]
    V6_12,
    /// With the drivers of network cards, which the variant for virtual machines does not have.
    #[value(name = "6.12-cards")]
    Cards,
}

/// The files of a kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    root: PathBuf,
    /// Modules by name, with underscores as in the kernel.
    modules: BTreeMap<String, PathBuf>,
    built_in: BTreeSet<String>,
}

impl Series {
    /// The ones with the most tests first.
    pub(super) const ALL: [Self; 4] = [Self::V6_12, Self::V6_1, Self::Cards, Self::V5_10];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::Cards => "6.12-cards",
        }
    }

    const fn version(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 | Self::Cards => "6.12",
        }
    }

    /// The network cards of its machine.
    pub(super) const fn cards(self) -> &'static [Card] {
        match self {
            Self::V5_10 | Self::V6_1 | Self::V6_12 => &[],
            Self::Cards => &cards::ALL,
        }
    }

    /// Whether it can load the XDP program, which needs `bpf_timer` (Linux 5.15).
    pub(super) const fn has_xdp(self) -> bool {
        !matches!(self, Self::V5_10)
    }

    /// Whether it has tcx (Linux 6.6).
    pub(super) const fn has_tcx(self) -> bool {
        matches!(self, Self::V6_12 | Self::Cards)
    }

    /// The Debian suite with this kernel, which keeps it for longest.
    const fn suite(self) -> &'static str {
        match self {
            Self::V5_10 => "bullseye-security",
            Self::V6_1 => "bookworm-security",
            Self::V6_12 | Self::Cards => "trixie-security",
        }
    }

    /// Whether a package is a kernel of this series, in the variant for virtual machines, the smallest one, unless drivers are
    /// needed.
    fn is_package(self, package: &str) -> bool {
        let version = package.strip_prefix("linux-image-").and_then(|rest| rest.strip_prefix(self.version()));
        let variant = match self {
            Self::V5_10 | Self::V6_1 | Self::V6_12 => "cloud-amd64",
            Self::Cards => "amd64",
        };
        // "6.1.0-56-cloud-amd64", "6.12.117+deb12-amd64"
        version.and_then(|rest| rest.strip_suffix(variant)?.strip_suffix('-')).is_some_and(|rest| {
            rest.starts_with(['.', '-']) && rest.ends_with(|last: char| last.is_ascii_digit())
        })
    }

    /// The newest kernel of this series, downloaded to `cache` unless an earlier run did.
    pub(super) fn kernel(self, cache: &Path) -> Result<Kernel> {
        let there = names_in(cache)?;
        let name = match newest(there.into_iter().filter(|name| self.is_package(name))) {
            Some(name) => name,
            None => self.download(cache)?,
        };
        Kernel::in_directory(cache.join(name))
    }

    fn download(self, cache: &Path) -> Result<String> {
        let suite = self.suite();
        let apt = Apt::of_security(suite, &cache.join("apt").join(suite))?;
        let names = apt.names(&format!("linux-image-{}", self.version()))?;
        let name = newest(names.into_iter().filter(|name| self.is_package(name)))
            .with_context(|| format!("{suite} of Debian has no kernel {}", self.name()))?;
        println!("vm-test: downloading {name}");
        apt.unpack(&name, &cache.join(&name))?;
        Ok(name)
    }
}

impl Kernel {
    fn in_directory(root: PathBuf) -> Result<Self> {
        // A directory in `lib/modules` has the full version of the kernel as its name.
        let all = ["lib/modules", "usr/lib/modules"].map(|place| root.join(place));
        let all = all.into_iter().find(|place| place.is_dir()).context("the package has no modules")?;
        let version = names_in(&all)?.pop().context("the package has no modules")?;
        let mut modules = BTreeMap::new();
        find_modules(&all.join(&version), &mut modules)?;
        let list = fs::read_to_string(all.join(&version).join("modules.builtin")).unwrap_or_default();
        let built_in = list.lines().filter_map(|line| module_name(Path::new(line))).collect();
        Ok(Self { root, modules, built_in })
    }

    /// The compressed image, which QEMU boots directly.
    pub(super) fn image(&self) -> Result<PathBuf> {
        let boot = self.root.join("boot");
        let name = names_in(&boot)?.into_iter().find(|name| name.starts_with("vmlinuz-"));
        Ok(boot.join(name.with_context(|| format!("{} has no kernel", boot.display()))?))
    }

    /// The content of these modules and their dependencies, in the order of loading. Modules that are built in are left
    /// out.
    pub(super) fn modules(&self, wanted: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
        let mut found = Vec::new();
        for name in wanted {
            self.add(name, &mut found)?;
        }
        Ok(found)
    }

    fn add(&self, name: &str, found: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
        let name = name.replace('-', "_");
        if self.built_in.contains(&name) || found.iter().any(|(there, _)| *there == name) {
            return Ok(());
        }
        let path = self.modules.get(&name);
        let path = path.with_context(|| format!("{} has no module {name}", self.root.display()))?;
        let content = read_module(path)?;
        for dependency in dependencies(&content) {
            self.add(&dependency, found)?;
        }
        found.push((name, content));
        Ok(())
    }
}

/// The package with the highest version, by the numbers in the names.
fn newest(names: impl Iterator<Item = String>) -> Option<String> {
    names.max_by_key(|name| -> Vec<u64> {
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    })
}

fn names_in(directory: &Path) -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(Vec::new()) };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn find_modules(directory: &Path, modules: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            find_modules(&entry.path(), modules)?;
        } else if let Some(name) = module_name(&entry.path()) {
            modules.insert(name, entry.path());
        }
    }
    Ok(())
}

/// `8021q` for `kernel/net/8021q/8021q.ko.xz`.
fn module_name(path: &Path) -> Option<String> {
    let (name, rest) = path.file_name()?.to_str()?.split_once(".ko")?;
    matches!(rest, "" | ".xz").then(|| name.replace('-', "_"))
}

fn read_module(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return fs::read(path).with_context(|| path.display().to_string());
    }
    let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(path).output();
    let output = output.context("xz cannot be run")?;
    ensure!(output.status.success(), "xz cannot read {}", path.display());
    Ok(output.stdout)
}

/// The dependencies of a module: its section `.modinfo` has NUL-terminated texts `key=value`.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|octets| octets == KEY) else { return Vec::new() };
    let value = module[at + KEY.len()..].split(|octet| *octet == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_kernel_of_a_series_is_found_among_packages() {
        let package = |version: &str| format!("linux-image-{version}");
        let names = [
            "6.1.0-9-cloud-amd64",
            "6.1.0-56-cloud-amd64",
            "6.1.0-57-cloud-amd64-dbg",
            "6.1.0-58-amd64",
            "6.12.117+deb12-cloud-amd64",
            "6.12.117+deb12-rt-amd64",
            "6.12.116+deb12-amd64",
            "6.12.118+deb12-amd64-unsigned",
            "6.1.0-12-cloud-amd64",
        ];
        let of_line = |series: Series| {
            newest(names.map(package).into_iter().filter(move |name| series.is_package(name)))
        };
        assert_eq!(of_line(Series::V6_1), Some(package("6.1.0-56-cloud-amd64")));
        assert_eq!(of_line(Series::V6_12), Some(package("6.12.117+deb12-cloud-amd64")));
        assert_eq!(of_line(Series::Cards), Some(package("6.12.116+deb12-amd64")));
        assert_eq!(of_line(Series::V5_10), None);
    }

    #[test]
    fn module_has_a_name_and_dependencies() {
        assert_eq!(module_name(Path::new("a/b/8021q.ko.xz")).as_deref(), Some("8021q"));
        assert_eq!(module_name(Path::new("virtio-rng.ko")).as_deref(), Some("virtio_rng"));
        assert_eq!(module_name(Path::new("modules.order")), None);
        assert_eq!(dependencies(b"license=GPL\0depends=garp,mrp\0retpoline=Y\0"), ["garp", "mrp"]);
        assert_eq!(dependencies(b"license=GPL\0depends=\0name=veth\0"), Vec::<String>::new());
    }
}

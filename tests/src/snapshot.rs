//! Everything that a daemon could leave behind on a machine, for comparison before and after.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Host, needs};

/// The links of a machine with addresses and programs, routes, rules, permanent neighbours, qdiscs with filters, and
/// sysctls, and the pins and files of its daemons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    lines: BTreeSet<String>,
    /// The daemons' directory, if the test has one.
    directory: Option<PathBuf>,
}

impl Snapshot {
    /// The present state of the machine.
    pub fn of(host: &Host) -> Self {
        let mut lines = BTreeSet::new();
        for what in [
            "-details -oneline link show",
            "-oneline addr show",
            "-4 route show table all",
            "-6 route show table all",
            "-4 rule show",
            "-6 rule show",
            "-4 neigh show nud permanent",
            "-6 neigh show nud permanent",
        ] {
            lines.extend(host.ip(what).lines().map(|line| format!("ip {what}: {}", without_counts(line))));
        }
        for qdisc in tc(host, &["qdisc", "show"]) {
            let mut words = qdisc.split_whitespace().skip_while(|word| *word != "dev");
            // These have filters in both directions.
            if (qdisc.contains("clsact") || qdisc.contains("ingress"))
                && let Some(device) = words.nth(1)
            {
                for direction in ["ingress", "egress"] {
                    let filters = tc(host, &["filter", "show", "dev", device, direction]);
                    lines
                        .extend(filters.iter().map(|line| format!("tc filter {device} {direction}: {line}")));
                }
            }
            lines.insert(format!("tc qdisc: {qdisc}"));
        }
        host.namespace().enter(|| {
            for directory in ["/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv6/conf"] {
                add_settings(Path::new(directory), &mut lines);
            }
        });
        let pins = host.namespace().pins("eth0").parent().map(fs::read_dir);
        let pins = pins.into_iter().flatten().flatten().flatten();
        lines.extend(pins.map(|pin| format!("pin: {}", pin.path().display())));
        Self { lines, directory: None }
    }

    /// The present state of the machine, and the files in the daemons' directory, except the lock file.
    pub fn with_files(host: &Host, directory: &Path) -> Self {
        let mut snapshot = Self::of(host);
        for file in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = file.path();
            if path.extension().is_some_and(|extension| extension == "lock") {
                continue;
            }
            // Only files have contents.
            let contents = fs::read_to_string(&path).unwrap_or_default();
            snapshot.lines.insert(format!("file {}: {contents:?}", path.display()));
        }
        snapshot.directory = Some(directory.to_owned());
        snapshot
    }

    /// Panics with the differences unless the machine is in this state.
    #[track_caller]
    pub fn assert_as_before(&self, host: &Host) {
        let now =
            self.directory.as_ref().map_or_else(|| Self::of(host), |files| Self::with_files(host, files));
        let left = self.differences(&now);
        assert!(left.is_empty(), "not as it was:\n{}", left.join("\n"));
    }

    /// The lines that only one of the two has.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let gone = self.lines.difference(&other.lines).map(|line| format!("- {line}"));
        let new = other.lines.difference(&self.lines).map(|line| format!("+ {line}"));
        gone.chain(new).collect()
    }
}

fn tc(host: &Host, arguments: &[&str]) -> Vec<String> {
    let finished = host.run(needs::TC.require(), arguments);
    assert!(finished.success(), "`tc {}` failed: {}", arguments.join(" "), finished.stderr.trim());
    finished.stdout.lines().map(without_counts).collect()
}

/// A line without counters, and without the operational state of a link, which follows its flags asynchronously.
fn without_counts(line: &str) -> String {
    let mut words = line.split_whitespace();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        if ["expires", "refcnt", "usedbcqueuelen", "state"].contains(&word) {
            words.next();
        } else {
            kept.push(word);
        }
    }
    kept.join(" ")
}

fn add_settings(directory: &Path, lines: &mut BTreeSet<String>) {
    for interface in fs::read_dir(directory).into_iter().flatten().flatten() {
        for setting in fs::read_dir(interface.path()).into_iter().flatten().flatten() {
            // Some are write-only.
            if let Ok(value) = fs::read_to_string(setting.path()) {
                lines.insert(format!("{}: {}", setting.path().display(), value.trim()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lack_counters_and_operational_states() {
        let before = "3: eth0: <UP> qdisc noqueue state UNKNOWN mode DEFAULT";
        let after = "3: eth0: <UP> qdisc noqueue state UP mode DEFAULT";
        assert_eq!(without_counts(before), without_counts(after));
        assert_eq!(without_counts("default expires 12sec pref medium"), "default pref medium");
    }
}

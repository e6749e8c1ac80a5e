//! Which tests run on which kernel.
//!
//! A guest is many times slower than the machine it runs on, and what it is there for is another kernel. So the tests of
//! what a kernel has a part in belong here: packets, addresses, links, devices, the program in the kernel. Loading that
//! program takes a second or two there, since the verifier computes, so continuous integration runs fewer tests with it.
//! A file that is in [`ELSEWHERE`] does not run.

use std::fmt;

use super::kernel::Series;
use crate::test::Datapath;

/// With raw sockets; also devices that the machine's own kernel may not have.
const RAW: [&str; 5] = ["accept", "addresses", "devices", "link", "vlan"];
/// On one kernel only, since they take long: the newest one where classifiers need the qdisc clsact.
const CLSACT: (Series, [&str; 3]) = (Series::V6_1, ["vmac", "vmac_interfaces", "vmac_owner"]);
/// With each data path that the kernel has.
const EVERY: [&str; 1] = ["handover"];
/// Where the kernel has timers for programs: tests that choose the data path themselves.
const XDP: [&str; 1] = ["vlan_xdp"];
/// Where it has none.
const WITHOUT_XDP: [&str; 1] = ["old_kernel"];
/// Where it has no tcx.
const WITHOUT_TCX: [&str; 1] = ["without_tcx"];

/// When all is asked for, also these with raw sockets,
const MORE_RAW: [&str; 12] = [
    "ah",
    "election",
    "guardian",
    "leftovers",
    "magic",
    "reload",
    "reload_refused",
    "rejects",
    "vmac",
    "vmac_interfaces",
    "vmac_owner",
    "wire",
];
/// these with each data path,
const MORE_EVERY: [&str; 5] = ["auth", "control", "keepalived", "priority", "unicast"];
/// these with each in the kernel,
const MORE_IN_KERNEL: [&str; 2] = ["election", "link"];
/// this with tcx, on devices that the machine's own kernel may not have,
const MORE_WITH_TCX: [&str; 1] = ["vlan"];
/// and these, which choose the data path themselves: of XDP, and where the kernel has tcx.
const MORE_XDP: [&str; 4] = ["datapath", "xdp_commands", "xdp_daemon", "xdp_reports"];
const MORE_TCX: [&str; 1] = ["tcx"];

/// Never: processor time, instructions, memory, hundreds of routers; how late a timer is; a million frames, minutes of
/// computing; keepalived beside vrrpd through the same story, where both would have to be on time; and what no kernel has a part in that changes. Groups are of the last kind, and their tests demand that
/// nothing flaps, which a machine that is kept from running for a Master_Down_Interval now and then cannot promise. What
/// they hold are addresses and links as without a group.
#[cfg(test)]
const ELSEWHERE: [&str; 30] = [
    "footprint",
    "guards",
    "wakeups",
    "scale",
    "xdp_timer",
    "xdp_program",
    "alike",
    "atropos",
    "background",
    "boot",
    "cli",
    "config",
    "dist",
    "drop_in",
    "events",
    "files",
    "group",
    "group_processes",
    "log",
    "man",
    "monitor",
    "outsiders",
    "prepare",
    "routes",
    "script_processes",
    "scripts",
    "systemd",
    "toolkit",
    "track",
    "watch",
];

/// What was chosen.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    /// Everything rather than the selection for continuous integration.
    pub(super) all: bool,
    /// These files only.
    pub(super) tests: Vec<String>,
    /// These data paths only.
    pub(super) datapaths: Vec<Datapath>,
    /// Passed on to each test file.
    pub(super) arguments: Vec<String>,
}

/// A run of a test file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) datapath: Datapath,
    pub(super) test: &'static str,
    arguments: Vec<String>,
}

impl Choice {
    /// What runs on a kernel, in this order.
    pub(super) fn jobs(&self, series: Series) -> Vec<Job> {
        // A file that was asked for by name need not be in the selection.
        let all = self.all || !self.tests.is_empty();
        let more = |files: &'static [&'static str]| if all { files } else { &[] };
        let every = [&EVERY[..], more(&MORE_EVERY)].concat();
        let (clsact, files) = CLSACT;
        let slow = if series == clsact && !all { &files[..] } else { &[] };
        let raw = [&RAW[..], slow, &every, more(&MORE_RAW)].concat();
        let tcx = if series.has_tcx() { more(&MORE_TCX) } else { &WITHOUT_TCX };
        let in_kernel = [&every[..], more(&MORE_IN_KERNEL)].concat();
        let mut runs = if series.has_xdp() {
            vec![
                (Datapath::Raw, [&raw[..], &XDP, more(&MORE_XDP), tcx].concat()),
                (Datapath::Generic, in_kernel.clone()),
                (Datapath::Native, in_kernel.clone()),
            ]
        } else {
            vec![(Datapath::Raw, [&raw[..], &WITHOUT_XDP, tcx].concat())]
        };
        if series.has_tcx() {
            runs.push((Datapath::Tcx, [&in_kernel[..], more(&MORE_WITH_TCX)].concat()));
        }
        let jobs = runs.into_iter().flat_map(|(datapath, files)| {
            files.into_iter().map(move |test| Job { datapath, test, arguments: self.arguments.clone() })
        });
        jobs.filter(|job| self.wants(job)).collect()
    }

    fn wants(&self, job: &Job) -> bool {
        (self.tests.is_empty() || self.tests.iter().any(|test| test == job.test))
            && (self.datapaths.is_empty() || self.datapaths.contains(&job.datapath))
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, data path {}", self.test, self.datapath.name())
    }
}

impl Job {
    /// As the guest's first process reads it. What is ignored elsewhere needs such a kernel.
    pub(super) fn line(&self) -> String {
        let arguments = self.arguments.join(" ");
        format!("{} {} --include-ignored {arguments}\n", self.datapath.name(), self.test)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;
    use crate::cargo;

    #[test]
    fn every_test_file_is_in_the_plan_or_runs_elsewhere_and_no_other_is() {
        let planned = [
            &RAW[..],
            &CLSACT.1,
            &EVERY,
            &XDP,
            &WITHOUT_XDP,
            &WITHOUT_TCX,
            &MORE_WITH_TCX,
            &MORE_TCX,
            &MORE_RAW,
            &MORE_EVERY,
            &MORE_IN_KERNEL,
            &MORE_XDP,
        ];
        let planned: BTreeSet<&str> = planned.concat().into_iter().collect();
        let elsewhere = BTreeSet::from(ELSEWHERE);
        assert_eq!(planned.intersection(&elsewhere).count(), 0);
        let files = fs::read_dir(cargo::root().join("tests/tests")).expect("there are tests");
        let there: BTreeSet<String> = files
            .map(|file| file.expect("it can be read").path())
            .filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned()))
            .collect();
        let known: BTreeSet<String> = planned.union(&elsewhere).map(|name| (*name).to_owned()).collect();
        assert_eq!(known, there);
    }
}

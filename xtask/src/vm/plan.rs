//! Selects the tests of each kernel.
//!
//! A guest is many times slower than the machine it runs on, and its purpose is to test another kernel. So tests belong
//! here if the kernel matters to them: packets, addresses, links, devices, BPF programs. Loading a BPF program takes a
//! second or two in the verifier, so continuous integration runs fewer tests with it. The files in [`ELSEWHERE`] do not
//! run here.

use std::fmt;

use super::kernel::Series;
use crate::test::Datapath;

/// With raw sockets; includes devices that the host kernel may lack.
const RAW: [&str; 6] = ["addresses", "devices", "link", "other_interfaces", "routes", "vlan"];
/// On the oldest kernel only, whose tables of nf_tables have no owner.
const OLDEST: (Series, [&str; 2]) = (Series::V5_10, ["accept", "without_nftables"]);
/// On one kernel only, since they take long: the newest one that needs the clsact qdisc for classifiers.
const CLSACT: (Series, [&str; 3]) = (Series::V6_1, ["vmac", "vmac_interfaces", "vmac_owner"]);
/// With each data path of the kernel.
const EVERY: [&str; 1] = ["handover"];
/// On kernels with BPF timers; these tests choose the data path themselves.
const XDP: [&str; 1] = ["vlan_xdp"];
/// On kernels without BPF timers.
const WITHOUT_XDP: [&str; 1] = ["old_kernel"];
/// On kernels with tcx; also tests that need more of a kernel than the host may have.
const TCX: [&str; 1] = ["libxdp"];
/// On kernels without tcx.
const WITHOUT_TCX: [&str; 1] = ["without_tcx"];

/// On the kernel with drivers of network cards, and on no other.
const CARDS: [&str; 1] = ["cards"];
/// Its data paths. The test of VLANs is about classifiers.
const OF_CARDS: [(Datapath, &[&str]); 3] =
    [(Datapath::Native, &["--skip", "vlan"]), (Datapath::Tcx, &[]), (Datapath::Generic, &["--skip", "vlan"])];

/// With `--all`: also these with raw sockets,
const MORE_RAW: [&str; 14] = [
    "ah",
    "election",
    "guardian",
    "leftovers",
    "magic",
    "prepare",
    "reload",
    "reload_refused",
    "rejects",
    "track",
    "vmac",
    "vmac_interfaces",
    "vmac_owner",
    "wire",
];
/// these with each data path,
const MORE_EVERY: [&str; 6] = ["auth", "control", "keepalived", "priority", "unicast", "unicast_keepalived"];
/// these with each kernel data path,
const MORE_IN_KERNEL: [&str; 2] = ["election", "link"];
/// this one with tcx, on devices that the host kernel may lack,
const MORE_WITH_TCX: [&str; 1] = ["vlan"];
/// and these, which choose the data path themselves: of XDP, and on kernels with tcx.
const MORE_XDP: [&str; 5] = ["datapath", "pins", "xdp_commands", "xdp_daemon", "xdp_reports"];
const MORE_TCX: [&str; 2] = ["object", "tcx"];

/// Never run here: tests of processor time, instructions, memory, or hundreds of routers; of timer lateness; with a
/// million frames or minutes of computing; of keepalived beside vrrpd, where both would have to be on time; of other users
/// of an interface, whose programs the guest does not have; and tests to which the kernel does not matter. Groups belong
/// to the last kind, and their tests require that nothing flaps, which a machine that stalls for a Master_Down_Interval
/// at times cannot promise. Their addresses and links are the same as without a group.
#[cfg(test)]
const ELSEWHERE: [&str; 29] = [
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
    "coexistence",
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
    "raw",
    "script_processes",
    "scripts",
    "systemd",
    "toolkit",
    "watch",
];

/// The user's choice.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    /// Everything instead of the selection for continuous integration.
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
    /// The jobs on a kernel, in order.
    pub(super) fn jobs(&self, series: Series) -> Vec<Job> {
        if series == Series::Cards {
            return self.jobs_of_cards();
        }
        // A file given by name need not be in the selection.
        let all = self.all || !self.tests.is_empty();
        let more = |files: &'static [&'static str]| if all { files } else { &[] };
        let every = [&EVERY[..], more(&MORE_EVERY)].concat();
        let (clsact, files) = CLSACT;
        let slow = if series == clsact && !all { &files[..] } else { &[] };
        let (oldest, files) = OLDEST;
        let old = if series == oldest || all { &files[..] } else { &[] };
        let raw = [&RAW[..], old, slow, &every, more(&MORE_RAW)].concat();
        let tcx = if series.has_tcx() { [&TCX[..], more(&MORE_TCX)].concat() } else { WITHOUT_TCX.to_vec() };
        let in_kernel = [&every[..], more(&MORE_IN_KERNEL)].concat();
        let mut runs = if series.has_xdp() {
            vec![
                (Datapath::Raw, [&raw[..], &XDP, more(&MORE_XDP), &tcx].concat()),
                (Datapath::Generic, in_kernel.clone()),
                (Datapath::Native, in_kernel.clone()),
            ]
        } else {
            vec![(Datapath::Raw, [&raw[..], &WITHOUT_XDP, &tcx].concat())]
        };
        if series.has_tcx() {
            runs.push((Datapath::Tcx, [&in_kernel[..], more(&MORE_WITH_TCX)].concat()));
        }
        let jobs = runs.into_iter().flat_map(|(datapath, files)| {
            files.into_iter().map(move |test| Job { datapath, test, arguments: self.arguments.clone() })
        });
        jobs.filter(|job| self.wants(job)).collect()
    }

    fn jobs_of_cards(&self) -> Vec<Job> {
        // Generic XDP does not depend on the driver.
        let paths = OF_CARDS.into_iter().filter(|(path, _)| self.all || *path != Datapath::Generic);
        let jobs = paths.flat_map(|(datapath, arguments)| {
            let own = arguments.iter().map(|argument| (*argument).to_owned());
            let arguments: Vec<_> = own.chain(self.arguments.iter().cloned()).collect();
            CARDS.into_iter().map(move |test| Job { datapath, test, arguments: arguments.clone() })
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
    /// The line for the guest's init. Tests marked `#[ignore]` need such a kernel.
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
            &OLDEST.1,
            &CLSACT.1,
            &EVERY,
            &XDP,
            &WITHOUT_XDP,
            &TCX,
            &WITHOUT_TCX,
            &CARDS,
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

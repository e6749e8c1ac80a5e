//! Which tests run on which kernel.
//!
//! A guest is many times slower than the machine it runs on, and what it is there for is another kernel. So the tests of
//! what a kernel has a part in belong here: packets, addresses, links, devices, the program in the kernel. A file that
//! is in none of the lists below does not run:
//! * `footprint`, `wakeups`, `scale`: processor time, memory, hundreds of routers;
//! * `xdp_timer`: how late a timer is; `xdp_program`: a million frames, minutes of computing;
//! * `background`, `cli`, `config`, `scripts`, `toolkit`: the kernel has no part in them that changes.

use std::fmt;

use super::kernel::Series;
use crate::test::Datapath;

/// Tests of devices which the development machine's kernel may not have: with each data path.
const DEVICES: [&str; 2] = ["devices", "vlan"];
/// Tests of the daemon among others: with each data path.
const MAIN: [&str; 3] = ["election", "handover", "link"];
/// Tests of what is the same with each data path: with raw sockets.
const RAW: [&str; 3] = ["addresses", "rejects", "wire"];
/// What takes longer: with each data path, when all is asked for.
const MORE: [&str; 4] = ["auth", "control", "keepalived", "priority"];
/// Tests that choose data paths themselves, and have to be able to: where the kernel has the program's timer.
const OF_XDP: [&str; 2] = ["datapath", "vlan_xdp"];
/// The same, when all is asked for.
const MORE_OF_XDP: [&str; 2] = ["xdp_commands", "xdp_reports"];
/// Where it has not.
const WITHOUT_XDP: [&str; 1] = ["old_kernel"];

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
        let everywhere = [&DEVICES[..], &MAIN, more(&MORE)].concat();
        let raw = [&everywhere, &RAW[..]].concat();
        let runs = if series.has_xdp() {
            vec![
                (Datapath::Raw, [&raw, &OF_XDP[..], more(&MORE_OF_XDP)].concat()),
                (Datapath::Generic, everywhere.clone()),
                (Datapath::Native, everywhere),
            ]
        } else {
            vec![(Datapath::Raw, [&raw, &WITHOUT_XDP[..]].concat())]
        };
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

//! Memory and descriptors of one router.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use vrrpd_lab::{Datapath, Lab, Usage, Vrrpd, binary};
use xtask::cargo;

use super::Effort;
use super::record::{Column, Goal, Metric, Record, count};
use super::subject::{Routers, Subject};

const INTERVAL: Duration = Duration::from_secs(1);
/// After this time the daemon has released what only the start needed.
const SETTLE: Duration = Duration::from_secs(5);
const KIB_IN_MIB: f64 = 1024.0;

const RESIDENT: Metric = Metric::judged("resident memory", "MiB", Goal::AtMost(4.0));
const PROPORTIONAL: Metric = Metric::told("the same, shared pages once", "MiB");
const OWN: Metric = Metric::told("of it own, no page of a file", "MiB");
const SIZE: Metric = Metric::judged("program, stripped", "MiB", Goal::AtMost(6.0));

pub(crate) fn run(record: &mut Record, _: Effort) -> Result<()> {
    let linked_statically = cargo::build_static()?.join("vrrpd");
    for (case, program) in [("dynamic", binary("vrrpd")), ("static", linked_statically)] {
        for (datapath, column) in
            [(Datapath::Native, Column::Native), (Datapath::Tcx, Column::Tcx), (Datapath::Raw, Column::Raw)]
        {
            add_memory(record, case, column, &memory_of(&program, datapath));
        }
        let size = fs::metadata(&program).with_context(|| program.display().to_string())?.len();
        record.add(case, SIZE, Column::Raw, count(size) / KIB_IN_MIB / KIB_IN_MIB);
    }
    let lab = Lab::new();
    let [host] = lab.hosts();
    let running = Subject::Keepalived.start(&host, &Routers::new(1, INTERVAL));
    thread::sleep(SETTLE);
    add_memory(record, "dynamic", Column::Keepalived, &running.usage());
    Ok(())
}

fn memory_of(program: &Path, datapath: Datapath) -> Usage {
    let lab = Lab::new();
    let [host] = lab.hosts();
    let config = Routers::new(1, INTERVAL).toml();
    let daemon = Vrrpd::on(&host).config(&config).datapath(datapath).program(program).start();
    thread::sleep(SETTLE);
    daemon.usage()
}

fn add_memory(record: &mut Record, case: &str, column: Column, usage: &Usage) {
    record.add(case, RESIDENT, column, count(usage.resident) / KIB_IN_MIB);
    record.add(case, PROPORTIONAL, column, count(usage.proportional) / KIB_IN_MIB);
    record.add(case, OWN, column, count(usage.own) / KIB_IN_MIB);
}

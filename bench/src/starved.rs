//! Backups on an overloaded machine.
//!
//! All subjects run at the same time, each with its own virtual router, so that they have the same conditions.

use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use vrrpd_lab::{Flood, Lab};
use xtask::cargo;

use super::record::{Goal, Metric, Record, count};
use super::subject::{Routers, Subject};
use super::{Effort, generator};

const INTERVAL: Duration = Duration::from_millis(10);
const SETTLE: Duration = Duration::from_secs(1);
/// Busy threads per core.
const SPINNING: usize = 2;
/// Octets written before each sync.
const WRITTEN: usize = 1 << 20;

const FALSE_FAILOVERS: Metric = Metric::judged("false failovers", "in 20 s", Goal::Never(0.0));

pub(crate) fn run(record: &mut Record, effort: Effort) -> Result<()> {
    let routers = Routers::new(1, INTERVAL);
    // Separate networks, so that they do not hear each other.
    let labs: Vec<_> = Subject::ALL.map(|subject| (subject, Lab::new())).into_iter().collect();
    let running: Vec<_> = labs
        .iter()
        .map(|(subject, lab)| {
            let [host, master] = lab.hosts();
            let adverts = Flood::every(INTERVAL, &master, routers.masters(&master, 0));
            (subject, subject.start(&host, &routers), adverts, master)
        })
        .collect();
    thread::sleep(SETTLE);
    let before: Vec<_> = running.iter().map(|(_, running, ..)| running.times_master()).collect();
    load(effort.seconds(20), &cargo::root().join("target/bench.sync"))?;
    for ((subject, running, adverts, _), before) in running.into_iter().zip(before) {
        let failovers = running.times_master() - before;
        generator::stop([adverts])?;
        record.add("", FALSE_FAILOVERS, subject.column(), count(failovers as u64));
    }
    Ok(())
}

/// Keeps every core and the disk busy.
fn load(span: Duration, path: &Path) -> Result<()> {
    let end = AtomicBool::new(false);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let written = thread::scope(|scope| {
        for _ in 0..cores * SPINNING {
            scope.spawn(|| {
                while !end.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let written = write_and_sync(span, path);
        end.store(true, Ordering::Relaxed);
        written
    });
    // Only the result of writing matters.
    drop(fs::remove_file(path));
    written.with_context(|| path.display().to_string())
}

fn write_and_sync(span: Duration, path: &Path) -> std::io::Result<()> {
    let (start, octets) = (Instant::now(), vec![0xa5; WRITTEN]);
    let mut file = File::create(path)?;
    while start.elapsed() < span {
        file.rewind()?;
        file.write_all(&octets)?;
        file.sync_all()?;
    }
    Ok(())
}

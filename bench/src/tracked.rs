//! A process that a master tracks is killed: time until the master has resigned, and until the other router is master.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use vrrpd_lab::{Capture, Datapath, Lab, Vrrpd, timers, wait_until};

use super::Effort;
use super::record::{Column, Goal, Metric, Record, millis_from};

const INTERVAL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two failovers, so that damping does not hold them.
const APART: Duration = Duration::from_millis(750);
/// How often the process is killed.
const TIMES: u32 = 30;
const BACKUP_PRIORITY: u8 = 100;

const RESIGNED: Metric = Metric::judged("master has resigned", "ms", Goal::AtMost(5.0));
const TAKEN: Metric =
    Metric::judged("other router beyond Skew_Time", "ms", Goal::Late { median: 1.0, p99: 3.0 });

pub(crate) fn run(record: &mut Record, effort: Effort) -> Result<()> {
    for (datapath, column) in [(Datapath::Native, Column::Native), (Datapath::Raw, Column::Raw)] {
        failovers(record, datapath, column, effort.times(TIMES))?;
    }
    Ok(())
}

fn failovers(record: &mut Record, datapath: Datapath, column: Column, times: u32) -> Result<()> {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let mut service = Service::start()?;
    let usual = "interface = \"eth0\"\nvrid = 51\naddresses = [\"10.0.0.100/24\"]\nprotocol = \"v3\"\n\
                 interval = \"100ms\"\nvmac = \"none\"\n";
    let tracking = format!("[[router]]\n{usual}priority = 150\ntrack = [\"process={}\"]\n", service.name);
    let other = format!("[[router]]\n{usual}priority = {BACKUP_PRIORITY}\n");
    let master = Vrrpd::on(&a).config(&tracking).datapath(datapath).start();
    master.wait_state("master", PATIENCE);
    let backup = Vrrpd::on(&b).config(&other).datapath(datapath).start();
    let capture = Capture::on(&client);
    let skew = timers::skew_time(INTERVAL, BACKUP_PRIORITY);
    for _ in 0..times {
        wait_until(PATIENCE, "the master is back", || {
            master.is_master() && backup.state()["state"] == "backup"
        });
        thread::sleep(APART);
        capture.clear();
        let killed = service.kill()?;
        let (resigned, _) = capture.wait_advert(PATIENCE, "it resigns", |advert| advert.priority == 0);
        let (taken, _) = capture
            .wait_advert(PATIENCE, "the other takes over", |advert| advert.priority == BACKUP_PRIORITY);
        record.add("", RESIGNED, column, millis_from(killed, resigned));
        record.add("", TAKEN, column, millis_from(resigned + skew, taken));
        service = Service::start()?;
    }
    Ok(())
}

/// A process with a unique name.
struct Service {
    name: String,
    process: Child,
}

impl Service {
    /// A shell that renames itself and waits.
    fn start() -> Result<Self> {
        let name = format!("bench-{}", std::process::id());
        let waits = format!("echo {name} > /proc/$$/comm; while :; do read -r line || exit; done");
        let process = Command::new("/bin/sh")
            .args(["-c", &waits])
            .stdin(Stdio::piped())
            .spawn()
            .context("/bin/sh cannot be started")?;
        Ok(Self { name, process })
    }

    /// Kills it, and returns the time.
    fn kill(&mut self) -> Result<Instant> {
        let killed = Instant::now();
        self.process.kill().context("the process cannot be killed")?;
        self.process.wait().context("the process cannot be waited for")?;
        Ok(killed)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

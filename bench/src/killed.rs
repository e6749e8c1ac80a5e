//! The daemon is killed while it is Master on 1, 17 or 64 interfaces: time until its machine has resigned and stopped
//! answering.

use anyhow::Result;
use vrrpd_lab::Datapath;
use vrrpd_lab::death::Doomed;

use super::Effort;
use super::record::{Column, Goal, Metric, Record};

const INTERFACES: [u8; 3] = [1, 17, 64];
/// Number of kills of each kind.
const TIMES: u32 = 20;

const RESIGNED: Metric = Metric::judged("last router resigned", "ms", Goal::AtMost(5.0));
const OFF: Metric = Metric::judged("last address off", "ms", Goal::AtMost(10.0));

#[expect(clippy::unnecessary_wraps, reason = "scenarios are called alike, and most of them can fail")]
pub(crate) fn run(record: &mut Record, effort: Effort) -> Result<()> {
    for interfaces in INTERFACES {
        for vmac in ["none", "interface", "macvlan"] {
            for (datapath, column) in [
                (Datapath::Native, Column::Native),
                (Datapath::Generic, Column::Generic),
                (Datapath::Tcx, Column::Tcx),
                (Datapath::Raw, Column::Raw),
            ] {
                let doomed = Doomed::new(interfaces, datapath, vmac);
                for _ in 0..effort.times(TIMES) {
                    let death = doomed.kill();
                    let case = format!("{interfaces} interfaces, vmac {vmac}");
                    record.add(&case, RESIGNED, column, death.last_resigned.as_secs_f64() * 1e3);
                    record.add(&case, OFF, column, death.addresses_gone.as_secs_f64() * 1e3);
                }
            }
        }
    }
    Ok(())
}

//! Lateness of take-overs beyond the time that the protocol requires, as captured on a third machine.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use vrrpd_lab::{Capture, timers};

use super::record::millis_from;
use super::subject::Routers;

/// For each virtual router that `own` has taken over: milliseconds between the time when its first advert was due and
/// its arrival; negative if early. It is due a Master_Down_Interval after the last advert of the former master, or
/// Skew_Time after its resignation, whichever is earlier: a resignation may be late.
pub(crate) fn of_take_overs(capture: &Capture, own: IpAddr, routers: &Routers) -> HashMap<u8, f64> {
    let down = timers::master_down_interval(routers.interval, routers.priority);
    let skew = timers::skew_time(routers.interval, routers.priority);
    let mut due: HashMap<u8, Instant> = HashMap::new();
    let mut late = HashMap::new();
    for (at, advert) in capture.adverts() {
        if late.contains_key(&advert.vrid) {
            continue;
        }
        let before = due.get(&advert.vrid).copied();
        if advert.source != own {
            let next = match (advert.priority, before) {
                (0, Some(before)) => before.min(at + skew),
                (0, None) => at + skew,
                _ => at + down,
            };
            due.insert(advert.vrid, next);
        } else if let Some(due) = before {
            late.insert(advert.vrid, millis_from(due, at));
        }
    }
    late
}

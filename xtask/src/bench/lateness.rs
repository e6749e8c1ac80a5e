//! How late backups are master beyond what the protocol demands, as a third machine sees it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use vrrpd_lab::Capture;

use super::record::millis_from;

/// For each virtual router that `own` has taken over: milliseconds from when its first advert was due, which is so long
/// after the last one of the master before, until it came. Negative if it came too early.
pub(crate) fn of_take_overs(capture: &Capture, own: IpAddr, demanded: Duration) -> HashMap<u8, f64> {
    let mut heard: HashMap<u8, Instant> = HashMap::new();
    let mut late = HashMap::new();
    for (at, advert) in capture.adverts() {
        if late.contains_key(&advert.vrid) {
            continue;
        }
        if advert.source != own {
            heard.insert(advert.vrid, at);
        } else if let Some(last) = heard.get(&advert.vrid) {
            late.insert(advert.vrid, millis_from(*last + demanded, at));
        }
    }
    late
}

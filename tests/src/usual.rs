//! The virtual router that most tests use: VRID 51 with one address, version 3, ten adverts a second.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::{Host, Vrrpd, VrrpdBuilder, stretched};

/// Its VRID.
pub const VRID: u8 = 51;
/// Its virtual MAC address with IPv4 (RFC 9568 §7.3).
pub const VMAC: &str = "00:00:5e:00:01:33";
/// Its address.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
/// Its address with the length.
pub const CIDR: &str = "10.0.0.100/24";
/// Its advertisement interval: short, so that tests are quick, and long enough for a busy machine with two cores.
pub const INTERVAL: Duration = Duration::from_millis(100);
/// How late something may be on a busy machine.
pub const TOLERANCE: Duration = Duration::from_millis(250);
/// The clocks of two processes and of a capture agree to this.
const CLOCK: Duration = Duration::from_millis(2);
/// A deadline for what happens within a few intervals.
pub const SOON: Duration = Duration::from_secs(5);

/// Panics unless something took as long as the protocol demands: not less, and not much more.
#[track_caller]
pub fn assert_on_time(took: Duration, demanded: Duration) {
    let (early, late) = (stretched(CLOCK), stretched(TOLERANCE));
    assert!(took + early >= demanded && took <= demanded + late, "{took:?}, {demanded:?} demanded");
}

impl Vrrpd {
    /// Begins to describe the usual router, with this priority.
    pub fn usual(host: &Host, priority: u8) -> VrrpdBuilder {
        Self::on(host).vrid(VRID).priority(priority).address(CIDR).v3("100ms")
    }
}

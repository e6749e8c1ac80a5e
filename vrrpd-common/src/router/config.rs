//! The configuration of a router, as far as the state machine depends on it.

use crate::advert::AddressDigest;
use crate::params::{Interval, Priority, Version, Vrid};
use crate::time::Duration;

/// The configuration, constant except for the group, the script and the limit of the learned interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Config {
    /// The virtual router.
    pub vrid: Vrid,
    /// Protocol version.
    pub version: Version,
    /// The priority to start with.
    pub priority: Priority,
    /// Preempt_Mode (RFC 9568 §6.1): take over from a master of lower priority.
    pub preempt_mode: bool,
    /// Without `preempt_mode`: preempts only a master that advertises less than this.
    pub preempt_below: Option<Priority>,
    /// With `preempt_mode`: follows a lower master for this long, from its first advert, before preempting it.
    pub preempt_delay: Duration,
    /// Listens for this long after [`Event::Startup`](super::Event::Startup) before becoming Master, even as an owner.
    pub start_delay: Duration,
    /// Our own advertisement interval.
    pub interval: Interval,
    /// Maximum Master_Adver_Interval learned from a master; version 3.
    pub max_learned_interval: Interval,
    /// Number of intervals without an advert, in addition to Skew_Time, after which a master counts as down; 1 to 100,
    /// 3 in RFC 9568 §6.1.
    pub down_multiplier: u8,
    /// Digest of the virtual addresses, to detect a peer with other addresses.
    pub addresses: AddressDigest,
    /// When gratuitous ARP or unsolicited neighbour advertisements are repeated.
    pub announce: AnnounceTimes,
    /// The router is a member of a [group](crate::group), and Master only with it.
    pub grouped: bool,
    /// A `prepare` script runs before it takes the addresses.
    pub prepares: bool,
}

/// When a new master repeats the announcement of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AnnounceTimes {
    /// Time from the first to the second announcement; `None`: no second one.
    pub again_after: Option<Duration>,
    /// Interval of further announcements; `None`: none.
    pub refresh_every: Option<Duration>,
    /// Interval of announcements on other interfaces; `None`: none.
    pub elsewhere_every: Option<Duration>,
    /// Time from an announcement upon a lower-priority advert to another one; `None`: none.
    pub after_lower: Option<Duration>,
}

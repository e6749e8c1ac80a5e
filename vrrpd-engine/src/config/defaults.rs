//! A router configuration with default options, for tests and simulations.

use std::collections::BTreeMap;

use vrrpd_common::router::AnnounceTimes;
use vrrpd_common::wire::vrrp::{ChecksumStyle, group};
use vrrpd_common::{Duration, Family, Interval, Priority, Version, Vrid};

use super::{
    Announce, AuthKind, Datapath, Destination, Pauses, RouterConfig, VirtualAddress, VmacFallback, VmacMode,
};
use crate::script::Scripts;

impl RouterConfig {
    /// A VRRP version 3 router with defaults, except: raw sockets, no virtual MAC address, and each announcement sent
    /// once. The family is that of the first address, or IPv4.
    pub fn with_defaults(interface: String, vrid: Vrid, addresses: Vec<VirtualAddress>) -> Self {
        let family = addresses.first().map_or(Family::Ipv4, VirtualAddress::family);
        let interval = Interval::DEFAULT;
        Self {
            title: None,
            interface,
            vrid,
            family,
            version: Version::V3,
            source: None,
            destination: Destination::Group(group(family)),
            addresses,
            extra_addresses: Vec::new(),
            address_options: BTreeMap::new(),
            address_interfaces: BTreeMap::new(),
            routes: Vec::new(),
            rules: Vec::new(),
            priority: Priority::DEFAULT,
            preempt: true,
            preempt_below: None,
            preempt_delay: Duration::ZERO,
            start_delay: Duration::ZERO,
            accept: true,
            track_interface: true,
            interval,
            max_learned_interval: interval.times(10),
            down_multiplier: 3,
            auth: AuthKind::None,
            vmac: VmacMode::None,
            vmac_name: None,
            vmac_fallback: VmacFallback::None,
            lower_priority: None,
            raise_priority: None,
            scripts: Scripts::none(Duration::from_secs(60)),
            announce: Announce {
                count: 1,
                refresh_count: 1,
                lower_count: 1,
                pauses: Pauses::default(),
                times: AnnounceTimes {
                    again_after: Some(Duration::from_secs(5)),
                    refresh_every: None,
                    elsewhere_every: None,
                    after_lower: Some(Duration::from_secs(1)),
                },
            },
            checksum: ChecksumStyle::WithPseudoHeader,
            accept_interval_mismatch: false,
            require_equal_addresses: false,
            magic: None,
            datapath: Datapath::Raw,
            xdp_pass: false,
            grouped: false,
            track: Vec::new(),
        }
    }
}

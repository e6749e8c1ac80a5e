//! What `global_defs` says for all instances.

use std::ops::RangeInclusive;

use super::super::{Imported, RemarkKind};
use super::tracking::Definitions;
use super::tree::Node;

/// The defaults of instances.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults {
    /// `vrrp_version 3`
    pub(super) is_v3: bool,
    /// `vrrp_strict`
    pub(super) is_strict: bool,
    /// `vrrp_startup_delay`, in seconds.
    pub(super) start_delay: Option<String>,
    /// `script_user`: `USER` or `USER:GROUP`; `None`: root.
    pub(super) script_user: Option<String>,
    /// What can be tracked.
    pub(super) tracks: Definitions,
    /// `vrrp_mcast_group4`
    pub(super) group4: Option<Node>,
    /// `vrrp_mcast_group6`
    pub(super) group6: Option<Node>,
    /// `notify_fifo` or `vrrp_notify_fifo`
    pub(super) fifo: Option<String>,
    /// How addresses are announced.
    pub(super) garp: Garp,
}

/// keepalived's schedule of gratuitous ARP.
#[derive(Clone, Debug)]
pub(super) struct Garp {
    /// Announcements of an address each time.
    pub(super) repeat: String,
    /// Seconds until the second time; 0: no second time.
    pub(super) delay: String,
    /// Seconds between further times; 0: none.
    pub(super) refresh: String,
}

impl Garp {
    /// Announcements each time that can be configured here.
    pub(super) const REPEAT: RangeInclusive<u32> = 1..=255;
    /// Seconds that keepalived takes.
    pub(super) const SECONDS: RangeInclusive<u32> = 0..=86_400;
}

impl Default for Garp {
    fn default() -> Self {
        Self { repeat: "5".to_owned(), delay: "5".to_owned(), refresh: "0".to_owned() }
    }
}

/// A number of the schedule of announcements.
pub(super) fn garp(node: &Node, range: RangeInclusive<u32>, imported: &mut Imported) -> Option<String> {
    let text = node.argument().unwrap_or_default();
    if text.parse().is_ok_and(|number| range.contains(&number)) {
        return Some(text.to_owned());
    }
    imported.remark(
        &node.place,
        RemarkKind::LeftOut,
        node.keyword(),
        format!("{text:?} is not a number from {} to {}", range.start(), range.end()),
    );
    None
}

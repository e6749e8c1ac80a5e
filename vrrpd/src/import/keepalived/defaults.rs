//! Defaults from `global_defs`.

use super::announcements::Garp;
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
    /// `vrrp_down_timer_adverts`
    pub(super) down_multiplier: Option<String>,
    /// `script_user`: `USER` or `USER:GROUP`; `None`: root.
    pub(super) script_user: Option<String>,
    /// The checks that instances can use.
    pub(super) tracks: Definitions,
    /// `vrrp_mcast_group4`
    pub(super) group4: Option<Node>,
    /// `vrrp_mcast_group6`
    pub(super) group6: Option<Node>,
    /// `notify_fifo` or `vrrp_notify_fifo`
    pub(super) fifo: Option<String>,
    /// Announcements.
    pub(super) garp: Garp,
}

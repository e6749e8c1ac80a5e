//! Routers that are Master together or not at all: the groups of this process.

use vrrpd_common::group::Member;

/// A router's place in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPlace {
    /// The group, by its place among those of the process.
    pub group: usize,
    /// Which of its members the router is.
    pub member: Member,
}

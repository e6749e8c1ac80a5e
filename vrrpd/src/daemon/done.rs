//! What is counted of a router, also while it is not there.

/// What a router has done up to now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) adverts_sent: u64,
    pub(super) garp_sent: u64,
    pub(super) transitions: u64,
}

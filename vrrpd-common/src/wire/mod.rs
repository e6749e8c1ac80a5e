//! Wire formats, one file each: named field offsets, a view of a header for the classifier, and a `…Repr` that holds
//! only valid values, with `parse`, `buffer_len` and `emit`.
//!
//! [`mod@crate::classify`] decides whether an advert is for us and accepted. Nothing here allocates, and no input
//! panics: invalid input yields `None`.
//!
//! Start at [`frame`], which builds the daemon's frames from the other modules, and at [`vrrp`].

pub mod ah;
pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod frame;
pub mod ipv4;
pub mod ipv6;
pub mod ndisc;
pub mod vrrp;

/// Writes `octets` at `at`; if they do not fit, writes nothing and returns `None`.
pub(crate) fn put(buffer: &mut [u8], at: usize, octets: &[u8]) -> Option<()> {
    let end = at.checked_add(octets.len())?;
    buffer.get_mut(at..end)?.copy_from_slice(octets);
    Some(())
}

//! What goes over the wire, one file a format: named field offsets, a view over a header for the classifier, and a
//! `…Repr` that holds legal values only, with `parse`, `buffer_len` and `emit`.
//!
//! Nothing here decides whether an advert is meant for us or believed: that is [`mod@crate::classify`]. Nothing here
//! allocates, and no input panics: what does not fit is `None`.
//!
//! Start at [`frame`], which builds the frames the daemon sends from all the others, and at [`vrrp`].

pub mod ah;
pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod frame;
pub mod ipv4;
pub mod ipv6;
pub mod ndisc;
pub mod vrrp;

/// Writes `octets` at `at`; `None`, with nothing written, when they do not fit.
pub(crate) fn put(buffer: &mut [u8], at: usize, octets: &[u8]) -> Option<()> {
    let end = at.checked_add(octets.len())?;
    buffer.get_mut(at..end)?.copy_from_slice(octets);
    Some(())
}

//! The names of the programs in the committed objects, by which an interface with one is recognised.

/// The program that handles each advert, and as a classifier each packet.
pub(super) const PROGRAM: &str = "vrrpd";
/// The classifier that passes frames to the own MAC address of an interface with a virtual one, and its filter in kernels
/// before 6.6. Only one daemon at a time replaces the address of an interface.
pub(super) const OWN_MAC: &str = "own_mac";
/// The classifiers that correct what other interfaces of the same port receive and send about the addresses of a macvlan
/// link.
pub(super) const CLAIMS_IN: &str = "claims_in";
pub(super) const CLAIMS_OUT: &str = "claims_out";

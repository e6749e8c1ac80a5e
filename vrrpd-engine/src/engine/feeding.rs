//! A kernel record on its way to the state machine.

use std::net::IpAddr;

use vrrpd_common::abi::RouterRecord;

use crate::interface::Interface;
use crate::kernel::is_on_link;
use crate::router::Router;

/// A kernel record that is being handed to the state machine.
#[derive(Clone, Debug)]
pub(super) struct Feeding {
    pub(super) record: RouterRecord,
    /// Source addresses in the record that are in no subnet of the interface.
    pub(super) elsewhere: Vec<IpAddr>,
    /// The state machine was given an event.
    pub(super) has_fed: bool,
    /// One of the `elsewhere` sources counts.
    pub(super) other_subnet: Option<IpAddr>,
    /// The kernel data path has been given up.
    pub(super) is_last: bool,
}

impl Feeding {
    pub(super) fn new(
        router: &Router,
        record: &RouterRecord,
        interface: Option<&Interface>,
        is_last: bool,
    ) -> Self {
        let sources = router.kernel.unheard(&router.config, record).map(|heard| heard.advert.source);
        let may_be_of_a_vlan =
            |source: &IpAddr| !router.sees_tags && !is_on_link(interface, &router.config, *source);
        let elsewhere = sources.filter(may_be_of_a_vlan).collect();
        Self { record: *record, elsewhere, has_fed: false, other_subnet: None, is_last }
    }
}

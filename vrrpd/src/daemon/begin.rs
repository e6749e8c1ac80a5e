//! How a router begins, at the start of the daemon or when a new configuration brings it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tracing::warn;
use vrrpd_common::classify::Expect;
use vrrpd_common::router::{Event, Fault, Faults};
use vrrpd_engine::ledger::Journal;
use vrrpd_engine::router::Router;
use vrrpd_engine::{Engine, LinkId, RouterId, Slots};

use super::handles::Handles;
use super::link::Link;
use super::start_error::StartError;
use super::{adopt, log};
use crate::ah::SecurityAssociation;
use crate::clock;
use crate::config::{Authentication, RouterConfig, Settings, VmacMode};
use crate::limits;
use crate::rundir::RunDir;

/// What a Backup takes: 255 on the link (RFC 9568 §5.1.1.3).
const MIN_TTL: u8 = 255;

/// Makes room for the descriptors that these routers and so many checks take.
pub(super) fn make_room(routers: &[RouterConfig], checks: usize) {
    let interfaces: BTreeSet<&str> = routers.iter().map(|router| router.interface.as_str()).collect();
    let scripts = routers.iter().map(|router| router.scripts.each().count()).sum();
    limits::make_room(interfaces.len(), scripts, checks);
}

/// A router, which its interface knows of from now on; `None` without an interface of its name.
pub(super) fn make_router(
    config: RouterConfig,
    id: RouterId,
    links: &mut Slots<LinkId, Link>,
    journal: &Journal,
) -> Result<Option<(Router, Handles)>, StartError> {
    let Some((link_id, link)) = links.iter_mut().find(|(_, link)| link.name == config.interface) else {
        return Ok(None);
    };
    if let Some(magic) = &config.magic
        && !config.holds(magic.source)
    {
        warn!(
            router = %config.title(), source = %magic.source,
            "magic source is not a virtual address of the router"
        );
    }
    let RouterConfig { settings, authentication } = config;
    let mut router = Router::new(settings, link_id, clock::time_of_day_now());
    check_length(&router, link)?;
    check_peers(&router.config, link)?;
    if let Some(interface) = &link.interface {
        let line = router.meet(interface);
        log::write(&router, line);
    }
    adopt::addresses(&mut router, link, journal);
    adopt::vmac(&mut router, link, journal)?;
    link.routers.push(id);
    let usable = usable(&router, link);
    expect(&router, &authentication, id, link, usable.ok());
    let of_family = router.config.held_addresses().filter(|address| address.family() == router.config.family);
    let addresses = of_family.map(|address| address.address);
    link.table.set_virtual_addresses(router.config.family, router.config.vrid, addresses);
    if let Some(key) = authentication.key() {
        let association = SecurityAssociation::new(key);
        link.table.associate(router.config.family, router.config.vrid, association);
    }
    let event = usable.map_or_else(Event::InterfaceDown, Event::InterfaceUp);
    // Nothing is noticed before the start.
    router.handle(clock::now(), event, &mut |_| {});
    Ok(Some((router, Handles::new(authentication))))
}

/// Claims what no other process may have as well.
pub(super) fn claim_router(rundir: &RunDir, config: &RouterConfig) -> Result<(), StartError> {
    let what = format!("-i {} -v {}: this virtual router", config.interface, config.vrid);
    rundir.require(&config.name().file_stem(), &what)?;
    rundir.vacant(&config.name().file_stem())?;
    if config.vmac == VmacMode::Interface && !rundir.claim(&claim_of_mac(config))? {
        return Err(StartError::VmacTaken { interface: config.interface.clone(), holder: String::new() });
    }
    Ok(())
}

/// What is claimed for the MAC address of a router's interface.
pub(super) fn claim_of_mac(config: &Settings) -> String {
    format!("vmac_{}", config.interface)
}

/// Refuses a router whose advert is longer than its interface takes.
pub(super) fn check_length(router: &Router, link: &Link) -> Result<(), StartError> {
    let mtu = link.mtu();
    if router.advert_fits(mtu) {
        return Ok(());
    }
    Err(StartError::TooManyAddresses {
        router: router.config.name().to_string(),
        count: router.config.addresses.len(),
        octets: router.packet_len(),
        interface: link.name.clone(),
        mtu,
    })
}

/// Refuses a router whose peer is no other host.
pub(super) fn check_peers(config: &Settings, link: &Link) -> Result<(), StartError> {
    let misplaced = link.interface.as_ref().and_then(|interface| interface.misplaced_peer(config));
    misplaced.map_or(Ok(()), |peer| {
        Err(StartError::MisplacedPeer {
            router: config.name().to_string(),
            interface: link.name.clone(),
            peer,
        })
    })
}

/// The address that a router sends from, or all that keeps it from serving.
pub(super) fn usable(router: &Router, link: &Link) -> Result<IpAddr, Faults> {
    router.policy.usable(usable_interface(router, link))
}

fn usable_interface(router: &Router, link: &Link) -> Result<IpAddr, Faults> {
    let interface = link.interface.as_ref().ok_or(Fault::InterfaceRemoved)?;
    let usable = interface.usable(&router.config);
    if router.sending.is_pausing() || !router.advert_fits(interface.mtu) {
        let unsendable = Fault::AdvertUnsendable;
        return Err(usable.map_or_else(|faults| faults.and(unsendable), |_| unsendable.into()));
    }
    usable
}

/// Tells the interface what adverts of the router have to look like.
pub(super) fn expect(
    router: &Router,
    authentication: &Authentication,
    id: RouterId,
    link: &mut Link,
    source: Option<IpAddr>,
) {
    let config = &router.config;
    let expect = Expect {
        version: config.version,
        interval: config.interval,
        auth: authentication.in_message(),
        source,
        broadcast: source.and_then(|source| link.interface.as_ref()?.broadcast(source)),
        min_ttl: MIN_TTL,
        accept_interval_mismatch: config.accept_interval_mismatch,
        accept_no_addresses: config.addresses.is_empty(),
        address_list: config.require_equal_addresses.then(|| config.digest()),
    };
    link.table.set(config.family, config.vrid, id, expect);
    link.table.set_destination(config.family, config.vrid, &config.destination);
    if let Some(source) = source {
        link.set_source(id, config, source);
    }
}

/// What the journal says of these routers.
pub(super) fn journal_text(engine: &Engine, links: &Slots<LinkId, Link>) -> String {
    let interface = |router: &Router| links.get(router.link)?.interface.as_ref();
    let records = engine.routers().values().flat_map(|router| router.records(interface(router)));
    records.collect::<Journal>().to_string()
}

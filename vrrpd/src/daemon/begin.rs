//! How a router begins, at the start of the daemon or when a new configuration brings it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tracing::warn;
use vrrpd_common::classify::Expect;
use vrrpd_common::router::Event;
use vrrpd_engine::ledger::Journal;
use vrrpd_engine::link::Link;
use vrrpd_engine::router::Router;
use vrrpd_engine::{Engine, LinkId, RouterId, Slots};

use super::handles::Handles;
use super::link::LinkIo;
use super::start_error::StartError;
use super::{Daemon, adopt, log};
use crate::ah::SecurityAssociation;
use crate::clock;
use crate::config::{Authentication, RouterConfig, Settings, VmacMode};
use crate::interface::Interface;
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

/// Makes a router on its interface; it waits for its start. `None` without an interface of its name.
pub(super) fn make_router(
    config: RouterConfig,
    engine: &Engine,
    links: &mut Slots<LinkId, LinkIo>,
    journal: &Journal,
) -> Result<Option<(Router, Handles)>, StartError> {
    let Some(link_id) = engine.link_named(&config.interface) else { return Ok(None) };
    let (Some(there), Some(link)) = (engine.link(link_id), links.get_mut(link_id)) else { return Ok(None) };
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
    check_length(&router, there)?;
    check_peers(&router.config, there)?;
    if let Some(interface) = &there.interface {
        let line = router.meet(interface);
        log::write(&router, line);
    }
    adopt::addresses(&mut router, there, engine.marks(), journal);
    adopt::vmac(&mut router, there, journal)?;
    let usable = router.usable(there.interface.as_ref());
    let expected = expected(&router, &authentication, there.interface.as_ref(), usable.ok());
    let (family, vrid) = (router.config.family, router.config.vrid);
    set(&router.config, engine.routers().next_id(), (link, there.interface.as_ref()), expected);
    let of_family = router.config.held_addresses().filter(|address| address.family() == family);
    let addresses = of_family.map(|address| address.address);
    link.table.set_virtual_addresses(family, vrid, addresses);
    if let Some(key) = authentication.key() {
        link.table.associate(family, vrid, SecurityAssociation::new(key));
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

/// What adverts of the router have to look like that sends from this address.
pub(super) fn expected(
    router: &Router,
    authentication: &Authentication,
    interface: Option<&Interface>,
    source: Option<IpAddr>,
) -> Expect {
    let config = &router.config;
    Expect {
        version: config.version,
        interval: config.interval,
        auth: authentication.in_message(),
        source,
        broadcast: source.and_then(|source| interface?.broadcast(source)),
        min_ttl: MIN_TTL,
        accept_interval_mismatch: config.accept_interval_mismatch,
        accept_no_addresses: config.addresses.is_empty(),
        address_list: config.require_equal_addresses.then(|| config.digest()),
    }
}

/// Tells the interface what adverts of the router have to look like, and where its own go.
fn set(
    config: &Settings,
    id: RouterId,
    (link, interface): (&mut LinkIo, Option<&Interface>),
    expected: Expect,
) {
    let source = expected.source;
    link.table.set(config.family, config.vrid, id, expected);
    link.table.set_destination(config.family, config.vrid, &config.destination);
    if let Some(source) = source {
        link.set_source(id, config, interface, source);
    }
}

impl Daemon {
    /// Tells the interface what adverts of the router have to look like, which sends from this address.
    pub(super) fn expect(&mut self, id: RouterId, source: Option<IpAddr>) {
        let (Some(router), Some(handles)) = (self.engine.router(id), self.handles.get(id)) else { return };
        let interface = self.engine.interface(router.link);
        let expected = expected(router, &handles.authentication, interface, source);
        if let Some(link) = self.links.get_mut(router.link) {
            set(&router.config, id, (link, interface), expected);
        }
    }
}

/// What the journal says of the routers.
pub(super) fn journal_text(engine: &Engine) -> String {
    let records = engine.routers().values().flat_map(|router| router.records(engine.interface(router.link)));
    records.collect::<Journal>().to_string()
}

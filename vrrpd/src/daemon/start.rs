//! Everything that can fail before the daemon takes part in an election, so that the command the user typed can say so.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;
use std::path::Path;

use nix::errno::Errno;
use thiserror::Error;
use tokio::sync::{broadcast, mpsc};
use tracing::warn;
use vrrpd_common::classify::Expect;
use vrrpd_common::router::{Action, Event, Fault};
use vrrpd_common::{Duration, Family};

use super::instance::Instance;
use super::link::{Link, LinkId};
use super::{Daemon, LONGEST_FRAME};
use crate::clock::{self, Alarm};
use crate::config::{RouterConfig, VirtualAddress, Xdp};
use crate::control::server;
use crate::datapath::RouterId;
use crate::datapath::readiness::Readiness;
use crate::interface::service::{Operation, Request, Service, Ticket};
use crate::journal::Journal;
use crate::rundir::{RunDir, RunDirError};
use crate::script::Runner;
use crate::signals::Signals;
use crate::supervisor::Supervisor;
use crate::sys::memory;
use crate::sys::packet::PacketSocket;

/// How long the start may take while the kernel has no memory at hand.
const START: Duration = Duration::from_secs(10);
/// Requests of clients that wait.
const COMMANDS: usize = 16;
/// Transitions that a client may be late in reading.
const EVENTS: usize = 256;
/// What a Backup takes: 255 on the link (RFC 9568 §5.1.1.3).
const MIN_TTL: u8 = 255;

/// Where the routers come from; it decides how the files are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// One router from the command line.
    CommandLine,
    /// Any number from a file.
    File,
}

impl Source {
    /// An interface as the user named it.
    fn naming(self, interface: &str) -> String {
        match self {
            Self::CommandLine => format!("-i {interface}"),
            Self::File => format!("interface = {interface:?}"),
        }
    }
}

/// Why the daemon cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Sockets and addresses are root's.
    #[error("must run as root, or with CAP_NET_ADMIN and CAP_NET_RAW")]
    NotPermitted,
    /// The directory or a name in it is not to be had.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// There is no such interface.
    #[error("{0}: there is no such interface")]
    NoInterface(String),
    /// An advert is not divided.
    #[error(
        "{router}: an advert with {count} addresses is {octets} octets long, and {interface} takes {mtu}; use fewer \
         addresses in each of several routers"
    )]
    TooManyAddresses {
        /// The router.
        router: String,
        /// Its addresses.
        count: usize,
        /// Octets of the IP packet.
        octets: usize,
        /// The interface.
        interface: String,
        /// What it takes.
        mtu: u32,
    },
    /// VRRP is defined for Ethernet here.
    #[error("{0}: is no Ethernet interface; Ethernet, VLAN, bond, bridge or veth is wanted")]
    NotEthernet(String),
    /// Two routers on an interface want different data paths.
    #[error("--xdp, --xdp-pass: the routers on {0} differ; an interface has one data path")]
    DatapathsDiffer(String),
    /// The data path that was asked for is not to be had.
    #[error("{flag}: not possible: {reason}")]
    NoDatapath {
        /// The option.
        flag: &'static str,
        /// Why.
        reason: String,
    },
    /// A system call failed.
    #[error("{what}: {error}")]
    System {
        /// What it was for.
        what: String,
        /// With this error.
        error: io::Error,
    },
}

impl Daemon {
    /// Opens all that is needed. The daemon is not heard of on the network before [`Daemon::run`].
    pub fn start(configs: Vec<RouterConfig>, source: Source, dir: Option<&Path>) -> Result<Self, StartError> {
        let system = |what: &str| {
            let what = what.to_owned();
            move |error| StartError::System { what, error }
        };
        let signals = Signals::catch().map_err(system("signals"))?;
        check_privileges()?;
        let mut rundir = RunDir::open(dir)?;
        // Before anything is looked at that a daemon before us may be about to give back.
        let base = claim(&rundir, source, &configs)?;

        let names: BTreeSet<String> = configs.iter().map(|config| config.interface.clone()).collect();
        let (report_queue, reports) = mpsc::unbounded_channel();
        let (service, interfaces) =
            Service::start(names.iter().cloned().collect(), report_queue).map_err(system("netlink"))?;
        let mut links = Vec::with_capacity(names.len());
        for name in names {
            let interface = interfaces
                .iter()
                .find(|interface| interface.name == name)
                .ok_or_else(|| StartError::NoInterface(source.naming(&name)))?;
            if interface.mac.is_none() {
                return Err(StartError::NotEthernet(source.naming(&name)));
            }
            let (xdp, xdp_pass) = datapath_wanted(&configs, &name)?;
            let mut link = Link::new(name, xdp, xdp_pass);
            link.interface = Some(interface.clone());
            links.push(link);
        }

        let journal_file = format!("{base}.journal");
        let journal = Journal::read(&rundir.path().join(&journal_file));
        let mut routers = Vec::with_capacity(configs.len());
        for config in configs {
            let place = links.iter().position(|link| link.name == config.interface);
            let Some(link) = place.and_then(|place| links.get_mut(place)) else { continue };
            let id = RouterId(routers.len());
            let mut router = Instance::new(config, LinkId(place.unwrap_or_default()));
            check_length(&router, link)?;
            adopt_left_behind(&mut router, link, &journal);
            link.routers.push(id);
            let usable = usable(&router, link);
            expect(&router, id, link, usable.ok());
            let event = usable.map_or_else(Event::InterfaceDown, Event::InterfaceUp);
            let queue = &mut router.queue;
            router.machine.handle(clock::now(), event, &mut |action| queue.push_back(action));
            routers.push(router);
        }

        let readiness = Readiness::new().map_err(system("epoll"))?;
        for (place, link) in links.iter_mut().enumerate() {
            if let Some(interface) = link.interface.clone() {
                link.open(LinkId(place), &interface, &readiness, START)
                    .map_err(system(&format!("-i {}", link.name)))?;
                check_datapath(link)?;
                link.join();
            }
        }

        let (commands_in, commands) = mpsc::channel(COMMANDS);
        let (events, _) = broadcast::channel(EVENTS);
        remove_orphans(&routers, &links, &journal, &service);
        rundir.write(&journal_file, 0o600, &Journal::text(routers.iter().map(|router| &router.config)))?;
        publish(&mut rundir, source, &base, &routers)?;
        let socket = rundir.socket_path(&format!("{base}.sock"))?;
        server::start(&socket, server::Daemon { commands: commands_in, events: events.clone() })
            .map_err(system(&socket.display().to_string()))?;
        for router in &mut routers {
            if router.config.up.is_some() || router.config.down.is_some() {
                let name = router.config.name().to_string();
                let claim = rundir.later(&format!("{}.scripts", base_name(&router.config)))?;
                router.scripts = Some(Runner::start(name, router.config.script_timeout, claim));
            }
        }
        let supervisor = Supervisor::from_environment(clock::now()).map_err(system("NOTIFY_SOCKET"))?;
        memory::give_back();
        Ok(Self {
            routers,
            links,
            deadlines: BTreeSet::new(),
            alarm: Alarm::new().map_err(system("timerfd"))?,
            readiness,
            ready: Vec::new(),
            signals,
            service,
            reports,
            tickets: HashMap::new(),
            last_ticket: 0,
            commands,
            events,
            buffer: vec![0; LONGEST_FRAME],
            actions: Vec::new(),
            state_file: format!("{base}.state"),
            rundir,
            supervisor,
        })
    }
}

/// What the routers of an interface want of the kernel: one answer.
fn datapath_wanted(configs: &[RouterConfig], interface: &str) -> Result<(Xdp, bool), StartError> {
    let mut wanted = configs
        .iter()
        .filter(|config| config.interface == interface)
        .map(|config| (config.xdp, config.xdp_pass));
    let first = wanted.next().unwrap_or_default();
    if wanted.all(|other| other == first) {
        Ok(first)
    } else {
        Err(StartError::DatapathsDiffer(interface.to_owned()))
    }
}

/// A data path that was asked for by name has to be had.
fn check_datapath(link: &Link) -> Result<(), StartError> {
    match (link.xdp, link.datapath()) {
        (Xdp::Native, ("raw", reason)) => {
            Err(StartError::NoDatapath { flag: "--xdp=native", reason: reason.unwrap_or_default() })
        }
        (Xdp::Generic, ("raw", reason)) => {
            Err(StartError::NoDatapath { flag: "--xdp=generic", reason: reason.unwrap_or_default() })
        }
        (Xdp::Off | Xdp::Auto | Xdp::Native | Xdp::Generic, _) => Ok(()),
    }
}

/// One clear sentence instead of whatever would fail first.
fn check_privileges() -> Result<(), StartError> {
    match PacketSocket::probe() {
        Ok(()) => Ok(()),
        Err(error) if Errno::from_raw(error.raw_os_error().unwrap_or(0)) == Errno::EPERM => {
            Err(StartError::NotPermitted)
        }
        Err(error) => Err(StartError::System { what: "packet socket".to_owned(), error }),
    }
}

fn check_length(router: &Instance, link: &Link) -> Result<(), StartError> {
    let (octets, mtu) = (router.packet_len(), link.interface.as_ref().map_or(u32::MAX, |there| there.mtu));
    if u32::try_from(octets).is_ok_and(|octets| octets <= mtu) {
        return Ok(());
    }
    Err(StartError::TooManyAddresses {
        router: router.config.name().to_string(),
        count: router.config.addresses.len(),
        octets,
        interface: link.name.clone(),
        mtu,
    })
}

/// Claims every router, and returns what the files of this process are called.
fn claim(rundir: &RunDir, source: Source, configs: &[RouterConfig]) -> Result<String, StartError> {
    for config in configs {
        let what = format!("-i {} -v {}: this virtual router", config.interface, config.vrid);
        rundir.require(&base_name(config), &what)?;
    }
    match (source, configs) {
        (Source::CommandLine, [config, ..]) => Ok(base_name(config)),
        (Source::CommandLine, []) | (Source::File, _) => {
            let what = format!("{}: the directory", rundir.path().display());
            rundir.require("vrrpd", &what)?;
            Ok("vrrpd".to_owned())
        }
    }
}

/// What is on an interface before we have put it there was left by a daemon that could not clean up: it has our mark, or
/// stands in the journal.
fn adopt_left_behind(router: &mut Instance, link: &Link, journal: &Journal) {
    let Some(interface) = &link.interface else { return };
    let was_ours = |address: &VirtualAddress| {
        let there = interface.address(address.address).filter(|there| there.prefix_len == address.prefix_len);
        there.is_some_and(|there| there.ours || journal.on(&interface.name).any(|noted| noted == *address))
    };
    let left: Vec<_> = router.config.addresses.iter().filter(|address| was_ours(address)).copied().collect();
    if left.is_empty() {
        return;
    }
    for address in &left {
        warn!(router = %router.config.name(), %address, "removing an address that an earlier vrrpd left behind");
        router.set_held(address, true);
    }
    router.held_on = Some(interface.index);
    router.queue.push_back(Action::GiveUpAddresses);
}

/// Removes what an earlier daemon of our name left behind and no router of ours has any more.
fn remove_orphans(routers: &[Instance], links: &[Link], journal: &Journal, service: &Service) {
    for interface in links.iter().filter_map(|link| link.interface.as_ref()) {
        let served = |address: &VirtualAddress| {
            routers.iter().any(|router| {
                router.config.interface == interface.name && router.config.addresses.contains(address)
            })
        };
        let addresses: Vec<_> = journal
            .on(&interface.name)
            .filter(|address| !served(address))
            .filter(|address| {
                let there = interface.address(address.address);
                there.is_some_and(|there| there.prefix_len == address.prefix_len)
            })
            .collect();
        for address in &addresses {
            warn!(interface = interface.name, %address, "removing an address that an earlier vrrpd left behind");
        }
        if !addresses.is_empty() {
            // Nobody waits for the answer: no router has this ticket.
            let (ticket, index, operation) = (Ticket(0), interface.index, Operation::Remove);
            service.request(Request { ticket, index, operation, addresses });
        }
    }
}

/// What the files of a router are called.
fn base_name(config: &RouterConfig) -> String {
    let suffix = match config.family {
        Family::Ipv4 => "",
        Family::Ipv6 => "_ipv6",
    };
    format!("vrrpd_{}_{}{suffix}", config.interface, config.vrid)
}

/// Writes the pid files.
fn publish(rundir: &mut RunDir, source: Source, base: &str, routers: &[Instance]) -> Result<(), StartError> {
    let pid = format!("{}\n", std::process::id());
    if let (Source::CommandLine, Some(router)) = (source, routers.first()) {
        let short = format!("vrrpd_{}", router.config.interface);
        // The first process on an interface has the short name, which Vrrpd's users know.
        if rundir.claim(&short)? {
            rundir.write(&format!("{short}.pid"), 0o644, &pid)?;
        }
    }
    Ok(rundir.write(&format!("{base}.pid"), 0o644, &pid)?)
}

/// The address that a router sends from, or why its interface cannot be used.
pub(super) fn usable(router: &Instance, link: &Link) -> Result<IpAddr, Fault> {
    let virtual_addresses: Vec<IpAddr> =
        router.config.addresses.iter().map(|address| address.address).collect();
    link.interface.as_ref().map_or(Err(Fault::InterfaceRemoved), |interface| {
        interface.usable(router.config.family, &virtual_addresses)
    })
}

/// Tells the interface what adverts of the router have to look like.
pub(super) fn expect(router: &Instance, id: RouterId, link: &mut Link, source: Option<IpAddr>) {
    let config = &router.config;
    let expect = Expect {
        version: config.version,
        interval: config.interval,
        auth: config.auth,
        source,
        min_ttl: MIN_TTL,
        accept_interval_mismatch: config.accept_interval_mismatch,
        address_list: config.require_equal_addresses.then(|| config.digest()),
    };
    link.table.set(config.family, config.vrid, id, expect);
}

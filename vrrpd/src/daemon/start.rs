//! Everything that can fail before the daemon takes part in an election, so that the command the user typed can say so.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;
use std::path::Path;

use nix::errno::Errno;
use thiserror::Error;
use tokio::sync::{broadcast, mpsc};
use tracing::warn;
use vrrpd_common::Family;
use vrrpd_common::classify::Expect;
use vrrpd_common::router::{Action, Event, Fault};

use super::instance::Instance;
use super::link::{Link, LinkId};
use super::{Daemon, LONGEST_FRAME};
use crate::clock::{self, Alarm};
use crate::config::RouterConfig;
use crate::control::server;
use crate::datapath::RouterId;
use crate::datapath::readiness::Readiness;
use crate::interface::service::Service;
use crate::rundir::{Claim, RunDir, RunDirError};
use crate::script::{self, Runner, ScriptError};
use crate::signals::Signals;
use crate::sys::packet::PacketSocket;

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

/// Why the daemon cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Sockets and addresses are root's.
    #[error("must run as root, or with CAP_NET_ADMIN and CAP_NET_RAW")]
    NotPermitted,
    /// A script cannot be run, or should not.
    #[error("{option} {error}")]
    Script {
        /// `-U`, `-D`
        option: &'static str,
        /// Why.
        error: ScriptError,
    },
    /// The directory or a name in it is not to be had.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// There is no such interface.
    #[error("-i {0}: there is no such interface")]
    NoInterface(String),
    /// VRRP is defined for Ethernet here.
    #[error("-i {0}: is no Ethernet interface; Ethernet, VLAN, bond, bridge or veth is wanted")]
    NotEthernet(String),
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
        for config in &configs {
            for (option, script) in [("-U", &config.up), ("-D", &config.down)] {
                if let Some(path) = script {
                    script::check(path).map_err(|error| StartError::Script { option, error })?;
                }
            }
        }
        let mut rundir = RunDir::open(dir)?;

        let names: BTreeSet<String> = configs.iter().map(|config| config.interface.clone()).collect();
        let (report_queue, reports) = mpsc::unbounded_channel();
        let (service, interfaces) =
            Service::start(names.iter().cloned().collect(), report_queue).map_err(system("netlink"))?;
        let mut links = Vec::with_capacity(names.len());
        for name in names {
            let interface = interfaces
                .iter()
                .find(|interface| interface.name == name)
                .ok_or_else(|| StartError::NoInterface(name.clone()))?;
            if interface.mac.is_none() {
                return Err(StartError::NotEthernet(name));
            }
            let mut link = Link::new(name);
            link.interface = Some(interface.clone());
            links.push(link);
        }

        let mut routers = Vec::with_capacity(configs.len());
        for config in configs {
            let place = links.iter().position(|link| link.name == config.interface);
            let Some(link) = place.and_then(|place| links.get_mut(place)) else { continue };
            let id = RouterId(routers.len());
            let mut router = Instance::new(config, LinkId(place.unwrap_or_default()));
            claim(&rundir, &router.config, link)?;
            adopt_left_behind(&mut router, link);
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
            if let Some(index) = link.interface.as_ref().map(|interface| interface.index) {
                link.open(LinkId(place), index, &readiness).map_err(system(&format!("-i {}", link.name)))?;
                link.join();
            }
        }

        let (commands_in, commands) = mpsc::channel(COMMANDS);
        let (events, _) = broadcast::channel(EVENTS);
        let base = publish(&mut rundir, source, &routers, &links)?;
        let socket = rundir.socket_path(&format!("{base}.sock"))?;
        server::start(&socket, server::Daemon { commands: commands_in, events: events.clone() })
            .map_err(system(&socket.display().to_string()))?;
        for router in &mut routers {
            if router.config.up.is_some() || router.config.down.is_some() {
                let name = router.config.name().to_string();
                router.scripts = Some(Runner::start(name, router.config.script_timeout));
            }
        }
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
        })
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

fn claim(rundir: &RunDir, config: &RouterConfig, link: &Link) -> Result<(), StartError> {
    let index = link.interface.as_ref().map_or(0, |interface| interface.index);
    let claim = Claim::Router(index, config.family, config.vrid);
    let what = format!("-i {} -v {}: this virtual router", config.interface, config.vrid);
    Ok(rundir.require(claim, &what, &format!("{}.pid", base_name(config)))?)
}

/// An address with our mark that is there before we have put it there was left by a daemon that could not clean up.
fn adopt_left_behind(router: &mut Instance, link: &Link) {
    let left: Vec<_> = router
        .config
        .addresses
        .iter()
        .filter(|address| {
            let there = link.interface.as_ref().and_then(|interface| interface.address(address.address));
            there.is_some_and(|there| there.ours && there.prefix_len == address.prefix_len)
        })
        .copied()
        .collect();
    for address in &left {
        warn!(router = %router.config.name(), %address, "removing an address that an earlier vrrpd left behind");
        router.set_held(address, true);
    }
    if !left.is_empty() {
        router.queue.push_back(Action::GiveUpAddresses);
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

/// Writes the pid files; returns what the other files of this process are called.
fn publish(
    rundir: &mut RunDir,
    source: Source,
    routers: &[Instance],
    links: &[Link],
) -> Result<String, StartError> {
    let pid = format!("{}\n", std::process::id());
    match (source, routers.first()) {
        (Source::CommandLine, Some(router)) => {
            let base = base_name(&router.config);
            let index =
                links.get(router.link.0).and_then(|link| link.interface.as_ref()).map_or(0, |i| i.index);
            // The first process on an interface has the short name, which Vrrpd's users know.
            if rundir.claim(Claim::Interface(index))? {
                rundir.write(&format!("vrrpd_{}.pid", router.config.interface), 0o644, &pid)?;
            }
            rundir.write(&format!("{base}.pid"), 0o644, &pid)?;
            Ok(base)
        }
        (Source::CommandLine, None) | (Source::File, _) => {
            let what = format!("{}: its name vrrpd.pid", rundir.path().display());
            rundir.require(Claim::Process, &what, "vrrpd.pid")?;
            rundir.write("vrrpd.pid", 0o644, &pid)?;
            Ok("vrrpd".to_owned())
        }
    }
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

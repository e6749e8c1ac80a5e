//! Who is measured, and the routers that are given to each.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vrrpd_lab::{AdvertFrame, Datapath, Host, Instance, Keepalived, Usage, Vrrpd};

use super::record::Column;

/// VRIDs of an interface.
const PER_INTERFACE: usize = 255;

/// A program, with what it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Ours, adverts handled in the driver.
    Native,
    /// Ours without an option: adverts handled by a classifier.
    Tcx,
    /// Ours, with raw sockets.
    Raw,
    Keepalived,
}

impl Subject {
    pub(crate) const ALL: [Self; 4] = [Self::Native, Self::Tcx, Self::Raw, Self::Keepalived];

    /// Where its figures go.
    pub(crate) const fn column(self) -> Column {
        match self {
            Self::Native => Column::Native,
            Self::Tcx => Column::Tcx,
            Self::Raw => Column::Raw,
            Self::Keepalived => Column::Keepalived,
        }
    }

    /// Starts it; it is ready when this returns.
    pub(crate) fn start(self, host: &Host, routers: &Routers) -> Running {
        let vrrpd =
            |datapath| Running::Vrrpd(Vrrpd::on(host).config(&routers.toml()).datapath(datapath).start());
        match self {
            Self::Native => vrrpd(Datapath::Native),
            Self::Tcx => vrrpd(Datapath::Tcx),
            Self::Raw => vrrpd(Datapath::Raw),
            Self::Keepalived => {
                Running::Keepalived(Keepalived::on(host).instances(routers.instances()).start())
            }
        }
    }
}

/// One that runs.
#[derive(Debug)]
pub(crate) enum Running {
    Vrrpd(Vrrpd),
    Keepalived(Keepalived),
}

impl Running {
    pub(crate) fn usage(&self) -> Usage {
        match self {
            Self::Vrrpd(vrrpd) => vrrpd.usage(),
            Self::Keepalived(keepalived) => keepalived.usage(),
        }
    }

    /// How often a router of it became master.
    pub(crate) fn times_master(&self) -> usize {
        match self {
            Self::Vrrpd(vrrpd) => vrrpd.count_in_log("to=\"master\""),
            Self::Keepalived(keepalived) => keepalived.entered_by_all("MASTER"),
        }
    }

    /// Ends it from one moment to the next.
    pub(crate) fn kill(&self) {
        match self {
            Self::Vrrpd(vrrpd) => vrrpd.kill(),
            Self::Keepalived(keepalived) => keepalived.crash(),
        }
    }

    /// Asks it to leave.
    pub(crate) fn leave(&self) {
        match self {
            Self::Vrrpd(vrrpd) => drop(vrrpd.terminate()),
            Self::Keepalived(keepalived) => keepalived.leave(),
        }
    }
}

/// Who has the virtual MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vmac {
    Nobody,
    /// The interface, of which a virtual router then has one for itself. The daemon's default; keepalived has no such thing.
    Interface,
    /// A link above it; keepalived calls it `use_vmac`.
    Macvlan,
}

impl Vmac {
    pub(crate) const ALL: [Self; 3] = [Self::Nobody, Self::Interface, Self::Macvlan];

    /// The value of the key `vmac`.
    const fn key(self) -> &'static str {
        match self {
            Self::Nobody => "none",
            Self::Interface => "interface",
            Self::Macvlan => "macvlan",
        }
    }

    /// As part of a case's name.
    pub(crate) fn case(self) -> String {
        format!("vmac {}", self.key())
    }

    /// Who can do it.
    pub(crate) const fn subjects(self) -> &'static [Subject] {
        match self {
            Self::Nobody | Self::Macvlan => &Subject::ALL,
            Self::Interface => &[Subject::Native, Subject::Tcx, Subject::Raw],
        }
    }
}

/// Virtual routers of version 3 over IPv4, 255 on `eth0`, the next on `eth1`…
#[derive(Clone, Copy, Debug)]
pub(crate) struct Routers {
    pub(crate) count: usize,
    pub(crate) interval: Duration,
    pub(crate) priority: u8,
    /// Virtual addresses of each.
    pub(crate) addresses: u8,
    pub(crate) vmac: Vmac,
    /// `None`: by multicast.
    pub(crate) unicast: Option<Unicast>,
}

/// Two routers that advertise to each other alone, on `eth0`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unicast {
    /// The one that is measured.
    own: Ipv4Addr,
    own_mac: [u8; 6],
    peer: Ipv4Addr,
}

impl Unicast {
    /// Between these machines. The first one knows the MAC address of the other: nobody answers for one whose link is down.
    pub(crate) fn between(host: &Host, peer: &Host) -> Self {
        let mac = peer.mac("eth0").map(|octet| format!("{octet:02x}")).join(":");
        host.ip(&format!("neigh replace {} lladdr {mac} dev eth0 nud permanent", peer.ipv4()));
        Self { own: host.ipv4(), own_mac: host.mac("eth0"), peer: peer.ipv4() }
    }
}

impl Routers {
    /// As backup, with an address each, and without virtual MAC addresses.
    pub(crate) const fn new(count: usize, interval: Duration) -> Self {
        Self { count, interval, priority: 100, addresses: 1, vmac: Vmac::Nobody, unicast: None }
    }

    /// The interfaces that they are on.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = usize> + use<> {
        0..self.count.div_ceil(PER_INTERFACE)
    }

    /// The VRIDs on an interface.
    pub(crate) fn vrids(&self, interface: usize) -> impl Iterator<Item = u8> + use<> {
        let rest = self.count.saturating_sub(interface * PER_INTERFACE);
        (1..=u8::MAX).take(rest)
    }

    /// The virtual addresses of a router. None is in a network of the laboratory.
    pub(crate) fn addresses(self, interface: usize, vrid: u8) -> impl Iterator<Item = Ipv4Addr> {
        let network = u8::try_from(100 + interface).unwrap_or(u8::MAX);
        (0..self.addresses).map(move |address| Ipv4Addr::new(10, network, address, vrid))
    }

    /// Adverts of masters with a higher priority, sent from the machine's address on this interface.
    pub(crate) fn masters(&self, from: &Host, interface: usize) -> Vec<Vec<u8>> {
        self.adverts(from, interface, 150)
    }

    /// Adverts of this priority.
    pub(crate) fn adverts(&self, from: &Host, interface: usize, priority: u8) -> Vec<Vec<u8>> {
        let source = from.ipv4_of(&name(interface)).into();
        let frame = |vrid| {
            let addresses: Vec<_> = self.addresses(interface, vrid).map(IpAddr::V4).collect();
            let mut frame = AdvertFrame::v3(source, vrid, priority, self.interval, &addresses);
            if let Some(unicast) = self.unicast {
                frame.destination = Some(unicast.own.into());
                frame.destination_mac = Some(unicast.own_mac);
            }
            frame.build()
        };
        self.vrids(interface).map(frame).collect()
    }

    fn all(self) -> impl Iterator<Item = (usize, u8)> {
        self.interfaces().flat_map(move |interface| self.vrids(interface).map(move |vrid| (interface, vrid)))
    }

    /// The configuration file of vrrpd.
    pub(crate) fn toml(&self) -> String {
        let mut text = format!(
            "[defaults]\nprotocol = \"v3\"\ninterval = \"{}ms\"\npriority = {}\nvmac = \"{}\"\n",
            self.interval.as_millis(),
            self.priority,
            self.vmac.key()
        );
        if let Some(unicast) = self.unicast {
            let _ = writeln!(text, "peers = [\"{}\"]", unicast.peer);
        }
        for (interface, vrid) in self.all() {
            let addresses: Vec<_> =
                self.addresses(interface, vrid).map(|address| format!("\"{address}/32\"")).collect();
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "[[router]]\ninterface = \"{}\"\nvrid = {vrid}\naddresses = [{}]",
                name(interface),
                addresses.join(", ")
            );
        }
        text
    }

    fn instances(&self) -> impl Iterator<Item = Instance> {
        let routers = *self;
        self.all().map(move |(interface, vrid)| {
            let mut addresses = routers.addresses(interface, vrid).map(|address| format!("{address}/32"));
            let first = addresses.next().unwrap_or_default();
            let instance = Instance::v3(vrid, &first, routers.interval).on(&name(interface));
            let instance = if routers.vmac == Vmac::Macvlan { instance.vmac() } else { instance };
            let instance = match routers.unicast {
                Some(unicast) => instance.unicast(unicast.own.into(), &[unicast.peer.into()]),
                None => instance,
            };
            addresses
                .fold(instance.priority(routers.priority), |instance, address| instance.address(&address))
        })
    }
}

/// The name of an interface.
pub(crate) fn name(interface: usize) -> String {
    format!("eth{interface}")
}

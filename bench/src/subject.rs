//! The measured programs and their routers.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vrrpd_lab::{AdvertFrame, Datapath, Host, Instance, Keepalived, Usage, Vrrpd};

use super::record::Column;

/// Maximum number of VRIDs on an interface.
const PER_INTERFACE: usize = 255;

/// A program with its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// vrrpd with native XDP.
    Native,
    /// vrrpd with default options: adverts handled by a classifier.
    Tcx,
    /// vrrpd with raw sockets.
    Raw,
    Keepalived,
}

impl Subject {
    pub(crate) const ALL: [Self; 4] = [Self::Native, Self::Tcx, Self::Raw, Self::Keepalived];

    /// The column of its figures.
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

/// A running program.
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

    /// How often its routers became master.
    pub(crate) fn times_master(&self) -> usize {
        match self {
            Self::Vrrpd(vrrpd) => vrrpd.count_in_log("to=\"master\""),
            Self::Keepalived(keepalived) => keepalived.entered_by_all("MASTER"),
        }
    }

    /// Kills it.
    pub(crate) fn kill(&self) {
        match self {
            Self::Vrrpd(vrrpd) => vrrpd.kill(),
            Self::Keepalived(keepalived) => keepalived.crash(),
        }
    }

    /// Terminates it.
    pub(crate) fn leave(&self) {
        match self {
            Self::Vrrpd(vrrpd) => drop(vrrpd.terminate()),
            Self::Keepalived(keepalived) => keepalived.leave(),
        }
    }
}

/// Where the virtual MAC address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vmac {
    Nobody,
    /// On the interface, with only one virtual router there.
    Interface,
    /// On a macvlan link; `use_vmac` in keepalived.
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

    /// The programs that support it.
    pub(crate) const fn subjects(self) -> &'static [Subject] {
        match self {
            Self::Nobody | Self::Macvlan => &Subject::ALL,
            Self::Interface => &[Subject::Native, Subject::Tcx, Subject::Raw],
        }
    }
}

/// Virtual routers of version 3 over IPv4, 255 on `eth0`, the next on `eth1`, and so on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Routers {
    pub(crate) count: usize,
    pub(crate) interval: Duration,
    pub(crate) priority: u8,
    /// Number of virtual addresses of each.
    pub(crate) addresses: u8,
    pub(crate) vmac: Vmac,
    /// `None`: multicast.
    pub(crate) unicast: Option<Unicast>,
}

/// Two unicast peers on `eth0`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unicast {
    /// The measured one.
    own: Ipv4Addr,
    own_mac: [u8; 6],
    peer: Ipv4Addr,
}

impl Unicast {
    /// Between these machines. The first one has a static neighbour entry for the other, which does not answer while
    /// its link is down.
    pub(crate) fn between(host: &Host, peer: &Host) -> Self {
        let mac = peer.mac("eth0").map(|octet| format!("{octet:02x}")).join(":");
        host.ip(&format!("neigh replace {} lladdr {mac} dev eth0 nud permanent", peer.ipv4()));
        Self { own: host.ipv4(), own_mac: host.mac("eth0"), peer: peer.ipv4() }
    }
}

impl Routers {
    /// As backups, with one address each, and without virtual MAC addresses.
    pub(crate) const fn new(count: usize, interval: Duration) -> Self {
        Self { count, interval, priority: 100, addresses: 1, vmac: Vmac::Nobody, unicast: None }
    }

    /// Their interfaces.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = usize> + use<> {
        0..self.count.div_ceil(PER_INTERFACE)
    }

    /// The VRIDs on an interface.
    pub(crate) fn vrids(&self, interface: usize) -> impl Iterator<Item = u8> + use<> {
        let rest = self.count.saturating_sub(interface * PER_INTERFACE);
        (1..=u8::MAX).take(rest)
    }

    /// The virtual addresses of a router. They are in no network of the laboratory.
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

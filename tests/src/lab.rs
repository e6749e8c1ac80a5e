//! Machines and their networks.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, path::Path};

use crate::{Finished, Namespace, needs, wait_for, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);

/// Networks, each a bridge, with machines.
///
/// [`Lab::new`] creates the first network, to which [`Lab::host`] adds machines; [`Lab::add_network`], [`Lab::join`],
/// [`Host::add_vlan`], [`Lab::add_bond`] and [`Host::add_bridge`] create machines with several interfaces.
#[derive(Debug)]
pub struct Lab {
    /// The namespace of the bridges.
    switch: Namespace,
    networks: usize,
}

/// A machine: a namespace with an interface `eth0`, and `eth1` and so on for further networks.
#[derive(Clone, Debug)]
pub struct Host(Arc<Namespace>);

impl Lab {
    /// A laboratory with one network.
    pub fn new() -> Self {
        let mut lab = Self { switch: Namespace::new("switch"), networks: 0 };
        lab.add_network();
        lab
    }

    /// Adds a network and returns its number; the first one is 0.
    pub fn add_network(&mut self) -> usize {
        let number = self.networks;
        self.networks += 1;
        self.switch
            .ip(&format!("link add lan{number} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"));
        self.switch.ip(&format!("link set lan{number} up"));
        number
    }

    /// A machine whose `eth0` is on the first network, with this address (`10.0.0.1/24`) and a link-local IPv6 address.
    /// The name has at most ten characters.
    pub fn host(&self, name: &str, address: &str) -> Host {
        self.host_on(0, name, address)
    }

    /// The same on another network.
    pub fn host_on(&self, network: usize, name: &str, address: &str) -> Host {
        let namespace = Namespace::new(name);
        // Duplicate address detection would keep link-local addresses unusable for a second.
        namespace.sysctl("ipv6/conf/default/accept_dad", "0");
        namespace.sysctl("ipv6/conf/all/accept_dad", "0");
        let host = Host(Arc::new(namespace));
        self.join(&host, network, "eth0", address);
        host
    }

    /// Machines `a`, `b`, `c` and so on, with the addresses 10.0.0.1/24, 10.0.0.2/24, 10.0.0.3/24 and so on.
    pub fn hosts<const N: usize>(&self) -> [Host; N] {
        std::array::from_fn(|index| {
            let letter = char::from(b'a' + u8::try_from(index).expect("few hosts"));
            self.host(&letter.to_string(), &format!("10.0.0.{}/24", index + 1))
        })
    }

    /// Adds an interface on a network to a machine.
    pub fn join(&self, host: &Host, network: usize, interface: &str, address: &str) {
        self.plug(host, network, interface);
        host.set_up(interface, address);
    }

    /// The same, isolated: machines added this way do not receive each other's frames.
    pub fn join_apart(&self, host: &Host, network: usize, interface: &str, address: &str) {
        self.plug(host, network, interface);
        self.switch.ip(&format!("link set {} type bridge_slave isolated on", port(host, interface)));
        host.set_up(interface, address);
    }

    /// Makes `eth0` and a second interface on the same network slaves of `bond0`, with one active. `bond0` gets the
    /// address instead of `eth0`.
    pub fn add_bond(&self, host: &Host, address: &str) {
        self.add_bond_with(host, address, "none");
    }

    /// The same with `fail_over_mac` set to `none`, `active` or `follow`.
    pub fn add_bond_with(&self, host: &Host, address: &str, fail_over_mac: &str) {
        let options = format!("mode active-backup miimon 10 fail_over_mac {fail_over_mac}");
        host.ip(&format!("link add bond0 type bond {options}"));
        self.plug(host, 0, "eth1");
        host.ip("addr flush dev eth0");
        for slave in ["eth0", "eth1"] {
            // Only an interface that is down can be enslaved; the bond sets it up.
            host.ip(&format!("link set {slave} down"));
            host.ip(&format!("link set {slave} master bond0"));
        }
        host.set_up("bond0", address);
    }

    /// A veth pair from a network to a machine, whose interface is not up yet.
    fn plug(&self, host: &Host, network: usize, interface: &str) {
        let port = port(host, interface);
        self.switch.ip(&format!("link add {port} type veth peer name {interface} netns {}", host.0.path()));
        self.switch.ip(&format!("link set {port} master lan{network} up"));
    }

    /// Sets the link of a machine's `eth0` down: both ends lose the carrier.
    pub fn port_down(&self, host: &Host) {
        self.port_down_of(host, "eth0");
    }

    /// Sets the link up again.
    pub fn port_up(&self, host: &Host) {
        self.port_up_of(host, "eth0");
    }

    /// Sets the link of another interface down.
    pub fn port_down_of(&self, host: &Host, interface: &str) {
        self.switch.ip(&format!("link set {} down", port(host, interface)));
    }

    /// Sets it up again.
    pub fn port_up_of(&self, host: &Host, interface: &str) {
        self.switch.ip(&format!("link set {} up", port(host, interface)));
    }

    /// Blocks frames between these machines, while all others still receive them and no link goes down.
    pub fn split(&self, hosts: &[&Host]) {
        self.isolate(hosts, "on");
    }

    /// Ends [`Lab::split`].
    pub fn heal(&self, hosts: &[&Host]) {
        self.isolate(hosts, "off");
    }

    fn isolate(&self, hosts: &[&Host], isolated: &str) {
        for host in hosts {
            self.switch.ip(&format!("link set {} type bridge_slave isolated {isolated}", port(host, "eth0")));
        }
    }

    /// Delivers every frame of the first network to all its machines, like a hub.
    pub fn show_all_frames(&self) {
        self.switch.ip("link set lan0 type bridge ageing_time 0");
    }

    /// The namespace of the bridges.
    pub const fn switch(&self) -> &Namespace {
        &self.switch
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

/// The bridge's end of this interface's veth pair.
fn port(host: &Host, interface: &str) -> String {
    format!("{}.{interface}", host.name())
}

impl Host {
    /// A machine of no laboratory: its `eth0` is this network card of the machine that runs the tests, to which it returns
    /// at the end.
    pub fn with_card(name: &str, card: &str, address: &str) -> Self {
        let namespace = Namespace::new(name);
        namespace.sysctl("ipv6/conf/default/accept_dad", "0");
        namespace.sysctl("ipv6/conf/all/accept_dad", "0");
        let mut command = Command::new(needs::IP.require());
        command.args(["link", "set", card, "netns", &namespace.path(), "name", "eth0"]);
        let moved = command.status().expect("`ip` can be run");
        assert!(moved.success(), "{card} cannot be moved to another namespace");
        let host = Self(Arc::new(namespace));
        host.set_up("eth0", address);
        host
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.0
    }

    /// Runs `ip` on it; panics when it fails.
    pub fn ip(&self, arguments: &str) -> String {
        self.0.ip(arguments)
    }

    /// Runs a program on it until it ends.
    pub fn run<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<Path>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Finished {
        let mut command = Command::new(program.as_ref());
        command.args(arguments);
        self.0.run(command)
    }

    /// Adds the VLAN interface `PARENT.ID`, with an address and a link-local IPv6 address.
    pub fn add_vlan(&self, parent: &str, id: u16, address: &str) {
        let interface = format!("{parent}.{id}");
        self.ip(&format!("link add link {parent} name {interface} type vlan id {id}"));
        self.set_up(&interface, address);
    }

    /// Makes `eth0` the only port of the bridge `br0`, which gets the address instead.
    pub fn add_bridge(&self, address: &str) {
        self.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0");
        self.ip("addr flush dev eth0");
        self.ip("link set eth0 master br0");
        self.set_up("br0", address);
    }

    /// Adds the macvlan link `mv0` on `eth0`, which gets the address instead, as in container networks.
    pub fn add_macvlan(&self, mode: &str, address: &str) {
        self.ip("addr flush dev eth0");
        self.ip(&format!("link add link eth0 name mv0 type macvlan mode {mode}"));
        self.set_up("mv0", address);
    }

    /// Gives an interface an address, sets it up, and waits until it is usable.
    fn set_up(&self, interface: &str, address: &str) {
        self.ip(&format!("addr add {address} dev {interface}"));
        self.ip(&format!("link set {interface} up"));
        wait_until(PATIENCE, "the interface has a link and a link-local address", || {
            self.has_link(interface) && self.find_link_local(interface).is_some()
        });
    }

    /// The addresses of an interface with prefix length, as `ip` prints them.
    pub fn addresses(&self, interface: &str) -> Vec<String> {
        let shown = self.ip(&format!("-oneline addr show dev {interface}"));
        shown
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace().skip_while(|word| !word.starts_with("inet"));
                words.nth(1).map(str::to_owned)
            })
            .collect()
    }

    /// Whether an interface has this address with this prefix length (`10.0.0.100/24`).
    pub fn has_address(&self, interface: &str, address: &str) -> bool {
        self.addresses(interface).iter().any(|there| there == address)
    }

    /// The first IPv4 address of `eth0`.
    pub fn ipv4(&self) -> Ipv4Addr {
        self.ipv4_of("eth0")
    }

    /// The first IPv4 address of an interface.
    pub fn ipv4_of(&self, interface: &str) -> Ipv4Addr {
        let addresses = self.addresses(interface);
        let found = addresses.iter().find_map(|address| address.split('/').next()?.parse().ok());
        found.unwrap_or_else(|| panic!("{interface} has no IPv4 address"))
    }

    /// The link-local IPv6 address of an interface.
    pub fn link_local(&self, interface: &str) -> Ipv6Addr {
        wait_for(PATIENCE, "a link-local address", || self.find_link_local(interface))
    }

    /// The Ethernet address of an interface.
    pub fn mac(&self, interface: &str) -> [u8; 6] {
        let shown = self.ip(&format!("-oneline link show dev {interface}"));
        let mut words = shown.split_whitespace().skip_while(|word| *word != "link/ether");
        let mac = words.nth(1).expect("it is an Ethernet interface");
        let octets: Vec<u8> = mac.split(':').map(|octet| u8::from_str_radix(octet, 16).expect(mac)).collect();
        octets.try_into().expect("six octets")
    }

    /// Whether an interface is up and has a carrier.
    pub fn has_link(&self, interface: &str) -> bool {
        self.ip(&format!("-oneline link show dev {interface}")).contains("LOWER_UP")
    }

    /// ID of the XDP program on an interface.
    pub fn xdp_program(&self, interface: &str) -> Option<u32> {
        let shown = self.ip(&format!("-oneline link show dev {interface}"));
        let mut words = shown.split_whitespace().skip_while(|word| !word.starts_with("prog/xdp"));
        words.nth(2).and_then(|id| id.parse().ok())
    }

    /// The Ethernet address of this address in the neighbour cache, if it is there.
    pub fn neighbour(&self, address: IpAddr) -> Option<String> {
        let shown = self.ip(&format!("neigh show {address}"));
        let mut words = shown.split_whitespace().skip_while(|word| *word != "lladdr");
        words.nth(1).map(str::to_owned)
    }

    /// Whether an address answers a ping from here within a second.
    pub fn can_ping(&self, address: &str) -> bool {
        self.ping(&[address])
    }

    /// The same for a ping with this source address.
    pub fn can_ping_from(&self, source: &str, address: &str) -> bool {
        self.ping(&["-I", source, address])
    }

    fn ping(&self, arguments: &[&str]) -> bool {
        self.run(needs::PING.require(), [&["-q", "-c1", "-W1"], arguments].concat()).success()
    }

    /// A usable link-local address: one whose duplicate address detection has finished.
    fn find_link_local(&self, interface: &str) -> Option<Ipv6Addr> {
        const TENTATIVE: u8 = 0x40;
        let table = self.0.enter(|| fs::read_to_string("/proc/thread-self/net/if_inet6"));
        table.expect("IPv6 is there").lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [address, _index, _length, _scope, flags, name] = fields[..] else { return None };
            let address = Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
            let flags = u8::from_str_radix(flags, 16).ok()?;
            (name == interface && address.is_unicast_link_local() && flags & TENTATIVE == 0)
                .then_some(address)
        })
    }
}

//! A daemon that is Master on many interfaces is killed: time until its machine has resigned and stopped answering.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::{
    Capture, Datapath, Host, Lab, Monitor, Signal, Told, Vrrpd, index_of, is_alive, wait_for, wait_until,
};

/// Advertisement interval.
pub const INTERVAL: Duration = Duration::from_millis(200);
/// How long a daemon with 64 interfaces may take to start and to become Master.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long the machine may take.
const SOON: Duration = Duration::from_secs(20);

/// A machine with many interfaces, a router on each, and a client that receives all of them. The machine does not
/// receive its own frames.
#[derive(Debug)]
pub struct Doomed {
    host: Host,
    client: Host,
    interfaces: u8,
    datapath: Datapath,
    /// The value of the key `vmac`.
    vmac: &'static str,
    _lab: Lab,
}

/// Times from the kill to the last event of each kind.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    /// The first advert with priority 0.
    pub first_resigned: Duration,
    /// That of the last router.
    pub last_resigned: Duration,
    /// The last virtual address was removed.
    pub addresses_gone: Duration,
}

impl Doomed {
    /// Creates the machine.
    pub fn new(interfaces: u8, datapath: Datapath, vmac: &'static str) -> Self {
        let mut lab = Lab::new();
        let [host, client] = lab.hosts();
        let network = lab.add_network();
        lab.join(&client, network, "eth1", "10.255.0.2/24");
        for number in 1..=interfaces {
            lab.join_apart(&host, network, &interface(number), &format!("10.11.{number}.1/24"));
        }
        Self { host, client, interfaces, datapath, vmac, _lab: lab }
    }

    /// Starts the daemon, and kills it when all of its routers are Master.
    pub fn kill(&self) -> Death {
        let daemon = Vrrpd::on(&self.host).config(&self.config()).datapath(self.datapath);
        let daemon = daemon.ready_within(PATIENCE).start();
        wait_until(PATIENCE, "all are master", || {
            daemon.states().iter().all(|state| state["state"] == "master")
        });
        let guardian = daemon.guardian().expect("it has one");
        let capture = Capture::on_interface(&self.client, "eth1");
        // All announcements have been sent by then.
        wait_until(PATIENCE, "all advertise", || {
            let heard: BTreeSet<u8> = capture.adverts().iter().map(|(_, advert)| advert.vrid).collect();
            heard.len() == usize::from(self.interfaces)
        });
        let mut monitor = Monitor::on(&self.host);
        let killed = Instant::now();
        daemon.signal(Signal::SIGKILL);
        let gone =
            monitor.wait_all(SOON, (1..=self.interfaces).map(|number| Told::AddressGone(address(number))));
        let resigned = wait_for(SOON, "all resign", || {
            let mut resigned = BTreeMap::new();
            for (at, advert) in capture.adverts().into_iter().filter(|(_, advert)| advert.priority == 0) {
                resigned.entry(advert.vrid).or_insert(at);
            }
            (resigned.len() == usize::from(self.interfaces)).then_some(resigned)
        });
        wait_until(SOON, "the guardian has ended", || !is_alive(guardian));
        let since = |at: Option<&Instant>| at.expect("one at least").saturating_duration_since(killed);
        Death {
            first_resigned: since(resigned.values().min()),
            last_resigned: since(resigned.values().max()),
            addresses_gone: gone - killed,
        }
    }

    /// The machine.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The indexes of its interfaces.
    pub fn indices(&self) -> Vec<u32> {
        (1..=self.interfaces).map(|number| index_of(&self.host, &interface(number))).collect()
    }

    fn config(&self) -> String {
        let mut config = format!(
            "[defaults]\nprotocol = \"v3\"\ninterval = {:?}\nvmac = {:?}\npriority = 200\n",
            format!("{INTERVAL:?}"),
            self.vmac
        );
        for number in 1..=self.interfaces {
            let (interface, address) = (interface(number), address(number));
            write!(
                config,
                "[[router]]\ninterface = {interface:?}\nvrid = {number}\naddresses = [\"{address}/24\"]\n"
            )
            .expect("writing to a string works");
        }
        config
    }
}

fn interface(number: u8) -> String {
    format!("e{number}")
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 11, number, 100)
}

//! Two servers between two networks, each with a router on either side, as on the first page of Vrrpd's documentation;
//! a client on either side uses the virtual address as gateway.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::usual::{INTERVAL, SOON, TOLERANCE};
use crate::{
    Capture, Host, Injector, Lab, Vrrpd, VrrpdBuilder, atropos, stretched, timers, wait_for, wait_until,
};

/// Interface, VRID and virtual address of each side.
pub const SIDES: [(&str, u8, &str); 2] = [("eth0", 51, "10.0.0.100/24"), ("eth1", 52, "10.1.0.100/24")];

/// How the routers of a server are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One process each, with `-M 2`.
    Processes,
    /// One process with a `[[group]]`.
    File,
}

/// Both.
pub const KINDS: [Kind; 2] = [Kind::Processes, Kind::File];

/// Two networks, two servers between them, and a client on each side.
pub struct Site {
    /// The first network is side 0.
    pub lab: Lab,
    /// A server.
    pub a: Host,
    /// The other server.
    pub b: Host,
    /// A client on each side, with the interface `lan`.
    pub clients: [Host; 2],
}

/// A server's daemons.
pub struct Server {
    /// Its machine.
    pub host: Host,
    /// One for each side, or one for both.
    pub daemons: Vec<Vrrpd>,
}

impl Site {
    /// Without daemons.
    pub fn set_up() -> Self {
        let mut lab = Lab::new();
        let second = lab.add_network();
        let server = |name: &str, number: u8| {
            let host = lab.host(name, &format!("10.0.0.{number}/24"));
            lab.join(&host, second, "eth1", &format!("10.1.0.{number}/24"));
            host.namespace().sysctl("ipv4/ip_forward", "1");
            host
        };
        let client = |name: &str, side: usize| {
            let host = lab.host(name, "192.0.2.1/24");
            // A client has only one side.
            host.ip("link set eth0 down");
            lab.join(&host, side, "lan", &format!("10.{side}.0.9/24"));
            host.ip(&format!("route add 10.{}.0.0/24 via 10.{side}.0.100", 1 - side));
            host
        };
        let (a, b) = (server("a", 1), server("b", 2));
        let clients = [client("c", 0), client("d", 1)];
        Self { lab, a, b, clients }
    }

    /// A capture on each side.
    pub fn captures(&self) -> [Capture; 2] {
        self.clients.each_ref().map(|client| Capture::on_interface(client, "lan"))
    }
}

/// The router of a side, with `-M`.
pub fn member(host: &Host, side: usize, priority: u8, size: &str) -> VrrpdBuilder {
    let (interface, vrid, address) = SIDES[side];
    let router = Vrrpd::on(host).interface(interface).vrid(vrid).priority(priority).address(address);
    router.v3("100ms").args(["-M", size])
}

impl Server {
    /// Starts its routers with these priorities as a group.
    pub fn start(host: &Host, kind: Kind, priorities: [u8; 2]) -> Self {
        Self::start_with(host, kind, priorities, "none")
    }

    /// The same with a virtual MAC address.
    pub fn start_with(host: &Host, kind: Kind, priorities: [u8; 2], vmac: &str) -> Self {
        let daemons = match kind {
            Kind::Processes => {
                let first = member(host, 0, priorities[0], "2").vmac(vmac).start();
                let second = member(host, 1, priorities[1], "2").vmac(vmac).beside(&first).start();
                vec![first, second]
            }
            Kind::File => {
                let mut text =
                    format!("[defaults]\nprotocol = \"v3\"\ninterval = \"100ms\"\nvmac = \"{vmac}\"\n");
                for ((interface, vrid, address), priority) in SIDES.into_iter().zip(priorities) {
                    writeln!(
                        text,
                        "[[router]]\ninterface = \"{interface}\"\nvrid = {vrid}\naddresses = [\"{address}\"]\n\
                         priority = {priority}"
                    )
                    .expect("writing to a string works");
                }
                text += "[[group]]\nname = \"edge\"\nmembers = [\"eth0/51\", \"eth1/52\"]\n";
                vec![Vrrpd::on(host).config(&text).start()]
            }
        };
        Self { host: host.clone(), daemons }
    }

    /// The states of its routers, from daemons that answer.
    pub fn states(&self) -> Vec<Value> {
        self.states_of(&[])
    }

    /// The states of the selected routers.
    pub fn states_of(&self, selector: &[&str]) -> Vec<Value> {
        let arguments = [&["--state", "--json"], selector].concat();
        let answer = atropos(&self.host, &self.daemons[0].directory(), &arguments);
        let states = serde_json::from_str::<Value>(&answer.stdout).ok();
        states.and_then(|states| states.as_array().cloned()).unwrap_or_default()
    }

    /// The state of the router of a side.
    pub fn state(&self, side: usize) -> Value {
        let vrid = SIDES[side].1.to_string();
        self.states_of(&["-v", &vrid]).into_iter().next().unwrap_or_default()
    }

    /// The group's `lacking` in the state of the router of a side.
    pub fn lacking(&self, side: usize) -> String {
        self.state(side)["group"]["lacking"].as_str().unwrap_or_default().to_owned()
    }

    /// Whether it has the address of a side.
    pub fn has(&self, side: usize) -> bool {
        let (interface, vrid, address) = SIDES[side];
        // A macvlan link is named after family and VRID.
        let links = [interface.to_owned(), format!("vrrp4.{vrid}")];
        let shown = self.host.ip("-oneline addr show");
        let there = |line: &str| {
            let mut words = line.split_whitespace().map(|word| word.split('@').next().unwrap_or_default());
            let link = words.nth(1).unwrap_or_default().to_owned();
            links.contains(&link) && line.contains(&format!(" {address} "))
        };
        shown.lines().any(there)
    }

    /// Whether both routers are in this state, and have their addresses only as Master.
    pub fn is_all(&self, state: &str) -> bool {
        let states = self.states();
        let addresses = [self.has(0), self.has(1)];
        states.len() == 2
            && states.iter().all(|router| router["state"] == state)
            && addresses.iter().all(|has| *has == (state == "master"))
    }

    /// Waits for that.
    pub fn wait_all(&self, state: &str) {
        let what = format!("both routers on {} become {state}", self.host.name());
        let start = Instant::now();
        while !self.is_all(state) {
            assert!(start.elapsed() < stretched(SOON), "waited in vain: {what}\n{:#?}", self.states());
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Number of transitions of both routers.
    pub fn transitions(&self) -> u64 {
        self.states().iter().filter_map(|state| state["counters"]["transitions"].as_u64()).sum()
    }

    /// Number of adverts that both routers have sent.
    pub fn adverts_sent(&self) -> u64 {
        self.states().iter().filter_map(|state| state["counters"]["adverts_sent"].as_u64()).sum()
    }
}

/// Asserts that one of two servers is Master of both sides, and stays so for twenty adverts.
pub fn assert_steady(master: &Server, backup: &Server) {
    master.wait_all("master");
    backup.wait_all("backup");
    let transitions = || [master.transitions(), backup.transitions()];
    let (before, sent) = (transitions(), master.adverts_sent());
    wait_until(SOON, "the master advertises", || master.adverts_sent() >= sent + 2 * 20);
    assert_eq!(transitions(), before, "nothing flaps");
    assert!(master.is_all("master") && backup.is_all("backup"));
}

/// Time of the first advert with this priority after `since`.
pub fn first_advert(capture: &Capture, since: Instant, priority: u8) -> Instant {
    wait_for(SOON, &format!("an advert of priority {priority}"), || {
        let adverts = capture.adverts();
        adverts.into_iter().find(|(at, advert)| *at >= since && advert.priority == priority).map(|(at, _)| at)
    })
}

/// Asserts that a server whose router on one side is gone resigns on the other side.
pub fn assert_resigns(server: &Server, side: usize, capture: &Capture) {
    let (interface, vrid, _) = SIDES[side];
    let source = server.host.ipv4_of(interface);
    capture.wait_advert(SOON, "the one that is left resigns", |advert| {
        (advert.vrid, advert.priority, advert.source) == (vrid, 0, source.into())
    });
}

/// Sends a frame repeatedly during `work`.
pub fn repeatedly<T>(injector: &Injector, frame: &[u8], every: Duration, work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let (done, stop) = channel::<()>();
        scope.spawn(move || {
            while stop.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                injector.send(frame);
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// Maximum time from a silent failure of the master until the other router is master.
pub fn failover() -> Duration {
    timers::master_down_interval(INTERVAL, 100) + stretched(TOLERANCE)
}

/// A TCP connection from one side to the other, through the current master.
pub struct Connection {
    near: TcpStream,
    far: TcpStream,
}

impl Connection {
    /// From the client on side 0 to the one on side 1.
    pub fn open([c, d]: &[Host; 2]) -> Self {
        let listener = d.namespace().enter(|| TcpListener::bind((Ipv4Addr::new(10, 1, 0, 9), 7000)));
        let listener = listener.expect("the port is free");
        let near = c.namespace().enter(|| TcpStream::connect((Ipv4Addr::new(10, 1, 0, 9), 7000)));
        let near = near.expect("both servers forward");
        Self { near, far: listener.accept().expect("it was connected to").0 }
    }

    /// Sends a word and checks its echo.
    pub fn ask(&mut self, word: [u8; 4]) {
        let mut answer = [0; 4];
        self.near.write_all(&word).expect("it is open");
        self.far.read_exact(&mut answer).expect("what was sent arrives");
        self.far.write_all(&answer).expect("it is open");
        self.near.read_exact(&mut answer).expect("it comes back");
        assert_eq!(answer, word);
    }
}

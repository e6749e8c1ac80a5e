//! Input from a user: a configuration file; a command line, if it begins with `vrrpd `; or the configuration of another
//! daemon to import, if it begins with `#import `.
//!
//! * An error names a line of the file, and contains no password.
//! * A valid configuration can be executed: each router has addresses of one family and an advert that fits them, the
//!   state machine starts, and the journal is parsed as it was written.
//! * The result of an import is TOML, and each remark names a line of the original.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use clap::Parser as _;
use vrrpd::cli::Cli;
use vrrpd::config::file::{self, FileError};
use vrrpd::config::{self, Configuration, Destination, RouterConfig, VirtualAddress};
use vrrpd::import::{self, Format, ImportError, Surroundings};
use vrrpd_common::router::{Event, StateName, VirtualRouter};
use vrrpd_common::wire::frame::{AdvertFrame, NOT_ROUTED, advert_frame_len, emit_advert, parse_advert};
use vrrpd_common::wire::vrrp::{Addresses, Kind, VrrpRepr};
use vrrpd_common::{Family, Instant, MacAddr, Version};
use vrrpd_engine::interface::OtherInterfaces;
use vrrpd_engine::ledger::{Journal, Ledger, Record};

/// Prefix of a command line.
const COMMAND_LINE: &str = "vrrpd ";
/// The path of the file. Paths in it are looked at, but never opened for writing.
const PATH: &str = "/nonexistent/vrrpd.toml";

/// A password in some of the seeds.
const SECRET: &str = "k7Qz9x";
/// Prefix of a configuration of another daemon.
const ORIGINAL: &str = "#import ";

/// Checks these properties.
pub fn check(octets: &[u8]) {
    match str::from_utf8(octets) {
        Ok(line) if line.starts_with(COMMAND_LINE) => command_line(line),
        Ok(text) if text.starts_with(ORIGINAL) => import(text),
        Ok(_) | Err(_) => file(octets),
    }
}

fn file(octets: &[u8]) {
    match file::from_octets(octets, Path::new(PATH)) {
        Ok(configuration) => accepted(&configuration),
        Err(error @ FileError::Wrong(_)) => {
            let lines = error.lines();
            assert!(!lines.is_empty());
            for line in &lines {
                names_its_place(octets, line);
            }
            for shown in [error.shown(false), error.shown(true), lines] {
                keeps_the_secret(octets, &shown.concat());
            }
        }
        Err(error @ (FileError::Untrusted(_) | FileError::Unread(_))) => {
            panic!("it was not to be read: {error}")
        }
    }
}

/// A mistake starts with its position; after many mistakes their number follows.
fn names_its_place(octets: &[u8], mistake: &str) {
    assert!(!mistake.contains(char::is_control), "{mistake:?}");
    let rest = mistake.strip_prefix(PATH).and_then(|rest| rest.strip_prefix(':'));
    let rest = rest.unwrap_or_else(|| panic!("names the file: {mistake:?}"));
    if rest.ends_with(" more mistakes") {
        return;
    }
    let mut parts = rest.splitn(3, ':');
    let mut number = || parts.next()?.parse().ok();
    let (Some(line), Some(column)) = (number(), number()) else { panic!("names a line: {mistake:?}") };
    assert!(parts.next().is_some_and(|message| !message.trim().is_empty()), "{mistake:?}");
    is_in_the_file(octets, line, column);
}

/// A password of the file occurs in no message, unless the file contains the text elsewhere, too.
fn keeps_the_secret(octets: &[u8], told: &str) {
    let text = String::from_utf8_lossy(octets);
    let is_password = |(at, _): (usize, &str)| text[..at].ends_with("pw/");
    if text.match_indices(SECRET).all(is_password) {
        assert!(!told.contains(SECRET), "{told}");
    }
}

/// Line and column, from 1; an error at the end of a line or of the file is after its last character.
fn is_in_the_file(octets: &[u8], line: usize, column: usize) {
    let text = String::from_utf8_lossy(octets);
    let found = line.checked_sub(1).and_then(|number| text.split('\n').nth(number));
    let found = found.unwrap_or_else(|| panic!("there is no line {line}"));
    assert!((1..=found.chars().count() + 1).contains(&column), "line {line} has no column {column}");
}

fn command_line(line: &str) {
    let Ok(cli) = Cli::try_parse_from(line.split_ascii_whitespace()) else { return };
    let _ = cli.router_option();
    let _ = cli.group_size();
    let Ok(options) = cli.router() else { return };
    let words = options.track.clone();
    match options.resolve() {
        Ok(mut router) => {
            let _ = config::refused_scripts(&router);
            let Ok((track, checks)) = config::track::on_command_line(&words) else { return };
            router.track = track;
            accepted(&Configuration { routers: vec![router], groups: Vec::new(), checks });
        }
        Err(errors) => assert!(!errors.is_empty()),
    }
}

/// A machine with one file.
struct OneFile<'a>(&'a str);

impl Surroundings for OneFile<'_> {
    fn read(&self, path: &Path) -> io::Result<String> {
        if path == Path::new(PATH) { Ok(self.0.to_owned()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn matching(&self, _: &str) -> Vec<PathBuf> {
        vec![PATH.into()]
    }

    fn absolute(&self, directory: &Path) -> PathBuf {
        Path::new("/").join(directory)
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    fn config_id(&self) -> &'static str {
        "here"
    }
}

fn import(text: &str) {
    let lines = text.lines().count();
    for format in [None, Some(Format::Keepalived), Some(Format::Vrrpd), Some(Format::Vrrpd115)] {
        match import::import(Path::new(PATH), format, &OneFile(text)) {
            Ok(imported) => {
                let rendered = import::render(&imported);
                assert!(toml::from_str::<toml::Table>(&rendered).is_ok(), "{rendered}");
                file(rendered.as_bytes());
                for remark in imported.remarks {
                    assert!((1..=lines).contains(&remark.place.line), "{remark}");
                }
            }
            Err(ImportError::Wrong { place, message }) => {
                assert!((1..=lines).contains(&place.line), "{place}: {message}");
            }
            Err(ImportError::Unreadable { .. } | ImportError::Unknown { .. }) => {}
        }
    }
}

fn accepted(configuration: &Configuration) {
    assert!(!configuration.routers.is_empty());
    for router in &configuration.routers {
        assert!(router.can_become(router));
        says_its_addresses(router);
        starts(router);
    }
    let names: Vec<_> = configuration.routers.iter().map(|router| router.name().to_string()).collect();
    for tracked in configuration.routers.iter().flat_map(|router| &router.track) {
        assert!(configuration.checks.iter().any(|check| check.name == tracked.name), "{tracked:?}");
    }
    for group in &configuration.groups {
        assert!(group.members.iter().all(|member| names.contains(member)), "{group:?}");
    }
    journal_reads_back(&configuration.routers);
}

/// The advert of this router can be emitted, and parsed by others.
fn says_its_addresses(router: &RouterConfig) {
    let kind = match router.version {
        Version::V2 => Kind::V2 { auth: router.authentication.in_message() },
        Version::V3 => Kind::V3,
    };
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for address in &router.addresses {
        match address.address {
            IpAddr::V4(address) => v4.push(address),
            IpAddr::V6(address) => v6.push(address),
        }
    }
    let (addresses, source) = match router.family {
        Family::Ipv4 => (Addresses::ipv4(&v4), IpAddr::from(Ipv4Addr::new(192, 0, 2, 1))),
        Family::Ipv6 => (Addresses::ipv6(&v6), IpAddr::from(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1))),
    };
    let addresses = addresses.expect("addresses that can be advertised");
    assert_eq!(usize::from(addresses.count()), router.addresses.len(), "addresses of one family");
    let advert = VrrpRepr::new(router.vrid, router.priority, router.interval, kind, addresses);
    let advert = advert.expect("an advert that can be sent");
    let frame = AdvertFrame {
        source_mac: MacAddr([2; 6]),
        source,
        destination: match &router.destination {
            Destination::Group(group) => *group,
            Destination::Peers { peers, .. } => peers.first().expect("there is one").address,
        },
        ttl: NOT_ROUTED,
        checksum: router.checksum,
        advert,
    };
    let mut octets = vec![0xa5; advert_frame_len(&advert)];
    assert_eq!(emit_advert(&frame, &mut octets), Some(octets.len()));
    assert_eq!(parse_advert(&octets), Some((source, advert)));
}

/// The state machine starts, and is Master when no advert was heard and its script has ended, unless it has to wait for
/// its group.
fn starts(router: &RouterConfig) {
    let source = match router.family {
        Family::Ipv4 => IpAddr::from(Ipv4Addr::LOCALHOST),
        Family::Ipv6 => IpAddr::from(Ipv6Addr::LOCALHOST),
    };
    let mut machine = VirtualRouter::new(router.machine());
    let mut now = Instant::from_nanos(1);
    for event in [Event::InterfaceUp(source), Event::Startup] {
        machine.handle(now, event, &mut |_| ());
    }
    // Master_Down_Timer, and the start delay.
    for _ in 0..2 {
        if machine.state().name() == StateName::Master {
            break;
        }
        if let Some(deadline) = machine.deadline() {
            assert!(deadline > now);
            now = deadline;
            machine.handle(now, Event::Timer, &mut |_| ());
        }
        machine.handle(now, Event::Prepared, &mut |_| ());
    }
    let expected = if router.grouped { StateName::Backup } else { StateName::Master };
    assert_eq!(machine.state().name(), expected);
}

fn journal_reads_back(routers: &[RouterConfig]) {
    let mac = MacAddr([2, 0, 0, 0, 0, 9]);
    let records = routers.iter().flat_map(|router| {
        Record::of(router, &Ledger::default(), |_| false, None, &OtherInterfaces::new(), Some(mac))
    });
    let written = records.collect::<Journal>();
    let journal = Journal::parse(&written.to_string());
    assert_eq!(journal, written);
    for router in routers {
        let is_noted = |address: &VirtualAddress| {
            journal.addresses_on(router.interface_of(address.address)).any(|on| on == *address)
        };
        assert!(router.held_addresses().all(is_noted));
        assert_eq!(journal.own_mac(&router.interface), Some(mac));
    }
}

/// The example, files with each key, and command lines.
pub fn seeds() -> Vec<Vec<u8>> {
    const ROUTER: &str = "[[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"10.0.0.1/24\"]\n";
    let keys = [
        "priority = 255",
        "preempt = false\npreempt-below = 50",
        "preempt-delay = \"10s\"\nstart-delay = 30.5",
        "preempt = false\ntrack-interface = false\naccept = false",
        "protocol = \"v3\"\ninterval = \"10ms\"",
        "protocol = \"v3\"\ninterval = 0.25\nv3-checksum = \"message\"",
        "auth = \"pw/k7Qz9x\"",
        "auth = \"pw/k7Qz9x\" \"\npriority = 1000\nauht = \"pw/k7Qz9x-is-too-long\"",
        "auth = \"ah/0x736563726574\"",
        "vmac = \"macvlan\"\nvmac-name = \"vrrp.51\"\nvmac-fallback = \"refuse\"",
        "lower-priority = 5\nraise-priority = 200",
        "prepare = \"/bin/true\"\nprepare-timeout = \"1s\"\nup = \"/bin/true\"\ndown = \"notify.sh\"\nscript-timeout = \"5s\"",
        "name = \"VI_1\"\nfault = [\"/bin/echo\", \"a b\"]\nstop = [\"/bin/true\"]\nfifo = \"fifo\"\nnotify = []\nscript-user = \"nobody:0\"",
        "script-style = \"keepalived\"\nnotify = [\"/bin/true\", 1]",
        "garp-count = 3\ngarp-delay = 1\ngarp-interval = \"1m\"\ngarp-elsewhere-interval = 9\ngarp-refresh-count = 1\ngarp-lower-count = 0\ngarp-lower-delay = 0",
        "garp-pause = \"1ms\"\nna-pause = 0.5\ndown-multiplier = 100",
        "accept-interval-mismatch = true\nrequire-equal-addresses = true",
        "magic-source = \"10.0.0.1\"\nmagic-destination = \"10.0.0.254\"",
        "extra-addresses = [\"2001:db8::9/64\", { address = \"10.0.0.9/24\", label = \"eth0:x\", scope = 200 }]",
        "extra-addresses = [{ address = \"2001:db8::9/64\", interface = \"eth1\" }, \"10.0.0.9/24 dev eth0\"]",
        "routes = [\"192.0.2.0/24 via 10.0.0.9 metric 5\", \"blackhole 2001:db8::/32\"]\nrules = [\"not from 10.0.0.1 fwmark 1/2 table 7\"]",
        "xdp = \"auto\"\nxdp-pass = true",
        "datapath = \"tcx\"",
        "track = [\"process=haproxy,weight=-20\", { name = \"uplink\", weight = 300 }, \"http=http://[::1]:80/a?b\"]",
        "track = [\"a\"]\n[[track]]\nname = \"a\"\ncommand = [\"sh\", \"-c\", \"true\"]\ntimeout = \"1ns\"\nrise = 2",
        "track = [\"route=10.0.0.0/8\", \"tcp=[::1]:443\", \"ping=::1\", \"file=/run/weight\", \"command=sh 'x\"]",
        "[[track]]\nname = \"a\"\nprocess = \"x\"\nquorum = 0\nquorum-max = 2\ninitially = \"failing\"\ninverted = true",
        "no_such_key = 1",
    ];
    let files = keys.map(|key| format!("{ROUTER}{key}\n"));
    let originals = [
        include_str!("../../vrrpd/src/import/golden/left-out/original"),
        include_str!("../../vrrpd/src/import/golden/scripts/original"),
        include_str!("../../vrrpd/src/import/golden/strict-and-version-3/original"),
        include_str!("../../vrrpd/src/import/golden/tracking/original"),
        include_str!("../../vrrpd/src/import/golden/two-instances/original"),
        include_str!("../../vrrpd/src/import/golden/variables/original"),
        "include /etc/*.conf\nvrrp_instance A {\n  interface eth0\n  virtual_router_id 5\n}\n",
        "vrrpd -i eth0 -v 51 -D 10.0.0.1/24 -n\n",
    ];
    let originals = originals.map(|text| format!("{ORIGINAL}\n{text}"));
    let others = [
        include_str!("../../docs/examples/vrrpd.toml").to_owned(),
        format!("[defaults]\npriority = 90\n{ROUTER}{ROUTER}"),
        "[[router]]\ninterface = \"eth0\"\nvrid = 5\naddresses = [\"fe80::1\", \"2001:db8::1/64\"]\n"
            .to_owned(),
        "[[router]]\ninterface = \"eth0\"\nvrid = 5\nfamily = \"ipv4\"\n".to_owned(),
        format!(
            "{ROUTER}{}[[group]]\nname = \"edge\"\nmembers = [\"eth0/51\", \"eth1/52\"]\n",
            ROUTER.replace("eth0", "eth1").replace("51", "52").replace("10.0", "10.1")
        ),
        "vrrpd -i eth0 10.16.1.200 -v 51 --track process=x,weight=-1 --track interface=eth2".to_owned(),
        format!(
            "[defaults]\nmin-ttl = 254\nttl = 64\n{ROUTER}source = \"10.0.0.2\"\n\
             peers = [\"10.0.0.3\", {{ address = \"10.0.0.4\", min-ttl = 0 }}]\n"
        ),
        format!("{ROUTER}multicast-group = \"239.1.2.3\"\n"),
        "vrrpd -i eth0 10.16.1.200 -v 51 -n --peer 10.16.1.3 --peer=10.16.1.4,min-ttl=250 --ttl 9".to_owned(),
        "vrrpd -i eth0 10.16.1.200 -v 51 -n -U /etc/scripts/MASTER.sh 10.16.1.201/24".to_owned(),
        "vrrpd 10.16.1.200 -sn -v51 -ieth0 -M 2 -d 250ms --protocol v3".to_owned(),
        "vrrpd --config FILE --check -f /run/vrrpd --log-level debug --log-format json --foreground"
            .to_owned(),
        "vrrpd -i eth0 -v 1 fe80::1 -p 255 -a pw/x -z 5 -x 7 -I 10.0.0.1 -O 10.0.0.2 --xdp native".to_owned(),
    ];
    files.into_iter().chain(originals).chain(others).map(String::into_bytes).collect()
}

#[cfg(test)]
mod tests {
    use vrrpd::config::Key;

    #[test]
    fn every_option_of_a_router_is_in_a_seed() {
        let seeds = super::seeds().concat();
        let seeds = String::from_utf8_lossy(&seeds);
        for key in Key::names() {
            assert!(seeds.contains(&format!("{key} = ")), "{key}");
        }
    }
}

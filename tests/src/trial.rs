//! Compares three classifications of each frame: the BPF program, `vrrpd_common` on the host, and the oracle.
//!
//! [`Trial::new`] passes frames to the program in test runs, [`Trial::on_a_card`] to the classifier on an interface.
//! [`Trial::frame`] panics with the frame and the results when they differ on the verdict, the counters, or the record
//! of the router. [`Trial::settle`] compares every record and every event.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::net::IpAddr;

use vrrpd_common::abi::{
    ABI_VERSION, EventKind, KernelAdvert, KernelCommand, KernelConfig, KernelCounters, KernelEvent,
    KernelReject, RouterRecord, octets, slot,
};
use vrrpd_common::classify::{AddressUse, Classified, Delivery, Expect, RouterKey, Routers};
use vrrpd_common::{Family, Instant, MacAddr, Reject, Vrid, classify};

use crate::corpus::{OLD_MAC, OWN_MAC};
use crate::oracle::{self, Judgement, Router, Watch};
use crate::program::{
    Hook, INTERFACE, Program, Ring, Verdict, config_of, counter, digest, is_destination, now, slot_of, use_of,
};
use crate::tap::Tap;

/// Accepted destination MAC addresses.
pub const MACS: [[u8; 6]; 2] = [OWN_MAC, OLD_MAC];
/// Far enough in the future that nothing expires.
const FAR: u64 = 3_600_000_000_000;
/// Number of bits of the VLAN's number in a tag; the others are its priority.
const VLAN_BITS: u32 = 12;
/// Number of frames after which the ring buffer is drained; it has room for all their events, including expiries.
const FRAMES_IN_RING: u32 = 256;

/// How frames reach the program.
#[derive(Debug)]
enum Entrance {
    /// As its input.
    TestRun(Hook),
    /// Through a card and the kernel, as packets.
    Card(Tap),
}

/// The program with virtual routers, and the expected content of its maps.
pub struct Trial {
    entrance: Entrance,
    /// Accepted destination MAC addresses at this hook.
    macs: Vec<[u8; 6]>,
    program: Program,
    ring: Ring,
    routers: Vec<Router>,
    configs: Vec<KernelConfig>,
    /// Expected by the oracle.
    watches: Vec<Watch>,
    strays: BTreeMap<&'static str, u64>,
    /// Expected by `vrrpd_common`.
    records: Vec<RouterRecord>,
    rejects: KernelCounters,
    events: VecDeque<KernelEvent>,
    unsettled: u32,
    /// Number of events that agreed.
    events_seen: u64,
}

impl Trial {
    /// Loads the program and configures the routers.
    pub fn new(routers: Vec<Router>, hook: Hook) -> Self {
        let macs = match hook {
            Hook::Xdp => MACS.to_vec(),
            // Packets of a test run come to `lo`: the kernel says of those to its MAC address that they are for us.
            Hook::Tcx => [&MACS[..], &[[0; 6]]].concat(),
        };
        Self::with(routers, Entrance::TestRun(hook), macs, Program::load_for(hook))
    }

    /// Attaches the classifier to a card, and configures the routers.
    pub fn on_a_card(routers: Vec<Router>) -> Self {
        let tap = Tap::new(OWN_MAC);
        let loaded = Program::load_on(&tap);
        Self::with(routers, Entrance::Card(tap), MACS.to_vec(), loaded)
    }

    fn with(
        routers: Vec<Router>,
        entrance: Entrance,
        macs: Vec<[u8; 6]>,
        (mut program, ring): (Program, Ring),
    ) -> Self {
        program.set_stations(MACS);
        for router in &routers {
            program.set_addresses(router);
        }
        let interface = match &entrance {
            Entrance::TestRun(_) => INTERFACE,
            Entrance::Card(tap) => tap.index(),
        };
        let mut trial = Self {
            entrance,
            macs,
            program,
            ring,
            configs: (1..).zip(&routers).map(|(generation, router)| config_of(router, generation)).collect(),
            watches: Vec::new(),
            strays: BTreeMap::new(),
            records: Vec::new(),
            rejects: KernelCounters::default(),
            events: VecDeque::new(),
            unsettled: 0,
            events_seen: 0,
            routers,
        };
        let deadline = now() + FAR;
        for (router, config) in trial.routers.iter().zip(&trial.configs) {
            let command = KernelCommand {
                abi: ABI_VERSION,
                slot: slot_of(router),
                deadline,
                master_interval: router.centis,
                config: *config,
                ..KernelCommand::default()
            };
            trial.program.obey(command);
            let mut record = RouterRecord::default();
            record.obey(&KernelCommand { interface, ..command });
            trial.records.push(record);
            trial.watches.push(Watch::new(router, deadline));
        }
        trial.settle();
        trial
    }

    /// Number of expected events that arrived.
    pub fn events_seen(&self) -> u64 {
        self.events_seen
    }

    /// Passes the frame to all three; returns its classification.
    #[track_caller]
    pub fn frame(&mut self, frame: &[u8]) -> Judgement {
        self.frame_in_pieces(frame, &[])
    }

    /// The same; the card receives it in pieces, of which all but the first begin at these places.
    #[track_caller]
    pub fn frame_in_pieces(&mut self, frame: &[u8], pieces: &[usize]) -> Judgement {
        let seen = match &self.entrance {
            // The kernel has removed the outer tag of a packet, so a remaining tag is that of a VLAN.
            Entrance::TestRun(Hook::Tcx) if is_tagged(frame) => Cow::default(),
            Entrance::TestRun(Hook::Tcx | Hook::Xdp) => Cow::Borrowed(frame),
            Entrance::Card(_) => of_the_port(frame),
        };
        self.frame_seen_as(frame, pieces, &seen)
    }

    /// Passes a frame of which the program sees the beginning only.
    #[track_caller]
    pub fn frame_seen_to(&mut self, frame: &[u8], end: usize) -> Judgement {
        self.frame_seen_as(frame, &[], &frame[..end])
    }

    /// Passes the kernel a frame, and the other two what the program can see of it.
    #[track_caller]
    fn frame_seen_as(&mut self, frame: &[u8], pieces: &[usize], seen: &[u8]) -> Judgement {
        let Self { macs, routers, configs, .. } = self;
        let judgement = oracle::judge(seen, macs, routers);
        let classified = classify(seen, &Configured { routers, configs, macs });
        let before = now();
        let verdict = match &self.entrance {
            Entrance::TestRun(_) => self.program.run(frame),
            Entrance::Card(tap) => verdict_behind(tap, frame, pieces),
        };
        let after = now();
        let differ = |what: &str, opinions: String| -> ! {
            panic!(
                "{what} differ\n{opinions}\nkernel: {verdict:?}\nhost: {classified:?}\noracle: {judgement:?}\n\
                 frame of {} octets, pieces from {pieces:?}: {}",
                frame.len(),
                hex(frame)
            )
        };
        let on_host = match classified {
            Classified::NotVrrp | Classified::NotOurs { .. } | Classified::Reject { router: None, .. } => {
                None
            }
            Classified::Reject { router: Some((key, _)), .. } | Classified::Advert { router: key, .. } => {
                Some(self.place_of(key))
            }
        };
        let by_oracle = match judgement {
            Judgement::NotVrrp | Judgement::Stray(_) => None,
            Judgement::Discard(place, _) | Judgement::Accept(place, _) => Some(place),
        };
        let consumes = matches!(self.entrance, Entrance::TestRun(Hook::Xdp));
        let verdict_for = |place: Option<usize>| match place {
            Some(place) if consumes && !self.routers[place].passes_on => Verdict::Drop,
            _ => Verdict::Pass,
        };
        if verdict != verdict_for(on_host) || verdict != verdict_for(by_oracle) {
            differ("verdicts", String::new());
        }

        let seen = by_oracle.map(|place| self.program.record(slot_of(&self.routers[place])));
        match classified {
            Classified::NotVrrp => {}
            Classified::NotOurs { .. } => self.rejects[Reject::NotOurs as usize] += 1,
            Classified::Reject { rejection, router: None } => self.rejects[rejection.reject as usize] += 1,
            Classified::Reject { rejection, router: Some((key, source)) } => {
                let place = self.place_of(key);
                self.records[place].rejected[rejection.reject as usize] += 1;
                if rejection.reject.is_mismatch() {
                    let at = seen.map_or(0, |record| record.refused.at);
                    if at < before || at > after {
                        differ("times", format!("{before} <= {at} <= {after} does not hold"));
                    }
                    self.records[place].refused =
                        KernelReject::new(&rejection, source, Instant::from_nanos(at));
                }
            }
            Classified::Advert { router: key, ref advert } => {
                let place = self.place_of(key);
                let at = seen.map_or(0, |record| record.heard.at);
                if at < before || at > after {
                    differ("times", format!("{before} <= {at} <= {after} does not hold"));
                }
                let heard = KernelAdvert::new(advert, Instant::from_nanos(at));
                let record = &mut self.records[place];
                if record.take(&self.configs[place], key.family, heard).report {
                    let (at, place) = (Instant::from_nanos(at), slot_of(&self.routers[place]));
                    self.events.push_back(KernelEvent::new(EventKind::Advert, place, at));
                }
            }
        }
        match judgement {
            Judgement::NotVrrp => {}
            Judgement::Stray(reason) => *self.strays.entry(reason).or_default() += 1,
            Judgement::Discard(place, reason) => self.watches[place].discard(reason),
            Judgement::Accept(place, ref advert) => {
                let at = seen.map_or(0, |record| record.heard.at);
                let reported = self.watches[place].accept(&self.routers[place], advert.clone(), at);
                let last = self.events.back().map(|event| (event.at, event.place));
                if reported != (last == Some((at, slot_of(&self.routers[place])))) {
                    differ("reports", format!("oracle: {reported}; host: last event {last:?}"));
                }
            }
        }

        let rejects = self.program.rejects();
        if rejects != self.rejects || !is_count(&rejects, &self.strays) {
            let (host, oracle) = (&self.rejects, &self.strays);
            differ("counters", format!("kernel: {rejects:?}\nhost: {host:?}\noracle: {oracle:?}"));
        }
        if let (Some(place), Some(seen)) = (by_oracle, seen) {
            self.compare(place, &seen).unwrap_or_else(|opinions| differ("records", opinions));
        }
        self.unsettled += 1;
        if self.unsettled >= FRAMES_IN_RING {
            self.settle();
        }
        judgement
    }

    /// Compares every record, and the events since the last time.
    #[track_caller]
    pub fn settle(&mut self) {
        self.unsettled = 0;
        for place in 0..self.routers.len() {
            let seen = self.program.record(slot_of(&self.routers[place]));
            assert_eq!(seen.events_lost, 0, "the ring has room");
            self.compare(place, &seen).unwrap_or_else(|opinions| panic!("records differ\n{opinions}"));
        }
        for event in self.ring.drain() {
            if event.kind == EventKind::Advert as u8 {
                assert_eq!(Some(event), self.events.pop_front(), "kernel's event and host's");
                self.events_seen += 1;
            }
        }
        assert_eq!(self.events.pop_front(), None, "an event of the host that the kernel did not report");
    }

    /// Compares a record with both expectations.
    fn compare(&self, place: usize, seen: &RouterRecord) -> Result<(), String> {
        let mut told = String::new();
        let (host, watch) = (&self.records[place], &self.watches[place]);
        if without_timer(seen) != without_timer(host) {
            let _ = writeln!(told, "kernel: {seen:#?}\nhost: {host:#?}");
        }
        let agree = is_heard(&seen.heard, watch.heard.as_ref())
            && is_heard(&seen.followed, watch.followed.as_ref())
            && is_heard(&seen.resigned, watch.resigned.as_ref())
            && seen.deadline == watch.deadline
            && seen.master_interval == watch.master_centis
            && seen.adverts == watch.adverts
            && seen.events_withheld == watch.withheld
            && seen.generation == self.configs[place].generation
            && seen.role == self.configs[place].role
            && is_count(&seen.rejected, &watch.rejected);
        if !agree {
            let _ = writeln!(told, "kernel: {seen:#?}\noracle: {watch:#?}");
        }
        if told.is_empty() { Ok(()) } else { Err(format!("{:?}\n{told}", self.routers[place])) }
    }

    fn place_of(&self, key: RouterKey) -> usize {
        let slot = slot(key.family, key.vrid);
        let found = self.routers.iter().position(|router| slot_of(router) == slot);
        found.expect("the host names a router that is there")
    }
}

/// The host's configuration of the routers, the same as the kernel's.
struct Configured<'a> {
    routers: &'a [Router],
    configs: &'a [KernelConfig],
    macs: &'a [[u8; 6]],
}

impl Configured<'_> {
    fn place(&self, router: RouterKey) -> Option<usize> {
        let slot = slot(router.family, router.vrid);
        self.routers.iter().position(|router| slot_of(router) == slot)
    }
}

impl Routers for Configured<'_> {
    fn expect(&self, vlan: u16, family: Family, vrid: Vrid) -> Option<Expect> {
        let place = self.place(RouterKey { vlan, family, vrid })?;
        self.configs[place].expect(family).filter(|_| self.configs[place].vlan == vlan)
    }

    fn use_of(&self, router: &RouterKey, address: IpAddr) -> AddressUse {
        self.place(*router).map(|place| use_of(&self.routers[place], address)).unwrap_or_default()
    }

    fn is_destination(&self, destination: IpAddr) -> bool {
        is_destination(self.routers, destination)
    }

    fn delivery(&self, router: &RouterKey, sender: AddressUse, destination: IpAddr) -> Delivery {
        let config = self.place(*router).map(|place| &self.configs[place]);
        config.map_or(Delivery::Elsewhere, |config| config.delivery(sender, destination))
    }

    fn receives(&self, destination: MacAddr) -> bool {
        self.macs.contains(&destination.0)
    }
}

/// The record without fields that the kernel's timer changes.
fn without_timer(record: &RouterRecord) -> RouterRecord {
    RouterRecord {
        sequence: 0,
        timer_at: 0,
        timer_runs: 0,
        expiries: 0,
        events: 0,
        ring_full_in_a_row: 0,
        ..*record
    }
}

fn is_tagged(frame: &[u8]) -> bool {
    matches!(frame.get(12..14), Some([0x81, 0x00] | [0x88, 0xa8]))
}

/// The frame without a tag that says its priority only, as the port itself receives it; nothing if it is of a VLAN. The kernel
/// drops one with fewer than two octets behind the tag.
fn of_the_port(frame: &[u8]) -> Cow<'_, [u8]> {
    if !is_tagged(frame) {
        return Cow::Borrowed(frame);
    }
    match frame.get(14..20) {
        Some([tag, low, ..]) if u16::from_be_bytes([*tag, *low]) % (1 << VLAN_BITS) == 0 => {
            let untagged = [&frame[..12], &frame[16..]].concat();
            if is_tagged(&untagged) { Cow::default() } else { Cow::Owned(untagged) }
        }
        Some(_) | None => Cow::default(),
    }
}

/// Has a card receive a frame; whether it comes past the classifier, as it was except for tags.
#[track_caller]
fn verdict_behind(tap: &Tap, frame: &[u8], pieces: &[usize]) -> Verdict {
    tap.receive(frame, pieces);
    match tap.passed() {
        Some(packet) => {
            let is_as_it_was = frame.starts_with(&packet[..12]) && frame.ends_with(&packet[12..]);
            assert!(is_as_it_was, "the program changes no frame: {} is {}", hex(frame), hex(&packet));
            Verdict::Pass
        }
        // Nobody looks for others.
        None if !is_ip(&of_the_port(frame)) => Verdict::Pass,
        None => Verdict::Drop,
    }
}

fn is_ip(frame: &[u8]) -> bool {
    matches!(frame.get(12..14), Some([0x08, 0x00] | [0x86, 0xdd]))
}

fn is_heard(heard: &KernelAdvert, expected: Option<&(u64, oracle::Advert)>) -> bool {
    let Some((at, advert)) = expected else { return *heard == KernelAdvert::default() };
    *heard
        == KernelAdvert {
            at: *at,
            addresses: digest(&advert.addresses),
            source: octets(advert.source),
            interval: advert.centis,
            priority: advert.priority,
            address_count: u8::try_from(advert.addresses.len()).expect("at most 255"),
            mac: advert.mac,
            reserved: [0; 6],
        }
}

fn is_count(counters: &KernelCounters, expected: &BTreeMap<&'static str, u64>) -> bool {
    counters.iter().sum::<u64>() == expected.values().sum::<u64>()
        && expected.iter().all(|(reason, count)| counter(counters, reason) == *count)
}

/// Octets in hexadecimal.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut digits, octet| {
        let _ = write!(digits, "{octet:02x}");
        digits
    })
}

//! A snapshot, serialized and deserialized, gives an engine that continues as the original one.

use proptest::collection::vec;
use proptest::prelude::*;
use vrrpd_common::{Reject, Rejection};

use super::*;
use crate::engine::{NotSent, Snapshot};
use crate::priority::TrackId;
use crate::track::{CheckConfig, CheckKind, Finding, ProcessName, Rules, Tracked};

/// An input for the router of a [`Bench`].
#[derive(Clone, Debug)]
pub(super) enum Happens {
    Timer,
    Advert { priority: u8, other_addresses: bool },
    StandBack,
    Resume,
    Step(Step),
    Link { admin_up: bool, carrier: bool, mtu: u32 },
    LinkGone,
    Answer { refused: bool },
    AddressLost,
    RoutingLost,
    Sent,
    NotSent,
    CannotSend,
    Rejected,
    Found(bool),
    StoodStill,
    Expire,
    Exchange(u8),
}

pub(super) fn happens() -> impl Strategy<Value = (u64, Happens)> {
    let what = prop_oneof![
        6 => Just(Happens::Timer),
        4 => (0..=255_u8, any::<bool>())
            .prop_map(|(priority, other_addresses)| Happens::Advert { priority, other_addresses }),
        1 => Just(Happens::StandBack),
        1 => Just(Happens::Resume),
        1 => any::<bool>().prop_map(|up| Happens::Step(if up { Step::Increase } else { Step::Reduce })),
        2 => (any::<bool>(), any::<bool>(), prop_oneof![Just(1500_u32), Just(30)])
            .prop_map(|(admin_up, carrier, mtu)| Happens::Link { admin_up, carrier, mtu }),
        1 => Just(Happens::LinkGone),
        4 => proptest::bool::weighted(0.2).prop_map(|refused| Happens::Answer { refused }),
        2 => Just(Happens::AddressLost),
        1 => Just(Happens::RoutingLost),
        2 => Just(Happens::Sent),
        1 => Just(Happens::NotSent),
        1 => Just(Happens::CannotSend),
        1 => Just(Happens::Rejected),
        2 => any::<bool>().prop_map(Happens::Found),
        1 => Just(Happens::StoodStill),
        2 => Just(Happens::Expire),
        1 => (1..=254_u8).prop_map(Happens::Exchange),
    ];
    (0..3_000_u64, what)
}

impl Bench {
    fn happens(&mut self, what: &Happens) -> Vec<Output> {
        let id = self.id;
        match what {
            Happens::Timer => self.event(Event::Timer),
            Happens::Advert { priority, other_addresses } => {
                let mut advert = advert(*priority);
                if *other_addresses {
                    advert.addresses = AddressDigest::of([THEIRS.into()]);
                }
                self.event(Event::Advert(advert))
            }
            Happens::StandBack => self.event(Event::StandBack(Origin::Operator)),
            Happens::Resume => self.event(Event::Resume(Origin::Signal)),
            Happens::StoodStill => self.event(Event::StoodStill),
            Happens::Step(step) => self.input(Input::Step(id, *step)),
            Happens::Link { admin_up, carrier, mtu } => {
                let mut interface = eth0(vec![address("192.0.2.1/24")]);
                (interface.admin_up, interface.carrier, interface.mtu) = (*admin_up, *carrier, *mtu);
                self.input(Input::LinkIs(LinkId::FIRST, Box::new(interface)))
            }
            Happens::LinkGone => self.input(Input::LinkGone(LinkId::FIRST, 2)),
            Happens::Answer { refused } if self.asked.is_some() => self.answer(|_| {
                let error = SystemError { cause: Cause::Other, text: "busy".to_owned() };
                if *refused { Err(error) } else { Ok(()) }
            }),
            Happens::Answer { .. } => Vec::new(),
            Happens::AddressLost => {
                self.input(Input::AddressLost(id, [192, 0, 2, 100].into(), Remover::Other))
            }
            Happens::RoutingLost => self.input(Input::RoutingLost),
            Happens::Sent => self.input(Input::Sent(id)),
            Happens::NotSent => {
                let error = "no buffer space".to_owned();
                self.input(Input::NotSent(id, NotSent { octets: 60, is_too_long: false, error }))
            }
            Happens::CannotSend => self.input(Input::CannotSend(id)),
            Happens::Rejected => {
                let why = Rejection { reject: Reject::Interval, got: 2, wanted: 1 };
                self.input(Input::Rejected { link: LinkId::FIRST, router: Some((id, THEIRS.into())), why })
            }
            Happens::Found(holds) => {
                let finding = if *holds { Finding::Holds } else { Finding::Fails };
                self.input(Input::Found { check: TrackId(0), finding, detail: "seen".into() })
            }
            Happens::Expire => {
                let now = self.time();
                self.engine.expire(now);
                self.outputs()
            }
            Happens::Exchange(priority) => {
                let config = self.router().config.clone();
                let config = RouterConfig { priority: Priority(*priority), ..config };
                self.input(Input::Exchange(id, Box::new(config)))
            }
        }
    }

    /// A Backup with a check.
    pub(super) fn tracking_a_check() -> Self {
        let weight = crate::priority::Weight::NONE;
        let tracked = Tracked { name: "dns".to_owned(), weight, is_ignored: false };
        let config = RouterConfig { track: vec![tracked], ..config("192.0.2.100") };
        let mut bench = Self::of(config.clone());
        let kind = CheckKind::Process(ProcessName::new("named").expect("is legal"));
        let check = CheckConfig { name: "dns".to_owned(), kind, rules: Rules::default() };
        bench.engine.configure_checks(&[check], [&config]);
        bench.input(Input::Track(bench.id));
        bench.not_in_kernel();
        bench.happens_whole(0, &Happens::Found(true));
        bench.input(Input::StartUp(bench.id));
        bench.not_in_kernel();
        bench
    }

    /// Like `happens`, with every request for the kernel record answered.
    pub(super) fn happens_whole(&mut self, after: u64, what: &Happens) -> Vec<Output> {
        self.now += Duration::from_millis(after);
        let mut outputs = self.happens(what);
        while self.engine.agenda.asked_for.is_some() {
            outputs.extend(self.not_in_kernel());
        }
        outputs
    }

    fn restored(&self) -> Self {
        let snapshot = self.engine.snapshot(self.time(), self.id).expect("nothing waits");
        let text = serde_json::to_string(&snapshot).expect("is data");
        let snapshot: Snapshot = serde_json::from_str(&text).expect("was written by us");
        assert_eq!(serde_json::to_string(&snapshot).expect("is data"), text);
        Self { engine: snapshot.restore(), id: RouterId::FIRST, now: self.now, asked: self.asked.clone() }
    }
}

proptest! {
    #[test]
    fn a_snapshot_goes_on_as_the_engine_it_was_taken_of(
        before in vec(happens(), 0..40),
        after in vec(happens(), 1..40),
    ) {
        let mut bench = Bench::tracking_a_check();
        for (wait, what) in &before {
            bench.happens_whole(*wait, what);
        }
        let mut restored = bench.restored();
        for (wait, what) in &after {
            prop_assert_eq!(restored.happens_whole(*wait, what), bench.happens_whole(*wait, what), "{:?}", what);
            prop_assert_eq!(restored.engine.deadline(), bench.engine.deadline());
        }
        let now = bench.time();
        let text = |engine: &Engine| serde_json::to_string(&engine.snapshot(now, RouterId::FIRST)).expect("is data");
        prop_assert_eq!(text(&restored.engine), text(&bench.engine));
    }
}

#[test]
fn no_password_is_in_a_snapshot() {
    let mut bench = Bench::backup();
    let mut expect = vrrpd_common::classify::Expect {
        version: vrrpd_common::Version::V2,
        interval: vrrpd_common::Interval::DEFAULT,
        auth: vrrpd_common::Auth::Simple(*b"Pa55w0rd"),
        source: None,
        broadcast: None,
        from_peers: false,
        min_ttl: 255,
        accept_interval_mismatch: false,
        accept_no_addresses: false,
        address_list: None,
    };
    let circumstances =
        crate::kernel::Circumstances { is_verified_by_us: false, is_grouped: false, passes_on: false };
    let told = crate::kernel::Told::of(&bench.router().machine, circumstances, &expect);
    bench.router().kernel.tell(told, false);
    let snapshot = bench.engine.snapshot(bench.time(), bench.id).expect("nothing waits");
    let octets = format!("{:?}", b"Pa55w0rd");
    assert!(format!("{:?}", bench.router().kernel).contains(&octets), "the kernel was told of it");
    for text in [format!("{snapshot:?}"), serde_json::to_string(&snapshot).expect("is data")] {
        assert!(!text.contains(&octets) && !text.contains(&octets.replace(' ', "")), "{text}");
    }
    let text = serde_json::to_string(&expect).expect("is data");
    let read: vrrpd_common::classify::Expect = serde_json::from_str(&text).expect("was written by us");
    expect.auth = vrrpd_common::Auth::Simple([0; 8]);
    assert_eq!(read, expect, "nor in what adverts have to look like");
}

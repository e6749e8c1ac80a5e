//! The state machine as transcripts: events and actions.

mod damping;
mod golden;
mod member;
mod scenarios;
mod timing;

use core::net::{IpAddr, Ipv4Addr};
use std::vec::Vec;

use super::*;
use crate::advert::AddressDigest;
use crate::mac::MacAddr;
use crate::params::Vrid;

const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 10));
const LOWER_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
const HIGHER_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 200));
/// Source MAC address of each advert.
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);
const START: Instant = Instant::from_nanos(1_000_000_000_000);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn vrid() -> Vrid {
    Vrid::new(51).expect("51 is legal")
}

/// Version 3, priority 100, 100 ms, preempting: Skew_Time 60.9375 ms, Master_Down_Interval 360.9375 ms.
fn config() -> Config {
    Config {
        vrid: vrid(),
        version: Version::V3,
        priority: Priority(100),
        preempt_mode: true,
        preempt_below: None,
        preempt_delay: Duration::ZERO,
        start_delay: Duration::ZERO,
        interval: Interval::from_centis(10).expect("100 ms is legal"),
        max_learned_interval: Interval::from_centis(500).expect("5 s is legal"),
        down_multiplier: 3,
        addresses: AddressDigest::from_bits(1),
        announce: AnnounceTimes {
            again_after: Some(Duration::from_secs(5)),
            refresh_every: None,
            elsewhere_every: None,
            after_lower: Some(Duration::from_secs(1)),
        },
        grouped: false,
        prepares: false,
    }
}

fn advert(priority: u8, source: IpAddr) -> Advert {
    Advert {
        vrid: vrid(),
        priority: Priority(priority),
        interval: config().interval,
        source,
        mac: MAC,
        address_count: 1,
        addresses: AddressDigest::from_bits(1),
    }
}

/// A router and the time.
struct Bench {
    router: VirtualRouter,
    now: Instant,
}

impl Bench {
    fn new(config: Config) -> Self {
        Self { router: VirtualRouter::new(config), now: START }
    }

    /// Started on a usable interface.
    fn started(config: Config) -> Self {
        let mut bench = Self::new(config);
        bench.event(Event::InterfaceUp(OURS));
        bench.event(Event::Startup);
        bench
    }

    /// Master, a moment after its first advert.
    fn master(config: Config) -> Self {
        let mut bench = Self::started(config);
        bench.run_to_deadline();
        assert_eq!(bench.state(), StateName::Master);
        bench
    }

    /// A member of a group that waits for the others.
    fn willing(config: Config) -> Self {
        let mut bench = Self::started(config);
        assert_eq!(bench.run_to_deadline(), []);
        assert!(bench.router.is_willing());
        bench
    }

    /// Master with its group, tolerating better masters for this long.
    fn member_that_is_master(hold: Duration) -> Self {
        let mut bench = Self::willing(Config { grouped: true, ..config() });
        assert_eq!(bench.event(Event::GroupReady { hold }), promotion(Reason::MasterDownTimer));
        bench
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.router.handle(self.now, event, &mut |action| actions.push(action));
        actions
    }

    fn after(&mut self, span: Duration) -> &mut Self {
        self.now += span;
        self
    }

    /// Advances the time to the next deadline.
    fn run_to_deadline(&mut self) -> Vec<Action> {
        self.now = self.router.deadline().expect("the state has a deadline");
        self.event(Event::Timer)
    }

    fn state(&self) -> StateName {
        self.router.state().name()
    }

    fn wait(&self) -> Duration {
        self.router.deadline().expect("the state has a deadline").saturating_since(self.now)
    }
}

fn transition(from: StateName, to: StateName, reason: Reason) -> Action {
    Action::Transition(Transition { from, to, reason, cause: None })
}

/// A transition caused by the router that sent this advert.
fn caused(from: StateName, to: StateName, reason: Reason, by: Advert) -> Action {
    let cause = Some(Cause { source: by.source, priority: by.priority, mac: MAC });
    Action::Transition(Transition { from, to, reason, cause })
}

/// A promotion caused by the router that sent this advert.
fn promotion_by(reason: Reason, by: Advert) -> [Action; 4] {
    let [take, advert, announce, _] = promotion(reason);
    [take, advert, announce, caused(StateName::Backup, StateName::Master, reason, by)]
}

fn promotion(reason: Reason) -> [Action; 4] {
    [
        Action::TakeAddresses,
        Action::SendAdvert(Priority(100)),
        Action::AnnounceAddresses(Occasion::TakeOver),
        transition(StateName::Backup, StateName::Master, reason),
    ]
}

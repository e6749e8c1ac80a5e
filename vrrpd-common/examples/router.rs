//! Hands the same event to a router repeatedly: `router backup|master TIMES`. A test runs it under callgrind, which
//! counts the instructions of a Backup that hears its master, or of a Master whose next advert is due.

use std::env;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use vrrpd_common::router::{Action, AnnounceTimes, Config, Event, StateName, VirtualRouter};
use vrrpd_common::{
    AddressDigest, Advert, Duration, Family, Instant, Interval, MacAddr, Priority, Version, Vrid,
};

const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const MASTER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
const ADVERT_EVERY: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let (role, times) = (arguments.next(), arguments.next().and_then(|times| times.parse::<u32>().ok()));
    let (Some(role), Some(times), Some(config)) = (role, times, config()) else {
        eprintln!("usage: router backup|master TIMES");
        return ExitCode::FAILURE;
    };
    let mut now = Instant::from_nanos(1_000_000_000_000);
    let mut router = VirtualRouter::new(config);
    let mut actions = 0_u64;
    let mut emit = |action: Action| {
        black_box(action);
        actions += 1;
    };
    router.handle(now, Event::InterfaceUp(OURS), &mut emit);
    router.handle(now, Event::Startup, &mut emit);
    let wanted = if role == "backup" {
        let advert = advert(&config);
        for _ in 0..times {
            now += ADVERT_EVERY;
            router.handle(now, black_box(Event::Advert(advert)), &mut emit);
            black_box(router.deadline());
        }
        StateName::Backup
    } else {
        // One more, to become Master.
        for _ in 0..=times {
            now = router.deadline().unwrap_or(now);
            router.handle(now, black_box(Event::Timer), &mut emit);
            black_box(router.deadline());
        }
        StateName::Master
    };
    println!("{actions} actions");
    if router.state().name() == wanted { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn config() -> Option<Config> {
    Some(Config {
        vrid: Vrid::new(51)?,
        version: Version::V3,
        priority: Priority(100),
        preempt_mode: true,
        preempt_below: None,
        preempt_delay: Duration::ZERO,
        start_delay: Duration::ZERO,
        interval: Interval::from_centis(1).ok()?,
        max_learned_interval: Interval::from_centis(500).ok()?,
        down_multiplier: 3,
        addresses: AddressDigest::from_bits(1),
        announce: AnnounceTimes {
            again_after: None,
            refresh_every: None,
            elsewhere_every: None,
            after_lower: None,
        },
        grouped: false,
        prepares: false,
    })
}

fn advert(config: &Config) -> Advert {
    Advert {
        vrid: config.vrid,
        priority: Priority(150),
        interval: config.interval,
        source: MASTER,
        mac: MacAddr::virtual_router(Family::Ipv4, config.vrid),
        address_count: 1,
        addresses: config.addresses,
    }
}

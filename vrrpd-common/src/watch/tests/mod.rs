//! Adverts and timers in, records and reports out, as short transcripts with times in milliseconds.

mod agreement;

use super::*;
use crate::abi::slot;
use crate::params::{Version, Vrid};
use core::net::{IpAddr, Ipv4Addr};

const MS: u64 = 1_000_000;
/// Priority 100, 10 ms: RFC 9568 §6.1.
const MASTER_DOWN: u64 = 36_093_750;
const SKEW: u64 = 6_093_750;
const SPACING: u64 = 100 * MS;

fn config(role: KernelRole) -> KernelConfig {
    KernelConfig {
        role: role as u8,
        version: 3,
        priority: 100,
        lowest_followed: 100,
        interval: 1,
        report_spacing: SPACING,
        generation: 1,
        source: crate::abi::octets(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        down_multiplier: 3,
        ..KernelConfig::default()
    }
}

fn heard(at_ms: u64, priority: u8) -> KernelAdvert {
    let source = crate::abi::octets(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)));
    KernelAdvert {
        at: at_ms * MS,
        addresses: 7,
        source,
        interval: 1,
        priority,
        address_count: 1,
        ..KernelAdvert::default()
    }
}

fn command(role: KernelRole, deadline_ms: u64, known_until_ms: u64) -> KernelCommand {
    KernelCommand {
        deadline: deadline_ms * MS,
        known_until: known_until_ms * MS,
        master_interval: 1,
        config: config(role),
        ..KernelCommand::default()
    }
}

/// A router whose daemon sent the command at 1 ms.
fn router(role: KernelRole) -> RouterRecord {
    let mut record = RouterRecord::default();
    record.obey(&command(role, 1_000, 1));
    record
}

fn take(record: &mut RouterRecord, role: KernelRole, advert: KernelAdvert) -> Deferred {
    record.take(&config(role), Family::Ipv4, advert)
}

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * MS)
}

#[test]
fn a_backup_arms_the_timer_once_and_then_only_writes_deadlines() {
    let mut record = RouterRecord::default();
    assert_eq!(record.obey(&command(KernelRole::Backup, 36, 0)), Deferred { arm: true, report: false });
    assert_eq!(take(&mut record, KernelRole::Backup, heard(10, 150)), Deferred { arm: false, report: true });
    for ms in [20, 30] {
        assert_eq!(take(&mut record, KernelRole::Backup, heard(ms, 150)), Deferred::default());
    }
    assert_eq!(record.deadline, 30 * MS + MASTER_DOWN);
    assert_eq!(record.timer_at, 36 * MS);
    assert_eq!(record.look_at_deadline(at(36)), Due::Later);
    assert_eq!(record.timer_at, record.deadline);
    assert_eq!(record.look_at_deadline(Instant::from_nanos(record.deadline)), Due::Expired);
}

#[test]
fn a_shorter_deadline_moves_the_timer_at_once() {
    // RFC 9568 §6.4.2: priority 0
    let mut record = router(KernelRole::Backup);
    take(&mut record, KernelRole::Backup, heard(10, 150));
    assert_eq!(record.timer_at, 10 * MS + MASTER_DOWN);
    assert!(take(&mut record, KernelRole::Backup, heard(20, 0)).arm);
    assert_eq!(record.timer_at, 20 * MS + SKEW);
    assert_eq!(record.followed, heard(10, 150));
}

#[test]
fn a_lower_advert_moves_the_deadline_only_from_the_lowest_priority_that_is_followed() {
    // RFC 9568 §6.4.2
    let mut record = router(KernelRole::Backup);
    take(&mut record, KernelRole::Backup, heard(10, 99));
    assert_eq!((record.deadline, record.heard), (1_000 * MS, heard(10, 99)));
    let config = KernelConfig { lowest_followed: 99, ..config(KernelRole::Backup) };
    record.take(&config, Family::Ipv4, heard(15, 98));
    assert_eq!(record.deadline, 1_000 * MS);
    record.take(&config, Family::Ipv4, heard(20, 99));
    assert_eq!(record.deadline, 20 * MS + MASTER_DOWN);
}

#[test]
fn version_2_goes_by_its_own_interval() {
    // RFC 3768 §6.1
    let mut record = router(KernelRole::Backup);
    let config = KernelConfig { version: 2, interval: 100, ..config(KernelRole::Backup) };
    record.take(&config, Family::Ipv4, KernelAdvert { interval: 500, ..heard(10, 150) });
    assert_eq!(record.deadline, 10 * MS + 3_609_375_000);
}

#[test]
fn over_ipv6_the_timers_of_version_3_apply_for_any_configured_version() {
    let number = Vrid::new(51).expect("is legal");
    let config = KernelConfig { version: 2, interval: 100, ..config(KernelRole::Backup) };
    for family in [Family::Ipv4, Family::Ipv6] {
        let version = if family == Family::Ipv6 { Version::V3 } else { Version::V2 };
        assert_eq!(config.expect(family).map(|expect| expect.version), Some(version));
        let wait = match version {
            Version::V2 => 3_609_375_000,
            Version::V3 => MASTER_DOWN,
        };

        let mut record = router(KernelRole::Backup);
        record.take(&config, family, heard(10, 150));
        assert_eq!(record.deadline, 10 * MS + wait, "an advert");

        let mut record = router(KernelRole::Backup);
        record.slot = slot(family, number);
        record.heard = heard(10, 150);
        record.followed = record.heard;
        record.obey(&KernelCommand {
            slot: slot(family, number),
            config,
            ..command(KernelRole::Backup, 0, 5)
        });
        assert_eq!(record.deadline, 10 * MS + wait, "an advert that the daemon had not heard of");

        let mut record = router(KernelRole::Backup);
        record.take(&config, family, heard(10, 0));
        let skew = if version == Version::V3 { SKEW } else { 609_375_000 };
        assert_eq!(record.deadline, 10 * MS + skew, "a resignation");
    }
}

#[test]
fn a_backup_reports_only_changed_adverts() {
    let mut record = router(KernelRole::Backup);
    assert!(take(&mut record, KernelRole::Backup, heard(10, 150)).report);
    assert!(!take(&mut record, KernelRole::Backup, heard(200, 150)).report);
    let changes: [fn(&mut KernelAdvert); 4] = [
        |advert| advert.priority = 160,
        |advert| advert.interval = 2,
        |advert| advert.addresses = 8,
        |advert| advert.source = [3; 16],
    ];
    for (change, ms) in changes.into_iter().zip([400, 600, 800, 1_000]) {
        let mut advert = heard(ms, 150);
        change(&mut advert);
        assert!(take(&mut record, KernelRole::Backup, advert).report);
    }
}

#[test]
fn news_within_the_spacing_wait_for_the_first_advert_after_it() {
    let mut record = router(KernelRole::Backup);
    assert!(take(&mut record, KernelRole::Backup, heard(10, 150)).report);
    assert!(!take(&mut record, KernelRole::Backup, heard(20, 160)).report);
    assert!(!take(&mut record, KernelRole::Backup, heard(30, 160)).report);
    assert!(take(&mut record, KernelRole::Backup, heard(110, 160)).report);
    assert!(!take(&mut record, KernelRole::Backup, heard(120, 160)).report);
    assert_eq!(record.events_withheld, 2);
}

#[test]
fn a_flood_of_lower_adverts_does_not_hide_a_higher_one_from_a_master() {
    // RFC 9568 §6.4.3
    let mut record = router(KernelRole::Master);
    assert!(take(&mut record, KernelRole::Master, heard(10, 50)).report);
    assert!(!take(&mut record, KernelRole::Master, heard(11, 50)).report);
    assert!(take(&mut record, KernelRole::Master, heard(12, 150)).report);
    assert_eq!(record.followed, heard(12, 150));
    assert!(!take(&mut record, KernelRole::Master, heard(13, 150)).report);
}

#[test]
fn an_advert_between_expiry_and_role_change_is_in_the_record_and_reported_to_the_master() {
    let mut record = router(KernelRole::Backup);
    take(&mut record, KernelRole::Backup, heard(10, 150));
    assert_eq!(record.look_at_deadline(at(47)), Due::Expired);
    take(&mut record, KernelRole::Backup, heard(48, 150));
    assert_eq!(record.obey(&command(KernelRole::Master, 0, 10)), Deferred::default());
    assert_eq!((record.followed, record.deadline), (heard(48, 150), 0));
    assert!(take(&mut record, KernelRole::Master, heard(58, 150)).report);
}

#[test]
fn a_command_does_not_overwrite_adverts_unknown_to_the_daemon() {
    let mut record = router(KernelRole::Master);
    take(&mut record, KernelRole::Master, heard(10, 150));
    take(&mut record, KernelRole::Master, heard(20, 150));
    record.obey(&command(KernelRole::Backup, 46, 10));
    assert_eq!(record.deadline, 20 * MS + MASTER_DOWN);
    take(&mut record, KernelRole::Backup, heard(30, 0));
    record.obey(&command(KernelRole::Backup, 56, 20));
    assert_eq!(record.deadline, 30 * MS + SKEW);
}

#[test]
fn an_advert_heard_long_ago_does_not_bring_an_expiry_forward() {
    let mut record = router(KernelRole::Backup);
    take(&mut record, KernelRole::Backup, heard(10, 150));
    record.obey(&command(KernelRole::Init, 0, 10));
    take(&mut record, KernelRole::Init, heard(20, 150));
    record.obey(&command(KernelRole::Backup, 9_000, 5));
    assert_eq!(record.deadline, 9_000 * MS);
    record.obey(&command(KernelRole::None, 0, 5));
    assert_eq!((record.followed, record.heard), (KernelAdvert::default(), KernelAdvert::default()));
}

#[test]
fn a_repeated_resignation_does_not_replace_the_first() {
    let mut record = router(KernelRole::Backup);
    take(&mut record, KernelRole::Backup, heard(10, 150));
    take(&mut record, KernelRole::Backup, heard(20, 0));
    take(&mut record, KernelRole::Backup, heard(22, 0));
    assert_eq!(record.deadline, 20 * MS + SKEW);
}

#[test]
fn a_command_that_knows_everything_sets_its_own_deadline() {
    let mut record = router(KernelRole::Backup);
    take(&mut record, KernelRole::Backup, heard(10, 150));
    record.obey(&command(KernelRole::Backup, 500, 10));
    assert_eq!(record.deadline, 500 * MS);
}

#[test]
fn an_expiry_is_repeated_until_the_daemon_acts() {
    let mut record = router(KernelRole::Backup);
    assert_eq!(record.look_at_deadline(at(1_000)), Due::Expired);
    record.ring_takes_it();
    assert_eq!(record.timer_at, 2_000 * MS);
    assert_eq!(record.look_at_deadline(at(2_000)), Due::Expired);
    record.obey(&command(KernelRole::Master, 0, 0));
    assert_eq!(record.look_at_deadline(at(3_000)), Due::Nothing);
    assert!(!record.timer_armed());
}

#[test]
fn an_expiry_that_finds_the_ring_full_comes_again_shortly_and_then_less_often() {
    let mut record = router(KernelRole::Backup);
    let mut now = 1_000;
    for wait in [1, 2, 4, 8, 16, 32, 64, 128, 128] {
        assert_eq!(record.look_at_deadline(at(now)), Due::Expired);
        record.ring_is_full(EventKind::Expired, at(now));
        now += wait;
        assert_eq!(record.timer_at, now * MS);
    }
    assert_eq!(record.events_lost, 9);
    record.ring_takes_it();
    assert_eq!(record.look_at_deadline(at(now)), Due::Expired);
    record.ring_is_full(EventKind::Expired, at(now));
    assert_eq!(record.timer_at, (now + 1) * MS);
}

#[test]
fn news_that_find_the_ring_full_are_reported_with_the_next_advert() {
    let mut record = router(KernelRole::Backup);
    assert!(take(&mut record, KernelRole::Backup, heard(10, 150)).report);
    record.ring_is_full(EventKind::Advert, at(10));
    assert!(take(&mut record, KernelRole::Backup, heard(200, 150)).report);
}

#[test]
fn a_change_of_role_opens_the_way_for_reports() {
    let mut record = router(KernelRole::Backup);
    assert!(take(&mut record, KernelRole::Backup, heard(10, 150)).report);
    record.obey(&command(KernelRole::Master, 0, 10));
    assert!(take(&mut record, KernelRole::Master, heard(11, 150)).report);
}

#[test]
fn adverts_survive_the_way_through_a_record() {
    let number = slot(Family::Ipv4, Vrid::new(51).expect("not 0"));
    let (when, advert) = heard(10, 150).advert(number).expect("heard at 10 ms");
    assert_eq!(KernelAdvert::new(&advert, when), heard(10, 150));
    assert_eq!(KernelAdvert::default().advert(number), None);
}

#[test]
fn a_place_that_another_router_gets_begins_with_nothing_but_the_sequence() {
    let mut record = router(KernelRole::Backup);
    let slot_of = |vrid| slot(Family::Ipv4, Vrid::new(vrid).expect("is legal"));
    let mut first = command(KernelRole::Backup, 1000, 0);
    (first.interface, first.slot) = (7, slot_of(51));
    record.obey(&first);
    record.take(&first.config, Family::Ipv4, heard(10, 150));
    record.sequence = 4;
    record.rejected[0] = 3;
    record.obey(&first);
    assert!(record.is_of(7, slot_of(51)) && record.adverts == 1, "the same router");
    for (interface, slot) in [(8, slot_of(51)), (8, slot_of(52))] {
        let second = KernelCommand { slot, interface, ..command(KernelRole::Init, 0, 0) };
        record.obey(&second);
        let mut fresh = RouterRecord { sequence: 4, ..RouterRecord::default() };
        fresh.obey(&second);
        assert_eq!(record, fresh);
        record.adverts = 9;
    }
}

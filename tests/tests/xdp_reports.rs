//! The XDP program, advert by advert: what it records and reports in each role.
//!
//! The figures are computed by hand: with version 3, an interval of 1 s and priority 100, Master_Down_Interval is
//! 3.609375 s and Skew_Time 0.609375 s.

use std::net::{IpAddr, Ipv4Addr};

use vrrpd_common::abi::{KernelCommand, RouterRecord};
use vrrpd_lab::corpus::{OWN_V4, OWN_V6, V3, V6, address, router, v3, v6};
use vrrpd_lab::kernel_router::{FAR, KernelRouter, MS, with_centis, with_priority};
use vrrpd_lab::oracle::{Role, Router};
use vrrpd_lab::program::{Verdict, counter, now, slot_of};
use vrrpd_lab::usual::SOON;
use vrrpd_lab::{AdvertFrame, wait_until};

const MASTER_DOWN: u64 = 3_609_375_000;
const SKEW: u64 = 609_375_000;

#[test]
fn a_router_that_takes_no_part_notes_adverts_and_reports_nothing() {
    let mut bench = KernelRouter::new(Role::Init);
    for priority in [200, 50, 0, 255] {
        let record = bench.hear_quietly(&with_priority(priority));
        assert_eq!((record.heard.priority, record.followed.at, record.deadline), (priority, 0, 0));
    }
}

#[test]
fn a_backup_reports_the_first_advert_and_no_equal_ones() {
    let mut bench = KernelRouter::new(Role::Backup);
    let before = now();
    let event = bench.hear_reported(&v3(V3));
    assert!((before..=now()).contains(&event.at));
    assert_eq!(
        (event.record.heard.priority, event.record.heard.interval, event.record.heard.address_count),
        (200, 100, 1)
    );
    for _ in 0..100 {
        let record = bench.hear_quietly(&v3(V3));
        assert_eq!(record.deadline, record.heard.at + MASTER_DOWN);
        assert_eq!(record.followed, record.heard);
    }
}

#[test]
fn a_backup_reports_each_change_in_the_master_s_adverts() {
    let mut bench = KernelRouter::new(Role::Backup);
    let first = v3(V3);
    bench.hear_reported(&first);
    let changes: [fn(&mut AdvertFrame); 5] = [
        |advert| advert.priority = 201,
        |advert| advert.source = Ipv4Addr::new(192, 0, 2, 10).into(),
        |advert| advert.interval = [0, 99],
        |advert| advert.addresses[0] = address(7),
        |advert| advert.addresses.push(address(8)),
    ];
    for change in changes {
        let mut changed = first.clone();
        change(&mut changed);
        bench.hear_reported(&changed);
        bench.hear_quietly(&changed);
        bench.hear_reported(&first);
        bench.hear_quietly(&first);
    }
}

#[test]
fn a_backup_takes_no_notice_of_addresses_in_another_order_padding_or_checksum_style() {
    let mut bench = KernelRouter::new(Role::Backup);
    let advert = AdvertFrame { addresses: vec![address(0), address(1)], ..v3(V3) };
    bench.hear_reported(&advert);
    bench.hear_quietly(&AdvertFrame { addresses: vec![address(1), address(0)], ..advert.clone() });
    bench.hear_quietly(&AdvertFrame { padding: 20, ..advert.clone() });
    bench.hear_quietly(&AdvertFrame { pseudo_header: false, ..advert.clone() });
    bench.hear_quietly(&AdvertFrame { source_mac: [2, 0, 0, 0, 0, 1], ..advert });
}

#[test]
fn a_backup_waits_skew_time_after_a_resignation() {
    // RFC 9568 §6.4.2
    let mut bench = KernelRouter::new(Role::Backup);
    bench.hear_reported(&v3(V3));
    let followed = bench.record().followed;
    let event = bench.hear_reported(&with_priority(0));
    assert_eq!(event.record.deadline, event.at + SKEW);
    assert_eq!(bench.record().followed, followed, "who resigns is not followed");
}

#[test]
fn a_repeated_resignation_does_not_move_the_deadline() {
    let mut bench = KernelRouter::new(Role::Backup);
    let first = bench.hear_reported(&with_priority(0));
    for _ in 0..20 {
        assert_eq!(bench.hear_quietly(&with_priority(0)).deadline, first.record.deadline);
    }
    assert!(bench.record().heard.at > first.at);
    assert_eq!(first.record.deadline, first.at + SKEW);
}

#[test]
fn a_lower_advert_is_followed_only_by_a_backup_that_does_not_preempt() {
    // RFC 9568 §6.4.2
    let mut bench = KernelRouter::new(Role::Backup);
    let deadline = bench.record().deadline;
    let event = bench.hear_reported(&with_priority(99));
    assert_eq!((event.record.deadline, bench.record().followed.at), (deadline, 0));
    let record = bench.hear_quietly(&with_priority(99));
    assert_eq!((record.deadline, record.timer_at), (deadline, deadline));

    bench.router.preempts = false;
    bench.command(deadline, record.heard.at);
    let record = bench.hear_quietly(&with_priority(99));
    assert_eq!(record.deadline, record.heard.at + MASTER_DOWN);
    assert_eq!(record.followed, record.heard);
}

#[test]
fn an_equal_priority_is_followed_by_a_backup() {
    let mut bench = KernelRouter::new(Role::Backup);
    let event = bench.hear_reported(&with_priority(100));
    assert_eq!(event.record.deadline, event.at + MASTER_DOWN);
}

#[test]
fn the_interval_of_the_master_is_the_one_to_wait_by_in_version_3() {
    // RFC 9568 §6.1: 3 × 2.5 s + 156/256 × 2.5 s
    let mut bench = KernelRouter::new(Role::Backup);
    let event = bench.hear_reported(&with_centis(250));
    assert_eq!(event.record.deadline, event.at + 9_023_437_500);
    assert_eq!(bench.record().master_interval, 250);
    let resigned = bench.hear_reported(&AdvertFrame { priority: 0, ..with_centis(1) });
    assert_eq!(resigned.record.deadline, resigned.at + 1_523_437_500, "the one of the master that leaves");
}

#[test]
fn an_interval_of_the_master_beyond_the_limit_is_noted_and_not_reckoned_with() {
    // The limit is 10 s: 3 × 10 s + 156/256 × 10 s.
    let mut bench = KernelRouter::new(Role::Backup);
    let event = bench.hear_reported(&with_centis(4095));
    assert_eq!(event.record.deadline, event.at + 36_093_750_000);
    assert_eq!((bench.record().master_interval, event.record.heard.interval), (1000, 4095));
}

#[test]
fn a_record_has_the_source_mac_address_of_the_advert() {
    let mut bench = KernelRouter::new(Role::Master);
    let source_mac = [2, 0, 0, 0, 0, 9];
    let event = bench.hear_reported(&AdvertFrame { source_mac, ..with_priority(200) });
    assert_eq!((event.record.heard.mac, bench.record().followed.mac), (source_mac, source_mac));
}

#[test]
fn a_master_reports_every_advert() {
    let mut bench = KernelRouter::new(Role::Master);
    for priority in [50, 50, 0, 0, 100, 200, 200] {
        let event = bench.hear_reported(&with_priority(priority));
        assert_eq!((event.record.heard.priority, event.record.deadline), (priority, 0));
    }
}

#[test]
fn a_master_yields_to_higher_priorities_and_to_greater_addresses_only() {
    // RFC 9568 §6.4.3
    let smaller = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 76));
    let greater = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 128));
    for (priority, source, yields) in [
        (99, greater, false),
        (100, smaller, false),
        (100, greater, true),
        (101, smaller, true),
        (0, greater, false),
    ] {
        let mut bench = KernelRouter::new(Role::Master);
        let event = bench.hear_reported(&AdvertFrame { source, ..with_priority(priority) });
        assert_eq!(bench.record().followed == event.record.heard, yields, "{priority} {source}");
    }
    let mut bench = KernelRouter::of(Router { role: Role::Master, ..router(OWN_V6.into(), V6) });
    let event = bench.hear_reported(&AdvertFrame { priority: 100, ..v6(V6) });
    assert_eq!(bench.record().followed, event.record.heard, "fe80::99 is greater than fe80::77");
}

#[test]
fn a_discarded_advert_changes_nothing_but_its_counter() {
    let mut bench = KernelRouter::new(Role::Backup);
    let before = RouterRecord { sequence: 0, ..bench.hear(&v3(V3)) };
    bench.ring.drain();
    for _ in 0..3 {
        assert_eq!(bench.program.run(&AdvertFrame { ttl: 1, ..v3(V3) }.build()), Verdict::Drop);
    }
    let mut after = RouterRecord { sequence: 0, ..bench.record() };
    assert_eq!(counter(&after.rejected, "ttl"), 3);
    after.rejected = before.rejected;
    assert_eq!(after, before);
    assert_eq!(bench.ring.drain(), []);
}

#[test]
fn handled_adverts_are_passed_on_if_configured() {
    let (right, wrong) = (v3(V3).build(), AdvertFrame { ttl: 1, ..v3(V3) }.build());
    for (passes_on, verdict) in [(false, Verdict::Drop), (true, Verdict::Pass)] {
        for role in [Role::Init, Role::Backup, Role::Master] {
            let bench = KernelRouter::of(Router { passes_on, role, ..router(OWN_V4.into(), V3) });
            assert_eq!(bench.program.run(&right), verdict);
            assert_eq!(bench.program.run(&wrong), verdict);
            let record = bench.record();
            assert_eq!((record.adverts, counter(&record.rejected, "ttl")), (1, 1));
        }
    }
}

#[test]
fn a_removed_router_is_not_ours_and_leaves_no_counters_in_its_place() {
    let mut bench = KernelRouter::new(Role::Backup);
    bench.hear_reported(&v3(V3));
    bench.program.obey(KernelCommand { slot: slot_of(&bench.router), ..KernelCommand::default() });
    assert_eq!(bench.program.run(&v3(V3).build()), Verdict::Pass);
    let record = bench.record();
    assert_eq!((record.adverts, record.deadline), (0, 0));
    assert_eq!(counter(&bench.program.rejects(), "not_ours"), 1);
}

#[test]
fn a_resignation_is_in_the_record_and_reported_though_lower_adverts_come_around_it() {
    let mut bench = KernelRouter::of(Router { spacing: FAR, ..router(OWN_V4.into(), V3) });
    let followed = bench.hear_reported(&with_priority(200)).record.heard;
    bench.hear_quietly(&with_priority(50));
    let resigned = bench.hear_reported(&with_priority(0));
    assert_eq!(resigned.record.deadline, resigned.at + SKEW);
    for _ in 0..100 {
        let record = bench.hear_quietly(&with_priority(50));
        assert_eq!((record.followed, record.resigned), (followed, resigned.record.heard));
        assert_eq!(record.deadline, resigned.record.deadline);
    }
    assert_eq!(bench.hear_quietly(&with_priority(0)).resigned, resigned.record.heard, "said again");
}

// Spacing.

#[test]
fn changes_are_reported_no_faster_than_the_spacing() {
    let spacing = 30 * MS;
    let mut bench = KernelRouter::of(Router { spacing, ..router(OWN_V4.into(), V3) });
    let (mut events, mut heard, start) = (Vec::new(), 0, now());
    while now() < start + 10 * spacing {
        bench.hear(&with_priority(if heard % 2 == 0 { 150 } else { 200 }));
        heard += 1;
        events.extend(bench.ring.drain());
    }
    let pairs = events.iter().zip(events.iter().skip(1));
    for (before, after) in pairs {
        assert!(after.at - before.at >= spacing, "{} ns", after.at - before.at);
    }
    assert!(events.len() > 1 && heard > 100, "{} events, {heard} adverts", events.len());
    let record = bench.record();
    assert_eq!(record.events, u64::try_from(events.len()).expect("few"));
    assert_eq!(record.events + record.events_withheld, heard);
}

#[test]
fn a_change_that_was_withheld_is_reported_with_the_next_advert_after_the_spacing() {
    let spacing = 100 * MS;
    let mut bench = KernelRouter::of(Router { spacing, ..router(OWN_V4.into(), V3) });
    let first = bench.hear_reported(&with_priority(200));
    let second = bench.hear(&with_priority(150));
    assert!(second.heard.at < first.at + spacing, "the machine is too slow for this test");
    assert_eq!((bench.ring.drain(), second.events_withheld), (vec![], 1));
    wait_until(SOON, "the spacing is over", || now() > first.at + spacing);
    let event = bench.hear_reported(&with_priority(150));
    assert_eq!(event.record.heard.priority, 150);
    bench.hear_quietly(&with_priority(150));
}

#[test]
fn a_better_master_is_reported_at_once_in_a_flood_of_lower_ones() {
    let mut bench =
        KernelRouter::of(Router { role: Role::Master, spacing: FAR, ..router(OWN_V4.into(), V3) });
    bench.hear_reported(&with_priority(50));
    for _ in 0..1000 {
        bench.hear_quietly(&with_priority(50));
    }
    bench.hear_reported(&with_priority(101));
    assert_eq!(bench.record().followed.priority, 101);
    for _ in 0..1000 {
        let record = bench.hear_quietly(&with_priority(102));
        assert_eq!(record.followed.priority, 102, "it is in the record all the same");
    }
    assert_eq!(bench.record().events_withheld, 2000);
}

#[test]
fn a_resignation_is_reported_to_a_master_at_once_in_a_flood_of_lower_ones() {
    let mut bench =
        KernelRouter::of(Router { role: Role::Master, spacing: FAR, ..router(OWN_V4.into(), V3) });
    bench.hear_reported(&with_priority(50));
    bench.hear_quietly(&with_priority(50));
    bench.hear_reported(&with_priority(0));
    bench.hear_quietly(&with_priority(0));
}

#[test]
fn a_new_role_begins_without_the_spacing_of_the_old_one() {
    let mut bench = KernelRouter::of(Router { spacing: FAR, ..router(OWN_V4.into(), V3) });
    bench.hear_reported(&with_priority(200));
    bench.hear_quietly(&with_priority(50));
    bench.become_role(Role::Master, 0, now());
    bench.hear_reported(&with_priority(50));
}

//! The timer of the XDP program: when the master counts as down, and that no expiry is lost.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use vrrpd_common::abi::{EventKind, KernelCommand, PLACES};
use vrrpd_lab::corpus::{OWN_V4, V3, router};
use vrrpd_lab::kernel_router::{FAR, KernelRouter, MS, only, with_centis, with_priority};
use vrrpd_lab::oracle::Role;
use vrrpd_lab::program::{Program, config_of, now};
use vrrpd_lab::usual::{SOON, TOLERANCE};
use vrrpd_lab::{AdvertFrame, wait_until};

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).expect("short")
}

#[test]
fn an_expiry_is_reported_at_the_deadline() {
    let mut bench = KernelRouter::new(Role::Init);
    let deadline = now() + 50 * MS;
    bench.become_role(Role::Backup, deadline, 0);
    let record = bench.record();
    assert!(record.timer_armed());
    assert_eq!((record.deadline, record.timer_at), (deadline, deadline));
    let event = bench.wait_expired();
    assert_eq!(event.record.deadline, deadline);
    assert_eq!((event.record.generation, event.record.role), (bench.generation, 2));
    assert!(event.at < deadline + nanos(TOLERANCE), "{} ns late", event.at - deadline);
    assert_eq!(bench.record().expiries, 1);
}

#[test]
fn a_deadline_in_the_past_expires_at_once() {
    let mut bench = KernelRouter::new(Role::Init);
    let commanded = now();
    bench.become_role(Role::Backup, 1, 0);
    let event = bench.wait_expired();
    assert!(event.at < commanded + nanos(TOLERANCE), "{} ns late", event.at - commanded);
}

#[test]
fn an_expiry_is_repeated_each_second_until_something_changes() {
    let mut bench = KernelRouter::new(Role::Init);
    bench.become_role(Role::Backup, now() + MS, 0);
    let mut before = bench.wait_expired();
    for _ in 0..2 {
        let again = bench.wait_expired();
        let span = again.at - before.at;
        assert!((1000 * MS..1000 * MS + nanos(TOLERANCE)).contains(&span), "{span} ns");
        assert_eq!(again.record.deadline, before.record.deadline);
        before = again;
    }
    bench.become_role(Role::Master, 0, 0);
    wait_until(SOON, "the timer comes to rest", || bench.record().timer_at == 0);
    assert_eq!((bench.ring.drain(), bench.record().expiries), (vec![], 3));
}

#[test]
fn adverts_postpone_the_expiry_and_the_timer_rarely_fires() {
    // 50 ms: 3 × 50 ms + 156/256 × 50 ms
    let (down, centis) = (180_468_750, 5);
    let mut bench = KernelRouter::new(Role::Backup);
    let start = now();
    while now() < start + 3 * down {
        bench.hear(&with_centis(centis));
        thread::sleep(Duration::from_millis(1));
    }
    let last = bench.record();
    assert_eq!((last.expiries, last.deadline), (0, last.heard.at + down));
    assert!(last.timer_runs <= 4, "{} runs for {} adverts", last.timer_runs, last.adverts);
    assert_eq!(only(&bench.ring.drain()).kind(), Some(EventKind::Advert), "the first advert");

    let event = bench.wait_expired();
    assert_eq!((event.record.deadline, event.record.heard), (last.deadline, last.heard));
    assert!(
        event.at < event.record.deadline + nanos(TOLERANCE),
        "{} ns late",
        event.at - event.record.deadline
    );
}

#[test]
fn a_shorter_deadline_moves_the_timer_at_once() {
    let mut bench = KernelRouter::new(Role::Backup);
    bench.hear_reported(&with_centis(100));
    let event = bench.hear_reported(&with_centis(1));
    // 3 × 10 ms + 156/256 × 10 ms
    assert_eq!(event.record.deadline, event.at + 36_093_750);
    let expired = bench.wait_expired();
    assert_eq!(expired.record.deadline, event.record.deadline);
    assert!(
        expired.at < expired.record.deadline + nanos(TOLERANCE),
        "{} ns late",
        expired.at - expired.record.deadline
    );
}

#[test]
fn a_resignation_expires_after_skew_time() {
    let mut bench = KernelRouter::new(Role::Backup);
    // 156/256 × 100 ms
    bench.hear_reported(&with_centis(10));
    let event = bench.hear_reported(&AdvertFrame { priority: 0, ..with_centis(10) });
    assert_eq!(event.record.deadline, event.at + 60_937_500);
    let expired = bench.wait_expired();
    assert_eq!(expired.record.deadline, event.record.deadline);
    assert!(
        expired.at < expired.record.deadline + nanos(TOLERANCE),
        "{} ns late",
        expired.at - expired.record.deadline
    );
}

#[test]
fn a_router_that_is_no_longer_backup_does_not_expire() {
    for role in [Role::Init, Role::Master] {
        let mut bench = KernelRouter::new(Role::Init);
        bench.become_role(Role::Backup, now() + 50 * MS, 0);
        bench.become_role(role, 0, 0);
        wait_until(SOON, "the timer comes to rest", || bench.record().timer_at == 0);
        let record = bench.record();
        assert_eq!((record.expiries, record.deadline, record.timer_armed()), (0, 0, false));
        assert_eq!(bench.ring.drain(), []);
    }
}

#[test]
fn each_virtual_router_has_a_timer_of_its_own() {
    let (program, mut ring) = Program::load();
    let mut expired = BTreeSet::new();
    for slot in 0..u32::try_from(PLACES).expect("few") {
        let config = config_of(&router(OWN_V4.into(), V3), 1);
        program.obey(KernelCommand { slot, deadline: now() + MS, config, ..KernelCommand::default() });
    }
    while expired.len() < PLACES {
        expired.insert(ring.wait(SOON, "an expiry of each").place);
    }
    assert!(expired.into_iter().eq(0..u32::try_from(PLACES).expect("few")));
}

// A full ring buffer.

#[test]
fn an_expiry_is_not_lost_when_the_ring_is_full() {
    let mut bench = KernelRouter::new(Role::Master);
    bench.fill_ring();
    let lost = bench.record().events_lost;
    let deadline = now() + 5 * MS;
    bench.become_role(Role::Backup, deadline, now());
    wait_until(SOON, "it was tried in vain", || bench.record().events_lost >= lost + 5);
    // There may be room before the last of the other events is taken.
    let mut events = bench.ring.drain();
    let emptied = now();
    while events.iter().all(|event| event.kind() != Some(EventKind::Expired)) {
        events.push(bench.ring.wait(SOON, "the expiry"));
    }
    let expired = events.last().expect("there is one");
    assert_eq!(bench.record().deadline, deadline);
    // It is tried again after 128 ms at the latest.
    assert!(expired.at < emptied + 128 * MS + nanos(TOLERANCE), "{expired:?}");
    assert_eq!(bench.record().ring_full_in_a_row, 0);
}

#[test]
fn a_full_ring_is_tried_less_and_less_often() {
    let mut bench = KernelRouter::new(Role::Master);
    bench.fill_ring();
    bench.become_role(Role::Backup, now(), now());
    wait_until(SOON, "it was tried in vain", || bench.record().ring_full_in_a_row == 7);
    let before = bench.record();
    let start = now();
    wait_until(SOON, "it is tried again", || bench.record().timer_runs >= before.timer_runs + 3);
    assert!(now() - start > 2 * 120 * MS, "128 ms between");
}

#[test]
fn an_advert_for_which_the_ring_had_no_room_is_reported_with_the_next_one() {
    let mut bench = KernelRouter::new(Role::Master);
    bench.fill_ring();
    bench.become_role(Role::Backup, now() + FAR, now());
    let lost = bench.record().events_lost;
    let record = bench.hear(&with_priority(200));
    assert_eq!(record.events_lost, lost + 1);
    bench.ring.drain();
    bench.hear_reported(&with_priority(200));
    bench.hear_quietly(&with_priority(200));
}

//! The XDP program and the daemon's commands: which it accepts, and the result of races with adverts.
//!
//! The figures are computed by hand: with version 3, an interval of 1 s and priority 100, Master_Down_Interval is
//! 3.609375 s and Skew_Time 0.609375 s.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use vrrpd_common::abi::{ABI_VERSION, KernelAdvert, KernelCommand, PLACES};
use vrrpd_lab::corpus::{OWN_V4, PEER_V4, V3, router, v3};
use vrrpd_lab::kernel_router::{FAR, KernelRouter, MS, with_priority};
use vrrpd_lab::oracle::{Role, Router};
use vrrpd_lab::program::{INTERFACE, Program, Verdict, config_of, counter, now, slot_of};
use vrrpd_lab::usual::SOON;
use vrrpd_lab::{AdvertFrame, wait_until};

const MASTER_DOWN: u64 = 3_609_375_000;
const SKEW: u64 = 609_375_000;
/// Another VRID than V3.
const OTHER: u8 = 77;

// Commands.

#[test]
fn a_command_of_another_abi_is_refused() {
    let bench = KernelRouter::new(Role::Backup);
    let before = bench.record();
    let config = config_of(&Router { priority: 1, ..bench.router.clone() }, 99);
    for abi in [0, ABI_VERSION - 1, ABI_VERSION + 1, u32::MAX] {
        let command = KernelCommand {
            abi,
            slot: slot_of(&bench.router),
            deadline: 1,
            config,
            ..KernelCommand::default()
        };
        let (verdict, answer) = bench.program.command(bytemuck::bytes_of(&command));
        assert_eq!((verdict, &answer[..]), (Verdict::Aborted, bytemuck::bytes_of(&command)));
    }
    assert_eq!(bench.record(), before);
}

#[test]
fn a_command_for_a_place_that_does_not_exist_is_refused() {
    let bench = KernelRouter::new(Role::Backup);
    let before = bench.record();
    for place in [PLACES.try_into().expect("few"), u32::MAX, 1 << 31] {
        let command = KernelCommand {
            abi: ABI_VERSION,
            place,
            config: config_of(&bench.router, 99),
            ..KernelCommand::default()
        };
        let (verdict, answer) = bench.program.command(bytemuck::bytes_of(&command));
        assert_eq!((verdict, &answer[..]), (Verdict::Aborted, bytemuck::bytes_of(&command)));
    }
    assert_eq!(bench.record(), before);
}

#[test]
fn a_command_cut_short_is_refused() {
    let bench = KernelRouter::new(Role::Backup);
    let before = bench.record();
    let command =
        KernelCommand { abi: ABI_VERSION, slot: slot_of(&bench.router), ..KernelCommand::default() };
    let command = bytemuck::bytes_of(&command);
    for len in 14..command.len() {
        assert_eq!(bench.program.command(&command[..len]).0, Verdict::Aborted, "{len} octets");
    }
    assert_eq!(bench.record(), before);
}

#[test]
fn a_command_is_taken_for_every_place() {
    let (program, _ring) = Program::load();
    for slot in 0..u32::try_from(PLACES).expect("few") {
        let config = config_of(&router(OWN_V4.into(), V3), slot + 1);
        program.obey(KernelCommand { slot, deadline: now() + FAR, config, ..KernelCommand::default() });
        assert_eq!(program.record(slot).generation, slot + 1);
    }
}

#[test]
fn a_router_that_gets_the_place_of_another_one_begins_with_nothing() {
    let mut bench = KernelRouter::new(Role::Backup);
    bench.hear(&v3(V3));
    let (place, before) = (slot_of(&bench.router), bench.record());
    // The first one leaves, and one of the same interface with another VRID comes.
    bench.program.obey(KernelCommand { slot: place, ..KernelCommand::default() });
    let config = config_of(&router(OWN_V4.into(), OTHER), bench.generation);
    bench.program.set_place(OTHER.into(), place);
    bench.program.obey(KernelCommand { slot: OTHER.into(), place, config, ..KernelCommand::default() });
    let record = bench.record();
    assert!(record.is_of(INTERFACE, OTHER.into()) && record.sequence > before.sequence, "{record:?}");
    let counted = (record.adverts, record.events, record.timer_runs, record.heard);
    assert_eq!(counted, (0, 0, 0, KernelAdvert::default()));
    // Adverts for it are noted there. Those for the one that left are too old: the place is not its any more.
    assert_eq!(bench.program.run(&v3(V3).build()), Verdict::Pass);
    assert_eq!(bench.record().adverts, 0);
    assert_eq!(bench.program.run(&v3(OTHER).build()), Verdict::Drop);
    assert_eq!(bench.record().adverts, 1);
}

// Races.

#[test]
fn an_advert_between_expiry_and_role_change_is_found_in_the_record() {
    let mut bench = KernelRouter::new(Role::Init);
    bench.become_role(Role::Backup, now() + MS, 0);
    let expired = bench.wait_expired();
    let heard = bench.hear_reported(&v3(V3)).record.heard;
    let record = bench.record();
    assert!(record.followed == heard && record.deadline > expired.at, "by which the expiry is void");

    // A daemon that looked before.
    bench.become_role(Role::Master, 0, expired.record.heard.at);
    let record = bench.record();
    assert_eq!((record.followed, record.heard), (heard, heard), "still there for it to yield to");
    assert_eq!((record.role, record.deadline), (3, 0));
}

#[test]
fn an_advert_after_the_expiry_keeps_it_from_coming_again() {
    let mut bench = KernelRouter::new(Role::Init);
    bench.become_role(Role::Backup, now() + MS, 0);
    bench.wait_expired();
    let event = bench.hear_reported(&v3(V3));
    let runs = bench.record().timer_runs;
    wait_until(SOON, "the timer looks", || bench.record().timer_runs > runs);
    let record = bench.record();
    assert_eq!(
        (record.expiries, record.timer_at, record.deadline),
        (1, event.record.deadline, event.record.deadline)
    );
    assert_eq!(bench.ring.drain(), []);
}

#[test]
fn the_deadline_of_an_advert_unknown_to_the_daemon_is_kept() {
    let mut bench = KernelRouter::new(Role::Backup);
    let heard = bench.hear(&v3(V3)).heard.at;
    // An older deadline: the advert postpones it.
    bench.command(heard + MS, heard - 1);
    let record = bench.record();
    assert_eq!((record.deadline, record.timer_at), (heard + MASTER_DOWN, heard + MASTER_DOWN));
    // A later one: a handled advert never brings an expiry forward.
    bench.command(heard + FAR, heard - 1);
    assert_eq!(bench.record().deadline, heard + FAR);
    // A deadline set with knowledge of the advert counts.
    let deadline = heard + 2 * MASTER_DOWN;
    bench.command(deadline, heard);
    assert_eq!(bench.record().deadline, deadline);
    assert!(bench.record().timer_at <= deadline);
}

#[test]
fn a_master_that_becomes_backup_waits_for_the_one_that_it_had_not_seen_yet() {
    let mut bench = KernelRouter::new(Role::Master);
    let known_until = now();
    let better = bench.hear_reported(&with_priority(200)).record.heard.at;
    // A lower one after it does not count.
    bench.hear(&with_priority(50));
    bench.become_role(Role::Backup, known_until + MS, known_until);
    let record = bench.record();
    assert_eq!(record.deadline, better + MASTER_DOWN);
    assert_eq!((record.followed.at, record.heard.priority), (better, 50));
}

#[test]
fn a_resignation_that_the_daemon_did_not_know_of_shortens_its_deadline() {
    let mut bench = KernelRouter::new(Role::Init);
    let known_until = now();
    let resigned = bench.hear(&with_priority(0)).heard.at;
    bench.become_role(Role::Backup, known_until + FAR, known_until);
    assert_eq!(bench.record().deadline, resigned + SKEW);
}

#[test]
fn a_lower_master_counts_when_the_daemon_has_given_up_preempting() {
    let mut bench = KernelRouter::new(Role::Backup);
    let (deadline, known_until) = (bench.record().deadline, now());
    let heard = bench.hear(&with_priority(50)).heard.at;
    assert_eq!(bench.record().deadline, deadline);
    bench.router.priority = 40;
    bench.command(heard, known_until);
    // 3 s + 216/256 s by the new priority
    assert_eq!(bench.record().deadline, heard + 3_843_750_000);
}

/// Each of the two configurations rejects the advert for its own reason; a mixture of both would accept it.
#[test]
fn no_advert_is_taken_by_half_of_one_configuration_and_half_of_another() {
    let strict =
        Router { version: 2, min_ttl: 255, password: Some(*b"first\0\0\0"), ..router(OWN_V4.into(), V3) };
    let lax = Router { min_ttl: 1, password: Some(*b"second\0\0"), ..strict.clone() };
    let KernelRouter { program, router, .. } = KernelRouter::of(strict.clone());
    let slot = slot_of(&router);
    let advert = AdvertFrame::v2(PEER_V4, V3, 200, 1, &[Ipv4Addr::new(192, 0, 2, 1)]).with_password("first");
    let frame = AdvertFrame { ttl: 64, ..advert }.build();
    assert_eq!(program.run(&frame), Verdict::Drop);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                program.run(&frame);
            }
        });
        let start = now();
        let mut generation = 1;
        while now() < start + 500 * MS {
            for router in [&lax, &strict] {
                generation += 1;
                let config = config_of(router, generation);
                program.obey(KernelCommand {
                    slot,
                    deadline: now() + FAR,
                    master_interval: 100,
                    config,
                    ..KernelCommand::default()
                });
            }
        }
        stop.store(true, Ordering::Relaxed);
        flood.join().expect("it only sends");
    });
    let record = program.record(slot);
    assert_eq!(record.adverts, 0);
    assert!(
        counter(&record.rejected, "ttl") > 0 && counter(&record.rejected, "auth") > 0,
        "{:?}",
        record.rejected
    );
}

#[test]
fn no_advert_is_lost_while_roles_change() {
    let KernelRouter { program, router, .. } =
        KernelRouter::of(Router { spacing: FAR, ..router(OWN_V4.into(), V3) });
    let slot = slot_of(&router);
    let frame = v3(V3).build();
    let stop = AtomicBool::new(false);
    let (taken, passed) = thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let (mut taken, mut passed) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                match program.run(&frame) {
                    Verdict::Drop => taken += 1,
                    // Between two configurations.
                    Verdict::Pass | Verdict::Aborted => passed += 1,
                }
            }
            (taken, passed)
        });
        let start = now();
        let mut generation = 0;
        while now() < start + 500 * MS {
            for role in [Role::Backup, Role::Master, Role::Init] {
                generation += 1;
                let router = Router { role, ..router.clone() };
                let known_until = program.record(slot).heard.at;
                let deadline = if role == Role::Backup { known_until + MASTER_DOWN } else { 0 };
                let config = config_of(&router, generation);
                program.obey(KernelCommand {
                    slot,
                    deadline,
                    known_until,
                    master_interval: 100,
                    config,
                    ..KernelCommand::default()
                });
                let record = program.record(slot);
                if role == Role::Backup {
                    assert!(record.deadline >= deadline, "{record:?}");
                } else {
                    assert_eq!(record.deadline, 0);
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        flood.join().expect("it only sends")
    });
    let record = program.record(slot);
    assert_eq!(record.adverts, taken, "every one that was consumed is noted");
    assert!(taken > 1000 && passed < taken / 10, "{taken} taken, {passed} passed");
    assert_eq!(record.sequence % 2, 0);
}

//! The BPF program, frame by frame: as XDP, as a classifier, and as the classifier of an interface that receives packets in
//! several pieces, it has the same result as `vrrpd_common` on the host and as the oracle: verdict, counters and records.
//!
//! The frames are those of the tests, those of the fuzzer, and random ones. `VRRPD_SEED` repeats a run of random frames, `VRRPD_FRAMES` sets their number (default: a million).
//!
//! A test run accepts frames from 14 octets on and shows the program at most 3520 octets (a page minus the kernel's
//! part), so at most 216 IPv6 addresses are tested here. All 255 IPv4 addresses are.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::{env, fs, thread};

use vrrpd_common::Reject;
use vrrpd_common::abi::{KernelCommand, KernelConfig, KernelCounters};
use vrrpd_lab::AdvertFrame;
use vrrpd_lab::corpus::{
    self, Case, OWN_V4, PEER_V4, V3, announced_lengths, cases, flips, right_ones, truncations,
};
use vrrpd_lab::oracle::{Judgement, Role, Router};
use vrrpd_lab::program::{
    Hook, MAX_FRAME, MIN_FRAME, Program, Verdict, config_of, counter, map_names, now, slot_of,
};
use vrrpd_lab::random::{Frames, Random};
use vrrpd_lab::tap::{MAX_PIECE, MAX_PIECES};
use vrrpd_lab::trial::{Trial, hex};

const THREADS: u64 = 2;
/// Length of an Ethernet header in octets, which the kernel wants in one piece.
const ETHERNET: usize = 14;

fn trial(hook: Hook) -> Trial {
    Trial::new(corpus::routers(), hook)
}

/// The classifier on an interface.
fn card() -> Trial {
    Trial::on_a_card(corpus::routers())
}

#[test]
fn every_frame_of_the_corpus_is_judged_as_written_down() {
    for hook in Hook::ALL {
        let mut trial = trial(hook);
        for Case { name, outcome, frame } in cases().into_iter().filter(|case| hook.takes(&case.frame)) {
            let outcome = outcome_at(hook, &frame, outcome);
            assert_eq!(trial.frame(&frame).to_string(), outcome, "{name}, {hook:?}: {}", hex(&frame));
            trial.settle();
        }
    }
}

/// What becomes at a hook of a frame that has this outcome as XDP. A classifier in a test run gets its packets from `lo`, the
/// MAC address of which is zero. One that still has a tag had two.
fn outcome_at<'a>(hook: Hook, frame: &[u8], outcome: &'a str) -> &'a str {
    let is_ip = matches!(frame.get(12..14), Some([0x08, 0x00] | [0x86, 0xdd]));
    match hook {
        Hook::Tcx if is_tagged(frame) => "not vrrp",
        Hook::Tcx if frame.starts_with(&[0; 6]) && is_ip => "advert",
        Hook::Tcx | Hook::Xdp => outcome,
    }
}

#[test]
fn a_tag_beside_the_packet_makes_it_one_of_the_vlan_unless_it_says_the_priority_only() {
    let mut trial = card();
    let untagged = cases().into_iter().filter(|case| !is_tagged(&case.frame));
    for Case { name, outcome, frame } in untagged {
        assert_eq!(trial.frame(&frame).to_string(), outcome, "{name}: {}", hex(&frame));
        for protocol in [0x8100, 0x88a8] {
            for id in [0, 1, corpus::VLAN, 0x0ffe, 0x0fff] {
                let outcome = if id == 0 { outcome } else { "not vrrp" };
                let tagged = corpus::tagged(&frame, protocol, id);
                assert_eq!(trial.frame(&tagged).to_string(), outcome, "{name}, {id}: {}", hex(&tagged));
            }
        }
    }
    trial.settle();
}

#[test]
fn packets_in_two_pieces_are_judged_as_in_one_wherever_the_second_one_begins() {
    let mut trial = card();
    for Case { name, frame, .. } in cases() {
        let whole = trial.frame(&frame).to_string();
        // Past the headers of the longest ones one place is as good as another.
        for second in (ETHERNET..frame.len().min(256)).chain((256..frame.len()).step_by(101)) {
            if frame.len() - second <= MAX_PIECE {
                let judgement = trial.frame_in_pieces(&frame, &[second]);
                assert_eq!(judgement.to_string(), whole, "{name}, from {second}: {}", hex(&frame));
            }
        }
    }
    trial.settle();
}

#[test]
fn packets_in_many_small_pieces_and_the_longest_one_are_judged_as_in_one() {
    let mut trial = card();
    for (name, frame) in right_ones() {
        let whole = trial.frame(&frame).to_string();
        for size in 1..=8 {
            let pieces: Vec<_> = (ETHERNET..frame.len()).step_by(size).take(MAX_PIECES - 1).collect();
            let judgement = trial.frame_in_pieces(&frame, &pieces);
            assert_eq!(judgement.to_string(), whole, "{name}, {size} octets each");
        }
    }
    let addresses = (0..255).map(corpus::address_v6).collect();
    let longest = AdvertFrame { addresses, ..corpus::v6(corpus::V6) }.build();
    for second in [ETHERNET, 54, 62, 1500, 4096] {
        let pieces = [second, second + 40];
        assert_eq!(trial.frame_in_pieces(&longest, &pieces).to_string(), "advert", "from {second}");
        // The last octet is in the checksum.
        let mut wrong = longest.clone();
        *wrong.last_mut().expect("there is one") ^= 1;
        let judgement = trial.frame_in_pieces(&wrong, &pieces);
        assert_eq!(judgement.to_string(), "discard: checksum", "from {second}");
    }
    trial.settle();
}

#[test]
fn every_input_that_the_fuzzer_found_is_judged_alike() {
    let mut random = Random::from_seed(1);
    let (mut xdp, mut tcx, mut card) = (trial(Hook::Xdp), trial(Hook::Tcx), card());
    let mut inputs = 0;
    for directory in ["corpus", "crashes"] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(directory).join("frame");
        // Without an input there is no directory.
        for file in fs::read_dir(directory).into_iter().flatten() {
            let path = file.expect("it can be read").path();
            let mut input = fs::read(&path).expect("it can be read");
            input.truncate(MAX_FRAME);
            if input.len() < MIN_FRAME {
                continue;
            }
            println!("{}", path.display());
            inputs += 1;
            let mut repaired = input.clone();
            corpus::repair_header(&mut repaired);
            corpus::repair_message(&mut repaired, true);
            for frame in [input, repaired] {
                let judgement = xdp.frame(&frame).to_string();
                if Hook::Tcx.takes(&frame) {
                    tcx.frame(&frame);
                }
                for pieces in [vec![], pieces_of(&frame, &mut random)] {
                    let packet = card.frame_in_pieces(&frame, &pieces).to_string();
                    assert!(is_tagged(&frame) || packet == judgement, "{packet}, {judgement}");
                }
            }
        }
    }
    assert!(inputs > 50, "{inputs}");
    for mut trial in [xdp, tcx, card] {
        trial.settle();
    }
}

/// Where random pieces of a frame begin, after the first one.
fn pieces_of(frame: &[u8], random: &mut Random) -> Vec<usize> {
    let mut pieces = Vec::new();
    let mut at = ETHERNET + if random.once_in(2) { 0 } else { random.below(64) };
    while at < frame.len() && pieces.len() < MAX_PIECES - 1 {
        pieces.push(at);
        at += 1 + random.below(200);
    }
    pieces
}

fn is_tagged(frame: &[u8]) -> bool {
    matches!(frame.get(12..14), Some([0x81, 0x00] | [0x88, 0xa8]))
}

#[test]
fn committed_objects_have_their_own_maps_and_none_for_a_log() {
    for hook in Hook::ALL {
        let maps = ["ADDRESSES", "EVENTS", "INDEX", "KNOWN", "RECORDS", "REJECTS", "ROUTERS", "STATIONS"];
        assert_eq!(map_names(hook), maps, "{hook:?}");
    }
}

#[test]
fn the_corpus_has_every_reason_in_every_place_where_it_can_occur() {
    let outcomes: BTreeMap<_, _> = cases().into_iter().map(|case| (case.outcome, case.name)).collect();
    for reject in Reject::ALL {
        let named = outcomes.contains_key(format!("discard: {reject}").as_str());
        let unnamed = outcomes.contains_key(format!("stray: {reject}").as_str());
        let expected = match reject {
            Reject::Truncated => (true, true),
            Reject::Fragment | Reject::NotOurs => (false, true),
            _ => (true, false),
        };
        assert_eq!((named, unnamed), expected, "{reject}");
    }
    assert!(outcomes.contains_key("advert") && outcomes.contains_key("not vrrp"));
}

#[test]
fn router_with_an_authentication_header_passes_such_adverts_on_and_discards_others() {
    const AUTHENTICATION_HEADER: u8 = 2;
    let (program, _ring) = Program::load();
    let router = Router { version: 2, role: Role::Init, ..corpus::router(OWN_V4.into(), V3) };
    let slot = slot_of(&router);
    let config = KernelConfig { auth_kind: AUTHENTICATION_HEADER, ..config_of(&router, 1) };
    program.obey(KernelCommand { slot, config, ..KernelCommand::default() });
    let advert = AdvertFrame::v2(PEER_V4, V3, 200, 1, &[Ipv4Addr::new(192, 0, 2, 1)]);

    let authentic = advert.clone().build_authenticated(b"secret", 1);
    assert_eq!(program.run(&authentic), Verdict::Pass);
    assert_eq!(program.record(slot).rejected, KernelCounters::default());
    assert_eq!(program.rejects(), KernelCounters::default());

    let mut claims_it = advert.clone();
    claims_it.interval[0] = AUTHENTICATION_HEADER;
    let others = [advert.clone(), advert.with_password(""), claims_it];
    for (count, other) in (1..).zip(others) {
        assert_eq!(program.run(&other.build()), Verdict::Drop);
        assert_eq!(counter(&program.record(slot).rejected, "auth"), count);
    }
    assert_eq!(program.record(slot).adverts, 0);
}

#[test]
fn frames_cut_at_each_octet_are_judged_alike() {
    for hook in Hook::ALL {
        let mut trial = trial(hook);
        for (name, frame) in right_ones() {
            let outcome = outcome_at(hook, &frame, "advert");
            assert_eq!(trial.frame(&frame).to_string(), outcome, "{name}, {hook:?}");
            for cut in truncations(&frame).filter(|cut| hook.takes(cut)) {
                let judgement = trial.frame(cut);
                assert!(!matches!(judgement, Judgement::Accept(..)), "{name}, {} octets", cut.len());
            }
        }
        trial.settle();
    }
}

#[test]
fn frames_with_any_bit_flipped_are_judged_alike() {
    for hook in Hook::ALL {
        let mut trial = trial(hook);
        for (_, frame) in right_ones() {
            for flipped in flips(&frame) {
                trial.frame(&flipped);
            }
        }
        trial.settle();
    }
}

#[test]
fn packets_of_any_announced_length_are_judged_alike() {
    for hook in Hook::ALL {
        let mut trial = trial(hook);
        for (_, frame) in right_ones() {
            for changed in announced_lengths(&frame) {
                trial.frame(&changed);
                // The same with room for the length in the header.
                let padded = [&changed[..], &[0; 16]].concat();
                trial.frame(&padded);
            }
        }
        trial.settle();
    }
}

#[test]
fn of_a_frame_too_long_for_a_test_run_the_program_sees_the_beginning_only() {
    let (program, _ring) = Program::load();
    assert!(program.try_run(&[0; MIN_FRAME - 1]).is_none(), "no Ethernet header, no test run");

    let longest = corpus::most_ipv6_addresses();
    let advert = |count| {
        AdvertFrame { addresses: (0..count).map(corpus::address_v6).collect(), ..corpus::v6(corpus::V6) }
            .build()
    };
    for hook in Hook::ALL {
        assert_eq!(trial(hook).frame(&advert(longest)).to_string(), "advert", "{hook:?}");
    }
    let mut trial = trial(Hook::Xdp);
    assert_eq!(trial.frame(&advert(longest)).to_string(), "advert");
    let too_long = advert(longest + 1);
    assert!(too_long.len() > MAX_FRAME);
    assert_eq!(trial.frame_seen_to(&too_long, MAX_FRAME).to_string(), "discard: truncated");
}

#[test]
fn a_million_random_frames_are_judged_alike() {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = number("VRRPD_SEED").unwrap_or_else(now);
    let frames = number("VRRPD_FRAMES").unwrap_or(1_000_000);
    println!("VRRPD_SEED={seed} VRRPD_FRAMES={frames}");
    let run = |thread: u64| {
        let (mut trial, mut classifier, mut card) = (trial(Hook::Xdp), trial(Hook::Tcx), card());
        let mut source = Frames::from_seed(seed.wrapping_add(thread));
        let mut random = Random::from_seed(seed.wrapping_sub(thread));
        let mut outcomes = BTreeMap::<String, u64>::new();
        for number in 0..frames / THREADS {
            let frame = source.frame();
            *outcomes.entry(trial.frame(&frame).to_string()).or_default() += 1;
            if number % 4 == 0 && Hook::Tcx.takes(&frame) {
                classifier.frame(&frame);
            }
            if number % 16 == 0 {
                let pieces = pieces_of(&frame, &mut random);
                card.frame_in_pieces(&frame, &pieces);
            }
        }
        trial.settle();
        classifier.settle();
        card.settle();
        (outcomes, trial.events_seen())
    };
    let mut outcomes = BTreeMap::new();
    let mut events = 0;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
        for thread in threads {
            let (counts, seen) =
                thread.join().expect("all agree; if not, see above for the seed and the frame");
            events += seen;
            for (outcome, count) in counts {
                *outcomes.entry(outcome).or_insert(0) += count;
            }
        }
    });
    println!("{outcomes:#?}\n{events} events");
    if frames < 100_000 {
        return;
    }
    for case in cases() {
        let count = outcomes.get(case.outcome).copied().unwrap_or_default();
        assert!(count > frames / 20_000, "{}: {count} of {frames} (VRRPD_SEED={seed})", case.outcome);
    }
}

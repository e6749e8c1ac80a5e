//! What is recorded, and that replaying it gives the same result.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use super::snapshot::happens;
use super::*;
use crate::recording::{read, transcript};

/// State of a router: its snapshot without results of checks that changed nothing.
fn state(engine: &Engine, id: RouterId, now: Now) -> Value {
    let snapshot = engine.snapshot(now, id).expect("nothing waits");
    let mut value = serde_json::to_value(&snapshot).expect("is data");
    value.as_object_mut().expect("has fields").remove("checks");
    value
}

proptest! {
    #[test]
    fn a_recording_gives_the_same_result_when_replayed(all in vec(happens(), 1..100)) {
        let mut bench = Bench::tracking_a_check();
        for (wait, what) in &all {
            bench.happens_whole(*wait, what);
        }
        let Some(recording) = bench.engine.recording(bench.time(), bench.id) else { return Ok(()) };
        let text = recording.pack("vrrpd", "eth0/51").write("vrrpd").expect("is text");
        let recorded = read(&text).expect("was written by us");
        let (engine, _) = recorded[0].segments.last().expect("there is one").replay();
        let now = bench.time();
        prop_assert_eq!(state(&engine, RouterId::FIRST, now), state(&bench.engine, bench.id, now), "{}", text);
        prop_assert_eq!(transcript(&text).expect("reads back"), transcript(&text).expect("reads back"));
    }
}

#[test]
fn nothing_is_recorded_in_steady_state() {
    let mut backup = Bench::backup();
    let mut master = Bench::master();
    let of_master = master.id;
    for _ in 0..1000 {
        backup.now += Duration::from_secs(1);
        backup.event(Event::Advert(advert(200)));
        master.now = master.engine.deadline().expect("it advertises");
        master.event(Event::Timer);
        master.input(Input::Sent(of_master));
    }
    assert!(backup.engine.recordings.is_empty());
    let recording = master.engine.recording(master.time(), of_master).expect("it has become Master");
    let segments = recording.pack("vrrpd", "eth0/51").segments().expect("are ours");
    let kept: Vec<_> = segments.iter().map(|segment| segment.entries.len()).collect();
    assert_eq!(kept, [5], "it starts, becomes Master, and goes on so");
}

#[test]
fn a_recording_of_many_transitions_takes_a_few_kibibytes() {
    let mut bench = Bench::master();
    let id = bench.id;
    for _ in 0..100 {
        for _ in 0..10 {
            bench.now = bench.engine.deadline().expect("it advertises");
            bench.event(Event::Timer);
            bench.input(Input::Sent(id));
        }
        bench.event(Event::Advert(advert(200)));
        bench.done();
        for _ in 0..10 {
            bench.now += Duration::from_secs(1);
            bench.event(Event::Advert(advert(200)));
        }
        while bench.asked.is_none() {
            bench.miss_master();
        }
        bench.done();
        bench.input(Input::Sent(id));
    }
    let recording = bench.engine.recording(bench.time(), bench.id).expect("it was Master and Backup");
    let segments = recording.pack("vrrpd", "eth0/51").segments().expect("are ours");
    let kept: usize = segments.iter().map(|segment| segment.entries.len()).sum();
    assert!(kept >= 3 * 16, "{kept}");
    assert!(recording.octets() < 8 << 10, "{} octets for {kept} entries", recording.octets());
}

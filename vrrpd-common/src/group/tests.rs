//! Groups as transcripts: inputs of a process, and its outputs.

use super::*;
use crate::params::{Family, Vrid};
use std::vec::Vec;

const START: Instant = Instant::from_nanos(1_000_000_000_000);
const WAIT: Duration = Duration::from_millis(360);
const OTHER: PeerId = PeerId(0);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn key(vrid: u8) -> Key {
    Key { family: Family::Ipv4, vrid: Vrid::new(vrid).expect("is legal"), addresses: 1 }
}

/// A process and the time.
struct Bench {
    group: Group,
    now: Instant,
}

impl Bench {
    /// A process with members of these VRIDs, in a group of this size.
    fn new(size: u8, vrids: &[u8]) -> Self {
        let mut group = Group::new(size, 7);
        for vrid in vrids {
            group.add(key(*vrid), WAIT).expect("there is room");
        }
        Self { group, now: START }
    }

    /// With one member, 51, which is Master together with 52 in another process.
    fn master() -> Self {
        let mut bench = Self::new(2, &[51]);
        bench.stands(0, Standing::Willing);
        let outputs = bench.input(Input::Message(OTHER, said(52, 0, Standing::Willing)));
        assert_eq!(events(&outputs), [(0, Event::GroupReady { hold: Duration::ZERO })]);
        bench.stands(0, Standing::Master);
        bench.input(Input::Message(OTHER, said(52, 0, Standing::Master)));
        bench
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.group.handle(self.now, input, &mut |output| outputs.push(output));
        outputs
    }

    fn stands(&mut self, member: usize, standing: Standing) -> Vec<Output> {
        self.input(Input::Member(Member(member), standing))
    }

    fn after(&mut self, span: Duration) -> &mut Self {
        self.now += span;
        self
    }

    fn wait(&self) -> Option<Duration> {
        Some(self.group.deadline()?.saturating_since(self.now))
    }
}

#[test]
fn changed_priority_changes_lease_and_hold_and_is_sent() {
    let mut bench = Bench::new(1, &[51, 52]);
    let longer = Duration::from_secs(9);
    let outputs = bench.input(Input::MasterDownInterval(Member(0), longer));
    let told = |output: &Output| matches!(output, Output::Tell(said) if said.master_down_interval == longer);
    assert!(outputs.iter().any(told), "{outputs:?}");
    bench.stands(0, Standing::Willing);
    let outputs = bench.stands(1, Standing::Willing);
    assert_eq!(events(&outputs)[1], (1, Event::GroupReady { hold: longer }));
}

fn said(vrid: u8, term: u64, standing: Standing) -> Message {
    Message { term, standing, members: 1, size: 2, first: key(vrid), master_down_interval: WAIT }
}

fn events(outputs: &[Output]) -> Vec<(usize, Event)> {
    let event = |output: &Output| match output {
        Output::Event(member, event) => Some((member.0, *event)),
        Output::Tell(_) => None,
    };
    outputs.iter().filter_map(event).collect()
}

fn told(outputs: &[Output]) -> Vec<(u64, Standing)> {
    let tell = |output: &Output| match output {
        Output::Tell(message) => Some((message.term, message.standing)),
        Output::Event(..) => None,
    };
    outputs.iter().filter_map(tell).collect()
}

#[test]
fn members_of_one_process_become_master_when_the_last_is_willing_and_the_first_bears_no_other() {
    let mut bench = Bench::new(3, &[53, 51, 52]);
    bench.stands(0, Standing::Willing);
    bench.stands(1, Standing::Willing);
    let outputs = bench.stands(2, Standing::Willing);
    assert_eq!(
        events(&outputs),
        [
            (0, Event::GroupReady { hold: WAIT }),
            (1, Event::GroupReady { hold: Duration::ZERO }),
            (2, Event::GroupReady { hold: WAIT }),
        ]
    );
    assert!(bench.group.is_master());
    assert_eq!(bench.group.deadline(), None, "nobody else has to be told");
}

#[test]
fn the_first_router_of_all_processes_is_the_one_that_bears_no_other() {
    let mut bench = Bench::new(2, &[52]);
    bench.input(Input::Message(OTHER, said(51, 0, Standing::Willing)));
    let outputs = bench.stands(0, Standing::Willing);
    assert_eq!(events(&outputs), [(0, Event::GroupReady { hold: WAIT })]);
}

#[test]
fn a_group_that_is_not_complete_is_never_master() {
    let mut bench = Bench::new(3, &[51]);
    bench.stands(0, Standing::Willing);
    assert_eq!(events(&bench.input(Input::Message(OTHER, said(52, 0, Standing::Willing)))), []);
    assert_eq!(bench.group.lacking(), Some(Lacking::Members(1)));
    assert_eq!((bench.group.live(), bench.group.size()), (2, 3));
}

#[test]
fn the_greatest_configured_group_size_counts() {
    let mut bench = Bench::new(2, &[51]);
    bench.stands(0, Standing::Willing);
    let message = Message { size: 3, ..said(52, 0, Standing::Willing) };
    assert_eq!(events(&bench.input(Input::Message(OTHER, message))), []);
    assert_eq!(bench.group.lacking(), Some(Lacking::Members(1)));
}

#[test]
fn a_surplus_process_has_to_be_willing_too() {
    let mut bench = Bench::new(2, &[51]);
    bench.stands(0, Standing::Willing);
    bench.input(Input::Message(PeerId(1), said(53, 0, Standing::Listening)));
    assert_eq!(events(&bench.input(Input::Message(OTHER, said(52, 0, Standing::Willing)))), []);
    assert_eq!(bench.group.lacking(), Some(Lacking::Standing(Standing::Listening)));
}

#[test]
fn a_member_that_fails_takes_all_along_and_a_new_term_begins() {
    let mut bench = Bench::new(2, &[51, 52]);
    bench.stands(0, Standing::Willing);
    bench.stands(1, Standing::Willing);
    bench.stands(0, Standing::Master);
    bench.stands(1, Standing::Master);
    bench.after(ms(5_000));
    let outputs = bench.stands(1, Standing::Unusable);
    assert_eq!(events(&outputs), [(0, Event::GroupYields), (1, Event::GroupYields)]);
    assert_eq!(told(&outputs), [(1, Standing::Unusable)]);
    assert_eq!(bench.group.deadline(), None, "it lasted: no pause");
}

#[test]
fn another_process_that_fails_or_goes_takes_this_one_along() {
    for input in [Input::Message(OTHER, said(52, 0, Standing::Unusable)), Input::Gone(OTHER)] {
        let mut bench = Bench::master();
        bench.after(ms(5_000));
        assert_eq!(events(&bench.input(input)), [(0, Event::GroupYields)]);
    }
}

#[test]
fn a_newer_term_ends_mastership_from_every_state() {
    // The process was stopped, and all it hears afterwards is that the others are willing again.
    let mut bench = Bench::master();
    let outputs = bench.input(Input::Message(OTHER, said(52, 3, Standing::Willing)));
    assert_eq!(events(&outputs), [(0, Event::GroupYields)]);
    assert_eq!(told(&outputs), [(3, Standing::Listening)]);
}

#[test]
fn being_willing_in_an_older_term_counts_for_nothing() {
    let mut bench = Bench::master();
    bench.after(ms(5_000));
    bench.stands(0, Standing::Listening);
    // The other one has not heard of it yet, and this one is willing again already.
    assert_eq!(events(&bench.stands(0, Standing::Willing)), []);
    assert_eq!(events(&bench.input(Input::Message(OTHER, said(52, 0, Standing::Master)))), []);
    let outputs = bench.input(Input::Message(OTHER, said(52, 1, Standing::Willing)));
    assert_eq!(events(&outputs), [(0, Event::GroupReady { hold: Duration::ZERO })]);
}

#[test]
fn only_a_master_process_refreshes_its_lease_three_times_per_lease() {
    let mut bench = Bench::master();
    assert_eq!(bench.wait(), Some(Duration::from_nanos(333_333_333)));
    bench.after(ms(334));
    assert_eq!(told(&bench.input(Input::Timer)), [(0, Standing::Master)]);
    bench.stands(0, Standing::Listening);
    bench.after(ms(2_000));
    assert_eq!(bench.input(Input::Timer), []);
}

#[test]
fn a_process_that_does_not_answer_any_more_counts_as_gone_until_it_speaks() {
    let mut bench = Bench::master();
    for _ in 0..2 {
        bench.after(ms(334));
        assert_eq!(events(&bench.input(Input::Timer)), []);
    }
    bench.after(ms(333));
    assert_eq!(events(&bench.input(Input::Timer)), [(0, Event::GroupYields)]);
    assert_eq!(bench.group.lacking(), Some(Lacking::Members(1)));
    bench.input(Input::Message(OTHER, said(52, 1, Standing::Listening)));
    assert_eq!(bench.group.lacking(), Some(Lacking::Standing(Standing::Listening)));
}

#[test]
fn a_process_that_was_stopped_gives_the_others_time_to_answer() {
    let mut bench = Bench::master();
    bench.after(ms(2_000));
    assert_eq!(events(&bench.input(Input::Timer)), []);
    for _ in 0..2 {
        bench.after(ms(334));
        assert_eq!(events(&bench.input(Input::Timer)), []);
    }
    bench.after(ms(334));
    assert_eq!(events(&bench.input(Input::Timer)), [(0, Event::GroupYields)]);
}

#[test]
fn a_group_that_fails_at_once_pauses_longer_each_time_up_to_a_limit_and_not_as_long_as_others() {
    let pauses = |seed: u64| -> Vec<u64> {
        let mut bench = Bench::new(1, &[51]);
        bench.group.seed = seed;
        let mut pauses = Vec::new();
        for _ in 0..20 {
            assert_eq!(events(&bench.stands(0, Standing::Willing)).len(), 1);
            bench.stands(0, Standing::Master);
            bench.stands(0, Standing::Listening);
            let pause = bench.wait().expect("it pauses");
            assert_eq!(events(&bench.stands(0, Standing::Willing)), []);
            assert_eq!(bench.group.lacking(), Some(Lacking::Standing(Standing::Pausing)));
            bench.after(pause);
            bench.stands(0, Standing::Listening);
            bench.input(Input::Timer);
            pauses.push(pause.as_nanos());
        }
        pauses
    };
    let (one, other) = (pauses(1), pauses(2));
    assert!(one.iter().zip(&other).all(|(one, other)| one != other));
    for (number, pause) in one.iter().enumerate() {
        let longest = (WAIT.as_nanos() / 4) << number.min(4);
        assert!((WAIT.as_nanos()..WAIT.as_nanos() + longest).contains(pause), "{number}: {pause}");
    }
    assert!(one.iter().any(|pause| *pause > 3 * WAIT.as_nanos()));
}

#[test]
fn a_willing_member_makes_the_group_master_when_the_pause_is_over() {
    let mut bench = Bench::new(1, &[51]);
    bench.stands(0, Standing::Willing);
    bench.stands(0, Standing::Listening);
    bench.stands(0, Standing::Willing);
    let pause = bench.wait().expect("it pauses");
    bench.after(pause);
    assert_eq!(events(&bench.input(Input::Timer)).len(), 1);
}

#[test]
fn members_that_are_master_stay_master_during_the_election_of_a_new_member() {
    let assembling = || {
        let mut bench = Bench::new(3, &[51, 52, 53]);
        bench.group.assemble(bench.now);
        for member in [0, 1] {
            assert_eq!(events(&bench.stands(member, Standing::Master)), []);
        }
        assert_eq!(events(&bench.stands(2, Standing::Listening)), []);
        assert_eq!(bench.wait(), Some(ms(1_080)));
        bench.after(ms(360));
        bench
    };
    let mut wins = assembling();
    let ready = events(&wins.stands(2, Standing::Willing));
    assert!(ready.contains(&(2, Event::GroupReady { hold: WAIT })), "{ready:?}");
    wins.stands(2, Standing::Master);
    assert!(wins.group.is_master() && wins.group.deadline().is_none());

    let yields: Vec<_> = (0..3).map(|member| (member, Event::GroupYields)).collect();
    let mut fails = assembling();
    fails.after(ms(719));
    assert_eq!(events(&fails.input(Input::Timer)), []);
    fails.after(ms(1));
    assert_eq!(events(&fails.input(Input::Timer)), yields, "it does not win");
    assert_eq!(events(&fails.input(Input::Timer)), []);

    let mut loses = assembling();
    assert_eq!(events(&loses.stands(0, Standing::Unusable)), yields, "one that was Master is it no more");
}

#[test]
fn no_message_is_repeated_and_a_new_process_is_greeted() {
    let mut bench = Bench::new(2, &[51]);
    assert_eq!(told(&bench.stands(0, Standing::Listening)), [(0, Standing::Listening)]);
    assert_eq!(bench.stands(0, Standing::Listening), []);
    let greeting = bench.group.greeting().expect("there is a member");
    assert_eq!((greeting.standing, greeting.members, greeting.size), (Standing::Listening, 1, 2));
}

#[test]
fn numbers_out_of_range_do_nothing() {
    let mut bench = Bench::new(1, &[51]);
    bench.input(Input::Timer);
    for input in [
        Input::Member(Member(1), Standing::Willing),
        Input::Member(Member(MAX_MEMBERS), Standing::Willing),
        Input::Message(PeerId(MAX_PEERS), said(52, 9, Standing::Willing)),
        Input::Gone(PeerId(MAX_PEERS)),
    ] {
        assert_eq!(bench.input(input), []);
    }
}

#[test]
fn a_message_is_read_back_and_others_are_refused() {
    let message = Message {
        term: 0x0102_0304_0506_0708,
        standing: Standing::Pausing,
        members: 3,
        size: 9,
        first: Key { family: Family::Ipv6, vrid: Vrid::new(255).expect("is legal"), addresses: u64::MAX },
        master_down_interval: WAIT,
    };
    let octets = message.to_octets();
    assert_eq!(Message::from_octets(&octets), Some(message));
    assert_eq!(Message::from_octets(&octets[..31]), None);
    assert_eq!(Message::from_octets(&[&octets[..], &[0]].concat()), None);
    for (place, value) in [(0, 2), (1, 5), (4, 5), (5, 0), (6, 1), (7, 1)] {
        let mut other = octets;
        other[place] = value;
        assert_eq!(Message::from_octets(&other), None, "octet {place}");
    }
}

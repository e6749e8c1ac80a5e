//! Groups within one process and across processes.

use vrrpd_common::group::{Key, Lacking, Message, PeerId, Standing};
use vrrpd_common::router::Reason;

use super::*;
use crate::config::GroupConfig;
use crate::group::{FormedGroup, NotAdmitted};
use crate::script::{Script, Scripts};

const PEER: PeerId = PeerId(0);

/// An engine with one router on each interface, all members of one group.
struct Grouped {
    engine: Engine,
    routers: Vec<RouterId>,
    now: Instant,
}

impl Grouped {
    /// All routers are Backup; the group has this size.
    fn new(interfaces: &[&str], size: u8) -> Self {
        let (engine, now) = (Engine::new(true), Instant::ZERO + Duration::from_secs(1000));
        let mut grouped = Self { engine, routers: Vec::new(), now };
        for name in interfaces {
            let mut link = Link::new((*name).to_owned());
            link.interface = Some(eth0(vec![address("192.0.2.1/24")]));
            let link = grouped.engine.add_link(link);
            let config =
                RouterConfig { interface: (*name).to_owned(), grouped: true, ..config("192.0.2.100") };
            let id = grouped.engine.add(Router::new(config, link, TimeOfDay::default()));
            grouped.routers.push(id);
        }
        let groups = vec![group(interfaces, size)];
        assert_eq!(grouped.input(Input::FormGroups { groups, seed: 7 }), []);
        for id in grouped.routers.clone() {
            grouped.event(id, Event::InterfaceUp(OURS.into()));
            grouped.event(id, Event::Startup);
        }
        grouped.settle();
        grouped
    }

    fn time(&self) -> Now {
        Now { at: self.now, time_of_day: TimeOfDay::default() }
    }

    /// The outputs of an input. There is no kernel data path, and the system grants every request.
    fn input(&mut self, input: Input<'_>) -> Vec<Output> {
        self.engine.handle(self.time(), input);
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(output) = self.engine.next_output() {
            match &output {
                Output::ReadRecord(id) => self.engine.handle(self.time(), Input::Record(*id, None)),
                Output::Ask(ticket, Order::Take { resources, .. } | Order::Release(resources)) => {
                    let results = resources.iter().map(|_| Ok(())).collect();
                    let outcome = Outcome { results, ..Outcome::default() };
                    self.engine.handle(self.time(), Input::Answered(*ticket, outcome));
                }
                _ => outputs.push(output),
            }
        }
        outputs
    }

    fn event(&mut self, id: RouterId, event: Event) -> Vec<Output> {
        self.input(Input::Event(id, event, None))
    }

    fn settle(&mut self) -> Vec<Output> {
        let outputs = self.input(Input::SettleGroups);
        assert!(!self.engine.groups().has_news());
        outputs
    }

    /// The master-down timers of all routers expire.
    fn miss_masters(&mut self) -> Vec<Output> {
        self.now = self.engine.deadline().expect("a Backup waits for its master");
        let due = self.engine.due(self.now);
        due.into_iter().flat_map(|id| self.event(id, Event::Timer)).collect()
    }

    fn states(&self) -> Vec<StateName> {
        self.engine.routers().values().map(Router::state_told).collect()
    }
}

fn group(interfaces: &[&str], size: u8) -> GroupConfig {
    let members = interfaces.iter().map(|name| format!("{name}/51")).collect();
    GroupConfig { name: None, size, members, scripts: Scripts::none(Duration::from_secs(60)) }
}

fn with_scripts(interfaces: &[&str]) -> GroupConfig {
    let mut group = GroupConfig { name: Some("lan".to_owned()), ..group(interfaces, 2) };
    group.scripts.notify = Some(Script::new("/bin/true".into()));
    group
}

/// A message from another process with one member.
fn said(term: u64, standing: Standing) -> Message {
    let config = config("192.0.2.100");
    let first = Key { family: config.family, vrid: config.vrid, addresses: u64::MAX };
    let master_down_interval = Duration::from_secs(3);
    Message { term, standing, members: 1, size: 2, first, master_down_interval }
}

fn told(outputs: &[Output]) -> Vec<Message> {
    let messages = outputs.iter().filter_map(|output| match output {
        Output::TellGroupPeers(message) => Some(*message),
        _ => None,
    });
    messages.collect()
}

#[test]
fn members_become_master_when_all_are_willing_and_are_backup_when_one_yields() {
    let mut both = Grouped::new(&["eth0", "eth1"], 2);
    assert_eq!(both.miss_masters(), [], "each waits for the other");
    let outputs = both.settle();
    let transitions: Vec<_> = outputs.iter().filter_map(transition_of).collect();
    assert_eq!(transitions, [(StateName::Backup, StateName::Master); 2]);
    assert!(outputs.iter().any(|output| matches!(output, Output::Announce(..))), "{outputs:?}");
    let first = both.routers[0];
    both.event(first, Event::StandBack(Origin::Operator));
    assert_eq!(both.states(), [StateName::Backup, StateName::Master], "the group has not heard of it");
    let outputs = both.settle();
    assert!(
        outputs.contains(&Output::SendAdvert(both.routers[1], Priority::RESIGN)),
        "the other one yields: {outputs:?}"
    );
    assert_eq!(both.states(), [StateName::Backup; 2]);
}

#[test]
fn a_member_that_was_willing_for_a_moment_does_not_make_the_group_master() {
    let mut both = Grouped::new(&["eth0", "eth1"], 2);
    both.miss_masters();
    let last = both.routers[1];
    both.event(last, Event::Advert(advert(200)));
    let told: Vec<_> = told(&both.settle()).into_iter().map(|message| message.standing).collect();
    assert!(!told.contains(&Standing::Willing), "{told:?}");
    assert_eq!(both.states(), [StateName::Backup; 2]);
    let formed = both.engine.groups().get(0).expect("it was formed");
    assert_eq!(formed.lacking(), Some(Lacking::Standing(Standing::Listening)));
    let standings: Vec<_> = formed.members().map(|(_, standing)| standing).collect();
    assert_eq!(standings, [Standing::Willing, Standing::Listening]);
}

#[test]
fn a_process_is_master_while_the_others_of_its_group_are_ready() {
    let mut one = Grouped::new(&["eth0"], 2);
    one.miss_masters();
    let outputs = one.settle();
    assert_eq!(told(&outputs).last().map(|message| message.standing), Some(Standing::Willing));
    assert_eq!(one.states(), [StateName::Backup], "nobody else is there");
    assert_eq!(one.input(Input::GroupPeerSaid(PEER, said(0, Standing::Willing))), []);
    let outputs = one.settle();
    assert_eq!(one.states(), [StateName::Master]);
    assert_eq!(told(&outputs).last().map(|message| message.standing), Some(Standing::Master));
    assert_eq!(one.engine.groups().get(0).and_then(|group| group.peer(PEER)), Some(Standing::Willing));
    one.input(Input::GroupPeerGone(PEER));
    let outputs = one.settle();
    assert_eq!(one.states(), [StateName::Backup]);
    let last = told(&outputs).last().copied().expect("those that are left are told");
    assert_eq!((last.term, last.standing), (1, Standing::Listening));
}

#[test]
fn messages_to_others_come_before_actions_of_members() {
    let mut one = Grouped::new(&["eth0"], 2);
    one.miss_masters();
    one.input(Input::GroupPeerSaid(PEER, said(0, Standing::Willing)));
    one.settle();
    one.input(Input::GroupPeerSaid(PEER, said(1, Standing::Listening)));
    let outputs = one.settle();
    assert!(matches!(outputs[0], Output::TellGroupPeers(Message { term: 1, .. })), "{outputs:?}");
    assert!(outputs.contains(&Output::SendAdvert(one.routers[0], Priority::RESIGN)), "{outputs:?}");
}

#[test]
fn a_master_refreshes_its_lease_and_gives_up_when_a_process_is_silent() {
    let mut one = Grouped::new(&["eth0"], 2);
    one.miss_masters();
    one.input(Input::GroupPeerSaid(PEER, said(0, Standing::Master)));
    one.settle();
    let mut beats = 0;
    for _ in 0..20 {
        let due = one.engine.groups().deadline().expect("it is Master");
        assert!(one.engine.deadline().is_some_and(|at| at <= due), "the engine wakes for it");
        one.now = due;
        one.engine.expire(one.time());
        one.outputs();
        let outputs = one.settle();
        beats += told(&outputs).iter().filter(|message| message.standing == Standing::Master).count();
        if one.states() == [StateName::Backup] {
            break;
        }
    }
    assert_eq!(one.states(), [StateName::Backup], "a silent process does not count");
    assert!(beats > 1, "{beats}");
}

#[test]
fn scripts_of_a_group_run_once_for_each_state_of_all_members() {
    let mut both = Grouped::new(&["eth0", "eth1"], 2);
    let groups = vec![with_scripts(&["eth0", "eth1"])];
    both.input(Input::FormGroups { groups: groups.clone(), seed: 7 });
    assert_eq!(both.engine.groups().with_scripts(both.routers[1]), groups.first());
    let calls = |outputs: &[Output]| -> Vec<(usize, String, Vec<String>)> {
        let calls = outputs.iter().enumerate().filter_map(|(place, output)| match output {
            Output::RunGroupScripts(group, call) => {
                Some((place, group.clone(), call.runs[0].arguments.clone()))
            }
            _ => None,
        });
        calls.collect()
    };
    both.miss_masters();
    let outputs = both.settle();
    let arguments = |state: &str| ["GROUP", "lan", state, "0"].map(str::to_owned).to_vec();
    let last = outputs.iter().rposition(|output| transition_of(output).is_some()).expect("two transitions");
    let run = calls(&outputs);
    assert_eq!(run.last(), Some(&(last + 1, "lan".to_owned(), arguments("MASTER"))), "behind the transition");
    // A group with the same name and scripts continues: its scripts know that it is Master.
    both.input(Input::FormGroups { groups, seed: 8 });
    let first = both.routers[0];
    let outputs = both.input(Input::LinkGone(LinkId::FIRST, eth0(Vec::new()).index));
    let run: Vec<_> = calls(&outputs).into_iter().map(|(_, _, arguments)| arguments).collect();
    assert_eq!(run, [arguments("FAULT")]);
    both.input(Input::FormGroups { groups: vec![group(&["eth0", "eth1"], 2)], seed: 9 });
    assert_eq!(both.engine.groups().with_scripts(first), None);
}

#[test]
fn scripts_of_a_group_get_the_reason_of_the_last_member() {
    let mut both = Grouped::new(&["eth0", "eth1"], 2);
    both.input(Input::FormGroups { groups: vec![with_scripts(&["eth0", "eth1"])], seed: 7 });
    let outputs = both.event(both.routers[0], Event::InterfaceDown(Fault::LinkDown.into()));
    let reason = ("VRRP_REASON".into(), Reason::LinkDown.name().to_owned());
    let has_reason = |output: &Output| match output {
        Output::RunGroupScripts(_, call) => call.runs[0].environment.contains(&reason),
        _ => false,
    };
    assert!(outputs.iter().any(has_reason), "{outputs:?}");
}

#[test]
fn a_group_with_the_same_members_keeps_its_state_over_a_reload_and_others_restart() {
    let mut both = Grouped::new(&["eth0", "eth1"], 2);
    both.miss_masters();
    both.settle();
    let mut same = group(&["eth1", "eth0"], 2);
    same.name = Some("renamed".to_owned());
    assert_eq!(both.input(Input::FormGroups { groups: vec![same.clone()], seed: 7 }), []);
    assert_eq!(both.settle(), []);
    assert_eq!(both.engine.groups().get(0).map(FormedGroup::config), Some(&same));
    assert_eq!(both.states(), [StateName::Master; 2]);
    // Masters stay Master for a while, until the new member has won its election.
    let groups = vec![group(&["eth0"], 2)];
    both.input(Input::FormGroups { groups, seed: 7 });
    both.settle();
    let places: Vec<_> = both.engine.routers().values().map(|router| router.group.is_some()).collect();
    assert_eq!((both.states(), places), (vec![StateName::Master; 2], vec![true, false]));
    let until = both.engine.groups().deadline().expect("not for ever");
    both.now = until;
    both.engine.expire(both.time());
    both.settle();
    assert_eq!(both.states(), [StateName::Backup, StateName::Master], "the other one is in no group");
}

#[test]
fn a_changed_priority_is_sent_to_the_group() {
    let mut one = Grouped::new(&["eth0"], 2);
    let before = told(&one.event(one.routers[0], Event::Startup));
    assert_eq!(before, [], "nothing of it is new");
    one.input(Input::Step(one.routers[0], Step::Reduce));
    let told = told(&one.settle());
    let wait = vrrpd_common::timers::master_down_interval(
        vrrpd_common::Version::V3,
        Priority(90),
        config("192.0.2.100").interval,
        3,
    );
    assert_eq!(told.last().map(|message| message.master_down_interval), Some(wait));
}

#[test]
fn a_process_is_not_admitted_to_a_group_of_another_size_or_one_that_is_full() {
    let one = Grouped::new(&["eth0"], 2);
    let formed = one.engine.groups().get(0).expect("it was formed");
    let (message, other) =
        (said(0, Standing::Listening), Message { size: 3, ..said(0, Standing::Listening) });
    let admit = |others: &[(&str, Option<&Message>)], silent| formed.admit("eth0/51", others, silent);
    assert_eq!(admit(&[], 0), Ok(()));
    assert_eq!(admit(&[("eth1/51", Some(&message))], 0), Ok(()));
    let theirs = 3;
    let size = NotAdmitted::Size { ours: 2, peer: "eth1/51".to_owned(), theirs };
    assert_eq!(admit(&[("eth1/51", Some(&other))], 0), Err(size));
    let full = |names: &[&str]| {
        let members = names.iter().map(|name| (*name).to_owned()).collect();
        Err(NotAdmitted::Full { size: 2, members })
    };
    let two = [("eth2/51", Some(&message)), ("eth1/51", Some(&message))];
    assert_eq!(admit(&two, 0), full(&["eth1/51", "eth2/51"]));
    assert_eq!(admit(&two[..1], 1), full(&["eth2/51"]), "one stands still");
    let begin_together = |other| admit(&[("eth1/51", Some(&message)), (other, None)], 0);
    assert_eq!(begin_together("eth2/51"), Ok(()), "it is behind us by name");
    assert_eq!(begin_together("br0/51"), full(&["br0/51", "eth1/51"]));
    assert_eq!(formed.greeting().map(|message| (message.size, message.members)), Some((2, 1)));
    assert_eq!((formed.size(), formed.live()), (2, 1));
}

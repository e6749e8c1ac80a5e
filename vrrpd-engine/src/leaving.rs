//! The end of a process: how long it waits until its routers have given back everything.

use vrrpd_common::{Duration, Instant};

use crate::engine::Engine;
use crate::router::Router;

/// Deadline of a process that leaves; each answer of the system extends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    until: Instant,
    /// Number of answers of the system so far.
    answers: u64,
}

/// Whether to wait on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Yes, until then.
    Until(Instant),
    /// No: nothing is left to be done.
    Done,
    /// No: the system takes too long.
    InVain,
}

impl Patience {
    /// How long the system may take for one answer.
    pub const LIMIT: Duration = Duration::from_secs(2);

    /// Begins to wait.
    pub fn begin(now: Instant, engine: &Engine) -> Self {
        Self { until: now + Self::LIMIT, answers: engine.answers() }
    }

    /// Whether to wait on. `has_unsent`: adverts wait to be sent.
    pub fn go_on(&mut self, now: Instant, engine: &Engine, has_unsent: bool) -> Wait {
        if engine.answers() > self.answers {
            *self = Self::begin(now, engine);
        }
        if !has_unsent && !engine.waits_for_system() {
            Wait::Done
        } else if now >= self.until {
            Wait::InVain
        } else {
            Wait::Until(self.until)
        }
    }

    /// The deadline.
    pub const fn until(&self) -> Instant {
        self.until
    }
}

impl Engine {
    /// Whether a router waits for an answer of the system.
    pub fn waits_for_system(&self) -> bool {
        self.routers().values().any(|router| router.waiting.is_some())
    }

    /// Whether every router has given back all that it took.
    pub fn holds_nothing(&self) -> bool {
        self.routers().values().all(Router::holds_nothing)
    }
}

#[cfg(test)]
mod tests {
    use vrrpd_common::router::Event;

    use super::*;
    use crate::config::tests::router as config;
    use crate::engine::{Input, Now, Output};
    use crate::ids::{RouterId, Ticket};
    use crate::interface::OtherInterfaces;
    use crate::interface::tests::{address, eth0};
    use crate::ledger::{Journal, Outcome};
    use crate::link::Link;
    use crate::router::TimeOfDay;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(1000) + Duration::from_millis(millis)
    }

    fn input(engine: &mut Engine, millis: u64, input: Input<'_>) -> Vec<Ticket> {
        engine.handle(Now { at: at(millis), time_of_day: TimeOfDay::default() }, input);
        let mut asked = Vec::new();
        while let Some(output) = engine.next_output() {
            match output {
                Output::Ask(ticket, _) => asked.push(ticket),
                Output::ReadRecord(id) => {
                    engine.handle(
                        Now { at: at(millis), time_of_day: TimeOfDay::default() },
                        Input::Record(id, None),
                    );
                }
                _ => {}
            }
        }
        asked
    }

    /// An engine whose only router owns its address and has asked for it, with that ticket.
    fn owner() -> (Engine, RouterId, Ticket) {
        let mut engine = Engine::new(true);
        let mut link = Link::new("eth0".to_owned());
        link.interface = Some(eth0(vec![address("192.0.2.1/24")]));
        engine.add_link(link);
        let owner =
            crate::config::RouterConfig { priority: vrrpd_common::Priority::OWNER, ..config("192.0.2.100") };
        let now = Now { at: at(0), time_of_day: TimeOfDay::default() };
        let id = engine.begin(now, owner, OtherInterfaces::new(), &Journal::default()).expect("can begin");
        let asked = input(&mut engine, 0, Input::StartUp(id));
        (engine, id, asked[0])
    }

    fn answer(engine: &mut Engine, millis: u64, ticket: Ticket) -> Vec<Ticket> {
        let done = Outcome { results: vec![Ok(())], ..Outcome::default() };
        input(engine, millis, Input::Answered(ticket, done))
    }

    #[test]
    fn process_that_leaves_waits_as_long_as_the_system_answers_and_no_longer() {
        let (mut engine, id, take) = owner();
        input(&mut engine, 0, Input::Event(id, Event::Shutdown, None));
        let mut patience = Patience::begin(at(0), &engine);
        assert_eq!(patience.go_on(at(1), &engine, false), Wait::Until(at(2000)));
        let give_back = answer(&mut engine, 1500, take);
        assert_eq!(patience.go_on(at(1500), &engine, false), Wait::Until(at(3500)), "it has answered");
        assert!(!engine.holds_nothing());
        assert_eq!(patience.go_on(at(3499), &engine, false), Wait::Until(at(3500)));
        assert_eq!(patience.go_on(at(3500), &engine, false), Wait::InVain);
        answer(&mut engine, 3600, give_back[0]);
        assert_eq!(patience.go_on(at(3600), &engine, true), Wait::Until(at(5600)), "the resignation waits");
        assert_eq!(patience.go_on(at(3600), &engine, false), Wait::Done);
        assert!(engine.holds_nothing());
    }
}

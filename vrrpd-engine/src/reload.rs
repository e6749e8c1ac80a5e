//! The stages of a reload.
//!
//! A configuration is read, the interfaces and programs that it needs are requested, and it is checked. If it passes, routers
//! leave, and new ones start when all that leave have given back what they held. A newer configuration waits until then; before
//! any router leaves, it replaces the older one.

use std::collections::BTreeSet;

use crate::engine::Engine;
use crate::router::Router;

/// The stage of a reload. `C` is a configuration, `A` is what starts when the routers have left.
#[derive(Clone, Debug)]
pub struct Reload<C, A> {
    reading: Reading,
    /// Read, but not checked yet.
    read: Option<C>,
    stage: Stage<C, A>,
    /// New interfaces whose state is not known yet.
    awaited: BTreeSet<String>,
    /// Names claimed for routers that will start.
    promised: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    No,
    Once,
    /// Another reload was requested meanwhile.
    Again,
}

#[derive(Clone, Debug)]
enum Stage<C, A> {
    /// Nothing to do.
    Idle,
    /// Waiting for the interfaces and programs that it needs.
    Looking(C),
    /// Routers are leaving; these start afterwards.
    Changing(A),
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<C, A> {
    /// Nothing now.
    Wait,
    /// Request the interfaces and programs that this configuration needs; [`Reload::look_at`] follows.
    Look {
        /// The configuration.
        wanted: C,
        /// Programs loaded for an older configuration are not needed.
        supersedes: bool,
    },
    /// Check this configuration, and apply it ([`Reload::change`] follows) or refuse it. If a program has to be attached first,
    /// [`Reload::look_at`] follows.
    TryOut(C),
    /// All routers have left: start the new ones. If a program has to be attached first, [`Reload::change`] follows.
    Begin(A),
}

impl<C, A> Default for Reload<C, A> {
    fn default() -> Self {
        Self {
            reading: Reading::No,
            read: None,
            stage: Stage::Idle,
            awaited: BTreeSet::new(),
            promised: BTreeSet::new(),
        }
    }
}

impl<C, A> Reload<C, A> {
    /// Handles a request to read the file; returns whether to read it now. While it is being read, it is read once more
    /// afterwards.
    pub fn ask(&mut self) -> bool {
        let is_reading = self.reading != Reading::No;
        self.reading = if is_reading { Reading::Again } else { Reading::Once };
        !is_reading
    }

    /// Handles that the file was read; returns whether it has to be read again.
    pub fn is_out_of_date(&mut self) -> bool {
        std::mem::replace(&mut self.reading, Reading::No) == Reading::Again
    }

    /// Takes a configuration that was read. It replaces one that was not checked yet.
    pub fn take_in(&mut self, configuration: C) {
        self.read = Some(configuration);
    }

    /// Whether there is nothing to do.
    pub const fn is_idle(&self) -> bool {
        matches!((&self.stage, &self.read), (Stage::Idle, None))
    }

    /// The next step. `is_loading`: a program is being loaded or attached.
    pub fn next(&mut self, engine: &Engine, is_loading: bool) -> Step<C, A> {
        if is_loading || !self.awaited.is_empty() || engine.routers().values().any(Router::is_leaving) {
            return Step::Wait;
        }
        match (std::mem::replace(&mut self.stage, Stage::Idle), self.read.take()) {
            (Stage::Idle, None) => Step::Wait,
            (Stage::Idle, Some(wanted)) => Step::Look { wanted, supersedes: false },
            (Stage::Looking(_), Some(wanted)) => Step::Look { wanted, supersedes: true },
            (Stage::Looking(wanted), None) => Step::TryOut(wanted),
            (Stage::Changing(arriving), newer) => {
                self.read = newer;
                Step::Begin(arriving)
            }
        }
    }

    /// The state of a new interface was requested.
    pub fn await_interface(&mut self, name: String) {
        self.awaited.insert(name);
    }

    /// The state of this interface is known.
    pub fn followed(&mut self, name: &str) {
        self.awaited.remove(name);
    }

    /// What this configuration needs was requested.
    pub fn look_at(&mut self, wanted: C) {
        self.stage = Stage::Looking(wanted);
    }

    /// Routers were told to leave; these start afterwards.
    pub fn change(&mut self, arriving: A) {
        self.stage = Stage::Changing(arriving);
    }

    /// Sets the names claimed for routers that will start.
    pub fn promise(&mut self, names: BTreeSet<String>) {
        self.promised = names;
    }

    /// Whether a name is claimed for a router that will start, so that one that leaves must not release it.
    pub fn is_promised(&self, name: &str) -> bool {
        self.promised.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::router as config;
    use crate::link::Link;
    use crate::router::TimeOfDay;

    type Numbers = Reload<u32, u32>;

    fn engine() -> Engine {
        Engine::new(true)
    }

    #[test]
    fn configuration_is_looked_at_then_tried_out_and_those_that_come_are_begun() {
        let (mut reload, engine) = (Numbers::default(), engine());
        assert!(reload.is_idle());
        assert_eq!(reload.next(&engine, false), Step::Wait);
        reload.take_in(1);
        assert!(!reload.is_idle());
        assert_eq!(reload.next(&engine, false), Step::Look { wanted: 1, supersedes: false });
        reload.look_at(1);
        assert_eq!(reload.next(&engine, false), Step::TryOut(1));
        reload.change(10);
        assert_eq!(reload.next(&engine, false), Step::Begin(10));
        assert!(reload.is_idle());
    }

    #[test]
    fn newer_configuration_replaces_one_that_has_changed_nothing_and_waits_for_one_that_has() {
        let (mut reload, engine) = (Numbers::default(), engine());
        reload.take_in(1);
        reload.take_in(2);
        assert_eq!(reload.next(&engine, false), Step::Look { wanted: 2, supersedes: false });
        reload.look_at(2);
        reload.take_in(3);
        assert_eq!(reload.next(&engine, false), Step::Look { wanted: 3, supersedes: true });
        reload.look_at(3);
        assert_eq!(reload.next(&engine, false), Step::TryOut(3));
        reload.change(30);
        reload.take_in(4);
        assert_eq!(reload.next(&engine, false), Step::Begin(30));
        assert_eq!(reload.next(&engine, false), Step::Look { wanted: 4, supersedes: false });
    }

    #[test]
    fn nothing_goes_on_while_a_program_is_loaded_or_an_interface_awaited_or_a_router_leaves() {
        let (mut reload, mut engine) = (Numbers::default(), engine());
        let link = engine.add_link(Link::new("eth0".to_owned()));
        let mut router = Router::new(config("192.0.2.100"), link, TimeOfDay::default());
        router.leave();
        reload.take_in(1);
        assert_eq!(reload.next(&engine, true), Step::Wait);
        reload.await_interface("eth1".to_owned());
        assert_eq!(reload.next(&engine, false), Step::Wait);
        reload.followed("eth1");
        let id = engine.add(router);
        assert_eq!(reload.next(&engine, false), Step::Wait);
        engine.remove(id);
        assert_eq!(reload.next(&engine, false), Step::Look { wanted: 1, supersedes: false });
    }

    #[test]
    fn file_is_read_once_more_if_that_was_asked_for_while_it_was_read() {
        let mut reload = Numbers::default();
        assert!(reload.ask());
        assert!(!reload.ask() && !reload.ask());
        assert!(reload.is_out_of_date());
        assert!(reload.ask());
        assert!(!reload.is_out_of_date());
    }

    #[test]
    fn promised_names_are_not_given_back() {
        let mut reload = Numbers::default();
        reload.promise(["vrrpd_eth0_51".to_owned()].into());
        assert!(reload.is_promised("vrrpd_eth0_51") && !reload.is_promised("vrrpd_eth0_52"));
        reload.promise(BTreeSet::new());
        assert!(!reload.is_promised("vrrpd_eth0_51"));
    }
}

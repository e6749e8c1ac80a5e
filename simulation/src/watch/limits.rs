//! What outsiders can provoke stays within limits, as the watch sees it: by rules of its own, looser than those of the router.
//! Times are those of the router's machine.

use std::collections::VecDeque;

use crate::daemon::LineKind;

const SECOND: u64 = 1_000_000_000;
/// Announcements that may come at once; then one comes a second.
const ANNOUNCEMENTS: usize = 5;
/// Changes of state with a line each at once; then one comes a second.
const TRANSITIONS: usize = 10;
/// How often addresses that are taken away again and again are put back at once: the waits after that double from 10 ms to a
/// second, and begin anew when five seconds have passed.
const PUT_BACK: usize = 12;

/// What a router has done since it began.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    announcements: Recent,
    transitions: Recent,
    put_back: Recent,
    lines: Vec<(LineKind, u64)>,
}

/// When something was done lately.
#[derive(Clone, Debug, Default)]
struct Recent(VecDeque<u64>);

impl Recent {
    /// It is done again; `Err` when it was done more than twice `at_once` times while there was time for one a second.
    fn add(&mut self, at: u64, at_once: usize) -> Result<(), ()> {
        self.0.push_back(at);
        let most = 2 * at_once + 1;
        if self.0.len() > most {
            self.0.pop_front();
        }
        let least = (at_once as u64 - 1) * SECOND;
        let is_fast = self.0.front().is_some_and(|first| at.saturating_sub(*first) < least);
        if self.0.len() == most && is_fast { Err(()) } else { Ok(()) }
    }
}

impl Limits {
    /// It announces its addresses.
    pub(super) fn announces(&mut self, at: u64) -> Result<(), &'static str> {
        self.announcements.add(at, ANNOUNCEMENTS).map_err(|()| "announces its addresses too often")
    }

    /// It asks for addresses that it had as Master.
    pub(super) fn puts_back(&mut self, at: u64) -> Result<(), &'static str> {
        self.put_back.add(at, PUT_BACK).map_err(|()| "puts its addresses back too often")
    }

    /// It writes a line to the log.
    pub(super) fn logs(&mut self, at: u64, kind: &LineKind) -> Result<(), &'static str> {
        if *kind == LineKind::Transition {
            return self.transitions.add(at, TRANSITIONS).map_err(|()| "logs changes of its state too often");
        }
        match self.lines.iter_mut().find(|(known, _)| known == kind) {
            Some((_, last)) if at.saturating_sub(*last) < SECOND => {
                return Err("logs the same twice within a second");
            }
            Some((_, last)) => *last = at,
            None => self.lines.push((kind.clone(), at)),
        }
        Ok(())
    }
}

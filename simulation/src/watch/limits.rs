//! Limits for what outsiders can provoke, checked by separate rules that are looser than the router's own. Times are
//! those of the router's machine.

use std::collections::VecDeque;

use crate::daemon::LineKind;

const SECOND: u64 = 1_000_000_000;
/// Announcements that may come at once, then one a second.
const ANNOUNCEMENTS: usize = 5;
/// Transitions that may be logged at once, then one a second.
const TRANSITIONS: usize = 10;
/// Maximum burst of restoring addresses that are removed repeatedly: the delays double from 10 ms to a second, and
/// start again after five seconds.
const PUT_BACK: usize = 12;

/// The actions of a router since it started.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    announcements: Recent,
    transitions: Recent,
    put_back: Recent,
    /// The times of the last two lines of each kind.
    lines: Vec<(LineKind, [u64; 2])>,
    /// Adverts may be handled some time after they were heard, and their lines are limited by the time of the adverts.
    are_heard_before: bool,
}

/// Times of recent actions.
#[derive(Clone, Debug, Default)]
struct Recent(VecDeque<u64>);

impl Recent {
    /// Adds an action; `Err` if there were more than twice `at_once` at a rate of more than one a second.
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
    /// Nothing was done yet. `in_kernel`: a program in the kernel hears the adverts.
    pub(super) fn new(in_kernel: bool) -> Self {
        Self { are_heard_before: in_kernel, ..Self::default() }
    }

    /// The router announces its addresses.
    pub(super) fn announces(&mut self, at: u64) -> Result<(), &'static str> {
        self.announcements.add(at, ANNOUNCEMENTS).map_err(|()| "announces its addresses too often")
    }

    /// The router restores addresses that it had as Master.
    pub(super) fn puts_back(&mut self, at: u64) -> Result<(), &'static str> {
        self.put_back.add(at, PUT_BACK).map_err(|()| "puts its addresses back too often")
    }

    /// The router logs a line.
    pub(super) fn logs(&mut self, at: u64, kind: &LineKind) -> Result<(), &'static str> {
        if *kind == LineKind::Transition {
            return self.transitions.add(at, TRANSITIONS).map_err(|()| "logs changes of its state too often");
        }
        match self.lines.iter_mut().find(|(known, _)| known == kind) {
            Some((_, [before, last])) => {
                let limited = if self.are_heard_before { *before } else { *last };
                if at.saturating_sub(limited) < SECOND {
                    return Err("logs the same too often within a second");
                }
                (*before, *last) = (*last, at);
            }
            None => self.lines.push((kind.clone(), [0, at])),
        }
        Ok(())
    }
}

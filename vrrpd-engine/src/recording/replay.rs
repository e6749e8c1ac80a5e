//! Doing again what was recorded.

use std::fmt::Write;

use super::lines::{ReadError, Recorded, read};
use super::words::{self, clock, date};
use super::{Again, Entry, Segment, Step};
use crate::engine::{Engine, Input, Now, Output, Snapshot};
use crate::ids::RouterId;

/// Outputs that come of one input at most. More come of a damaged recording only.
const MAX_OUTPUTS: usize = 10_000;

/// What was recorded, in words: what happened, and what the engine made of it. The same text gives the same words.
///
/// # Errors
///
/// The first line that is wrong.
pub fn transcript(text: &str) -> Result<String, ReadError> {
    let mut words = String::new();
    for recorded in read(text)? {
        if !words.is_empty() {
            words.push('\n');
        }
        words += &replay(&recorded);
    }
    Ok(words)
}

/// The same of one router.
pub fn replay(recorded: &Recorded) -> String {
    let Recorded { head, segments } = recorded;
    let mut text = format!("{}, recorded by {}\n", head.router, head.program);
    for segment in segments {
        let (_, words) = segment.replay();
        text += &words;
    }
    text
}

impl Segment {
    /// The engine after all that happened, and all of it in words.
    pub(crate) fn replay(&self) -> (Engine, String) {
        let mut replay = Replay::begin(&self.snapshot);
        let mut entries = self.entries.iter().peekable();
        while let Some(entry) = entries.next() {
            replay.happens(entry);
            replay.drain(entries.peek().copied());
        }
        (replay.engine, replay.text)
    }
}

struct Replay {
    engine: Engine,
    text: String,
}

impl Replay {
    fn begin(snapshot: &Snapshot) -> Self {
        let now = snapshot.now;
        let text = format!("\n{} (UTC)\n", date(now));
        let mut replay = Self { engine: snapshot.clone().restore(), text };
        replay.say(now, "=", &words::snapshot(snapshot.router(), now.at));
        replay
    }

    /// Something happens to the router.
    fn happens(&mut self, entry: &Entry) {
        let Entry { now, what, .. } = entry;
        match what {
            Step::Input(input) => {
                if let Some(words) = words::input(input, now.at) {
                    self.say(*now, "<", &words);
                }
                let input = self.with_ticket(input.clone());
                self.engine.handle(*now, input);
            }
            Step::Expired => {
                self.say(*now, "<", "what was put off is due");
                self.engine.expire(*now);
            }
            Step::Checked { change, detail } => {
                self.say(*now, "<", &words::checked(change, detail));
                self.engine.check_has_changed(*now, *change, detail);
            }
            Step::Steady(again) => {
                let Again { steady, state } = &**again;
                self.say(*now, "<", &words::steady(steady, state, now.at));
                self.engine.go_on_from(*now, state.clone());
            }
        }
    }

    /// What comes of it, up to the next thing that happened before all was done.
    fn drain(&mut self, next: Option<&Entry>) {
        let next_after = next.and_then(|next| next.after);
        let is_record = next.is_some_and(|next| matches!(next.what, Step::Input(Input::Record(..))));
        let mut taken = 0;
        for _ in 0..MAX_OUTPUTS {
            if next_after == Some(taken) && !self.engine.awaits_record() {
                return;
            }
            let Some(output) = self.engine.next_output() else {
                if !self.engine.awaits_record() || is_record && next_after == Some(taken) {
                    return;
                }
                // What was read brought nothing new, so it was not kept.
                let now = self.engine.now();
                self.engine.handle(now, Input::Record(RouterId::FIRST, None));
                continue;
            };
            taken += u32::from(output.router().is_some());
            self.say_output(&output);
        }
    }

    /// An answer of the system belongs to what the router waits for here.
    fn with_ticket(&self, input: Input<'static>) -> Input<'static> {
        let router = self.engine.router(RouterId::FIRST);
        match (input, router.and_then(|router| router.waiting.as_ref())) {
            (Input::Answered(_, outcome), Some(pending)) => Input::Answered(pending.ticket, outcome),
            (input, _) => input,
        }
    }

    fn say_output(&mut self, output: &Output) {
        let words = self.engine.router(RouterId::FIRST).and_then(|router| words::output(output, router));
        if let Some(words) = words {
            self.say(self.engine.now(), ">", &words);
        }
    }

    fn say(&mut self, now: Now, sign: &str, words: &str) {
        // A string takes everything.
        let _ = writeln!(self.text, "{} {sign} {words}", clock(now));
    }
}

//! Replay of recordings.

use std::fmt::Write;

use super::lines::{ReadError, Recorded, read};
use super::segment::{Again, Entry, Segment, Step};
use super::words::{self, clock, date};
use crate::engine::{Engine, Input, Now, Output, Snapshot};
use crate::ids::RouterId;

/// Maximum number of outputs of one input. Only a damaged recording exceeds it.
const MAX_OUTPUTS: usize = 10_000;

/// The transcript of a recording: its inputs and the engine's outputs, in words. It depends on the text alone.
///
/// # Errors
///
/// The first invalid line.
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

/// The transcript of one router's recording.
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
    /// The engine at the end of the recording, and the transcript.
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

    /// Handles an entry.
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
                self.say(*now, "<", "a delayed action is due");
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

    /// Takes outputs until the engine is idle, or until the point where the next entry came in between.
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
                // Entries leave out records without news, so the time of the engine is kept.
                let now = self.engine.now();
                self.engine.handle(now, Input::Record(RouterId::FIRST, None));
                continue;
            };
            taken += u32::from(output.router().is_some());
            self.say_output(&output);
        }
    }

    /// The ticket of an answer is replaced by that of the pending request.
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
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{} {sign} {words}", clock(now));
    }
}

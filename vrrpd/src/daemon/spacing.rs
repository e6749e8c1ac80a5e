//! Lines of the log that whoever sends adverts could ask for without end: at most one a second of each kind.

use vrrpd_common::{Duration, Instant};

const SPACING: Duration = Duration::from_secs(1);

/// When which kind was said last. There are few kinds.
#[derive(Debug)]
pub(super) struct Spacing<K> {
    last: Vec<Last<K>>,
}

#[derive(Debug)]
struct Last<K> {
    kind: K,
    at: Instant,
    untold: u64,
}

impl<K> Default for Spacing<K> {
    fn default() -> Self {
        Self { last: Vec::new() }
    }
}

impl<K: PartialEq> Spacing<K> {
    /// Whether it is to be said now, and how many of its kind were not said since the last one.
    pub(super) fn admit(&mut self, now: Instant, kind: K) -> Option<u64> {
        match self.last.iter_mut().find(|last| last.kind == kind) {
            Some(last) if now.saturating_since(last.at) < SPACING => {
                last.untold += 1;
                None
            }
            Some(last) => {
                last.at = now;
                Some(std::mem::take(&mut last.untold))
            }
            None => {
                self.last.push(Last { kind, at: now, untold: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_said_once_a_second_with_the_count_of_what_was_not_said() {
        let mut spacing = Spacing::default();
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);
        assert_eq!(spacing.admit(at(0), "a"), Some(0));
        assert_eq!(spacing.admit(at(1), "b"), Some(0));
        for millis in 1..1000 {
            assert_eq!(spacing.admit(at(millis), "a"), None);
        }
        assert_eq!(spacing.admit(at(1000), "a"), Some(999));
        assert_eq!(spacing.admit(at(2000), "a"), Some(0));
    }
}

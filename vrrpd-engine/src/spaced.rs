//! Announcements with a minimum pause between two of a kind on an interface, for hosts and switches that drop frames of
//! a burst.

use std::collections::VecDeque;

use vrrpd_common::{Duration, Instant};

use crate::RouterId;

/// Kinds of announcements; each has its own pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Gratuitous ARP.
    Arp,
    /// Unsolicited neighbour advertisement.
    NeighbourAdvert,
}

/// The queued announcements of an interface.
#[derive(Debug)]
pub struct Spaced<T> {
    lanes: [Lane<T>; 2],
}

#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<Waiting<T>>,
    /// End of the pause after the last one.
    free_at: Instant,
}

#[derive(Debug)]
struct Waiting<T> {
    router: RouterId,
    pause: Duration,
    frame: T,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), free_at: Instant::ZERO }
    }
}

impl<T> Default for Spaced<T> {
    fn default() -> Self {
        Self { lanes: [Lane::default(), Lane::default()] }
    }
}

impl<T: Clone> Spaced<T> {
    /// Queues the announcements of a router, one for each of its addresses, `count` times, with this pause after each.
    /// If two rounds of the router are queued already, nothing is added. Returns the number added.
    pub fn push(&mut self, router: RouterId, kind: Kind, frames: &[T], count: u8, pause: Duration) -> usize {
        let waiting = &mut self.lanes[kind as usize].waiting;
        let all = frames.len() * usize::from(count);
        if waiting.iter().filter(|waiting| waiting.router == router).count() >= 2 * all {
            return 0;
        }
        for _ in 0..count {
            waiting.extend(frames.iter().map(|frame| Waiting { router, pause, frame: frame.clone() }));
        }
        all
    }

    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.waiting.is_empty())
    }

    /// Length of the queue.
    pub fn len(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting.len()).sum()
    }

    /// The announcements to send at `now`: at most one of each kind.
    pub fn due(&self, now: Instant) -> impl Iterator<Item = (Kind, &T)> {
        [Kind::Arp, Kind::NeighbourAdvert].into_iter().filter_map(move |kind| {
            let lane = &self.lanes[kind as usize];
            let first = lane.waiting.front().filter(|_| now >= lane.free_at)?;
            Some((kind, &first.frame))
        })
    }

    /// Notes that the first of this kind was sent at `now`.
    pub fn sent(&mut self, now: Instant, kind: Kind) {
        let lane = &mut self.lanes[kind as usize];
        if let Some(sent) = lane.waiting.pop_front() {
            lane.free_at = now + sent.pause;
        }
    }

    /// When the next one is due; `None`: the queue is empty.
    pub fn due_at(&self) -> Option<Instant> {
        let waiting = self.lanes.iter().filter(|lane| !lane.waiting.is_empty());
        waiting.map(|lane| lane.free_at).min()
    }

    /// Drops the announcements of this router.
    pub fn withdraw(&mut self, router: RouterId) {
        for lane in &mut self.lanes {
            lane.waiting.retain(|waiting| waiting.router != router);
        }
    }

    /// Empties the queue.
    pub fn clear(&mut self) {
        for lane in &mut self.lanes {
            lane.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id as _;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(1) + Duration::from_millis(millis)
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Sends everything as it becomes due, with milliseconds since the start.
    fn sent(spaced: &mut Spaced<char>) -> Vec<(u64, char)> {
        let mut sent = Vec::new();
        while let Some(due_at) = spaced.due_at() {
            let now = due_at.max(at(0));
            let due: Vec<_> = spaced.due(now).map(|(kind, frame)| (kind, *frame)).collect();
            for (kind, frame) in due {
                spaced.sent(now, kind);
                sent.push((now.saturating_since(at(0)).as_millis(), frame));
            }
        }
        sent
    }

    #[test]
    fn frames_of_a_kind_have_a_pause_across_routers_and_kinds_are_independent() {
        let mut spaced = Spaced::default();
        let [one, other] = [RouterId::new(1, 0), RouterId::new(2, 0)];
        assert_eq!(spaced.push(one, Kind::Arp, &['a', 'b'], 2, ms(100)), 4);
        spaced.push(other, Kind::Arp, &['c'], 1, ms(10));
        spaced.push(one, Kind::NeighbourAdvert, &['N', 'M'], 1, ms(250));
        let wanted = [(0, 'a'), (0, 'N'), (100, 'b'), (200, 'a'), (250, 'M'), (300, 'b'), (400, 'c')];
        assert_eq!(sent(&mut spaced), wanted);
        assert!(spaced.is_empty());
    }

    #[test]
    fn the_pause_counts_for_what_comes_later() {
        let mut spaced = Spaced::default();
        spaced.push(RouterId::FIRST, Kind::Arp, &['a'], 1, ms(100));
        spaced.sent(at(50), Kind::Arp);
        spaced.push(RouterId::FIRST, Kind::Arp, &['b'], 1, ms(100));
        assert_eq!((spaced.due(at(149)).count(), spaced.due_at()), (0, Some(at(150))));
        assert_eq!(spaced.due(at(150)).count(), 1);
    }

    #[test]
    fn a_router_has_two_rounds_waiting_at_most_and_nothing_once_it_is_withdrawn() {
        let mut spaced = Spaced::default();
        let [one, other] = [RouterId::new(1, 0), RouterId::new(2, 0)];
        let mut push = |router| spaced.push(router, Kind::Arp, &['a', 'b'], 3, ms(100));
        assert_eq!([push(one), push(one), push(one), push(other)], [6, 6, 0, 6]);
        assert_eq!(spaced.len(), 18);
        spaced.withdraw(one);
        assert_eq!(spaced.len(), 6);
        spaced.clear();
        assert_eq!(spaced.due_at(), None);
    }
}

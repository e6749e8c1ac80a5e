//! Hands what the kernel has recorded to the state machine, in order of arrival.

use vrrpd_common::router::{Event, StateName};
use vrrpd_common::timers::{learned_interval, master_down_interval};

use super::Engine;
use super::agenda::{Task, Work};
use super::feeding::Feeding;
use super::turn::Turn;
use crate::ids::RouterId;
use crate::kernel::Heard;
use crate::router::Router;

impl Engine {
    /// Whether the kernel monitors the deadline of a router.
    pub(super) fn is_watched_by_kernel(&self, id: RouterId) -> bool {
        self.router(id).is_some_and(Router::is_watched_by_kernel)
    }

    /// Handles an expired timer of the kernel program: the deadline counts if no advert came since and the program is still
    /// attached.
    pub(super) fn kernel_expired(&mut self, id: RouterId) {
        self.queue([Task::Hear, Task::CheckProgram].map(|task| (id, task)));
    }

    /// Handles the end of a held take-over: the kernel had already reported that the master-down timer expired.
    pub(super) fn hold_is_over(&mut self, id: RouterId) {
        // Once only, whatever follows.
        self.queue([Task::Unschedule, Task::Hear, Task::CheckProgram].map(|task| (id, task)));
    }

    fn queue(&mut self, tasks: impl IntoIterator<Item = (RouterId, Task)>) {
        self.agenda.incoming.extend(tasks.into_iter().map(|(id, task)| Work::Task(id, task)));
    }
}

impl Turn<'_> {
    /// Whether a Master ignores an advert of a record: its sender has been silent since then for a Master_Down_Interval. The
    /// kernel does not report each of several adverts to a Master (`report_spacing`), and the record may be read much later.
    fn is_out_of_date(&self, heard: &Heard) -> bool {
        let machine = &self.router.machine;
        if machine.state().name() != StateName::Master {
            return false;
        }
        let (config, theirs) = (machine.config(), heard.advert.interval);
        let interval = learned_interval(config.version, config.interval, theirs, config.max_learned_interval);
        let wait = master_down_interval(config.version, machine.priority(), interval, config.down_multiplier);
        self.now.at > heard.at + wait
    }

    /// Hands the next item of a record to the state machine.
    pub(super) fn feed(&mut self, mut feeding: Box<Feeding>) {
        let Some(heard) = self.router.kernel.next_advert(&self.router.config, &feeding.record) else {
            let Feeding { record, has_fed, other_subnet, is_last, .. } = *feeding;
            match other_subnet {
                // Adverts of other routers since then are unknown.
                Some(_) if is_last => self.next(Task::ListenAgain),
                Some(source) => self.leave_to_sockets(source),
                None if has_fed && !is_last => self.correct_kernel(&record),
                None => {}
            }
            return;
        };
        if self.is_out_of_date(&heard) {
            return self.next(Task::Feed(feeding));
        }
        if feeding.elsewhere.contains(&heard.advert.source) {
            // Other adverts neither reset a timer nor displace a Master, so they are harmless.
            if heard.counts {
                feeding.other_subnet = Some(heard.advert.source);
            }
            return self.next(Task::Feed(feeding));
        }
        feeding.has_fed = true;
        self.next(Task::Feed(feeding));
        self.next(Task::Event { at: Some(heard.at), event: Event::Advert(heard.advert), is_heard: true });
    }
}

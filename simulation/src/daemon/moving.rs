//! Reception by the program in the kernel, and its move to a larger object when a reload needs more room, as in
//! `vrrpd/src/daemon`: packet sockets listen while another thread replaces the program.

use vrrpd_common::abi::EventKind;
use vrrpd_common::router::StateName;
use vrrpd_common::timers::master_down_interval;
use vrrpd_common::{Advert, Duration, Instant};
use vrrpd_engine::Input;

use super::program::Program;
use super::{Daemon, Effect, moment};

/// What receives the adverts of a router.
#[derive(Clone, Debug, Default)]
pub(super) enum Path {
    /// Packet sockets.
    #[default]
    Raw,
    /// The program in the kernel.
    Kernel(Box<Program>),
}

/// The larger object that a reload needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Larger {
    /// None is needed.
    #[default]
    No,
    /// The configuration needs one.
    Needed,
    /// It is being loaded.
    Loading,
    /// It is loaded.
    Loaded,
    /// The program is being moved to it.
    Moving,
}

impl Daemon {
    /// Whether the adverts for the router on a LAN are handled by the program in the kernel.
    pub fn is_in_kernel(&self, lan: usize) -> bool {
        self.place(lan).is_some_and(|place| matches!(place.path, Path::Kernel(_)))
    }

    /// The program in the kernel receives an advert; returns the event for the process.
    pub fn kernel_hears(&mut self, now: Instant, of: usize, advert: &Advert) -> Option<EventKind> {
        let mut places = self.places.iter_mut();
        let place = places.find(|place| place.lan == of)?;
        let Path::Kernel(program) = &mut place.path else { return None };
        program.hear(now, advert).then_some(EventKind::Advert)
    }

    /// When the next timer of a program fires.
    pub fn kernel_deadline(&self) -> Option<Instant> {
        self.places.iter().filter_map(|place| place.path.program()?.timer_at()).min()
    }

    /// Handles the timers that have fired; returns the events for the process, with their LANs.
    pub fn fire_kernel_timers(&mut self, now: Instant) -> Vec<(usize, EventKind)> {
        let fired = self.places.iter_mut().filter_map(|place| {
            let Path::Kernel(program) = &mut place.path else { return None };
            let event = program.timer_at().is_some_and(|at| at <= now).then(|| program.fire(now))?;
            Some((place.lan, event?))
        });
        fired.collect()
    }

    /// The deadline and the Master_Down_Interval of a Backup that follows a master; `None` for any other router.
    pub fn follows_until(&self, lan: usize) -> Option<(Instant, Duration)> {
        let router = self.router(lan).filter(|router| !router.is_busy())?;
        let machine = &router.machine;
        if machine.state().name() != StateName::Backup || machine.has_won() {
            return None;
        }
        let (config, interval) = (machine.config(), machine.master_adver_interval());
        let wait = master_down_interval(config.version, machine.priority(), interval, config.down_multiplier);
        let deadline = match self.place(lan)?.path.program() {
            Some(program) => Instant::from_nanos(program.record().deadline),
            None => machine.deadline()?,
        };
        Some((deadline, wait))
    }

    /// The program for a new router, if there are programs.
    pub(super) fn open(&mut self, now: Instant, lan: usize) {
        if self.in_kernel {
            self.set_path(now, lan, Path::Kernel(Box::default()));
        }
    }

    /// Handles an event of the program.
    pub(super) fn reported(&mut self, now: Instant, lan: usize, kind: EventKind) {
        // Packet sockets receive while a program is moved to another object.
        if !self.is_in_kernel(lan) {
            return;
        }
        if let Some(id) = self.place(lan).and_then(|place| place.id) {
            self.input(
                now,
                match kind {
                    EventKind::Advert => Input::Hear(id),
                    EventKind::Expired => Input::KernelExpired(id),
                },
            );
        }
    }

    /// Reads a configuration that needs a larger object.
    pub(super) fn grow(&mut self, of: usize) {
        if let Some(place) = self.places.iter_mut().find(|place| place.lan == of) {
            if place.larger == Larger::No {
                place.larger = Larger::Needed;
            }
            self.read_again();
        }
    }

    /// Loads the larger objects that a configuration needs. Those of a configuration that was superseded are closed.
    pub(super) fn load(&mut self, supersedes: bool) {
        for place in &mut self.places {
            let has_program = matches!(place.path, Path::Kernel(_));
            place.larger = match place.larger {
                Larger::Needed if has_program => {
                    self.effects.push(Effect::Loads(place.lan));
                    Larger::Loading
                }
                Larger::Needed => Larger::No,
                Larger::Loaded if supersedes => Larger::No,
                other => other,
            };
        }
    }

    /// Whether an object is being loaded, or a program moved.
    pub(super) fn is_loading(&self) -> bool {
        self.places.iter().any(|place| matches!(place.larger, Larger::Loading | Larger::Moving))
    }

    pub(super) fn loaded(&mut self, of: usize) {
        for place in self.places.iter_mut().filter(|place| place.lan == of) {
            place.larger = Larger::Loaded;
        }
    }

    /// Begins to move programs to larger objects; returns whether there are any.
    pub(super) fn move_programs(&mut self, now: Instant) -> bool {
        let mut are_some = false;
        for place in 0..self.places.len() {
            let lan = self.places[place].lan;
            if self.places[place].larger != Larger::Loaded {
                continue;
            }
            let Path::Kernel(program) = &self.places[place].path else {
                self.places[place].larger = Larger::No;
                continue;
            };
            let last = Box::new(*program.record());
            self.places[place].larger = Larger::Moving;
            self.set_path(now, lan, Path::Raw);
            if let Some(id) = self.places[place].id {
                self.engine.handle(moment(now), Input::LastRecord(id, last));
                self.input(now, Input::Schedule(id));
            }
            self.effects.push(Effect::Moves(lan));
            are_some = true;
        }
        are_some
    }

    /// The program goes on, with maps that know no router yet.
    pub(super) fn moved(&mut self, now: Instant, lan: usize) {
        let Some(place) = self.places.iter_mut().find(|place| place.lan == lan) else { return };
        if place.larger != Larger::Moving {
            return;
        }
        place.larger = Larger::No;
        let Some(id) = place.id else { return };
        self.set_path(now, lan, Path::Kernel(Box::default()));
        if let Some(router) = self.engine.router(id) {
            self.engine.handle(moment(now), Input::KernelForgot(router.link));
        }
        // Packet sockets are read between the two; here they are empty.
        for input in [Input::TellKernel(id), Input::TellKernel(id), Input::Schedule(id)] {
            self.input(now, input);
        }
    }

    fn set_path(&mut self, now: Instant, of: usize, path: Path) {
        let in_kernel = matches!(path, Path::Kernel(_));
        let Some(place) = self.places.iter_mut().find(|place| place.lan == of) else { return };
        place.path = path;
        if let Some(router) = place.id.and_then(|id| self.engine.router(id)) {
            let input = Input::InKernel { link: router.link, in_kernel, sees_tags: true };
            self.engine.handle(moment(now), input);
        }
    }
}

impl Path {
    /// The program, if there is one.
    pub(super) fn program(&self) -> Option<&Program> {
        match self {
            Self::Raw => None,
            Self::Kernel(program) => Some(program),
        }
    }

    /// The program, to be changed.
    pub(super) fn program_mut(&mut self) -> Option<&mut Program> {
        match self {
            Self::Raw => None,
            Self::Kernel(program) => Some(program),
        }
    }
}

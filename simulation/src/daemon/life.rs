//! Start, reload and end of a process.

use std::collections::{BTreeSet, VecDeque};

use vrrpd_common::router::Event;
use vrrpd_common::{Duration, Instant};
use vrrpd_engine::config::{GroupConfig, RouterConfig};
use vrrpd_engine::interface::{Interface, OtherInterfaces};
use vrrpd_engine::leaving::{Patience, Wait};
use vrrpd_engine::ledger::{Journal, Undo};
use vrrpd_engine::link::Link;
use vrrpd_engine::plan::Plan;
use vrrpd_engine::reload::{Reload, Step};
use vrrpd_engine::script::Scripts;
use vrrpd_engine::track::CheckConfig;
use vrrpd_engine::{Engine, Input, RouterId, Ticket};

use super::moving::{Larger, Path};
use super::{Daemon, Effect, Place, Stage, moment};
use crate::kernel::Cache;

/// Ticket of requests that belong to no router.
pub(super) const NOBODY_S: Ticket = Ticket(0);

/// The initial state of a process.
#[derive(Clone, Debug)]
pub struct Begin {
    /// Index of the process in its machine.
    pub slot: usize,
    /// Its routers, with their LANs.
    pub routers: Vec<(usize, RouterConfig)>,
    /// Size of the group of all its routers, and the seed of the group.
    pub group: Option<(u8, u64)>,
    /// Their interfaces, in the same order.
    pub interfaces: Vec<Interface>,
    /// The kernel stores our mark with addresses.
    pub marks: bool,
    /// The checks of its routers.
    pub checks: Vec<CheckConfig>,
    /// The journal of an earlier process.
    pub journal: Journal,
    /// Adverts are handled by programs in the kernel.
    pub in_kernel: bool,
}

impl Daemon {
    /// Starts a process; [`Daemon::finish`] ends its first turn.
    pub fn begin(now: Instant, begin: Begin) -> Self {
        let Begin { slot, routers, group, interfaces, marks, checks, journal, in_kernel } = begin;
        let mut engine = Engine::new(marks);
        let mut places = Vec::new();
        for ((lan, config), interface) in routers.into_iter().zip(&interfaces) {
            let mut link = Link::new(config.interface.clone());
            link.interface = Some(interface.clone());
            engine.add_link(link);
            places.push(Place {
                lan,
                id: None,
                config,
                path: Path::Raw,
                larger: Larger::No,
                preparations: (0, false),
                seen: None,
            });
        }
        engine.configure_checks(&checks, places.iter().map(|place: &Place| &place.config));
        let members = || places.iter().map(|place: &Place| place.config.name().to_string()).collect();
        let seed = group.map_or(0, |(_, seed)| seed);
        let group = group.map(|(size, _)| GroupConfig {
            name: None,
            size,
            members: members(),
            scripts: Scripts::none(Duration::from_secs(60)),
        });
        let mut daemon = Self {
            engine,
            slot,
            places,
            in_kernel,
            group,
            seed,
            cache: Cache::new(interfaces.clone()),
            stage: Stage::Starting { nobody_s: 0, early: VecDeque::new() },
            reload: Reload::default(),
            journal: String::new(),
            untold: BTreeSet::new(),
            effects: Vec::new(),
            flushed: 0,
        };
        for place in 0..daemon.places.len() {
            let config = daemon.places[place].config.clone();
            daemon.begin_router(now, place, config, &journal, false);
        }
        daemon.form_groups(now, daemon.group.clone());
        for id in daemon.ids() {
            daemon.input(now, Input::Prepare(id));
        }
        let undo = Undo::plan(&journal, &interfaces, marks, |found| daemon.engine.sees_to(found));
        daemon.stage = Stage::Starting { nobody_s: undo.orders.len(), early: VecDeque::new() };
        daemon.effects.extend(undo.orders.into_iter().map(|order| Effect::Ask(NOBODY_S, order)));
        daemon
    }

    fn begin_router(
        &mut self,
        now: Instant,
        place: usize,
        config: RouterConfig,
        journal: &Journal,
        skips_start_delay: bool,
    ) {
        let lan = self.places[place].lan;
        let machine = Box::new(config.machine());
        let id = self
            .engine
            .begin(moment(now), config, OtherInterfaces::new(), journal)
            .expect("nothing is in its way");
        self.places[place].id = Some(id);
        self.places[place].seen = None;
        self.effects.push(Effect::Begins { lan, config: machine, skips_start_delay });
        self.drain(now);
        self.open(now, lan);
        self.input(now, Input::Track(id));
    }

    fn form_groups(&mut self, now: Instant, groups: impl IntoIterator<Item = GroupConfig>) {
        let groups = groups.into_iter().collect();
        self.input(now, Input::FormGroups { groups, seed: self.seed });
        self.seed = self.seed.wrapping_add(1_000_000);
    }

    /// Starts the routers when the leftovers of an earlier process are gone.
    pub(super) fn serve_if_ready(&mut self, now: Instant) {
        let is_waiting = self.engine.waits_for_system();
        let Stage::Starting { nobody_s: 0, early } = &mut self.stage else { return };
        if is_waiting {
            return;
        }
        let early = std::mem::take(early);
        self.stage = Stage::Serving;
        self.effects.extend(self.greeting().map(Effect::Tell));
        self.write_journal(true);
        for id in self.ids() {
            self.input(now, Input::StartUp(id));
        }
        for stimulus in early {
            self.take_in(now, stimulus);
        }
    }

    /// Reads the configuration of a router again.
    pub(super) fn read(&mut self, lan: usize, config: RouterConfig) {
        if let Some(place) = self.places.iter_mut().find(|place| place.lan == lan) {
            place.config = config;
            self.read_again();
        }
    }

    /// A configuration was read.
    pub(super) fn read_again(&mut self) {
        self.reload.take_in(self.places.iter().map(|place| place.config.clone()).collect());
    }

    /// Continues a reload as far as possible now.
    pub(super) fn settle(&mut self, now: Instant) {
        if self.reload.is_idle() || !matches!(self.stage, Stage::Serving) {
            return;
        }
        loop {
            for router in self.engine.leaving() {
                self.input(now, Input::SeeOff { router, is_spoken: true });
            }
            match self.reload.next(&self.engine, self.is_loading()) {
                Step::Wait => return,
                // Every interface is known.
                Step::Look { wanted, supersedes } => {
                    self.load(supersedes);
                    self.reload.look_at(wanted);
                }
                Step::TryOut(wanted) => self.make_so(now, &wanted),
                Step::Begin(arriving) if self.move_programs(now) => self.reload.change(arriving),
                Step::Begin(arriving) => self.begin_all(now, arriving),
            }
            self.flush(now);
        }
    }

    fn make_so(&mut self, now: Instant, configs: &[RouterConfig]) {
        let wanted: Vec<_> = configs.iter().collect();
        let plan = Plan::new(&self.engine, &wanted, |_, _| true);
        let groups: Vec<_> = self.group.clone().into_iter().collect();
        self.form_groups(now, plan.groups_until_then(&groups, &wanted));
        for (id, place) in plan.exchanged {
            self.input(now, Input::Exchange(id, Box::new(configs[place].clone())));
        }
        for id in plan.leaving {
            self.input(now, Input::Leave(id));
        }
        self.reload.change(plan.arriving.into_iter().map(|place| (place, configs[place].clone())).collect());
    }

    fn begin_all(&mut self, now: Instant, arriving: Vec<(usize, RouterConfig)>) {
        let places: Vec<_> = arriving.iter().map(|(place, _)| *place).collect();
        for (place, config) in arriving {
            self.begin_router(now, place, config, &Journal::default(), true);
        }
        self.form_groups(now, self.group.clone());
        self.write_journal(false);
        let begun: Vec<_> = places.into_iter().filter_map(|place| self.places[place].id).collect();
        for id in &begun {
            self.input(now, Input::Prepare(*id));
        }
        for id in begun {
            self.input(now, Input::SkipStartDelay(id));
            self.input(now, Input::StartUp(id));
        }
    }

    /// Removes everything of the router but its slot.
    pub(super) fn forget(&mut self, id: RouterId) {
        self.engine.remove(id);
        for place in self.places.iter_mut().filter(|place| place.id == Some(id)) {
            place.id = None;
            place.path = Path::Raw;
            place.preparations.1 = false;
        }
    }

    /// Every router hands over.
    pub(super) fn leave(&mut self, now: Instant) {
        self.stage = Stage::Leaving(Patience::begin(now, &self.engine));
        for id in self.ids() {
            self.input(now, Input::Event(id, Event::Shutdown, None));
        }
    }

    /// Ends when everything has been given back, or the kernel takes too long.
    pub(super) fn end_if_done(&mut self, now: Instant) {
        let Stage::Leaving(patience) = &mut self.stage else { return };
        match patience.go_on(now, &self.engine, false) {
            Wait::Until(_) => {}
            Wait::Done | Wait::InVain => {
                self.effects.push(Effect::Ends { is_clean: self.engine.holds_nothing() });
            }
        }
    }

    fn ids(&self) -> Vec<RouterId> {
        self.engine.routers().ids().collect()
    }
}

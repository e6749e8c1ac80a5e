//! What the kernel path is told of a router, and which of what it tells is news.
//!
//! The state machine and [`vrrpd_common::watch`] in the kernel reckon by the same rules. The kernel is told of each change of
//! role, priority or deadline, and of what adverts have to look like; an advert that it has reported has moved its deadline
//! already. The configuration gets another generation when the checks of adverts change, so that the kernel notices an
//! advert that was checked by half of each.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrpd_common::abi::{KernelCommand, KernelConfig, KernelCounters, KernelRole, RouterRecord, flag, slot};
use vrrpd_common::classify::Expect;
use vrrpd_common::router::{State, StateName, VirtualRouter};
use vrrpd_common::{Advert, Instant, Reject};

use crate::config::RouterConfig;
use crate::interface::Interface;

/// Nanoseconds between two reports of the kernel about one router that are not urgent: bounds what a flood of changing or
/// lower adverts costs. The record holds the newest state anyway.
const REPORT_SPACING: u64 = 500_000_000;
/// The same for a member of a group that is Master, or would be: the shortest interval of adverts. It may have to bear a
/// better master for some time, and to know at every advert whether that is still there.
const GROUP_REPORT_SPACING: u64 = 10_000_000;

/// What the kernel was told of a router, and what it told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KernelSide {
    /// Boxed: without a program in the kernel there is nothing.
    told: Option<Box<Told>>,
    /// Counts changes of what adverts have to look like.
    generation: u32,
    /// The newest advert of a record that the state machine has seen, in nanoseconds.
    fed_until: u64,
    /// When the record was read last, in nanoseconds.
    read_at: u64,
    /// Discarded adverts that the log has told of. Boxed: mostly there are none.
    rejected: Option<Box<KernelCounters>>,
}

/// What a command says of a router, except for what numbers the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    config: KernelConfig,
    /// When a Backup misses its master, in nanoseconds; 0: never.
    deadline: u64,
    /// In centiseconds.
    master_interval: u16,
}

/// What decides beside the state machine what the kernel has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// It has an Authentication Header, which the kernel cannot verify.
    pub is_verified_by_us: bool,
    /// It is a member of a group.
    pub is_grouped: bool,
    /// Adverts that were handled are passed on.
    pub passes_on: bool,
}

/// What to tell the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// It knows.
    Nothing,
    /// The virtual addresses, then the command: it does not know the router yet.
    All,
    /// The command.
    Command,
}

impl Told {
    /// What the kernel has to know of a router whose adverts have to look like `expect`.
    pub fn of(machine: &VirtualRouter, circumstances: Circumstances, expect: &Expect) -> Self {
        let role = role(machine, circumstances);
        let is_member_s = circumstances.is_grouped && role == KernelRole::Master;
        let is_urgent = is_member_s || machine.is_preparing();
        let mut config = KernelConfig {
            addresses: machine.config().addresses.to_bits(),
            report_spacing: if is_urgent { GROUP_REPORT_SPACING } else { REPORT_SPACING },
            role: role as u8,
            priority: machine.priority().0,
            max_learned_interval: machine.config().max_learned_interval.as_centis(),
            lowest_followed: machine.lowest_followed().0,
            down_multiplier: machine.config().down_multiplier,
            ..KernelConfig::default()
        };
        config.set(flag::PASS_ON, circumstances.passes_on);
        let deadline = match machine.state() {
            State::Backup(backup) if role == KernelRole::Backup => backup.master_down_at,
            State::Backup(_) | State::Initialize | State::Fault(_) | State::Master(_) => Instant::ZERO,
        };
        Self {
            config: config.expecting(expect),
            deadline: deadline.as_nanos(),
            master_interval: machine.master_adver_interval().as_centis(),
        }
    }

    /// What adverts have to look like, without what they do to whom.
    fn checks(&self) -> KernelConfig {
        let role = u8::from(self.config.role != 0);
        KernelConfig {
            role,
            priority: 0,
            report_spacing: 0,
            max_learned_interval: 0,
            lowest_followed: 0,
            down_multiplier: 0,
            ..self.config
        }
    }

    /// Whether a Backup waits for its master, with another deadline than the kernel has in this record.
    pub fn corrects(&self, record: &RouterRecord) -> bool {
        let is_backup = |role: u8| KernelRole::from_number(role) == KernelRole::Backup;
        is_backup(record.role) && is_backup(self.config.role) && self.deadline != record.deadline
    }
}

fn role(machine: &VirtualRouter, circumstances: Circumstances) -> KernelRole {
    match machine.state().name() {
        _ if circumstances.is_verified_by_us => KernelRole::Init,
        StateName::Init | StateName::Fault => KernelRole::Init,
        // It has waited long enough, and any advert may change its mind, as with a Master.
        StateName::Backup if machine.has_won() => KernelRole::Master,
        StateName::Backup => KernelRole::Backup,
        StateName::Master => KernelRole::Master,
    }
}

impl KernelSide {
    /// The record is older than the router: the log has told of what was discarded before.
    pub fn begin_with(&mut self, record: &RouterRecord) {
        self.rejected = Some(Box::new(record.rejected));
    }

    /// The same without the password that adverts are compared with.
    #[must_use]
    pub fn without_secret(mut self) -> Self {
        if let Some(told) = &mut self.told {
            told.config.auth_data = Default::default();
        }
        self
    }

    /// Whether the kernel has been told of the router.
    pub const fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// The kernel has to know this; says what to tell it. `was_reported`: the advert that led to this came from the kernel,
    /// and has moved its deadline as it has moved ours.
    pub fn tell(&mut self, now: Told, was_reported: bool) -> Tell {
        let before = self.told.as_deref().copied();
        **self.told.get_or_insert_with(|| Box::new(now)) = now;
        if before.map(|before| before.checks()) != Some(now.checks()) {
            self.generation = self.generation.wrapping_add(1);
        }
        match before {
            None => Tell::All,
            Some(before) if before == now || was_reported && before.config == now.config => Tell::Nothing,
            Some(_) => Tell::Command,
        }
    }

    /// The command that tells this of the router at `slot`.
    pub fn command(&self, slot: u32, now: Told) -> KernelCommand {
        KernelCommand {
            slot,
            deadline: now.deadline,
            known_until: self.read_at,
            master_interval: now.master_interval,
            config: KernelConfig { generation: self.generation, ..now.config },
            ..KernelCommand::default()
        }
    }

    /// The record is read now.
    pub const fn read(&mut self, now: Instant) {
        self.read_at = now.as_nanos();
    }

    /// Whether an advert that came at `at`, in nanoseconds, is new; it is not the next time.
    pub const fn is_new(&mut self, at: u64) -> bool {
        let is_new = at > self.fed_until;
        if is_new {
            self.fed_until = at;
        }
        is_new
    }

    /// The kernel has discarded so many adverts up to now. `tell` is given each reason with more of them than the log has told
    /// of, and returns whether it tells of them.
    pub fn discarded(&mut self, counted: &KernelCounters, mut tell: impl FnMut(Reject, u64) -> bool) {
        if *counted == self.rejected.as_deref().copied().unwrap_or_default() {
            return;
        }
        let told = self.rejected.get_or_insert_default();
        for ((reject, count), told) in Reject::ALL.into_iter().zip(counted).zip(told.iter_mut()) {
            if count > told && tell(reject, count - *told) {
                *told = *count;
            }
        }
    }

    /// The adverts of a record that the state machine has not been fed with, in the order in which they came.
    pub fn unheard(&self, config: &RouterConfig, record: &RouterRecord) -> impl Iterator<Item = Heard> {
        let (number, fed_until) = (slot(config.family, config.vrid), self.fed_until);
        let count = [record.followed.at, record.resigned.at];
        record.in_order().into_iter().filter(move |heard| heard.at > fed_until).filter_map(move |heard| {
            let counts = count.contains(&heard.at);
            heard.advert(number).map(|(at, advert)| Heard { at, advert, counts })
        })
    }

    /// Whether there are any.
    pub fn has_news(&self, record: &RouterRecord) -> bool {
        record.in_order().into_iter().any(|heard| heard.at > self.fed_until)
    }

    /// The next one of them, which it is fed with now.
    pub fn next_advert(&mut self, config: &RouterConfig, record: &RouterRecord) -> Option<Heard> {
        let next = self.unheard(config, record).next()?;
        self.is_new(next.at.as_nanos()).then_some(next)
    }
}

/// An advert that the kernel has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When it came.
    pub at: Instant,
    /// What it says.
    pub advert: Advert,
    /// It put the kernel's deadline off, or makes a Master yield.
    pub counts: bool,
}

/// Whether adverts from this address may be expected on the interface: it is in a subnet of the interface, or of the
/// router's addresses. Nothing is known of an interface without addresses, nor of IPv6, where all have link-local ones.
pub(crate) fn is_on_link(interface: Option<&Interface>, config: &RouterConfig, source: IpAddr) -> bool {
    let IpAddr::V4(source) = source else { return true };
    let Some(interface) = interface else { return true };
    if !interface.addresses.iter().any(|there| there.address.is_ipv4()) {
        return true;
    }
    let own = interface.addresses.iter().map(|there| (there.address, there.prefix_len));
    let mut subnets = own.chain(config.held_addresses().map(|there| (there.address, there.prefix_len)));
    subnets.any(|(address, prefix_len)| {
        let IpAddr::V4(address) = address else { return false };
        (address.to_bits() ^ source.to_bits()).leading_zeros() >= u32::from(prefix_len)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use vrrpd_common::router::{AnnounceTimes, Config, Event, Origin};
    use vrrpd_common::{AddressDigest, Auth, Duration, Interval, MacAddr, Priority, Version, Vrid};

    const START: Instant = Instant::from_nanos(1_000_000_000_000);
    const ALONE: Circumstances =
        Circumstances { is_verified_by_us: false, is_grouped: false, passes_on: false };

    fn config(grouped: bool) -> Config {
        Config {
            vrid: Vrid::new(51).expect("a VRID"),
            version: Version::V3,
            priority: Priority(100),
            preempt_mode: true,
            preempt_below: None,
            preempt_delay: Duration::ZERO,
            start_delay: Duration::ZERO,
            interval: Interval::from_centis(100).expect("an interval"),
            max_learned_interval: Interval::from_centis(4095).expect("an interval"),
            down_multiplier: 3,
            addresses: AddressDigest::default(),
            grouped,
            prepares: false,
            announce: AnnounceTimes {
                again_after: None,
                refresh_every: None,
                elsewhere_every: None,
                after_lower: None,
            },
        }
    }

    fn backup(grouped: bool) -> VirtualRouter {
        let mut machine = VirtualRouter::new(config(grouped));
        machine.handle(START, Event::InterfaceUp(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))), &mut |_| {});
        machine.handle(START, Event::Startup, &mut |_| {});
        machine
    }

    fn expect(min_ttl: u8) -> Expect {
        Expect {
            version: Version::V3,
            interval: Interval::from_centis(100).expect("an interval"),
            auth: Auth::None,
            source: None,
            broadcast: None,
            min_ttl,
            accept_interval_mismatch: false,
            accept_no_addresses: false,
            address_list: None,
        }
    }

    #[test]
    fn kernel_watches_the_deadline_of_a_backup_and_of_nobody_else() {
        let machine = backup(false);
        let told = Told::of(&machine, ALONE, &expect(255));
        assert_eq!(told.config.role, KernelRole::Backup as u8);
        assert_eq!(Some(told.deadline), machine.deadline().map(Instant::as_nanos));
        let verified = Told::of(&machine, Circumstances { is_verified_by_us: true, ..ALONE }, &expect(255));
        assert_eq!((verified.config.role, verified.deadline), (KernelRole::Init as u8, 0));
        let mut master = machine;
        let due = master.deadline().expect("it waits for its master");
        master.handle(due, Event::Timer, &mut |_| {});
        let told = Told::of(&master, ALONE, &expect(255));
        assert_eq!((told.config.role, told.deadline), (KernelRole::Master as u8, 0));
    }

    #[test]
    fn member_that_waits_for_its_group_is_told_of_as_master_and_reported_more_often() {
        let mut machine = backup(true);
        let due = machine.deadline().expect("it waits for its master");
        machine.handle(due, Event::Timer, &mut |_| {});
        assert_eq!(machine.state().name(), StateName::Backup);
        let told = Told::of(&machine, Circumstances { is_grouped: true, ..ALONE }, &expect(255));
        assert_eq!(
            (told.config.role, told.config.report_spacing),
            (KernelRole::Master as u8, GROUP_REPORT_SPACING)
        );
    }

    #[test]
    fn router_that_prepares_is_told_of_as_master_and_reported_more_often() {
        let mut machine = VirtualRouter::new(Config { prepares: true, ..config(false) });
        machine.handle(START, Event::InterfaceUp(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))), &mut |_| {});
        machine.handle(START, Event::Startup, &mut |_| {});
        let due = machine.deadline().expect("it waits for its master");
        machine.handle(due, Event::Timer, &mut |_| {});
        assert!(machine.is_preparing());
        let told = Told::of(&machine, ALONE, &expect(255));
        assert_eq!(
            (told.config.role, told.config.report_spacing),
            (KernelRole::Master as u8, GROUP_REPORT_SPACING)
        );
    }

    #[test]
    fn kernel_is_told_of_what_changes_but_not_of_a_deadline_that_it_has_moved_itself() {
        let (mut machine, mut side) = (backup(false), KernelSide::default());
        let told = Told::of(&machine, ALONE, &expect(255));
        assert!(!side.is_told());
        assert_eq!(side.tell(told, false), Tell::All);
        assert!(side.is_told());
        assert_eq!(side.tell(told, false), Tell::Nothing);
        let advert = Advert {
            vrid: Vrid::new(51).expect("a VRID"),
            priority: Priority(200),
            interval: Interval::from_centis(100).expect("an interval"),
            source: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9)),
            mac: MacAddr([2, 0, 0, 0, 0, 9]),
            address_count: 0,
            addresses: AddressDigest::default(),
        };
        machine.handle(START + Duration::from_millis(500), Event::Advert(advert), &mut |_| {});
        let moved = Told::of(&machine, ALONE, &expect(255));
        assert_ne!(moved, told);
        assert_eq!(side.tell(moved, true), Tell::Nothing);
        assert_eq!(side.tell(told, false), Tell::Command);
    }

    #[test]
    fn generation_counts_changes_of_the_checks_and_no_others() {
        let (machine, mut side) = (backup(false), KernelSide::default());
        let generation = |side: &KernelSide, told| side.command(7, told).config.generation;
        let first = Told::of(&machine, ALONE, &expect(255));
        side.tell(first, false);
        assert_eq!(generation(&side, first), 1);
        let mut standing_back = machine;
        standing_back.handle(START, Event::StandBack(Origin::Operator), &mut |_| {});
        let unwilling = Told::of(&standing_back, ALONE, &expect(255));
        assert_eq!((side.tell(unwilling, false), generation(&side, unwilling)), (Tell::Command, 1));
        let other = Told::of(&machine, ALONE, &expect(1));
        assert_eq!((side.tell(other, false), generation(&side, other)), (Tell::Command, 2));
        side.read(START);
        assert_eq!(side.command(7, other).known_until, START.as_nanos());
    }

    #[test]
    fn adverts_are_new_once_and_discarded_ones_are_told_of_until_that_is_done() {
        let mut side = KernelSide::default();
        assert_eq!([3, 3, 2, 4].map(|at| side.is_new(at)), [true, false, false, true]);
        let mut counted = KernelCounters::default();
        counted[Reject::ALL[2] as usize] = 5;
        let mut told = Vec::new();
        side.discarded(&counted, |reject, more| {
            told.push((reject, more));
            false
        });
        side.discarded(&counted, |reject, more| {
            told.push((reject, more));
            true
        });
        let mut again = 0;
        side.discarded(&counted, |_, _| {
            again += 1;
            true
        });
        assert_eq!((told, again), (vec![(Reject::ALL[2], 5); 2], 0));
    }
}

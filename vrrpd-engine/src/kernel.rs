//! What the kernel data path is told of a router, and what is new in its records.
//!
//! The state machine and [`vrrpd_common::watch`] in the kernel use the same rules. The kernel is told each change of
//! role, priority, deadline, and checks of adverts; for an advert that it reported, it has set its deadline already.
//! The configuration gets a new generation when the checks change, so that the kernel notices an advert that was
//! checked while they changed.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrpd_common::abi::{KernelCommand, KernelConfig, KernelCounters, KernelRole, RouterRecord, flag, slot};
use vrrpd_common::classify::Expect;
use vrrpd_common::router::{State, StateName, VirtualRouter};
use vrrpd_common::{Advert, Instant, Reject};

use crate::config::RouterConfig;
use crate::interface::Interface;

/// Minimum nanoseconds between two non-urgent reports of the kernel about one router; limits the cost of a flood of
/// changing or lower-priority adverts. The record always holds the newest state.
const REPORT_SPACING: u64 = 500_000_000;
/// The minimum for a group member that is Master or would be: the shortest advertisement interval. Such a member may
/// tolerate a better master for some time, and needs to see each of its adverts.
const GROUP_REPORT_SPACING: u64 = 10_000_000;

/// What the kernel was told of a router, and what of its record was handled.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KernelSide {
    /// Boxed, since it is absent without a program in the kernel.
    told: Option<Box<Told>>,
    /// Incremented when the checks of adverts change.
    generation: u32,
    /// Time of the newest advert that the state machine has handled, in nanoseconds.
    fed_until: u64,
    /// Time of the last read of the record, in nanoseconds.
    read_at: u64,
    /// Discarded adverts that were logged. Boxed, since it is mostly absent.
    rejected: Option<Box<KernelCounters>>,
}

/// A command for a router, without its generation and slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    config: KernelConfig,
    /// Master-down deadline of a Backup in nanoseconds; 0: none.
    deadline: u64,
    /// Interval of the master in centiseconds.
    master_interval: u16,
}

/// Conditions outside the state machine that affect what the kernel is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// Adverts have an Authentication Header, which only the daemon can verify.
    pub is_verified_by_us: bool,
    /// The router is a member of a group.
    pub is_grouped: bool,
    /// Handled adverts are passed on to other receivers.
    pub passes_on: bool,
}

/// What to tell the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// The kernel is up to date.
    Nothing,
    /// The command.
    Command,
}

impl Told {
    /// What the kernel is told of a router whose adverts are checked against `expect`.
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

    /// The part that says how adverts are checked.
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

    /// Whether the router is a Backup whose deadline differs from the one in this record.
    pub fn corrects(&self, record: &RouterRecord) -> bool {
        let is_backup = |role: u8| KernelRole::from_number(role) == KernelRole::Backup;
        is_backup(record.role) && is_backup(self.config.role) && self.deadline != record.deadline
    }
}

fn role(machine: &VirtualRouter, circumstances: Circumstances) -> KernelRole {
    match machine.state().name() {
        _ if circumstances.is_verified_by_us => KernelRole::Init,
        StateName::Init | StateName::Fault => KernelRole::Init,
        // It only waits for its group, so each advert matters, as to a Master.
        StateName::Backup if machine.has_won() => KernelRole::Master,
        StateName::Backup => KernelRole::Backup,
        StateName::Master => KernelRole::Master,
    }
}

impl KernelSide {
    /// Without the password that adverts are compared with.
    #[must_use]
    pub fn without_secret(mut self) -> Self {
        if let Some(told) = &mut self.told {
            told.config.auth_data = Default::default();
        }
        self
    }

    /// Has the kernel told of the router again, as at first.
    pub fn tell_again(&mut self) {
        self.told = None;
    }

    /// Whether the kernel was told of the router.
    pub const fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// Notes what the kernel has to know, and returns what to tell it. `was_reported`: this follows from an advert that
    /// the kernel reported, so it has set its own deadline already.
    pub fn tell(&mut self, now: Told, was_reported: bool) -> Tell {
        let before = self.told.as_deref().copied();
        **self.told.get_or_insert_with(|| Box::new(now)) = now;
        if before.map(|before| before.checks()) != Some(now.checks()) {
            self.generation = self.generation.wrapping_add(1);
        }
        match before {
            Some(before) if before == now || was_reported && before.config == now.config => Tell::Nothing,
            None | Some(_) => Tell::Command,
        }
    }

    /// The command for the router at `slot`.
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

    /// Notes that the record is read now.
    pub const fn read(&mut self, now: Instant) {
        self.read_at = now.as_nanos();
    }

    /// Whether an advert received at `at`, in nanoseconds, is new; marks it as handled.
    pub const fn is_new(&mut self, at: u64) -> bool {
        let is_new = at > self.fed_until;
        if is_new {
            self.fed_until = at;
        }
        is_new
    }

    /// Handles the counters of discarded adverts. `tell` gets each reason with its number of unlogged adverts, and
    /// returns whether it logged them.
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

    /// The adverts of a record that the state machine has not handled, in order of arrival.
    pub fn unheard(&self, config: &RouterConfig, record: &RouterRecord) -> impl Iterator<Item = Heard> {
        let (number, fed_until) = (slot(config.family, config.vrid), self.fed_until);
        let count = [record.followed.at, record.resigned.at];
        record.in_order().into_iter().filter(move |heard| heard.at > fed_until).filter_map(move |heard| {
            let counts = count.contains(&heard.at);
            heard.advert(number).map(|(at, advert)| Heard { at, advert, counts })
        })
    }

    /// Whether the record holds such adverts.
    pub fn has_news(&self, record: &RouterRecord) -> bool {
        record.in_order().into_iter().any(|heard| heard.at > self.fed_until)
    }

    /// The next such advert; marks it as handled.
    pub fn next_advert(&mut self, config: &RouterConfig, record: &RouterRecord) -> Option<Heard> {
        let next = self.unheard(config, record).next()?;
        self.is_new(next.at.as_nanos()).then_some(next)
    }
}

/// An advert that the kernel has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When it arrived.
    pub at: Instant,
    /// What it says.
    pub advert: Advert,
    /// It reset the kernel's deadline, or displaces a Master.
    pub counts: bool,
}

/// Whether adverts from this address can be expected on the interface: it is in a subnet of the interface or of the
/// router's addresses, or belongs to a peer. True for an interface without addresses and for IPv6, where nothing can be
/// concluded.
pub(crate) fn is_on_link(interface: Option<&Interface>, config: &RouterConfig, source: IpAddr) -> bool {
    if config.peers().iter().any(|peer| peer.address == source) {
        return true;
    }
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
            from_peers: false,
            min_ttl,
            accept_interval_mismatch: false,
            accept_no_addresses: false,
            address_list: None,
        }
    }

    #[test]
    fn kernel_monitors_the_deadline_of_backups_only() {
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
    fn member_that_waits_for_its_group_has_role_master_in_the_kernel_and_more_reports() {
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
    fn router_that_prepares_has_role_master_in_the_kernel_and_more_reports() {
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
    fn kernel_is_told_changes_except_deadlines_that_it_moved_itself() {
        let (mut machine, mut side) = (backup(false), KernelSide::default());
        let told = Told::of(&machine, ALONE, &expect(255));
        assert!(!side.is_told());
        assert_eq!(side.tell(told, false), Tell::Command);
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
    fn adverts_are_new_once_and_discarded_ones_are_reported_until_logged() {
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

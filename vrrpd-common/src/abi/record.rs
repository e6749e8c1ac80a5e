//! Data from the kernel about a virtual router: its record, and events.

use core::net::IpAddr;

use super::key::{address, octets, router_at};
use crate::advert::{AddressDigest, Advert};
use crate::mac::MacAddr;
use crate::params::{Family, Interval, Priority};
use crate::reject::{Reject, Rejection};
use crate::time::{Duration, Instant};

/// An advert with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "bytemuck", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct KernelAdvert {
    /// Time of arrival; 0: none.
    pub at: u64,
    /// Digest of its addresses.
    pub addresses: u64,
    /// Source address; IPv4 in the first four octets.
    pub source: [u8; 16],
    /// Its interval in centiseconds.
    pub interval: u16,
    /// Its priority.
    pub priority: u8,
    /// Number of its addresses.
    pub address_count: u8,
    /// The source MAC address of its frame.
    pub mac: [u8; 6],
    /// Zero.
    pub reserved: [u8; 6],
}

/// A discarded advert, with reason and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "bytemuck", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct KernelReject {
    /// Time of arrival; 0: none.
    pub at: u64,
    /// Source address; IPv4 in the first four octets.
    pub source: [u8; 16],
    /// [`Rejection::got`].
    pub got: u32,
    /// [`Rejection::wanted`].
    pub wanted: u32,
    /// A [`Reject`].
    pub reject: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

/// The kernel's record of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "bytemuck", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct RouterRecord {
    /// Odd while the record is being written. A reader without the lock retries if the number is odd or has changed
    /// after the read (seqlock).
    pub sequence: u64,
    /// [`super::ABI_VERSION`] of the last command; 0: none. At the same offset in every version.
    pub abi: u32,
    /// [`super::KernelConfig::generation`] of the last command.
    pub generation: u32,
    /// Backup: when Master_Down_Timer expires.
    pub deadline: u64,
    /// When the kernel's timer fires next, at the deadline or earlier. 0: not armed.
    pub timer_at: u64,
    /// No non-urgent event is reported before this time.
    pub report_after: u64,
    /// No urgent event is reported before this time.
    pub urgent_after: u64,
    /// The last advert of a master that we follow or yield to.
    pub followed: KernelAdvert,
    /// The last resignation that counted: for a Backup the first one since it followed a master, and any that brought
    /// its deadline forward.
    pub resigned: KernelAdvert,
    /// The last advert.
    pub heard: KernelAdvert,
    /// Master_Adver_Interval in centiseconds.
    pub master_interval: u16,
    /// The [`super::KernelRole`] of the last command.
    pub role: u8,
    /// A report was withheld because of the spacing, so the next advert is reported.
    pub unreported: u8,
    /// Number of times in a row that an expiry found the ring buffer full.
    pub ring_full_in_a_row: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Index of the interface of the virtual router that has this place; 0 before the place was given to one.
    #[cfg_attr(feature = "serde", serde(default))]
    pub interface: u32,
    /// The [`super::slot`] of that virtual router.
    #[cfg_attr(feature = "serde", serde(default))]
    pub slot: u32,
    /// Valid adverts.
    pub adverts: u64,
    /// Expirations of Master_Down_Timer, including repeated reports.
    pub expiries: u64,
    /// Number of times the kernel's timer fired.
    pub timer_runs: u64,
    /// Events written to the ring buffer.
    pub events: u64,
    /// Events withheld because of the spacing.
    pub events_withheld: u64,
    /// Events lost because the ring buffer was full.
    pub events_lost: u64,
    /// The last advert discarded because its sender has a different configuration ([`Reject::is_mismatch`]).
    pub refused: KernelReject,
    /// Discarded adverts with this VRID, by [`Reject`].
    pub rejected: KernelCounters,
}

/// A counter for each [`Reject`].
pub type KernelCounters = [u64; Reject::ALL.len()];

/// Something happened to a virtual router that the daemon should look at. Its record says the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "bytemuck", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct KernelEvent {
    /// Time of the event.
    pub at: u64,
    /// The place of the virtual router.
    pub place: u32,
    /// An [`EventKind`].
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// What a [`KernelEvent`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EventKind {
    /// An advert that may change something: [`RouterRecord::heard`].
    Advert = 1,
    /// Master_Down_Timer expired. Void if the record's deadline is later now.
    Expired = 2,
}

const _: () = {
    assert!(size_of::<KernelAdvert>() == 48 && align_of::<KernelAdvert>() == 8);
    assert!(size_of::<RouterRecord>() == 416 && align_of::<RouterRecord>() == 8);
    assert!(size_of::<KernelEvent>() == 16 && align_of::<KernelEvent>() == 8);
};

impl KernelAdvert {
    /// An advert received at `at`.
    #[inline(always)]
    pub fn new(advert: &Advert, at: Instant) -> Self {
        Self {
            at: at.as_nanos(),
            addresses: advert.addresses.to_bits(),
            source: octets(advert.source),
            interval: advert.interval.as_centis(),
            priority: advert.priority.0,
            address_count: advert.address_count,
            mac: advert.mac.0,
            reserved: [0; 6],
        }
    }

    /// The advert with its time, for the virtual router at `slot`; `None` if there is none.
    pub fn advert(&self, slot: u32) -> Option<(Instant, Advert)> {
        let (family, vrid) = router_at(slot)?;
        if self.at == 0 {
            return None;
        }
        let advert = Advert {
            vrid,
            priority: Priority(self.priority),
            interval: Interval::from_stored(self.interval)?,
            source: address(family, self.source),
            mac: MacAddr(self.mac),
            address_count: self.address_count,
            addresses: AddressDigest::from_bits(self.addresses),
        };
        Some((Instant::from_nanos(self.at), advert))
    }

    /// Whether both have the same content, apart from the time.
    #[inline(always)]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.priority == other.priority
            && self.interval == other.interval
            && self.addresses == other.addresses
            && u128::from_ne_bytes(self.source) == u128::from_ne_bytes(other.source)
    }
}

impl KernelReject {
    /// A discarded advert received at `at`.
    #[inline(always)]
    pub fn new(rejection: &Rejection, source: IpAddr, at: Instant) -> Self {
        Self {
            at: at.as_nanos(),
            source: octets(source),
            got: rejection.got,
            wanted: rejection.wanted,
            reject: rejection.reject as u8,
            reserved: [0; 7],
        }
    }

    /// Time, source and reason of the discarded advert; `None` if there is none.
    pub fn rejection(&self, family: Family) -> Option<(Instant, IpAddr, Rejection)> {
        let reject = *Reject::ALL.get(usize::from(self.reject))?;
        let rejection = reject.because(self.got, self.wanted);
        (self.at != 0).then(|| (Instant::from_nanos(self.at), address(family, self.source), rejection))
    }
}

impl RouterRecord {
    /// Whether the place belongs to this virtual router. Another one may have it by now.
    #[inline(always)]
    pub const fn is_of(&self, interface: u32, slot: u32) -> bool {
        self.interface == interface && self.slot == slot
    }

    /// Gives the place to the virtual router of a command, for which nothing has been heard or counted yet.
    #[inline(always)]
    pub(crate) fn begin(&mut self, interface: u32, slot: u32) {
        // Readers without the lock follow the sequence, so it goes on.
        let Self {
            sequence: _,
            abi,
            generation,
            deadline,
            timer_at,
            report_after,
            urgent_after,
            followed,
            resigned,
            heard,
            master_interval,
            role,
            unreported,
            ring_full_in_a_row,
            reserved,
            slot: own_slot,
            interface: own_interface,
            adverts,
            expiries,
            timer_runs,
            events,
            events_withheld,
            events_lost,
            refused,
            rejected,
        } = self;
        (*abi, *generation, *own_interface, *own_slot) = (0, 0, interface, slot);
        (*deadline, *timer_at, *report_after, *urgent_after) = (0, 0, 0, 0);
        (*followed, *resigned, *heard) = Default::default();
        (*master_interval, *role, *unreported, *ring_full_in_a_row, *reserved) = (0, 0, 0, 0, [0; 3]);
        (*adverts, *expiries, *timer_runs) = (0, 0, 0);
        (*events, *events_withheld, *events_lost) = (0, 0, 0);
        *refused = KernelReject::default();
        *rejected = KernelCounters::default();
    }

    /// What was heard, in the order in which it came; what is the last of its kind in more than one way comes as often.
    pub fn in_order(&self) -> [KernelAdvert; 3] {
        let mut heard = [self.followed, self.resigned, self.heard];
        heard.sort_unstable_by_key(|heard| heard.at);
        heard
    }

    /// Age of the last advert; `None` if there is none.
    pub fn last_advert_age(&self, now: Instant) -> Option<Duration> {
        (self.heard.at != 0).then(|| now.saturating_since(Instant::from_nanos(self.heard.at)))
    }

    /// Whether the kernel's master-down timer runs.
    pub const fn timer_armed(&self) -> bool {
        self.deadline != 0 && self.timer_at != 0
    }
}

impl KernelEvent {
    /// Something that happened at `at` to the virtual router in `place`.
    #[inline(always)]
    pub const fn new(kind: EventKind, place: u32, at: Instant) -> Self {
        Self { at: at.as_nanos(), place, kind: kind as u8, reserved: [0; 3] }
    }

    /// What it is about; `None` for a number that this version does not know.
    pub const fn kind(&self) -> Option<EventKind> {
        match self.kind {
            1 => Some(EventKind::Advert),
            2 => Some(EventKind::Expired),
            _ => None,
        }
    }
}

//! The effect of an advert on a router: the decisions of RFC 9568 §6.4.2 and §6.4.3, shared by the state machine and
//! the program in the kernel.

use core::net::IpAddr;

use crate::params::Priority;

/// The effect of an advert on a Backup (RFC 9568 §6.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupVerdict {
    /// The master resigns: wait for Skew_Time only.
    Resigned,
    /// An acceptable master: restart the timer with Master_Down_Interval.
    Follow,
    /// A lower master while we preempt: discarded, the timer continues.
    Discard,
}

/// The effect of an advert on a Master (RFC 9568 §6.4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterVerdict {
    /// Another router resigns: advertise at once, so that no other router takes over.
    Resigned,
    /// A higher priority: become Backup.
    YieldToPriority,
    /// Equal priority and a greater address: become Backup.
    YieldToAddress,
    /// We have precedence: advertise at once.
    Assert,
}

/// The effect of an advert of priority `advert` on a Backup that follows masters of priority `lowest_followed` and
/// more: its own priority if it preempts, 1 if it follows every master.
#[inline(always)]
pub const fn backup_verdict(advert: Priority, lowest_followed: Priority) -> BackupVerdict {
    if advert.0 == Priority::RESIGN.0 {
        BackupVerdict::Resigned
    } else if advert.0 >= lowest_followed.0 {
        BackupVerdict::Follow
    } else {
        BackupVerdict::Discard
    }
}

/// The effect of an advert of priority `advert` from `source` on a Master of priority `own` that sends from
/// `own_source`.
///
/// Addresses compare as unsigned numbers in network order (RFC 9568 §6.4.3).
#[inline(always)]
pub fn master_verdict(advert: Priority, source: IpAddr, own: Priority, own_source: IpAddr) -> MasterVerdict {
    if advert == Priority::RESIGN {
        MasterVerdict::Resigned
    } else if advert > own {
        MasterVerdict::YieldToPriority
    } else if advert == own && is_greater(source, own_source) {
        MasterVerdict::YieldToAddress
    } else {
        MasterVerdict::Assert
    }
}

/// Compares numbers: for octets the compiler would call `memcmp`, which older kernels do not allow here in a BPF
/// program.
#[inline(always)]
fn is_greater(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.to_bits() > b.to_bits(),
        (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() > b.to_bits(),
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
        (IpAddr::V6(_), IpAddr::V4(_)) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};

    const OWN: Priority = Priority(100);

    #[test]
    fn backup_follows_equal_and_higher_priorities() {
        // RFC 9568 §6.4.2
        for lowest_followed in [OWN, Priority(50), Priority(1)] {
            assert_eq!(backup_verdict(Priority(100), lowest_followed), BackupVerdict::Follow);
            assert_eq!(backup_verdict(Priority(255), lowest_followed), BackupVerdict::Follow);
            assert_eq!(backup_verdict(Priority::RESIGN, lowest_followed), BackupVerdict::Resigned);
        }
    }

    #[test]
    fn backup_discards_only_priorities_below_the_lowest_that_it_follows() {
        // RFC 9568 §6.4.2
        assert_eq!(backup_verdict(Priority(99), OWN), BackupVerdict::Discard);
        assert_eq!(backup_verdict(Priority(1), Priority(1)), BackupVerdict::Follow);
        assert_eq!(backup_verdict(Priority(50), Priority(50)), BackupVerdict::Follow);
        assert_eq!(backup_verdict(Priority(49), Priority(50)), BackupVerdict::Discard);
    }

    #[test]
    fn master_compares_addresses_unsigned_in_network_order() {
        // RFC 9568 §6.4.3
        let low = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 127));
        let high = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 200));
        assert_eq!(master_verdict(OWN, high, OWN, low), MasterVerdict::YieldToAddress);
        assert_eq!(master_verdict(OWN, low, OWN, high), MasterVerdict::Assert);
        assert_eq!(master_verdict(OWN, low, OWN, low), MasterVerdict::Assert);
        let low = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x7fff));
        let high = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x8000));
        assert_eq!(master_verdict(OWN, high, OWN, low), MasterVerdict::YieldToAddress);
    }

    #[test]
    fn master_yields_to_a_higher_priority_from_any_address() {
        // RFC 9568 §6.4.3
        let low = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        let high = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(master_verdict(Priority(101), low, OWN, high), MasterVerdict::YieldToPriority);
        assert_eq!(master_verdict(Priority(99), high, OWN, low), MasterVerdict::Assert);
        assert_eq!(master_verdict(Priority::RESIGN, high, OWN, low), MasterVerdict::Resigned);
    }
}

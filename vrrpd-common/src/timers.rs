//! The intervals that the protocol derives from priority and advertisement interval, in whole nanoseconds.

use crate::params::{Interval, Priority, Version};
use crate::time::Duration;

/// The delay by which a router of lower priority waits longer for a silent master.
///
/// Version 3: `(256 - priority) × interval / 256` (RFC 9568 §6.1). Version 2: `(256 - priority) / 256` seconds
/// (RFC 3768 §6.1). The interval is the master's.
pub const fn skew_time(version: Version, priority: Priority, interval: Interval) -> Duration {
    let unit = match version {
        Version::V2 => Interval::DEFAULT.as_duration(),
        Version::V3 => interval.as_duration(),
    };
    Duration::from_nanos((256 - priority.0 as u64) * unit.as_nanos() / 256)
}

/// How long a backup hears nothing before it takes over: `3 × interval + Skew_Time` (RFC 9568 §6.1, RFC 3768 §6.1).
/// The interval is the master's in version 3 and our own in version 2.
pub const fn master_down_interval(version: Version, priority: Priority, interval: Interval) -> Duration {
    let silence = interval.as_duration().saturating_mul(3).as_nanos();
    Duration::from_nanos(silence + skew_time(version, priority, interval).as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_MS: Interval = Interval::SHORTEST;

    #[test]
    fn version_3_skew_is_a_share_of_the_interval() {
        // RFC 9568 §6.1; 156 × 10 ms / 256 = 6.09375 ms
        assert_eq!(skew_time(Version::V3, Priority(100), TEN_MS), Duration::from_nanos(6_093_750));
        assert_eq!(skew_time(Version::V3, Priority(255), TEN_MS), Duration::from_nanos(39_062));
    }

    #[test]
    fn master_down_interval_of_10_ms_and_priority_100_is_36_09_ms() {
        // RFC 9568 §6.1
        assert_eq!(
            master_down_interval(Version::V3, Priority(100), TEN_MS),
            Duration::from_nanos(36_093_750)
        );
    }

    #[test]
    fn version_2_skew_is_a_share_of_a_second_whatever_the_interval() {
        // RFC 3768 §6.1
        let five = Interval::from_seconds(5).expect("5 s is legal");
        assert_eq!(skew_time(Version::V2, Priority(0), five), Duration::from_secs(1));
        assert_eq!(
            master_down_interval(Version::V2, Priority(100), five),
            Duration::from_nanos(15_609_375_000)
        );
    }

    #[test]
    fn a_higher_priority_always_waits_less() {
        for version in [Version::V2, Version::V3] {
            for priority in 0..255 {
                let longer = master_down_interval(version, Priority(priority), TEN_MS);
                let shorter = master_down_interval(version, Priority(priority + 1), TEN_MS);
                assert!(shorter < longer, "{version} {priority}");
            }
        }
    }
}

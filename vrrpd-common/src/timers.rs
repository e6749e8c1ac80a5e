//! The intervals that the protocol derives from priority and advertisement interval, in nanoseconds.

use crate::params::{Interval, Priority, Version};
use crate::time::Duration;

/// Master_Adver_Interval of a router whose own interval is `own` and whose master advertises `theirs` (RFC 9568 §6.1).
///
/// Version 2 has one interval for all routers. Version 3 learns the master's, up to `most`: otherwise one forged advert
/// of 40.95 s would leave routers with an interval of 100 ms without a master for more than two minutes. No advert is
/// discarded for its interval; a slower master is followed as long as it is heard within the Master_Down_Interval of
/// `most`.
#[inline(always)]
pub fn learned_interval(version: Version, own: Interval, theirs: Interval, most: Interval) -> Interval {
    match version {
        Version::V2 => own,
        Version::V3 => theirs.min(most),
    }
}

/// The additional time that a router of lower priority waits for a silent master.
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

/// Default number of intervals without an advert after which a master counts as down (RFC 9568 §6.1).
pub const DOWN_MULTIPLIER: u8 = 3;

/// Time without an advert after which a backup takes over: `multiplier × interval + Skew_Time`; the multiplier is 3 in
/// RFC 9568 §6.1 and RFC 3768 §6.1. The interval is the master's in version 3 and our own in version 2.
pub const fn master_down_interval(
    version: Version,
    priority: Priority,
    interval: Interval,
    multiplier: u8,
) -> Duration {
    let silence = interval.as_duration().as_nanos() * multiplier as u64;
    Duration::from_nanos(silence + skew_time(version, priority, interval).as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_MS: Interval = Interval::MIN;

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
            master_down_interval(Version::V3, Priority(100), TEN_MS, 3),
            Duration::from_nanos(36_093_750)
        );
        assert_eq!(
            master_down_interval(Version::V3, Priority(100), TEN_MS, 100),
            Duration::from_nanos(1_006_093_750)
        );
    }

    #[test]
    fn version_2_skew_is_a_fraction_of_a_second_for_any_interval() {
        // RFC 3768 §6.1
        let five = Interval::from_seconds(5).expect("5 s is legal");
        assert_eq!(skew_time(Version::V2, Priority(0), five), Duration::from_secs(1));
        assert_eq!(
            master_down_interval(Version::V2, Priority(100), five, 3),
            Duration::from_nanos(15_609_375_000)
        );
    }

    #[test]
    fn version_3_learns_the_master_s_interval_up_to_the_limit_and_version_2_none() {
        // RFC 9568 §6.4.2
        let [own, theirs, most] = [10, 4095, 500].map(|centis| Interval::from_centis(centis).expect("legal"));
        assert_eq!(learned_interval(Version::V3, own, theirs, most), most);
        assert_eq!(learned_interval(Version::V3, own, TEN_MS, most), TEN_MS);
        assert_eq!(learned_interval(Version::V2, own, theirs, most), own);
    }

    #[test]
    fn a_higher_priority_always_waits_less() {
        for version in [Version::V2, Version::V3] {
            for priority in 0..255 {
                let longer = master_down_interval(version, Priority(priority), TEN_MS, 3);
                let shorter = master_down_interval(version, Priority(priority + 1), TEN_MS, 3);
                assert!(shorter < longer, "{version} {priority}");
            }
        }
    }
}

//! The protocol's timers, computed independently of the daemon (RFC 9568 §6.1, RFC 3768 §6.1).

use std::time::Duration;

/// `Skew_Time` in version 3: (256 - priority) × interval / 256.
pub fn skew_time(interval: Duration, priority: u8) -> Duration {
    interval * (256 - u32::from(priority)) / 256
}

/// `Master_Down_Interval` in version 3.
pub fn master_down_interval(interval: Duration, priority: u8) -> Duration {
    3 * interval + skew_time(interval, priority)
}

/// `Skew_Time` in version 2: (256 - priority) / 256 seconds, independent of the interval.
pub fn skew_time_v2(priority: u8) -> Duration {
    skew_time(Duration::from_secs(1), priority)
}

/// `Master_Down_Interval` in version 2.
pub fn master_down_interval_v2(interval: Duration, priority: u8) -> Duration {
    3 * interval + skew_time_v2(priority)
}

//! Which of the capabilities that a program in the kernel takes this process lacks: the kernel itself says no more than
//! "not permitted", or finds fault with the program.

use std::fs;

/// The capabilities by their numbers (`linux/capability.h`).
const WANTED: [(u32, &str); 3] = [(39, "CAP_BPF"), (38, "CAP_PERFMON"), (NET_ADMIN, "CAP_NET_ADMIN")];
const NET_ADMIN: u32 = 12;
/// `CAP_SYS_ADMIN` stands for each of them.
const SYS_ADMIN: u32 = 21;

/// Whether this process may change interfaces; also if that cannot be told.
pub fn may_change_interfaces() -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    effective(&status).is_none_or(|set| set >> NET_ADMIN & 1 == 1)
}

/// Those that are missing; none too if that cannot be told.
pub(super) fn missing() -> Vec<&'static str> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    effective(&status).map(missing_from).unwrap_or_default()
}

/// The set in force.
fn effective(status: &str) -> Option<u64> {
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

fn missing_from(set: u64) -> Vec<&'static str> {
    let has = |number: u32| set >> number & 1 == 1;
    if has(SYS_ADMIN) {
        return Vec::new();
    }
    WANTED.into_iter().filter(|(number, _)| !has(*number)).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing_of(set: &str) -> Vec<&'static str> {
        let status = format!("Name:\tvrrpd\nCapPrm:\t000001ffffffffff\nCapEff:\t{set}\nSeccomp:\t0\n");
        missing_from(effective(&status).expect("it is there"))
    }

    #[test]
    fn what_is_missing_is_named_and_cap_sys_admin_stands_for_all() {
        assert_eq!(missing_of("0000000000000000"), ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"]);
        assert_eq!(missing_of("0000000000003000"), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(missing_of("0000008000003000"), ["CAP_PERFMON"]);
        assert_eq!(missing_of("000000c000003000"), [""; 0]);
        assert_eq!(missing_of("0000000000200000"), [""; 0]);
    }

    #[test]
    fn what_cannot_be_told_is_not_called_missing() {
        assert_eq!(effective("Name:\tvrrpd\n"), None);
    }
}

//! The capabilities for programs in the kernel that this process lacks: the kernel itself reports only "not permitted",
//! or rejects the program.

use std::fs;

/// A capability: its number (`linux/capability.h`) and name.
type Capability = (u32, &'static str);

const NET_ADMIN: Capability = (12, "CAP_NET_ADMIN");
const NET_RAW: Capability = (13, "CAP_NET_RAW");
/// Capabilities for programs in the kernel.
const FOR_PROGRAMS: [Capability; 3] = [(39, "CAP_BPF"), (38, "CAP_PERFMON"), NET_ADMIN];
/// Capabilities for addresses and packet sockets.
const TO_START: [Capability; 2] = [NET_ADMIN, NET_RAW];
/// `CAP_SYS_ADMIN` includes each of them.
const SYS_ADMIN: Capability = (21, "CAP_SYS_ADMIN");

/// The missing capabilities for changing interfaces and opening packet sockets: `CAP_NET_RAW is missing`. Also `None`
/// if that cannot be determined.
pub fn missing_to_start() -> Option<String> {
    are_missing(&missing(|set| lacks(set, &TO_START)))
}

/// The missing capabilities for loading programs into the kernel. Also `None` if that cannot be determined.
pub(super) fn missing_for_programs() -> Option<String> {
    are_missing(&missing(for_programs))
}

fn for_programs(set: u64) -> Vec<&'static str> {
    if lacks(set, &[SYS_ADMIN]).is_empty() { Vec::new() } else { lacks(set, &FOR_PROGRAMS) }
}

fn missing(of: impl Fn(u64) -> Vec<&'static str>) -> Vec<&'static str> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    effective(&status).map(of).unwrap_or_default()
}

fn are_missing(names: &[&str]) -> Option<String> {
    match names {
        [] => None,
        [one] => Some(format!("{one} is missing")),
        [names @ .., last] => Some(format!("{} and {last} are missing", names.join(", "))),
    }
}

/// The effective set.
fn effective(status: &str) -> Option<u64> {
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

/// The wanted capabilities that are not in the set.
fn lacks(set: u64, wanted: &[Capability]) -> Vec<&'static str> {
    wanted.iter().filter(|(number, _)| set >> number & 1 == 0).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_of(set: &str) -> u64 {
        let status = format!("Name:\tvrrpd\nCapPrm:\t000001ffffffffff\nCapEff:\t{set}\nSeccomp:\t0\n");
        effective(&status).expect("it is there")
    }

    fn missing_of(set: &str) -> Vec<&'static str> {
        for_programs(set_of(set))
    }

    #[test]
    fn missing_capabilities_of_a_start_are_named() {
        let missing = |set: &str| are_missing(&lacks(set_of(set), &TO_START));
        assert_eq!(missing("0000000000003000"), None);
        assert_eq!(missing("0000000000001000").as_deref(), Some("CAP_NET_RAW is missing"));
        assert_eq!(missing("0000000000200000").as_deref(), Some("CAP_NET_ADMIN and CAP_NET_RAW are missing"));
    }

    #[test]
    fn missing_capabilities_are_named_and_cap_sys_admin_implies_all() {
        assert_eq!(missing_of("0000000000000000"), ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"]);
        assert_eq!(missing_of("0000000000003000"), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(missing_of("0000008000003000"), ["CAP_PERFMON"]);
        assert_eq!(missing_of("000000c000003000"), [""; 0]);
        assert_eq!(missing_of("0000000000200000"), [""; 0]);
    }

    #[test]
    fn unknown_capabilities_are_not_called_missing() {
        assert_eq!(effective("Name:\tvrrpd\n"), None);
    }
}

//! Which of the capabilities that a program in the kernel takes this process lacks: the kernel itself says no more than
//! "not permitted", or finds fault with the program.

use std::fs;

/// A capability by its number (`linux/capability.h`) and its name.
type Capability = (u32, &'static str);

const NET_ADMIN: Capability = (12, "CAP_NET_ADMIN");
const NET_RAW: Capability = (13, "CAP_NET_RAW");
/// What a program in the kernel takes.
const FOR_PROGRAMS: [Capability; 3] = [(39, "CAP_BPF"), (38, "CAP_PERFMON"), NET_ADMIN];
/// What addresses and packet sockets take.
const TO_START: [Capability; 2] = [NET_ADMIN, NET_RAW];
/// `CAP_SYS_ADMIN` stands for each of them.
const SYS_ADMIN: Capability = (21, "CAP_SYS_ADMIN");

/// What this process lacks to change interfaces and to open packet sockets: `CAP_NET_RAW is missing`. `None` too if that
/// cannot be told.
pub fn missing_to_start() -> Option<String> {
    are_missing(&missing(|set| lacks(set, &TO_START)))
}

/// What this process lacks to load programs into the kernel. `None` too if that cannot be told.
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

/// The set in force.
fn effective(status: &str) -> Option<u64> {
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

/// Those of the capabilities that are not in the set.
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

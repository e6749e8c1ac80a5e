//! VLAN interfaces on top of others.
//!
//! A card, or the driver of a virtual one, may strip the tag of a frame and pass it as metadata (VLAN offload). A
//! program on the port then does not see the tag, and adverts of the VLANs look like those of the port.

use std::fs;

/// Whether this interface has VLAN interfaces.
pub fn are_on(interface: &str) -> bool {
    // Without the 8021q module the file does not exist, and neither do VLANs.
    fs::read_to_string("/proc/thread-self/net/vlan/config").is_ok_and(|table| stands_in(&table, interface))
}

/// A line for each VLAN interface: `eth0.190 | 190 | eth0`, below two of headings.
fn stands_in(table: &str, interface: &str) -> bool {
    table.lines().any(|line| line.split('|').nth(2).is_some_and(|port| port.trim() == interface))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_with_vlans_are_distinguished_from_vlans() {
        let table = "VLAN Dev name    | VLAN ID\n\
                     Name-Type: VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD\n\
                     eth0.190       | 190  | eth0\n\
                     lan            | 7  | bond0\n";
        assert!(stands_in(table, "eth0") && stands_in(table, "bond0"));
        assert!(!stands_in(table, "eth0.190") && !stands_in(table, "lan") && !stands_in(table, "eth1"));
        assert!(!stands_in("", "eth0"));
    }
}

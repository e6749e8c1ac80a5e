//! Words of keepalived.conf(5), for those who write them into a file of ours.

/// Blocks that a keepalived.conf begins with.
const BLOCKS: [&str; 6] = [
    "global_defs",
    "vrrp_instance",
    "vrrp_script",
    "vrrp_sync_group",
    "vrrp_track_process",
    "vrrp_track_file",
];

/// Keywords of an instance, and what a `[[router]]` has in their place.
const OF_ROUTERS: [(&str, &str); 36] = [
    ("virtual_router_id", "vrid"),
    ("virtual_ipaddress", "addresses"),
    ("virtual_ipaddress_excluded", "extra-addresses"),
    ("virtual_routes", "routes"),
    ("virtual_rules", "rules"),
    ("native_ipv6", "family = \"ipv6\""),
    ("version", "protocol"),
    ("vrrp_version", "protocol"),
    ("advert_int", "interval"),
    ("down_timer_adverts", "down-multiplier"),
    ("nopreempt", "preempt = false"),
    ("no_accept", "accept = false"),
    ("vrrp_strict", "accept = false"),
    ("authentication", "auth"),
    ("auth_type", "auth"),
    ("auth_pass", "auth"),
    ("unicast_peer", "peers"),
    ("unicast_ttl", "ttl"),
    ("unicast_src_ip", "source"),
    ("mcast_src_ip", "source"),
    ("mcast_dst_ip", "multicast-group"),
    ("use_vmac", "vmac = \"macvlan\""),
    ("dont_track_primary", "track-interface = false"),
    ("track_script", "track"),
    ("track_process", "track"),
    ("track_file", "track"),
    ("notify_master", "up"),
    ("notify_backup", "down"),
    ("notify_fault", "fault"),
    ("notify_stop", "stop"),
    ("notify_fifo", "fifo"),
    ("garp_master_repeat", "garp-count"),
    ("garp_master_delay", "garp-delay"),
    ("garp_master_refresh", "garp-interval"),
    ("garp_lower_prio_repeat", "garp-lower-count"),
    ("garp_lower_prio_delay", "garp-lower-delay"),
];

/// Keywords of what is tracked, and what a `[[track]]` has in their place.
const OF_TRACKS: [(&str, &str); 5] = [
    ("script", "command"),
    ("init_fail", "initially = \"failing\""),
    ("delay", "down-delay"),
    ("fork_delay", "up-delay"),
    ("terminate_delay", "down-delay"),
];

/// What to write in a `[[router]]` for a keyword of keepalived.
pub(super) fn of_router(keyword: &str) -> Option<&'static str> {
    find(&OF_ROUTERS, keyword)
}

/// What to write in a `[[track]]` for one.
pub(super) fn of_track(keyword: &str) -> Option<&'static str> {
    find(&OF_TRACKS, keyword)
}

fn find(words: &[(&str, &'static str)], keyword: &str) -> Option<&'static str> {
    let keyword = keyword.replace('-', "_");
    words.iter().find(|(theirs, _)| *theirs == keyword).map(|(_, ours)| *ours)
}

/// Where the first block of a keepalived.conf begins, if the text is one.
pub(super) fn keepalived_conf(text: &str) -> Option<std::ops::Range<usize>> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let word = line.split([' ', '\t', '{', '\r', '\n']).find(|word| !word.is_empty());
        match word {
            Some(word) if BLOCKS.contains(&word) && !line.contains('=') => {
                let start = at + line.find(word).unwrap_or_default();
                return Some(start..start + word.len());
            }
            Some(word) if !word.starts_with(['#', '!']) => return None,
            Some(_) | None => at += line.len(),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Key;

    #[test]
    fn documented_replacements_of_keywords_are_keys() {
        for (theirs, ours) in OF_ROUTERS {
            let key = ours.split(' ').next().expect("has a word");
            assert!(Key::named(key).is_some(), "{ours}");
            assert!(Key::named(theirs).is_none(), "{theirs}");
        }
        assert_eq!(of_router("virtual-router-id"), Some("vrid"));
        assert_eq!(of_router("priority"), None);
    }

    #[test]
    fn keepalived_conf_is_known_by_its_first_block() {
        assert_eq!(keepalived_conf("! Configuration\n\n  vrrp_instance VI_1 {\n"), Some(19..32));
        assert_eq!(keepalived_conf("global_defs{\n"), Some(0..11));
        assert_eq!(keepalived_conf("# vrrp_instance\n[[router]]\n"), None);
        assert_eq!(keepalived_conf("vrrp_instance = 1\n"), None);
        assert_eq!(keepalived_conf(""), None);
    }
}

//! The alias of a macvlan link of ours: the router that it belongs to, and the previous settings of the interface below.

/// Prefix of the alias.
const MARK: &str = "vrrpd ";

/// The alias of a link of this router.
pub(super) fn of(router: &str, settings: &str) -> String {
    format!("{MARK}{router} {settings}")
}

/// The router in the alias of a link; `None`: not created by our daemon.
pub(super) fn owner(alias: &str) -> Option<&str> {
    alias.strip_prefix(MARK)?.split(' ').next()
}

/// The settings in the alias of a link.
pub(super) fn settings(alias: &str) -> &str {
    let router_and_settings = alias.strip_prefix(MARK).and_then(|alias| alias.split_once(' '));
    router_and_settings.map_or("", |(_, settings)| settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_names_the_router_and_the_settings() {
        let alias = of("eth0/51", "arp_ignore=0 arp_announce=0");
        assert_eq!(alias, "vrrpd eth0/51 arp_ignore=0 arp_announce=0");
        assert_eq!((owner(&alias), settings(&alias)), (Some("eth0/51"), "arp_ignore=0 arp_announce=0"));
        let alias = of("eth0.190/51-ipv6", "");
        assert_eq!((owner(&alias), settings(&alias)), (Some("eth0.190/51-ipv6"), ""));
        assert_eq!((owner("the uplink"), settings("the uplink")), (None, ""));
    }
}

//! IPv4 addresses of one subnet on an interface: the first is the primary address, the others are secondary. When a
//! primary address is removed, the kernel removes the secondary ones of its subnet, unless the interface's sysctl
//! `promote_secondaries` is on: then the next one becomes primary, without a gap.
//!
//! So it is switched on while our addresses are removed. Switching it on, the removals and switching it off are one
//! sequence of netlink requests: no state has to be kept, and it works where `/proc/sys` is read-only.

use std::io;

use futures_util::TryStreamExt;
use nix::errno::Errno;
use rtnetlink::packet_core::{DefaultNla, Emitable, NLA_F_NESTED};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{AfSpecInet, AfSpecUnspec, LinkAttribute, LinkMessage};
use rtnetlink::{Handle, LinkUnspec};

use super::ask::failure;
use crate::config::VirtualAddress;

/// `IFLA_INET_CONF`
const INET_CONF: u16 = 1;
/// `IPV4_DEVCONF_PROMOTE_SECONDARIES`
const PROMOTE_SECONDARIES: u16 = 20;
/// Octets of an attribute with one setting.
const SETTING: usize = 8;
/// A subnet of this prefix length has one address.
const HOST: u8 = 32;

/// Whether removing one of these addresses may remove others: its subnet can have more.
pub(super) fn may_follow(addresses: &[VirtualAddress]) -> bool {
    addresses.iter().any(|address| address.address.is_ipv4() && address.prefix_len < HOST)
}

/// Whether the next secondary address becomes primary on this interface. An interface that is gone has no addresses.
pub(super) async fn are_promoted(handle: &Handle, index: u32) -> io::Result<bool> {
    match handle.link().get().match_index(index).execute().try_next().await.map_err(failure) {
        Ok(link) => Ok(link.is_none_or(|link| setting(&link) != Some(0))),
        Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => Ok(true),
        Err(error) => Err(error),
    }
}

fn setting(link: &LinkMessage) -> Option<i32> {
    let families = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::AfSpecUnspec(families) => Some(families),
        _ => None,
    });
    let ipv4 = families.flatten().filter_map(|family| match family {
        AfSpecUnspec::Inet(ipv4) => Some(ipv4),
        _ => None,
    });
    ipv4.flatten().find_map(|attribute| match attribute {
        AfSpecInet::DevConf(settings) => Some(settings.promote_secondaries),
        _ => None,
    })
}

/// Switches `promote_secondaries` on or off.
pub(super) fn promote(index: u32, on: bool) -> RouteNetlinkMessage {
    // The library omits zeros.
    let mut setting = vec![0; SETTING];
    DefaultNla::new(PROMOTE_SECONDARIES, u32::from(on).to_ne_bytes().to_vec()).emit(&mut setting);
    let settings = AfSpecInet::Other(DefaultNla::new(INET_CONF | NLA_F_NESTED, setting));
    let mut link = LinkUnspec::new_with_index(index).build();
    link.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![settings])]));
    RouteNetlinkMessage::SetLink(link)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value;

    #[test]
    fn only_an_ipv4_address_in_a_larger_subnet_can_be_followed_by_others() {
        let may = |text: &str| may_follow(&[value::address(text).expect("legal")]);
        assert!(may("10.0.0.100/24") && may("10.0.0.100/31"));
        assert!(!may("10.0.0.100/32") && !may("fe80::33/64"));
        assert!(!may_follow(&[]));
    }
}

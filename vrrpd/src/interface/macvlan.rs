//! The macvlan link of a virtual router: it has the virtual MAC address, and the virtual addresses while the router is
//! Master. On a Backup it is down, so the machine answers nothing for them and takes no frame to that MAC address.
//!
//! The link's alias says whose it is and what the settings of the interface below were before. So whoever finds it,
//! after a crash too, can put everything back.

use std::io;

use futures_util::TryStreamExt;
use nix::errno::Errno;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, MacVlanMode};
use rtnetlink::{Handle, LinkMacVlan, LinkUnspec};
use tracing::warn;
use vrrpd_common::{Family, MacAddr};

use super::ask::{Manner, ask, failure};
use super::sysctl::{MACVLAN_IPV4, MACVLAN_IPV6, PARENT_IPV4, Setting};

/// How the alias of every such link begins.
const MARK: &str = "vrrpd ";
/// Links of one interface that may be called alike but for a number.
const NAMES: u32 = 1000;

/// The link that a virtual router wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Macvlan {
    /// What the router is called: `eth0/51`.
    pub router: String,
    /// Its family.
    pub family: Family,
    /// What the link is to be called, if nobody is yet: at most 11 characters.
    pub name: String,
    /// The virtual router MAC address.
    pub mac: MacAddr,
    /// The interface below.
    pub parent: u32,
    /// Its name.
    pub parent_name: String,
}

/// A link as the kernel has it.
struct Found {
    index: u32,
    name: String,
    parent: Option<u32>,
    alias: String,
}

/// Whose link this is, by its alias; `None` for one that no daemon of ours has made.
pub(super) fn owner(alias: &str) -> Option<&str> {
    alias.strip_prefix(MARK)?.split(' ').next()
}

impl Macvlan {
    /// Makes the link, down, and returns its number and name. One that an earlier daemon has left is removed first.
    pub(super) async fn make(&self, handle: &mut Handle) -> io::Result<(u32, String)> {
        let found = marked(handle).await?;
        for left in found.iter().filter(|link| owner(&link.alias) == Some(&self.router)) {
            remove(handle, left.index).await?;
        }
        // Another link of ours on the interface knows how it was before the first of them came.
        let alias = found
            .iter()
            .find(|link| link.parent == Some(self.parent))
            .and_then(|link| link.alias.strip_prefix(MARK)?.split_once(' '))
            .map_or_else(|| self.describe_parent(), |(_, settings)| settings.to_owned());
        let alias = format!("{MARK}{} {alias}", self.router);
        let (index, name) = self.create(handle).await?;
        let named = LinkUnspec::new_with_index(index).alias(alias).build();
        if let Err(error) = ask(handle, RouteNetlinkMessage::SetLink(named), Manner::Change).await {
            // Without its mark nobody would ever remove it.
            remove(handle, index).await?;
            return Err(error);
        }
        Ok((index, name))
    }

    async fn create(&self, handle: &mut Handle) -> io::Result<(u32, String)> {
        for number in 0..NAMES {
            let name = match number {
                0 => self.name.clone(),
                number => format!("{}.{number}", self.name),
            };
            let link = LinkMacVlan::new(&name, self.parent, MacVlanMode::Bridge)
                .address(self.mac.0.to_vec())
                .build();
            match ask(handle, RouteNetlinkMessage::NewLink(link), Manner::Create).await {
                Ok(()) => {
                    let mut made = handle.link().get().match_name(name.clone()).execute();
                    let made = made.try_next().await.map_err(failure)?.ok_or(Errno::ENODEV)?;
                    return Ok((made.header.index, name));
                }
                Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Errno::EEXIST.into())
    }

    /// Makes link and interface answer as they must, and the link ready for the addresses.
    pub(super) async fn bring_up(&self, handle: &mut Handle, index: u32, name: &str) -> io::Result<()> {
        self.enforce(name);
        ask(
            handle,
            RouteNetlinkMessage::SetLink(LinkUnspec::new_with_index(index).up().build()),
            Manner::Change,
        )
        .await
    }

    /// Sets what decides who answers for the addresses; also after others have changed it.
    fn enforce(&self, name: &str) {
        let (own, parent): (&[Setting], &[Setting]) = match self.family {
            Family::Ipv4 => (&MACVLAN_IPV4, &PARENT_IPV4),
            Family::Ipv6 => (&MACVLAN_IPV6, &[]),
        };
        let of = |interface, settings: &[Setting]| {
            for error in settings.iter().filter_map(|setting| setting.enforce(interface).err()) {
                warn!(router = self.router, %error, "hosts may be told another MAC address than the virtual one");
            }
        };
        of(name, own);
        of(&self.parent_name, parent);
    }

    /// The settings of the interface that are changed, as they are.
    fn describe_parent(&self) -> String {
        let settings: Vec<_> = PARENT_IPV4
            .iter()
            .filter_map(|setting| Some(format!("{}={}", setting.key, setting.read(&self.parent_name)?)))
            .collect();
        settings.join(" ")
    }
}

/// Takes the link away, and puts the settings of the interface below, whatever that is called by now, back unless
/// another link of ours needs them.
pub(super) async fn discard(handle: &mut Handle, index: u32) -> io::Result<()> {
    let found = marked(handle).await?;
    let Some(this) = found.iter().find(|link| link.index == index) else { return Ok(()) };
    remove(handle, index).await?;
    // Asked again: two that leave at once must not each leave it to the other.
    let still_used = marked(handle).await?.iter().any(|link| link.parent == this.parent);
    if still_used {
        return Ok(());
    }
    let Some(parent_name) = name_of(handle, this.parent).await else { return Ok(()) };
    for pair in this.alias.split(' ') {
        let Some((key, value)) = pair.split_once('=') else { continue };
        if let Some(setting) = PARENT_IPV4.iter().find(|setting| setting.key == key)
            && let Err(error) = setting.set(&parent_name, value)
        {
            warn!(interface = parent_name, link = this.name, %error, "a setting cannot be put back");
        }
    }
    Ok(())
}

/// What an interface is called; `None` when it is gone.
async fn name_of(handle: &Handle, index: Option<u32>) -> Option<String> {
    let mut links = handle.link().get().match_index(index?).execute();
    let link = links.try_next().await.ok()??;
    link.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    })
}

async fn remove(handle: &mut Handle, index: u32) -> io::Result<()> {
    let link = LinkUnspec::new_with_index(index).build();
    match ask(handle, RouteNetlinkMessage::DelLink(link), Manner::Change).await {
        Err(error) if error.raw_os_error() != Some(Errno::ENODEV as i32) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Sets the link down: the machine has nothing to do with its MAC address any more.
pub(super) async fn take_down(handle: &mut Handle, index: u32) -> io::Result<()> {
    let down = LinkUnspec::new_with_index(index).down().build();
    ask(handle, RouteNetlinkMessage::SetLink(down), Manner::Change).await
}

/// Every link with our mark.
async fn marked(handle: &Handle) -> io::Result<Vec<Found>> {
    let links: Vec<_> = handle.link().get().execute().try_collect().await.map_err(failure)?;
    let found = links.into_iter().filter_map(|link| {
        let (mut name, mut parent, mut alias) = (None, None, None);
        for attribute in link.attributes {
            match attribute {
                LinkAttribute::IfName(text) => name = Some(text),
                LinkAttribute::Link(index) => parent = Some(index),
                LinkAttribute::IfAlias(text) => alias = Some(text),
                _ => {}
            }
        }
        let alias = alias.filter(|alias| alias.starts_with(MARK))?;
        Some(Found { index: link.header.index, name: name?, parent, alias })
    });
    Ok(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alias_says_whose_link_it_is() {
        assert_eq!(owner("vrrpd eth0/51 arp_ignore=0 arp_announce=0"), Some("eth0/51"));
        assert_eq!(owner("vrrpd eth0.190/51-ipv6 "), Some("eth0.190/51-ipv6"));
        assert_eq!(owner("the uplink"), None);
    }
}

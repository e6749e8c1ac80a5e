//! Settings of an interface below `/proc/sys/net`, read and written as the text they are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use vrrpd_common::Family;

/// A setting of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The half of the kernel that has it.
    pub family: Family,
    /// Its name.
    pub key: &'static str,
    /// What it is to be.
    pub value: &'static str,
}

const fn ipv4(key: &'static str, value: &'static str) -> Setting {
    Setting { family: Family::Ipv4, key, value }
}

const fn ipv6(key: &'static str, value: &'static str) -> Setting {
    Setting { family: Family::Ipv6, key, value }
}

/// Of a macvlan link with virtual IPv4 addresses: it answers ARP for its own addresses and no others, also if the
/// answer would take another route, and accepts packets that arrive by that route.
pub(super) const MACVLAN_IPV4: [Setting; 6] = [
    ipv4("arp_ignore", "1"),
    ipv4("arp_announce", "2"),
    ipv4("arp_filter", "0"),
    // Loose, not off: the larger of this and of what holds for all interfaces counts, and off loses against strict.
    ipv4("rp_filter", "2"),
    ipv4("accept_local", "1"),
    ipv6("disable_ipv6", "1"),
];

/// Of a macvlan link with virtual IPv6 addresses: it has these addresses and makes none of its own.
pub(super) const MACVLAN_IPV6: [Setting; 7] = [
    ipv6("disable_ipv6", "0"),
    ipv6("addr_gen_mode", "1"),
    ipv6("autoconf", "0"),
    ipv6("accept_ra", "0"),
    ipv6("router_solicitations", "0"),
    ipv6("accept_dad", "0"),
    ipv6("dad_transmits", "0"),
];

/// Of the interface below such a link with IPv4 addresses: it would otherwise answer ARP for them, and ask others in
/// their name, with its own MAC address.
pub(super) const PARENT_IPV4: [Setting; 2] = [ipv4("arp_ignore", "1"), ipv4("arp_announce", "2")];

/// Why a setting cannot be made, in words that say what to do about it.
fn why(error: &io::Error, path: &Path) -> String {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => READ_ONLY.to_owned(),
        io::ErrorKind::PermissionDenied => NOT_PERMITTED.to_owned(),
        _ => format!("{}: {error}", path.display()),
    }
}

const READ_ONLY: &str = "/proc/sys is read-only, as in a container that is not privileged: mount it writable";
const NOT_PERMITTED: &str = "writing to /proc/sys/net is not permitted: it takes root of the namespace, or CAP_NET_ADMIN and CAP_DAC_OVERRIDE";

impl Setting {
    /// The setting of an interface as `sysctl` writes it.
    pub(super) fn assignment(&self, interface: &str) -> String {
        let family = self.family.name();
        format!("net.{family}.conf.{}.{}={}", interface.replace('.', "/"), self.key, self.value)
    }

    fn path(&self, interface: &str) -> PathBuf {
        let family = match self.family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        PathBuf::from(format!("/proc/sys/net/{family}/conf/{interface}/{}", self.key))
    }

    /// What it is; `None` where the kernel has no such setting.
    pub(super) fn read(&self, interface: &str) -> Option<String> {
        fs::read_to_string(self.path(interface)).ok().map(|text| text.trim().to_owned())
    }

    /// Makes it what it is to be, unless it is.
    pub(super) fn enforce(&self, interface: &str) -> io::Result<()> {
        self.set(interface, self.value)
    }

    /// Gives it this value, unless it has it, and makes sure of it. A kernel without the setting, as without IPv6, has nothing to be set.
    pub(super) fn set(&self, interface: &str, value: &str) -> io::Result<()> {
        match self.read(interface) {
            None => Ok(()),
            Some(now) if now == value => Ok(()),
            Some(_) => {
                let path = self.path(interface);
                fs::write(&path, value).map_err(|error| io::Error::new(error.kind(), why(&error, &path)))?;
                match self.read(interface) {
                    Some(now) if now != value => Err(io::Error::other(format!(
                        "{}: is {now} after {value} was written",
                        path.display()
                    ))),
                    Some(_) | None => Ok(()),
                }
            }
        }
    }
}

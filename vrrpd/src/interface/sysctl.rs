//! Sysctls of an interface below `/proc/sys/net`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use vrrpd_common::Family;

/// A sysctl of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// Part of the kernel that it belongs to.
    pub family: Family,
    /// Its name.
    pub key: &'static str,
    /// The required value.
    pub value: &'static str,
}

const fn ipv4(key: &'static str, value: &'static str) -> Setting {
    Setting { family: Family::Ipv4, key, value }
}

const fn ipv6(key: &'static str, value: &'static str) -> Setting {
    Setting { family: Family::Ipv6, key, value }
}

/// For a macvlan link with virtual IPv4 addresses: it answers ARP for its own addresses only, even if the answer takes
/// another route, and accepts packets that arrive that way.
pub(super) const MACVLAN_IPV4: [Setting; 6] = [
    ipv4("arp_ignore", "1"),
    ipv4("arp_announce", "2"),
    ipv4("arp_filter", "0"),
    // Loose, not off: the maximum of this and the setting for all interfaces counts, and strict is greater than off.
    ipv4("rp_filter", "2"),
    ipv4("accept_local", "1"),
    ipv6("disable_ipv6", "1"),
];

/// For a macvlan link with virtual IPv6 addresses: it has these and no automatic ones.
pub(super) const MACVLAN_IPV6: [Setting; 7] = [
    ipv6("disable_ipv6", "0"),
    ipv6("addr_gen_mode", "1"),
    ipv6("autoconf", "0"),
    ipv6("accept_ra", "0"),
    ipv6("router_solicitations", "0"),
    ipv6("accept_dad", "0"),
    ipv6("dad_transmits", "0"),
];

/// For the interface below such a link with IPv4 addresses: otherwise it would answer and send ARP for them with its
/// own MAC address.
pub(super) const PARENT_IPV4: [Setting; 2] = [ipv4("arp_ignore", "1"), ipv4("arp_announce", "2")];

/// Why a sysctl cannot be set, and what to do.
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
    /// The assignment in the syntax of `sysctl`.
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

    /// The present value; `None` if the kernel has no such sysctl.
    pub(super) fn read(&self, interface: &str) -> Option<String> {
        fs::read_to_string(self.path(interface)).ok().map(|text| text.trim().to_owned())
    }

    /// Sets the required value, if it differs.
    pub(super) fn enforce(&self, interface: &str) -> io::Result<()> {
        self.set(interface, self.value)
    }

    /// Sets this value, if it differs, and verifies it. Does nothing if the kernel does not have the sysctl, as without
    /// IPv6.
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

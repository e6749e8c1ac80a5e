//! What a daemon may have put on interfaces, written down before it does: a crash leaves it for the next start to undo.
//!
//! A line for each virtual address: the interface, a space, the address with its length. The mark on the addresses
//! (`IFA_PROTO`) says the same on newer kernels, but not which of them belong to a daemon that still lives.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::config::{RouterConfig, VirtualAddress, value};

/// The addresses that an earlier daemon of this name was to serve.
#[derive(Debug, Default)]
pub struct Journal(Vec<(String, VirtualAddress)>);

impl Journal {
    /// Reads the journal at `path`, which a daemon that ended well has removed. A line that is none is passed over.
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let entry = |line: &str| {
            let (interface, address) = line.split_once(' ')?;
            Some((interface.to_owned(), value::address(address).ok()?))
        };
        Self(text.lines().filter_map(entry).collect())
    }

    /// The addresses that were to be on this interface.
    pub fn on<'a>(&'a self, interface: &'a str) -> impl Iterator<Item = VirtualAddress> + 'a {
        self.0.iter().filter(move |(name, _)| name == interface).map(|(_, address)| *address)
    }

    /// The text of a journal for these routers.
    pub fn text<'a>(routers: impl Iterator<Item = &'a RouterConfig>) -> String {
        let mut text = String::new();
        for router in routers {
            for address in &router.addresses {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{} {address}", router.interface);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_reads_back_and_broken_lines_are_passed_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("vrrpd_eth0_51.journal");
        fs::write(&path, "eth0 10.0.0.1/24\nnonsense\neth1 fe80::1/64\neth0 10.0.0.300/24\n")
            .expect("writes");
        let journal = Journal::read(&path);
        let on = |interface| journal.on(interface).map(|address| address.to_string()).collect::<Vec<_>>();
        assert_eq!(on("eth0"), ["10.0.0.1/24"]);
        assert_eq!(on("eth1"), ["fe80::1/64"]);
        assert!(Journal::read(&dir.path().join("missing")).on("eth0").next().is_none());
    }
}

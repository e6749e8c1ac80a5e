//! The network cards of an emulated machine (`cargo xtask vm-test`): two of each kind, with a cable between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::{Host, wait_for};

/// The port that leads to the monitor of the machine.
const MONITOR: &str = "/dev/ttyS2";
const CARDS: &str = "/sys/class/net";
const DEVICES: &str = "/sys/bus/pci/devices";
/// Timeout for cards to return from machines of earlier tests.
const PATIENCE: Duration = Duration::from_secs(10);

/// Two cards with one driver.
#[derive(Clone, Debug)]
pub struct Cards {
    /// Its name.
    pub driver: String,
    /// MAC addresses, in the order of the monitor's numbers. Names change when a card returns from a machine.
    macs: Vec<String>,
}

/// All cards by driver; there must be some.
pub fn all_cards() -> Vec<Cards> {
    wait_for(PATIENCE, "two network cards of each kind are there", || {
        let mut found = BTreeMap::<String, BTreeSet<String>>::new();
        for (driver, mac, _) in present() {
            found.entry(driver).or_default().insert(mac);
        }
        let cards =
            |(driver, macs): (String, BTreeSet<String>)| Cards { driver, macs: macs.into_iter().collect() };
        let all: Vec<_> = found.into_iter().map(cards).collect();
        // Those of the machines of an earlier test return a little later.
        let are_all = all.iter().map(|cards| cards.macs.len()).sum::<usize>() == number_of_cards();
        (!all.is_empty() && are_all && all.iter().all(|cards| cards.macs.len() == 2)).then_some(all)
    })
}

/// The number of network cards on the PCI bus, which shows those in every namespace.
fn number_of_cards() -> usize {
    const ETHERNET: &str = "0x0200";
    let devices = fs::read_dir(DEVICES).into_iter().flatten().flatten();
    let class = |device: fs::DirEntry| fs::read_to_string(device.path().join("class")).ok();
    devices.filter_map(class).filter(|class| class.starts_with(ETHERNET)).count()
}

/// Driver, MAC address and name of each card that no machine of a test has.
fn present() -> Vec<(String, String, String)> {
    let entries = fs::read_dir(CARDS).into_iter().flatten().flatten();
    let card = |entry: fs::DirEntry| {
        let mac = fs::read_to_string(entry.path().join("address")).ok()?;
        Some((driver_of(&entry.path())?, mac, entry.file_name().to_string_lossy().into_owned()))
    };
    entries.filter_map(card).collect()
}

/// The driver of an interface that is hardware.
fn driver_of(interface: &Path) -> Option<String> {
    let driver = fs::read_link(interface.join("device/driver")).ok()?;
    Some(driver.file_name()?.to_string_lossy().into_owned())
}

impl Cards {
    /// The machines `a` and `b` with a card each, and the addresses 10.0.0.1/24 and 10.0.0.2/24.
    pub fn hosts(&self) -> [Host; 2] {
        [("a", 0, "10.0.0.1/24"), ("b", 1, "10.0.0.2/24")].map(|(name, number, address)| {
            self.set_link(number, true);
            let card = wait_for(PATIENCE, "the card is not used any more", || {
                present().into_iter().find(|(_, mac, _)| *mac == self.macs[number]).map(|(.., card)| card)
            });
            Host::with_card(name, &card, address)
        })
    }

    /// Pulls the cable of a card, or plugs it in; the driver notices it a little later.
    pub fn set_link(&self, number: usize, is_on: bool) {
        let word = if is_on { "on" } else { "off" };
        let mut monitor = OpenOptions::new().write(true).open(MONITOR).expect("there is a monitor");
        writeln!(monitor, "set_link {}.{number} {word}", self.driver).expect("the monitor reads");
    }
}

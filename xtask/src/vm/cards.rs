//! Emulated network cards for the tests of drivers, two of each kind on a hub of their own, so no frame leaves the machine.
//!
//! Tests pull and plug their cables through QEMU's monitor, to which the third serial port leads.

use std::process::Command;

use anyhow::{Context, Result};

use super::machine::QEMU;

/// A kind of card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Card {
    /// Its driver. The cards are `DRIVER.0` and `DRIVER.1`.
    driver: &'static str,
    /// The modules with it.
    modules: &'static [&'static str],
    /// The device of QEMU.
    device: &'static str,
}

/// Every kind. Older versions of QEMU do not have all of them.
pub(super) const ALL: [Card; 4] = [
    Card { driver: "virtio_net", modules: &["virtio_pci", "virtio_net"], device: "virtio-net-pci" },
    Card { driver: "vmxnet3", modules: &["vmxnet3"], device: "vmxnet3" },
    Card { driver: "e1000e", modules: &["e1000e"], device: "e1000e" },
    Card { driver: "igb", modules: &["igb"], device: "igb" },
];

/// The file name of the monitor's socket, in the directory of the machine.
const MONITOR: &str = "monitor";

/// The modules for tests of these cards.
pub(super) fn modules(cards: &[Card]) -> Vec<&'static str> {
    ["8021q"].into_iter().chain(cards.iter().flat_map(|card| card.modules).copied()).collect()
}

/// QEMU's options for these cards, as far as it has them, with a monitor for their cables.
pub(super) fn options(cards: &[Card]) -> Result<Vec<String>> {
    let output = Command::new(QEMU.require()).args(["-device", "help"]).output();
    let known = String::from_utf8_lossy(&output.context("QEMU cannot be run")?.stdout).into_owned();
    let mut options = Vec::new();
    for (hub, Card { driver, device, .. }) in cards.iter().enumerate() {
        if !known.contains(&format!("name \"{device}\"")) {
            println!("vm-test: this QEMU has no {device}, so {driver} is not tested");
            continue;
        }
        for number in 0..2 {
            let (id, mac) = (format!("{driver}.{number}"), format!("52:54:00:00:{hub:02x}:{number:02x}"));
            let slot = 2 * hub + number + 1;
            options.extend([
                "-netdev".to_owned(),
                format!("hubport,id=port.{id},hubid={hub}"),
                // Each in a slot of its own: igb takes further places in it.
                "-device".to_owned(),
                format!("pcie-root-port,id=slot.{slot},chassis={slot}"),
                "-device".to_owned(),
                format!("{device},id={id},bus=slot.{slot},netdev=port.{id},mac={mac}"),
            ]);
        }
    }
    // Two ends of one socket: what the guest writes to its port is a command.
    options.extend(["-chardev".to_owned(), format!("socket,id=port,path={MONITOR},server=on,wait=off")]);
    options.extend(["-serial".to_owned(), "chardev:port".to_owned()]);
    options.extend(["-chardev".to_owned(), format!("socket,id=monitor,path={MONITOR}")]);
    options.extend(["-mon".to_owned(), "chardev=monitor,mode=readline".to_owned()]);
    Ok(options)
}

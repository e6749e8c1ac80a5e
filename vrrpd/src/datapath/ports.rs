//! Interfaces that receive through others: a bond through its ports, Hyper-V's network interface through a virtual function.
//!
//! Their drivers run a native XDP program in the drivers of the interfaces below, where the kernel tells the program the index
//! of the interface below. The program would take every advert for that of another interface.

use std::fs;
use std::path::Path;

use nix::net::if_::if_indextoname;

/// The driver of Hyper-V, whose virtual function may be added at any time.
const HYPER_V: &str = "hv_netvsc";

/// Whether the interface with this index receives through others, or may.
pub(super) fn are_below(index: u32) -> bool {
    let Ok(name) = if_indextoname(index) else { return false };
    let of_interface = Path::new("/sys/class/net").join(name.to_string_lossy().as_ref());
    is_bond(&of_interface) || has_driver(&of_interface, HYPER_V)
}

/// Whether this directory of sysfs is that of a bond, with or without ports.
fn is_bond(of_interface: &Path) -> bool {
    of_interface.join("bonding").is_dir()
}

fn has_driver(of_interface: &Path, driver: &str) -> bool {
    let link = fs::read_link(of_interface.join("device/driver"));
    link.is_ok_and(|link| link.file_name().is_some_and(|name| name == driver))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn bonds_and_hyper_v_are_told_from_other_interfaces() {
        let sysfs = tempfile::tempdir().expect("a directory");
        let interface = |name: &str, driver: Option<&str>| {
            let dir = sysfs.path().join(name);
            fs::create_dir_all(dir.join("device")).expect("can be made");
            if let Some(driver) = driver {
                symlink(format!("../../bus/drivers/{driver}"), dir.join("device/driver"))
                    .expect("can be made");
            }
            dir
        };
        let (card, netvsc, veth) =
            (interface("eth0", Some("e1000e")), interface("eth1", Some(HYPER_V)), interface("veth0", None));
        let bond = interface("bond0", None);
        fs::create_dir(bond.join("bonding")).expect("can be made");
        assert!(is_bond(&bond) && has_driver(&netvsc, HYPER_V));
        assert!([&card, &veth].iter().all(|dir| !is_bond(dir) && !has_driver(dir, HYPER_V)));
    }
}

//! A kernel without nf_tables: `accept = false` cannot be kept, the master serves all the same, and says so.

use std::process::Command;

use vrrpd_lab::usual::{CIDR, SOON};
use vrrpd_lab::{Lab, Vrrpd, wait_until};

/// The module, as the emulated machine loads it.
const MODULE: &str = "/vm/modules/nf_tables.ko";

fn run(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).status().is_ok_and(|status| status.success())
}

#[test]
#[ignore = "takes a module out of the kernel: cargo xtask vm-test"]
fn without_nf_tables_packets_are_accepted_and_dropped_as_soon_as_it_is_there() {
    const VIP: &str = "10.0.0.100";
    const SAID: &str = "cannot drop packets to virtual addresses, accepting them";
    assert!(run("rmmod", "nf_tables"), "no table is there, so the module can go");
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let router = Vrrpd::of_file(
        &a,
        &format!(
            "[[router]]\ninterface = \"eth0\"\nvrid = 51\nprotocol = \"v3\"\ninterval = \"100ms\"\nvmac = \"none\"\n\
             accept = false\naddresses = [\"{CIDR}\"]\n"
        ),
    );
    router.wait_state("master", SOON);
    wait_until(SOON, "the reason is told", || router.state()["accept_error"].is_string());
    assert!(client.can_ping(VIP), "it serves");
    let line = router.wait_log(SOON, SAID);
    assert!(line.contains("ERROR"), "{line}");
    router.assert_in_log(SAID, 1);

    assert!(run("insmod", MODULE), "it comes back");
    wait_until(SOON, "packets are dropped", || !client.can_ping(VIP));
    wait_until(SOON, "the state says so", || router.state()["accept_error"].is_null());
    assert_eq!(router.counter("transitions"), 2, "it went on");
    assert_eq!(router.terminate(), 0);
}

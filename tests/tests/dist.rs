//! The programs of `cargo xtask dist`, which runs these tests on its result.

use std::fs;

use vrrpd_lab::usual::{CIDR, SOON};
use vrrpd_lab::{Datapath, Lab, Vrrpd, binary};

/// Types of the program headers of a 64-bit little-endian executable.
fn program_headers(executable: &[u8]) -> Vec<u32> {
    let number = |at: usize, octets: usize| {
        let digits = executable[at..at + octets].iter().rev();
        digits.fold(0_usize, |number, octet| number << 8 | usize::from(*octet))
    };
    let (first, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).map(|header| u32::try_from(number(first + header * size, 4)).expect("four octets")).collect()
}

#[test]
#[ignore = "about programs that are linked statically: cargo xtask dist"]
fn programs_need_no_loader_and_no_library() {
    const LOAD: u32 = 1;
    const DYNAMIC: u32 = 2;
    const INTERPRETER: u32 = 3;
    for program in ["vrrpd", "atropos"] {
        let headers = program_headers(&fs::read(binary(program)).expect("it is there"));
        assert!(headers.contains(&LOAD), "{program}: {headers:?}");
        assert!(!headers.contains(&DYNAMIC) && !headers.contains(&INTERPRETER), "{program}: {headers:?}");
    }
}

#[test]
#[ignore = "about programs that are linked statically: cargo xtask dist"]
fn routers_elect_a_master_and_another_one_takes_over() {
    for datapath in [Datapath::Raw, Datapath::Auto] {
        let lab = Lab::new();
        let [a, b] = lab.hosts();
        let master = Vrrpd::usual(&a, 150).datapath(datapath).start();
        master.wait_state("master", SOON);
        let backup = Vrrpd::usual(&b, 100).datapath(datapath).start();
        assert_eq!(backup.state()["state"], "backup");
        master.kill();
        backup.wait_state("master", SOON);
        assert!(b.has_address("eth0", CIDR));
    }
}

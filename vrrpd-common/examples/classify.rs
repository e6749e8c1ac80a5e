//! Classifies a frame repeatedly: `classify TIMES HEX`. A test runs it under callgrind, which counts the instructions.

use std::env;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use vrrpd_common::classify::{AddressUse, Expect, RouterKey, Routers};
use vrrpd_common::{Auth, Family, Interval, Version, Vrid, classify};

/// An interface with one virtual router, 51, of version 3 over IPv4.
struct One(Expect);

impl Routers for One {
    fn expect(&self, _: u16, family: Family, vrid: Vrid) -> Option<Expect> {
        self.knows(0, family, vrid).then_some(self.0)
    }

    fn knows(&self, _: u16, family: Family, vrid: Vrid) -> bool {
        family == Family::Ipv4 && vrid.get() == 51
    }

    fn use_of(&self, _: &RouterKey, address: IpAddr) -> AddressUse {
        AddressUse::new(address == IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100)), None)
    }
}

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let times = arguments.next().and_then(|times| times.parse::<u32>().ok());
    let frame = arguments.next().and_then(|hex| octets(&hex));
    let (Some(times), Some(frame), Ok(interval)) = (times, frame, Interval::from_centis(1)) else {
        eprintln!("usage: classify TIMES HEX");
        return ExitCode::FAILURE;
    };
    let one = One(Expect {
        version: Version::V3,
        interval,
        auth: Auth::None,
        source: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))),
        broadcast: Some(Ipv4Addr::new(10, 0, 0, 255)),
        from_peers: false,
        min_ttl: 255,
        accept_interval_mismatch: false,
        accept_no_addresses: false,
        address_list: None,
    });
    for _ in 0..times {
        black_box(classify(black_box(&frame[..]), &one));
    }
    println!("{:?}", classify(&frame[..], &one));
    ExitCode::SUCCESS
}

/// Parses hexadecimal digits.
fn octets(hex: &str) -> Option<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2).map(|at| hex.get(at..at + 2));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

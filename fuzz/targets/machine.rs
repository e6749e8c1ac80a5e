//! See `vrrpd_properties::machine`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| vrrpd_properties::machine::check(octets));

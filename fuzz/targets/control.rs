//! See `vrrpd_properties::control`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| vrrpd_properties::control::check(octets));

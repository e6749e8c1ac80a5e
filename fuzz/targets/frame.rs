//! See `vrrpd_properties::frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| vrrpd_properties::frame::check(octets));

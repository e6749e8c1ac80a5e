//! See `vrrpd_properties::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| vrrpd_properties::config::check(octets));

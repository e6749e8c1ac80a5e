//! Which object of the program in the kernel the daemon embeds: decided when it is built, never when it runs.

use std::env;
use std::path::Path;

/// Names another object than the committed one: `cargo xtask ci` tests one that it has just built.
const OBJECT: &str = "VRRPD_BPF_OBJECT";
/// Set by cargo with the feature `debug-log`.
const DEBUG_LOG: &str = "CARGO_FEATURE_DEBUG_LOG";

fn main() {
    println!("cargo::rerun-if-env-changed={OBJECT}");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let object = if env::var_os(DEBUG_LOG).is_some() {
        let object = here.with_file_name("target/ebpf/vrrpd-debug-log.bpf.o");
        println!("cargo::rerun-if-changed={}", object.display());
        if !object.exists() {
            println!(
                "cargo::error={} is missing; `cargo xtask ebpf --debug-log` builds it",
                object.display()
            );
        }
        object
    } else {
        env::var_os(OBJECT).map_or_else(|| here.join("ebpf/vrrpd.bpf.o"), Into::into)
    };
    println!("cargo::rustc-env={OBJECT}={}", object.display());
}

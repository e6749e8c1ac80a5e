//! Selects the BPF objects that the daemon embeds, at build time.

use std::env;
use std::path::Path;

/// Overrides the directory of the committed objects: `cargo xtask ci` tests the ones it has just built.
const OBJECTS: &str = "VRRPD_BPF_OBJECTS";
/// Set by cargo with the feature `debug-log`.
const DEBUG_LOG: &str = "CARGO_FEATURE_DEBUG_LOG";

fn main() {
    println!("cargo::rerun-if-env-changed={OBJECTS}");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let objects = if env::var_os(DEBUG_LOG).is_some() {
        let objects = here.with_file_name("target/ebpf/objects-debug-log");
        println!("cargo::rerun-if-changed={}", objects.display());
        if !objects.exists() {
            println!(
                "cargo::error={} is missing; `cargo xtask ebpf --debug-log` builds it",
                objects.display()
            );
        }
        objects
    } else {
        env::var_os(OBJECTS).map_or_else(|| here.join("ebpf"), Into::into)
    };
    println!("cargo::rustc-env={OBJECTS}={}", objects.display());
}

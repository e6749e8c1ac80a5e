//! The engine does no I/O: checks the imports of its sources and its dependencies.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Modules of the standard library without I/O, clocks, threads or the environment.
const MODULES: [&str; 19] = [
    "array",
    "borrow",
    "cell",
    "cmp",
    "collections",
    "convert",
    "error",
    "fmt",
    "hash",
    "iter",
    "marker",
    "mem",
    "net",
    "num",
    "ops",
    "path",
    "rc",
    "slice",
    "str",
];
/// Types of `std::net` in use: addresses, no sockets.
const OF_NET: [&str; 4] = ["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr"];
/// Types of `std::path` in use; some methods of them read the file system and are forbidden below.
const OF_PATH: [&str; 2] = ["Path", "PathBuf"];
/// Forbidden macros and methods: printing, and reading the file system.
const CALLS: [&str; 16] = [
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
    "dbg!",
    ".canonicalize(",
    ".exists(",
    ".try_exists(",
    ".is_dir(",
    ".is_file(",
    ".is_symlink(",
    ".metadata(",
    ".read_dir(",
    ".read_link(",
    ".symlink_metadata(",
    "extern ",
];
/// Allowed dependencies, direct and indirect.
const CRATES: [&str; 16] = [
    "cobs",
    "itoa",
    "memchr",
    "postcard",
    "proc-macro2",
    "quote",
    "serde",
    "serde_core",
    "serde_derive",
    "serde_json",
    "syn",
    "thiserror",
    "thiserror-impl",
    "unicode-ident",
    "vrrpd-common",
    "zmij",
];

fn sources() -> Vec<(PathBuf, String)> {
    fn collect(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 5, "the sources are somewhere else");
    found
}

/// The code without its comments.
fn code(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| line.split(" // ").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// The names after each `prefix::`: one, or several in braces.
fn named_behind<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let is_part_of_a_word = |character: char| character.is_alphanumeric() || character == '_';
    let path = format!("{prefix}::");
    let mut named = Vec::new();
    for (start, _) in code.match_indices(&path) {
        if code[..start].ends_with(is_part_of_a_word) {
            continue;
        }
        let rest = &code[start + path.len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let list = list.split('}').next().expect("a list");
            named.extend(list.split(',').map(str::trim).filter(|word| !word.is_empty()));
        } else {
            let end = rest.find(|character| !is_part_of_a_word(character)).unwrap_or(rest.len());
            named.push(&rest[..end]);
        }
    }
    named
}

#[test]
fn engine_imports_nothing_that_does_io() {
    for (path, text) in sources() {
        let (path, code) = (path.display(), code(&text));
        for root in ["std", "core", "alloc"] {
            for module in named_behind(&code, root) {
                assert!(MODULES.contains(&module), "{path}: {root}::{module}");
            }
            for (module, allowed) in [("net", &OF_NET[..]), ("path", &OF_PATH[..])] {
                for item in named_behind(&code, &format!("{root}::{module}")) {
                    assert!(allowed.contains(&item), "{path}: {root}::{module}::{item}");
                }
            }
        }
        for call in CALLS {
            assert!(!code.contains(call), "{path}: {call}");
        }
        assert!(!code.contains("use std as") && !code.contains("use std;"), "{path}: std under another name");
    }
}

#[test]
fn unsafe_code_is_forbidden() {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    assert!(fs::read_to_string(lib).expect("a source").contains("#![forbid(unsafe_code)]"));
}

#[test]
fn engine_depends_on_the_protocol_and_pure_helpers_alone() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", "vrrpd-engine", "--edges", "normal,build"])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("text");
    let crates: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let allowed: BTreeSet<_> = CRATES.into_iter().chain(["vrrpd-engine", ""]).collect();
    assert!(crates.contains("vrrpd-common"), "{tree}");
    assert_eq!(crates.difference(&allowed).collect::<Vec<_>>(), Vec::<&&str>::new());
}

#[test]
fn imports_of_all_forms_are_found() {
    let code =
        "use std::net::{IpAddr, UdpSocket};\nlet a = std::fs::read(p); my_std::fs::x(); std::{io, env};";
    assert_eq!(named_behind(code, "std"), ["net", "fs", "io", "env"]);
    assert_eq!(named_behind(code, "std::net"), ["IpAddr", "UdpSocket"]);
}

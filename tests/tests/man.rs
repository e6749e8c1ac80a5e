//! The manual pages: valid, and with an entry for every option.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use vrrpd_lab::needs::MANDOC;
use vrrpd_lab::{Lab, binary};

fn page(program: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man").join(format!("{program}.8"))
}

/// The options in `--help`, as written: `-i`, `--json`.
fn options_in_help(help: &str) -> BTreeSet<String> {
    let entries = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words = entries.flat_map(|line| line.split("  ").next().unwrap_or_default().split(", "));
    let name = |word: &str| word.split([' ', '[', '=', '<']).next().unwrap_or_default().to_owned();
    // Possible values of an option are a list with dashes.
    words.map(name).filter(|option| option.len() > 1).collect()
}

/// The options with their own entry in a manual page.
fn options_in_page(page: &str) -> BTreeSet<String> {
    let entries = page.lines().filter_map(|line| line.strip_prefix(".It Fl "));
    let names = entries.flat_map(|entry| {
        let words = entry.split(" , ");
        words
            .map(|word| format!("-{}", word.split_whitespace().next().unwrap_or_default()))
            .collect::<Vec<_>>()
    });
    names.collect()
}

#[test]
fn manual_pages_have_an_entry_for_each_option_and_for_no_other() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for program in ["vrrpd", "atropos"] {
        let help = a.run(binary(program), ["--help"]).stdout;
        let text = std::fs::read_to_string(page(program)).expect("there is a page");
        assert!(options_in_help(&help).len() > 10, "{help}");
        assert_eq!(
            options_in_page(&text),
            options_in_help(&help),
            "docs/man/{program}.8 and {program} --help"
        );
    }
}

#[test]
fn manual_pages_have_no_mistake_that_mandoc_finds() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for program in ["vrrpd", "atropos"] {
        let arguments = ["-T", "lint", "-W", "warning"].map(Into::into).into_iter().chain([page(program)]);
        let finished = a.run(MANDOC.require(), arguments);
        assert_eq!((finished.code, finished.stdout.as_str()), (0, ""), "{program}: {finished:?}");
    }
}

//! Consistency of the table, and of the documentation with it.

use std::fmt::Write as _;
use std::{env, fs};

use super::*;

const HEADER: &str = "# Options of a virtual router

An option is written on the command line, or under its key in the tables `[[router]]` and `[defaults]` of a configuration file
([example](examples/vrrpd.toml)). [configuration.md](configuration.md) explains them, and has the options of the process.

| key | command line | meaning |
|---|---|---|
";

/// The default in the help, if the text after `default: ` is a value.
fn told_default(key: Key) -> Option<&'static str> {
    let (_, rest) = key.declaration().help.split_once("default: ")?;
    rest.strip_suffix(']').filter(|text| RouterOptions::default().set(key, text).is_ok())
}

#[test]
fn every_option_has_a_key_and_a_flag_of_its_own() {
    for (index, key) in Key::ALL.iter().enumerate() {
        for other in &Key::ALL[index + 1..] {
            assert_ne!(key.name(), other.name());
            assert_ne!(key.flag(), other.flag());
        }
        let Declaration { name, flag, argument, toml, .. } = key.declaration();
        let variant: String = name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        assert_eq!(format!("{key:?}"), variant, "of {name}");
        let is_letter = flag.len() == 2 && key.declaration().letter().is_some();
        let is_positional = matches!(argument, Argument::Positional(_));
        // One value on the command line, a list in the file.
        let is_singular = toml.is_list() && name.starts_with(flag.trim_start_matches('-'));
        let long =
            if argument == Argument::Switch("false") { format!("--no-{name}") } else { format!("--{name}") };
        assert!(is_letter || is_positional || is_singular || flag == long, "{flag} of {name}");
    }
}

#[test]
fn defaults_in_the_help_are_those_that_are_taken() {
    let router = [(Key::Interface, "eth0"), (Key::Vrid, "51"), (Key::Addresses, "10.16.1.200")];
    let with = |key: Key, text: &str| {
        let mut options = RouterOptions::default();
        for (key, text) in router.into_iter().chain([(key, text)]) {
            options.set(key, text).expect("is legal");
        }
        options.resolve().expect("is complete")
    };
    let told: Vec<_> = Key::ALL.iter().filter_map(|key| Some((*key, told_default(*key)?))).collect();
    assert!(told.len() >= 8, "{told:?}");
    for (key, text) in told {
        assert_eq!(with(key, text), with(Key::Vrid, "51"), "{key}");
    }
}

#[test]
fn switches_stand_for_values_that_their_options_can_have() {
    for key in Key::ALL {
        let stands_for = match key.declaration().argument {
            Argument::Switch(text) | Argument::Optional(_, text) => text,
            Argument::Value(_) | Argument::Repeated(_) | Argument::Positional(_) => continue,
        };
        assert!(RouterOptions::default().set(*key, stands_for).is_ok(), "{key}");
    }
    assert!(RouterOptions::default().set(NO_VMAC.key, NO_VMAC.value).is_ok());
}

#[test]
fn manual_page_has_every_key() {
    let page = include_str!("../../../../docs/man/vrrpd.8");
    for key in Key::ALL {
        let Declaration { name, flag, .. } = key.declaration();
        let entry = match key.declaration().letter() {
            Some(letter) => format!("\n.Cm {name}\n.Pq Fl {letter} "),
            None if let Some(long) = flag.strip_prefix("--") => format!("\n.It Fl -{long}"),
            None => format!("\n.Cm {name} "),
        };
        assert!(page.contains(&entry), "{entry}");
    }
}

/// `UPDATE_GOLDEN=1 cargo test -p vrrpd options` rewrites the page.
#[test]
fn docs_options_md_is_the_table() {
    let mut page = HEADER.to_owned();
    for key in Key::ALL {
        let Declaration { name, flag, argument, help, .. } = key.declaration();
        let option = match argument {
            Argument::Switch(value) => format!("`{flag}` (`{name} = {value}`)"),
            Argument::Value(what) => format!("`{flag} {what}`"),
            Argument::Repeated(what) => format!("`{flag} {what}` ..."),
            Argument::Optional(what, _) => format!("`{flag}[={what}]`"),
            Argument::Positional(what) => format!("`{what}...`"),
        };
        let help = help.replace('|', "\\|");
        writeln!(page, "| `{name}` | {option} | {help} |").expect("a text grows");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/options.md");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, &page).expect("the page can be written");
    }
    assert_eq!(fs::read_to_string(path).unwrap_or_default(), page, "{path}");
}

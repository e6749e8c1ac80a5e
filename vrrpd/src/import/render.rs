//! Prints the result of an import as a configuration file.

use std::fmt::Write as _;

use vrrpd_common::Family;

use super::{Imported, Router, Setting};
use crate::config::{Key, Toml};
use crate::router_name::RouterName;

/// A configuration file with these checks, routers and groups.
pub fn render(imported: &Imported) -> String {
    let mut text = String::new();
    for check in &imported.checks {
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "[[track]]\nname = {}", quoted(&check.name));
        for (key, setting) in &check.settings {
            let _ = match setting {
                Setting::Text(value) => writeln!(text, "{key} = {}", quoted(value)),
                Setting::List(values) => {
                    writeln!(text, "{key} = [{}]", list(values.iter().map(String::as_str)))
                }
                Setting::Bare(value) => writeln!(text, "{key} = {value}"),
            };
        }
    }
    for router in &imported.routers {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str("[[router]]\n");
        render_settings(router, &mut text);
    }
    for group in &imported.groups {
        let members = group.members.iter().filter_map(|index| name(imported.routers.get(*index)?));
        let members: Vec<_> = members.collect();
        let _ = writeln!(text, "\n[[group]]\nname = {}", quoted(&group.name));
        let _ = writeln!(text, "members = [{}]", list(members.iter().map(String::as_str)));
        render_settings(&group.settings, &mut text);
        if group.has_weights {
            text.push_str("track-weights = true\n");
        }
    }
    text
}

/// Lists take one line, after everything else.
fn render_settings(router: &Router, text: &mut String) {
    let (lists, others): (Vec<_>, Vec<_>) =
        router.settings.iter().partition(|(key, _)| key.declaration().toml.is_list());
    for words in others.chunk_by(|(one, _), (other, _)| one == other) {
        let _ = match words {
            [(key, value)] => writeln!(text, "{key} = {}", value_of(*key, value)),
            [(key, _), ..] => {
                writeln!(text, "{key} = [{}]", list(words.iter().map(|(_, word)| word.as_str())))
            }
            [] => Ok(()),
        };
    }
    for chunk in lists.chunk_by(|(one, _), (other, _)| one == other) {
        let Some((key, _)) = chunk.first() else { continue };
        let values = chunk.iter().map(|(_, value)| value.as_str());
        let _ = writeln!(text, "{key} = [{}]", list(values));
    }
}

/// Numbers and booleans have no quotes if the key accepts nothing else. Numbers are printed again, since TOML does not
/// allow leading zeros.
fn value_of(key: Key, value: &str) -> String {
    match key.declaration().toml {
        Toml::Number => value.parse::<u8>().map_or_else(|_| quoted(value), |number| number.to_string()),
        Toml::Boolean => value.to_owned(),
        Toml::Text | Toml::List | Toml::Addresses | Toml::Command => quoted(value),
    }
}

/// The name of a router for a `[[group]]`.
fn name(router: &Router) -> Option<String> {
    if let Some(name) = router.get(Key::Name) {
        return Some(name.to_owned());
    }
    let interface = router.get(Key::Interface)?;
    let vrid = router.get(Key::Vrid)?.parse().ok()?;
    let is_ipv6 = match router.get(Key::Addresses) {
        Some(address) => address.contains(':'),
        None => router.get(Key::Family) == Some(Family::Ipv6.name()),
    };
    let family = if is_ipv6 { Family::Ipv6 } else { Family::Ipv4 };
    Some(RouterName { interface, vrid, family }.to_string())
}

fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    items.map(quoted).collect::<Vec<_>>().join(", ")
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_numbers_of_toml() {
        for (key, value, text) in [
            (Key::Priority, "075", "75"),
            (Key::Vrid, "+5", "5"),
            (Key::Priority, "300", "\"300\""),
            (Key::Interval, "01", "\"01\""),
            (Key::Preempt, "false", "false"),
        ] {
            assert_eq!(value_of(key, value), text, "{key:?}");
        }
    }

    #[test]
    fn quotes_backslashes_and_control_characters_are_escaped() {
        assert_eq!(quoted("a\"b\\c\u{1}\u{7f}é"), "\"a\\\"b\\\\c\\u0001\\u007fé\"");
    }
}

//! Escapes text from others (scripts, peers, daemons, names in files), so that it is one line and has no effect on a
//! terminal.

use std::borrow::Cow;

/// Escapes every character that ends a line, moves a cursor or changes the writing direction: C0 and C1 controls, DEL,
/// line and paragraph separators, directional formatting characters, and tags. The escapes are those of JSON (`\n`,
/// `\r`, `\t`, `\u001b`), so JSON remains valid.
pub fn printable(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(is_unprintable) else { return Cow::Borrowed(text) };
    let (before, rest) = text.split_at(first);
    let mut escaped = String::with_capacity(text.len() + 8);
    escaped.push_str(before);
    for character in rest.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            _ if is_unprintable(character) => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    escaped.push_str("\\u");
                    for shift in [12, 8, 4, 0] {
                        escaped.extend(char::from_digit(u32::from(*unit >> shift & 0xf), 16));
                    }
                }
            }
            _ => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

/// Whether a character has an effect other than its glyph.
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // Line and paragraph separators; directional marks, embeddings and isolates; invisible operators.
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_any_language_is_left_as_it_is() {
        for text in ["", "eth0/51", "Schlüssel \\ \"x\"", "切り替え", "مرحبا", "🦀"] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn line_ends_and_control_characters_are_escaped() {
        assert_eq!(printable("a\nb\rc\td\0"), "a\\nb\\rc\\td\\u0000");
        assert_eq!(printable("\u{1b}[2J\u{7f}\u{85}\u{9b}1m"), "\\u001b[2J\\u007f\\u0085\\u009b1m");
        assert_eq!(printable("\u{2028}\u{2029}\u{202e}\u{2066}"), "\\u2028\\u2029\\u202e\\u2066");
        assert_eq!(printable("\u{e0001}"), "\\udb40\\udc01");
    }

    #[test]
    fn line_of_json_has_the_same_value_afterwards() {
        let line = serde_json::to_string("\u{1b}]0;x\u{7}\u{9b}\u{2028}\n\u{e0001}").expect("is JSON");
        let escaped = printable(&line);
        assert!(escaped.chars().all(|character| !is_unprintable(character)), "{escaped}");
        let [before, after] = [&line, &*escaped].map(serde_json::from_str::<String>);
        assert_eq!(before.expect("is JSON"), after.expect("is JSON"));
    }
}

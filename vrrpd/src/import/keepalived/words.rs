//! The words of a line of keepalived.conf. In most lines only blanks, double quotes and braces are special; lines that
//! name scripts have single quotes and backslashes too.

use thiserror::Error;

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The words between braces, at least one.
    Words(Words),
    /// `{`
    Open,
    /// `}`
    Close,
}

/// The words of a line, split in both ways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// As for most keywords: `'` and backslash are ordinary characters.
    pub(super) plain: Vec<String>,
    /// As for lines that name scripts.
    pub(super) quoted: Vec<String>,
}

/// An unclosed quote.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a quote ({0}) is not closed on this line")]
pub(super) struct OpenQuote(char);

/// The part before a `#` or `!` outside double quotes.
pub(super) fn without_comment(line: &str) -> &str {
    let mut is_quoted = false;
    let mut is_escaped = false;
    for (at, character) in line.char_indices() {
        match character {
            // keepalived removes the backslash as well.
            '#' | '!' if !is_quoted => return &line[..at - usize::from(is_escaped)],
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => {}
        }
    }
    line
}

/// The words and braces of a line without its comment. `$` and `{` of an undefined variable stay in their word.
pub(super) fn tokens(line: &str) -> Result<Vec<Token>, OpenQuote> {
    let mut tokens = Vec::new();
    let mut begin = 0;
    let mut is_quoted = false;
    let mut is_name = false;
    let mut last = ' ';
    for (at, character) in line.char_indices() {
        match character {
            '"' => is_quoted = !is_quoted,
            '{' if !is_quoted && last == '$' => is_name = true,
            '}' if !is_quoted && is_name => is_name = false,
            '{' | '}' if !is_quoted => {
                tokens.extend(words(&line[begin..at])?);
                tokens.push(if character == '{' { Token::Open } else { Token::Close });
                begin = at + 1;
            }
            _ => {}
        }
        last = character;
    }
    tokens.extend(words(&line[begin..])?);
    Ok(tokens)
}

/// The words of a part without braces, if any. An unclosed double quote is allowed in a line that names a script, after
/// a backslash or within single quotes.
fn words(part: &str) -> Result<Option<Token>, OpenQuote> {
    let (plain, is_open) = plain(part);
    let names_script =
        plain.first().is_some_and(|keyword| keyword == "script" || keyword.starts_with("notify"));
    let quoted = match quoted(part) {
        Ok(quoted) => quoted,
        Err(error) if is_open || names_script => return Err(error),
        Err(_) => Vec::new(),
    };
    Ok((!plain.is_empty()).then_some(Token::Words(Words { plain, quoted })))
}

/// Words separated by blanks and double quotes, and whether a quote is unclosed.
fn plain(part: &str) -> (Vec<String>, bool) {
    let mut words = Vec::new();
    let mut pieces = part.split('"');
    let mut is_quoted = false;
    let mut piece = pieces.next();
    while let Some(text) = piece {
        piece = pieces.next();
        if is_quoted && piece.is_some() {
            words.push(text.to_owned());
        } else {
            words.extend(text.split_whitespace().map(str::to_owned));
        }
        is_quoted = !is_quoted;
    }
    // Each quote toggles the state.
    (words, !is_quoted)
}

/// Words with single and double quotes and with escapes.
fn quoted(part: &str) -> Result<Vec<String>, OpenQuote> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = part.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            quote @ ('"' | '\'') => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some(closing) if closing == quote => break,
                        Some('\\') => word.extend(escaped(&mut characters)),
                        Some(other) => word.push(other),
                        None => return Err(OpenQuote(quote)),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(escaped(&mut characters)),
            space if space.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

/// The character for an escape after a backslash, as in a shell's `$'…'`.
fn escaped(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    Some(match characters.next()? {
        'a' => '\x07',
        'b' => '\x08',
        'E' => '\x1b',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        'c' => char::from_u32(u32::from(characters.next()?) & 0x1f)?,
        'x' => char::from(number_of_digits(characters, 0, 16, usize::MAX)),
        first @ '0'..='7' => {
            let first = u32::from(first) - u32::from('0');
            char::from(number_of_digits(characters, first, 8, 2))
        }
        other => other,
    })
}

/// The low octet of a number with up to this many further digits.
fn number_of_digits(
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    first: u32,
    radix: u32,
    most: usize,
) -> u8 {
    let mut value = first;
    for _ in 0..most {
        let Some(digit) = characters.peek().and_then(|character| character.to_digit(radix)) else { break };
        characters.next();
        value = (value * radix + digit) & 0xff;
    }
    value.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Words {
        let tokens = tokens(line).expect(line);
        let [Token::Words(words)] = tokens.as_slice() else { return Words::default() };
        words.clone()
    }

    #[test]
    fn lines_that_name_scripts_have_more_quotes_than_others() {
        for (line, plain, quoted) in [
            ("a b\tc", &["a", "b", "c"][..], &["a", "b", "c"][..]),
            (r#"a "b c" d"#, &["a", "b c", "d"], &["a", "b c", "d"]),
            (r#"a "b c"d"#, &["a", "b c", "d"], &["a", "b cd"]),
            ("a 'b c'", &["a", "'b", "c'"], &["a", "b c"]),
            (r"a b\ c", &["a", r"b\", "c"], &["a", "b c"]),
            (r#"script "x \"y z\"""#, &["script", r"x \", "y", r"z\", ""], &["script", r#"x "y z""#]),
            (r#"script "x 'd\"e'""#, &["script", r"x 'd\", "e'"], &["script", r#"x 'd"e'"#]),
        ] {
            let words = words(line);
            assert_eq!(words.plain, plain, "{line}");
            assert_eq!(words.quoted, quoted, "{line}");
        }
        assert_eq!(tokens(r#"a "b"#), Err(OpenQuote('"')));
        assert_eq!(tokens("notify 'b"), Err(OpenQuote('\'')));
        assert!(tokens("auth_pass it's").is_ok());
    }

    #[test]
    fn braces_outside_double_quotes_are_blocks() {
        let kinds = |line| {
            let tokens = tokens(line).expect(line);
            tokens.into_iter().map(|token| match token {
                Token::Words(words) => words.plain.join(" "),
                Token::Open => "{".to_owned(),
                Token::Close => "}".to_owned(),
            })
        };
        assert!(kinds("a{b}c").eq(["a", "{", "b", "}", "c"]));
        assert!(kinds("a \"{\" ${b} {").eq(["a { ${b}", "{"]));
        assert!(kinds("{}").eq(["{", "}"]));
    }

    #[test]
    fn comments_begin_outside_double_quotes() {
        for (line, wanted) in [
            ("a # b", "a "),
            ("a!b", "a"),
            ("\"a # b\" # c", "\"a # b\" "),
            ("'a # b'", "'a "),
            (r"a\# b", "a"),
            (r"a\\# b", r"a\\"),
            (r#""a \" # b" c"#, r#""a \" # b" c"#),
        ] {
            assert_eq!(without_comment(line), wanted, "{line}");
        }
    }
}

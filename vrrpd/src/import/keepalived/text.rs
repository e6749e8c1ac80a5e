//! From the text of keepalived.conf to lines of words: comments, quotes, `@` conditions, `$variables`, `~SEQ` and
//! `~LST` blocks, and `include`.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use thiserror::Error;

use super::super::{ImportError, SourceLine, Surroundings};

/// Files that include each other deeper than this are taken for a circle.
const MAX_INCLUDES: usize = 32;
/// Variables that refer to each other deeper than this are taken for a circle.
const MAX_SUBSTITUTIONS: usize = 64;
/// `~SEQ` and `~LST` blocks yield at most this many lines.
const MAX_LINES: usize = 100_000;

/// A word, or a brace that stands outside quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A word without its quotes.
    Word(String),
    /// `{`
    Open,
    /// `}`
    Close,
}

/// What is left of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) place: SourceLine,
    pub(super) tokens: Vec<Token>,
}

/// The lines of a file and of those that it includes.
pub(super) fn lines(
    path: &Path,
    text: &str,
    surroundings: &dyn Surroundings,
) -> Result<Vec<Line>, ImportError> {
    let mut reader = Reader { surroundings, variables: BTreeMap::new(), lines: Vec::new(), depth: 0 };
    reader.file(path, text)?;
    Ok(reader.lines)
}

struct Reader<'a> {
    surroundings: &'a dyn Surroundings,
    variables: BTreeMap<String, String>,
    lines: Vec<Line>,
    /// Of includes.
    depth: usize,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, text: &str) -> Result<(), ImportError> {
        let file: Rc<Path> = path.into();
        let directory = path.parent().map_or_else(String::new, |directory| directory.display().to_string());
        self.variables
            .insert("_PWD".to_owned(), if directory.is_empty() { ".".to_owned() } else { directory });
        let mut numbered = text.lines().enumerate();
        while let Some((index, line)) = numbered.next() {
            let place = SourceLine { file: Rc::clone(&file), line: index + 1 };
            let mut line = without_comment(line).to_owned();
            // The value of a variable goes on as long as lines end with a backslash.
            if definition(line.trim_start()).is_some() {
                while let Some(head) = line.trim_end().strip_suffix('\\') {
                    let Some((_, more)) = numbered.next() else { break };
                    line = format!("{}\n{}", head.trim_end(), without_comment(more));
                }
            }
            self.line(&place, line.trim(), 0)?;
        }
        Ok(())
    }

    /// A line without its comment. `depth` counts the substitutions that led here.
    fn line(&mut self, place: &SourceLine, line: &str, depth: usize) -> Result<(), ImportError> {
        let wrong = |message: &str| ImportError::Wrong { place: place.clone(), message: message.to_owned() };
        if depth > MAX_SUBSTITUTIONS {
            return Err(wrong("the variables refer to each other in a circle"));
        }
        if self.lines.len() > MAX_LINES {
            return Err(wrong("the blocks yield more than 100000 lines"));
        }
        let line = line.trim();
        if line.is_empty() {
            return Ok(());
        }
        if let Some(condition) = line.strip_prefix('@') {
            let (id, rest) = condition.split_once(char::is_whitespace).unwrap_or((condition, ""));
            let holds = match id.strip_prefix('^') {
                Some(other) => other != self.surroundings.config_id(),
                None => id == self.surroundings.config_id(),
            };
            return if holds { self.line(place, rest, depth) } else { Ok(()) };
        }
        if let Some((name, value)) = definition(line) {
            self.variables.insert(name.to_owned(), value.trim_start().to_owned());
            return Ok(());
        }
        if let Some(block) = Block::read(line).map_err(|error| wrong(&error.to_string()))? {
            for values in &block.values {
                for (name, value) in block.names.iter().zip(values) {
                    self.variables.insert(name.clone(), value.clone());
                }
                self.line(place, block.rest, depth + 1)?;
            }
            return Ok(());
        }
        if let Some((keyword, pattern)) = line.split_once(char::is_whitespace)
            && matches!(keyword, "include" | "includer" | "includem" | "includew" | "includeb" | "includea")
        {
            return self.include(place, pattern.trim());
        }
        let substituted = self.substitute(line);
        if substituted != line {
            for line in substituted.lines() {
                self.line(place, line, depth + 1)?;
            }
            return Ok(());
        }
        let tokens = tokens(&line.replace("${_HASH}", "#").replace("${_BANG}", "!"))
            .map_err(|error| wrong(&error.to_string()))?;
        self.lines.push(Line { place: place.clone(), tokens });
        Ok(())
    }

    /// Each known variable replaced once; a value that has variables is substituted when its turn comes.
    fn substitute(&self, line: &str) -> String {
        let mut result = String::with_capacity(line.len());
        let mut rest = line;
        while let Some(at) = rest.find('$') {
            let (before, from) = rest.split_at(at);
            result.push_str(before);
            let (value, length) = self.reference(from).unwrap_or_else(|| ("$".to_owned(), 1));
            result.push_str(&value);
            rest = &from[length..];
        }
        result.push_str(rest);
        result
    }

    /// The value of the variable that a text begins with, and the octets that name it.
    fn reference(&self, text: &str) -> Option<(String, usize)> {
        let after = text.strip_prefix('$')?;
        if let Some(inner) = after.strip_prefix('{') {
            let end = inner.find('}')?;
            let name = &inner[..end];
            let value = match name.strip_prefix("_ENV ") {
                Some(variable) => self.surroundings.variable(variable.trim()),
                None if name == "_INSTANCE" => Some(self.surroundings.config_id().to_owned()),
                None => self.variables.get(name).cloned(),
            };
            return value.map(|value| (value, end + 3));
        }
        let length = after.find(|c: char| !is_name(c)).unwrap_or(after.len());
        let (name, behind) = after.split_at(length);
        let ends = behind.is_empty() || behind.starts_with(char::is_whitespace);
        self.variables.get(name).filter(|_| ends).map(|value| (value.clone(), length + 1))
    }

    fn include(&mut self, place: &SourceLine, pattern: &str) -> Result<(), ImportError> {
        let wrong = |message: String| ImportError::Wrong { place: place.clone(), message };
        if self.depth >= MAX_INCLUDES {
            return Err(wrong(format!("files include each other more than {MAX_INCLUDES} deep")));
        }
        let directory = place.file.parent().unwrap_or(Path::new(""));
        let pattern = directory.join(pattern.trim_matches('"'));
        let pattern = pattern.to_string_lossy();
        let files = self.surroundings.matching(&pattern);
        if files.is_empty() && !pattern.contains(['*', '?', '[', '{']) {
            return Err(wrong(format!("{pattern} is included and cannot be found")));
        }
        let own = self.variables.get("_PWD").cloned();
        for path in files {
            let text = self.surroundings.read(&path).map_err(|error| {
                wrong(format!("{} is included and cannot be read: {error}", path.display()))
            })?;
            self.depth += 1;
            self.file(&path, &text)?;
            self.depth -= 1;
        }
        if let Some(own) = own {
            self.variables.insert("_PWD".to_owned(), own);
        }
        Ok(())
    }
}

/// What is wrong with a line.
#[derive(Debug, Error)]
enum TextError {
    #[error("~{0} has no closing parenthesis")]
    Open(String),
    #[error("~{kind} takes a name and numbers, not {inner:?}")]
    NotNumbers { kind: String, inner: String },
    #[error("~{kind} takes a name and one to three numbers, not {inner:?}")]
    NumberCount { kind: String, inner: String },
    #[error("~{0} has step 0 and would never end")]
    StepZero(String),
    #[error("~{0} yields more than {MAX_LINES} lines")]
    Endless(String),
    #[error("~{0}: the numbers are too large")]
    Overflow(String),
    #[error("~LST needs as many values as names each time, not {0:?}")]
    UnequalLists(String),
    #[error("a quote ({0}) is not closed on this line")]
    Quote(char),
}

/// `~SEQ(var, start, step, end) rest` or `~LST(var, value, …) rest`.
struct Block<'a> {
    names: Vec<String>,
    values: Vec<Vec<String>>,
    rest: &'a str,
}

impl<'a> Block<'a> {
    fn read(line: &'a str) -> Result<Option<Self>, TextError> {
        let Some(behind) = line.strip_prefix('~') else { return Ok(None) };
        let Some((kind, behind)) = behind.split_once('(') else { return Ok(None) };
        let (inner, rest) = behind.split_once(')').ok_or_else(|| TextError::Open(kind.to_owned()))?;
        match kind {
            "SEQ" | "SEQx" => {
                let mut parts = inner.split(',').map(str::trim);
                let name = parts.next().unwrap_or_default().to_owned();
                let numbers = parts.map(number).collect::<Option<Vec<_>>>();
                let named = || kind.to_owned();
                let numbers = numbers
                    .ok_or_else(|| TextError::NotNumbers { kind: named(), inner: inner.to_owned() })?;
                let (start, step, end) = match numbers[..] {
                    [end] => (if end > 0 { 1 } else { -1 }, None, end),
                    [start, end] => (start, None, end),
                    [start, step, end] => (start, Some(step), end),
                    _ => return Err(TextError::NumberCount { kind: named(), inner: inner.to_owned() }),
                };
                let step = step.unwrap_or(if end >= start { 1 } else { -1 });
                if step == 0 {
                    return Err(TextError::StepZero(named()));
                }
                let mut values = Vec::new();
                let mut next = start;
                while if step > 0 { next <= end } else { next >= end } {
                    values.push(vec![if kind == "SEQx" { format!("{next:x}") } else { next.to_string() }]);
                    if values.len() > MAX_LINES {
                        return Err(TextError::Endless(named()));
                    }
                    next = next.checked_add(step).ok_or_else(|| TextError::Overflow(named()))?;
                }
                Ok(Some(Self { names: vec![name], values, rest }))
            }
            "LST" => {
                let mut parts = braced(inner).into_iter();
                let names = parts.next().unwrap_or_default();
                let values: Vec<_> = parts.collect();
                if names.is_empty() || values.iter().any(|values| values.len() != names.len()) {
                    return Err(TextError::UnequalLists(inner.to_owned()));
                }
                Ok(Some(Self { names, values, rest }))
            }
            _ => Ok(None),
        }
    }
}

/// Splits at commas outside braces; what stands in braces is a list.
fn braced(text: &str) -> Vec<Vec<String>> {
    let mut items = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (item, behind) = if let Some(inner) = rest.strip_prefix('{') {
            let (inner, behind) = inner.split_once('}').unwrap_or((inner, ""));
            (inner.split(',').map(|part| part.trim().to_owned()).collect(), behind)
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            (vec![rest[..end].trim().to_owned()], &rest[end..])
        };
        items.push(item);
        rest = behind.trim_start().strip_prefix(',').unwrap_or("").trim_start();
    }
    items
}

fn number(text: &str) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let value = match digits.strip_prefix("0x") {
        Some(hexadecimal) => i64::from_str_radix(hexadecimal, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { -value } else { value })
}

/// `$NAME=VALUE`
fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('$')?.split_once('=')?;
    let legal = name.chars().all(is_name) && name.starts_with(|c: char| !c.is_ascii_digit());
    (legal && !name.is_empty()).then_some((name, value))
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// What stands before a `#` or `!` outside quotes.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut escaped = false;
    for (at, character) in line.char_indices() {
        match (character, quote) {
            _ if escaped => escaped = false,
            ('\\', _) => escaped = true,
            ('"' | '\'', None) => quote = Some(character),
            (_, Some(open)) if open == character => quote = None,
            ('#' | '!', None) => return &line[..at],
            _ => {}
        }
    }
    line
}

/// The words and braces of a line. `$` and `{` of a variable that is not defined stay in their word.
fn tokens(line: &str) -> Result<Vec<Token>, TextError> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            quote @ ('"' | '\'') => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some(closing) if closing == quote => break,
                        Some('\\') => word.extend(escaped(&mut characters)),
                        Some(other) => word.push(other),
                        None => return Err(TextError::Quote(quote)),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(escaped(&mut characters)),
            '$' if characters.peek() == Some(&'{') => {
                let word = word.get_or_insert_default();
                word.push('$');
                for inner in characters.by_ref() {
                    word.push(inner);
                    if inner == '}' {
                        break;
                    }
                }
            }
            '{' | '}' => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(if character == '{' { Token::Open } else { Token::Close });
            }
            space if space.is_whitespace() => tokens.extend(word.take().map(Token::Word)),
            other => word.get_or_insert_default().push(other),
        }
    }
    tokens.extend(word.take().map(Token::Word));
    Ok(tokens)
}

/// The character that stands behind a backslash, as in a shell's `$'…'`.
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

/// The low octet of a number that goes on with at most this many digits.
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

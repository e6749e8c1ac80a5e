//! `~SEQ` and `~LST`: a line of keepalived.conf that is repeated with different values of a variable.

use thiserror::Error;

/// Maximum number of lines of a block.
pub(super) const MAX_LINES: usize = 100_000;

/// Why a block is invalid; keepalived ignores such a line.
#[derive(Debug, Error)]
pub(super) enum BlockError {
    #[error("~{0} has no closing parenthesis")]
    Open(String),
    #[error("~{kind} takes a name and numbers, not {inner:?}")]
    NotNumbers { kind: String, inner: String },
    #[error("~{kind} takes a name and one to three numbers, not {inner:?}")]
    NumberCount { kind: String, inner: String },
    #[error("~{kind} has step {step} and would never reach its end")]
    Step { kind: String, step: i64 },
    #[error("~{0} yields more than {MAX_LINES} lines")]
    Endless(String),
    #[error("~{0}: the numbers are too large")]
    Overflow(String),
    #[error(
        "~LST takes a name, or names in braces, and for each time a value for each name, without blanks, not {0:?}"
    )]
    Lists(String),
}

/// `~SEQ(var, start, step, end) rest` or `~LST(var, value, …) rest`.
pub(super) struct Block<'a> {
    pub(super) names: Vec<String>,
    /// The values of all names, for each repetition.
    pub(super) values: Vec<Vec<String>>,
    /// The repeated line.
    pub(super) rest: &'a str,
}

impl<'a> Block<'a> {
    /// Parses a block; `None` if the line is not one.
    pub(super) fn read(line: &'a str) -> Result<Option<Self>, BlockError> {
        let Some(behind) = line.strip_prefix('~') else { return Ok(None) };
        let Some((kind, behind)) = behind.split_once('(') else { return Ok(None) };
        let (inner, rest) = behind.split_once(')').ok_or_else(|| BlockError::Open(kind.to_owned()))?;
        match kind {
            "SEQ" | "SEQx" => {
                let mut parts = inner.split(',').map(str::trim);
                let name = parts.next().unwrap_or_default().to_owned();
                let numbers = parts.map(number).collect::<Option<Vec<_>>>();
                let named = || kind.to_owned();
                let numbers = numbers
                    .ok_or_else(|| BlockError::NotNumbers { kind: named(), inner: inner.to_owned() })?;
                let (start, step, end) = match numbers[..] {
                    [end] => (if end < 0 { -1 } else { 1 }, None, end),
                    [start, end] => (start, None, end),
                    [start, step, end] => (start, Some(step), end),
                    _ => return Err(BlockError::NumberCount { kind: named(), inner: inner.to_owned() }),
                };
                let step = step.unwrap_or(if end >= start { 1 } else { -1 });
                if step == 0 || (step > 0) != (end >= start) && start != end {
                    return Err(BlockError::Step { kind: named(), step });
                }
                let mut values = Vec::new();
                let mut next = start;
                while if step > 0 { next <= end } else { next >= end } {
                    values.push(vec![if kind == "SEQx" { format!("{next:x}") } else { next.to_string() }]);
                    if values.len() > MAX_LINES {
                        return Err(BlockError::Endless(named()));
                    }
                    next = next.checked_add(step).ok_or_else(|| BlockError::Overflow(named()))?;
                }
                Ok(Some(Self { names: vec![name], values, rest }))
            }
            "LST" => {
                let mut parts = braced(inner).into_iter();
                let names = parts.next().unwrap_or_default();
                let mut values: Vec<_> = parts.collect();
                let is_wrong = |values: &Vec<String>| {
                    values.len() > names.len()
                        || values.iter().any(|value| value.contains(char::is_whitespace))
                };
                if names.is_empty() || values.is_empty() || values.iter().any(is_wrong) {
                    return Err(BlockError::Lists(inner.to_owned()));
                }
                // As in keepalived, a name without a value is empty.
                for values in &mut values {
                    values.resize(names.len(), String::new());
                }
                Ok(Some(Self { names, values, rest }))
            }
            _ => Ok(None),
        }
    }
}

/// Splits at commas outside braces; braces contain a list.
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
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (radix, digits) = digits.strip_prefix("0x").map_or((10, digits), |digits| (16, digits));
    // `from_str_radix` would accept another sign.
    let value = (!digits.starts_with('-')).then(|| i64::from_str_radix(digits, radix).ok())?;
    value?.checked_mul(sign)
}

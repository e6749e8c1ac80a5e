//! The blocks of keepalived.conf.

use super::super::{ImportError, SourceLine};
use super::text::Line;
use super::words::Token;

/// A line of keepalived.conf, with its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) place: SourceLine,
    /// The keyword and its arguments; never empty.
    pub(super) words: Vec<String>,
    /// The same, split as in lines that name scripts.
    quoted: Vec<String>,
    /// The content of its braces; `None` without braces.
    pub(super) block: Option<Vec<Node>>,
}

impl Node {
    /// The first word.
    pub(super) fn keyword(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The first argument.
    pub(super) fn argument(&self) -> Option<&str> {
        self.words.get(1).map(String::as_str)
    }

    /// The command of a line that names a script, as one word.
    pub(super) fn script(&self) -> &str {
        self.quoted.get(1).map_or("", String::as_str)
    }

    /// The words after the command of a line that names a script.
    pub(super) fn behind_script(&self) -> &[String] {
        self.quoted.get(2..).unwrap_or_default()
    }

    /// The content of its block.
    pub(super) fn children(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// An error about this line.
    pub(super) fn wrong(&self, message: impl Into<String>) -> ImportError {
        ImportError::Wrong { place: self.place.clone(), message: message.into() }
    }
}

/// The blocks of the lines. A brace may be on the line of its keyword or on its own line.
pub(super) fn nodes(lines: &[Line]) -> Result<Vec<Node>, ImportError> {
    let mut top = Vec::new();
    // The open blocks, each with its nodes so far.
    let mut open: Vec<(Node, Vec<Node>)> = Vec::new();
    for line in lines {
        let wrong =
            |message: &str| ImportError::Wrong { place: line.place.clone(), message: message.to_owned() };
        for token in &line.tokens {
            let siblings = open.last_mut().map_or(&mut top, |(_, siblings)| siblings);
            match token {
                Token::Words(words) => siblings.push(Node {
                    place: line.place.clone(),
                    words: words.plain.clone(),
                    quoted: words.quoted.clone(),
                    block: None,
                }),
                Token::Open => match siblings.pop() {
                    Some(owner) if owner.block.is_none() => open.push((owner, Vec::new())),
                    Some(_) | None => return Err(wrong("a block without a keyword in front of its {")),
                },
                Token::Close => {
                    let (owner, block) = open.pop().ok_or_else(|| wrong("a } without its {"))?;
                    let siblings = open.last_mut().map_or(&mut top, |(_, siblings)| siblings);
                    siblings.push(Node { block: Some(block), ..owner });
                }
            }
        }
    }
    match open.first() {
        Some((owner, _)) => {
            Err(owner.wrong(format!("the block of {} is not closed: a }} is missing", owner.keyword())))
        }
        None => Ok(top),
    }
}

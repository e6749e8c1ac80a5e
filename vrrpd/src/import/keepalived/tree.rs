//! The blocks of keepalived.conf.

use super::super::{ImportError, SourceLine};
use super::text::Line;
use super::words::Token;

/// A line of keepalived.conf with the block that it opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) place: SourceLine,
    /// The keyword and what follows it; never empty.
    pub(super) words: Vec<String>,
    /// The same as lines that name scripts have them.
    quoted: Vec<String>,
    /// What stands between its braces; `None` without braces.
    pub(super) block: Option<Vec<Node>>,
}

impl Node {
    /// The first word.
    pub(super) fn keyword(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The first word behind the keyword.
    pub(super) fn argument(&self) -> Option<&str> {
        self.words.get(1).map(String::as_str)
    }

    /// The command of a line that names a script, in one word.
    pub(super) fn script(&self) -> &str {
        self.quoted.get(1).map_or("", String::as_str)
    }

    /// The words behind the command of a line that names a script.
    pub(super) fn behind_script(&self) -> &[String] {
        self.quoted.get(2..).unwrap_or_default()
    }

    /// What stands in its block.
    pub(super) fn children(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// A complaint about this line.
    pub(super) fn wrong(&self, message: impl Into<String>) -> ImportError {
        ImportError::Wrong { place: self.place.clone(), message: message.into() }
    }
}

/// The blocks that lines form. A brace may stand on the line of its keyword or on one of its own.
pub(super) fn nodes(lines: &[Line]) -> Result<Vec<Node>, ImportError> {
    let mut top = Vec::new();
    // The blocks that are open, each with the nodes that it has so far.
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

//! The blocks of keepalived.conf.

use super::super::{ImportError, SourceLine};
use super::text::{Line, Token};

/// A line of keepalived.conf with the block that it opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) place: SourceLine,
    /// The keyword and what follows it; never empty.
    pub(super) words: Vec<String>,
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
        let mut words = Vec::new();
        let mut tokens = line.tokens.iter();
        loop {
            let token = tokens.next();
            if let Some(Token::Word(word)) = token {
                words.push(word.clone());
                continue;
            }
            let siblings = open.last_mut().map_or(&mut top, |(_, siblings)| siblings);
            if !words.is_empty() {
                siblings.push(Node {
                    place: line.place.clone(),
                    words: std::mem::take(&mut words),
                    block: None,
                });
            }
            match token {
                Some(Token::Open) => match siblings.pop() {
                    Some(owner) if owner.block.is_none() => open.push((owner, Vec::new())),
                    Some(_) | None => return Err(wrong("a block without a keyword in front of its {")),
                },
                Some(Token::Close) => {
                    let (owner, block) = open.pop().ok_or_else(|| wrong("a } without its {"))?;
                    let siblings = open.last_mut().map_or(&mut top, |(_, siblings)| siblings);
                    siblings.push(Node { block: Some(block), ..owner });
                }
                Some(Token::Word(_)) | None => break,
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

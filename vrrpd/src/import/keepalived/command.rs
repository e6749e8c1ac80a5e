//! Commands of scripts and checks: their words, and the user that runs them.

/// `USER:GROUP` from the words `USER` and `GROUP`.
pub(super) fn user_of(words: &[String]) -> Option<String> {
    match words {
        [] => None,
        [user] => Some(user.clone()),
        [user, group, ..] => Some(format!("{user}:{group}")),
    }
}

/// Program and arguments of a command, split as keepalived does without a shell: quotes keep blanks, a backslash keeps
/// the next character.
pub(super) fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = command.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', _) => word.get_or_insert_default().extend(characters.next()),
            ('"' | '\'', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (end, Some(begin)) if end == begin => quote = None,
            (blank, None) if blank.is_ascii_whitespace() => words.extend(word.take()),
            (other, _) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_taken_apart_as_keepalived_does_it() {
        for (command, wanted) in [
            ("/a/b", &["/a/b"][..]),
            ("  /a/b  c\td ", &["/a/b", "c", "d"]),
            (r#"/a 'b c' d\ e "f g" $HOME"#, &["/a", "b c", "d e", "f g", "$HOME"]),
            ("/a b; echo c", &["/a", "b;", "echo", "c"]),
            ("/a ''", &["/a", ""]),
            ("", &[]),
        ] {
            assert_eq!(words(command), wanted, "{command}");
        }
    }
}

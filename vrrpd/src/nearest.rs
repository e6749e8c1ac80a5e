//! Suggestions for mistyped words.

/// Maximum number of words listed; for the others only their number.
const MAX_LISTED: usize = 30;

/// Letters of an abbreviation, at least.
const SHORTEST: usize = 3;

/// The candidate that was most likely meant: the one with the fewest letters changed, added, left out or exchanged, if these
/// are no more than a third; otherwise the only one that begins like this. Case, `_` and `-` make no difference.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let word = plain(word);
    let most = word.chars().count().max(3) / 3;
    let distances =
        candidates.into_iter().map(|candidate| (strsim::osa_distance(&word, &plain(candidate)), candidate));
    let distances: Vec<_> = distances.collect();
    let near = distances.iter().filter(|(distance, _)| *distance <= most);
    let best = near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| *candidate);
    best.or_else(|| {
        let mut longer = distances.iter().map(|(_, candidate)| *candidate);
        let is_short_for = |candidate: &&str| plain(candidate).starts_with(&word);
        let first = longer.find(|candidate| word.len() >= SHORTEST && is_short_for(candidate))?;
        (!longer.any(|other| is_short_for(&other))).then_some(first)
    })
}

/// `what: a, b, c`, truncated if there are many; `what: none`.
pub fn list<'a>(what: &str, words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.into_iter().collect();
    let told = words.get(..MAX_LISTED).unwrap_or(&words).join(", ");
    match words.len().saturating_sub(MAX_LISTED) {
        _ if words.is_empty() => format!("{what}: none"),
        0 => format!("{what}: {told}"),
        more => format!("{what}: {told} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_word_is_the_one_with_the_fewest_changes() {
        let keys = ["interface", "interval", "vrid", "priority", "lower-priority", "up"];
        for (word, near) in [
            ("intervall", Some("interval")),
            ("intreface", Some("interface")),
            ("VRID", Some("vrid")),
            ("lower_prioriti", Some("lower-priority")),
            ("vird", Some("vrid")),
            ("ip", Some("up")),
            ("gateway", None),
            ("prio", Some("priority")),
            ("inter", None),
            ("pr", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), near, "{word}");
        }
    }

    #[test]
    fn long_list_is_cut_off_with_how_many_more_there_are() {
        let words: Vec<_> = (1..=35).map(|n| n.to_string()).collect();
        let text = list("numbers", words.iter().map(String::as_str));
        assert!(text.starts_with("numbers: 1, 2, ") && text.ends_with(", 30 and 5 more"), "{text}");
        assert_eq!(list("numbers", []), "numbers: none");
    }
}

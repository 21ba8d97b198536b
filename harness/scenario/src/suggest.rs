//! "Did you mean": the known word that was probably meant.

/// The known word nearest to `given`, if one is near enough to be a slip of the pen.
pub(crate) fn nearest<'k>(given: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let given = given.to_lowercase();
    let limit = (given.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter_map(|word| {
            let lower = word.to_lowercase();
            let distance = strsim::damerau_levenshtein(&given, &lower);
            // `timeout` for `timeoutSeconds`: far by letters, near by meaning.
            let begun = given.len() >= 3 && (lower.starts_with(&given) || given.starts_with(&lower));
            (distance <= limit || begun).then_some((distance, word))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// What to write in place of `given`: the nearest known word, or else all of them.
pub(crate) fn help(given: &str, known: &[&str]) -> String {
    match nearest(given, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("known here: {}", list(known)),
    }
}

/// `` `a`, `b`, `c` ``
pub(crate) fn list<T: AsRef<str>>(words: &[T]) -> String {
    words.iter().map(|word| format!("`{}`", word.as_ref())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["name", "type", "timeoutSeconds", "delay", "during"];

    #[test]
    fn slips_are_found() {
        for (given, meant) in [
            ("nmae", "name"),
            ("timeout", "timeoutSeconds"),
            ("timeout_seconds", "timeoutSeconds"),
            ("Delay", "delay"),
            ("dealy", "delay"),
        ] {
            assert_eq!(nearest(given, KNOWN.iter().copied()), Some(meant), "{given}");
        }
    }

    #[test]
    fn other_words_are_not_twisted_into_known_ones() {
        for given in ["colour", "x", "", "namespaceSelector"] {
            let found = nearest(given, ["type", "delay", "during"]);
            assert_eq!(found, None, "{given}");
        }
        assert_eq!(help("colour", &["type", "delay"]), "known here: `type`, `delay`");
    }
}

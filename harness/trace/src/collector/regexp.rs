//! Go's regular expressions, by the engine of Rust.
//!
//! Both are automata with nearly the same syntax, and neither has an order of matches that could show in "does it
//! match at all". What differs is put into Rust's words here; what cannot be is refused, never guessed.

use regex::Regex;

/// The expression `pattern` of Go's `regexp`. `Err` with the reason when it cannot be had, also where Go itself
/// takes it for invalid.
pub(super) fn compile(pattern: &str) -> Result<Regex, String> {
    let translated = translate(pattern)?;
    Regex::new(&translated).map_err(|error| format!("regular expression {pattern:?}: {error}"))
}

/// Go's classes are of ASCII, Rust's of Unicode; Rust has set operations within brackets and Go has not.
fn translate(pattern: &str) -> Result<String, String> {
    let cannot = |what: &str| Err(format!("regular expression {pattern:?} has {what}"));
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern.chars().peekable();
    // How many characters of a class were read: a `]` at its begin is one of its members.
    let mut class: Option<usize> = None;
    while let Some(c) = rest.next() {
        let first = class == Some(0);
        match (c, class) {
            ('\\', _) => match rest.next() {
                Some('d') => out.push_str("[0-9]"),
                Some('D') => out.push_str("[^0-9]"),
                Some('w') => out.push_str("[0-9A-Za-z_]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('s') => out.push_str("[\\t\\n\\f\\r ]"),
                Some('S') => out.push_str("[^\\t\\n\\f\\r ]"),
                Some('b') if class.is_none() => out.push_str("(?-u:\\b)"),
                Some('B') => return cannot("\\B"),
                Some(c @ ('<' | '>')) => out.push(c),
                Some(escaped) => out.extend(['\\', escaped]),
                None => out.push('\\'),
            },
            ('[', None) => {
                out.push('[');
                class = Some(0);
                if rest.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                continue;
            }
            (']', Some(_)) if first => out.push_str("\\]"),
            (']', Some(_)) => {
                out.push(']');
                class = None;
                continue;
            }
            ('[', Some(_)) if rest.peek() == Some(&':') => {
                out.push('[');
                for c in rest.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            ('[', Some(_)) => out.push_str("\\["),
            ('&' | '~', Some(_)) => out.extend(['\\', c]),
            ('-', Some(_)) if rest.peek() == Some(&'-') => return cannot("-- within brackets"),
            ('(', None) if rest.peek() == Some(&'?') => {
                out.push('(');
                // Flags that only Rust has, and folding of case, which Go does beyond ASCII and Rust's engine does
                // not as it is built here.
                let flags: String =
                    rest.clone().skip(1).take_while(|c| !matches!(c, ':' | ')' | '<')).collect();
                if flags.contains(['i', 'x', 'u', 'R']) {
                    return cannot("flags other than m, s and U");
                }
            }
            _ => out.push(c),
        }
        class = class.map(|read| read + 1);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_go() {
        for (pattern, text, matches) in [
            ("watch=(true|1)", "/pods?watch=1", true),
            ("^\\d+$", "12", true),
            ("^\\d+$", "\u{663}", false),
            ("^\\w$", "\u{e9}", false),
            ("^[^\\w]$", "\u{e9}", true),
            ("^[]a]$", "]", true),
            ("^[^]a]$", "b", true),
            ("^[[&&]+$", "[&", true),
            ("^[[:alpha:]_]+$", "a_", true),
            ("\\bpods\\b", "/pods/", true),
            ("^.$", "\u{e9}", true),
            ("^.$", "\n", false),
            ("\\<a\\>", "<a>", true),
            ("(?s)^a.b$", "a\nb", true),
            ("(?P<verb>get)", "get", true),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(text), matches, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        for pattern in ["(", "(?i)a", "(?x)a b", "\\Ba", "[a--b]", "\\QA\\E", "a\\"] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
    }
}

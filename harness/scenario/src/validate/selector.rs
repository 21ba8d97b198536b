//! Label selectors, as far as it takes to say that one is wrong
//! (`k8s.io/apimachinery/pkg/labels/selector.go`).

use super::names;

/// Checks a selector: requirements between commas.
pub(super) fn check(text: &str) -> Result<(), String> {
    requirements(text)?.into_iter().try_for_each(requirement)
}

/// Splits at the commas that are not in parentheses.
fn requirements(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (place, c) in text.char_indices() {
        match c {
            '(' if inside => return Err("a `(` stands within parentheses".to_owned()),
            ')' if !inside => return Err("a `)` has no `(` before it".to_owned()),
            '(' => inside = true,
            ')' => inside = false,
            ',' if !inside => {
                parts.push(&text[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err("a `(` has no `)` after it".to_owned());
    }
    parts.push(&text[start..]);
    Ok(parts)
}

fn requirement(text: &str) -> Result<(), String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("a requirement is empty".to_owned());
    }
    if let Some(absent) = text.strip_prefix('!') {
        return key(absent);
    }
    // Longest first, so that `!=` is not read as `=`.
    for sign in ["!=", "==", "="] {
        if let Some((name, wanted)) = text.split_once(sign) {
            key(name)?;
            return value(wanted);
        }
    }
    for sign in ['<', '>'] {
        if let Some((name, limit)) = text.split_once(sign) {
            key(name)?;
            let limit = limit.trim();
            return limit.parse::<i64>().map(|_| ()).map_err(|_| format!("`{limit}` is not a whole number"));
        }
    }
    let Some((head, values)) = text.split_once('(') else { return key(text) };
    let Some((name, "in" | "notin")) = head.trim().rsplit_once(char::is_whitespace) else {
        return Err(format!("`{text}` needs `in` or `notin` before its values"));
    };
    let Some(values) = values.strip_suffix(')') else {
        return Err(format!("`{text}` goes on after its values"));
    };
    key(name)?;
    values.split(',').try_for_each(value)
}

fn key(name: &str) -> Result<(), String> {
    let name = name.trim();
    if names::is_qualified_name(name) { Ok(()) } else { Err(format!("`{name}` is not the key of a label")) }
}

fn value(text: &str) -> Result<(), String> {
    let text = text.trim();
    if names::is_label_value(text) { Ok(()) } else { Err(format!("`{text}` is not the value of a label")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubectl_takes() {
        for text in [
            "app",
            "!app",
            "app=web",
            "app==web, tier!=back",
            "app=",
            "size>5,size<10",
            "env in (a, b),env notin (c)",
            "app.kubernetes.io/name=x",
            "env in ()",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_it_refuses() {
        for text in [
            "",
            "a,",
            "a b",
            "=x",
            "a=b c",
            "in (a)",
            "env of (a)",
            "env in (a",
            "env in a)",
            "a in (b) c",
            "a>x",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}

//! The words of OTTL (`pkg/ottl/grammar.go`, `buildLexer`).

/// A word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name or a keyword.
    Word(String),
    /// Text, without its quotes.
    Text(String),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// An operator, a bracket or a point.
    Sign(&'static str),
}

/// Longer ones first.
const SIGNS: [&str; 16] =
    ["==", "!=", ">=", "<=", ">", "<", "(", ")", "[", "]", ",", ".", "-", "+", "*", "/"];

/// The words of a condition; the rest of it where something is not known.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = if first == '"' {
            quoted(rest)?
        } else if first.is_ascii_digit() {
            number(rest)?
        } else if first.is_ascii_alphabetic() {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            (Token::Word(rest[..end].to_owned()), end)
        } else {
            let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
            let sign = sign.ok_or_else(|| format!("{rest:?} is not understood"))?;
            (Token::Sign(sign), sign.len())
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// Text in quotes, and how long it is with them.
fn quoted(rest: &str) -> Result<(Token, usize), String> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Text(text), at + 1)),
            '\\' => match chars.next().map(|(_, escaped)| escaped) {
                Some(escaped @ ('"' | '\\')) => text.push(escaped),
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                _ => return Err(format!("an escape in {rest:?} is not understood")),
            },
            c => text.push(c),
        }
    }
    Err(format!("{rest:?} has no end"))
}

/// A number, and how long it is.
fn number(rest: &str) -> Result<(Token, usize), String> {
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let wrong = || format!("the number {rest:?} is not understood");
    // Hexadecimal bytes and exponents are not taken.
    if rest[end..].starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(wrong());
    }
    let digits = &rest[..end];
    let token = if digits.contains('.') {
        digits.parse().map(Token::Float).map_err(|_| wrong())?
    } else {
        digits.parse().map(Token::Int).map_err(|_| wrong())?
    };
    Ok((token, end))
}

//! Words and figures for people.

use std::{
    fmt::{Display, Write as _},
    time::Duration,
};

use spangate_scenario::model::RequestFilter;

/// A duration to three significant digits: `812us`, `12.3ms`, `1.23s`.
pub fn duration(duration: Duration) -> String {
    nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// Nanoseconds to three significant digits.
pub fn nanos(nanos: u64) -> String {
    signed(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// Nanoseconds with a sign, to three significant digits.
pub fn signed(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs() as f64;
    let (value, unit) = match nanos {
        n if n < 1e3 => return format!("{sign}{n}ns"),
        n if n < 1e6 => (n / 1e3, "us"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    let digits = match value {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    format!("{sign}{value:.digits$}{unit}")
}

/// Nanoseconds as an estimate has them, to three significant digits.
pub fn float(nanos: f64) -> String {
    let sign = if nanos < 0.0 { "-" } else { "" };
    let size = Duration::try_from_secs_f64(nanos.abs() / 1e9).unwrap_or(Duration::MAX);
    format!("{sign}{}", duration(size))
}

/// A share in percent to three significant digits.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = if percent.abs() < 10.0 { 2 } else { 1 };
    format!("{percent:.digits$}%")
}

/// A ratio as a growth.
pub(crate) fn growth(ratio: f64) -> String {
    format!("{:+.1}%", (ratio - 1.0) * 100.0)
}

/// What a filter picks, in a few words.
pub fn filter(filter: &RequestFilter) -> String {
    let mut words = Vec::new();
    let mut word = |label: &str, value: Option<&dyn Display>| {
        if let Some(value) = value {
            words.push(format!("{label}{value}"));
        }
    };
    word("", filter.verb.as_ref().map(|v| v as &dyn Display));
    word("", filter.resource.as_ref().map(|v| v as &dyn Display));
    word("status ", filter.status.as_ref().map(|v| v as &dyn Display));
    word("as ", filter.identity.as_ref().map(|v| v as &dyn Display));
    word("in stage ", filter.stage.as_ref().map(|v| v as &dyn Display));
    let window = filter.during.map(|window| format!("{}..{}", window.from, window.to));
    word("during ", window.as_ref().map(|v| v as &dyn Display));
    if words.is_empty() { "of any kind".to_owned() } else { words.join(" ") }
}

/// Adds a table: the first column to the left, figures to the right, the last one as it is.
pub(crate) fn table(out: &mut String, titles: &[String], rows: &[impl AsRef<[String]>]) {
    let count = titles.len();
    let all = || std::iter::once(titles).chain(rows.iter().map(AsRef::as_ref));
    let widths: Vec<usize> =
        (0..count).map(|column| all().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    for row in all() {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 || column + 1 == count {
                format!("{cell:width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
}

/// Adds a table as Markdown, and an empty line.
pub(crate) fn markdown_table(
    out: &mut String,
    titles: &[String],
    rows: impl Iterator<Item = impl AsRef<[String]>>,
) {
    let _ = writeln!(out, "| {} |", titles.join(" | "));
    let _ = writeln!(out, "|{}", "---|".repeat(titles.len()));
    for row in rows {
        let cells: Vec<String> = row.as_ref().iter().map(|text| cell(text)).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out.push('\n');
}

/// Text that does not end a cell, nor starts emphasis or HTML.
pub(crate) fn cell(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('|', "\\|").replace('*', "\\*");
    escaped.replace('<', "&lt;").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_kept() {
        for (nanos, text) in [
            (0, "0ns"),
            (812_345, "812us"),
            (-1_234_567, "-1.23ms"),
            (12_345_678, "12.3ms"),
            (150_000_000, "150ms"),
            (1_234_567_890, "1.23s"),
        ] {
            assert_eq!(signed(nanos), text);
        }
    }
}

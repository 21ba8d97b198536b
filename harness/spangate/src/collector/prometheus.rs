//! Reads the text exposition format of Prometheus (its docs, `exposition_formats.md`), as far as samples go; of
//! `OpenMetrics`, exemplars and `# EOF` are passed over too.

use std::collections::BTreeMap;

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name of the metric, suffixes such as `_bucket` included.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// A line that is no sample.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the metrics is no sample: {text:?}")]
pub struct ParseSampleError {
    /// The line, from 1.
    pub line: usize,
    /// Its text.
    pub text: String,
}

/// Reads all samples of a text.
pub fn parse(text: &str) -> Result<Vec<Sample>, ParseSampleError> {
    let lines = (1..).zip(text.lines()).map(|(number, line)| (number, line.trim()));
    let samples = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    samples
        .map(|(line, text)| sample(text).ok_or_else(|| ParseSampleError { line, text: text.to_owned() }))
        .collect()
}

/// `name{label="value",...} value [timestamp] [# exemplar]`
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = number(rest.split_whitespace().next()?)?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The labels up to the closing brace, and what comes after it.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (key, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start())?;
        labels.insert(key.trim().to_owned(), value);
        let after = after.trim_start();
        rest = after.strip_prefix(',').or_else(|| after.starts_with('}').then_some(after))?;
    }
}

/// A text in quotes, in which `\`, `"` and line feeds are escaped, and what comes after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let text = text.strip_prefix('"')?;
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[place + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            other => value.push(other),
        }
    }
    None
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        // Rust's own reading knows more words than the format does.
        "NaN" => Some(f64::NAN),
        _ if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> Sample {
        let [sample] = parse(text).unwrap().try_into().unwrap();
        sample
    }

    #[test]
    fn a_sample_has_name_labels_and_value() {
        let sample = one(concat!(
            "# HELP x y\n# TYPE x counter\n",
            r#"otelcol_exporter_sent_spans{exporter="otlp/sink",path="a\\b \"c\"\n}"} 1.5e+03 1700000000000"#,
            "\n# EOF\n"
        ));
        assert_eq!(sample.name, "otelcol_exporter_sent_spans");
        assert_eq!(sample.labels["exporter"], "otlp/sink");
        assert_eq!(sample.labels["path"], "a\\b \"c\"\n}");
        assert!((sample.value - 1500.0).abs() < f64::EPSILON);
    }

    #[test]
    fn labels_may_be_missing_and_values_infinite() {
        assert!(one("up 1").labels.is_empty());
        assert!(one("a{} 1").labels.is_empty());
        assert!(one("a_bucket{le=\"+Inf\",} +Inf # {trace_id=\"x\"} 1").value.is_infinite());
        assert!(one("a NaN").value.is_nan());
    }

    #[test]
    fn what_is_no_sample_is_shown_with_its_line() {
        for text in ["a", "a{b=\"c\" 1", "a{b=c} 1", "a one", "{} 1"] {
            let error = parse(&format!("up 1\n{text}\n")).unwrap_err();
            assert_eq!((error.line, error.text.as_str()), (2, text));
        }
    }

    proptest! {
        #[test]
        fn any_label_comes_back(value: String, number: i32) {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            // Other line breaks end a line as well, and Go's writer does not escape them.
            prop_assume!(!value.contains(['\r']));
            let sample = one(&format!("a{{b=\"{escaped}\"}} {number}"));
            prop_assert_eq!(&sample.labels["b"], &value);
        }

        #[test]
        fn nothing_panics(text: String) {
            let _ = parse(&text);
        }
    }
}

//! Figures with their intervals, and the tables that show them.

use std::{
    fmt, fs,
    io::{self, Stdout, Write},
    thread,
};

use spangate_trace::{
    Estimate,
    stats::{self, SplitMix64},
};

/// The confidence of all intervals.
pub const CONFIDENCE: f64 = 0.95;

/// How often a comparison is resampled.
const RESAMPLES: usize = 2_000;

/// The seed of all resampling.
const SEED: u64 = 7;

/// One line of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    what: String,
    unit: &'static str,
    value: f64,
    /// The ends of the interval; `None` for what was counted once and is no estimate.
    interval: Option<(f64, f64)>,
    n: usize,
    target: Option<Target>,
}

/// What a figure ought to be, in its own unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

/// Writes figures below each other, with the load of the machine above them.
#[derive(Debug)]
pub struct Table<W = Stdout> {
    out: W,
}

/// The quantile `q`, with the interval that order statistics give it.
///
/// An end that so few values cannot bound is infinite.
pub fn quantile(values: &[f64], q: f64) -> Estimate {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let interval = stats::quantile_interval(&sorted, q, CONFIDENCE);
    Estimate {
        value: stats::quantile(&sorted, q).copied().unwrap_or(f64::NAN),
        low: interval.low.unwrap_or(f64::NEG_INFINITY),
        high: interval.high.unwrap_or(f64::INFINITY),
    }
}

/// What `by` makes of the two medians, with a bootstrap interval: each group is resampled on its own.
///
/// # Panics
///
/// When a group is empty.
pub fn compare(one: &[f64], other: &[f64], by: fn(f64, f64) -> f64) -> Estimate {
    let mut random = SplitMix64::new(SEED);
    let mut resampled: Vec<_> = (0..RESAMPLES)
        .map(|_| by(middle(drawn(one, &mut random)), middle(drawn(other, &mut random))))
        .collect();
    resampled.sort_unstable_by(f64::total_cmp);
    let value = by(middle(one.to_vec()), middle(other.to_vec()));
    let at = |q| stats::quantile(&resampled, q).copied().unwrap_or(value);
    Estimate { value, low: at((1.0 - CONFIDENCE) / 2.0), high: at(f64::midpoint(1.0, CONFIDENCE)) }
}

/// As many values again, drawn with replacement.
fn drawn(values: &[f64], random: &mut SplitMix64) -> Vec<f64> {
    values.iter().map(|_| values[random.below(values.len())]).collect()
}

/// The median by the nearest rank.
fn middle(mut values: Vec<f64>) -> f64 {
    let rank = (values.len() - 1) / 2;
    *values.select_nth_unstable_by(rank, f64::total_cmp).1
}

/// As many digits as are worth reading.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

// === impl Figure ===

impl Figure {
    /// A figure of `n` observations.
    pub fn new(what: impl Into<String>, unit: &'static str, estimate: Estimate, n: usize) -> Self {
        let Estimate { value, low, high } = estimate;
        Self { what: what.into(), unit, value, interval: Some((low, high)), n, target: None }
    }

    /// A figure that is no estimate, but what happened this once.
    pub fn once(what: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self { what: what.into(), unit, value, interval: None, n: 1, target: None }
    }

    /// The median of `values`.
    pub fn median(what: impl Into<String>, unit: &'static str, values: &[f64]) -> Self {
        Self::new(what, unit, quantile(values, 0.5), values.len())
    }

    /// With a target.
    #[must_use]
    pub fn target(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = number(self.value);
        let interval = self.interval.map(|(low, high)| format!("[{}, {}]", number(low), number(high)));
        let interval = interval.unwrap_or_default();
        write!(f, "  {:<46} {value:>8} {:<13} {interval:<18} n={:<6}", self.what, self.unit, self.n)?;
        match self.target {
            Some(target) => {
                write!(f, " {target}: {}", if target.is_met(self.value) { "PASS" } else { "MISS" })
            }
            None => Ok(()),
        }
    }
}

// === impl Target ===

impl Target {
    /// Whether `value` is what it ought to be.
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(limit) => write!(f, ">= {limit}"),
            Self::AtMost(limit) => write!(f, "<= {limit}"),
        }
    }
}

// === impl Table ===

impl Table {
    /// A table on standard output, begun before what it is to show is measured: the load is that of others.
    pub fn begin(title: &str) -> io::Result<Self> {
        let loads = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = loads.split(' ').next().unwrap_or_default();
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut out = io::stdout();
        writeln!(out, "\n{title}\n  (95 % intervals; load average at the start {load} on {cores} cores)")?;
        Ok(Self { out })
    }
}

impl<W: Write> Table<W> {
    /// Writes a line.
    pub fn row(&mut self, figure: &Figure) -> io::Result<()> {
        writeln!(self.out, "{}", figure.to_string().trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ascending(n: u32) -> Vec<f64> {
        (1..=n).map(f64::from).collect()
    }

    #[test]
    fn a_line_says_what_was_observed_and_whether_it_is_enough() {
        let mut table = Table { out: Vec::new() };
        let estimate = Estimate { value: 41.26, low: 39.0, high: 120.4 };
        let figure = Figure::new("added by the proxy", "us", estimate, 40);
        table.row(&figure).unwrap();
        table.row(&figure.clone().target(Target::AtMost(80.0))).unwrap();
        table.row(&figure.target(Target::AtLeast(80.0))).unwrap();
        let text = String::from_utf8(table.out).unwrap();
        let plain =
            "  added by the proxy                                 41.3 us            [39.0, 120]        n=40";
        assert_eq!(text, format!("{plain}\n{plain}     <= 80: PASS\n{plain}     >= 80: MISS\n"));
    }

    #[test]
    fn what_is_no_estimate_has_no_interval() {
        let line = Figure::once("of the rate", "%", 99.9).target(Target::AtLeast(99.5)).to_string();
        assert!(line.contains(" 99.9 %") && line.ends_with("n=1      >= 99.5: PASS"), "{line}");
        assert!(!line.contains('['), "{line}");
    }

    #[test]
    fn too_few_values_bound_no_median() {
        let few = quantile(&ascending(3), 0.5);
        assert!(few.low.is_infinite() && few.high.is_infinite(), "{few:?}");
        let enough = quantile(&ascending(9), 0.5);
        assert_eq!(enough, Estimate { value: 5.0, low: 2.0, high: 8.0 });
    }

    #[test]
    fn a_difference_is_found_with_its_interval() {
        let one = ascending(400);
        let other: Vec<_> = one.iter().map(|value| value + 100.0).collect();
        let difference = compare(&other, &one, |other, one| other - one);
        assert!((difference.value - 100.0).abs() < 1e-9 && difference.contains(100.0), "{difference:?}");
        // The median of 400 even values has a standard error of about 10.
        assert!((30.0..=90.0).contains(&(difference.high - difference.low)), "{difference:?}");
        assert_eq!(difference, compare(&other, &one, |other, one| other - one));
    }
}

//! The history of figures: one line a measurement, and where a series of them changed for good.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};
use spangate_trace::stats::{ChangePoints, median_value};

use super::{Key, Measured, Metric, compare};
use crate::{error::CommandError, text};

/// One measurement, as a line of the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When it was measured (RFC 3339).
    pub at: String,
    /// What the user calls it: a commit, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What was measured, and where.
    pub key: Key,
    /// The figures of each arm.
    pub arms: BTreeMap<String, BTreeMap<Metric, Value>>,
}

/// A figure, as the history has it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Value {
    /// The median of the rounds, in the unit of the metric.
    pub value: f64,
    /// The ends of its interval at 95 %.
    pub interval: [f64; 2],
    /// Rounds behind it.
    pub rounds: u64,
}

/// A figure over time, of one arm of one experiment on one kind of machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// The experiment.
    pub experiment: String,
    /// The hash of what it was asked for.
    pub hash: String,
    /// The machine; none for figures that are the same on all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// The arm.
    pub arm: String,
    /// The figure.
    pub metric: Metric,
    /// Its values, in the order of time.
    pub points: Vec<Point>,
    /// Where it changed for good; nothing where there are too few points to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Vec<Drift>>,
}

/// A value of a series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// When it was measured.
    pub at: String,
    /// What the user calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What ran, by component.
    pub versions: BTreeMap<String, String>,
    /// The value, in the unit of the metric.
    pub value: f64,
}

/// A change of a series for good.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// The first point that is of the new kind, from 0.
    pub at: usize,
    /// The median from the change before until here.
    pub before: f64,
    /// The median from here to the next change.
    pub after: f64,
    /// The part of permutations that split as well.
    pub p: f64,
}

/// The file, unless the user names another one.
pub const FILE: &str = "spangate-history.jsonl";

// === impl Entry ===

impl Entry {
    /// What was measured, as a line.
    pub fn new(measured: &Measured, at: String, label: Option<String>) -> Self {
        let comparison = compare(measured);
        let arms = comparison.arms.into_iter().map(|row| {
            let value = |figure: super::compare::Figure| Value {
                value: figure.value.value,
                interval: [figure.value.low, figure.value.high],
                rounds: figure.rounds,
            };
            let figures = row.figures.into_iter().map(|figure| (figure.metric, value(figure)));
            (row.arm.name, figures.collect())
        });
        Self { at, label, arms: arms.collect(), key: measured.key.clone() }
    }

    /// Adds it to the end of a history, which is made if it is not there. What is in it already is not added again: a job that
    /// is repeated, or a gate that has added its own, makes no second point.
    pub fn append(&self, path: &Path) -> Result<(), CommandError> {
        let unwritable = |error| {
            CommandError::environment(format!("cannot add to the history {}", path.display())).because(error)
        };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(unwritable(error)),
        };
        let same = |line: &str| {
            let entry = serde_json::from_str::<Self>(line).ok();
            entry.is_some_and(|it| it.at == self.at && it.key == self.key && it.arms == self.arms)
        };
        if text.lines().any(same) {
            return Ok(());
        }
        let line = serde_json::to_string(self)
            .map_err(|error| CommandError::bug("cannot write the history as JSON").because(error))?;
        // What a full disk cut off stays a line of its own.
        let cut_off = !text.is_empty() && !text.ends_with('\n');
        let line = format!("{}{line}\n", if cut_off { "\n" } else { "" });
        // In one piece: two that add at the same time do not mix.
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(unwritable)
    }
}

/// Reads a history, in the order of time.
pub fn read(path: &Path) -> Result<Vec<Entry>, CommandError> {
    let text = fs::read_to_string(path).map_err(|error| {
        CommandError::usage(format!("cannot read the history {}", path.display()))
            .because(error)
            .help("add to it with `spangate history --add DIR`")
    })?;
    let mut entries = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let entry: Entry = serde_json::from_str(line).map_err(|error| {
            CommandError::usage(format!("line {number} of {} is broken", path.display()))
                .because(error)
                .help("take the line out, and add what it was of again with `spangate history --add DIR`")
        })?;
        entries.push(entry);
    }
    entries.sort_by(|a, b| a.at.cmp(&b.at));
    Ok(entries)
}

/// The series of a history. Times belong to the machine that they are of, and what travels does not.
pub fn series(entries: &[Entry], wanted: impl Fn(&str, Metric) -> bool) -> Vec<Series> {
    type Place<'e> = (&'e str, &'e str, &'e str, Metric, Option<String>);
    let mut all: BTreeMap<Place<'_>, Vec<Point>> = BTreeMap::new();
    for entry in entries {
        let key = &entry.key;
        for (arm, figures) in &entry.arms {
            for (metric, value) in figures.iter().filter(|(metric, _)| wanted(arm, **metric)) {
                let machine = (!metric.travels()).then(|| format!("{} x {}", key.cores, key.cpu));
                let place = (key.experiment.as_str(), key.hash.as_str(), arm.as_str(), *metric, machine);
                let (at, label) = (entry.at.clone(), entry.label.clone());
                let point = Point { at, label, versions: key.versions.clone(), value: value.value };
                all.entry(place).or_default().push(point);
            }
        }
    }
    let series = all.into_iter().map(|((experiment, hash, arm, metric, machine), points)| {
        let drift = drift(&points);
        let (experiment, hash, arm) = (experiment.to_owned(), hash.to_owned(), arm.to_owned());
        Series { experiment, hash, machine, arm, metric, points, drift }
    });
    series.collect()
}

/// Where a series changed for good, if it is long enough to tell.
fn drift(points: &[Point]) -> Option<Vec<Drift>> {
    if points.len() < ChangePoints::FEWEST {
        return None;
    }
    let values: Vec<f64> = points.iter().map(|point| point.value).collect();
    let changes = ChangePoints::default().find(&values);
    let mut borders: Vec<usize> = changes.iter().map(|change| change.at).collect();
    borders.push(values.len());
    let middle = |from: usize, to: usize| median_value(&values[from..to]).unwrap_or_default();
    let mut from = 0;
    let drift = changes.iter().zip(&borders[1..]).map(|(change, to)| {
        let before = middle(from, change.at);
        from = change.at;
        Drift { at: change.at, before, after: middle(change.at, *to), p: change.p }
    });
    Some(drift.collect())
}

/// The series as text, ending in a newline.
pub fn text(all: &[Series]) -> String {
    let mut out = String::new();
    let titles = ["experiment", "arm", "figure", "points", "first", "last", "drift"].map(str::to_owned);
    let rows: Vec<[String; 7]> = all.iter().map(row).collect();
    text::table(&mut out, &titles, &rows);
    for series in all {
        for drift in series.drift.iter().flatten() {
            let _ = writeln!(out, "{}", told(series, drift));
        }
    }
    out
}

fn row(series: &Series) -> [String; 7] {
    let show = |point: Option<&Point>| point.map_or_else(String::new, |it| series.metric.show(it.value));
    let drift = match &series.drift {
        None => format!("{} points tell it", ChangePoints::FEWEST),
        Some(changes) if changes.is_empty() => "none".to_owned(),
        Some(changes) => changes.len().to_string(),
    };
    let short: String = series.hash.chars().take(8).collect();
    [
        format!("{} {short}", series.experiment),
        series.arm.clone(),
        series.metric.label().to_owned(),
        series.points.len().to_string(),
        show(series.points.first()),
        show(series.points.last()),
        drift,
    ]
}

/// A change in a sentence.
fn told(series: &Series, drift: &Drift) -> String {
    let show = |value| series.metric.show(value);
    let (last, point) = (drift.at.checked_sub(1).map(|at| &series.points[at]), &series.points[drift.at]);
    let label = point.label.as_ref().map(|label| format!(" ({label})")).unwrap_or_default();
    let growth = if drift.before > 0.0 { text::growth(drift.after / drift.before) } else { "new".to_owned() };
    let versions = last.filter(|last| last.versions != point.versions).map(|last| {
        let changed =
            point.versions.iter().filter(|(name, version)| last.versions.get(*name) != Some(version));
        let changed = changed.map(|(name, version)| {
            format!("{name} {} -> {version}", last.versions.get(name).map_or("none", String::as_str))
        });
        format!("; {}", changed.collect::<Vec<_>>().join(", "))
    });
    format!(
        "{}, {}: {} from {} to {} ({growth}) at point {} of {}, {}{label}, p = {:.3}{}",
        series.experiment,
        series.arm,
        series.metric.label(),
        show(drift.before),
        show(drift.after),
        drift.at + 1,
        series.points.len(),
        point.at,
        drift.p,
        versions.unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use spangate_trace::stats::SplitMix64;

    use super::*;
    use crate::overhead::testing::measured;

    /// A history of so many measurements; `cpu` gives CPU time a request of the head in each.
    fn history(n: u32, cpu: impl Fn(u32) -> f64) -> Vec<Entry> {
        let mut random = SplitMix64::new(3);
        (0..n)
            .map(|at| {
                let mut noise = || 1.0 + (random.below(2_001) as f64 - 1_000.0) / 5e4;
                let measured = measured(3, |_| (1e-3 * noise(), cpu(at) * noise()));
                Entry::new(&measured, format!("2026-11-{:02}T{:02}:00:00Z", 1 + at / 24, at % 24), None)
            })
            .collect()
    }

    /// Scenario: forty measurements; from the 26th on the server takes 10 % more, with a new version.
    /// Guarantees: the change is found there, of that arm alone, and the version is named.
    #[test]
    fn a_step_is_found_and_named() {
        let mut entries = history(40, |at| if at < 25 { 1e-3 } else { 1.1e-3 });
        for entry in &mut entries[25..] {
            entry.key.versions.insert("kube-apiserver".to_owned(), "1.37.3".to_owned());
        }
        let all = series(&entries, |_, _| true);
        let head = all.iter().find(|it| it.arm == "head").unwrap();
        let drift = head.drift.as_ref().unwrap();
        assert_eq!((drift.len(), drift[0].at), (1, 25), "{drift:?}");
        assert!((drift[0].after / drift[0].before - 1.1).abs() < 0.02, "{drift:?}");
        let base = all.iter().find(|it| it.arm == "base").unwrap();
        assert_eq!(base.drift, Some(Vec::new()));
        let text = text(&all);
        assert!(text.contains("at point 26 of 40"), "{text}");
        assert!(text.contains("kube-apiserver 1.37.2 -> 1.37.3"), "{text}");
    }

    #[test]
    fn few_points_tell_nothing_and_say_so() {
        let all = series(&history(19, |at| if at < 9 { 1e-3 } else { 9e-3 }), |arm, _| arm == "head");
        assert_eq!((all.len(), all[0].drift.as_ref()), (1, None));
        assert!(text(&all).contains("20 points tell it"), "{}", text(&all));
    }

    #[test]
    fn times_of_another_machine_are_another_series() {
        let mut entries = history(4, |_| 1e-3);
        entries[3].key.cpu = "another".to_owned();
        for entry in &mut entries {
            let value = Value { value: 9.0, interval: [9.0, 9.0], rounds: 1 };
            entry.arms.get_mut("head").unwrap().insert(Metric::SpansPerRequest, value);
        }
        let all = series(&entries, |arm, _| arm == "head");
        let points: Vec<_> = all.iter().map(|it| (it.metric, it.points.len())).collect();
        let cpu = Metric::CpuPerRequest;
        assert_eq!(points, [(cpu, 3), (cpu, 1), (Metric::SpansPerRequest, 4)]);
    }

    #[test]
    fn a_history_is_read_back_and_a_broken_line_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let entries = history(3, |_| 1e-3);
        entries.iter().rev().for_each(|entry| entry.append(&path).unwrap());
        assert_eq!(read(&path).unwrap(), entries);
        entries[1].append(&path).unwrap();
        assert_eq!(read(&path).unwrap().len(), 3);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}\n{{\n")).unwrap();
        assert!(read(&path).unwrap_err().to_string().starts_with("line 5 of"));
        // Half a line, of a disk that was full.
        fs::write(&path, format!("{text}{{\"at\":\"2026")).unwrap();
        history(4, |_| 1e-3)[3].append(&path).unwrap();
        assert!(read(&path).unwrap_err().to_string().starts_with("line 4 of"));
        let mended: Vec<String> = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        fs::write(&path, [&mended[..3], &mended[4..]].concat().join("\n")).unwrap();
        assert_eq!(read(&path).unwrap().len(), 4);
    }
}

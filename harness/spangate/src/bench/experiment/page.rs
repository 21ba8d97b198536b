//! The report as one HTML file with everything in it: tables, effects, latencies and time lines.

use std::{collections::BTreeMap, fmt::Write as _};

use spangate_trace::stats::median_value;

use super::{
    figures::Point,
    plot::{Axis, Plot, Scale, class, escape},
    report::{ExperimentReport, Table, figure},
};
use crate::overhead::Metric;

/// What is compared in pictures, in this order.
const EFFECTS: [Metric; 7] = [
    Metric::CpuPerRequest,
    Metric::Rss,
    Metric::ResponseP50,
    Metric::ResponseP90,
    Metric::ResponseP99,
    Metric::CollectorCpuPerSpan,
    Metric::CollectorRss,
];
/// Seconds of a step of a time line.
const STEP: f64 = 0.5;
const PERCENT: &str = "%";

/// The whole page.
pub fn page(report: &ExperimentReport) -> String {
    let name = escape(&report.measured.key.experiment);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{name}</title><style>{STYLE}</style></head><body>\n<h1>{name}</h1>\n"
    );
    for remark in report.remarks() {
        let _ = writeln!(out, "<p>{}</p>", escape(&remark));
    }
    out.push_str(&legend(report));
    for each in report.tables() {
        out.push_str(&table(&each));
    }
    let against = &report.measured.reference;
    let plots: Vec<(String, String)> = EFFECTS
        .iter()
        .filter_map(|metric| {
            Some((format!("{} against {against}", metric.label()), effects(report, *metric)?))
        })
        .collect();
    section(&mut out, "Effects, with intervals", &plots);
    let curves = curves(report).map(|plot| ("Latency by the share of all that is faster".to_owned(), plot));
    section(&mut out, "Latencies", &curves.into_iter().collect::<Vec<_>>());
    let lines = [
        ("CPU", "share of one CPU", PERCENT, (|point: &Point| point.cpu * 100.0) as fn(&Point) -> f64),
        ("RSS", "resident memory", " MiB", |point| point.rss / f64::from(1_u32 << 20)),
    ];
    let lines = lines.into_iter().filter_map(|(name, title, unit, get)| {
        Some((
            format!("{name} from the start of the load, medians of all units"),
            time_line(report, title, unit, get)?,
        ))
    });
    section(&mut out, "Time lines", &lines.collect::<Vec<_>>());
    let _ = write!(
        out,
        "<footer><p>{}</p><p><code>{}</code></p></footer>\n</body></html>\n",
        escape(&report.foot()),
        escape(&report.repeat)
    );
    out
}

fn section(out: &mut String, title: &str, plots: &[(String, String)]) {
    if plots.is_empty() {
        return;
    }
    let _ = writeln!(out, "<h2>{}</h2>\n<div class=\"plots\">", escape(title));
    for (caption, plot) in plots {
        let _ = writeln!(out, "<figure><figcaption>{}</figcaption>\n{plot}</figure>", escape(caption));
    }
    out.push_str("</div>\n");
}

/// Which colour is which arm, and what the arm is.
fn legend(report: &ExperimentReport) -> String {
    let mut out = "<ul class=\"legend\">\n".to_owned();
    for (series, arm) in report.measured.arms.iter().enumerate() {
        let what = if arm.description.is_empty() { String::new() } else { format!(": {}", arm.description) };
        let _ = writeln!(
            out,
            "<li><svg viewBox=\"0 0 28 12\"><path class=\"mark {}\" d=\"M1 6H27\"/></svg><b>{}</b>{}</li>",
            class(series),
            escape(&arm.name),
            escape(&what)
        );
    }
    out.push_str("</ul>\n");
    out
}

fn table(table: &Table) -> String {
    let mut out = format!("<h2>{}</h2>\n<div class=\"wide\"><table><thead><tr>", escape(table.title));
    for head in &table.heads {
        let _ = write!(out, "<th>{}</th>", escape(head));
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for cell in row {
            let _ = write!(out, "<td>{}</td>", escape(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

/// What each arm adds to the reference, in percent.
fn effects(report: &ExperimentReport, metric: Metric) -> Option<String> {
    let added = |ratio: f64| (ratio - 1.0) * 100.0;
    let rows: Vec<_> = report
        .comparison
        .arms
        .iter()
        .enumerate()
        .filter_map(|(series, row)| {
            let ratio = figure(row, metric)?.effect?.ratio;
            Some((series, row.arm.name.as_str(), [ratio.value, ratio.low, ratio.high].map(added)))
        })
        .collect();
    let scale = Scale::of(rows.iter().flat_map(|(.., parts)| *parts), false)?.with(0.0);
    let ticks = scale.round().into_iter().map(|value| (value, format!("{}%", short(value)))).collect();
    let axis = Axis { title: "more than the reference", scale, ticks };
    let names: Vec<&str> = rows.iter().map(|(_, arm, _)| *arm).collect();
    let words: Vec<String> =
        rows.iter().map(|(.., [value, low, high])| format!("{value:+.1}% [{low:+.1}, {high:+.1}]")).collect();
    let longest = words.iter().map(String::len).max().unwrap_or(0);
    let mut plot = Plot::of_rows(axis, &names, longest);
    plot.upright(0.0);
    for (row, (series, _, [value, low, high])) in rows.iter().enumerate() {
        plot.interval(row, *series, (*value, *low, *high), &words[row]);
    }
    plot.svg(metric.label())
}

/// The number of a series, its arm, and its points.
type Lined<'r, K> = (usize, &'r str, Vec<(K, f64)>);

/// The series of each arm: the median of its units at each place.
fn pooled<K: Ord + Copy>(
    report: &ExperimentReport,
    points: impl Fn(&super::figures::Series) -> Vec<(K, f64)>,
) -> Vec<Lined<'_, K>> {
    let of = |arm: &str| {
        let mut all: BTreeMap<K, Vec<f64>> = BTreeMap::new();
        for drawn in report.drawn.iter().filter(|drawn| drawn.arm == arm) {
            for (place, value) in points(&drawn.series) {
                all.entry(place).or_default().push(value);
            }
        }
        let middle = |(place, values): (K, Vec<f64>)| Some((place, median_value(&values)?));
        all.into_iter().filter_map(middle).collect::<Vec<_>>()
    };
    let arms = report.measured.arms.iter().enumerate();
    arms.map(|(series, arm)| (series, arm.name.as_str(), of(&arm.name))).collect()
}

/// Latencies by the share that is faster, each nine as wide as the one before.
fn curves(report: &ExperimentReport) -> Option<String> {
    let nines = |share: f64| -(1.0 - share).log10();
    // Shares of all units are the same numbers; as parts of a million they are keys.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share times a million")]
    let key = |share: f64| (share * 1e6).round() as u32;
    let all =
        pooled(report, |series| series.curve.iter().map(|(share, time)| (key(*share), *time)).collect());
    let all: Vec<_> = all
        .into_iter()
        .map(|(series, arm, points)| {
            let points = points.into_iter().map(|(key, time)| (nines(f64::from(key) / 1e6), time * 1e3));
            (series, arm, points.collect::<Vec<_>>())
        })
        .collect();
    let y = Scale::of(all.iter().flat_map(|(.., points)| points.iter().map(|point| point.1)), true)?;
    let x = Scale::of(all.iter().flat_map(|(.., points)| points.iter().map(|point| point.0)), false)?;
    let ticks = [0.1, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999];
    let Scale::Linear { low, high } = x else { return None };
    let ticks = ticks.into_iter().filter(|share| (low..=high).contains(&nines(*share)));
    let ticks = ticks.map(|share| (nines(share), format!("{}%", short(share * 100.0)))).collect();
    let x = Axis { title: "share of all that is faster", scale: x, ticks };
    let marks = y.round().into_iter().map(|millis| (millis, format!("{} ms", short(millis)))).collect();
    let mut plot = Plot::new(x, Axis { title: "latency", scale: y, ticks: marks }, 300.0);
    for (series, arm, points) in &all {
        plot.line(*series, arm, points);
    }
    plot.svg("latencies")
}

/// What the process under test used, second by second.
fn time_line(report: &ExperimentReport, title: &str, unit: &str, get: fn(&Point) -> f64) -> Option<String> {
    #[expect(clippy::cast_possible_truncation, reason = "steps of an experiment are few")]
    let step = |at: f64| (at / STEP).floor() as i64;
    let all = pooled(report, |series| series.line.iter().map(|it| (step(it.at), get(it))).collect());
    let all: Vec<_> = all
        .into_iter()
        .map(|(series, arm, points)| {
            let points = points.into_iter().map(|(step, value)| (step as f64 * STEP, value));
            (series, arm, points.collect::<Vec<_>>())
        })
        .collect();
    let x = Scale::of(all.iter().flat_map(|(.., points)| points.iter().map(|point| point.0)), false)?;
    let y = Scale::of(all.iter().flat_map(|(.., points)| points.iter().map(|point| point.1)), false)?;
    // Memory differs by little of all that it is.
    let y = if unit == PERCENT { y.with(0.0) } else { y };
    let seconds = x.round().into_iter().map(|at| (at, format!("{} s", short(at)))).collect();
    let values = y.round().into_iter().map(|value| (value, format!("{}{unit}", short(value)))).collect();
    let x = Axis { title: "time from the start of the load", scale: x, ticks: seconds };
    let mut plot = Plot::new(x, Axis { title, scale: y, ticks: values }, 220.0);
    plot.upright(0.0);
    for (series, arm, points) in &all {
        plot.line(*series, arm, points);
    }
    plot.svg(title)
}

/// A number without needless digits.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

const STYLE: &str = "
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#57606a;--grid:#dfe3e8;--s0:#0068a8;--s1:#c94f00;--s2:#00815c;\
--s3:#a83d8c;--s4:#7a6000;--s5:#50545a;--s6:#3d8fd1;--s7:#c03636}
@media(prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#e8eaed;--soft:#a4acb5;--grid:#32383f;--s0:#62b4f5;--s1:#ff9d5c;\
--s2:#45d3a6;--s3:#f090d2;--s4:#e2c555;--s5:#c9ced4;--s6:#a6d3ff;--s7:#ff8f8f}}
body{background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif;max-width:1340px;margin:0 auto;padding:16px}
h1{font-size:24px}h2{font-size:18px;margin:28px 0 8px}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:12.5px}
th,td{padding:4px 7px;border-bottom:1px solid var(--grid);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:600}
.legend{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:4px 22px}.legend svg{width:28px;height:12px;margin-right:6px}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,560px),1fr));gap:16px}
figure{margin:0}figcaption{font-weight:600;margin-bottom:4px}
.plot{width:100%;max-width:800px;height:auto;display:block}.plot text{fill:var(--fg);font:12px system-ui,sans-serif}
.plot .tick,.plot .axis{fill:var(--soft)}.grid{stroke:var(--grid);fill:none}.zero{stroke:var(--soft);stroke-width:1.5;fill:none}
.mark{fill:none;stroke-width:2}.bar{stroke-width:2.5}
.s0{stroke:var(--s0)}.s1{stroke:var(--s1)}.s2{stroke:var(--s2)}.s3{stroke:var(--s3)}.s4{stroke:var(--s4)}.s5{stroke:var(--s5)}\
.s6{stroke:var(--s6)}.s7{stroke:var(--s7)}
circle.s0{fill:var(--s0)}circle.s1{fill:var(--s1)}circle.s2{fill:var(--s2)}circle.s3{fill:var(--s3)}circle.s4{fill:var(--s4)}\
circle.s5{fill:var(--s5)}circle.s6{fill:var(--s6)}circle.s7{fill:var(--s7)}
.d1{stroke-dasharray:7 4}.d2{stroke-dasharray:2 4}
footer{color:var(--soft);font-size:13px;margin-top:28px}code{font-size:13px}
";

#[cfg(test)]
mod browser;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::experiment::report::tests::report;

    #[test]
    fn the_page_has_every_plot_and_needs_nothing_else() {
        let page = page(&report(6));
        // Five effects, latencies, and two time lines.
        assert_eq!(page.matches("<svg class=\"plot\"").count(), 8);
        for arm in ["without", "none", "tenth", "all"] {
            assert!(page.contains(&format!("<b>{arm}</b>")), "{arm}");
        }
        for from_elsewhere in ["http:", "https:", "src=", "<link", "@import", "NaN", "inf"] {
            assert!(!page.replace("info", "").contains(from_elsewhere), "{from_elsewhere}");
        }
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, -0.0001, 2.5, 100.0, 99.9].map(short), ["0", "0", "2.5", "100", "99.9"]);
    }
}

//! A trace as text: the tree on the left, a time line on the right.
//!
//! ```text
//! trace 07070707070707070707070707070707, 3 spans, 10.0 ms
//! POST                |###------------------------#|   10.0 ms  self   2.00 ms
//! ` Create            |   ##------------------###  |   8.00 ms  self   2.00 ms
//!   ` Create etcd3    |     ##################     |   6.00 ms  self   6.00 ms
//! ```
//!
//! The dense part of a bar is the span's own time, the light part is covered by its children. A line ends with
//! the span's duration and its self time. In a trace of several services the name is led by that of the service where it
//! changes. Text that came with the spans is shown without control characters.

use std::{fmt, time::Duration};

use crate::{Row, Span, Status, Trace, TraceIndex, UnixNanos, contract, joint::printable};

/// How to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Whether to draw with box characters, or else with ASCII alone.
    pub unicode: bool,
    /// Whether to show the events of each span.
    pub events: bool,
    /// Whether to show, behind the name, the attributes that tell spans of one name apart.
    pub attributes: bool,
}

/// What the picture is drawn with.
struct Pen {
    /// The line beside a span that is not the last of its siblings, and where it passes by.
    branch: char,
    last: char,
    pass: char,
    own: char,
    covered: char,
    event: char,
    edge: char,
    cut: char,
}

const ASCII: Pen =
    Pen { branch: '+', last: '`', pass: '|', own: '#', covered: '-', event: '*', edge: '|', cut: '~' };

const UNICODE: Pen = Pen {
    branch: '\u{251c}',
    last: '\u{2514}',
    pass: '\u{2502}',
    own: '\u{2588}',
    covered: '\u{2591}',
    event: '\u{25c6}',
    edge: '\u{2502}',
    cut: '\u{2026}',
};

/// Signs beside a span, with what they mean.
const MARKS: [(char, &str); 5] = [
    ('!', "error"),
    ('@', "has a link"),
    ('?', "the parent was not captured"),
    ('2', "a span with this id was there before"),
    ('%', "the parent link led back to the span and was cut"),
];

/// Deeper levels push the outer ones out of the picture.
const LEVELS: usize = 16;

/// The least room for names and for bars; a narrower picture would show nothing.
const LEAST: usize = 16;

/// What one line shows.
struct Line {
    label: String,
    marks: String,
    bar: Bar,
    times: String,
}

/// What the bar of a line shows.
enum Bar {
    /// A span, and the children that cover it.
    Span((UnixNanos, UnixNanos), Vec<(UnixNanos, UnixNanos)>),
    /// A moment.
    Event(UnixNanos),
}

/// A duration for people.
struct Short(Duration);

/// The time line.
#[derive(Clone, Copy)]
struct Scale {
    start: UnixNanos,
    whole: Duration,
    cells: usize,
}

/// Draws a trace for a terminal of `width` columns.
pub fn render(trace: &Trace<'_>, width: usize, options: Options) -> String {
    let pen = if options.unicode { &UNICODE } else { &ASCII };
    let lines = lines(trace, options, pen);
    let longest = |length: fn(&Line) -> usize| lines.iter().map(length).max().unwrap_or_default();
    let marks = longest(|line| line.marks.len());
    let times = longest(|line| line.times.len());
    // One blank after each column, and an edge on both sides of the bar.
    let room = width.saturating_sub(times + marks + 3 + usize::from(marks > 0));
    let label = longest(|line| line.label.chars().count()).min(room / 2).max(LEAST);
    let cells = room.saturating_sub(label + 1).max(LEAST);
    let scale = Scale { start: trace.start(), whole: trace.end().since(trace.start()), cells };
    let mut picture = vec![format!("trace {}, {} spans, {}", trace.id(), trace.len(), Short(scale.whole))];
    for line in &lines {
        let name = fitted(&line.label, label, pen.cut);
        let marks = if marks > 0 { format!("{:<marks$} ", line.marks) } else { String::new() };
        let bar = line.bar.draw(scale, pen);
        picture.push(format!("{name} {marks}{0}{bar}{0} {1}", pen.edge, line.times));
    }
    let legend = MARKS.iter().filter(|(mark, _)| lines.iter().any(|line| line.marks.contains(*mark)));
    picture.extend(legend.map(|(mark, meaning)| format!("{mark} {meaning}")));
    picture.push(String::new());
    picture.join("\n")
}

/// The lines of all spans, depth first.
fn lines(trace: &Trace<'_>, options: Options, pen: &Pen) -> Vec<Line> {
    let index = trace.index();
    let service = |row: usize| index.row(row).service;
    let first = trace.rows().next().map(service);
    let several = trace.rows().any(|row| Some(service(row)) != first);
    let last_top = trace.tops().next_back();
    let mut lines = Vec::with_capacity(trace.len());
    // Whether more siblings follow, level by level down to the span at hand.
    let mut more = Vec::new();
    for step in trace.walk() {
        let row = index.row(step.row);
        let parent = index.parent(step.row);
        let last = match parent {
            Some(parent) => index.children(parent).next_back() == Some(step.row),
            None => last_top == Some(step.row),
        };
        more.truncate(step.depth);
        more.push(!last);
        let span = index.capture().span(step.row);
        let detail = if options.attributes { detail(&span) } else { String::new() };
        let mut name = printable(&span.name);
        if several && parent.is_none_or(|parent| service(parent) != row.service) {
            name = format!("[{}] {name}", printable(index.capture().names().get(row.service)));
        }
        let children = index.children(step.row).map(|child| index.row(child)).map(interval).collect();
        lines.push(Line {
            label: format!("{}{name}{detail}", tree(&more, pen)),
            marks: marks(&span, step.row, index),
            bar: Bar::Span(interval(row), children),
            times: times(row.end.since(row.start), index.self_time(step.row)),
        });
        if options.events {
            let has_children = index.children(step.row).len() > 0;
            let indent = passing(&more, has_children, pen);
            lines.extend(span.events.iter().map(|event| Line {
                label: format!("{indent}{} {}", pen.event, printable(&event.name)),
                marks: String::new(),
                bar: Bar::Event(event.time),
                times: format!("{:>9}", format!("+{}", Short(event.time.since(row.start)))),
            }));
        }
    }
    lines
}

fn interval(row: &Row) -> (UnixNanos, UnixNanos) {
    (row.start, row.end)
}

fn times(duration: Duration, own: Duration) -> String {
    format!("{:>9}  self {:>9}", Short(duration), Short(own))
}

/// The lines of the tree up to a span.
fn tree(more: &[bool], pen: &Pen) -> String {
    // The level of the tops has no line of its own.
    let Some((more_follow, above)) = more.split_last().filter(|(_, above)| !above.is_empty()) else {
        return String::new();
    };
    format!("{}{} ", levels(&above[1..], pen), if *more_follow { pen.branch } else { pen.last })
}

/// The lines of the tree beside what belongs to a span.
fn passing(more: &[bool], has_children: bool, pen: &Pen) -> String {
    format!("{}{} ", levels(&more[1.min(more.len())..], pen), if has_children { pen.pass } else { ' ' })
}

fn levels(more: &[bool], pen: &Pen) -> String {
    let shown = &more[more.len().saturating_sub(LEVELS)..];
    shown.iter().flat_map(|more| [if *more { pen.pass } else { ' ' }, ' ']).collect()
}

/// What tells spans of the same name apart.
fn detail(span: &Span) -> String {
    let webhook = span.text(contract::WEBHOOK_ATTRIBUTE).map(contract::webhook_fault);
    let key = span.text("key").filter(|_| span.name.ends_with(contract::STORAGE_SUFFIX));
    let status = span.int("http.response.status_code").map(|status| status.to_string());
    let code = span.text("rpc.response.status_code").filter(|code| !code.eq_ignore_ascii_case("ok"));
    let shown = [webhook, key, status.as_deref(), code];
    shown.into_iter().flatten().flat_map(|text| [" ".to_owned(), printable(text)]).collect()
}

fn marks(span: &Span, row: usize, index: &TraceIndex<'_>) -> String {
    let holds = [
        span.status == Status::Error,
        !span.links.is_empty(),
        index.is_orphan(row),
        index.is_duplicate(row),
        index.is_cut(row),
    ];
    MARKS.iter().zip(holds).filter(|(_, holds)| *holds).map(|((mark, _), _)| *mark).collect()
}

/// Text of exactly `width` characters.
fn fitted(text: &str, width: usize, cut: char) -> String {
    if text.chars().count() <= width {
        return format!("{text:<width$}");
    }
    text.chars().take(width - 1).chain([cut]).collect()
}

// === impl Bar ===

impl Bar {
    fn draw(&self, scale: Scale, pen: &Pen) -> String {
        let mut cells = vec![' '; scale.cells];
        match self {
            Self::Event(time) => cells[scale.cell(*time)] = pen.event,
            Self::Span((start, end), children) => {
                let first = scale.cell(*start);
                let last = scale.end(*end).max(first + 1);
                cells[first..last].fill(pen.own);
                for (start, end) in children {
                    // Only cells that lie wholly within the child are its own.
                    let from = scale.end(*start).max(first);
                    let to = scale.whole_cells(*end).min(last);
                    if from < to {
                        cells[from..to].fill(pen.covered);
                    }
                }
            }
        }
        cells.into_iter().collect()
    }
}

// === impl Scale ===

impl Scale {
    /// The cell that a moment lies in.
    fn cell(self, time: UnixNanos) -> usize {
        self.whole_cells(time).min(self.cells - 1)
    }

    /// How many cells end at a moment or before.
    fn whole_cells(self, time: UnixNanos) -> usize {
        self.of(time, 0)
    }

    /// How many cells begin before a moment.
    fn end(self, time: UnixNanos) -> usize {
        self.of(time, self.whole.as_nanos().max(1) - 1)
    }

    fn of(self, time: UnixNanos, round: u128) -> usize {
        let cells =
            (time.since(self.start).as_nanos() * self.cells as u128 + round) / self.whole.as_nanos().max(1);
        usize::try_from(cells).unwrap_or(usize::MAX).min(self.cells)
    }
}

// === impl Short ===

impl fmt::Display for Short {
    /// Three digits and a unit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos() as f64;
        let (value, unit) = match self.0.as_nanos() {
            0..1_000 => (nanos, "ns"),
            1_000..999_500 => (nanos / 1e3, "us"),
            999_500..999_500_000 => (nanos / 1e6, "ms"),
            _ => (nanos / 1e9, "s"),
        };
        let digits = match value {
            _ if unit == "ns" => 0,
            value if value < 9.995 => 2,
            value if value < 99.95 => 1,
            _ => 0,
        };
        f.pad(&format!("{value:.digits$} {unit}"))
    }
}

#[cfg(test)]
mod tests;

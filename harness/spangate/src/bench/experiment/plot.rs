//! Plots as SVG: scales, axes, and marks in them.

use std::fmt::Write as _;

/// The width of every plot, in its own units.
pub(super) const WIDTH: f64 = 640.0;
/// What a letter of a label takes at most.
const LETTER: f64 = 7.2;
/// Letters of the longest label; what is longer is cut, and told whole when one points at it.
const LETTERS: usize = 26;

/// How values become places.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// Equal distances are equal differences.
    Linear { low: f64, high: f64 },
    /// Equal distances are equal ratios.
    Log { low: f64, high: f64 },
}

/// An axis.
pub(super) struct Axis<'a> {
    pub(super) title: &'a str,
    pub(super) scale: Scale,
    /// Where it has ticks, and what stands there.
    pub(super) ticks: Vec<(f64, String)>,
}

/// A plot that grows by marks.
pub(super) struct Plot<'a> {
    x: Axis<'a>,
    y: Option<Axis<'a>>,
    left: f64,
    right: f64,
    height: f64,
    body: String,
    /// Marks that show something.
    marks: usize,
}

/// Room above the area of a plot, and below it for ticks and title of the axis.
const ABOVE: f64 = 12.0;
const BELOW: f64 = 44.0;

// === impl Scale ===

impl Scale {
    /// A scale that values fill, with a little room; nothing of no values.
    pub(super) fn of(values: impl Iterator<Item = f64>, log: bool) -> Option<Self> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite() && (!log || *value > 0.0)) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            return None;
        }
        if log {
            return Some(Self::Log { low: low / 1.2, high: high * 1.2 });
        }
        let room = ((high - low) * 0.08).max(high.abs() * 0.01).max(1e-9);
        Some(Self::Linear { low: low - room, high: high + room })
    }

    /// The same, with a value in it.
    pub(super) fn with(self, value: f64) -> Self {
        match self {
            Self::Linear { low, high } => Self::Linear { low: low.min(value), high: high.max(value) },
            Self::Log { low, high } => Self::Log { low: low.min(value), high: high.max(value) },
        }
    }

    /// Where a value is, from 0 to 1.
    fn part(self, value: f64) -> f64 {
        let part = match self {
            Self::Linear { low, high } => (value - low) / (high - low),
            Self::Log { low, high } => (value / low).ln() / (high / low).ln(),
        };
        part.clamp(0.0, 1.0)
    }

    /// Round values in it, about five of them.
    pub(super) fn round(self) -> Vec<f64> {
        match self {
            Self::Linear { low, high } => {
                let raw = (high - low) / 5.0;
                let ten = 10_f64.powf(raw.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].map(|by| by * ten).into_iter().find(|step| *step >= raw);
                let step = step.unwrap_or(ten * 10.0);
                let first = (low / step).ceil();
                (0_u32..12).map(|n| (first + f64::from(n)) * step).take_while(|it| *it <= high).collect()
            }
            Self::Log { low, high } => {
                let decades = (high / low).log10();
                let by: &[f64] = if decades < 1.2 { &[1.0, 2.0, 3.0, 5.0, 7.0] } else { &[1.0, 2.0, 5.0] };
                let by = if decades > 3.5 { &by[..1] } else { by };
                let first = low.log10().floor();
                (0_u32..14)
                    .flat_map(|n| by.iter().map(move |by| by * 10_f64.powf(first + f64::from(n))))
                    .filter(|value| (low..=high).contains(value))
                    .collect()
            }
        }
    }
}

// === impl Plot ===

impl<'a> Plot<'a> {
    /// A plot with two axes, whose area is `height` high.
    pub(super) fn new(x: Axis<'a>, y: Axis<'a>, height: f64) -> Self {
        let longest = y.ticks.iter().map(|(_, label)| label.chars().count()).max().unwrap_or(0);
        let left = longest as f64 * LETTER + 34.0;
        Self { x, y: Some(y), left, right: 16.0, height, body: String::new(), marks: 0 }
    }

    /// A plot with a row for each label, and room for a word at the right.
    pub(super) fn of_rows(x: Axis<'a>, labels: &[&str], word: usize) -> Self {
        let longest = labels.iter().map(|label| label.chars().count().min(LETTERS)).max().unwrap_or(0);
        let (left, right) = (longest as f64 * LETTER + 16.0, word as f64 * LETTER + 12.0);
        let height = labels.len() as f64 * ROW;
        let mut plot = Self { x, y: None, left, right, height, body: String::new(), marks: 0 };
        for (row, label) in labels.iter().enumerate() {
            let (y, shown) = (middle(row) + 4.0, escape(&cut(label)));
            let _ = writeln!(
                plot.body,
                "<text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{shown}<title>{}</title></text>",
                left - 8.0,
                escape(label)
            );
        }
        plot
    }

    fn across(&self) -> f64 {
        WIDTH - self.left - self.right
    }

    fn x(&self, value: f64) -> f64 {
        self.left + self.x.scale.part(value) * self.across()
    }

    fn y(&self, value: f64) -> f64 {
        let part = self.y.as_ref().map_or(0.0, |axis| axis.scale.part(value));
        ABOVE + (1.0 - part) * self.height
    }

    /// A line through points, in the colour of a series.
    pub(super) fn line(&mut self, series: usize, name: &str, points: &[(f64, f64)]) {
        let mut path = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let step = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{step}{:.1} {:.1}", self.x(*x), self.y(*y));
        }
        let _ = writeln!(
            self.body,
            "<path class=\"mark {}\" d=\"{path}\"><title>{}</title></path>",
            class(series),
            escape(name)
        );
        self.marks += usize::from(points.len() > 1);
    }

    /// A value with its interval in a row, and a word on it.
    pub(super) fn interval(
        &mut self,
        row: usize,
        series: usize,
        (value, low, high): (f64, f64, f64),
        word: &str,
    ) {
        let (y, class) = (middle(row), class(series));
        let (x, from, to) = (self.x(value), self.x(low), self.x(high));
        let _ = writeln!(
            self.body,
            "<path class=\"mark bar {class}\" d=\"M{from:.1} {y:.1}L{to:.1} {y:.1}M{from:.1} {:.1}v10M{to:.1} {:.1}v10\"/>\
             <circle class=\"mark {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            y - 5.0,
            y - 5.0,
            WIDTH - self.right + 10.0,
            y + 4.0,
            escape(word)
        );
        self.marks += 1;
    }

    /// A line across at a value of the first axis, that others are told from.
    pub(super) fn upright(&mut self, value: f64) {
        let x = self.x(value);
        let _ =
            writeln!(self.body, "<path class=\"zero\" d=\"M{x:.1} {ABOVE:.1}V{:.1}\"/>", ABOVE + self.height);
    }

    /// The plot as an SVG element of this name; nothing where it shows nothing.
    pub(super) fn svg(self, name: &str) -> Option<String> {
        if self.marks == 0 {
            return None;
        }
        let bottom = ABOVE + self.height;
        let (mut axes, right) = (String::new(), WIDTH - self.right);
        for (value, label) in &self.x.ticks {
            let x = self.x(*value);
            let _ = writeln!(
                axes,
                "<path class=\"grid\" d=\"M{x:.1} {ABOVE:.1}V{bottom:.1}\"/><text class=\"tick\" x=\"{x:.1}\" \
                 y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 16.0,
                escape(label)
            );
        }
        for (value, label) in self.y.iter().flat_map(|axis| &axis.ticks) {
            let y = self.y(*value);
            let _ = writeln!(
                axes,
                "<path class=\"grid\" d=\"M{:.1} {y:.1}H{right:.1}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                self.left,
                self.left - 6.0,
                y + 4.0,
                escape(label)
            );
        }
        let _ = writeln!(
            axes,
            "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            self.left + self.across() / 2.0,
            bottom + 36.0,
            escape(self.x.title)
        );
        if let Some(axis) = &self.y {
            let y = ABOVE + self.height / 2.0;
            let _ = writeln!(
                axes,
                "<text class=\"axis\" transform=\"translate(14 {y:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
                escape(axis.title)
            );
        }
        Some(format!(
            "<svg class=\"plot\" role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {WIDTH} {:.0}\">\n{axes}{}</svg>\n",
            escape(name),
            bottom + BELOW,
            self.body
        ))
    }
}

/// The height of a row.
const ROW: f64 = 28.0;

fn middle(row: usize) -> f64 {
    ABOVE + (row as f64 + 0.5) * ROW
}

/// Colours; series beyond them have the same ones again, and are dashed.
pub(super) const COLOURS: usize = 8;

/// The class of a series.
pub(super) fn class(series: usize) -> String {
    format!("s{} d{}", series % COLOURS, series / COLOURS)
}

fn cut(label: &str) -> String {
    if label.chars().count() <= LETTERS {
        return label.to_owned();
    }
    let kept: String = label.chars().take(LETTERS - 1).collect();
    format!("{kept}…")
}

/// Text in HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let linear = Scale::Linear { low: -3.2, high: 21.0 };
        assert_eq!(linear.round(), [0.0, 5.0, 10.0, 15.0, 20.0]);
        let log = Scale::Log { low: 0.0008, high: 0.3 };
        let ticks = log.round();
        assert!(ticks.len() >= 7 && ticks.iter().all(|it| (0.0008..=0.3).contains(it)), "{ticks:?}");
        let narrow = Scale::Log { low: 0.0021, high: 0.0034 }.round();
        assert!(!narrow.is_empty(), "{narrow:?}");
    }

    #[test]
    fn values_are_where_they_belong() {
        let log = Scale::Log { low: 1.0, high: 100.0 };
        assert!((log.part(10.0) - 0.5).abs() < 1e-12);
        let linear = Scale::of([1.0, 3.0].into_iter(), false).unwrap().with(0.0);
        assert!(linear.part(0.0) < 1e-12 && linear.part(2.0) > 0.5 && linear.part(9.0) <= 1.0);
        assert_eq!(Scale::of([f64::NAN].into_iter(), false), None);
    }

    #[test]
    fn a_plot_without_marks_is_none() {
        let axis = || Axis { title: "t", scale: Scale::Linear { low: 0.0, high: 1.0 }, ticks: Vec::new() };
        assert_eq!(Plot::new(axis(), axis(), 100.0).svg("empty"), None);
        let mut plot = Plot::of_rows(axis(), &["<a>"], 10);
        plot.interval(0, 9, (0.5, 0.2, 0.8), "word");
        let svg = plot.svg("one").unwrap();
        assert!(svg.contains("&lt;a&gt;") && svg.contains("s1 d1"), "{svg}");
    }
}

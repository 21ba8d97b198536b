//! The rules of a gate on what tracing costs: how far each figure may move, and what is known and borne for a while.

use std::{borrow::Cow, fmt, str::FromStr};

use jiff::civil::Date;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spangate_scenario::{
    Diagnostics, Finding, gate,
    model::ApiVersion,
    path::Path,
    schema,
    units::{Change, Ratio},
};

use super::Metric;

/// The rules of a gate on what tracing costs. One that is broken makes it red.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverheadRules {
    /// The version of this format.
    pub api_version: ApiVersion,
    /// The kind of this file.
    pub kind: OverheadRulesKind,
    /// Confidence of every interval, all looks at the measurement together.
    #[serde(default = "confidence")]
    pub confidence: Ratio,
    /// The rules, each of which is judged for every arm that it is about.
    pub rules: Vec<OverheadRule>,
    /// What is known to be red, and borne until a day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acknowledge: Vec<Acknowledgement>,
}

/// The kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OverheadRulesKind {
    /// Rules of a gate on what tracing costs.
    OverheadRules,
}

/// How far a figure may move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverheadRule {
    /// The figure.
    pub metric: Metric,
    /// The arm, or `*` for every one.
    #[serde(default = "every_arm")]
    pub arm: String,
    /// By how much it may be more or less than the reference's.
    pub change: Change,
}

/// A figure that is known to break its rule, and may until a day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Acknowledgement {
    /// The figure.
    pub metric: Metric,
    /// The arm, or `*` for every one.
    #[serde(default = "every_arm")]
    pub arm: String,
    /// The last day on which it is borne (UTC).
    pub until: Day,
    /// Why it is borne.
    pub reason: String,
}

/// A day: `2027-01-31`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day(pub Date);

/// Text that is no day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a day such as \"2027-01-31\", got {0:?}")]
pub struct NoDay(String);

fn confidence() -> Ratio {
    Ratio::new_unchecked(0.99)
}

fn every_arm() -> String {
    OverheadRules::EVERY_ARM.to_owned()
}

/// Reads rules, and says all that is wrong with them at once; `name` is shown in messages.
pub fn parse(name: &str, text: &str) -> Result<OverheadRules, Diagnostics> {
    let help = "rules begin with `apiVersion: spangate/v1alpha1` and `kind: OverheadRules`";
    gate::parse(name, text, help, validate)
}

/// The JSON Schema of files with such rules.
pub fn rules_schema() -> Value {
    schema::schema::<OverheadRules>(
        "https://spangate.dev/schemas/overhead-rules.v1alpha1.schema.json",
        "Rules of a Spangate gate on overhead",
    )
}

fn validate(rules: &OverheadRules) -> Vec<Finding> {
    let root = Path::root();
    let mut findings = Vec::new();
    let confidence = rules.confidence.get();
    if !(OverheadRules::LEAST_CONFIDENCE..1.0).contains(&confidence) {
        findings.push(Finding::new(root.key("confidence"), "must be at least 80%, less than 100%", None));
    }
    if rules.rules.is_empty() {
        let message = "has no rule, so the gate would always be green";
        findings.push(Finding::new(root.key("rules"), message, None));
    }
    for (index, rule) in rules.rules.iter().enumerate() {
        let same = |other: &OverheadRule| other.metric == rule.metric && other.arm == rule.arm;
        if rules.rules[..index].iter().any(same) {
            let message = format!("there is a rule on {} of this arm already", rule.metric.key());
            findings.push(Finding::new(root.key("rules").index(index), message, None));
        }
    }
    for (index, known) in rules.acknowledge.iter().enumerate() {
        let at = root.key("acknowledge").index(index);
        if known.reason.trim().is_empty() {
            findings.push(Finding::new(at.key("reason"), "is empty: say why it is borne", None));
        }
        let about = |rule: &OverheadRule| {
            rule.metric == known.metric
                && (rule.arm == known.arm
                    || [&rule.arm, &known.arm].iter().any(|arm| *arm == OverheadRules::EVERY_ARM))
        };
        if !rules.rules.iter().any(about) {
            let message = format!("no rule is about {} of this arm", known.metric.key());
            findings.push(Finding::new(at.key("metric"), message, None));
        }
    }
    findings
}

// === impl OverheadRules ===

impl OverheadRules {
    /// Stands for every arm but the reference.
    pub const EVERY_ARM: &str = "*";
    /// The least confidence that a gate may have: below, it is red more often than anybody bears.
    const LEAST_CONFIDENCE: f64 = 0.8;

    /// What there is to say when nobody said anything: 5 % of CPU time a request, 10 % of memory, 10 % of the 99th
    /// percentile of response time.
    #[expect(clippy::missing_panics_doc, reason = "the parts are fit to be changes")]
    pub fn default_rules() -> Self {
        let rule = |(metric, more)| OverheadRule {
            metric,
            arm: every_arm(),
            change: Change::at_most(more).expect("a part is above 0"),
        };
        let rules = [(Metric::CpuPerRequest, 0.05), (Metric::Rss, 0.1), (Metric::ResponseP99, 0.1)];
        Self {
            api_version: ApiVersion::V1Alpha1,
            kind: OverheadRulesKind::OverheadRules,
            confidence: confidence(),
            rules: rules.map(rule).into(),
            acknowledge: Vec::new(),
        }
    }

    /// What is known of a figure of an arm, the one that ends last.
    pub(crate) fn known(&self, metric: Metric, arm: &str) -> Option<&Acknowledgement> {
        let about = |known: &&Acknowledgement| {
            known.metric == metric && (known.arm == Self::EVERY_ARM || known.arm == arm)
        };
        self.acknowledge.iter().filter(about).max_by_key(|known| known.until)
    }

    /// The most that gates of two equal arms are red, as a part: every rule whose interval leaves out that there is no
    /// change, to the side that it is about. What the thresholds add to that is not counted.
    pub fn false_red(&self, arms: usize) -> f64 {
        let alpha = 1.0 - self.confidence.get();
        let sides = |rule: &OverheadRule| {
            let sides = u8::from(rule.change.more().is_some()) + u8::from(rule.change.less().is_some());
            f64::from(sides) * alpha / 2.0 * if rule.arm == Self::EVERY_ARM { arms as f64 } else { 1.0 }
        };
        self.rules.iter().map(sides).sum::<f64>().min(1.0)
    }
}

impl OverheadRule {
    /// Whether it is about this arm.
    pub(crate) fn is_about(&self, arm: &str) -> bool {
        self.arm == OverheadRules::EVERY_ARM || self.arm == arm
    }
}

impl fmt::Display for OverheadRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.metric.key(), self.change)?;
        if self.arm == OverheadRules::EVERY_ARM { Ok(()) } else { write!(f, " of {}", self.arm) }
    }
}

// === impl Day ===

impl FromStr for Day {
    type Err = NoDay;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Only this form: jiff reads times too.
        let form = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let day = text.parse().ok().filter(|_| form);
        day.map(Self).ok_or_else(|| NoDay(text.to_owned()))
    }
}

impl TryFrom<String> for Day {
    type Error = NoDay;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.to_string()
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for Day {
    fn schema_name() -> Cow<'static, str> {
        "Day".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date", "examples": ["2027-01-31"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_rules_are_read_back() {
        let rules = OverheadRules::default_rules();
        let shown: Vec<String> = rules.rules.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["cpuPerRequest < +5%", "rss < +10%", "responseP99 < +10%"]);
        let text = serde_json::to_string_pretty(&rules).unwrap();
        assert_eq!(parse("rules.yaml", &text).unwrap(), rules, "{text}");
        assert!((rules.false_red(1) - 0.015).abs() < 1e-12);
    }

    #[test]
    fn the_rules_of_the_documentation_are_valid() {
        let page = include_str!("../../../../docs/gate-overhead.md");
        let text = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let rules = parse("gate-overhead.md", text).unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!(rules.rules[..3], OverheadRules::default_rules().rules);
        assert_eq!((rules.rules.len(), rules.acknowledge.len()), (4, 1));
    }

    #[test]
    fn every_mistake_has_its_place() {
        let text = "\
apiVersion: spangate/v1alpha1
kind: OverheadRules
confidence: 50%
rules:
  - {metric: cpuPerRequest, change: < +5%}
  - {metric: cpuPerRequest, change: < +7%}
  - {metric: cpuPerRequests, change: < +5%}
  - {metric: rss, change: 5%}
acknowledge:
  - {metric: rss, until: 2027-02-30, reason: later}
  - {metric: loss, until: 2027-01-31, reason: ' '}
";
        let diagnostics = parse("rules.yaml", text).unwrap_err();
        let found: Vec<_> =
            diagnostics.problems().iter().map(|it| (it.line(), it.path().to_string())).collect();
        let wanted = [(7, "rules[2].metric"), (8, "rules[3].change"), (10, "acknowledge[0].until")];
        for (line, path) in wanted {
            assert!(found.contains(&(line, path.to_owned())), "{found:?}");
        }
        let text = text.replace("cpuPerRequests", "responseP99").replace("change: 5%", "change: '> -5%'");
        let diagnostics = parse("rules.yaml", &text.replace("02-30", "02-28")).unwrap_err();
        let found: Vec<_> =
            diagnostics.problems().iter().map(|it| (it.line(), it.path().to_string())).collect();
        let wanted = [
            (3, "confidence"),
            (6, "rules[1]"),
            (11, "acknowledge[1].metric"),
            (11, "acknowledge[1].reason"),
        ];
        for (line, path) in wanted {
            assert!(found.contains(&(line, path.to_owned())), "{found:?}");
        }
    }
}

//! The rules of a gate between two configurations: what must not get worse.
//!
//! ```
//! use spangate_scenario::gate;
//!
//! let text = "
//! apiVersion: spangate/v1alpha1
//! kind: GateRules
//! rules:
//!   - kept: {class: errors, share: 100%}
//!   - cpuPerSpan: < +10%
//! ";
//! let rules = gate::parse_rules("rules.yaml", text, &["errors"])?;
//! assert_eq!(rules.rules[1].to_string(), "cpuPerSpan < +10%");
//! # Ok::<(), spangate_scenario::Diagnostics>(())
//! ```

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    diagnostics::Diagnostics,
    file::MAX_BYTES,
    model::{ApiVersion, Traffic, TrafficClass},
    path::Path,
    read::{Mistake, Reader},
    suggest,
    units::{Bound, Comparison, Growth, Ratio},
    validate::{Finding, validate_traffic},
    yaml,
};

/// The rules of a gate. One that is broken makes it red.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GateRules {
    /// The version of this format.
    pub api_version: ApiVersion,
    /// The kind of this file.
    pub kind: GateRulesKind,
    /// Confidence of every interval of a share.
    #[serde(default = "confidence")]
    pub confidence: Ratio,
    /// The rules, each of which is judged.
    pub rules: Vec<GateRule>,
}

/// The kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GateRulesKind {
    /// Rules of a gate.
    GateRules,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum GateRule {
    /// The share of a class that the new configuration keeps.
    Kept(KeptRule),
    /// Traces that the new configuration pushes out undecided, all rounds together.
    DroppedTooEarly(Bound<u64>),
    /// The share of spans that the new configuration does not take.
    Refused(Bound<Ratio>),
    /// What the new configuration keeps is what its samplers have to keep.
    AsForetold(Foretelling),
    /// The new configuration keeps no less of a class than the old one.
    NoLess(NoLessRule),
    /// CPU time of the Collector for each span.
    CpuPerSpan(Growth),
    /// The most memory of the Collector that was ever resident.
    PeakRss(Growth),
    /// Bytes that the Collector sends.
    BytesOut(Growth),
}

/// A share of a class that must be kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeptRule {
    /// A class of the traffic, or `*` for each of them.
    pub class: String,
    /// The share of its traces that must be kept.
    pub share: Bound<Ratio>,
    /// Where all must be kept: the loss that must be sure to show. With fewer traces the rule is inconclusive.
    #[serde(default = "one_in_a_thousand")]
    pub within: Ratio,
}

/// A class that must not shrink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NoLessRule {
    /// A class of the traffic, or `*` for each of them.
    pub class: String,
    /// The part of the class that may be lost all the same; a difference of shares, in percentage points.
    pub by: Ratio,
}

/// What to do about a configuration of which nothing can be foretold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Foretelling {
    /// It is told, and the rule holds.
    WherePossible,
    /// The rule is inconclusive.
    Always,
}

fn confidence() -> Ratio {
    Ratio::new_unchecked(0.99)
}

fn one_in_a_thousand() -> Ratio {
    Ratio::new_unchecked(0.001)
}

/// Reads rules; `name` is shown in messages, `classes` are those of the traffic that they are about.
pub fn parse_rules(name: &str, text: &str, classes: &[&str]) -> Result<GateRules, Diagnostics> {
    parse(name, text, "rules begin with `apiVersion: spangate/v1alpha1` and `kind: GateRules`", |rules| {
        validate_rules(rules, classes)
    })
}

/// Reads a model of synthetic traces: what stands below `load.traces` in a scenario, in a file of its own.
pub fn parse_traffic(name: &str, text: &str) -> Result<Traffic, Diagnostics> {
    let help = "a model of traffic has the keys of `load.traces` in a scenario: `rate`, `for`, `classes`";
    parse(name, text, help, |traffic| validate_traffic(traffic, &Path::root()))
}

/// Reads a model from a file of its own, and checks what was read; `if_empty` says how such a file begins.
pub fn parse<T: DeserializeOwned>(
    name: &str,
    text: &str,
    if_empty: &str,
    validate: impl FnOnce(&T) -> Vec<Finding>,
) -> Result<T, Diagnostics> {
    let fail = |mistakes| Err(Diagnostics::new(name, text, mistakes));
    let whole = |message: &str, help: Option<&str>| {
        let (message, help) = (message.to_owned(), help.map(str::to_owned));
        Mistake { path: Path::root(), span: 0..0, message, help }
    };
    if text.len() > MAX_BYTES {
        return fail(vec![whole("the file is longer than 1 MiB", None)]);
    }
    let root = match yaml::parse(text) {
        Ok(Some(root)) => root,
        Ok(None) => return fail(vec![whole("the file is empty", Some(if_empty))]),
        Err(error) => {
            let (span, message, help) = (error.span, error.message, error.help);
            return fail(vec![Mistake { path: Path::root(), span, message, help }]);
        }
    };
    let reader = Reader::default();
    let model: Option<T> = reader.read(&root, &Path::root());
    for finding in model.as_ref().map(validate).unwrap_or_default() {
        reader.note_finding(&root, finding);
    }
    let mistakes = reader.into_mistakes();
    match model {
        Some(model) if mistakes.is_empty() => Ok(model),
        _ => fail(mistakes),
    }
}

fn validate_rules(rules: &GateRules, classes: &[&str]) -> Vec<Finding> {
    let root = Path::root();
    let mut findings = Vec::new();
    let mut add = |path: Path, message: String, help: Option<String>| {
        findings.push(Finding { path, message, help, rests_on: Vec::new() });
    };
    let confidence = rules.confidence.get();
    if confidence <= 0.0 || confidence >= 1.0 {
        add(root.key("confidence"), "must be greater than 0%, less than 100%".to_owned(), None);
    }
    if rules.rules.is_empty() {
        add(root.key("rules"), "has no rule, so the gate would always be green".to_owned(), None);
    }
    for (index, rule) in rules.rules.iter().enumerate() {
        let at = root.key("rules").index(index).key(rule.key());
        let class = match rule {
            GateRule::Kept(rule) => {
                if matches!(rule.share, Bound::One(Comparison::NotEqual, _)) {
                    add(at.key("share"), "`!=` is no bound that an interval can be within".to_owned(), None);
                }
                if rule.within.get() <= 0.0 {
                    add(at.key("within"), "must be greater than 0%".to_owned(), None);
                }
                &rule.class
            }
            GateRule::NoLess(rule) => &rule.class,
            _ => continue,
        };
        if class != GateRule::EVERY_CLASS && !classes.contains(&class.as_str()) {
            let message = format!("the traffic has no class `{class}`");
            add(at.key("class"), message, Some(suggest::help(class, classes)));
        }
    }
    findings
}

// === impl GateRules ===

impl GateRules {
    /// The rules of a gate that was given none: of `classes`, those with errors and the one called `slow` are kept
    /// whole, and no class shrinks; nothing is dropped too early or refused; samplers do what they say; cost does not
    /// grow.
    pub fn default_for(classes: &[TrafficClass]) -> Self {
        let whole = classes.iter().filter_map(|class| {
            let within = match class.name.as_str() {
                _ if class.error => one_in_a_thousand(),
                // There are fewer of them.
                "slow" => Ratio::new_unchecked(0.005),
                _ => return None,
            };
            let share = Bound::equal(Ratio::one());
            Some(GateRule::Kept(KeptRule { class: class.name.clone(), share, within }))
        });
        let others = [
            GateRule::DroppedTooEarly(Bound::equal(0)),
            GateRule::Refused(Bound::equal(Ratio::new_unchecked(0.0))),
            GateRule::AsForetold(Foretelling::WherePossible),
            GateRule::NoLess(NoLessRule {
                class: GateRule::EVERY_CLASS.to_owned(),
                by: Ratio::new_unchecked(0.005),
            }),
        ];
        let costs = [(0.1, GateRule::CpuPerSpan as fn(Growth) -> GateRule), (0.2, GateRule::PeakRss)];
        let costs = costs.into_iter().filter_map(|(most, rule)| Some(rule(Growth::by(most)?)));
        Self {
            api_version: ApiVersion::V1Alpha1,
            kind: GateRulesKind::GateRules,
            confidence: confidence(),
            rules: whole.chain(others).chain(costs).collect(),
        }
    }

    /// The rules as YAML; [`parse_rules`] reads it back.
    pub fn to_yaml(&self) -> Result<String, String> {
        yaml::write(self)
    }
}

// === impl GateRule ===

impl GateRule {
    /// Stands for each class of the traffic.
    pub const EVERY_CLASS: &str = "*";

    /// The key that the rule has in a file.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Kept(_) => "kept",
            Self::DroppedTooEarly(_) => "droppedTooEarly",
            Self::Refused(_) => "refused",
            Self::AsForetold(_) => "asForetold",
            Self::NoLess(_) => "noLess",
            Self::CpuPerSpan(_) => "cpuPerSpan",
            Self::PeakRss(_) => "peakRss",
            Self::BytesOut(_) => "bytesOut",
        }
    }
}

impl fmt::Display for GateRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key();
        match self {
            Self::Kept(rule) => write!(f, "{key} {} {}", rule.class, rule.share),
            Self::DroppedTooEarly(bound) => write!(f, "{key} {bound}"),
            Self::Refused(bound) => write!(f, "{key} {bound}"),
            Self::AsForetold(Foretelling::WherePossible) => write!(f, "{key} where possible"),
            Self::AsForetold(Foretelling::Always) => write!(f, "{key} always"),
            Self::NoLess(rule) => write!(f, "{key} {} by {}", rule.class, rule.by),
            Self::CpuPerSpan(most) | Self::PeakRss(most) | Self::BytesOut(most) => write!(f, "{key} {most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: [&str; 2] = ["errors", "normal"];

    #[test]
    fn the_default_rules_are_read_back() {
        let ratio = |share| Ratio::new(share).unwrap();
        let errors = TrafficClass { error: true, ..TrafficClass::new("errors", ratio(0.2)) };
        let rules = GateRules::default_for(&[errors, TrafficClass::new("normal", ratio(0.8))]);
        let shown: Vec<String> = rules.rules.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "kept errors = 100%",
                "droppedTooEarly = 0",
                "refused = 0%",
                "asForetold where possible",
                "noLess * by 0.5%",
                "cpuPerSpan < +10%",
                "peakRss < +20%",
            ]
        );
        let text = rules.to_yaml().unwrap();
        assert_eq!(parse_rules("rules.yaml", &text, &CLASSES).unwrap(), rules, "{text}");
    }

    #[test]
    fn every_mistake_has_its_place() {
        let text = "\
apiVersion: spangate/v1alpha1
kind: GateRules
confidence: 100%
rules:
  - kept: {class: error, share: '!= 5%', within: 0%}
  - noLess: {class: '*'}
  - cpuPerSpan: 10%
  - peakRsss: < +20%
";
        let diagnostics = parse_rules("rules.yaml", text, &CLASSES).unwrap_err();
        let found: Vec<_> =
            diagnostics.problems().iter().map(|it| (it.line(), it.path().to_string())).collect();
        let wanted = [
            (3, "confidence"),
            (5, "rules[0].kept.class"),
            (5, "rules[0].kept.share"),
            (5, "rules[0].kept.within"),
            (6, "rules[1].noLess"),
            (7, "rules[2].cpuPerSpan"),
            (8, "rules[3]"),
        ];
        assert_eq!(found, wanted.map(|(line, path)| (line, path.to_owned())));
        let class = &diagnostics.problems()[1];
        assert_eq!(class.to_string(), "the traffic has no class `error`");
        assert_eq!(class.advice(), Some("did you mean `errors`?"));
    }

    #[test]
    fn traffic_is_read_from_a_file_of_its_own() {
        let text = "rate: 10/s\nfor: 1s\nclasses: [{name: all, share: 90%}]\n";
        let diagnostics = parse_traffic("traffic.yaml", text).unwrap_err();
        assert_eq!(diagnostics.problems()[0].to_string(), "the shares of all classes are 90%, not 100%");
        assert!(parse_traffic("traffic.yaml", &text.replace("90%", "100%")).is_ok());
    }
}

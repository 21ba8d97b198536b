//! Baselines: figures that were saved under a name, and new ones held against them.
//!
//! Spans and bytes of a request are the same on every machine, so they may travel with a repository. CPU times and latencies
//! are kept too, and are compared on the machine that they are of alone.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use spangate_scenario::{model::ApiVersion, units::Change};
use spangate_trace::stats::{
    Bootstrap,
    effect::{detectable_by, fewest, ratio_of_apart},
    median_value, rank_sum,
};

use super::{
    Comparison, Measured, Metric, OverheadRules,
    compare::{ArmRow, Effect, Method, POWER, compare_by},
    gate::{Look, measurements_that_count},
    judge::{about_none, judge_arm},
    rules::OverheadRule,
};
use crate::{error::CommandError, measure::Machine, report::overall, verdict::Verdict};

/// Figures that were saved under a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Baseline {
    /// The version of this format.
    pub api_version: ApiVersion,
    /// `Baseline`.
    pub kind: BaselineKind,
    /// Its name.
    pub name: String,
    /// When it was saved (RFC 3339).
    pub saved: String,
    /// What was measured.
    pub measured: Measured,
}

/// The kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BaselineKind {
    /// A baseline.
    Baseline,
}

// === impl Baseline ===

impl Baseline {
    /// Where baselines are kept unless the user says otherwise.
    pub const ROOT: &'static str = "baselines";

    /// What was measured, under a name.
    pub fn new(name: &str, saved: String, measured: Measured) -> Self {
        let (api_version, kind) = (ApiVersion::V1Alpha1, BaselineKind::Baseline);
        Self { api_version, kind, name: name.to_owned(), saved, measured }
    }

    /// Reads a baseline.
    pub fn read(path: &Path) -> Result<Self, CommandError> {
        let text = fs::read_to_string(path).map_err(|error| {
            CommandError::usage(format!("cannot read the baseline {}", path.display()))
                .because(error)
                .help("save one with `spangate baseline save NAME DIR`")
        })?;
        serde_json::from_str(&text).map_err(|error| {
            CommandError::usage(format!("{} is not a baseline", path.display())).because(error)
        })
    }

    /// Writes it, a unit a line or so: what changes is what a diff shows.
    pub fn write(&self, path: &Path) -> Result<(), CommandError> {
        let unwritable =
            |error| CommandError::environment(format!("cannot write {}", path.display())).because(error);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(unwritable)?;
        }
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| CommandError::bug("cannot write the baseline as JSON").because(error))?;
        text.push('\n');
        fs::write(path, text).map_err(unwritable)
    }

    /// Whether figures that were measured are of the same kind of machine, so that times may be compared.
    pub fn is_of_the_machine_of(&self, measured: &Measured) -> bool {
        let (was, is) = (&self.measured.key, &measured.key);
        Machine::same_cpus((&was.cpu, was.cores), (&is.cpu, is.cores))
    }

    /// Holds figures against it, arm by arm, and judges them. Of another machine only what travels is compared.
    ///
    /// # Errors
    ///
    /// When they are not of the same experiment.
    pub fn look(&self, measured: &Measured, rules: &OverheadRules) -> Result<Look, CommandError> {
        let (was, is) = (&self.measured.key.experiment, &measured.key.experiment);
        if was != is {
            return Err(CommandError::usage(format!(
                "the baseline {} is of {was}, and not of {is}",
                self.name
            ))
            .help("hold it against a run of the same scenario or experiment"));
        }
        let method = Method { confidence: rules.confidence.get(), ..Method::default() };
        let (old, new) = (compare_by(&self.measured, &method), compare_by(measured, &method));
        let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        let mut look = Look {
            comparison: Comparison { reference: self.reference(), arms: Vec::new(), ..new.clone() },
            verdicts: Vec::new(),
            status: overall(&[]),
        };
        for row in &new.arms {
            let Some(before) = old.arms.iter().find(|it| it.arm.name == row.arm.name) else { continue };
            let row = self.against(row, measured, &method);
            let mut before = before.clone();
            before.arm.name = self.reference();
            let pair = Comparison {
                reference: self.reference(),
                arms: vec![before, row.clone()],
                ..look.comparison.clone()
            };
            look.verdicts.extend(judge_arm(&pair, &row.arm.name, rules, today));
            look.comparison.arms.push(row);
        }
        let arms: Vec<&str> = look.comparison.arms.iter().map(|row| row.arm.name.as_str()).collect();
        look.verdicts.extend(rules.rules.iter().filter_map(|rule| about_none(rule, &arms)));
        for row in old.arms.iter().filter(|row| !arms.contains(&row.arm.name.as_str())) {
            let mut verdict = Verdict::new(row.arm.name.clone());
            verdict.undecided("it is in the baseline and was not measured");
            look.verdicts.push(verdict);
        }
        if look.comparison.arms.is_empty() {
            let arms: Vec<&str> = self.measured.arms.iter().map(|arm| arm.name.as_str()).collect();
            let message = format!("no arm of the baseline {} was measured", self.name);
            return Err(CommandError::usage(message).help(format!("it has {}", arms.join(", "))));
        }
        look.verdicts.extend(measurements_that_count(measured));
        look.status = overall(&look.verdicts);
        Ok(look)
    }

    /// What a reader should know of figures that are held against it.
    pub fn warnings(&self, measured: &Measured) -> Vec<String> {
        let (was, is) = (&self.measured.key, &measured.key);
        let mut warnings = Vec::new();
        if was.hash != is.hash {
            warnings.push(format!(
                "{} was changed since the baseline was saved, so that other requests may be behind the figures",
                is.experiment
            ));
        }
        for arm in measured.arms.iter().filter(|arm| !self.measured.arms.iter().any(|it| it.name == arm.name))
        {
            warnings.push(format!("the baseline has no {}: nothing is said of it", arm.name));
        }
        if !self.is_of_the_machine_of(measured) {
            warnings.push(format!(
                "the baseline is of {} x {}, and this of {} x {}: times and memory are not compared",
                was.cores, was.cpu, is.cores, is.cpu
            ));
        }
        warnings
    }

    fn reference(&self) -> String {
        format!("baseline {}", self.name)
    }

    /// The figures of an arm with what they are of the baseline's.
    fn against(&self, row: &ArmRow, measured: &Measured, method: &Method) -> ArmRow {
        let mut row = row.clone();
        for figure in &mut row.figures {
            let values = |of: &Measured| -> Vec<f64> {
                of.by_round(&row.arm.name, figure.metric).into_values().collect()
            };
            let may = figure.metric.travels() || self.is_of_the_machine_of(measured);
            figure.effect =
                may.then(|| effect_apart(&values(&self.measured), &values(measured), method)).flatten();
        }
        row
    }

    /// The rules unless there are others: what travels, as far as it was saved, may hardly move. Times are told and not judged,
    /// since from one start to the next they differ by more than anybody wants to know.
    #[expect(clippy::missing_panics_doc, reason = "the changes are written here")]
    pub fn default_rules(&self) -> OverheadRules {
        let rule = |(metric, change): (Metric, &str)| OverheadRule {
            metric,
            arm: OverheadRules::EVERY_ARM.to_owned(),
            change: change.parse::<Change>().expect("it is a change"),
        };
        let rules = [(Metric::SpansPerRequest, "-5%..+5%"), (Metric::BytesPerRequest, "< +10%")];
        let saved = |(metric, _): &(Metric, &str)| {
            self.measured.units.iter().any(|unit| unit.figures.contains_key(metric))
        };
        let rules = rules.into_iter().filter(saved).map(rule).collect();
        OverheadRules { rules, ..OverheadRules::default_rules() }
    }
}

/// What values are of others that were measured apart; pairs are as many as the smaller side has values.
fn effect_apart(before: &[f64], after: &[f64], method: &Method) -> Option<Effect> {
    let bootstrap = Bootstrap { confidence: method.confidence, seed: method.seed, ..Bootstrap::default() };
    let ratio = ratio_of_apart(before, after, &bootstrap)?;
    let pairs = before.len().min(after.len()) as u64;
    Some(Effect {
        pairs,
        from_nothing: 0,
        reference: median_value(before)?,
        value: median_value(after)?,
        ratio,
        p: rank_sum(before, after),
        equivalence: ratio.equivalence(method.margin),
        spread: None,
        detectable: (pairs >= fewest(method.confidence))
            .then(|| detectable_by(&ratio, method.confidence, POWER))
            .flatten(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{overhead::testing::measured, verdict::Status};

    /// Twelve rounds with some spans and CPU time a request.
    fn spans(spans: f64, cpu: f64) -> Measured {
        let mut measured = measured(12, |round| {
            let cpu = cpu * (1.0 + f64::from(round % 4) / 100.0);
            (cpu, cpu)
        });
        for unit in &mut measured.units {
            unit.figures.insert(Metric::SpansPerRequest, spans * (1.0 + f64::from(unit.round % 3) / 1e3));
            unit.figures.insert(Metric::BytesPerRequest, 450.0 * spans);
        }
        measured
    }

    fn saved() -> Baseline {
        Baseline::new("main", "today".to_owned(), spans(9.0, 1e-3))
    }

    fn statuses(new: &Measured, rules: &OverheadRules) -> Vec<(String, Status)> {
        let look = saved().look(new, rules).unwrap();
        look.verdicts.into_iter().map(|verdict| (verdict.expectation, verdict.status)).collect()
    }

    #[test]
    fn a_span_more_is_red_and_the_same_is_green() {
        let rules = saved().default_rules();
        assert!(statuses(&spans(9.0, 1e-3), &rules).iter().all(|(_, status)| *status == Status::Pass));
        let more = statuses(&spans(10.0, 1e-3), &rules);
        assert_eq!(more.len(), 4);
        assert!(more.iter().all(|(_, status)| *status == Status::Fail), "{more:?}");
        let fewer = statuses(&spans(8.0, 1e-3), &rules);
        assert!(fewer.contains(&("head: spansPerRequest -5%..+5%".to_owned(), Status::Fail)), "{fewer:?}");
    }

    /// Scenario: CPU time has grown by half, on the same machine and on another one.
    /// Guarantees: it is red on the same one; on another it is not compared, and not green.
    #[test]
    fn times_do_not_travel() {
        let rules = OverheadRules {
            rules: vec![OverheadRules::default_rules().rules[0].clone()],
            ..saved().default_rules()
        };
        let mut new = spans(9.0, 1.5e-3);
        assert!(statuses(&new, &rules).iter().all(|(_, status)| *status == Status::Fail));
        new.key.cpu = "another".to_owned();
        assert!(statuses(&new, &rules).iter().all(|(_, status)| *status == Status::Inconclusive));
        new.units.iter_mut().step_by(3).for_each(|unit| unit.excluded = Some("too busy".to_owned()));
        let open = ("measurements that count".to_owned(), Status::Inconclusive);
        assert!(statuses(&new, &saved().default_rules()).contains(&open));
        new.units.iter_mut().for_each(|unit| unit.excluded = None);
        assert!(statuses(&new, &saved().default_rules()).iter().all(|(_, status)| *status == Status::Pass));
    }

    /// Scenario: an arm of the baseline is not measured again; a rule is about one of several arms, another about none.
    /// Guarantees: what was left out is never green, and a rule is judged for the arm that it names and for no other.
    #[test]
    fn arms_are_judged_for_themselves() {
        let mut rules = saved().default_rules();
        rules.rules.truncate(1);
        rules.rules[0].arm = "head".to_owned();
        let named = statuses(&spans(9.0, 1e-3), &rules);
        assert_eq!(named, [("head: spansPerRequest -5%..+5%".to_owned(), Status::Pass)]);
        rules.rules[0].arm = "none".to_owned();
        assert!(
            statuses(&spans(9.0, 1e-3), &rules).iter().all(|(_, status)| *status == Status::Inconclusive)
        );
        let mut new = spans(9.0, 1e-3);
        new.arms.truncate(1);
        new.units.retain(|unit| unit.arm == "base");
        let left_out = statuses(&new, &saved().default_rules());
        assert!(left_out.contains(&("head".to_owned(), Status::Inconclusive)), "{left_out:?}");
    }

    #[test]
    fn another_experiment_is_no_measure() {
        let mut new = spans(9.0, 1e-3);
        new.key.experiment = "other".to_owned();
        assert!(saved().look(&new, &saved().default_rules()).is_err());
        let mut new = spans(9.0, 1e-3);
        new.arms.iter_mut().for_each(|arm| arm.name.push('2'));
        new.units.iter_mut().for_each(|unit| unit.arm.push('2'));
        assert!(saved().look(&new, &saved().default_rules()).is_err());
    }

    #[test]
    fn a_baseline_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/main.json");
        saved().write(&path).unwrap();
        assert_eq!(Baseline::read(&path).unwrap(), saved());
        fs::write(&path, "{}").unwrap();
        assert!(Baseline::read(&path).unwrap_err().to_string().contains("is not a baseline"));
    }
}

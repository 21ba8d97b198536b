//! What is to be said beside the tables of a report.

use std::fmt::Write as _;

use spangate_trace::stats::{Equivalence, effect::fewest, median_value};

use super::{ExperimentReport, tables::interval};
use crate::{
    bench::experiment::linear::Linear, measure::Beside, overhead::compare::Pairing, text, verdict::Status,
};

// === impl ExperimentReport ===

impl ExperimentReport {
    /// What is to be said beside the tables, one paragraph each.
    pub(in crate::bench::experiment) fn remarks(&self) -> Vec<String> {
        let mut remarks: Vec<String> = self.linear.iter().map(|linear| self.straight(linear)).collect();
        remarks.extend(self.same_or_not());
        let compared = self.comparison.arms.iter().filter_map(|row| row.main_effect()?.detectable);
        if let Some(most) = compared.max_by(f64::total_cmp) {
            remarks.push(format!(
                "So many pairs show a difference of CPU of {:.1}% or more in four experiments of five; what is less may be \
                 missed.",
                most * 100.0
            ));
        }
        remarks.extend(self.beside());
        remarks.extend(self.warnings.iter().map(|warning| format!("Note: {warning}.")));
        for verdict in self.verdicts().iter().filter(|verdict| verdict.status != Status::Pass) {
            remarks.push(format!("{} is inconclusive: {}.", verdict.expectation, verdict.reasons.join("; ")));
        }
        remarks
    }

    /// Whether CPU is the same as that of the reference, by all of the interval, with ranks as a second opinion.
    fn same_or_not(&self) -> Option<String> {
        let method = &self.comparison.method;
        let needed = fewest(method.confidence);
        let arms: Vec<_> = self
            .comparison
            .arms
            .iter()
            .filter_map(|row| {
                Some((row.arm.name.as_str(), row.main_effect().filter(|it| it.pairs >= needed)?))
            })
            .collect();
        let kinds = [
            (Equivalence::Equivalent, "the same"),
            (Equivalence::Different, "different"),
            (Equivalence::Undecided, "undecided"),
        ];
        let said = kinds.into_iter().filter_map(|(kind, name)| {
            let of_kind = arms.iter().filter(|(_, effect)| effect.equivalence == kind);
            let names: Vec<String> =
                of_kind.map(|(arm, effect)| format!("{arm} (p={:.1e})", effect.p)).collect();
            (!names.is_empty()).then(|| format!("{name}: {}", names.join(", ")))
        });
        let said: Vec<String> = said.collect();
        let (reference, margin) = (&self.measured.reference, text::percent(method.margin));
        (!said.is_empty()).then(|| {
            format!(
                "CPU against {reference}, all of the interval at a margin of {margin}, and p by ranks: {}.",
                said.join("; ")
            )
        })
    }

    /// What went on beside the units that count: whether their figures are of the processes alone.
    fn beside(&self) -> Option<String> {
        let counted = self.measured.units.iter().filter(|unit| unit.excluded.is_none());
        let all: Vec<Beside> = counted.filter_map(|unit| unit.beside).collect();
        let told = |of: fn(&Beside) -> Option<f64>, what: &str| {
            let values: Vec<f64> = all.iter().filter_map(of).collect();
            let (middle, most) = (median_value(&values)?, values.iter().copied().reduce(f64::max)?);
            Some(format!("{what} {}, at most {}", text::percent(middle), text::percent(most)))
        };
        let told = [
            told(|it| it.others, "processes that are no part of it used"),
            told(|it| it.stolen, "the machine below took"),
            told(|it| it.cpu_pressure, "some thread waited for a CPU for"),
            told(|it| it.io_pressure, "for a disk for"),
        ];
        let told: Vec<String> = told.into_iter().flatten().collect();
        (!told.is_empty()).then(|| format!("Beside the units, medians: {}.", told.join("; ")))
    }

    /// What the straight line says, in words.
    fn straight(&self, linear: &Linear) -> String {
        let time = |seconds: f64| text::float(seconds * 1e9);
        let mut out = format!(
            "CPU a request at a sampling rate p is {} + p x {} by {} and {}.",
            interval(&linear.base, time),
            interval(&linear.cost, time),
            linear.from,
            linear.to
        );
        for it in &linear.between {
            let verdict = match it.differs.contains(0.0) {
                _ if it.rounds < fewest(self.comparison.method.confidence) => "undecided",
                true => "not told from the line",
                false => "NOT on the line",
            };
            let _ = write!(
                out,
                " {} is {verdict}: {} more than {} ({} rounds).",
                it.arm,
                interval(&it.differs, time),
                time(it.expected),
                it.rounds
            );
        }
        out
    }

    /// Where the figures are from.
    pub(in crate::bench::experiment) fn foot(&self) -> String {
        let key = &self.measured.key;
        let versions: Vec<String> =
            key.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let looks = self.stop.map_or_else(String::new, |stop| {
            let plan = stop.plan();
            let at: Vec<String> = plan.at().iter().map(u32::to_string).collect();
            let all = stop.confidence * 100.0;
            format!(
                " Looks are after {} rounds, and all of them together are right with {all}%.",
                at.join(", ")
            )
        });
        let pairs = match self.comparison.method.pairing {
            Pairing::InTurn => "ratio of the medians, by pairs of the same round",
            Pairing::AtOnce => "median of the ratios of pairs that ran at the same time",
        };
        format!(
            "Medians of units with {}% intervals of the bootstrap, each unit with processes of its own; against {}: \
             {pairs}.{looks} CPU time is without what the process uses at rest. {} cores \
             ({}), Linux {}; {}; {}.",
            (self.comparison.method.confidence * 1e4).round() / 100.0,
            self.measured.reference,
            key.cores,
            key.cpu,
            key.kernel,
            versions.join(", "),
            self.started,
        )
    }
}

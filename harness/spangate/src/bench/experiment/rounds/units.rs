//! One unit: measured, kept, and its arm given up where it cannot be measured.

use spangate_scenario::experiment::ExperimentArm;

use super::{ExperimentOptions, Outcome, Rounds, Task, UNITS, series_of, unusable};
use crate::{
    bench::{
        experiment::report::Drawn,
        trouble::{Stretch, look_for_space},
    },
    error::CommandError,
    event::{Event, Events},
    exit::Exit,
    overhead::{Unit, found::MEASURED},
};

// === impl Rounds ===

impl Rounds {
    /// Measures one unit and keeps it.
    pub(super) async fn one(
        &mut self,
        arm: &ExperimentArm,
        round: u32,
        options: &ExperimentOptions,
        measure: &impl AsyncFn(Task<'_>) -> Result<Outcome, CommandError>,
        events: &Events,
    ) -> Result<(), CommandError> {
        look_for_space(&self.directory)?;
        let directory = self.directory.file(UNITS);
        let stretch = Stretch::begin();
        let task =
            Task { experiment: &self.experiment, arm, round, directory: &directory, base: &options.base };
        let outcome = measure(task).await;
        let (taken, clocks) = (stretch.taken(), stretch.clocks_agree());
        // What the unit left is in its figures now.
        let _ = std::fs::remove_dir_all(&directory);
        let (components, found, error) = match outcome {
            Ok(Outcome { components, found }) => (components, found, None),
            Err(error) if error.exit() == Exit::Environment => (Vec::new(), Err(error.chain()), Some(error)),
            Err(error) => return Err(error),
        };
        let found = found.and_then(|found| clocks.map(|()| found));
        let mut unit = Unit {
            arm: arm.name.clone(),
            round,
            began_ms: stretch.began_ms(),
            seconds: taken.as_secs_f64(),
            ..Unit::default()
        };
        match found {
            Ok(found) => {
                (unit.n, unit.figures, unit.beside) = (found.n, found.figures, found.beside);
                let name = series_of(&arm.name, round);
                self.directory.write_json(&name, &found.series).map_err(unusable)?;
            }
            Err(why) => {
                events.send(Event::Note(format!("{} of round {round} does not count: {why}", arm.name)));
                unit.excluded = Some(why);
            }
        }
        for component in components {
            let versions = self.measured.key.versions.entry(component.name).or_default();
            if !versions.split(", ").any(|version| version == component.version) {
                let comma = if versions.is_empty() { "" } else { ", " };
                *versions = format!("{versions}{comma}{}", component.version);
            }
        }
        self.measured.units.push(unit);
        self.save()?;
        match error {
            Some(error) if !self.is_wanted(&arm.name, round) => self.give_up(arm, error, events),
            _ => Ok(()),
        }
    }

    /// Leaves out an arm that cannot be measured; without the reference there is nothing to compare with.
    fn give_up(
        &mut self,
        arm: &ExperimentArm,
        error: CommandError,
        events: &Events,
    ) -> Result<(), CommandError> {
        if arm.name == self.experiment.spec.reference {
            return Err(error.about(&format!("the reference arm {} cannot be measured", arm.name)));
        }
        self.note(format!("{} is given up: {}", arm.name, error.chain()), events);
        self.given_up.insert(arm.name.clone());
        Ok(())
    }

    /// Puts what was measured where it survives anything: beside the old file first.
    pub(super) fn save(&self) -> Result<(), CommandError> {
        let fresh = format!("{MEASURED}.new");
        self.directory.write_json(&fresh, &self.measured).map_err(unusable)?;
        std::fs::rename(self.directory.file(&fresh), self.directory.file(MEASURED))
            .map_err(|error| CommandError::environment("what was measured cannot be kept").because(error))
    }

    /// What is drawn of the units that count, as far as it is there.
    pub(super) fn drawn(&self) -> Vec<Drawn> {
        let counted = self.measured.units.iter().filter(|unit| unit.excluded.is_none());
        counted
            .filter_map(|unit| {
                let series = self.directory.read_json(&series_of(&unit.arm, unit.round)).ok()?;
                Some(Drawn { arm: unit.arm.clone(), series })
            })
            .collect()
    }
}

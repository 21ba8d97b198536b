//! Units: measured, kept, and an arm given up where it cannot be measured.

use spangate_scenario::experiment::ExperimentArm;

use super::{ExperimentOptions, Outcome, Rounds, Task, UNITS, series_of, unusable};
use crate::{
    bench::{
        experiment::{figures::beside_one_that_fails, report::Drawn},
        trouble::{Stretch, look_for_space},
    },
    error::CommandError,
    event::{Event, Events},
    exit::Exit,
    overhead::{Unit, found::MEASURED},
};

// === impl Rounds ===

impl Rounds {
    /// Measures a unit, or several at the same time, and keeps what came of it.
    pub(super) async fn measure(
        &mut self,
        arms: &[&ExperimentArm],
        round: u32,
        options: &ExperimentOptions,
        measure: &impl AsyncFn(&[Task<'_>]) -> Vec<Result<Outcome, CommandError>>,
        events: &Events,
    ) -> Result<(), CommandError> {
        look_for_space(&self.directory)?;
        let directory = self.directory.file(UNITS);
        let stretch = Stretch::begin();
        let task = |arm| Task {
            experiment: &self.experiment,
            arm,
            round,
            directory: &directory,
            base: &options.base,
        };
        let tasks: Vec<Task<'_>> = arms.iter().copied().map(task).collect();
        let outcomes = measure(&tasks).await;
        let (taken, clocks) = (stretch.taken(), stretch.clocks_agree());
        // What the units left is in their figures now.
        let _ = std::fs::remove_dir_all(&directory);
        let mut measured = Vec::new();
        for (arm, outcome) in arms.iter().copied().zip(outcomes) {
            let (components, found, error) = match outcome {
                Ok(Outcome { components, found }) => (components, found, None),
                Err(error) if error.exit() == Exit::Environment => {
                    (Vec::new(), Err(error.chain()), Some(error))
                }
                Err(error) => return Err(error),
            };
            let found = found.and_then(|found| clocks.clone().map(|()| found));
            if let Err(why) = &found {
                events.send(Event::Note(format!("{} of round {round} does not count: {why}", arm.name)));
            }
            measured.push((arm, components, found, error));
        }
        // What ran at the same time is compared with that only, so it counts together or not at all.
        let missing =
            measured.iter().find(|(_, _, found, _)| found.is_err()).map(|(arm, ..)| arm.name.clone());
        let mut errors = Vec::new();
        for (arm, components, found, error) in measured {
            let found = match &missing {
                Some(missing) => found.and_then(|_| Err(beside_one_that_fails(missing))),
                None => found,
            };
            let mut unit = Unit {
                arm: arm.name.clone(),
                round,
                began_ms: stretch.began_ms(),
                seconds: taken.as_secs_f64() / arms.len() as f64,
                ..Unit::default()
            };
            match found {
                Ok(found) => {
                    (unit.n, unit.figures, unit.beside) = (found.n, found.figures, found.beside);
                    let name = series_of(&arm.name, round);
                    self.directory.write_json(&name, &found.series).map_err(unusable)?;
                }
                Err(why) => unit.excluded = Some(why),
            }
            self.measured.units.push(unit);
            self.measured.key.learn(components);
            errors.extend(error.map(|error| (arm, error)));
        }
        self.save()?;
        for (arm, error) in errors {
            if !self.is_wanted(&arm.name, round) {
                self.give_up(arm, error, events)?;
            }
        }
        Ok(())
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

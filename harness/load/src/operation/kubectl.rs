//! Sequences of kubectl commands, each sending what kubectl 1.37 sends.
//!
//! The requests were taken from kubectl 1.37.2 at `-v=9` against a kube-apiserver 1.37.2. They are those of
//! a kubectl whose discovery cache is warm; the command `discovery` is what a cold one sends first. There
//! is one difference: `kubectl create` sends protobuf, these bodies are JSON.
//!
//! A command that fails ends, and the next one goes on, as in a shell script.

mod command;
mod steps;

pub(crate) use command::{Command, commands};
use spangate_scenario::model::KubectlStep;

use super::Steps;
use crate::{
    Arrival, Setting,
    request::{Reply, Request},
};

/// Kubectl commands, one after the other.
pub(crate) struct Sequence {
    commands: std::vec::IntoIter<Box<dyn Steps>>,
    current: Option<Box<dyn Steps>>,
}

// === impl Sequence ===

impl Sequence {
    /// The commands `steps` as `arrival` runs them.
    pub(crate) fn new(steps: &[KubectlStep], arrival: &Arrival, setting: &Setting) -> Self {
        let commands: Vec<_> = commands(steps, arrival.number)
            .iter()
            .map(|command| steps::of(command, steps.contains(&KubectlStep::RolloutStatus), arrival, setting))
            .collect();
        Self { commands: commands.into_iter(), current: None }
    }
}

impl Steps for Sequence {
    fn next(&mut self, reply: Option<&Reply>) -> Option<Request> {
        if let Some(request) = self.current.as_mut().and_then(|command| command.next(reply)) {
            return Some(request);
        }
        loop {
            let mut command = self.commands.next()?;
            let first = command.next(None);
            self.current = Some(command);
            if first.is_some() {
                return first;
            }
        }
    }
}

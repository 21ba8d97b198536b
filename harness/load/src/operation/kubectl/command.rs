//! Which object each command of a sequence works on.

use spangate_scenario::model::{KubectlStep, Resource};

use crate::object;

/// One command with its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Discovery of a cold kubectl.
    Discovery,
    /// `kubectl create`.
    Create(Resource, String),
    /// `kubectl apply -f`; the number makes its manifest differ from that of an earlier apply.
    Apply(Resource, String, usize),
    /// `kubectl get`.
    Get(Resource),
    /// `kubectl rollout status deployment`.
    RolloutStatus(String),
    /// `kubectl scale deployment`; of one of those that exist before load starts, if it has no name.
    Scale(Option<String>),
    /// `kubectl delete --wait`; `prepared` when the object is to exist before load starts.
    Delete {
        /// What is deleted.
        resource: Resource,
        /// Its name.
        name: String,
        /// Whether no earlier command of the sequence makes it.
        prepared: bool,
    },
}

/// Finds the object of each command of arrival `number`.
///
/// `apply` and `delete` work on what the sequence made last, `scale` and `rollout status` on the deployment that it
/// made last.
/// Without one, `apply` makes a deployment, `scale` takes one of those that exist before load starts, and
/// `delete` a deployment that was prepared for it.
pub(crate) fn commands(steps: &[KubectlStep], number: u64) -> Vec<Command> {
    let mut made: Vec<(Resource, String)> = Vec::new();
    let new = |made: &mut Vec<(Resource, String)>, resource, step| {
        made.push((resource, object::made(number, step)));
        object::made(number, step)
    };
    let deployment = |made: &[(Resource, String)]| {
        let last = made.iter().rfind(|(resource, _)| *resource == Resource::Deployments);
        last.map(|(_, name)| name.clone())
    };
    let command = |(step, kind): (usize, &KubectlStep)| match kind {
        KubectlStep::Discovery => Command::Discovery,
        KubectlStep::CreateDeployment => {
            Command::Create(Resource::Deployments, new(&mut made, Resource::Deployments, step))
        }
        KubectlStep::CreateConfigmap => {
            Command::Create(Resource::Configmaps, new(&mut made, Resource::Configmaps, step))
        }
        KubectlStep::Apply => {
            let (resource, name) = made
                .last()
                .cloned()
                .unwrap_or_else(|| (Resource::Deployments, new(&mut made, Resource::Deployments, step)));
            Command::Apply(resource, name, step)
        }
        KubectlStep::GetPods => Command::Get(Resource::Pods),
        KubectlStep::GetDeployments => Command::Get(Resource::Deployments),
        KubectlStep::Scale => Command::Scale(deployment(&made)),
        KubectlStep::RolloutStatus => {
            // That there is one was checked with the scenario.
            Command::RolloutStatus(deployment(&made).unwrap_or_else(|| object::made(number, step)))
        }
        KubectlStep::Delete => match made.pop() {
            Some((resource, name)) => Command::Delete { resource, name, prepared: false },
            None => Command::Delete {
                resource: Resource::Deployments,
                name: object::victim(number, step),
                prepared: true,
            },
        },
    };
    steps.iter().enumerate().map(command).collect()
}

#[cfg(test)]
mod tests {
    use KubectlStep::{Apply, CreateConfigmap, CreateDeployment, Delete, GetPods, RolloutStatus, Scale};

    use super::*;

    fn of(steps: &[KubectlStep]) -> Vec<Command> {
        commands(steps, 4)
    }

    #[test]
    fn commands_work_on_what_the_sequence_made() {
        let name = "load-4-0".to_owned();
        assert_eq!(
            of(&[CreateDeployment, GetPods, Scale, Delete]),
            [
                Command::Create(Resource::Deployments, name.clone()),
                Command::Get(Resource::Pods),
                Command::Scale(Some(name.clone())),
                Command::Delete { resource: Resource::Deployments, name, prepared: false },
            ]
        );
    }

    #[test]
    fn a_rollout_is_that_of_the_deployment_made_last() {
        assert_eq!(
            of(&[CreateDeployment, CreateConfigmap, RolloutStatus])[2],
            Command::RolloutStatus("load-4-0".to_owned())
        );
    }

    #[test]
    fn scale_looks_past_a_configmap_and_apply_does_not() {
        assert_eq!(
            of(&[CreateDeployment, CreateConfigmap, Scale, Apply])[2..],
            [
                Command::Scale(Some("load-4-0".to_owned())),
                Command::Apply(Resource::Configmaps, "load-4-1".to_owned(), 3),
            ]
        );
    }

    #[test]
    fn a_second_apply_changes_what_the_first_made() {
        let name = "load-4-0".to_owned();
        assert_eq!(
            of(&[Apply, Apply]),
            [
                Command::Apply(Resource::Deployments, name.clone(), 0),
                Command::Apply(Resource::Deployments, name, 1),
            ]
        );
    }

    #[test]
    fn without_an_object_of_its_own_a_command_takes_a_prepared_one() {
        let delete = |step| Command::Delete {
            resource: Resource::Deployments,
            name: format!("victim-4-{step}"),
            prepared: true,
        };
        assert_eq!(of(&[Scale, Delete, Delete]), [Command::Scale(None), delete(1), delete(2)]);
    }
}

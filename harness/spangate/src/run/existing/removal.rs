//! How a run leaves a cluster that is not ours: all that it made there goes.

use std::time::Duration;

use http::Method;
use k8s_openapi::api::{
    admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
    core::v1::Namespace,
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use spangate_scenario::model::{Fault, Identity};
use tokio::time::{Instant, sleep};

use super::{Guest, SetupError, failed, send};
use crate::{existing::Whose, plan::Plan};

/// What came of a removal.
#[derive(Debug, Default)]
struct Removed {
    /// What is being removed, by its resource and name.
    names: Vec<String>,
    /// Why the first of what stays does.
    failed: Option<SetupError>,
}

/// Kinds of which a run makes objects that are in no namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Mutating,
    Validating,
    ClusterRole,
    ClusterRoleBinding,
    Namespace,
}

/// How long namespaces may take to go.
const REMOVAL: Duration = Duration::from_mins(1);
/// How long a controller may take to begin with it.
const TAKEN_UP: Duration = Duration::from_secs(10);
/// How often is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the API server may be away, or have too much to do.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two tries.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// What a namespace may hold that nobody removes from it where there are no controllers.
const CONTENTS: [&str; 7] = [
    "/api/v1/namespaces/{}/configmaps",
    "/api/v1/namespaces/{}/secrets",
    "/api/v1/namespaces/{}/pods",
    "/api/v1/namespaces/{}/events",
    "/api/v1/namespaces/{}/serviceaccounts",
    "/apis/apps/v1/namespaces/{}/deployments",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
];

// === impl Kind ===

impl Kind {
    /// Every kind, in the order in which they go.
    pub(super) const ALL: [Self; 5] =
        [Self::Mutating, Self::Validating, Self::ClusterRoleBinding, Self::ClusterRole, Self::Namespace];
}

// === impl Guest ===

impl Guest {
    /// Removes the objects of `kinds` that have these labels, and gives their names. What cannot be removed keeps none of the
    /// others there; the first error is told.
    pub(super) async fn remove(&self, selector: &str, kinds: &[Kind]) -> Result<Vec<String>, SetupError> {
        let (mut removed, deadline) = (Removed::default(), Instant::now() + PATIENCE);
        for kind in kinds {
            let removed = &mut removed;
            match kind {
                Kind::Mutating => {
                    self.remove_all::<MutatingWebhookConfiguration>(selector, deadline, removed).await;
                }
                Kind::Validating => {
                    self.remove_all::<ValidatingWebhookConfiguration>(selector, deadline, removed).await;
                }
                Kind::ClusterRole => self.remove_all::<ClusterRole>(selector, deadline, removed).await,
                Kind::ClusterRoleBinding => {
                    self.remove_all::<ClusterRoleBinding>(selector, deadline, removed).await;
                }
                Kind::Namespace => self.remove_all::<Namespace>(selector, deadline, removed).await,
            }
        }
        if matches!(self.existing.whose, Whose::Kept { controllers: false, .. })
            && kinds.contains(&Kind::Namespace)
            && let Err(error) = self.finalize(selector).await
        {
            removed.failed.get_or_insert(error);
        }
        let Removed { names, failed } = removed;
        failed.map_or(Ok(names), Err)
    }

    async fn remove_all<K>(&self, selector: &str, deadline: Instant, removed: &mut Removed)
    where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api = Api::<K>::all(self.administrator.client().clone());
        let resource = K::plural(&());
        let (list, delete) = (ListParams::default().labels(selector), DeleteParams::default());
        let objects = match again(deadline, || api.list(&list)).await {
            Ok(objects) => objects,
            Err(error) => return removed.fail(&format!("look for the {resource} of the run"), error),
        };
        for object in objects {
            let Some(name) =
                object.meta().name.clone().filter(|_| object.meta().deletion_timestamp.is_none())
            else {
                continue;
            };
            match again(deadline, || api.delete(&name, &delete)).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => removed.fail(&format!("remove {resource}/{name}"), error),
                Ok(_) => removed.names.push(format!("{resource}/{name}")),
            }
        }
    }

    /// Does the work of the namespace controller, where there is none.
    async fn finalize(&self, selector: &str) -> Result<(), SetupError> {
        let going = |namespace: &Namespace| namespace.metadata.deletion_timestamp.is_some();
        for namespace in self.namespaces(selector).await?.into_iter().filter(going) {
            let name = namespace.metadata.name.unwrap_or_default();
            for path in CONTENTS {
                send(&self.administrator, Method::DELETE, &path.replace("{}", &name), &Value::Null).await?;
            }
            let body = json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {"finalizers": []},
            });
            send(&self.administrator, Method::PUT, &format!("/api/v1/namespaces/{name}/finalize"), &body)
                .await?;
        }
        Ok(())
    }

    async fn namespaces(&self, selector: &str) -> Result<Vec<Namespace>, SetupError> {
        let api = Api::<Namespace>::all(self.administrator.client().clone());
        let list = ListParams::default().labels(selector);
        let listed = again(Instant::now() + PATIENCE, || api.list(&list)).await;
        Ok(listed.map_err(failed("look for the namespaces of the run"))?.items)
    }

    /// Waits until the namespaces are gone; why they are not, if they stay.
    pub(super) async fn gone(&self, selector: &str) -> Result<Option<String>, SetupError> {
        let begun = Instant::now();
        loop {
            let left = self.namespaces(selector).await?;
            if left.is_empty() {
                return Ok(None);
            }
            // A controller that works at it says how far it is.
            let worked_at = |namespace: &Namespace| {
                namespace.status.as_ref().is_some_and(|status| status.conditions.is_some())
            };
            if begun.elapsed() > TAKEN_UP && !left.iter().any(worked_at) {
                return Ok(Some("no controller empties namespaces here, so that theirs stay".to_owned()));
            }
            if begun.elapsed() > REMOVAL {
                return Ok(Some(format!("its namespaces are still there after {} s", REMOVAL.as_secs())));
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

// === impl Removed ===

impl Removed {
    fn fail(&mut self, action: &str, error: kube::Error) {
        self.failed.get_or_insert_with(|| failed(action)(error));
    }
}

/// Does it again until the deadline while the API server does not answer, or has too much to do.
async fn again<T, F: Future<Output = Result<T, kube::Error>>>(
    deadline: Instant,
    request: impl Fn() -> F,
) -> Result<T, kube::Error> {
    loop {
        match request().await {
            Err(error) if passes(&error) && Instant::now() < deadline => sleep(RETRY_EVERY).await,
            done => return done,
        }
    }
}

/// Whether the same may succeed a little later.
fn passes(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 429 || status.code >= 500,
        kube::Error::HyperError(_) | kube::Error::Service(_) => true,
        _ => false,
    }
}

/// The kinds of what a run of the plan makes outside of namespaces.
pub(super) fn kinds(plan: &Plan) -> Vec<Kind> {
    use spangate_scenario::model::WebhookType::{Mutating, Validating};
    let hooks = |wanted| {
        plan.scenario
            .spec
            .faults
            .iter()
            .any(|fault| matches!(fault, Fault::Webhook(fault) if fault.webhook_type == wanted))
    };
    let others = plan.preparation.identities.iter().any(|identity| *identity != Identity::admin());
    [
        (Kind::Mutating, hooks(Mutating)),
        (Kind::Validating, hooks(Validating)),
        (Kind::ClusterRoleBinding, others && !plan.preparation.cluster_readers.is_empty()),
        (Kind::ClusterRole, others),
        (Kind::Namespace, true),
    ]
    .into_iter()
    .filter_map(|(kind, made)| made.then_some(kind))
    .collect()
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, io};

    use kube::core::Status;

    use super::*;

    fn answered(code: u16) -> kube::Error {
        kube::Error::Api(Status::failure("no", "No").with_code(code).boxed())
    }

    fn unanswered() -> kube::Error {
        kube::Error::Service(io::Error::from(io::ErrorKind::ConnectionRefused).into())
    }

    /// How often is tried what fails with `error` once, and whether it succeeds then.
    async fn tries(deadline: Instant, error: fn() -> kube::Error) -> (u32, bool) {
        let count = Cell::new(0);
        let request = || {
            count.set(count.get() + 1);
            std::future::ready(if count.get() > 1 { Ok(()) } else { Err(error()) })
        };
        let done = again(deadline, request).await;
        (count.get(), done.is_ok())
    }

    #[tokio::test]
    async fn what_passes_is_tried_again_and_a_refusal_is_not() {
        let later = Instant::now() + PATIENCE;
        assert_eq!(tries(later, || answered(429)).await, (2, true));
        assert_eq!(tries(later, || answered(500)).await, (2, true));
        assert_eq!(tries(later, unanswered).await, (2, true));
        assert_eq!(tries(later, || answered(403)).await, (1, false));
        assert_eq!(tries(Instant::now(), unanswered).await, (1, false));
    }

    #[test]
    fn the_first_error_is_told() {
        let mut removed = Removed::default();
        removed.fail("remove a", answered(403));
        removed.fail("remove b", answered(403));
        assert_eq!(removed.failed.unwrap().to_string(), "cannot remove a");
    }
}

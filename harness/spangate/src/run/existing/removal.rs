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
    /// Removes the objects of `kinds` that have these labels, and gives their names.
    pub(super) async fn remove(&self, selector: &str, kinds: &[Kind]) -> Result<Vec<String>, SetupError> {
        let (mut removed, mut failed) = (Vec::new(), None);
        for kind in kinds {
            let gone = match kind {
                Kind::Mutating => self.remove_all::<MutatingWebhookConfiguration>(selector).await,
                Kind::Validating => self.remove_all::<ValidatingWebhookConfiguration>(selector).await,
                Kind::ClusterRole => self.remove_all::<ClusterRole>(selector).await,
                Kind::ClusterRoleBinding => self.remove_all::<ClusterRoleBinding>(selector).await,
                Kind::Namespace => self.remove_all::<Namespace>(selector).await,
            };
            // One kind that cannot be removed keeps none of the others there.
            match gone {
                Ok(names) => removed.extend(names),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if matches!(self.existing.whose, Whose::Kept { controllers: false, .. })
            && kinds.contains(&Kind::Namespace)
        {
            self.finalize(selector).await?;
        }
        failed.map_or(Ok(removed), Err)
    }

    async fn remove_all<K>(&self, selector: &str) -> Result<Vec<String>, SetupError>
    where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api = Api::<K>::all(self.administrator.client().clone());
        let action = format!("remove the {} of the run", K::plural(&()));
        let failed =
            |source: kube::Error| SetupError::Request { action: action.clone(), source: Box::new(source) };
        let mut names = Vec::new();
        for object in api.list(&ListParams::default().labels(selector)).await.map_err(&failed)? {
            let Some(name) =
                object.meta().name.clone().filter(|_| object.meta().deletion_timestamp.is_none())
            else {
                continue;
            };
            match api.delete(&name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(failed(error)),
                Ok(_) => names.push(format!("{}/{name}", K::plural(&()))),
            }
        }
        Ok(names)
    }

    /// Does the work of the namespace controller, where there is none.
    async fn finalize(&self, selector: &str) -> Result<(), SetupError> {
        for namespace in self.namespaces(selector).await? {
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
        let listed = api.list(&ListParams::default().labels(selector)).await;
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

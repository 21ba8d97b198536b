//! A run on a cluster that is not ours: what it finds out before anything is sent, and how it leaves.

use std::{collections::BTreeMap, time::Duration};

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
use spangate_cluster::Version;
use spangate_load::{ClientIdentity, Endpoint};
use spangate_scenario::model::{Cluster, Fault, Identity};
use spangate_sink::SinkHandle;
use tokio::time::{Instant, sleep};

use super::api::{Administrator, GuestMarks, SetupError};
use crate::{
    error::CommandError,
    event::{Event, Events},
    existing::{Existing, Rights, Whose, of_any_run, of_run},
    plan::Plan,
    report::Component,
};

mod tracing_seen;

/// A run's stay on a cluster that is not ours.
pub(super) struct Guest {
    administrator: Administrator,
    existing: Existing,
    label: String,
    kinds: Vec<Kind>,
    admin_group: String,
    version: Version,
}

/// Kinds of which a run makes objects that are in no namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mutating,
    Validating,
    ClusterRole,
    ClusterRoleBinding,
    Namespace,
}

/// Whoever the API server takes us for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Caller {
    user: String,
    groups: Vec<String>,
}

/// The group of everybody who is somebody.
const EVERYBODY: &str = "system:authenticated";
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

// === impl Guest ===

impl Guest {
    /// Finds out all that a run must know beforehand, and refuses what would prove nothing. Nothing is written but
    /// what earlier runs left on a cluster of ours, which is removed.
    pub(super) async fn enter(
        plan: &Plan,
        existing: &Existing,
        sink: &SinkHandle,
        events: &Events,
    ) -> Result<Self, CommandError> {
        let spec = &plan.scenario.spec;
        let label = existing.run_label(&plan.scenario.metadata.name);
        let marks = GuestMarks {
            mark: existing.mark.clone(),
            run: label.clone(),
            namespaces: spec.load.namespaces().collect(),
        };
        let administrator = Administrator::new(&existing.access.kubeconfig()).await;
        let administrator = administrator.map_err(unusable)?.with_marks(marks);
        let version = version(&administrator).await.map_err(unusable)?;
        let caller = Caller::ask(&administrator).await.map_err(unusable)?;
        let admin_group = caller.group(spec.cluster.admin_group.as_deref())?;
        let followed =
            Cluster { admin_group: Some(admin_group.clone()), ..Cluster::default() }.follows_admin();
        let becomes = if followed { "is followed" } else { "becomes a link" };
        events.send(Event::Note(format!(
            "Kubernetes {version} at {}; {} is in {admin_group}, so its traceparent {becomes}",
            existing.server(),
            caller.user,
        )));
        let missing = missing(&administrator, &Rights::of([plan])).await.map_err(unusable)?;
        if !missing.is_empty() {
            let message = format!("{} may not do what the run does: {}", caller.user, missing.join(", "));
            return Err(CommandError::environment(message).help(format!(
                "an administrator can give these rights: spangate rbac {} | kubectl apply -f -",
                plan.path.display()
            )));
        }
        let guest = Self {
            administrator,
            existing: existing.clone(),
            label,
            kinds: kinds(plan),
            admin_group,
            version,
        };
        if let Whose::Kept { .. } = existing.whose {
            let all = [
                Kind::Mutating,
                Kind::Validating,
                Kind::ClusterRoleBinding,
                Kind::ClusterRole,
                Kind::Namespace,
            ];
            let left = guest.remove(&of_any_run(), &all).await.map_err(unusable)?;
            if !left.is_empty() {
                events.send(Event::Note(format!("removed what an earlier run left: {}", left.join(", "))));
            }
        }
        tracing_seen::check(&guest.administrator, version, followed, spec, sink, events).await?;
        Ok(guest)
    }

    /// The API server as its administrator sees it.
    pub(super) fn administrator(&self) -> Administrator {
        self.administrator.clone()
    }

    /// A group of who sends as `admin`, which says whether the API server follows its `traceparent`.
    pub(super) fn admin_group(&self) -> &str {
        &self.admin_group
    }

    /// The value of the label of all that the run makes.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// Where the load goes, and as whom.
    pub(super) fn target(&self) -> (Endpoint, String, ClientIdentity, ClientIdentity) {
        let access = &self.existing.access;
        let unprivileged = access.unprivileged.clone().unwrap_or_else(ClientIdentity::none);
        (access.endpoint.clone(), access.ca_pem.clone(), access.admin.clone(), unprivileged)
    }

    /// What runs, for the report.
    pub(super) fn components(&self) -> Vec<Component> {
        vec![Component {
            name: "kube-apiserver".to_owned(),
            version: self.version.to_string(),
            source: format!("there already: {} (context {})", self.existing.server(), self.existing.context),
        }]
    }

    /// Removes all that the run made, and waits until it is gone.
    pub(super) async fn leave(self) {
        let selector = of_run(&self.label);
        let left = match self.remove(&selector, &self.kinds).await {
            Ok(_) => self.gone(&selector).await,
            Err(error) => Err(error),
        };
        let why = match left {
            Ok(None) => return,
            Ok(Some(why)) => why,
            Err(error) => CommandError::environment("they cannot be removed").because(error).chain(),
        };
        tracing::warn!(
            why,
            "objects of the run are left: kubectl delete namespaces,clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingwebhookconfigurations -l {selector}"
        );
    }

    /// Removes the objects of `kinds` that have these labels, and gives their names.
    async fn remove(&self, selector: &str, kinds: &[Kind]) -> Result<Vec<String>, SetupError> {
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
                self.send(Method::DELETE, &path.replace("{}", &name), &Value::Null).await?;
            }
            let body = json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {"finalizers": []},
            });
            self.send(Method::PUT, &format!("/api/v1/namespaces/{name}/finalize"), &body).await?;
        }
        Ok(())
    }

    async fn namespaces(&self, selector: &str) -> Result<Vec<Namespace>, SetupError> {
        let api = Api::<Namespace>::all(self.administrator.client().clone());
        let listed = api.list(&ListParams::default().labels(selector)).await;
        Ok(listed.map_err(failed("look for the namespaces of the run"))?.items)
    }

    /// Waits until the namespaces are gone; why they are not, if they stay.
    async fn gone(&self, selector: &str) -> Result<Option<String>, SetupError> {
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

    async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value, SetupError> {
        send(&self.administrator, method, path, body).await
    }
}

// === impl Caller ===

impl Caller {
    /// Asks the API server.
    async fn ask(administrator: &Administrator) -> Result<Self, SetupError> {
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let answer = send(administrator, Method::POST, path, &body).await?;
        let info = &answer["status"]["userInfo"];
        let groups = info["groups"].as_array().into_iter().flatten();
        Ok(Self {
            user: info["username"].as_str().unwrap_or_default().to_owned(),
            groups: groups.filter_map(|group| group.as_str().map(str::to_owned)).collect(),
        })
    }

    /// The group that the verdicts go by: one whose `traceparent` is followed, or else the one that the scenario names.
    fn group(&self, stated: Option<&str>) -> Result<String, CommandError> {
        let is_in = |group: &str| self.groups.iter().any(|known| known == group);
        if let Some(stated) = stated.filter(|group| !is_in(group)) {
            let message = format!(
                "the scenario wants an `admin` in {stated}, and {} is in {}",
                self.user,
                self.groups.join(", ")
            );
            return Err(CommandError::usage(message).help("take another context, or leave out `adminGroup`"));
        }
        let followed = Cluster::FOLLOWED_GROUPS.into_iter().find(|group| is_in(group));
        if let (Some(followed), Some(stated)) = (followed, stated)
            && !Cluster::FOLLOWED_GROUPS.contains(&stated)
        {
            return Err(CommandError::usage(format!(
                "the scenario wants an `admin` of whom the API server makes a link, and {} is in {followed}",
                self.user
            )));
        }
        Ok(followed.or(stated).unwrap_or(EVERYBODY).to_owned())
    }
}

/// The kinds of what a run of the plan makes outside of namespaces.
fn kinds(plan: &Plan) -> Vec<Kind> {
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

/// Those of `rights` that the caller does not have.
async fn missing(administrator: &Administrator, rights: &Rights) -> Result<Vec<String>, SetupError> {
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let mut missing = Vec::new();
    for right in rights.iter() {
        let (resource, subresource) = right.resource.split_once('/').unwrap_or((right.resource, ""));
        let mut attributes = BTreeMap::from([
            ("group", right.group),
            ("resource", resource),
            ("subresource", subresource),
            ("verb", right.verb),
        ]);
        attributes.extend(right.name.as_deref().map(|name| ("name", name)));
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        });
        let answer = send(administrator, Method::POST, path, &body).await?;
        if answer["status"]["allowed"] != true {
            missing.push(right.to_string());
        }
    }
    Ok(missing)
}

async fn version(administrator: &Administrator) -> Result<Version, SetupError> {
    let answer = send(administrator, Method::GET, "/version", &Value::Null).await?;
    let text = answer["gitVersion"].as_str().unwrap_or_default();
    // As of distributions: v1.37.2+k3s1, v1.36.1-gke.1.
    let plain = text.trim_start_matches('v').split(['+', '-']).next().unwrap_or_default();
    plain.parse().map_err(|_| SetupError::Version(text.to_owned()))
}

/// Sends a request outside of the types of a client library.
async fn send(
    administrator: &Administrator,
    method: Method,
    path: &str,
    body: &Value,
) -> Result<Value, SetupError> {
    let action = format!("{method} {path}");
    let request =
        http::Request::builder().method(method).uri(path).header("content-type", "application/json");
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = request.body(body).expect("the path is one of those above");
    administrator.client().request(request).await.map_err(failed(&action))
}

fn failed(action: &str) -> impl Fn(kube::Error) -> SetupError + use<> {
    let action = action.to_owned();
    move |source| SetupError::Request { action: action.clone(), source: Box::new(source) }
}

fn unusable(error: SetupError) -> CommandError {
    CommandError::environment("the cluster cannot be used").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(groups: &[&str]) -> Caller {
        Caller { user: "me".to_owned(), groups: groups.iter().map(|group| (*group).to_owned()).collect() }
    }

    #[test]
    fn the_groups_say_whether_a_traceparent_is_followed() {
        let masters = caller(&["system:masters", EVERYBODY]);
        let admins = caller(&["kubeadm:cluster-admins", EVERYBODY]);
        assert_eq!(masters.group(None).unwrap(), "system:masters");
        assert_eq!(caller(&[EVERYBODY, "system:monitoring"]).group(None).unwrap(), "system:monitoring");
        assert_eq!(admins.group(None).unwrap(), EVERYBODY);
        assert_eq!(admins.group(Some("kubeadm:cluster-admins")).unwrap(), "kubeadm:cluster-admins");
        for (caller, stated) in [(&admins, "system:masters"), (&masters, EVERYBODY)] {
            let told = caller.group(Some(stated)).unwrap_err().to_string();
            assert!(told.contains("the scenario wants"), "{told}");
        }
    }
}

//! A run on a cluster that is not ours: what it finds out before anything is sent, and how it leaves.

use std::time::Duration;

use http::Method;
use serde_json::Value;
use spangate_cluster::Version;
use spangate_load::{ClientIdentity, Endpoint};
use spangate_scenario::model::Cluster;
use spangate_sink::SinkHandle;
use tokio::time::sleep;

use self::{
    caller::{Caller, missing},
    removal::{Kind, kinds},
};
use super::api::{Administrator, GuestMarks, SetupError};
use crate::{
    error::CommandError,
    event::{Event, Events},
    existing::{Existing, Rights, Whose, of_any_run, of_run},
    plan::Plan,
    report::Component,
};

mod caller;
mod removal;
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

/// What a run could not remove.
pub(super) struct Left {
    /// What is there, why, and what to do.
    pub(super) warning: String,
    /// Whether its removal was accepted, and only takes longer than a run waits.
    pub(super) going: bool,
}

/// How long what a run had asked for as it broke off may take to be there: the API server goes on with a write for a moment
/// when nobody waits for it any more.
const UNDER_WAY: Duration = Duration::from_secs(1);

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
        let admin_group = caller.group(spec.cluster.admin_group.as_deref(), version)?;
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
            let left = guest.remove(&of_any_run(), &Kind::ALL).await.map_err(unusable)?;
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

    /// Removes all that the run made, also what is only coming into being of one that broke off, and waits until it is gone;
    /// gives what is left.
    pub(super) async fn leave(&self, broke_off: bool) -> Option<Left> {
        if broke_off {
            sleep(UNDER_WAY).await;
        }
        let selector = of_run(&self.label);
        let left = match self.remove(&selector, &self.kinds).await {
            Ok(_) => self.gone(&selector).await,
            Err(error) => Err(error),
        };
        let (why, going) = match left {
            Ok(None) => return None,
            Ok(Some(why)) => (why, true),
            Err(error) => (CommandError::environment("they cannot be removed").because(error).chain(), false),
        };
        let warning = format!(
            "objects of the run are left on the cluster, since {why}; to remove them: kubectl delete \
             namespaces,clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingwebhookconfigurations \
             -l {selector}"
        );
        tracing::warn!("{warning}");
        Some(Left { warning, going })
    }
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

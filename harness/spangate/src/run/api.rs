//! What a run does in the API server besides its load: a first span, and webhooks that come and go.

use std::time::{Duration, Instant};

use k8s_openapi::api::{
    admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
    core::v1::{ConfigMap, Namespace},
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use spangate_inject::{CANARY_NAMESPACE, WebhookHandle};
use spangate_load::object::{MANAGED_BY, RUN_LABEL};
use spangate_trace::{SpanId, TraceContext, TraceId};
use tokio::time::sleep;

/// How long the API server may take to call a webhook that was just registered.
const CANARY_PATIENCE: Duration = Duration::from_secs(20);
/// Time between two tries.
const RETRY_EVERY: Duration = Duration::from_millis(25);

/// An API server as its administrator sees it.
#[derive(Clone)]
pub(super) struct Administrator {
    client: Client,
    guest: Option<GuestMarks>,
}

/// What is different on an API server that others use too: all that is made has the run's label and a name that nobody
/// else has, and webhooks are called for the run's own namespaces only.
#[derive(Debug, Clone)]
pub(super) struct GuestMarks {
    /// What names end in.
    pub(super) mark: String,
    /// The value of the run's label.
    pub(super) run: String,
    /// The namespaces of the load.
    pub(super) namespaces: Vec<String>,
}

/// Why the API server could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum SetupError {
    /// The kubeconfig is wrong.
    #[error("cannot use the kubeconfig of the control plane")]
    Kubeconfig(#[source] kube::config::KubeconfigError),
    /// A request failed.
    #[error("cannot {action}")]
    Request {
        /// What was being done.
        action: String,
        /// Why it failed.
        #[source]
        source: Box<kube::Error>,
    },
    /// The version is none that is known.
    #[error("the API server says that its version is {0:?}")]
    Version(String),
    /// A webhook configuration that we made ourselves is wrong.
    #[error("cannot understand the webhook configuration that was to be registered")]
    Registration(#[source] serde_json::Error),
    /// The API server never called the webhooks.
    #[error(
        "the API server did not call the registered webhooks within {} s (mutating: {mutating}, validating: {validating})",
        CANARY_PATIENCE.as_secs()
    )]
    Canary {
        /// Whether the mutating configuration was called, if there is one.
        mutating: bool,
        /// Whether the validating configuration was called, if there is one.
        validating: bool,
    },
}

// === impl Administrator ===

impl Administrator {
    /// Connects with the current context of a kubeconfig.
    pub(super) async fn new(kubeconfig: &str) -> Result<Self, SetupError> {
        let kubeconfig = Kubeconfig::from_yaml(kubeconfig).map_err(SetupError::Kubeconfig)?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(SetupError::Kubeconfig)?;
        // A proxy of the environment has no business between us and loopback.
        config.proxy_url = None;
        let client =
            Client::try_from(config).map_err(|source| failed("connect to the API server")(source))?;
        Ok(Self { client, guest: None })
    }

    /// The same on an API server that others use too.
    pub(super) fn with_marks(self, marks: GuestMarks) -> Self {
        Self { guest: Some(marks), ..self }
    }

    /// The client, for what only guests do.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request whose trace must be exported.
    pub(super) async fn probe(&self, trace: TraceId) -> Result<(), SetupError> {
        let sent = TraceContext::sampled(trace, SpanId::new([1; 8]));
        let request = http::Request::get("/version").header(TraceContext::HEADER, sent.to_string());
        let request = request.body(Vec::new()).expect("the path and the header are well-formed");
        self.client.request::<Value>(request).await.map(drop).map_err(failed("send a probe"))
    }

    /// Registers webhooks and returns when the API server calls them: it learns of them by a watch, some time
    /// after the registration was answered.
    pub(super) async fn register(&self, webhooks: &WebhookHandle) -> Result<(), SetupError> {
        let namespace: Namespace = object(json!({"metadata": {"name": CANARY_NAMESPACE}}));
        let (namespace, configurations) = match &self.guest {
            Some(marks) => (marks.canary(), marks.narrowed(webhooks.configurations())),
            None => (namespace, webhooks.configurations()),
        };
        self.create_cluster_wide(&namespace, "create the namespace of the canary").await?;
        for configuration in &configurations {
            let action = "register the webhooks";
            if is_mutating(configuration) {
                self.create_cluster_wide(&typed::<MutatingWebhookConfiguration>(configuration)?, action)
                    .await?;
            } else {
                self.create_cluster_wide(&typed::<ValidatingWebhookConfiguration>(configuration)?, action)
                    .await?;
            }
        }
        let (mutating, validating) = (
            configurations.iter().any(is_mutating),
            configurations.iter().any(|configuration| !is_mutating(configuration)),
        );
        let canaries = webhooks.canary_calls();
        let namespace = namespace.metadata.name.as_deref().unwrap_or(CANARY_NAMESPACE);
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let canary: ConfigMap = object(json!({"metadata": {"name": "canary"}}));
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let start = Instant::now();
        loop {
            match api.create(&dry_run, &canary).await {
                Ok(_) => {}
                // A Service is known to every node some time after its pod is ready.
                Err(kube::Error::Api(_)) if start.elapsed() <= CANARY_PATIENCE => {}
                Err(error) => return Err(failed("call the webhooks once")(error)),
            }
            let calls = *canaries.borrow();
            let (mutating, validating) =
                (!mutating || calls.mutating > 0, !validating || calls.validating > 0);
            if mutating && validating {
                return Ok(());
            }
            if start.elapsed() > CANARY_PATIENCE {
                return Err(SetupError::Canary { mutating, validating });
            }
            sleep(RETRY_EVERY).await;
        }
    }

    /// Removes what [`Self::register`] registered.
    pub(super) async fn unregister(&self, webhooks: &WebhookHandle) -> Result<(), SetupError> {
        let configurations = webhooks.configurations();
        let configurations = match &self.guest {
            Some(marks) => marks.narrowed(configurations),
            None => configurations,
        };
        for configuration in &configurations {
            let name = configuration["metadata"]["name"].as_str().unwrap_or_default();
            if is_mutating(configuration) {
                self.delete_cluster_wide::<MutatingWebhookConfiguration>(name).await?;
            } else {
                self.delete_cluster_wide::<ValidatingWebhookConfiguration>(name).await?;
            }
        }
        Ok(())
    }

    /// Creates an object; one that is there already, from an earlier run, is as good.
    async fn create_cluster_wide<K>(&self, object: &K, action: &str) -> Result<(), SetupError>
    where
        K: kube::Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + std::fmt::Debug,
    {
        match Api::<K>::all(self.client.clone()).create(&PostParams::default(), object).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(failed(action)(error)),
        }
    }

    async fn delete_cluster_wide<K>(&self, name: &str) -> Result<(), SetupError>
    where
        K: kube::Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug,
    {
        match Api::<K>::all(self.client.clone()).delete(name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(failed("remove the webhooks")(error)),
        }
    }
}

// === impl GuestMarks ===

impl GuestMarks {
    /// The namespace of the canary.
    fn canary(&self) -> Namespace {
        object(json!({"metadata": {"name": self.canary_name(), "labels": self.labels()}}))
    }

    fn canary_name(&self) -> String {
        format!("{CANARY_NAMESPACE}-{}", self.mark)
    }

    fn labels(&self) -> Value {
        let (key, value) = MANAGED_BY;
        json!({key: value, RUN_LABEL: self.run})
    }

    /// The configurations so that nobody else's requests are sent to the webhooks. Objects that are in no namespace pass
    /// every `namespaceSelector`, so they are left out by the scope of the rules.
    fn narrowed(&self, mut configurations: Vec<Value>) -> Vec<Value> {
        for configuration in &mut configurations {
            let name = configuration["metadata"]["name"].as_str().unwrap_or_default();
            configuration["metadata"] =
                json!({"name": format!("{name}-{}", self.mark), "labels": self.labels()});
            for webhook in configuration["webhooks"].as_array_mut().into_iter().flatten() {
                let of_canary = !webhook["namespaceSelector"].is_null();
                let namespaces = if of_canary { vec![self.canary_name()] } else { self.namespaces.clone() };
                webhook["namespaceSelector"] = json!({"matchExpressions": [
                    {"key": "kubernetes.io/metadata.name", "operator": "In", "values": namespaces},
                ]});
                for rule in webhook["rules"].as_array_mut().into_iter().flatten() {
                    rule["scope"] = json!("Namespaced");
                }
            }
        }
        configurations
    }
}

fn is_mutating(configuration: &Value) -> bool {
    configuration["kind"] == "MutatingWebhookConfiguration"
}

fn typed<K: DeserializeOwned>(configuration: &Value) -> Result<K, SetupError> {
    serde_json::from_value(configuration.clone()).map_err(SetupError::Registration)
}

/// An object of which we wrote the JSON ourselves.
fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("the object above is of its kind")
}

fn failed(action: &str) -> impl Fn(kube::Error) -> SetupError + use<> {
    let action = action.to_owned();
    move |source| SetupError::Request { action: action.clone(), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_hooks_into_nobody_elses_requests() {
        let webhook =
            |name: &str| json!({"name": name, "rules": [{"operations": ["CREATE"], "resources": ["*"]}]});
        let mut canary = webhook("canary");
        canary["namespaceSelector"] =
            json!({"matchLabels": {"kubernetes.io/metadata.name": CANARY_NAMESPACE}});
        let configuration = json!({
            "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "spangate-validating"},
            "webhooks": [webhook("slow"), canary],
        });
        let marks = GuestMarks {
            mark: "0a".to_owned(),
            run: "quick-0a".to_owned(),
            namespaces: vec!["load-0a".to_owned(), "load-0a-2".to_owned()],
        };
        let narrowed = marks.narrowed(vec![configuration]);
        assert_eq!(narrowed[0]["metadata"]["name"], "spangate-validating-0a");
        assert_eq!(narrowed[0]["metadata"]["labels"][RUN_LABEL], "quick-0a");
        for (place, namespaces) in [(0, json!(["load-0a", "load-0a-2"])), (1, json!(["spangate-canary-0a"]))]
        {
            let webhook = &narrowed[0]["webhooks"][place];
            assert_eq!(webhook["namespaceSelector"]["matchExpressions"][0]["values"], namespaces);
            assert_eq!(webhook["namespaceSelector"].as_object().unwrap().len(), 1);
            assert_eq!(webhook["rules"][0]["scope"], "Namespaced");
        }
    }
}

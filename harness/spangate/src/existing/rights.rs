//! The rights that a run needs on a cluster that is not ours, and no others.
//!
//! The namespaces of a run have names that nobody knows beforehand, so what is done in them takes a right in all. What
//! is not here is open to everybody who is authenticated: `/version`, discovery, and the reviews of one's own rights
//! (`system:basic-user`, `system:discovery` and `system:public-info-viewer` of the API server's bootstrap policy).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::{Value, json};
use spangate_load::{Kind, Preparation};
use spangate_scenario::{
    document,
    model::{Fault, Identity, KubectlStep, MixEntry, Resource, Spec, WatchMode, WebhookType},
};

use crate::plan::Plan;

/// One verb on one resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The resource, with its subresource after a slash.
    pub resource: &'static str,
    /// The only namespace that it is for, if it is for one.
    pub namespace: Option<String>,
    /// The only object that it is for, if it is for one.
    pub name: Option<String>,
    /// The verb.
    pub verb: &'static str,
}

/// All that is needed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights(BTreeSet<Right>);

/// What the objects of the manifest are called.
pub const NAME: &str = "spangate";

/// The resources of the role that those get who send beside the administrator (`engine/rights.rs` of the load). RBAC lets
/// nobody give away what they do not have.
const GIVEN: [(&str, &str); 7] = [
    ("", "configmaps"),
    ("", "secrets"),
    ("", "pods"),
    ("", "events"),
    (APPS, "deployments"),
    (APPS, "deployments/scale"),
    (WIDGETS, "widgets"),
];
/// The verbs of that role.
const ALL_VERBS: [&str; 8] =
    ["create", "get", "list", "watch", "update", "patch", "delete", "deletecollection"];
const APPS: &str = "apps";
const WIDGETS: &str = "load.spangate.dev";
const ADMISSION: &str = "admissionregistration.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
/// How the names of users begin that are service accounts; namespace and name follow.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

// === impl Rights ===

impl Rights {
    /// The rights that runs of `plans` need.
    pub fn of<'p>(plans: impl IntoIterator<Item = &'p Plan>) -> Self {
        let mut rights = Self::default();
        plans.into_iter().for_each(|plan| rights.add_plan(plan));
        rights
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Right> {
        self.0.iter()
    }

    /// A service account with these rights, for `kubectl apply -f -`. What is for one namespace is in a role of that namespace,
    /// which must be there.
    pub fn manifest(&self) -> String {
        let labels = json!({"app.kubernetes.io/name": NAME});
        let metadata = json!({"name": NAME, "labels": labels});
        let version = format!("{RBAC}/v1");
        let subjects = json!([{"kind": "ServiceAccount", "namespace": NAME, "name": NAME}]);
        let mut documents = vec![
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}),
            json!({
                "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": NAME, "namespace": NAME, "labels": labels},
            }),
            json!({
                "apiVersion": version, "kind": "ClusterRole", "metadata": metadata, "rules": self.rules(None),
            }),
            json!({
                "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": metadata,
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": NAME},
                "subjects": subjects,
            }),
        ];
        let namespaces: BTreeSet<&str> =
            self.0.iter().filter_map(|right| right.namespace.as_deref()).collect();
        for namespace in namespaces {
            let metadata = json!({"name": NAME, "namespace": namespace, "labels": labels});
            let rules = self.rules(Some(namespace));
            documents.extend([
                json!({"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": rules}),
                json!({
                    "apiVersion": version, "kind": "RoleBinding", "metadata": metadata,
                    "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": NAME},
                    "subjects": subjects,
                }),
            ]);
        }
        documents.iter().map(document::write).collect::<Vec<_>>().join("---\n")
    }

    /// The rules of a role for all namespaces or for one: verbs together that are for the same, and resources that have the
    /// same verbs.
    fn rules(&self, of: Option<&str>) -> Value {
        let mut verbs: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for right in self.0.iter().filter(|right| right.namespace.as_deref() == of) {
            let Right { group, resource, name, verb, .. } = right;
            verbs.entry((group, resource, name)).or_default().push(verb);
        }
        let mut resources: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for ((group, resource, name), verbs) in verbs {
            resources.entry((group, name, verbs)).or_default().push(resource);
        }
        let rules = resources.into_iter().map(|((group, name, verbs), resources)| {
            let mut rule = json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
            if let Some(name) = name {
                rule["resourceNames"] = json!([name]);
            }
            rule
        });
        rules.collect()
    }

    fn add_plan(&mut self, plan: &Plan) {
        let spec = &plan.scenario.spec;
        // Their own are made and removed, and found again by their label.
        self.add("", "namespaces", &["create", "list", "delete"]);
        self.add_faults(spec);
        self.add_senders(spec, &plan.preparation);
        for object in plan.preparation.objects() {
            self.add_resource(object.entry.resource, &["create"]);
        }
        let by_admin = |identity: &Identity| *identity == Identity::admin();
        for entry in spec.load.entries().filter(|entry| by_admin(&entry.identity)) {
            self.add_entry(entry);
        }
        for watchers in spec.load.watchers.iter().filter(|watchers| by_admin(&watchers.identity)) {
            let only_watches = watchers.mode == WatchMode::WatchList;
            self.add_resource(watchers.resource, if only_watches { &["watch"] } else { &["list", "watch"] });
        }
        if plan.replay.is_some() {
            self.add_given();
        }
    }

    fn add_faults(&mut self, spec: &Spec) {
        for fault in &spec.faults {
            let Fault::Webhook(fault) = fault else { continue };
            let resource = match fault.webhook_type {
                WebhookType::Mutating => "mutatingwebhookconfigurations",
                WebhookType::Validating => "validatingwebhookconfigurations",
            };
            self.add(ADMISSION, resource, &["create", "list", "delete"]);
            // The canary, which tells when the API server knows of them.
            self.add("", "configmaps", &["create"]);
        }
    }

    /// What it takes to let others send.
    fn add_senders(&mut self, spec: &Spec, preparation: &Preparation) {
        if preparation.identities.iter().all(|identity| *identity == Identity::admin()) {
            return;
        }
        self.add_given();
        self.add("authorization.k8s.io", "subjectaccessreviews", &["create"]);
        self.add(RBAC, "clusterroles", &["create", "patch", "list", "delete"]);
        self.add(RBAC, "rolebindings", &["create", "patch"]);
        if !preparation.cluster_readers.is_empty() {
            self.add(RBAC, "clusterrolebindings", &["create", "patch", "list", "delete"]);
        }
        for identity in &spec.load.identities {
            if identity.service_accounts.is_some() {
                self.add("", "serviceaccounts", &["create", "patch"]);
                self.add("", "serviceaccounts/token", &["create"]);
            }
            if let Some(who) = &identity.impersonate {
                self.0.insert(impersonate(&who.user));
                self.0.extend(who.groups.iter().map(|group| impersonated("groups", None, group)));
            }
        }
    }

    fn add_given(&mut self) {
        for (group, resource) in GIVEN {
            self.add(group, resource, &ALL_VERBS);
        }
    }

    fn add_entry(&mut self, entry: &MixEntry) {
        let Some(kind) = Kind::of(entry).filter(|_| entry.weight.0 > 0) else { return };
        let verbs: &[&str] = match kind {
            Kind::Create(_) => &["create"],
            Kind::Get(_) => &["get"],
            Kind::List(_) => &["list"],
            Kind::WatchList(_) | Kind::Watch(_) => &["watch"],
            Kind::Update(_) => &["get", "update"],
            Kind::Put(_) => &["update"],
            Kind::Patch(_) => &["patch"],
            Kind::Apply(_) => &["create", "patch"],
            Kind::Delete(_) => &["delete"],
            Kind::PostDelete(_) => &["create", "delete"],
            Kind::DeleteCollection(_) => &["deletecollection"],
            Kind::Kubectl(steps) => return steps.iter().for_each(|step| self.add_step(*step)),
        };
        if let Some(resource) = kind.resource() {
            self.add_resource(resource, verbs);
        }
    }

    /// What a command of kubectl sends; `apply` and `delete` work on what the sequence made, a config map or a
    /// deployment.
    fn add_step(&mut self, step: KubectlStep) {
        let both = [Resource::Configmaps, Resource::Deployments];
        match step {
            KubectlStep::Discovery => {}
            KubectlStep::CreateDeployment => self.add_resource(Resource::Deployments, &["create"]),
            KubectlStep::CreateConfigmap => self.add_resource(Resource::Configmaps, &["create"]),
            KubectlStep::Apply => {
                for resource in both {
                    self.add_resource(resource, &["get", "create", "patch"]);
                }
            }
            KubectlStep::GetPods => self.add_resource(Resource::Pods, &["list"]),
            KubectlStep::GetDeployments => self.add_resource(Resource::Deployments, &["list"]),
            KubectlStep::RolloutStatus => self.add_resource(Resource::Deployments, &["get", "watch"]),
            KubectlStep::Scale => {
                self.add_resource(Resource::Deployments, &["get"]);
                self.add(APPS, "deployments/scale", &["patch"]);
            }
            KubectlStep::Delete => {
                for resource in both {
                    self.add_resource(resource, &["delete", "get", "watch"]);
                }
            }
        }
    }

    fn add_resource(&mut self, resource: Resource, verbs: &[&'static str]) {
        let group = match resource {
            Resource::Deployments => APPS,
            Resource::Widgets => WIDGETS,
            Resource::Configmaps | Resource::Pods | Resource::Events | Resource::Secrets => "",
        };
        self.add(group, resource.plural(), verbs);
    }

    fn add(&mut self, group: &'static str, resource: &'static str, verbs: &[&'static str]) {
        self.0.extend(verbs.iter().map(|verb| Right { group, resource, namespace: None, name: None, verb }));
    }
}

/// The right to send as a user: for one that is a service account, the API server asks whether that may be impersonated
/// (`k8s.io/apiserver/pkg/endpoints/filters/impersonation`, `SplitUsername`).
fn impersonate(user: &str) -> Right {
    match user.strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.split_once(':')) {
        Some((namespace, name)) if is_name(namespace) && !namespace.contains('.') && is_name(name) => {
            impersonated("serviceaccounts", Some(namespace), name)
        }
        _ => impersonated("users", None, user),
    }
}

fn impersonated(resource: &'static str, namespace: Option<&str>, name: &str) -> Right {
    let namespace = namespace.map(str::to_owned);
    Right { group: "", resource, namespace, name: Some(name.to_owned()), verb: "impersonate" }
}

/// Whether a namespace or a service account may be called so.
fn is_name(text: &str) -> bool {
    let within = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    !text.is_empty() && text.bytes().all(within)
}

impl fmt::Display for Right {
    /// As `kubectl api-resources` names them: `create deployments.apps/scale`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((self.resource, ""));
        write!(f, "{} {resource}", self.verb)?;
        let name = self.name.as_deref().unwrap_or_default();
        let namespace = self.namespace.as_deref().unwrap_or_default();
        for (mark, part) in [(".", self.group), ("/", subresource), (" ", name), (" in ", namespace)] {
            if !part.is_empty() {
                write!(f, "{mark}{part}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use spangate_scenario::Loaded;

    use super::*;

    fn of(spec: &str) -> Rights {
        let text = format!(
            "apiVersion: spangate/v1alpha1\nkind: Scenario\nmetadata: {{name: a}}\nspec:\n{spec}\n  expect: [complete: {{}}]\n"
        );
        let scenario = spangate_scenario::parse("a test", &text).unwrap_or_else(|error| panic!("{error:?}"));
        let plan = Plan::new(Loaded { scenario, text, path: "a.yaml".into() }, None).unwrap();
        Rights::of([&plan])
    }

    fn told(rights: &Rights) -> Vec<String> {
        rights.iter().map(ToString::to_string).collect()
    }

    const NAMESPACES: [&str; 3] = ["create namespaces", "delete namespaces", "list namespaces"];

    #[test]
    fn a_load_needs_what_it_sends_and_what_is_made_for_it() {
        let rights = of("  load: {arrivals: {rate: 10/s, for: 1s}, mix: [list: {resource: configmaps}]}");
        let mut wanted = vec!["create configmaps", "list configmaps"];
        wanted.extend(NAMESPACES);
        assert_eq!(told(&rights), wanted);
    }

    #[test]
    fn commands_and_webhooks_need_their_own() {
        let rights = of(
            "  faults: [webhook: {name: a, type: validating, rules: [{operations: [CREATE], resources: \
                         [deployments]}], delay: {fixed: 9ms}}]\n  load: {arrivals: {rate: 10/s, for: 1s}, mix: [kubectl: \
                         [create deployment, scale]]}",
        );
        let told = told(&rights);
        for right in [
            "create validatingwebhookconfigurations.admissionregistration.k8s.io",
            "patch deployments.apps/scale",
            "get deployments.apps",
            "create configmaps",
        ] {
            assert!(told.contains(&right.to_owned()), "{right}: {told:?}");
        }
        assert!(
            !told.iter().any(|right| right.contains("mutatingwebhook") || right.contains("rbac")),
            "{told:?}"
        );
    }

    #[test]
    fn others_who_send_are_given_rights() {
        let rights = of(
            "  load: {arrivals: {rate: 10/s, for: 1s}, identities: [{name: eve, impersonate: {user: eve}}], \
                         mix: [{as: eve, get: {resource: pods}}]}",
        );
        let told = told(&rights);
        for right in
            ["impersonate users eve", "patch rolebindings.rbac.authorization.k8s.io", "deletecollection pods"]
        {
            assert!(told.contains(&right.to_owned()), "{right}: {told:?}");
        }
    }

    /// Scenario: one sends as a service account, with groups, and one as a user whose name only begins like one.
    /// Guarantees: the right is on the service account, in its namespace, where a role of its own has it.
    #[test]
    fn a_service_account_is_impersonated_in_its_namespace() {
        let rights = of(
            "  load: {arrivals: {rate: 10/s, for: 1s}, identities: [{name: robot, impersonate: {user: \
                         'system:serviceaccount:ci:robot', groups: [builders]}}, {name: odd, impersonate: {user: \
                         'system:serviceaccount:ci'}}], mix: [{as: robot, get: {resource: pods}}, {as: odd, get: \
                         {resource: pods}}]}",
        );
        let impersonated: Vec<_> =
            told(&rights).into_iter().filter(|right| right.starts_with("impersonate")).collect();
        let wanted = ["groups builders", "serviceaccounts robot in ci", "users system:serviceaccount:ci"];
        assert_eq!(impersonated, wanted.map(|right| format!("impersonate {right}")));

        let text = rights.manifest();
        let documents: Vec<Value> = text.split("---\n").map(|text| document::read(text).unwrap()).collect();
        let rules = |kind: &str| {
            let role = documents.iter().find(|object| object["kind"] == kind).unwrap();
            (role["metadata"]["namespace"].clone(), role["rules"].clone())
        };
        let rule = json!({
            "apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"],
            "resourceNames": ["robot"],
        });
        assert_eq!(rules("Role"), (json!("ci"), json!([rule])));
        assert!(!rules("ClusterRole").1.as_array().unwrap().contains(&rule));
        let binding = documents.last().unwrap();
        assert_eq!((&binding["kind"], &binding["roleRef"]["kind"]), (&json!("RoleBinding"), &json!("Role")));
        assert_eq!(binding["metadata"]["namespace"], "ci");
        for (user, resource) in [
            ("system:serviceaccount:ci:a:b", "users"),
            ("system:serviceaccount::a", "users"),
            ("system:serviceaccount:CI:a", "users"),
            ("system:serviceaccount:c.i:a", "users"),
            ("system:serviceaccount:ci:a.b", "serviceaccounts"),
        ] {
            assert_eq!(impersonate(user).resource, resource, "{user}");
        }
    }

    #[test]
    fn the_manifest_has_every_right_once() {
        let rights = of(
            "  load: {arrivals: {rate: 10/s, for: 1s}, mix: [get: {resource: configmaps}, get: {resource: \
                         pods}]}",
        );
        let text = rights.manifest();
        let role = text.split("---\n").nth(2).unwrap();
        let role = document::read(role).unwrap();
        assert_eq!(
            role["rules"],
            json!([
                {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["create", "delete", "list"]},
                {"apiGroups": [""], "resources": ["configmaps", "pods"], "verbs": ["create", "get"]},
            ])
        );
    }
}

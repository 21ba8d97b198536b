//! Service accounts, and the rights of all who send.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use serde_json::{Value, json};

use super::{
    EngineError, Site,
    admin::{Admin, Created, Patience, metadata},
    senders::{Account, Subject},
};
use crate::{
    Preparation, Verb,
    object::GROUP,
    request::{JSON, Request},
    seed::Purpose,
    target::Target,
};

/// Service accounts that are made at once.
const PARALLEL: usize = 32;
/// Time beyond the load for which a token holds.
const TOKEN_MARGIN: Duration = Duration::from_hours(2);
/// Names of roles and bindings begin so; the load's first namespace follows.
const ROLE: &str = "spangate-load";
/// What follows it where all namespaces are meant.
const READER: &str = "reader";

/// What the operations of a load do.
const ALL_VERBS: &[&str] =
    &["create", "get", "list", "watch", "update", "patch", "delete", "deletecollection"];
/// What those do that read over all namespaces.
const READING_VERBS: &[&str] = &["list", "watch"];

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const RBAC_VERSION: &str = "rbac.authorization.k8s.io/v1";
const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

/// Makes service accounts and their tokens, gives everybody who sends what the operations need, and waits until
/// RBAC knows.
pub(super) async fn grant(admin: &Admin<'_>, preparation: &Preparation) -> Result<(), EngineError> {
    let senders = &admin.site.senders;
    let accounts = preparation.identities.iter().flat_map(|identity| senders.accounts(identity));
    let making = accounts.map(async |account| make_account(admin, account).await);
    stream::iter(making).buffer_unordered(PARALLEL).try_collect::<()>().await?;

    let rights = Rights { admin, first: admin.site.setting.namespaces.first() };
    let senders = rights.subjects(preparation.identities.iter());
    if senders.is_empty() {
        return Ok(());
    }
    let role = rights.role("", ALL_VERBS);
    admin.apply(&format!("{RBAC}/clusterroles/{}", rights.name("")), &role).await?;
    let namespaces = admin.site.setting.namespaces.iter();
    let binding = async |namespace: &str| {
        let body = rights.binding("RoleBinding", "", &senders);
        admin.apply(&format!("{}/{}", bindings(namespace), rights.name("")), &body).await?;
        rights.known(&senders[0], Some(namespace)).await
    };
    stream::iter(namespaces.map(binding)).buffer_unordered(PARALLEL).try_collect::<()>().await?;

    let readers = rights.subjects(preparation.cluster_readers.iter());
    let Some(reader) = readers.first() else { return Ok(()) };
    let role = rights.role(READER, READING_VERBS);
    admin.apply(&format!("{RBAC}/clusterroles/{}", rights.name(READER)), &role).await?;
    let body = rights.binding("ClusterRoleBinding", READER, &readers);
    admin.apply(&format!("{RBAC}/clusterrolebindings/{}", rights.name(READER)), &body).await?;
    rights.known(reader, None).await
}

/// Asks for the tokens of service accounts that another worker has made.
pub(super) async fn tokens(site: &Site, preparation: &Preparation) -> Result<(), EngineError> {
    let admin = Admin::new(site, Purpose::Prepare);
    let accounts = preparation.identities.iter().flat_map(|identity| site.senders.accounts(identity));
    let asking = accounts.map(async |account| ask_for_token(&admin, account).await);
    stream::iter(asking).buffer_unordered(PARALLEL).try_collect().await
}

/// Removes the rights that are not in a namespace; tries everything, and gives the first error.
pub(super) async fn revoke(admin: &Admin<'_>, preparation: &Preparation) -> Result<(), EngineError> {
    let rights = Rights { admin, first: admin.site.setting.namespaces.first() };
    let mut paths = Vec::new();
    if !rights.subjects(preparation.cluster_readers.iter()).is_empty() {
        paths.extend(["clusterrolebindings", "clusterroles"].map(|kind| (kind, READER)));
    }
    if !rights.subjects(preparation.identities.iter()).is_empty() {
        paths.push(("clusterroles", ""));
    }
    let mut result = Ok(());
    for (kind, suffix) in paths {
        result = result.and(admin.delete(&format!("{RBAC}/{kind}/{}", rights.name(suffix))).await);
    }
    result
}

/// The collections in `namespace` of which this makes objects.
pub(super) fn collections(namespace: &str) -> [String; 2] {
    [accounts(namespace), bindings(namespace)]
}

fn accounts(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/serviceaccounts")
}

fn bindings(namespace: &str) -> String {
    format!("{RBAC}/namespaces/{namespace}/rolebindings")
}

/// Makes a service account, and asks for its token.
async fn make_account(admin: &Admin<'_>, account: &Account) -> Result<(), EngineError> {
    let site = admin.site;
    let path = format!("{}/{}", accounts(site.setting.namespaces.first()), account.name);
    let body = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(site, &account.name),
        "automountServiceAccountToken": false,
    });
    admin.apply(&path, &body).await?;
    ask_for_token(admin, account).await
}

/// Asks for the token of a service account that is there.
async fn ask_for_token(admin: &Admin<'_>, account: &Account) -> Result<(), EngineError> {
    let site = admin.site;
    let path = format!("{}/{}", accounts(site.setting.namespaces.first()), account.name);
    let length = site.load.length().unwrap_or_default().get();
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": (length + TOKEN_MARGIN).as_secs()},
    });
    let no_token = || EngineError::NoToken(account.name.clone());
    let Created::New(answer) = admin.create(&format!("{path}/token"), &body).await? else {
        return Err(no_token());
    };
    let token = answer["status"]["token"].as_str().ok_or_else(no_token)?;
    account.set_token(token).ok_or_else(no_token)
}

struct Rights<'a> {
    admin: &'a Admin<'a>,
    first: &'a str,
}

// === impl Rights ===

impl Rights<'_> {
    fn subjects<'i>(
        &self,
        identities: impl Iterator<Item = &'i spangate_scenario::model::Identity>,
    ) -> Vec<Subject> {
        identities.flat_map(|identity| self.admin.site.senders.subjects(identity, self.first)).collect()
    }

    /// The name of a role and its bindings: roles of the cluster are told apart by the load's namespace.
    fn name(&self, suffix: &str) -> String {
        let colon = if suffix.is_empty() { "" } else { ":" };
        format!("{ROLE}:{}{colon}{suffix}", self.first)
    }

    fn role(&self, suffix: &str, verbs: &[&str]) -> Value {
        let rule = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
        json!({
            "apiVersion": RBAC_VERSION, "kind": "ClusterRole",
            "metadata": metadata(self.admin.site, &self.name(suffix)),
            "rules": [
                rule("", &["configmaps", "secrets", "pods", "events"]),
                rule("apps", &["deployments", "deployments/scale"]),
                rule(GROUP, &["widgets"]),
            ],
        })
    }

    fn binding(&self, kind: &str, suffix: &str, subjects: &[Subject]) -> Value {
        let name = self.name(suffix);
        let subjects: Vec<&Value> = subjects.iter().map(|subject| &subject.entry).collect();
        json!({
            "apiVersion": RBAC_VERSION, "kind": kind, "metadata": metadata(self.admin.site, &name),
            "roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": name},
            "subjects": subjects,
        })
    }

    /// Waits until RBAC lets `subject` in: into a namespace, or as a reader of all. All subjects of a binding
    /// become known at once.
    async fn known(&self, subject: &Subject, namespace: Option<&str>) -> Result<(), EngineError> {
        let mut attributes = json!({"verb": "list", "resource": "configmaps"});
        if let Some(namespace) = namespace {
            attributes["namespace"] = json!(namespace);
        }
        let Subject { user, groups, .. } = subject;
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
        });
        let target = Target::path("/apis/authorization.k8s.io/v1/subjectaccessreviews");
        let request = Request::new(Verb::Create, Method::POST, target).body(JSON, &review);
        let patience = Patience::new();
        loop {
            let answer = self.admin.send(&request).await?;
            if matches!(&answer, Created::New(review) if review["status"]["allowed"] == true) {
                return Ok(());
            }
            if !patience.wait().await {
                let place = namespace.map_or_else(
                    || "all namespaces".to_owned(),
                    |namespace| format!("the namespace {namespace:?}"),
                );
                return Err(EngineError::NoRights { user: user.clone(), place });
            }
        }
    }
}

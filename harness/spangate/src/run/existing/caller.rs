//! Who a run is on a cluster that is not ours, and what it may do there.

use std::collections::BTreeMap;

use http::Method;
use serde_json::json;
use spangate_cluster::Version;
use spangate_scenario::model::Cluster;

use super::{Administrator, SetupError, send};
use crate::{
    error::CommandError,
    existing::{Right, Rights},
};

/// Whoever the API server takes us for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) user: String,
    groups: Vec<String>,
}

/// The group of everybody who is somebody.
const EVERYBODY: &str = "system:authenticated";

// === impl Caller ===

impl Caller {
    /// Asks the API server.
    pub(super) async fn ask(administrator: &Administrator) -> Result<Self, SetupError> {
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

    /// The group that the verdicts go by: one whose `traceparent` is followed, or else the one that the scenario names. An API
    /// server that follows nobody's has none of the first kind.
    pub(super) fn group(&self, stated: Option<&str>, version: Version) -> Result<String, CommandError> {
        let is_in = |group: &str| self.groups.iter().any(|known| known == group);
        if let Some(stated) = stated.filter(|group| !is_in(group)) {
            let message = format!(
                "the scenario wants an `admin` in {stated}, and {} is in {}",
                self.user,
                self.groups.join(", ")
            );
            return Err(CommandError::usage(message).help("take another context, or leave out `adminGroup`"));
        }
        let (major, minor) = Cluster::FOLLOWED_SINCE;
        let follows = version.at_least(major, minor);
        if let Some(stated) = stated.filter(|group| !follows && Cluster::FOLLOWED_GROUPS.contains(group)) {
            let message = format!(
                "the scenario wants an `admin` in {stated}, whose traceparent is followed, and Kubernetes \
                 {version} makes a link of everybody's"
            );
            return Err(CommandError::usage(message)
                .help(format!("leave out `adminGroup`, or take a cluster with {major}.{minor} or later")));
        }
        let followed = Cluster::FOLLOWED_GROUPS.into_iter().find(|group| follows && is_in(group));
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

/// Those of `rights` that the caller does not have.
pub(super) async fn missing(
    administrator: &Administrator,
    rights: &Rights,
) -> Result<Vec<String>, SetupError> {
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let mut missing = Vec::new();
    for right in rights.iter() {
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes(right)},
        });
        let answer = send(administrator, Method::POST, path, &body).await?;
        if answer["status"]["allowed"] != true {
            missing.push(right.to_string());
        }
    }
    Ok(missing)
}

/// A right as a review asks for it.
fn attributes(right: &Right) -> BTreeMap<&'static str, &str> {
    let (resource, subresource) = right.resource.split_once('/').unwrap_or((right.resource, ""));
    let mut attributes = BTreeMap::from([
        ("group", right.group),
        ("resource", resource),
        ("subresource", subresource),
        ("verb", right.verb),
    ]);
    attributes.extend(right.namespace.as_deref().map(|namespace| ("namespace", namespace)));
    attributes.extend(right.name.as_deref().map(|name| ("name", name)));
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_in_a_namespace_is_asked_for_there() {
        let right = Right {
            group: "",
            resource: "serviceaccounts",
            namespace: Some("ci".to_owned()),
            name: Some("robot".to_owned()),
            verb: "impersonate",
        };
        let wanted = [
            ("group", ""),
            ("name", "robot"),
            ("namespace", "ci"),
            ("resource", "serviceaccounts"),
            ("subresource", ""),
            ("verb", "impersonate"),
        ];
        assert_eq!(attributes(&right), BTreeMap::from(wanted));
    }

    fn caller(groups: &[&str]) -> Caller {
        Caller { user: "me".to_owned(), groups: groups.iter().map(|group| (*group).to_owned()).collect() }
    }

    #[test]
    fn the_groups_say_whether_a_traceparent_is_followed() {
        let masters = caller(&["system:masters", EVERYBODY]);
        let admins = caller(&["kubeadm:cluster-admins", EVERYBODY]);
        let since = Version::new(1, 33, 0);
        let group = |caller: &Caller, stated| caller.group(stated, since).unwrap();
        assert_eq!(group(&masters, None), "system:masters");
        assert_eq!(group(&caller(&[EVERYBODY, "system:monitoring"]), None), "system:monitoring");
        assert_eq!(group(&admins, None), EVERYBODY);
        assert_eq!(group(&admins, Some("kubeadm:cluster-admins")), "kubeadm:cluster-admins");
        for (caller, stated) in [(&admins, "system:masters"), (&masters, EVERYBODY)] {
            let told = caller.group(Some(stated), since).unwrap_err().to_string();
            assert!(told.contains("the scenario wants"), "{told}");
        }
    }

    #[test]
    fn an_older_api_server_follows_nobody() {
        let (masters, before) = (caller(&["system:masters", EVERYBODY]), Version::new(1, 32, 9));
        assert_eq!(masters.group(None, before).unwrap(), EVERYBODY);
        assert_eq!(masters.group(Some(EVERYBODY), before).unwrap(), EVERYBODY);
        let told = masters.group(Some("system:masters"), before).unwrap_err().to_string();
        assert!(told.contains("Kubernetes 1.32.9 makes a link of everybody's"), "{told}");
    }
}

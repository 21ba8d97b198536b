//! The definition of the custom resources that the load works on.

use std::time::Duration;

use serde_json::{Value, json};
use spangate_scenario::model::Resource;

use super::{
    EngineError,
    admin::{Admin, Created, Patience, is_ours, metadata},
};
use crate::{object::GROUP, target::Target};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// How long a definition of an earlier run may take to go; the objects go with it, one after the other.
const REMOVAL: Duration = Duration::from_mins(2);

/// Makes the definition; false if there was one that Spangate did not make, which is used and kept. One that an
/// earlier run left behind is removed first, and its objects with it.
pub(super) async fn make(admin: &Admin<'_>) -> Result<bool, EngineError> {
    let body = body(&metadata(admin.site, &name()));
    let mut owned = true;
    if admin.create(DEFINITIONS, &body).await? == Created::Conflict {
        owned = admin.find(&path()).await?.is_none_or(|found| is_ours(&found));
        if owned {
            remove(admin).await?;
            gone(admin).await?;
            admin.create(DEFINITIONS, &body).await?;
        }
    }
    Ok(owned)
}

/// Waits until the objects are served.
pub(super) async fn ready(admin: &Admin<'_>) -> Result<(), EngineError> {
    established(admin).await?;
    served(admin).await
}

/// Removes the definition.
pub(super) async fn remove(admin: &Admin<'_>) -> Result<(), EngineError> {
    admin.delete(&path()).await
}

async fn gone(admin: &Admin<'_>) -> Result<(), EngineError> {
    let patience = Patience::of(REMOVAL);
    while let Some(found) = admin.find(&path()).await? {
        if !patience.wait().await {
            return Err(EngineError::NotRemoved { name: name(), conditions: conditions(&found) });
        }
    }
    Ok(())
}

/// Waits until the API server has accepted the definition.
async fn established(admin: &Admin<'_>) -> Result<(), EngineError> {
    let patience = Patience::new();
    loop {
        let found = admin.find(&path()).await?.unwrap_or_default();
        if status(&found, "Established") == Some("True") {
            return Ok(());
        }
        // Names that are refused stay so until another definition goes.
        if status(&found, "NamesAccepted") == Some("False") || !patience.wait().await {
            return Err(EngineError::NotEstablished { name: name(), conditions: conditions(&found) });
        }
    }
}

/// Waits until the objects have an endpoint: it comes a moment after the condition.
async fn served(admin: &Admin<'_>) -> Result<(), EngineError> {
    let collection = Target::everywhere(Resource::Widgets).query("limit", "1").to_string();
    let patience = Patience::new();
    while admin.find(&collection).await?.is_none() {
        if !patience.wait().await {
            let conditions = "Established=True, but its objects are not served".to_owned();
            return Err(EngineError::NotEstablished { name: name(), conditions });
        }
    }
    Ok(())
}

fn name() -> String {
    format!("{}.{GROUP}", Resource::Widgets.plural())
}

fn path() -> String {
    format!("{DEFINITIONS}/{}", name())
}

fn body(metadata: &Value) -> Value {
    let schema = json!({
        "type": "object",
        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata,
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": Resource::Widgets.plural(), "singular": "widget", "kind": "Widget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
            }],
        },
    })
}

/// The status of one condition.
fn status<'a>(definition: &'a Value, condition: &str) -> Option<&'a str> {
    let all = definition["status"]["conditions"].as_array()?;
    all.iter().find(|one| one["type"] == condition)?["status"].as_str()
}

/// All conditions, with their reasons.
fn conditions(definition: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = definition["status"]["conditions"].as_array().into_iter().flatten();
    let all: Vec<_> = all
        .map(|one| {
            let [name, status, reason, message] =
                ["type", "status", "reason", "message"].map(|key| text(&one[key]));
            format!("{name}={status} ({reason}: {message})")
        })
        .collect();
    if all.is_empty() { "it has no conditions".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_told_with_their_reasons() {
        let definition = json!({"status": {"conditions": [
            {"type": "NamesAccepted", "status": "False", "reason": "KindConflict", "message": "taken"},
            {"type": "Established", "status": "False", "reason": "NotAccepted", "message": "no"},
        ]}});
        assert_eq!(
            conditions(&definition),
            "NamesAccepted=False (KindConflict: taken), Established=False (NotAccepted: no)"
        );
        assert_eq!(status(&definition, "Established"), Some("False"));
        assert_eq!(
            (status(&json!({}), "Established"), conditions(&json!({})).as_str()),
            (None, "it has no conditions")
        );
    }
}

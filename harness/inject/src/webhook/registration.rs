//! The objects that make an API server call the webhooks (`admissionregistration.k8s.io/v1`).

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use spangate_scenario::model::{Via, WebhookFault, WebhookType};

use super::{CANARY_NAMESPACE, WEBHOOK_SERVICE};

/// Path of the webhook of a fault, before its name.
pub(crate) const WEBHOOKS: &str = "/webhooks/";
/// Path of the canary of the mutating configuration.
pub(crate) const MUTATING_CANARY: &str = "/canary/mutating";
/// Path of the canary of the validating configuration.
pub(crate) const VALIDATING_CANARY: &str = "/canary/validating";

/// The canary answers at once; a slow one is a network that is broken.
const CANARY_TIMEOUT_SECONDS: u8 = 5;

/// One configuration for each type of webhook that `faults` have, for a server at `url`.
pub(crate) fn configurations(faults: &[WebhookFault], url: &str, ca_pem: &str) -> Vec<Value> {
    let ca_bundle = BASE64_STANDARD.encode(ca_pem);
    let client = |via: Via, path: &str| match via {
        Via::Url => json!({"url": format!("{url}{path}"), "caBundle": ca_bundle}),
        Via::Service => {
            let (namespace, name) = (WEBHOOK_SERVICE.namespace, WEBHOOK_SERVICE.name);
            json!({"service": {"namespace": namespace, "name": name, "path": path}, "caBundle": ca_bundle})
        }
    };
    [
        (WebhookType::Mutating, "MutatingWebhookConfiguration", "spangate-mutating", MUTATING_CANARY),
        (WebhookType::Validating, "ValidatingWebhookConfiguration", "spangate-validating", VALIDATING_CANARY),
    ]
    .into_iter()
    .filter_map(|(webhook_type, kind, name, canary_path)| {
        let mut webhooks: Vec<Value> = (faults.iter())
            .filter(|fault| fault.webhook_type == webhook_type)
            .map(|fault| webhook(fault, &client(fault.via, &format!("{WEBHOOKS}{}", fault.name))))
            .collect();
        if webhooks.is_empty() {
            return None;
        }
        // The canary goes the longer way, if any of them does.
        let via = |fault: &&WebhookFault| fault.webhook_type == webhook_type && fault.via == Via::Service;
        let via = faults.iter().find(via).map_or(Via::Url, |fault| fault.via);
        webhooks.push(canary(&client(via, canary_path)));
        Some(json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "spangate"}},
            "webhooks": webhooks,
        }))
    })
    .collect()
}

fn webhook(fault: &WebhookFault, client: &Value) -> Value {
    let mut webhook = json!({
        "name": format!("{}.spangate.dev", fault.name),
        "clientConfig": client,
        "rules": fault.rules,
        "failurePolicy": fault.failure_policy,
        "timeoutSeconds": fault.timeout_seconds,
        "matchConditions": fault.match_conditions,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    });
    // A validating webhook has no such field, and the API server may refuse unknown ones.
    if fault.webhook_type == WebhookType::Mutating {
        webhook["reinvocationPolicy"] = json!(fault.reinvocation_policy);
    }
    webhook
}

fn canary(client: &Value) -> Value {
    json!({
        "name": "canary.spangate.dev",
        "clientConfig": client,
        "rules": [{
            "operations": ["CREATE"],
            "resources": ["configmaps"],
            "apiGroups": [""],
            "apiVersions": ["v1"],
        }],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": CANARY_NAMESPACE}},
        // The creator of the config map is told why the server could not be reached.
        "failurePolicy": "Fail",
        "timeoutSeconds": CANARY_TIMEOUT_SECONDS,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(name: &str, webhook_type: &str) -> WebhookFault {
        serde_json::from_value(json!({
            "name": name,
            "type": webhook_type,
            "rules": [{"operations": ["CREATE"], "resources": ["configmaps"]}],
            "timeoutSeconds": 3,
            "failurePolicy": "Ignore",
            "matchConditions": [{"name": "mine", "expression": "true"}],
        }))
        .unwrap()
    }

    #[test]
    fn faults_stand_in_file_order_and_a_canary_comes_last() {
        let faults = [fault("z", "mutating"), fault("v", "validating"), fault("a", "mutating")];
        let configurations = configurations(&faults, "https://127.0.0.1:1", "PEM");
        let names: Vec<(&str, Vec<&str>)> = (configurations.iter())
            .map(|configuration| {
                let webhooks = configuration["webhooks"].as_array().unwrap().iter();
                let names = webhooks.map(|webhook| webhook["name"].as_str().unwrap()).collect();
                (configuration["kind"].as_str().unwrap(), names)
            })
            .collect();
        assert_eq!(
            names,
            [
                (
                    "MutatingWebhookConfiguration",
                    vec!["z.spangate.dev", "a.spangate.dev", "canary.spangate.dev"]
                ),
                ("ValidatingWebhookConfiguration", vec!["v.spangate.dev", "canary.spangate.dev"]),
            ]
        );
    }

    /// Scenario: one of two mutating webhooks is behind a Service.
    /// Guarantees: it is registered by the Service, and so is the canary, which must find out whether that way is open.
    #[test]
    fn a_webhook_behind_a_service_is_registered_by_its_name() {
        let behind = WebhookFault { via: Via::Service, ..fault("behind", "mutating") };
        let all = configurations(&[fault("url", "mutating"), behind], "https://127.0.0.1:1", "PEM");
        let clients: Vec<&Value> =
            all[0]["webhooks"].as_array().unwrap().iter().map(|webhook| &webhook["clientConfig"]).collect();
        let service = |path: &str| {
            json!({
                "service": {"namespace": "spangate", "name": "webhooks", "path": path},
                "caBundle": "UEVN",
            })
        };
        assert_eq!(clients[0]["url"], "https://127.0.0.1:1/webhooks/url");
        assert_eq!(clients[1..], [&service("/webhooks/behind"), &service("/canary/mutating")]);
    }

    #[test]
    fn no_fault_of_a_type_means_no_configuration_of_it() {
        assert_eq!(configurations(&[], "https://127.0.0.1:1", "PEM"), [] as [Value; 0]);
        assert_eq!(configurations(&[fault("v", "validating")], "https://127.0.0.1:1", "PEM").len(), 1);
    }

    #[test]
    fn a_webhook_is_complete() {
        let configuration = &configurations(&[fault("slow", "mutating")], "https://127.0.0.1:1", "PEM")[0];
        assert_eq!(
            configuration["webhooks"][0],
            json!({
                "name": "slow.spangate.dev",
                "clientConfig": {"url": "https://127.0.0.1:1/webhooks/slow", "caBundle": "UEVN"},
                "rules": [{
                    "operations": ["CREATE"],
                    "resources": ["configmaps"],
                    "apiGroups": ["*"],
                    "apiVersions": ["*"],
                }],
                "failurePolicy": "Ignore",
                "timeoutSeconds": 3,
                "matchConditions": [{"name": "mine", "expression": "true"}],
                "reinvocationPolicy": "Never",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            })
        );
        let validating = &configurations(&[fault("v", "validating")], "https://127.0.0.1:1", "PEM")[0];
        assert_eq!(validating["webhooks"][0].get("reinvocationPolicy"), None);
    }
}

//! Runs on a control plane that is there already, with real processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/plane.rs"]
mod plane;

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use kube::{
    Client,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use plane::{ControlPlane, output, spangate, text};
use serde_json::{Value, json};

const PLAIN: &str = include_str!("existing/plain.yaml");
const HOOKED: &str = include_str!("existing/hooked.yaml");
const OTHERS: &str = include_str!("existing/others.yaml");
const LONG: &str = include_str!("existing/long.yaml");
/// How long the first object of a run may take to be there.
const MADE: Duration = Duration::from_secs(20);

/// A port that is free now, at which an API server may be told to export.
fn otlp() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// What was said, without the breaks of its lines.
fn told(output: &std::process::Output) -> String {
    text(output).split_whitespace().filter(|word| *word != "\u{2502}").collect::<Vec<_>>().join(" ")
}

fn run(plane: &ControlPlane, scenario: &Path) -> Command {
    let mut command = spangate();
    command.env("XDG_STATE_HOME", plane.state.path()).arg("run").arg(scenario);
    command.arg("--out").arg(plane.state.path().join("runs"));
    command
}

/// Whether the capture was whole. A run is inconclusive if this machine had too much else to do to send on time.
fn assert_proven(output: &std::process::Output) {
    assert!(matches!(output.status.code(), Some(0 | 4)), "{}", text(output));
    assert!(told(output).contains("PASS complete"), "{}", text(output));
}

fn write(dir: &Path, name: &str, content: &str) -> std::path::PathBuf {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    path
}

/// The names of all objects of the kinds that a run makes.
async fn objects(client: &Client) -> BTreeSet<String> {
    let kinds = [
        ("", "v1", "Namespace", "namespaces"),
        ("", "v1", "ConfigMap", "configmaps"),
        ("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles"),
        ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
        ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings"),
        (
            "admissionregistration.k8s.io",
            "v1",
            "ValidatingWebhookConfiguration",
            "validatingwebhookconfigurations",
        ),
        (
            "admissionregistration.k8s.io",
            "v1",
            "MutatingWebhookConfiguration",
            "mutatingwebhookconfigurations",
        ),
    ];
    let mut found = BTreeSet::new();
    for (group, version, kind, plural) in kinds {
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        let api = kube::Api::<DynamicObject>::all_with(client.clone(), &resource);
        for object in api.list(&kube::api::ListParams::default()).await.unwrap() {
            let metadata = object.metadata;
            found.insert(format!(
                "{plural} {}/{}",
                metadata.namespace.unwrap_or_default(),
                metadata.name.unwrap_or_default()
            ));
        }
    }
    found
}

/// Scenario: command lines for a cluster that nobody allowed, or that cannot be.
/// Guarantees: exit code 2 before anything is sent, what would be done, and how it is allowed.
#[test]
fn a_cluster_that_nobody_allowed_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = write(
        dir.path(),
        "kubeconfig",
        r#"{"current-context": "prod", "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1",
                "certificate-authority-data": "UEVN"}}],
            "users": [{"name": "u", "user": {"token": "t"}}]}"#,
    );
    let plain = write(dir.path(), "plain.yaml", PLAIN);
    let hooked = write(dir.path(), "hooked.yaml", HOOKED);
    let etcd = "faults: [etcd: {name: a, rpc: KV/Txn, delay: {fixed: 9ms}}]\n  load:";
    let etcd = write(dir.path(), "etcd.yaml", &PLAIN.replacen("load:", etcd, 1));
    let widgets =
        write(dir.path(), "widgets.yaml", &PLAIN.replace("resource: configmaps", "resource: widgets"));
    let allowed = ["--allow-context", "prod"];
    for (scenario, args, message) in [
        (&plain, &[][..], "nothing is sent to 127.0.0.1:1 (context prod) unless that is allowed"),
        (&plain, &[], "--allow-context prod"),
        (&plain, &[], "spangate-load-*"),
        (&plain, &["--allow-context", "dev"], "allows \"dev\", and the run would be on \"prod\""),
        (&plain, &["--context", "dev"], "has no context \"dev\""),
        (&hooked, &allowed, "--webhook-listen"),
        (&etcd, &allowed, "etcd faults are not possible on an existing cluster"),
        (&widgets, &allowed, "widgets"),
    ] {
        let mut command = spangate();
        command.arg("run").arg(scenario).args(["--provider", "existing"]).args(args);
        let output = output(command.env("KUBECONFIG", &kubeconfig).arg("--out").arg(dir.path().join("out")));
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output));
        assert!(told(&output).contains(message), "{message}: {}", told(&output));
        assert!(!dir.path().join("out").exists());
    }
    let output = output(spangate().arg("run").arg(&plain).args(allowed));
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(told(&output).contains("add --provider existing"), "{}", told(&output));
}

/// Scenario: one kept control plane, and two runs on it, with webhooks; then one that needs another sampling rate, and
/// two that are interrupted, in the middle of the load and while its objects are made.
/// Guarantees: both runs pass, the third is refused, the others end as interrupted, and after each of them the
/// cluster has what it had before.
#[tokio::test]
async fn a_kept_cluster_is_used_again_and_left_as_it_was() {
    let plane = ControlPlane::up(&["--otlp-endpoint", &otlp()]);
    let client = plane.client().await;
    let before = objects(&client).await;
    let hooked = write(plane.state.path(), "hooked.yaml", HOOKED);
    for _ in 0..2 {
        let output = output(run(&plane, &hooked).args(["--reuse", "play"]));
        assert_proven(&output);
        assert_eq!(objects(&client).await, before);
    }
    let rate = write(
        plane.state.path(),
        "rate.yaml",
        &PLAIN.replacen("load:", "cluster: {tracing: {samplingRatePerMillion: 10}}\n  load:", 1),
    );
    let refused = output(run(&plane, &rate).args(["--reuse", "play"]));
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(
        told(&refused).contains("samplingRatePerMillion unset, and the scenario 10"),
        "{}",
        told(&refused)
    );

    let long = write(plane.state.path(), "long.yaml", LONG);
    let populous = "load:\n    prepare: {objects: [{resource: configmaps, count: 100000}]}";
    let populous = write(plane.state.path(), "populous.yaml", &LONG.replacen("load:", populous, 1));
    for (scenario, says) in [(&long, "sending load"), (&populous, "preparing objects")] {
        let mut child = run(&plane, scenario);
        child.args(["--reuse", "play"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let (mut said, mut byte) = (String::new(), [0]);
        while !said.contains(says) && stderr.read(&mut byte).unwrap() == 1 {
            said.push(char::from(byte[0]));
        }
        // Requests are under way.
        let begun = Instant::now();
        while objects(&client).await == before {
            assert!(begun.elapsed() < MADE, "nothing is made: {said}");
        }
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        stderr.read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
        assert_eq!(objects(&client).await, before, "{says}");
    }
}

/// Scenario: a policy of the cluster lets no namespace be removed; a run with webhooks makes some. Then the policy goes, and the
/// run is repeated.
/// Guarantees: exit code 3, and the report says what is left, why, and what to do; what could be removed is gone; the next run
/// removes the rest.
#[tokio::test]
async fn what_cannot_be_removed_is_told() {
    let plane = ControlPlane::up(&["--otlp-endpoint", &otlp()]);
    let client = plane.client().await;
    let before = objects(&client).await;
    let admission = "/apis/admissionregistration.k8s.io/v1";
    let rule = json!({
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["namespaces"],
    });
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "keep"},
        "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "false"}]},
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "keep"}, "spec": {"policyName": "keep", "validationActions": ["Deny"]},
    });
    let (policies, bindings) = (
        format!("{admission}/validatingadmissionpolicies"),
        format!("{admission}/validatingadmissionpolicybindings"),
    );
    send(&client, "POST", &policies, &policy).await;
    send(&client, "POST", &bindings, &binding).await;
    let hooked = write(plane.state.path(), "hooked.yaml", HOOKED);
    let again = || output(run(&plane, &hooked).args(["--reuse", "play"]));
    let refused = again();
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    for part in [
        "PASS complete",
        "warning: objects of the run are left on the cluster, since they cannot be removed: cannot remove \
         namespaces/spangate-",
        "kubectl delete namespaces,",
    ] {
        assert!(told(&refused).contains(part), "{part}: {}", told(&refused));
    }
    let left = objects(&client).await;
    let left: Vec<_> = left.difference(&before).collect();
    assert!(left.iter().any(|object| object.starts_with("namespaces ")), "{left:?}");
    let removable = ["clusterrole", "validatingwebhook", "mutatingwebhook"];
    assert!(!left.iter().any(|object| removable.iter().any(|kind| object.starts_with(kind))), "{left:?}");

    for collection in [&bindings, &policies] {
        send(&client, "DELETE", &format!("{collection}/keep"), &json!({})).await;
    }
    // The API server forgets the policy a moment later.
    let after = (0..10).map(|_| again()).find(|output| output.status.code() != Some(3));
    assert_proven(&after.expect("the policy holds on"));
    assert_eq!(objects(&client).await, before);
}

/// Scenario: `spangate rbac` prints the rights of a scenario; a service account gets them, and loses one after the
/// other.
/// Guarantees: with all of them the run passes, by links, since nobody follows the traceparent of a service account;
/// without any one of them it ends with exit code 3, and the message names just that one.
#[tokio::test]
async fn a_service_account_needs_the_printed_rights_and_no_others() {
    let otlp = otlp();
    let plane = ControlPlane::up(&["--otlp-endpoint", &otlp, "--sampling-rate-per-million", "1000000"]);
    let client = plane.client().await;
    let rate = "cluster: {tracing: {samplingRatePerMillion: 1000000}}\n  load:";
    let scenario = write(plane.state.path(), "plain.yaml", &PLAIN.replacen("load:", rate, 1));
    let printed = output(spangate().arg("rbac").arg(&scenario));
    assert_eq!(printed.status.code(), Some(0), "{}", text(&printed));
    let manifest = String::from_utf8(printed.stdout).unwrap();
    let documents: Vec<Value> =
        manifest.split("---\n").map(|text| spangate_scenario::document::read(text).unwrap()).collect();
    for object in &documents {
        send(&client, "POST", &collection(object), object).await;
    }
    let kubeconfig = service_account(&plane, &client).await;
    let run = || {
        let mut command = run(&plane, &scenario);
        command.args(["--provider", "existing", "--allow-context", "robot", "--otlp-listen", &otlp]);
        output(command.arg("--kubeconfig").arg(&kubeconfig))
    };
    let all = run();
    assert_proven(&all);
    assert!(told(&all).contains("so its traceparent becomes a link"), "{}", told(&all));
    // That is no failure of the run: they are going, and nobody empties them on local processes.
    let left = "warning: objects of the run are left on the cluster, since no controller empties namespaces";
    assert!(told(&all).contains(left), "{}", told(&all));

    let listed = output(spangate().args(["--output", "json", "rbac"]).arg(&scenario));
    let rights: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
    assert!(rights.len() >= 6, "{rights:?}");
    let role = documents.iter().find(|object| object["kind"] == "ClusterRole").unwrap();
    let path = format!("{}/spangate", collection(role));
    for right in &rights {
        let others = rights.iter().filter(|other| *other != right).map(|other| {
            json!({"apiGroups": [other["group"]], "resources": [other["resource"]], "verbs": [other["verb"]]})
        });
        let mut less = role.clone();
        less["rules"] = others.collect();
        send(&client, "PUT", &path, &less).await;
        let named = format!(
            "may not do what the run does: {} {}",
            text_of(right, "verb"),
            text_of(right, "resource")
        );
        // The authorizer learns of it by a watch.
        let refused = (0..10).map(|_| run()).find(|output| told(output).contains("may not do"));
        let refused = refused.unwrap_or_else(|| panic!("it ran without {right}"));
        assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
        assert!(told(&refused).contains(&named), "{named}: {}", told(&refused));
        assert!(told(&refused).contains("spangate rbac"), "{}", told(&refused));
    }
}

/// Scenario: the printed rights of a scenario with a webhook, with service accounts, and with one who is impersonated as a service
/// account; then the role in the namespace of that one goes.
/// Guarantees: with the printed rights the run passes; without that role it ends with exit code 3, and the message names the right.
#[tokio::test]
async fn the_printed_rights_are_enough_for_webhooks_and_for_others() {
    let otlp = otlp();
    let plane = ControlPlane::up(&["--otlp-endpoint", &otlp, "--sampling-rate-per-million", "1000000"]);
    let client = plane.client().await;
    let scenario = write(plane.state.path(), "others.yaml", OTHERS);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ci"}});
    send(&client, "POST", "/api/v1/namespaces", &namespace).await;
    let printed = output(spangate().arg("rbac").arg(&scenario));
    assert_eq!(printed.status.code(), Some(0), "{}", text(&printed));
    let manifest = String::from_utf8(printed.stdout).unwrap();
    for document in manifest.split("---\n") {
        let object = spangate_scenario::document::read(document).unwrap();
        send(&client, "POST", &collection(&object), &object).await;
    }
    let kubeconfig = service_account(&plane, &client).await;
    let run = || {
        let mut command = run(&plane, &scenario);
        command.args(["--provider", "existing", "--allow-context", "robot", "--otlp-listen", &otlp]);
        command.args(["--webhook-listen", "127.0.0.1:0"]);
        output(command.arg("--kubeconfig").arg(&kubeconfig))
    };
    assert_proven(&run());

    let role = "/apis/rbac.authorization.k8s.io/v1/namespaces/ci/roles/spangate";
    send(&client, "DELETE", role, &json!({})).await;
    // The authorizer learns of it by a watch.
    let refused = (0..10).map(|_| run()).find(|output| told(output).contains("may not do"));
    let refused = refused.expect("it ran without the role in ci");
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    let named = "may not do what the run does: impersonate serviceaccounts eve in ci";
    assert!(told(&refused).contains(named), "{}", told(&refused));
}

fn text_of<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap()
}

/// Where objects like this one are made.
fn collection(object: &Value) -> String {
    match text_of(object, "kind") {
        "Namespace" => "/api/v1/namespaces".to_owned(),
        "ServiceAccount" => "/api/v1/namespaces/spangate/serviceaccounts".to_owned(),
        kind @ ("Role" | "RoleBinding") => {
            let namespace = text_of(&object["metadata"], "namespace");
            let kind = kind.to_lowercase();
            format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/{kind}s")
        }
        kind => format!("/apis/rbac.authorization.k8s.io/v1/{}s", kind.to_lowercase()),
    }
}

async fn send(client: &Client, method: &str, path: &str, body: &Value) -> Value {
    let request =
        http::Request::builder().method(method).uri(path).header("content-type", "application/json");
    client.request(request.body(body.to_string().into_bytes()).unwrap()).await.unwrap()
}

/// A kubeconfig of the printed service account.
async fn service_account(plane: &ControlPlane, client: &Client) -> std::path::PathBuf {
    let asked = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let path = "/api/v1/namespaces/spangate/serviceaccounts/spangate/token";
    let token = send(client, "POST", path, &asked).await["status"]["token"].clone();
    let config: Value = serde_json::from_slice(&fs::read(&plane.kubeconfig).unwrap()).unwrap();
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "robot", "clusters": config["clusters"],
        "contexts": [{"name": "robot", "context": {"cluster": "spangate", "user": "robot"}}],
        "users": [{"name": "robot", "user": {"token": token}}],
    });
    write(plane.state.path(), "robot", &config.to_string())
}

//! A recorded audit log, and what is made of it.

use std::fs;

use proptest::prelude::*;
use serde_json::{Value, json};
use spangate_scenario::{
    model::{self, Identity, IdentitySpec, Impersonate},
    units,
};

use super::*;
use crate::{Outcome, RequestRecord, Setting, Verb, request::Request, testing};

/// Recorded from a kube-apiserver 1.37.2 while kubectl worked in the namespace `shop`.
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/audit.jsonl");

fn recorded() -> Replay {
    Replay::read(&load(audit()), Path::new("/nowhere")).unwrap()
}

fn load(replay: model::Replay) -> Load {
    Load { arrivals: None, replay: Some(replay), ..testing::load(Vec::new()) }
}

fn audit() -> model::Replay {
    model::Replay { audit: Some(RECORDED.into()), ledger: None, speed: 1.0, duration: None }
}

fn read(replay: model::Replay, lines: &[String]) -> Result<Replay, ReplayError> {
    Replay::of(&load(replay), Path::new("record.jsonl"), lines.join("\n").as_bytes())
}

/// An event of stage `ResponseComplete`, `millis` after the first.
fn event(id: u32, millis: u32, verb: &str, uri: &str, resource: Option<(&str, Option<&str>)>) -> Value {
    let at = format!("2026-01-02T03:04:{:02}.{:03}000Z", millis / 1000, millis % 1000);
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": format!("id-{id}"),
        "stage": "ResponseComplete", "requestURI": uri, "verb": verb, "user": {"username": "kubernetes-admin"},
        "requestReceivedTimestamp": at, "stageTimestamp": at,
    });
    if let Some((resource, name)) = resource {
        event["objectRef"] =
            json!({"resource": resource, "namespace": "shop", "name": name, "apiVersion": "v1"});
    }
    event
}

fn of(events: &[Value]) -> Replay {
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    read(audit(), &lines).unwrap_or_else(|error| panic!("{error}"))
}

fn requests(replay: &Replay) -> Vec<Request> {
    let setting = Setting::new(&testing::load(Vec::new()), "run", 7);
    let arrivals = replay.schedule(7).arrivals();
    arrivals.map(|arrival| replay.task(&arrival, &setting).unwrap().operation.next(None).unwrap()).collect()
}

fn targets(replay: &Replay) -> Vec<String> {
    requests(replay).into_iter().map(|request| format!("{} {}", request.method, request.target)).collect()
}

#[test]
fn a_recorded_log_is_sent_again_request_by_request() {
    let replay = recorded();
    let counts = requests(&replay).iter().fold(BTreeMap::new(), |mut counts, request| {
        *counts.entry(request.verb).or_insert(0) += 1;
        counts
    });
    // Counted in the file by audit id: jq -r .auditID fixtures/audit.jsonl | sort -u.
    let skipped: u64 = replay.skipped().values().sum();
    let lines = fs::read_to_string(RECORDED).unwrap();
    let ids: std::collections::BTreeSet<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["auditID"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(requests(&replay).len() as u64 + skipped, ids.len() as u64);
    for verb in [Verb::Create, Verb::Get, Verb::List, Verb::Watch, Verb::Update, Verb::Patch, Verb::Apply] {
        assert!(counts.get(&verb).is_some_and(|count| *count > 0), "no {verb}: {counts:?}");
    }
    for verb in [Verb::Delete, Verb::DeleteCollection, Verb::Discovery] {
        assert!(counts.get(&verb).is_some_and(|count| *count > 0), "no {verb}: {counts:?}");
    }
    for reason in
        ["subresource pods/exec", "resource nodes", "dry run", "path outside of the API's resources"]
    {
        assert!(replay.skipped().contains_key(reason), "{reason}: {:?}", replay.skipped());
    }
    assert!(replay.broken_lines().is_empty());
    assert!(replay.times.is_sorted() && replay.times[0].is_zero());
}

#[test]
fn what_a_record_deletes_is_there_to_be_deleted() {
    let (replay, load) = (recorded(), load(audit()));
    let mut preparation = Preparation::new(&load, &replay.schedule(7));
    replay.prepare(&load, &mut preparation);
    let prepared: Vec<String> = preparation.objects().map(|object| object.name).collect();
    let made: Vec<String> =
        (0..replay.times.len()).map(|number| crate::object::made(number as u64, 0)).collect();
    let mut deleted = 0;
    for request in requests(&replay).iter().filter(|request| request.verb == Verb::Delete) {
        let name = request.name.as_ref().unwrap();
        assert!(prepared.contains(name) || made.contains(name), "{name} is nowhere");
        deleted += 1;
    }
    assert!(deleted > 3, "kubectl deleted more than {deleted}");
    for request in requests(&replay).iter().filter(|request| matches!(request.verb, Verb::Get | Verb::Patch))
    {
        assert!(prepared.contains(request.name.as_ref().unwrap()), "{}", request.target);
    }
    assert_eq!(preparation.identities, [Identity::admin()].into());
    assert!(preparation.cluster_readers.contains(&Identity::admin()), "pods were listed in all namespaces");
}

#[test]
fn broken_lines_are_numbered_and_counted_and_the_rest_is_sent() {
    let text = fs::read_to_string(RECORDED).unwrap();
    let whole = recorded();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let cut = lines[0][..40].to_owned();
    lines.insert(0, cut);
    lines.insert(3, "not json".to_owned());
    lines.insert(4, json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1"}).to_string());
    lines.insert(5, String::new());
    let replay = read(audit(), &lines).unwrap();
    assert_eq!(replay.skipped()["broken line"], 3);
    let broken: Vec<String> = replay.broken_lines().iter().map(ToString::to_string).collect();
    assert_eq!(
        broken,
        [
            "EOF while parsing a string (line 1)",
            "expected ident (line 4)",
            "missing field `auditID` (line 5)",
        ]
    );
    assert_eq!(targets(&replay), targets(&whole));
}

#[test]
fn a_file_of_which_nothing_can_be_sent_is_an_error_that_says_what_it_held() {
    let nodes = event(1, 0, "list", "/api/v1/nodes", Some(("nodes", None)));
    let error = read(audit(), &[nodes.to_string(), "{".to_owned()]).unwrap_err().to_string();
    assert!(error.ends_with("can be replayed: broken line (1), resource nodes (1)"), "{error}");
    let empty = read(audit(), &[]).unwrap_err();
    assert!(empty.to_string().ends_with("can be replayed: it is empty"), "{empty}");
    let gone = load(model::Replay { audit: Some("gone.jsonl".into()), ..audit() });
    let error = Replay::read(&gone, Path::new("/nowhere")).unwrap_err();
    assert!(matches!(error, ReplayError::Io { path, .. } if path == Path::new("/nowhere/gone.jsonl")));
}

#[test]
fn stages_of_one_request_are_one_request() {
    let mut received = event(1, 5, "create", "/api/v1/namespaces/shop/pods", Some(("pods", None)));
    received["stage"] = json!("RequestReceived");
    let complete = event(1, 5, "create", "/api/v1/namespaces/shop/pods", Some(("pods", Some("web"))));
    let gone = event(2, 9, "delete", "/api/v1/namespaces/shop/pods/web", Some(("pods", Some("web"))));
    let replay = of(&[received, complete, gone]);
    let requests = requests(&replay);
    assert_eq!(requests.len(), 2);
    // The name that only the end knows joins what is made to what is deleted.
    assert_eq!(requests[1].name.as_deref(), Some("load-0-0"));
}

#[test]
fn times_are_scaled_and_cut() {
    let events: Vec<Value> = (0..10)
        .map(|n| event(n, n * 1000, "get", "/api/v1/namespaces/shop/pods/a", Some(("pods", Some("a")))))
        .collect();
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    let duration = Some(units::Duration::from_secs(2));
    let replay = read(model::Replay { speed: 2.0, duration, ..audit() }, &lines).unwrap();
    assert_eq!(replay.times.as_ref(), [0, 500, 1000, 1500].map(Duration::from_millis));
    assert_eq!(replay.skipped()["after the end of the replay"], 6);
}

#[test]
fn a_list_keeps_what_it_asked_for() {
    let list = |id, uri| event(id, id, "list", uri, Some(("configmaps", None)));
    let replay = of(&[
        list(
            1,
            "/api/v1/namespaces/shop/configmaps?limit=5&labelSelector=a%3Db&fieldSelector=metadata.name%3Dx",
        ),
        list(2, "/api/v1/namespaces/shop/configmaps?resourceVersion=0"),
        list(3, "/api/v1/namespaces/shop/configmaps?resourceVersion=77"),
        list(4, "/api/v1/namespaces/shop/configmaps?resourceVersion=77&resourceVersionMatch=Exact"),
        list(5, "/api/v1/namespaces/shop/configmaps?limit=5&continue=abc"),
    ]);
    let base = "GET /api/v1/namespaces/ns/configmaps";
    assert_eq!(
        targets(&replay),
        [
            format!("{base}?fieldSelector=metadata.name%3Dx&labelSelector=a%3Db&limit=5"),
            format!("{base}?resourceVersion=0"),
            format!("{base}?resourceVersion=0"),
        ]
    );
    assert_eq!(replay.skipped().values().sum::<u64>(), 2);
}

#[test]
fn a_watch_is_held_as_long_as_it_was_but_not_beyond_the_end() {
    let watch = |id, at, seconds: u32| {
        let uri = "/api/v1/namespaces/shop/pods?allowWatchBookmarks=true&resourceVersion=9&watch=true";
        let mut event = event(id, at, "watch", uri, Some(("pods", None)));
        event["stageTimestamp"] = json!(format!("2026-01-02T03:04:{seconds:02}Z"));
        event
    };
    let mut open = watch(3, 2000, 2);
    open["stage"] = json!("ResponseStarted");
    let last = event(4, 10_000, "get", "/api/v1/namespaces/shop/pods/a", Some(("pods", Some("a"))));
    let replay = of(&[watch(1, 0, 3), watch(2, 1000, 50), open, last]);
    let base = "GET /api/v1/namespaces/ns/pods?allowWatchBookmarks=true&timeoutSeconds=";
    let targets = targets(&replay);
    assert_eq!(targets[..3], [3, 9, 8].map(|seconds| format!("{base}{seconds}&watch=true")));
}

#[test]
fn patches_keep_their_type() {
    let patch = |id, uri: &str, body: Value| {
        let mut event = event(id, id, "patch", uri, Some(("configmaps", Some("a"))));
        event["requestObject"] = body;
        event
    };
    let uri = "/api/v1/namespaces/shop/configmaps/a";
    let replay = of(&[
        patch(1, uri, json!([{"op": "remove", "path": "/data"}])),
        patch(2, uri, json!({"data": {"a": "b"}})),
        patch(3, uri, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})),
        patch(4, &format!("{uri}?fieldManager=x&force=true"), Value::Null),
    ]);
    let types: Vec<_> = requests(&replay).iter().map(|request| request.content_type.unwrap()).collect();
    assert_eq!(
        types,
        [
            "application/json-patch+json",
            "application/strategic-merge-patch+json",
            "application/apply-patch+yaml",
            "application/apply-patch+yaml",
        ]
    );
    let targets = targets(&replay);
    assert_eq!(targets[2], targets[3], "applied twice, it is one object");
}

#[test]
fn a_custom_resource_is_not_put_without_its_version() {
    let uri = "/apis/load.spangate.dev/v1/namespaces/shop/widgets/a";
    let asked = |id, verb| {
        let mut event = event(id, id, verb, uri, Some(("widgets", Some("a"))));
        event["objectRef"]["apiGroup"] = json!("load.spangate.dev");
        event
    };
    let replay = of(&[asked(1, "get"), asked(2, "update")]);
    assert_eq!(requests(&replay).iter().map(|request| request.verb).collect::<Vec<_>>(), [Verb::Get]);
    assert_eq!(replay.skipped(), &[("update of a custom resource".to_owned(), 1)].into());
}

#[test]
fn users_whom_an_identity_acts_as_are_sent_by_it() {
    let mut events = vec![event(1, 0, "list", "/api/v1/namespaces/shop/pods", Some(("pods", None)))];
    events.push(events[0].clone());
    events[1]["auditID"] = json!("other");
    events[1]["impersonatedUser"] = json!({"username": "buyer"});
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    let mut load = load(audit());
    let impersonate = Some(Impersonate { user: "buyer".to_owned(), groups: Vec::new() });
    load.identities =
        vec![IdentitySpec { name: Identity::new("shopper"), service_accounts: None, impersonate }];
    let replay = Replay::of(&load, Path::new("record.jsonl"), lines.join("\n").as_bytes()).unwrap();
    let setting = Setting::new(&load, "run", 7);
    let senders: Vec<_> = (replay.schedule(7).arrivals())
        .map(|arrival| replay.task(&arrival, &setting).unwrap().identity.as_str().to_owned())
        .collect();
    assert_eq!(senders, ["admin", "shopper"]);
}

#[test]
fn a_ledger_is_sent_again_as_well() {
    let record = |arrival: u64, verb, target: &str, outcome| RequestRecord {
        arrival,
        verb,
        target: target.to_owned(),
        started: spangate_trace::UnixNanos(1_000_000_000 + arrival * 1_000_000),
        ..testing::record(outcome)
    };
    let base = "/api/v1/namespaces/old/configmaps";
    let mut unknown = record(5, Verb::List, base, Outcome::Status(200));
    unknown.identity = Identity::new("stranger");
    let records = [
        record(1, Verb::Create, base, Outcome::Status(201)),
        record(
            2,
            Verb::WatchList,
            &format!("{base}?sendInitialEvents=true&watch=true"),
            Outcome::Status(200),
        ),
        record(3, Verb::Delete, &format!("{base}/load-1-0"), Outcome::Status(200)),
        record(4, Verb::Get, &format!("{base}/pool-3"), Outcome::Shed),
        unknown,
        record(6, Verb::Discovery, "/apis?timeout=32s", Outcome::Status(200)),
    ];
    let lines: Vec<String> = records.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
    let ledger = model::Replay { audit: None, ledger: Some("requests.jsonl".into()), ..audit() };
    let replay = read(ledger, &lines).unwrap();
    let requests = requests(&replay);
    let verbs: Vec<_> = requests.iter().map(|request| request.verb).collect();
    assert_eq!(verbs, [Verb::Create, Verb::WatchList, Verb::Delete, Verb::Discovery]);
    assert_eq!(requests[2].name.as_deref(), Some("load-0-0"), "what the create made is what is deleted");
    assert_eq!(replay.skipped(), &[("never sent".to_owned(), 1), ("sender stranger".to_owned(), 1)].into(),);
}

#[test]
fn reasons_are_not_without_number() {
    let events: Vec<Value> = (0..500)
        .map(|n| {
            let resource = format!("things{n}");
            event(n, n, "list", &format!("/api/v1/{resource}"), Some((&resource, None)))
        })
        .chain([event(999, 0, "get", "/api/v1/namespaces/shop/pods/a", Some(("pods", Some("a"))))])
        .collect();
    let replay = of(&events);
    assert!(replay.skipped().len() < 100);
    assert_eq!(replay.skipped().values().sum::<u64>(), 500);
}

proptest! {
    #[test]
    fn the_same_object_is_always_the_same_one(names in prop::collection::vec("[a-c]{1,2}", 1..40)) {
        let events: Vec<Value> = (0..).zip(&names)
            .map(|(n, name)| {
                let uri = format!("/api/v1/namespaces/shop/pods/{name}");
                event(n, n, "get", &uri, Some(("pods", Some(name.as_str()))))
            })
            .collect();
        let targets = targets(&of(&events));
        for (a, first) in names.iter().zip(&targets) {
            for (b, second) in names.iter().zip(&targets) {
                prop_assert!(a != b || first == second, "{a} is {first} and {second}");
            }
        }
    }

    #[test]
    fn any_line_is_read_or_told(text in "\\PC{0,60}", cut in 0_usize..400) {
        let whole = event(1, 0, "get", "/api/v1/namespaces/shop/pods/a", Some(("pods", Some("a")))).to_string();
        let cut: String = whole.chars().take(cut).collect();
        let replay = read(audit(), &[whole, text.clone(), cut.clone()]).unwrap();
        let broken = replay.skipped().get("broken line").copied().unwrap_or_default();
        let is_event = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|value| value["auditID"].is_string());
        let empty = |line: &str| line.trim().is_empty();
        let expected = [text, cut].iter().filter(|line| !empty(line) && !is_event(line)).count() as u64;
        prop_assert_eq!(broken, expected);
    }
}

#[test]
fn names_that_differ_at_the_end_are_spread_over_the_pool() {
    let events: Vec<Value> = (0..64)
        .map(|n| {
            let name = format!("cart-{n}");
            let uri = format!("/api/v1/namespaces/shop/configmaps/{name}");
            event(n, n, "get", &uri, Some(("configmaps", Some(&name))))
        })
        .collect();
    let replay = of(&events);
    let mut counts = BTreeMap::new();
    for target in targets(&replay) {
        *counts.entry(target).or_insert(0) += 1;
    }
    // Four objects, sixteen expected on each; five standard deviations are 17, so each is hit.
    assert_eq!(counts.len(), 4, "{counts:?}");
    assert!(counts.values().all(|count| *count < 34), "{counts:?}");
}

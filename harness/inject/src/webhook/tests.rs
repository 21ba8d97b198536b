//! The server as an API server meets it: HTTPS, with reviews.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use self::caller::{Alpn, Fixture, PARENT, review, soon};
use super::{CANARY_NAMESPACE, CanaryCalls, WebhookError, WebhookServer};
use crate::ledger::{Answer, Injection, Target};

mod caller;

const MS: Duration = Duration::from_millis(1);
const PROTOCOLS: [Alpn; 2] = [Alpn::Http1, Alpn::Http2];

fn fault(more: &Value) -> Value {
    let mut fault = json!({"name": "slow", "type": "mutating", "rules": []});
    fault.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fault
}

/// One armed fault, one call over each protocol: what was answered, and what was noted.
async fn one_call(more: Value) -> Vec<(StatusCode, String, Injection)> {
    let mut outcomes = Vec::new();
    for alpn in PROTOCOLS {
        let mut fixture = Fixture::start(json!([fault(&more)])).await;
        fixture.arm(Duration::ZERO);
        let mut caller = fixture.caller(alpn).await;
        let (status, body) = caller.review("/webhooks/slow", &review("u-1")).await.unwrap();
        outcomes.push((status, body, fixture.noted().await));
    }
    outcomes
}

fn response(body: &str) -> Value {
    let review: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&review["apiVersion"], &review["kind"]),
        (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
    );
    review["response"].clone()
}

#[tokio::test]
async fn a_call_is_held_allowed_and_noted() {
    for (status, body, noted) in one_call(json!({"delay": {"fixed": "20ms"}})).await {
        assert_eq!((status, response(&body)), (StatusCode::OK, json!({"uid": "u-1", "allowed": true})));
        let held = noted.held.unwrap();
        assert!(held.to.since(held.from) >= 20 * MS);
        assert!(noted.received <= held.from && held.to <= noted.answered);
        assert_eq!(noted.parent, Some(PARENT.parse().unwrap()));
        assert_eq!(
            noted.target,
            Target::Webhook {
                uid: "u-1".to_owned(),
                operation: "CREATE".to_owned(),
                resource: "configmaps".to_owned(),
                namespace: "default".to_owned(),
                name: "a".to_owned(),
            }
        );
        assert_eq!((noted.fault.as_str(), noted.call, noted.answer), ("slow", 0, Answer::Genuine));
    }
}

#[tokio::test]
async fn a_denial_has_code_and_message() {
    let answer = json!({"answer": {"deny": {"code": 422, "message": "too blue"}}, "delay": {"fixed": "3ms"}});
    for (status, body, noted) in one_call(answer).await {
        assert_eq!(status, StatusCode::OK);
        let expected =
            json!({"uid": "u-1", "allowed": false, "status": {"code": 422, "message": "too blue"}});
        assert_eq!(response(&body), expected);
        assert_eq!(noted.answer, Answer::Denied(422));
        assert!(noted.held.is_some_and(|held| held.to.since(held.from) >= 3 * MS));
    }
}

#[tokio::test]
async fn an_http_failure_is_not_a_review() {
    for (status, body, noted) in one_call(json!({"answer": {"http": {"status": 503}}})).await {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(serde_json::from_str::<Value>(&body).is_err());
        assert_eq!((noted.answer, noted.held), (Answer::Http(503), None));
    }
}

#[tokio::test]
async fn malformed_json_is_not_json() {
    for (status, body, noted) in one_call(json!({"answer": "malformedJson"})).await {
        assert_eq!(status, StatusCode::OK);
        assert!(serde_json::from_str::<Value>(&body).is_err(), "{body}");
        assert_eq!(noted.answer, Answer::MalformedJson);
    }
}

#[tokio::test]
async fn a_wrong_uid_is_that_of_no_request() {
    for (_, body, noted) in one_call(json!({"answer": "wrongUid"})).await {
        assert_ne!(response(&body)["uid"], "u-1");
        assert_eq!(noted.answer, Answer::WrongUid);
    }
}

#[tokio::test]
async fn a_patch_is_answered_as_json_patch() {
    let patch = json!([{"op": "add", "path": "/data/x", "value": "y"}]);
    for (_, body, noted) in one_call(json!({"answer": {"patch": patch}})).await {
        let answered = response(&body);
        assert_eq!((&answered["allowed"], &answered["patchType"]), (&json!(true), &json!("JSONPatch")));
        let carried = BASE64_STANDARD.decode(answered["patch"].as_str().unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&carried).unwrap(), patch);
        assert_eq!(noted.answer, Answer::Patched);
    }
}

#[tokio::test]
async fn a_hold_lasts_until_the_caller_goes_away() {
    for alpn in PROTOCOLS {
        for delay in [json!({}), json!({"delay": {"fixed": "5ms"}})] {
            let mut hold = fault(&json!({"answer": "hold"}));
            hold.as_object_mut().unwrap().extend(delay.as_object().unwrap().clone());
            let fixture = Fixture::start(json!([hold])).await;
            goes_away_while_held(fixture, alpn).await;
        }
    }
}

#[tokio::test]
async fn a_caller_may_go_away_during_a_delay() {
    for alpn in PROTOCOLS {
        let fixture = Fixture::start(json!([fault(&json!({"delay": {"fixed": "1h"}}))])).await;
        goes_away_while_held(fixture, alpn).await;
    }
}

/// Calls `slow`, which holds, and gives the call up.
async fn goes_away_while_held(mut fixture: Fixture, alpn: Alpn) {
    fixture.arm(Duration::ZERO);
    let mut caller = fixture.caller(alpn).await;
    let mut call = caller.review("/webhooks/slow", &review("u-1"));
    tokio::select! {
        answer = &mut call => panic!("{alpn:?}: answered {answer:?}"),
        () = fixture.took_a_call() => {}
    }
    let leaving = fixture.clock.now();
    caller.give_up(call);
    let noted = fixture.noted().await;
    let held = noted.held.unwrap();
    assert_eq!((noted.answer, held.to), (Answer::Held, noted.answered), "{alpn:?}");
    // The server has a thread of its own: it may begin to hold a little after it counted the call.
    assert!(held.from <= held.to && leaving <= held.to, "{alpn:?}");
}

#[tokio::test]
async fn a_reset_is_a_tcp_reset_and_hits_one_call() {
    let faults = json!([
        {"name": "cut", "type": "mutating", "rules": [], "answer": "reset", "delay": {"fixed": "2ms"}},
        {"name": "slow", "type": "mutating", "rules": [], "answer": "hold"},
    ]);
    let mut fixture = Fixture::start(faults).await;
    fixture.arm(Duration::ZERO);
    let both = fixture.tls(&[Alpn::Http2, Alpn::Http1]).await;
    assert_eq!(both.get_ref().1.alpn_protocol(), Some(Alpn::Http1.name()), "a reset would hit other calls");
    let mut bystander = fixture.caller(Alpn::Http1).await;
    let mut held = bystander.review("/webhooks/slow", &review("u-1"));
    tokio::select! {
        answer = &mut held => panic!("answered {answer:?}"),
        () = fixture.took_a_call() => {}
    }

    let mut caller = fixture.caller(Alpn::Http1).await;
    let error = caller.review("/webhooks/cut", &review("u-2")).await.unwrap_err();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    let mut kinds = Vec::new();
    while let Some(error) = cause {
        kinds.extend(error.downcast_ref::<std::io::Error>().map(std::io::Error::kind));
        cause = error.source();
    }
    assert!(kinds.contains(&std::io::ErrorKind::ConnectionReset), "{error:?}");
    let noted = fixture.noted().await;
    assert_eq!((noted.fault.as_str(), noted.answer), ("cut", Answer::Reset));
    assert!(noted.held.is_some_and(|held| held.to.since(held.from) >= 2 * MS && held.to <= noted.answered));
    assert!(!bystander.connection.is_finished());
}

#[tokio::test]
async fn the_same_share_of_calls_is_affected_in_every_run() {
    async fn run() -> Vec<bool> {
        let faults = json!([fault(&json!({"share": 0.3, "answer": {"deny": {}}}))]);
        let fixture = Fixture::start(faults).await;
        fixture.arm(Duration::ZERO);
        let mut caller = fixture.caller(Alpn::Http2).await;
        let mut denied = Vec::new();
        for _ in 0..60 {
            let (_, body) = caller.review("/webhooks/slow", &review("u")).await.unwrap();
            denied.push(response(&body)["allowed"] == false);
        }
        let noted = fixture.all_noted().await;
        assert!(noted.iter().map(|entry| entry.call).eq(0..60), "every call is noted, affected or not");
        let expected = noted.iter().map(|entry| entry.answer == Answer::Denied(403));
        assert!(expected.eq(denied.iter().copied()));
        denied
    }
    let denied = run().await;
    assert_eq!(denied, run().await, "seed 7");
    let count = denied.iter().filter(|denied| **denied).count();
    assert!((6..32).contains(&count), "seed 7: {count} of 60");
}

#[tokio::test]
async fn faults_act_only_when_armed_and_in_their_window() {
    let faults = json!([fault(&json!({"answer": {"deny": {}}, "during": {"from": "10s", "to": "20s"}}))]);
    let fixture = Fixture::start(faults).await;
    let mut caller = fixture.caller(Alpn::Http2).await;
    let mut denied = async || {
        let (_, body) = caller.review("/webhooks/slow", &review("u")).await.unwrap();
        response(&body)["allowed"] == false
    };
    assert!(!denied().await, "not armed yet");
    for (ago, expected) in [(0, false), (5, false), (15, true), (25, false)] {
        fixture.arm(Duration::from_secs(ago));
        assert_eq!(denied().await, expected, "{ago} s after the start of load");
    }
    fixture.arm(Duration::from_secs(15));
    fixture.handle.disarm();
    assert!(!denied().await, "disarmed");
    let noted = fixture.all_noted().await;
    let answers: Vec<&Answer> = noted.iter().map(|entry| &entry.answer).collect();
    assert_eq!(answers, [&Answer::Genuine, &Answer::Genuine, &Answer::Denied(403), &Answer::Genuine]);
    assert!(noted.iter().all(|entry| entry.held.is_none()));
}

#[tokio::test]
async fn malformed_calls_are_refused_and_not_noted() {
    let fixture = Fixture::start(json!([fault(&json!({}))])).await;
    fixture.arm(Duration::ZERO);
    for alpn in PROTOCOLS {
        let mut caller = fixture.caller(alpn).await;
        let mut beta = review("u");
        beta["apiVersion"] = json!("admission.k8s.io/v1beta1");
        for (path, body, expected) in [
            ("/webhooks/slow", "{".to_owned(), StatusCode::BAD_REQUEST),
            ("/webhooks/slow", beta.to_string(), StatusCode::BAD_REQUEST),
            ("/webhooks/other", review("u").to_string(), StatusCode::NOT_FOUND),
            ("/", review("u").to_string(), StatusCode::NOT_FOUND),
        ] {
            let (status, _) = caller.post(path, body.clone()).await.unwrap();
            assert_eq!(status, expected, "{alpn:?} {path} {body}");
        }
    }
    assert_eq!(fixture.all_noted().await, []);
}

#[tokio::test]
async fn a_body_without_end_is_refused() {
    let fixture = Fixture::start(json!([fault(&json!({}))])).await;
    let mut caller = fixture.caller(Alpn::Http2).await;
    let (status, _) = caller.post("/webhooks/slow", vec![b' '; 33 << 20]).await.unwrap();
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn canaries_are_counted_and_not_noted() {
    let faults = json!([
        fault(&json!({"answer": {"deny": {}}})),
        {"name": "check", "type": "validating", "rules": []},
    ]);
    let fixture = Fixture::start(faults).await;
    let mut calls = fixture.handle.canary_calls();
    let mut caller = fixture.caller(Alpn::Http2).await;
    let url = fixture.handle.url();
    // By the URLs that the API server is given; before and after arming.
    for configuration in fixture.handle.configurations() {
        let webhooks = configuration["webhooks"].as_array().unwrap();
        let canary = webhooks.last().unwrap();
        let selected = &canary["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"];
        assert_eq!(selected, CANARY_NAMESPACE);
        let path = canary["clientConfig"]["url"].as_str().unwrap().strip_prefix(&url).unwrap().to_owned();
        let (_, body) = caller.review(&path, &review("u")).await.unwrap();
        assert_eq!(response(&body), json!({"uid": "u", "allowed": true}));
        fixture.arm(Duration::ZERO);
    }
    let seen = *soon(calls.wait_for(|calls| calls.validating > 0)).await.unwrap();
    assert_eq!(seen, CanaryCalls { mutating: 1, validating: 1 });
    assert_eq!(fixture.all_noted().await, []);
}

#[tokio::test]
async fn every_webhook_is_served_at_its_url() {
    let faults = json!([
        fault(&json!({})),
        {"name": "check", "type": "validating", "rules": []},
    ]);
    let fixture = Fixture::start(faults).await;
    let mut caller = fixture.caller(Alpn::Http1).await;
    let url = fixture.handle.url();
    for configuration in fixture.handle.configurations() {
        for webhook in configuration["webhooks"].as_array().unwrap() {
            let path =
                webhook["clientConfig"]["url"].as_str().unwrap().strip_prefix(&url).unwrap().to_owned();
            let (status, _) = caller.review(&path, &review("u")).await.unwrap();
            assert_eq!(status, StatusCode::OK, "{path}");
        }
    }
    let elsewhere = fixture.handle.configurations_at("https://host.example:8443");
    assert_eq!(elsewhere[0]["webhooks"][0]["clientConfig"]["url"], "https://host.example:8443/webhooks/slow");
}

#[tokio::test]
async fn shutting_down_notes_calls_that_are_held() {
    for alpn in PROTOCOLS {
        let fixture = Fixture::start(json!([fault(&json!({"answer": "hold"}))])).await;
        fixture.arm(Duration::ZERO);
        let addr = fixture.handle.addr();
        let mut caller = fixture.caller(alpn).await;
        let mut call = caller.review("/webhooks/slow", &review("u"));
        tokio::select! {
            answer = &mut call => panic!("{alpn:?}: answered {answer:?}"),
            () = fixture.took_a_call() => {}
        }
        let noted = fixture.all_noted().await;
        assert_eq!((noted.len(), &noted[0].answer), (1, &Answer::Held), "{alpn:?}");
        assert!(call.await.is_err());
        assert!(TcpStream::connect(addr).await.is_err());
    }
}

#[tokio::test]
async fn what_cannot_be_served_is_said_at_the_start() {
    let (mut config, ..) = caller::config(json!([]));
    config.key_pem = "no key".to_owned();
    let error = WebhookServer::start(config.clone()).await.unwrap_err();
    assert!(matches!(error, WebhookError::Pem { what: "private key", .. }), "{error}");
    assert!(!format!("{config:?}").contains("no key"), "the key is shown");

    let (mut config, ..) = caller::config(json!([]));
    config.key_pem = caller::config(json!([])).0.key_pem;
    let error = WebhookServer::start(config).await.unwrap_err();
    assert!(matches!(error, WebhookError::Tls(_)), "a key of another certificate: {error}");

    let fixture = Fixture::start(json!([])).await;
    let (mut config, ..) = caller::config(json!([]));
    config.listen = fixture.handle.addr();
    let error = WebhookServer::start(config).await.unwrap_err();
    assert!(
        matches!(error, WebhookError::Listen { listen, .. } if listen == fixture.handle.addr()),
        "{error}"
    );

    let odd = fault(&json!({"delay": {"pareto": {"scale": "1s", "shape": 0.0}}}));
    let error = WebhookServer::start(caller::config(json!([odd])).0).await.unwrap_err();
    assert!(matches!(&error, WebhookError::Delay { fault, .. } if fault == "slow"), "{error}");
}

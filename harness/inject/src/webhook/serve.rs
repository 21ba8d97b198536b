//! One call of a webhook: read, judged, noted, held, answered.

use std::{collections::HashMap, future, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use spangate_scenario::model::WebhookAnswer;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    CanaryCalls,
    hook::{Hook, Verdict},
    registration::{MUTATING_CANARY, VALIDATING_CANARY, WEBHOOKS},
    review,
};
use crate::{
    gate::Gate,
    ledger::Answer,
    note::{Note, Recorder, trace_context},
};

/// A review carries the object twice, each at most 3 MiB as the API server takes it, and JSON grows them.
const LONGEST_BODY: usize = 32 << 20;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) gate: Gate,
    /// By the fault's name.
    pub(crate) hooks: HashMap<String, Hook>,
    pub(crate) canaries: watch::Sender<CanaryCalls>,
}

// === impl Server ===

impl Server {
    /// Answers one call. Cancelling `sever` resets the connection that it came on.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        sever: &CancellationToken,
    ) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, LONGEST_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                tracing::warn!(path = head.uri.path(), "a webhook call is longer than {LONGEST_BODY} bytes");
                return plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long");
            }
            Err(error) => {
                tracing::debug!(path = head.uri.path(), error, "a webhook call broke off");
                return plain(StatusCode::BAD_REQUEST, "the body broke off");
            }
        };
        let received = self.recorder.clock.now();
        let request = match review::Request::parse(&body) {
            Ok(request) => request,
            Err(error) => {
                tracing::warn!(
                    path = head.uri.path(),
                    error = &error as &dyn std::error::Error,
                    "a malformed webhook call"
                );
                return plain(StatusCode::BAD_REQUEST, &error.to_string());
            }
        };
        drop(body);
        match head.uri.path() {
            MUTATING_CANARY => self.canaries.send_modify(|calls| calls.mutating += 1),
            VALIDATING_CANARY => self.canaries.send_modify(|calls| calls.validating += 1),
            path => {
                let Some(hook) = path.strip_prefix(WEBHOOKS).and_then(|name| self.hooks.get(name)) else {
                    tracing::warn!(path, "a call of a webhook that no fault has");
                    return plain(StatusCode::NOT_FOUND, "no such webhook");
                };
                if let Some(elapsed) = self.gate.elapsed(received) {
                    let verdict = hook.judge(&request, elapsed);
                    let note = Note::new(
                        &self.recorder,
                        hook.name().to_owned(),
                        verdict.call,
                        request.target(),
                        trace_context(&head.headers),
                        received,
                    );
                    return carry_out(&verdict, &request.uid, note, sever).await;
                }
            }
        }
        json(&review::allowed(&request.uid))
    }
}

/// Holds and answers a call. The note is written when it returns, or when it is dropped half-way.
async fn carry_out(
    verdict: &Verdict<'_>,
    uid: &str,
    mut note: Note,
    sever: &CancellationToken,
) -> Response<Full<Bytes>> {
    note.hold(verdict.delay).await;
    let (answer, response) = match verdict.answer {
        WebhookAnswer::Allow => (Answer::Genuine, json(&review::allowed(uid))),
        WebhookAnswer::Deny(deny) => {
            (Answer::Denied(deny.code), json(&review::denied(uid, deny.code, &deny.message)))
        }
        WebhookAnswer::Http(failure) => {
            let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (Answer::Http(status.as_u16()), plain(status, "failed by spangate"))
        }
        WebhookAnswer::MalformedJson => {
            let half = Bytes::from_static(b"{\"apiVersion\": \"admission.k8s.io/v1\", \"kind\": ");
            (Answer::MalformedJson, respond(StatusCode::OK, "application/json", half))
        }
        WebhookAnswer::WrongUid => {
            (Answer::WrongUid, json(&review::allowed(&format!("{uid}-of-another-request"))))
        }
        WebhookAnswer::Patch(patch) => {
            (Answer::Patched, json(&review::patched(uid, &serde_json::json!(patch))))
        }
        WebhookAnswer::Hold => match note.hold_until_dropped().await {},
        WebhookAnswer::Reset => {
            note.answer(Answer::Reset);
            sever.cancel();
            // The connection is dropped, and this with it.
            return future::pending().await;
        }
    };
    note.answer(answer);
    response
}

fn json(body: &Value) -> Response<Full<Bytes>> {
    respond(StatusCode::OK, "application/json", Bytes::from(body.to_string()))
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    respond(status, "text/plain", Bytes::copy_from_slice(text.as_bytes()))
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

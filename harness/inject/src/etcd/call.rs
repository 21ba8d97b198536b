//! One call: its request carried to etcd, its response carried back, held and failed as the faults say.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use bytes::Bytes;
use futures::future::{Either, select};
use h2::{
    Reason, RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
    server::SendResponse,
};
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use spangate_scenario::model::{GrpcStatus, HeldSide};

use super::{
    message::Ahead,
    pump::{Broken, pump},
    rules::{Rules, Touch},
};
use crate::ledger::Answer;

/// The caller reset the stream, or its connection is gone.
#[derive(Debug)]
struct CallerGone(Reason);

/// Carries one call. Notes what the faults did to it, also when the future is dropped half-way.
pub(crate) async fn carry(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    etcd: SendRequest<Bytes>,
    rules: Arc<Rules>,
) {
    let (head, mut body) = request.into_parts();
    let mut ahead = Ahead::default();
    let mut touches = Vec::new();
    if let Some(elapsed) = rules.may_touch(head.uri.path()) {
        // Until the request is sent on, there is nobody at etcd to be told that the caller has gone.
        let Ok(read) = Ahead::read(&mut body).await else { return };
        ahead = read;
        touches = rules.touch(head.uri.path(), &head.headers, ahead.message(), elapsed);
        if hold(&mut touches, HeldSide::Request, &mut respond).await.is_err() {
            return;
        }
        if let Some(status) = touches.iter().find_map(|touch| touch.status) {
            fail(status, touches, respond).await;
            return;
        }
    }
    let end = ahead.bytes.is_empty() && body.is_end_stream();
    let (response, mut to_etcd) = match open(etcd, Request::from_parts(head, ()), end) {
        Ok(opened) => opened,
        Err(error) => return break_off(&error, &mut respond),
    };
    let carried = {
        let requests = pin!(carry_request(ahead.bytes, &mut body, &mut to_etcd, end));
        let responses = pin!(carry_response(response, &mut respond, touches));
        match select(requests, responses).await {
            Either::Left((Ok(()), responses)) => responses.await,
            Either::Right((Ok(()), requests)) => requests.await,
            Either::Left((gone, _)) | Either::Right((gone, _)) => gone,
        }
    };
    if let Err(CallerGone(reason)) = carried {
        to_etcd.send_reset(reason);
    }
}

/// Opens the stream to etcd. The handle is dropped here, so that it does not keep the connection open.
fn open(
    mut etcd: SendRequest<Bytes>,
    request: Request<()>,
    end: bool,
) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
    etcd.send_request(request, end)
}

/// Ends well when the request is over or etcd wants no more of it.
async fn carry_request(
    ahead: Bytes,
    body: &mut RecvStream,
    to_etcd: &mut SendStream<Bytes>,
    ended: bool,
) -> Result<(), CallerGone> {
    let carried = async {
        if ended {
            return Ok(());
        }
        let end = body.is_end_stream();
        if !ahead.is_empty() {
            // It is here already, so that nothing is won by waiting for room.
            to_etcd.send_data(ahead, end).map_err(|error| Broken::Sink(error.reason()))?;
        }
        if end { Ok(()) } else { pump(body, to_etcd).await }
    };
    match carried.await {
        // Why etcd wants no more is for the response to tell.
        Ok(()) | Err(Broken::Sink(_)) => Ok(()),
        Err(Broken::Source(error)) => Err(CallerGone(error.reason().unwrap_or(Reason::CANCEL))),
    }
}

/// Ends well when the caller has an end of the stream: etcd's, or one that stands for its loss.
async fn carry_response(
    response: ResponseFuture,
    respond: &mut SendResponse<Bytes>,
    mut touches: Vec<Touch>,
) -> Result<(), CallerGone> {
    let response = match while_there(respond, response).await? {
        Ok(response) => response,
        Err(error) => {
            break_off(&error, respond);
            return Ok(());
        }
    };
    hold(&mut touches, HeldSide::Response, respond).await?;
    let (head, mut body) = response.into_parts();
    let end = body.is_end_stream();
    let Ok(mut to_caller) = respond.send_response(Response::from_parts(head, ()), end) else {
        return Err(CallerGone(Reason::CANCEL));
    };
    if end {
        return Ok(());
    }
    match pump(&mut body, &mut to_caller).await {
        Ok(()) => Ok(()),
        Err(Broken::Sink(reason)) => Err(CallerGone(reason.unwrap_or(Reason::CANCEL))),
        Err(Broken::Source(error)) => {
            // A reset discards what is queued. The connection is polled before this is woken again, so that
            // what came before the reset leaves before it.
            tokio::task::yield_now().await;
            match reset_reason(&error) {
                Some(reason) => to_caller.send_reset(reason),
                // It fails when the caller has gone too.
                None => drop(to_caller.send_trailers(unavailable())),
            }
            Ok(())
        }
    }
}

/// Holds a call for the delays of one side, one after the other, unless the caller goes away.
async fn hold(
    touches: &mut [Touch],
    side: HeldSide,
    respond: &mut SendResponse<Bytes>,
) -> Result<(), CallerGone> {
    for touch in touches.iter_mut().filter(|touch| touch.side == side && !touch.delay.is_zero()) {
        while_there(respond, touch.note.hold(touch.delay)).await?;
    }
    Ok(())
}

/// Waits for `future`, but no longer than the caller is there.
async fn while_there<F: Future>(
    respond: &mut SendResponse<Bytes>,
    future: F,
) -> Result<F::Output, CallerGone> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => respond.poll_reset(cx).map(|reset| Err(CallerGone(reset.unwrap_or(Reason::CANCEL)))),
    })
    .await
}

/// Answers with a status in place of etcd.
async fn fail(status: GrpcStatus, mut touches: Vec<Touch>, mut respond: SendResponse<Bytes>) {
    if hold(&mut touches, HeldSide::Response, &mut respond).await.is_ok() {
        for touch in &mut touches {
            touch.note.answer(Answer::Grpc(status as u8));
        }
        let mut response = Response::new(());
        *response.headers_mut() = trailers(status as u8, "injected by spangate");
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        // It fails when the caller has just gone.
        let _ = respond.send_response(response, true);
    }
}

/// Ends a call to which etcd has not responded.
fn break_off(error: &h2::Error, respond: &mut SendResponse<Bytes>) {
    if let Some(reason) = reset_reason(error) {
        respond.send_reset(reason);
        return;
    }
    let mut response = Response::new(());
    *response.headers_mut() = unavailable();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    // It fails when the caller has gone too.
    let _ = respond.send_response(response, true);
}

/// The reason to reset the caller's stream with; `None` when the connection to etcd broke.
fn reset_reason(error: &h2::Error) -> Option<Reason> {
    if error.is_go_away() && error.is_remote() {
        // etcd says that it has not seen the call: "safe to retry" (RFC 9113, 8.7).
        Some(Reason::REFUSED_STREAM)
    } else if error.is_reset() {
        error.reason()
    } else {
        None
    }
}

fn unavailable() -> HeaderMap {
    trailers(GrpcStatus::Unavailable as u8, "the connection to etcd broke")
}

fn trailers(status: u8, message: &'static str) -> HeaderMap {
    HeaderMap::from_iter([
        (http::HeaderName::from_static("grpc-status"), HeaderValue::from(u16::from(status))),
        // A space is a printable character, which needs no percent-encoding.
        (http::HeaderName::from_static("grpc-message"), HeaderValue::from_static(message)),
    ])
}

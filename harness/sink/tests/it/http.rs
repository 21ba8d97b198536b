use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use http::{Method, StatusCode, header};
use prost::Message as _;
use serde_json::{Value, json};
use spangate_sink::{Sink, SinkConfig, SinkHandle, shape};

use crate::clients::{Answer, export, post, send};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// `google.rpc.Status`, as far as it is looked at here.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

async fn sink() -> SinkHandle {
    Sink::start(SinkConfig::default()).await.unwrap()
}

async fn post_packed(sink: &SinkHandle, encoding: &str, body: Vec<u8>) -> Answer {
    let headers = [(header::CONTENT_TYPE, PROTOBUF), (header::CONTENT_ENCODING, encoding)];
    send(sink.http_addr(), Method::POST, "/v1/traces", &headers, body).await.unwrap()
}

#[tokio::test]
async fn protobuf_is_kept_byte_for_byte() {
    let sink = sink().await;
    let answer = post(&sink, PROTOBUF, shape::request(1, 300)).await;
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b""[..]));
    assert_eq!(answer.headers[header::CONTENT_TYPE], PROTOBUF);
    assert_eq!(sink.store().len(), 300);
    assert_eq!(sink.store().stats().bytes, shape::request(1, 300).len() as u64);
}

#[tokio::test]
async fn json_gives_the_same_spans_as_protobuf() {
    let (by_protobuf, by_json) = (sink().await, sink().await);
    post(&by_protobuf, PROTOBUF, shape::request(1, 100)).await;
    let text = serde_json::to_vec(&export(1, 100)).unwrap();
    let answer = post(&by_json, "application/json; charset=utf-8", text).await;
    assert_eq!((answer.status, json_of(&answer)), (StatusCode::OK, json!({})));
    assert_eq!(answer.headers[header::CONTENT_TYPE], JSON);
    let (expected, capture) = (by_protobuf.store().snapshot(), by_json.store().snapshot());
    assert_eq!(capture.rows(), expected.rows());
    assert!((0..100).all(|index| capture.span(index) == expected.span(index)));
}

#[tokio::test]
async fn what_is_packed_is_unpacked() {
    let sink = sink().await;
    for (encoding, body) in [
        ("gzip", gzip(&shape::request(1, 300))),
        ("identity", shape::request(2, 10).to_vec()),
        ("zstd", zstd(&shape::request(3, 100))),
    ] {
        assert_eq!(post_packed(&sink, encoding, body).await.status, StatusCode::OK, "{encoding}");
    }
    assert_eq!(sink.store().len(), 410);
    let answer = post_packed(&sink, "lz4", Vec::new()).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn http_2_is_spoken_too() {
    let sink = sink().await;
    let stream = tokio::net::TcpStream::connect(sink.http_addr()).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}/v1/traces", sink.http_addr()))
        .header(header::CONTENT_TYPE, PROTOBUF)
        .body(http_body_util::Full::new(shape::request(1, 512)))
        .unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), StatusCode::OK);
    assert_eq!(sink.store().len(), 512);
}

#[tokio::test]
async fn spans_with_invalid_ids_are_rejected_in_part() {
    let sink = sink().await;
    let mut export = export(1, 20);
    export.resource_spans[0].scope_spans[0].spans[0].trace_id = vec![0; 16];
    let answer = post(&sink, JSON, serde_json::to_vec(&export).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    let partial = &json_of(&answer)["partialSuccess"];
    assert_eq!(partial["rejectedSpans"], "1");
    assert!(partial["errorMessage"].as_str().unwrap().contains("trace id"));
    assert_eq!(sink.store().len(), 19);
}

#[tokio::test]
async fn what_is_no_export_is_a_bad_request_in_the_clients_encoding() {
    let sink = sink().await;
    let answer = post(&sink, PROTOBUF, &b"\x0a\x05ab"[..]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.headers[header::CONTENT_TYPE], PROTOBUF);
    let status = RpcStatus::decode(answer.body).unwrap();
    assert_eq!(status.code, 3);
    assert!(status.message.contains("at byte 1"), "{}", status.message);

    let answer = post(&sink, JSON, r#"{"resourceSpans": 5}"#).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.headers[header::CONTENT_TYPE], JSON);
    assert_eq!(json_of(&answer)["code"], 3);
    assert!(json_of(&answer)["message"].as_str().unwrap().contains("line 1 column"));

    for encoding in ["gzip", "zstd"] {
        let answer = post_packed(&sink, encoding, b"not packed".to_vec()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{encoding}");
    }
    assert_eq!(sink.store().stats().malformed_requests, 4);
    assert!(sink.store().is_empty());
}

#[tokio::test]
async fn other_paths_methods_and_types_are_refused() {
    let sink = sink().await;
    let addr = sink.http_addr();
    let json = [(header::CONTENT_TYPE, JSON)];
    let answer = send(addr, Method::POST, "/v1/logs", &json, "{}").await.unwrap();
    assert_eq!((answer.status, &json_of(&answer)["code"]), (StatusCode::NOT_FOUND, &json!(5)));

    let answer = send(addr, Method::GET, "/v1/traces", &json, "").await.unwrap();
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers[header::ALLOW], "POST");

    assert_eq!(post(&sink, "text/plain", "{}").await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let answer = send(addr, Method::POST, "/v1/traces", &[], "{}").await.unwrap();
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let answer = post_packed(&sink, "br", Vec::new()).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(sink.store().stats().requests, 0);
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_packed_or_not() {
    let limit = shape::request(1, 100).len();
    let config = SinkConfig { max_message_bytes: limit, ..SinkConfig::default() };
    let sink = Sink::start(config).await.unwrap();
    assert_eq!(post(&sink, PROTOBUF, shape::request(1, 100)).await.status, StatusCode::OK);
    let too_much = post(&sink, PROTOBUF, shape::request(1, 101)).await;
    assert_eq!(too_much.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(RpcStatus::decode(too_much.body).unwrap().code, 8);

    // A hundred megabytes of zeros in a hundred kilobytes.
    let zeros = vec![0; 100 * 1024 * 1024];
    for (encoding, bomb) in [("gzip", gzip(&zeros)), ("zstd", zstd(&zeros))] {
        let config = SinkConfig { max_message_bytes: 1024 * 1024, ..SinkConfig::default() };
        let sink = Sink::start(config).await.unwrap();
        assert!(bomb.len() < 1024 * 1024);
        let answer = post_packed(&sink, encoding, bomb).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{encoding}");
    }
}

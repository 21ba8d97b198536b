use spangate_sink::{Sink, SinkConfig, shape};
use tonic::{Code, Request, codec::CompressionEncoding};

use crate::clients::{export, grpc, soon};

#[tokio::test]
async fn an_export_is_kept_whole() {
    let sink = Sink::start(SinkConfig::default()).await.unwrap();
    let answer = grpc(&sink).await.export(export(1, 512)).await.unwrap();
    assert_eq!(answer.into_inner().partial_success, None);

    let store = sink.store();
    let stats = store.stats();
    assert_eq!((stats.requests, stats.received_spans, stats.stored_spans), (1, 512, 512));
    assert_eq!(stats.bytes, shape::request(1, 512).len() as u64);
    let capture = store.snapshot();
    assert!((0..512).all(|index| capture.span(index).span_id == capture.rows()[index].span_id));
}

const PACKED: [CompressionEncoding; 2] = [CompressionEncoding::Gzip, CompressionEncoding::Zstd];

#[tokio::test]
async fn what_is_packed_is_unpacked() {
    for encoding in PACKED {
        let sink = Sink::start(SinkConfig::default()).await.unwrap();
        let mut client = grpc(&sink).await.send_compressed(encoding);
        client.export(export(1, 512)).await.unwrap();
        client.export(export(2, 3)).await.unwrap();
        assert_eq!(sink.store().len(), 515);
        let bytes = shape::request(1, 512).len() + shape::request(2, 3).len();
        assert_eq!(sink.store().stats().bytes, bytes as u64);
    }
}

#[tokio::test]
async fn spans_with_invalid_ids_are_rejected_in_part() {
    let sink = Sink::start(SinkConfig::default()).await.unwrap();
    let mut export = export(1, 20);
    export.resource_spans[0].scope_spans[0].spans[0].span_id.pop();
    let answer = grpc(&sink).await.export(export).await.unwrap();
    let partial = answer.into_inner().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 1);
    assert!(partial.error_message.contains("span id of 8"), "{}", partial.error_message);
    assert_eq!((sink.store().len(), sink.store().stats().invalid_spans), (19, 1));
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused() {
    let limit = shape::request(1, 100).len();
    let config = SinkConfig { max_message_bytes: limit, ..SinkConfig::default() };
    let sink = Sink::start(config).await.unwrap();
    let mut plain = grpc(&sink).await;
    plain.export(export(1, 100)).await.unwrap();
    let error = plain.export(export(1, 101)).await.unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange, "{error}");

    // Packed it is below the limit, unpacked it is not.
    for encoding in PACKED {
        let mut packed = grpc(&sink).await.send_compressed(encoding);
        let error = packed.export(export(1, 101)).await.unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    }
    assert_eq!(sink.store().len(), 100);
}

/// A client that sends any bytes to any method.
async fn raw(addr: std::net::SocketAddr, path: &'static str, body: &'static [u8]) -> tonic::Status {
    let endpoint = tonic::transport::Endpoint::new(format!("http://{addr}")).unwrap();
    let mut client = tonic::client::Grpc::new(endpoint.connect().await.unwrap());
    client.ready().await.unwrap();
    client.unary(Request::new(body), path.parse().unwrap(), Bytes).await.unwrap_err()
}

struct Bytes;

impl tonic::codec::Codec for Bytes {
    type Encode = &'static [u8];
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl tonic::codec::Encoder for Bytes {
    type Item = &'static [u8];
    type Error = tonic::Status;

    fn encode(
        &mut self,
        item: Self::Item,
        buffer: &mut tonic::codec::EncodeBuf<'_>,
    ) -> Result<(), tonic::Status> {
        bytes::BufMut::put(buffer, item);
        Ok(())
    }
}

impl tonic::codec::Decoder for Bytes {
    type Item = ();
    type Error = tonic::Status;

    fn decode(&mut self, _: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<()>, tonic::Status> {
        Ok(Some(()))
    }
}

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

#[tokio::test]
async fn what_is_no_export_is_an_invalid_argument() {
    let sink = Sink::start(SinkConfig::default()).await.unwrap();
    let error = raw(sink.grpc_addr(), EXPORT, b"\x0a\x05ab").await;
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    assert!(error.message().contains("at byte 1"), "{error}");
    let stats = sink.store().stats();
    assert_eq!((stats.requests, stats.malformed_requests, stats.received_spans), (0, 1, 0));
}

#[tokio::test]
async fn another_method_is_unimplemented() {
    let sink = Sink::start(SinkConfig::default()).await.unwrap();
    let logs = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    let error = raw(sink.grpc_addr(), logs, b"").await;
    assert_eq!(error.code(), Code::Unimplemented, "{error}");
    assert!(error.message().contains(logs), "{error}");
}

#[tokio::test]
async fn shutdown_closes_the_port_and_keeps_the_store() {
    let sink = Sink::start(SinkConfig::default()).await.unwrap();
    let addr = sink.grpc_addr();
    let store = sink.store();
    let mut client = grpc(&sink).await;
    client.export(export(1, 10)).await.unwrap();
    soon("shutdown", sink.shutdown()).await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
    assert!(client.export(export(2, 10)).await.is_err());
    assert_eq!(store.len(), 10);
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let config = SinkConfig { grpc: addr, ..SinkConfig::default() };
    let error = Sink::start(config).await.unwrap_err();
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
}

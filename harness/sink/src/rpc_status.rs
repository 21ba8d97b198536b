//! `google.rpc.Status` with `RetryInfo`: the body of OTLP/HTTP errors and the details of gRPC ones.
//!
//! The messages follow `google/rpc/{status,error_details}.proto`, with the fields that OTLP uses.

use std::time::Duration;

use prost::Message;
use serde_json::{Value, json};

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// An error, as Google's APIs describe one.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RpcStatus {
    /// The gRPC status code.
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    /// What went wrong, in English.
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<RetryDelay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
struct RetryDelay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// When the client may try again, by the details of a gRPC status.
pub(crate) fn retry_after(details: &[u8]) -> Option<Duration> {
    let RetryDelay { seconds, nanos } = RpcStatus::decode(details).ok()?.retry_delay()?;
    Some(Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?))
}

// === impl RpcStatus ===

impl RpcStatus {
    /// An error that says when to try again, if `retry_after` does.
    pub(crate) fn new(code: i32, message: impl Into<String>, retry_after: Option<Duration>) -> Self {
        let details = retry_after.map(|delay| Any {
            type_url: RETRY_INFO.to_owned(),
            value: RetryInfo { retry_delay: Some(delay.into()) }.encode_to_vec(),
        });
        Self { code, message: message.into(), details: details.into_iter().collect() }
    }

    /// The delay in its `RetryInfo`.
    fn retry_delay(&self) -> Option<RetryDelay> {
        let any = self.details.iter().find(|any| any.type_url == RETRY_INFO)?;
        RetryInfo::decode(any.value.as_slice()).ok()?.retry_delay
    }

    /// The JSON form.
    pub(crate) fn to_json(&self) -> Value {
        let mut json = json!({"code": self.code, "message": self.message});
        if let Some(RetryDelay { seconds, nanos }) = self.retry_delay() {
            let delay = if nanos == 0 { format!("{seconds}s") } else { format!("{seconds}.{nanos:09}s") };
            json["details"] = json!([{"@type": RETRY_INFO, "retryDelay": delay}]);
        }
        json
    }
}

impl From<Duration> for RetryDelay {
    fn from(delay: Duration) -> Self {
        Self {
            seconds: i64::try_from(delay.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(delay.subsec_nanos()).expect("a second has 10^9 nanoseconds"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protobuf_form_carries_retry_info() {
        let status = RpcStatus::new(14, "later", Some(Duration::from_millis(1500)));
        let read = RpcStatus::decode(status.encode_to_vec().as_slice()).unwrap();
        assert_eq!(read.retry_delay(), Some(RetryDelay { seconds: 1, nanos: 500_000_000 }));
        // The bytes of RetryInfo{retry_delay: {seconds: 1, nanos: 500000000}} as protoc writes them.
        assert_eq!(read.details[0].value, b"\x0a\x08\x08\x01\x10\x80\xca\xb5\xee\x01");
    }

    #[test]
    fn the_json_form_follows_the_json_mapping_of_protobuf() {
        let status = RpcStatus::new(8, "later", Some(Duration::from_millis(1500)));
        assert_eq!(
            status.to_json(),
            json!({
                "code": 8,
                "message": "later",
                "details": [{
                    "@type": "type.googleapis.com/google.rpc.RetryInfo",
                    "retryDelay": "1.500000000s",
                }],
            })
        );
        assert_eq!(RpcStatus::new(3, "no", None).to_json(), json!({"code": 3, "message": "no"}));
    }
}

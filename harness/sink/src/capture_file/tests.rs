use std::error::Error as _;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use proptest::prelude::*;
use spangate_trace::Value;

use super::*;
use crate::{arbitrary, shape};

fn filled() -> Store {
    let store = Store::new();
    for seed in 0..5 {
        store.append(&shape::request(seed, 120)).unwrap();
    }
    store
}

fn assert_same(read: &Store, written: &Store) {
    let (read, written) = (read.snapshot(), written.snapshot());
    assert_eq!(read.rows(), written.rows());
    for index in 0..written.rows().len() {
        assert_eq!(read.span(index), written.span(index), "span {index}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled();
    for name in ["spans.jsonl", "spans.jsonl.zst"] {
        let path = directory.path().join(name);
        write(&path, &store).unwrap();
        assert_same(&read(&path).unwrap(), &store);
    }
    let size = |name| fs::metadata(directory.path().join(name)).unwrap().len();
    assert!(size("spans.jsonl.zst") * 5 < size("spans.jsonl"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "a temporary file was left behind");
}

#[test]
fn spans_that_were_not_kept_are_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spans.jsonl");
    let store = Store::new();
    store.append_where(&shape::request(1, 60), |span| span % 3 == 0).unwrap();
    store.append_where(&shape::request(2, 60), |_| false).unwrap();
    write(&path, &store).unwrap();
    let read = read(&path).unwrap();
    assert_eq!(read.len(), 20);
    assert_same(&read, &store);
}

#[test]
fn a_line_is_otlp_json() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spans.jsonl");
    let store = Store::new();
    store.append(&shape::request(7, 10)).unwrap();
    write(&path, &store).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 1);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let span = &json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(span["traceId"].as_str().unwrap(), store.snapshot().rows()[0].trace_id.to_string());
    assert_eq!(span["kind"], 2);
    assert!(span["startTimeUnixNano"].as_str().unwrap().parse::<u64>().is_ok());
    let port = span["attributes"].as_array().unwrap().iter().find(|pair| pair["key"] == "server.port");
    assert_eq!(port.unwrap()["value"], serde_json::json!({"intValue": "6443"}));
}

#[test]
fn files_of_the_collector_are_read() {
    // As the file exporter of the Collector writes it: no defaults, an empty array, an unset value.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("collector.jsonl");
    let line = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"apiserver"}}]},"scopeSpans":[{"scope":{"name":"s"},"spans":[{"traceId":"5b8aa5a2d2c872e8321cf37308d69df2","spanId":"051581bf3cb55c13","parentSpanId":"","name":"GET","kind":2,"startTimeUnixNano":"1760000000000000000","endTimeUnixNano":"1760000000000000001","attributes":[{"key":"empty","value":{"arrayValue":{}}},{"key":"unset","value":{}},{"value":{"intValue":"3"}}],"status":{}}]}]}]}"#;
    fs::write(&path, format!("{line}\n\n{line}\n")).unwrap();
    let capture = read(&path).unwrap().snapshot();
    assert_eq!(capture.rows().len(), 2);
    let span = capture.span(0);
    assert_eq!((&*span.name, &*span.service, span.parent), ("GET", "apiserver", None));
    assert_eq!(span.attributes["empty"], Value::Array(Vec::new()));
    assert_eq!(span.attributes["unset"], Value::Other(String::new()));
    assert_eq!(span.attributes[""], Value::Int(3));
}

#[test]
fn a_bad_line_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spans.jsonl");
    let store = filled();
    write(&path, &store).unwrap();
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{good}{{\"resourceSpans\": 5}}\n")).unwrap();
    let error = read(&path).unwrap_err();
    assert!(matches!(error, CaptureFileError::Line { line: 6, .. }), "{error}");
    assert!(error.to_string().ends_with("spans.jsonl, line 6: not an OTLP JSON trace export"));
    assert!(error.source().is_some());

    fs::write(&path, good.replacen("\"traceId\":\"", "\"traceId\":\"ff", 1)).unwrap();
    let error = read(&path).unwrap_err();
    assert!(matches!(error, CaptureFileError::Ids { line: 1, invalid: 1, .. }), "{error}");
}

#[test]
fn a_file_that_is_not_zstd_or_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spans.jsonl.zst");
    assert!(matches!(read(&path).unwrap_err(), CaptureFileError::Read { .. }));
    fs::write(&path, "plain text").unwrap();
    let error = read(&path).unwrap_err();
    assert!(error.to_string().contains("spans.jsonl.zst"), "{error}");
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spans.jsonl");
    // A directory of that name makes the rename fail, after everything was written.
    fs::create_dir(&path).unwrap();
    fs::write(path.join("occupied"), "").unwrap();
    let error = write(&path, &filled()).unwrap_err();
    assert!(matches!(error, CaptureFileError::Write { .. }), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_number_that_json_does_not_have_comes_back_empty() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spans.jsonl");
    let mut export = ExportTraceServiceRequest::decode(shape::request(1, 1)).unwrap();
    let value = Some(AnyValue { value: Some(any_value::Value::DoubleValue(f64::INFINITY)) });
    let pair = KeyValue { key: "infinite".to_owned(), value, key_strindex: 0 };
    export.resource_spans[0].scope_spans[0].spans[0].attributes.push(pair);
    let store = Store::new();
    store.append(&export.encode_to_vec().into()).unwrap();
    write(&path, &store).unwrap();
    let span = read(&path).unwrap().snapshot().span(0);
    assert_eq!(span.attributes["infinite"], Value::Other(String::new()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_capture_is_read_back_as_it_was(requests in proptest::collection::vec(arbitrary::request(), 0..4)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spans.jsonl.zst");
        let store = Store::new();
        for request in requests {
            store.append(&request.encode_to_vec().into()).unwrap();
        }
        write(&path, &store).unwrap();
        assert_same(&read(&path).unwrap(), &store);
    }
}

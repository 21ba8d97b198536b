use std::collections::{HashMap, HashSet};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    trace::v1::{ResourceSpans, Span, span::SpanKind, status::StatusCode},
};
use proptest::prelude::*;
use prost::Message as _;
use serde_json::json;
use spangate_scenario::model::{RootSpan, TrafficClass};

use super::{order::InOrder, *};

const ORIGIN: UnixNanos = UnixNanos(1_800_000_000_000_000_000);

fn traffic(json: serde_json::Value) -> Traffic {
    serde_json::from_value(json).unwrap()
}

/// A model with a class for everything that a class can be.
fn mixed() -> Traffic {
    traffic(json!({
        "seed": 7, "rate": "500/s", "shape": "poisson", "traces": 400, "classes": [
            {"name": "errors", "share": "20%", "error": true, "templates": ["create", "patch", "delete"]},
            {"name": "slow", "share": "15%", "duration": {"uniform": {"min": "1s", "max": "3s"}}},
            {"name": "watches", "share": "15%", "templates": ["watch"], "duration": {"fixed": "3m"}},
            {"name": "late", "share": "15%", "late": {"share": "30%", "by": "4s"}},
            {"name": "torn", "share": "15%", "root": "missing"},
            {"name": "normal", "share": "20%"},
        ],
    }))
}

/// Spans with what they came with.
fn decode(export: bytes::Bytes) -> Vec<(ResourceSpans, String, Span)> {
    let export = ExportTraceServiceRequest::decode(export).unwrap();
    let mut spans = Vec::new();
    for ResourceSpans { resource, scope_spans, schema_url } in export.resource_spans {
        let head = ResourceSpans { resource, scope_spans: Vec::new(), schema_url };
        for scope in scope_spans {
            let name = scope.scope.map(|scope| scope.name).unwrap_or_default();
            spans.extend(scope.spans.into_iter().map(|span| (head.clone(), name.clone(), span)));
        }
    }
    spans
}

/// All spans of all traces, by way of a batch for each trace.
fn encoded(synthetic: &Synthetic) -> Vec<(SyntheticTrace, Vec<Span>)> {
    let mut batch = Batch::new(Arc::clone(synthetic.templates()));
    let each = synthetic.traces().map(|trace| {
        synthetic.encode(&trace, ORIGIN, &mut batch);
        assert_eq!(batch.spans(), trace.sends.len());
        let spans = decode(batch.take()).into_iter().map(|(_, _, span)| span).collect();
        (trace, spans)
    });
    each.collect()
}

fn times(span: &Span) -> impl Iterator<Item = u64> {
    let events = span.events.iter().map(|event| event.time_unix_nano);
    [span.start_time_unix_nano, span.end_time_unix_nano].into_iter().chain(events)
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == i32::from(StatusCode::Error as u8))
}

fn status_code(span: &Span) -> Option<i64> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == "http.response.status_code")?;
    match attribute.value.as_ref()?.value {
        Some(Value::IntValue(status)) => Some(status),
        _ => None,
    }
}

/// Checks one trace against what was drawn, and against its template.
fn check(synthetic: &Synthetic, traffic: &Traffic, trace: &SyntheticTrace, spans: &[Span]) {
    let class = &traffic.classes[trace.class];
    let template = synthetic.templates().get(trace.template);
    assert_eq!(spans.len(), template.spans() - usize::from(!trace.has_root), "{trace:?}");
    assert!(spans.iter().all(|span| span.trace_id == trace.trace_id.as_bytes()));
    let by_id: HashMap<_, _> = spans.iter().map(|span| (span.span_id.clone(), span)).collect();
    assert_eq!(by_id.len(), spans.len(), "span ids are unique");
    assert!(by_id.keys().all(|id| id.iter().any(|byte| *byte > 0)));

    let roots: Vec<_> = spans.iter().filter(|span| span.parent_span_id.is_empty()).collect();
    assert_eq!(roots.len(), usize::from(trace.has_root));
    if let [root] = roots[..] {
        assert_eq!(root.start_time_unix_nano, (ORIGIN + trace.at).0);
        assert_eq!(root.end_time_unix_nano, (ORIGIN + trace.at + trace.root_duration).0);
        assert_eq!(root.kind, i32::from(SpanKind::Server as u8));
        assert_eq!(is_error(root), class.error);
        assert_eq!(status_code(root) == Some(500), class.error);
    }
    assert_eq!(spans.iter().any(is_error), trace.has_error);
    assert_eq!(trace.has_error, class.error);

    let outside: HashSet<_> = spans
        .iter()
        .filter(|span| !span.parent_span_id.is_empty() && !by_id.contains_key(&span.parent_span_id))
        .map(|span| span.parent_span_id.clone())
        .collect();
    assert_eq!(
        outside.len(),
        usize::from(!trace.has_root),
        "only a missing root is a parent that is not there"
    );
    let ends = (ORIGIN + trace.at + trace.root_duration).0;
    for span in spans {
        assert!(times(span).all(|time| (ORIGIN + trace.at).0 <= time && time <= ends), "{span:?}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        // No walk upwards goes on for ever.
        let up = |span: &&Span| by_id.get(&span.parent_span_id).copied();
        assert!(std::iter::successors(Some(span), up).count() <= spans.len());
    }
    assert!(trace.sends.is_sorted_by_key(|send| send.at));
    let mut late = 0;
    for send in &trace.sends {
        let end = by_id[trace.span_id(send).as_bytes().as_slice()].end_time_unix_nano;
        assert!((ORIGIN + send.at).0 >= end, "nothing is sent before it ends");
        late += usize::from((ORIGIN + send.at).0 > end);
    }
    let below = spans.len() - usize::from(trace.has_root);
    match class.late {
        None => assert_eq!(late, 0),
        Some(wanted) => {
            assert!(
                late >= 1 && late as f64 <= (below as f64 * wanted.share.get()).ceil(),
                "{late} of {below}"
            );
            let ended = spans.iter().map(|span| span.end_time_unix_nano).max().unwrap();
            let ended = UnixNanos(ended).since(ORIGIN);
            let put_off = &trace.sends[trace.sends.len() - late..];
            assert!(put_off.iter().all(|send| send.at == ended + wanted.by.get()));
        }
    }
}

#[test]
fn the_built_in_templates_are_requests_without_errors() {
    let all = Templates::built_in();
    assert!(all.iter().map(Template::name).eq(Traffic::TEMPLATES));
    let names = |name: &str| {
        let traffic = traffic(json!({"rate": "1/s", "traces": 1, "classes": [
            {"name": "one", "share": "100%", "templates": [name]},
        ]}));
        let (trace, spans) = encoded(&Synthetic::new(&traffic).unwrap()).remove(0);
        check(&Synthetic::new(&traffic).unwrap(), &traffic, &trace, &spans);
        assert!(spans.iter().all(|span| span.links.is_empty()), "{name} links to a trace that is not there");
        spans.into_iter().map(|span| span.name).collect::<HashSet<_>>()
    };
    for name in Traffic::TEMPLATES {
        let names = names(name);
        assert!(names.contains("audit"), "{name}: {names:?}");
    }
    let webhooks = names("create-webhooks");
    for name in ["Call mutating webhook", "Call validating webhook", "HTTP POST", "Create etcd3"] {
        assert!(webhooks.contains(name), "{name}: {webhooks:?}");
    }
}

#[test]
fn every_class_is_what_it_is_said_to_be() {
    let traffic = mixed();
    let synthetic = Synthetic::new(&traffic).unwrap();
    let all = encoded(&synthetic);
    assert_eq!(all.len(), 400);
    let mut of_class = vec![0_u32; traffic.classes.len()];
    let mut traces = HashSet::new();
    for (trace, spans) in &all {
        check(&synthetic, &traffic, trace, spans);
        assert!(traces.insert(trace.trace_id), "two traces have one id");
        of_class[trace.class] += 1;
    }
    for (count, class) in of_class.iter().zip(&traffic.classes) {
        let share = class.share.get();
        let error = (share * (1.0 - share) * 400.0).sqrt();
        let off = (f64::from(*count) - share * 400.0).abs();
        assert!(off < 4.0 * error, "{}: {count} of 400 with seed 7", class.name);
    }
    // The mean of 400 gaps of a Poisson process of 500 a second has a standard error of 5 %.
    let last = all.last().unwrap().0.at.as_secs_f64();
    assert!((last - 0.8).abs() < 0.2, "{last}");
}

#[test]
fn only_what_lasts_as_long_as_a_watch_is_stretched_with_it() {
    let watch = |duration: &str| {
        let traffic = traffic(json!({"rate": "1/s", "traces": 1, "classes": [
            {"name": "w", "share": "100%", "templates": ["watch"], "duration": {"fixed": duration}},
        ]}));
        encoded(&Synthetic::new(&traffic).unwrap()).remove(0)
    };
    let (trace, spans) = watch("3m");
    let long = |span: &&Span| span.end_time_unix_nano - span.start_time_unix_nano > 100_000_000_000;
    let (long, short): (Vec<_>, Vec<_>) = spans.iter().partition(long);
    assert!(!long.is_empty() && !short.is_empty());
    assert!(short.iter().all(|span| span.end_time_unix_nano < (ORIGIN + Duration::from_secs(2)).0));
    // The root arrives minutes after what was over at once.
    assert!(trace.sends[0].at < Duration::from_secs(2) && trace.ends() == Duration::from_mins(3));
}

#[test]
fn traces_are_a_function_of_model_and_seed() {
    let synthetic = Synthetic::new(&mixed()).unwrap();
    let again: Vec<_> = synthetic.traces().collect();
    assert!(synthetic.traces().eq(again));
    let other = Synthetic::new(&Traffic { seed: 8, ..mixed() }).unwrap();
    assert_ne!(synthetic.fingerprint(), other.fingerprint());
    let first = synthetic.traces().next().unwrap();
    assert_eq!(first.trace_id.to_string(), "ad47c9d8c61194783053fd18115292cc");
    assert_eq!(format!("{:016x}", synthetic.fingerprint()), "2c942b2885a5d02e");
}

#[test]
fn evenly_spaced_traces_come_at_their_rate_until_the_end() {
    let traffic = traffic(json!({"rate": "10/s", "for": "1s", "classes": [{"name": "a", "share": "100%"}]}));
    let at: Vec<_> = Synthetic::new(&traffic).unwrap().traces().map(|trace| trace.at.as_millis()).collect();
    assert_eq!(at, [0, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
}

#[test]
fn spans_of_all_traces_are_merged_in_the_order_of_their_times() {
    let synthetic = Synthetic::new(&mixed()).unwrap();
    let mut expected: Vec<_> = (synthetic.traces())
        .flat_map(|trace| trace.sends.clone().into_iter().map(move |send| (send.at, trace.number, send.span)))
        .collect();
    expected.sort_by_key(|(at, number, _)| (*at, *number));
    let (mut merged, mut order) = (Vec::new(), InOrder::new(synthetic.traces()));
    while let Some(at) = order.next_at() {
        order.take(|trace, send| {
            assert_eq!(send.at, at);
            merged.push((send.at, trace.number, send.span));
        });
    }
    assert_eq!(merged, expected);
}

#[test]
fn spans_keep_everything_but_ids_and_times_in_a_replay() {
    // Without roots, traces may begin in another order; without late spans, all are sent when they end.
    let is_whole = |class: &TrafficClass| class.root == RootSpan::Sent && class.late.is_none();
    let whole = mixed().classes.into_iter().filter(is_whole).collect();
    let source =
        Synthetic::with_templates(&Traffic { classes: whole, ..mixed() }, Templates::built_in()).unwrap();
    let mut batch = Batch::new(Arc::clone(source.templates()));
    let mut lines = Vec::new();
    for trace in source.traces().take(40) {
        source.encode(&trace, ORIGIN, &mut batch);
        let export = ExportTraceServiceRequest::decode(batch.take()).unwrap();
        lines.push(serde_json::to_string(&export).unwrap());
        lines.push(String::new());
    }
    // A batch that was exported twice.
    lines.push(lines[0].clone());
    let templates = Arc::new(Templates::from_lines(&lines).unwrap());
    assert_eq!(templates.iter().len(), 40);
    assert_eq!(templates.scopes().len(), source.templates().scopes().len(), "a scope is kept once");

    let replay = Synthetic::replay(Arc::clone(&templates), 9, 2.0);
    let mut batch = Batch::new(Arc::clone(&templates));
    let (mut old_ids, mut new_ids) = (HashSet::new(), HashSet::new());
    let first = source.traces().next().unwrap().at;
    for (trace, original) in replay.traces().zip(source.traces()) {
        assert!(
            trace.at.abs_diff(original.at.saturating_sub(first) / 2) < Duration::from_micros(1),
            "{trace:?}"
        );
        let mut before_batch = Batch::new(Arc::clone(source.templates()));
        source.encode(&original, ORIGIN, &mut before_batch);
        replay.encode(&trace, ORIGIN, &mut batch);
        let (before, after) = (decode(before_batch.take()), decode(batch.take()));
        assert_eq!(before.len(), after.len());
        let shift = times(&after[0].2).next().unwrap().wrapping_sub(times(&before[0].2).next().unwrap());
        let mut ids: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        for ((old_head, old_scope, old), (head, scope, mut new)) in before.into_iter().zip(after) {
            assert_eq!((&old_head, &old_scope), (&head, &scope));
            assert!(times(&old).map(|time| time.wrapping_add(shift)).eq(times(&new)));
            old_ids.insert(old.trace_id.clone());
            new_ids.insert(new.trace_id.clone());
            // The same ids stand for the same ids throughout the trace.
            for (old, new) in [(&old.span_id, &new.span_id), (&old.parent_span_id, &new.parent_span_id)] {
                assert_eq!(ids.entry(old.clone()).or_insert_with(|| new.clone()), new);
            }
            new.trace_id.clone_from(&old.trace_id);
            new.span_id.clone_from(&old.span_id);
            new.parent_span_id.clone_from(&old.parent_span_id);
            new.start_time_unix_nano = old.start_time_unix_nano;
            new.end_time_unix_nano = old.end_time_unix_nano;
            for (new, old) in new.events.iter_mut().zip(&old.events) {
                new.time_unix_nano = old.time_unix_nano;
            }
            assert_eq!(old, new);
        }
    }
    assert!(old_ids.len() == 40 && old_ids.is_disjoint(&new_ids));
}

#[test]
fn what_makes_no_traces_is_told() {
    let error = Templates::from_lines(["", "{\"resourceSpans\": 5}"]).unwrap_err();
    assert!(matches!(error, TemplateError::Line { line: 2, .. }), "{error:?}");
    assert!(matches!(Templates::from_lines::<&str>([]), Err(TemplateError::Empty)));
    let spans = |spans: Vec<Span>| {
        let scope = opentelemetry_proto::tonic::trace::v1::ScopeSpans { spans, ..Default::default() };
        Templates::from_spans([ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() }])
    };
    let span = |id: u8, parent: Option<u8>| Span {
        trace_id: vec![1; 16],
        span_id: vec![id; 8],
        parent_span_id: parent.map(|parent| vec![parent; 8]).unwrap_or_default(),
        end_time_unix_nano: 5,
        ..Span::default()
    };
    assert!(matches!(spans(vec![span(0, None)]), Err(TemplateError::Ids { .. })));
    assert!(matches!(spans(vec![span(1, Some(2)), span(2, Some(1))]), Err(TemplateError::NoRoot { .. })));
    let endless = Span { end_time_unix_nano: 0, ..span(1, None) };
    assert!(matches!(spans(vec![endless]), Err(TemplateError::NoTime { .. })));
    // A parent that is not in the capture gets a new id too.
    assert_eq!(spans(vec![span(1, Some(9)), span(2, Some(1))]).unwrap().get(0).ids(), 3);

    let unknown = traffic(json!({"rate": "1/s", "traces": 1, "classes": [
        {"name": "a", "share": "100%", "templates": ["no such"]},
    ]}));
    assert!(matches!(Synthetic::new(&unknown), Err(SyntheticError::Invalid(_))));
    let error = Synthetic::with_templates(&unknown, Templates::built_in()).unwrap_err();
    assert!(matches!(error, SyntheticError::Template { .. }), "{error:?}");
}

fn a_class() -> impl Strategy<Value = serde_json::Value> {
    let templates = proptest::sample::subsequence(Traffic::TEMPLATES.to_vec(), 0..3);
    let duration = prop_oneof![
        Just(json!(null)),
        (1..500_u32, 1..5000_u32).prop_map(|(min, more)| {
            json!({"uniform": {"min": format!("{min}ms"), "max": format!("{}ms", min + more)}})
        }),
        (1..600_u32).prop_map(|seconds| json!({"fixed": format!("{seconds}s")})),
        (1..50_u32).prop_map(|scale| json!({"pareto": {"scale": format!("{scale}ms"), "shape": 1.2}})),
    ];
    let late = prop_oneof![
        Just(json!(null)),
        (1..=100_u32, 1..9000_u32)
            .prop_map(|(share, by)| json!({"share": format!("{share}%"), "by": format!("{by}ms")})),
    ];
    (templates, duration, late, 0..3_u8).prop_map(|(templates, duration, late, kind)| {
        let root = if kind == 2 { "missing" } else { "sent" };
        let mut class = json!({"templates": templates, "error": kind == 1, "root": root});
        for (key, value) in [("duration", duration), ("late", late)] {
            if !value.is_null() {
                class[key] = value;
            }
        }
        class
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_model_every_trace_is_a_valid_tree(
        seed: u64,
        rate in 1..5000_u32,
        poisson: bool,
        classes in proptest::collection::vec(a_class(), 1..5),
    ) {
        let (share, mut classes) = (1.0 / classes.len() as f64, classes);
        for (index, class) in classes.iter_mut().enumerate() {
            class["name"] = json!(format!("c{index}"));
            class["share"] = json!(share);
        }
        let shape = if poisson { "poisson" } else { "constant" };
        let rate = format!("{rate}/s");
        let traffic = traffic(json!(
            {"seed": seed, "rate": rate, "shape": shape, "traces": 30, "classes": classes}
        ));
        let synthetic = Synthetic::new(&traffic).unwrap();
        let all = encoded(&synthetic);
        prop_assert_eq!(all.len(), 30);
        prop_assert!(all.is_sorted_by_key(|(trace, _)| trace.at));
        for (trace, spans) in &all {
            check(&synthetic, &traffic, trace, spans);
        }
    }
}

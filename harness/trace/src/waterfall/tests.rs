use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    Capture, Event, Kind, Link, TraceId, Value,
    contract::MUTATING_WEBHOOK,
    testing::{Builder, TRACE, any_spans, span, span_id, trace_id},
};

fn picture(capture: &Capture, trace: TraceId, width: usize, options: Options) -> String {
    let index = TraceIndex::new(capture);
    render(&index.by_trace(trace).unwrap(), width, options)
}

/// A create with a slow webhook that fails, in microseconds.
fn create() -> Capture {
    let mut b = Builder::default();
    let us = |us: u64| us * 1_000;
    let server = b.server(us(0), us(200_000));
    b.get(server).parent = Some(span_id(99));
    b.get(server).status = Status::Error;
    b.get(server).attributes.insert("http.response.status_code".to_owned(), Value::Int(500));
    let link = Link { trace_id: trace_id(1), span_id: span_id(1), attributes: BTreeMap::new() };
    b.get(server).links.push(link);
    let audit = b.span("audit", Some(server), us(500), us(199_000));
    let create = b.span("Create", Some(audit), us(1_000), us(198_000));
    let event = Event {
        time: UnixNanos(us(2_000)),
        name: "limitedReadBody succeeded".to_owned(),
        attributes: BTreeMap::new(),
    };
    b.get(create).events.push(event);
    b.webhook(MUTATING_WEBHOOK, "slow-mutate.spangate.dev", create, us(10_000), us(160_250));
    b.get(4).status = Status::Error;
    let storage = b.span("Create etcd3", Some(create), us(161_000), us(190_000));
    b.get(storage).attributes.insert("key".to_owned(), Value::String("/configmaps/default/a".to_owned()));
    let call = b.span("etcdserverpb.KV/Txn", Some(storage), us(162_000), us(189_999));
    b.get(call).kind = Kind::Client;
    b.span("SerializeObject", Some(create), us(191_000), us(191_040));
    b.capture()
}

#[test]
fn a_create_in_ascii() {
    let options = Options { attributes: true, ..Options::default() };
    insta::assert_snapshot!(picture(&create(), TRACE, 110, options), @r"
    trace 07070707070707070707070707070707, 8 spans, 200 ms
    POST /api/v1/namespaces/{:namespace}/c~ !@? |#------------------------------------#|    200 ms  self   1.50 ms
    ` audit                                     |#------------------------------------#|    198 ms  self   1.50 ms
      ` Create                                  |##----------------------------#-----##|    197 ms  self   17.7 ms
        + Call mutating webhook slow-mutate     | #----------------------------#       |    150 ms  self      2 ns
        | ` HTTP POST                       !   | ##############################       |    150 ms  self    150 ms
        + Create etcd3 /configmaps/default~     |                              #-----# |   29.0 ms  self   1.00 ms
        | ` etcdserverpb.KV/Txn                 |                              ####### |   28.0 ms  self   28.0 ms
        ` SerializeObject                       |                                    # |   40.0 us  self   40.0 us
    ! error
    @ has a link
    ? the parent was not captured
    ");
}

#[test]
fn a_narrow_create_with_events() {
    let options = Options { events: true, ..Options::default() };
    insta::assert_snapshot!(picture(&create(), TRACE, 84, options), @r"
    trace 07070707070707070707070707070707, 8 spans, 200 ms
    POST /api/v1/namespaces/{~ !@? |#-----------------------#|    200 ms  self   1.50 ms
    ` audit                        |#-----------------------#|    198 ms  self   1.50 ms
      ` Create                     |##------------------#--##|    197 ms  self   17.7 ms
        | * limitedReadBody s~     |*                        |  +1.00 ms
        + Call mutating webho~     | #------------------#    |    150 ms  self      2 ns
        | ` HTTP POST          !   | ####################    |    150 ms  self    150 ms
        + Create etcd3             |                    #--# |   29.0 ms  self   1.00 ms
        | ` etcdserverpb.KV/T~     |                    #### |   28.0 ms  self   28.0 ms
        ` SerializeObject          |                       # |   40.0 us  self   40.0 us
    ! error
    @ has a link
    ? the parent was not captured
    ");
}

#[test]
fn a_service_is_named_where_it_changes() {
    let mut spans: Vec<_> =
        (1..=4).map(|id| span(TRACE, id, (id > 1).then_some(id - 1), "call", 0, 1)).collect();
    for (span, service) in spans.iter_mut().zip(["kubelet", "kubelet", "containerd", "containerd"]) {
        span.service = service.into();
    }
    let options = Options::default();
    let picture = picture(&Capture::from_spans(spans.clone()), TRACE, 100, options);
    let named: Vec<bool> = picture.lines().skip(1).map(|line| line.contains('[')).collect();
    assert_eq!(named[..4], [true, false, true, false], "{picture}");
    spans.truncate(2);
    let alone =
        super::render(&TraceIndex::new(&Capture::from_spans(spans)).by_trace(TRACE).unwrap(), 100, options);
    assert!(!alone.contains('['), "{alone}");
}

#[test]
fn box_characters_draw_the_same_picture() {
    let options = |unicode| Options { unicode, events: true, attributes: true };
    let boxes = picture(&create(), TRACE, 100, options(true));
    let ascii = |c| match c {
        '\u{251c}' => '+',
        '\u{2514}' => '`',
        '\u{2502}' => '|',
        '\u{2588}' => '#',
        '\u{2591}' => '-',
        '\u{25c6}' => '*',
        '\u{2026}' => '~',
        c => c,
    };
    assert!(!boxes.is_ascii());
    assert_eq!(boxes.chars().map(ascii).collect::<String>(), picture(&create(), TRACE, 100, options(false)));
}

#[test]
fn durations_have_three_digits() {
    for (nanos, text) in [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1.00 us"),
        (9_994, "9.99 us"),
        (9_996, "10.0 us"),
        (99_960, "100 us"),
        (999_499, "999 us"),
        (999_500, "1.00 ms"),
        (153_200_000, "153 ms"),
        (999_500_000, "1.00 s"),
        (61_000_000_000, "61.0 s"),
    ] {
        assert_eq!(Short(Duration::from_nanos(nanos)).to_string(), text);
    }
}

#[test]
fn a_name_cannot_take_over_the_terminal() {
    let capture = Capture::from_spans(vec![span(TRACE, 1, None, "evil\u{1b}[2J\nline", 0, 1)]);
    let picture = picture(&capture, TRACE, 80, Options::default());
    assert!(picture.contains("evil?[2J?line"), "{picture}");
    assert_eq!(picture.lines().count(), 2);
}

proptest! {
    #[test]
    fn every_span_has_a_line_and_every_line_the_width(spans in any_spans(), width in 0..160_usize, unicode: bool) {
        let capture = Capture::from_spans(spans);
        let index = TraceIndex::new(&capture);
        let options = Options { unicode, events: true, attributes: true };
        for trace in index.traces() {
            let picture = render(&trace, width, options);
            let lines: Vec<_> = picture.lines().map(|line| line.chars().count()).collect();
            prop_assert!(lines.len() > trace.len());
            // The narrowest picture still has room for names and bars.
            prop_assert!(lines[1..=trace.len()].iter().all(|length| *length == lines[1]), "{picture}");
            prop_assert!(lines[1] <= width.max(70), "{picture}");
            prop_assert!(unicode || picture.is_ascii(), "{picture}");
        }
    }

    #[test]
    fn durations_are_never_longer_than_their_column(nanos in 0..9_999_000_000_000_u64) {
        prop_assert!(Short(Duration::from_nanos(nanos)).to_string().len() <= 9);
    }
}

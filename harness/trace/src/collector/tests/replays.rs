//! The `tail_sampling` processor at work.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[derive(Deserialize)]
struct Replays {
    replays: Vec<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    config: TailSamplingConfig,
    ids: Vec<TraceId>,
    events: Vec<Happened>,
    shutdown: Vec<usize>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Happened {
    Tick { tick: Vec<usize> },
    Arrival { trace: usize, spans: Vec<(usize, bool, i32)>, bytes: u64, forwarded: Vec<usize> },
}

fn load() -> Vec<Recorded> {
    let fixture: Replays =
        fixture(include_str!("../../../../../fixtures/sampling/tail-sampling-replays.json"));
    fixture.replays
}

/// When the first tick was, in nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// An arrival whose spans have numbers.
struct Received {
    at: UnixNanos,
    spans: Vec<(usize, Span)>,
    bytes: u64,
}

/// When each span was forwarded, by number.
type Forwarded = Vec<(usize, UnixNanos)>;

/// The arrivals of a recording, what upstream forwarded, and when it was shut down.
fn arrivals(recorded: &Recorded) -> (Vec<Received>, Forwarded, UnixNanos) {
    let (mut arrivals, mut forwarded, mut ticks) = (Vec::new(), Vec::new(), 0);
    for (index, happened) in recorded.events.iter().enumerate() {
        match happened {
            Happened::Tick { tick } => {
                ticks += 1;
                forwarded.extend(tick.iter().map(|number| (*number, UnixNanos(ticks * SECOND))));
            }
            Happened::Arrival { trace, spans, bytes, forwarded: numbers } => {
                let at = UnixNanos(ticks * SECOND + 1 + index as u64);
                let spans = spans.iter().map(|(number, root, status)| {
                    let parent = (!root).then_some(SpanId::new([9; 8]));
                    (*number, Span { parent, status: Status::from(*status), ..blank(recorded.ids[*trace]) })
                });
                arrivals.push(Received { at, spans: spans.collect(), bytes: *bytes });
                forwarded.extend(numbers.iter().map(|number| (*number, at)));
            }
        }
    }
    let stop = UnixNanos(ticks * SECOND + SECOND / 2);
    forwarded.extend(recorded.shutdown.iter().map(|number| (*number, stop)));
    forwarded.sort_unstable();
    (arrivals, forwarded, stop)
}

fn view(Received { at, spans, bytes }: &Received) -> Arrival<'_> {
    let batch = BatchView { bytes: Some(*bytes), ..BatchView::of_spans(spans.iter().map(|(_, span)| span)) };
    Arrival { at: *at, by: *at, id: spans[0].1.trace_id, batch }
}

/// When each span is forwarded, as the replay has it.
fn forwarded(config: &TailSamplingConfig, recorded: &Recorded) -> Forwarded {
    let (arrivals, _, stop) = arrivals(recorded);
    let views: Vec<_> = arrivals.iter().map(view).collect();
    let replay =
        TailSampler::new(config.clone()).unwrap().replay(&views, UnixNanos(SECOND), Some(stop)).unwrap();
    assert!(replay.exact, "{config:?}");
    let mut forwarded = Vec::new();
    for (fate, Received { spans, .. }) in replay.fates.iter().zip(&arrivals) {
        match fate {
            Fate::Forwarded { at } => forwarded.extend(spans.iter().map(|(number, _)| (*number, *at))),
            Fate::Withheld => {}
            Fate::Uncertain => panic!("{config:?}"),
        }
    }
    forwarded.sort_unstable();
    forwarded
}

/// Scenario: arrivals and ticks at random, with roots, caches, shards, limits of memory and of size, both strategies and
/// a shutdown. Guarantees: each span is forwarded when upstream forwarded it, and no other is.
#[test]
fn spans_are_forwarded_when_upstream_forwards_them() {
    let replays = load();
    for recorded in &replays {
        let (_, expected, _) = arrivals(recorded);
        assert_eq!(forwarded(&recorded.config, recorded), expected, "{:?}", recorded.config);
    }
    assert!(replays.len() > 20);
}

/// Scenario: a wait, a size or a number of traces that is not that of the recording. Guarantees: the comparison notices.
#[test]
fn a_lie_about_the_settings_shows() {
    let lies: [fn(&mut TailSamplingConfig); 4] = [
        |config| config.decision_wait += Duration::from_secs(1),
        |config| config.decision_wait_after_root_received = Duration::from_millis(1),
        |config| config.maximum_trace_size_bytes = 60,
        |config| config.num_traces = 2,
    ];
    let replays = load();
    for (index, lie) in lies.into_iter().enumerate() {
        let differs = replays.iter().filter(|recorded| {
            let mut config = recorded.config.clone();
            lie(&mut config);
            forwarded(&config, recorded) != arrivals(recorded).1
        });
        assert!(differs.count() > replays.len() / 4, "{index}");
    }
}

/// Whether a replay's fate of an arrival is one that was foretold.
fn agrees(foretold: &Foretold, presence: Presence, fate: Fate) -> bool {
    let forwarded = matches!(fate, Fate::Forwarded { .. });
    let shares = presence == Presence::InTime || foretold.remembered;
    match foretold.decisions.certain() {
        Some(Decision::Sampled) if shares => forwarded,
        Some(_) if shares => !forwarded,
        // Where late spans are decided on again, anything may come of them.
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Scenario: recorded arrivals at other times, with ticks at any fraction of a second. Guarantees: whatever is
    /// foretold without the ticks comes true with them, and most of it is certain.
    #[test]
    fn what_is_foretold_comes_true(
        chosen in 0..1_000_usize,
        gaps in prop::collection::vec(0..2_500_u64, 40),
        first_tick in 1..=1_000_u64,
        ends in prop::option::of(0..20_u64),
    ) {
        let replays = load();
        let recorded = &replays[chosen % replays.len()];
        let mut arrivals = arrivals(recorded).0;
        let mut now = 1_000_000;
        for (arrival, gap) in arrivals.iter_mut().zip(gaps) {
            now += gap * 1_000_003;
            arrival.at = UnixNanos(now);
        }
        let views: Vec<_> = arrivals.iter().map(view).collect();
        let sampler = TailSampler::new(recorded.config.clone()).unwrap();
        let stop = ends.map(|ends| UnixNanos(now + ends * SECOND / 4 + 1));
        let replay = sampler.replay(&views, UnixNanos(first_tick * 1_000_000), stop).unwrap();
        let foretold = sampler.foretell(&views, Duration::ZERO, stop);
        for trace in &foretold {
            prop_assert_eq!(trace.decisions.certain().is_some(), trace.depends == Dependence::Arrivals);
            for (index, presence) in &trace.arrivals {
                let fate = replay.fates[*index];
                prop_assert!(agrees(trace, *presence, fate), "{:?} {:?} {:?}", recorded.config, trace, fate);
            }
        }
        let certain = foretold.iter().filter(|trace| trace.depends == Dependence::Arrivals).count();
        let crowded = foretold.iter().filter(|trace| trace.depends == Dependence::Memory).count();
        prop_assert!(2 * certain + 2 * crowded >= foretold.len(), "{:?}", foretold);
    }
}

/// One span that arrives some time within these milliseconds.
fn arrived(millis: std::ops::Range<u64>, span: &Span) -> Arrival<'_> {
    let at = |millis: u64| UnixNanos(millis * 1_000_000);
    let batch = BatchView::of_spans([span]);
    Arrival { at: at(millis.start), by: at(millis.end), id: span.trace_id, batch }
}

fn foretold(config: serde_json::Value, arrivals: &[Arrival<'_>]) -> Foretold {
    let sampler = TailSampler::new(serde_json::from_value(config).unwrap()).unwrap();
    let [trace] = sampler.foretell(arrivals, Duration::ZERO, None).try_into().unwrap();
    trace
}

/// Scenario: a span of which nobody knows when it came, but that it was one second before the decision or within it.
/// Guarantees: its own time is all that is uncertain, and another span that came for certain is looked at.
#[test]
fn a_slow_answer_makes_only_its_own_spans_uncertain() {
    let config = |code| {
        serde_json::json!({"decision_wait": "2s", "policies": [
            {"name": "e", "type": "status_code", "status_code": {"status_codes": [code]}}]})
    };
    let id = TraceId::new([3; 16]);
    let (first, failed) = (blank(id), Span { status: Status::Error, ..blank(id) });
    let arrivals = [arrived(0..10, &first), arrived(100..2_100, &first), arrived(500..510, &failed)];
    let trace = foretold(config("ERROR"), &arrivals);
    assert_eq!(trace.decisions.certain(), Some(Decision::Sampled));
    let presence: Vec<_> = trace.arrivals.iter().map(|(_, presence)| *presence).collect();
    assert_eq!(presence, [Presence::InTime, Presence::Uncertain, Presence::InTime]);
    let arrivals = [arrived(0..10, &first), arrived(100..2_100, &failed), arrived(500..510, &first)];
    let trace = foretold(config("ERROR"), &arrivals);
    assert_eq!((trace.decisions.certain(), trace.depends), (None, Dependence::Ticks));
    assert_eq!(foretold(config("UNSET"), &arrivals).decisions.certain(), Some(Decision::Sampled));
}

/// Scenario: two exports of a trace are under way at once, and `latency` with an upper bound looks at the spans in the
/// order in which they came: the one alone is within the bounds, the other and both together are not.
/// Guarantees: it is certain as long as the one was answered before the other was sent, and not otherwise.
#[test]
fn the_order_of_exports_that_overlap_is_not_known() {
    let config = || {
        serde_json::json!({"decision_wait": "2s", "policies": [
            {"name": "l", "type": "latency", "latency": {"threshold_ms": 20, "upper_threshold_ms": 90}}]})
    };
    let id = TraceId::new([3; 16]);
    let lasting = |from: u64, to: u64| Span {
        start: UnixNanos(SECOND + from * 1_000_000),
        end: UnixNanos(SECOND + to * 1_000_000),
        ..blank(id)
    };
    let (short, long) = (lasting(28, 74), lasting(0, 140));
    for (first, then, decision, depends) in [
        ((98..190, &short), (190..293, &long), Some(Decision::Sampled), Dependence::Arrivals),
        ((98..190, &long), (190..293, &short), Some(Decision::NotSampled), Dependence::Arrivals),
        ((98..296, &short), (190..293, &long), None, Dependence::Order),
        ((98..296, &long), (190..293, &short), None, Dependence::Order),
        // Both orders come to the same.
        ((98..296, &long), (190..293, &long), Some(Decision::NotSampled), Dependence::Arrivals),
    ] {
        let trace = foretold(config(), &[arrived(first.0, first.1), arrived(then.0, then.1)]);
        assert_eq!((trace.decisions.certain(), trace.depends), (decision, depends), "{trace:?}");
    }
}

/// Scenario: a span that alone makes the trace worth keeping, before, within and after the second of the decision.
/// Guarantees: sampled, uncertain, not sampled.
#[test]
fn the_second_of_the_decision_is_uncertain() {
    let config = serde_json::json!({"decision_wait": "2s", "policies": [
        {"name": "e", "type": "status_code", "status_code": {"status_codes": ["ERROR"]}}]});
    let sampler = TailSampler::new(serde_json::from_value(config).unwrap()).unwrap();
    let id = TraceId::new([3; 16]);
    let (first, failed) = (blank(id), Span { status: Status::Error, ..blank(id) });
    for (millis, decision, depends, presence) in [
        (2_000, Some(Decision::Sampled), Dependence::Arrivals, Presence::InTime),
        (2_001, None, Dependence::Ticks, Presence::Uncertain),
        (3_000, None, Dependence::Ticks, Presence::Uncertain),
        (3_001, Some(Decision::NotSampled), Dependence::Arrivals, Presence::Late),
    ] {
        let arrival = |at: u64, span| arrived(at..at, span);
        let arrivals = [arrival(5_000, &first), arrival(5_000 + millis, &failed)];
        let [trace] = sampler.foretell(&arrivals, Duration::ZERO, None).try_into().unwrap();
        assert_eq!((trace.decisions.certain(), trace.depends), (decision, depends), "{millis}");
        assert_eq!(trace.arrivals, [(0, Presence::InTime), (1, presence)], "{millis}");
    }
}

#[test]
fn what_cannot_be_replayed_is_said() {
    let sampler = |json: &str| TailSampler::new(serde_json::from_str(json).unwrap()).unwrap();
    let spans = [blank(TraceId::new([1; 16])), blank(TraceId::new([2; 16]))];
    let arrivals: Vec<_> = spans
        .iter()
        .map(|span| {
            let (at, batch) = (UnixNanos(9), BatchView::of_spans([span]));
            Arrival { at, by: at, id: span.trace_id, batch }
        })
        .collect();
    let replay = |json: &str, arrivals: &[Arrival<'_>]| sampler(json).replay(arrivals, UnixNanos(10), None);
    assert_eq!(
        replay(r#"{"maximum_trace_size_bytes": 5}"#, &arrivals),
        Err(CannotReplay::Size { arrival: 0 })
    );
    assert_eq!(
        replay(r#"{"num_traces": 1, "block_on_overflow": true}"#, &arrivals),
        Err(CannotReplay::Blocked { arrival: 1 })
    );
    let mut late = arrivals.clone();
    late[0].at = UnixNanos(10);
    assert_eq!(replay("{}", &late), Err(CannotReplay::Order { arrival: 1 }));
}

//! The verdicts of a run with a million spans: index, phases and everything that a scenario expects.
//!
//! The spans are creates past two webhooks, as the API server sends them, in a store of the sink: what a
//! judge looks up is decoded from the bytes, as in a run. Every second create met a slow webhook, every third
//! a slow etcd. All verdicts must be a pass, so that the time is that of judging a healthy run.
//!
//! The only part is `judge`.

use std::{hint::black_box, process::ExitCode, time::Instant};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, trace::v1::Span as WireSpan,
};
use prost::Message as _;
use spangate::{
    evidence::{Evidence, Facts, Generator},
    verdict::{self, Status},
};
use spangate_benches::{
    CpuWatch, Figure, Table, Target,
    command::{self, Failure},
};
use spangate_inject::{Answer, Held, Injection, Target as Called};
use spangate_load::{Outcome, RequestRecord, Verb};
use spangate_scenario::{
    Scenario,
    model::{Identity, RequestFilter},
};
use spangate_sink::{Store, shape};
use spangate_trace::{SpanId, TraceContext, TraceId, TraceIndex, UnixNanos};

/// Requests of the run: a million spans, and a few more.
const REQUESTS: u64 = 1_000_000_u64.div_ceil(shape::TRACE_SPANS as u64);
/// Traces in an export.
const BATCH: u64 = 36;
/// How often everything is judged.
const RUNS: usize = 9;

const LOAD_START: u64 = 1_760_000_000_000_000_000;
/// Between requests, in nanoseconds.
const APART: u64 = 1_000_000;

const SCENARIO: &str = r#"
apiVersion: spangate/v1alpha1
kind: Scenario
metadata: {name: million}
spec:
  faults:
    - webhook:
        name: slow-mutate
        type: mutating
        rules: [{operations: [CREATE], resources: [configmaps]}]
        delay: {fixed: 20ms}
        share: 50%
    - etcd:
        name: slow-writes
        rpc: KV/Txn
        keyPrefix: /registry/configmaps
        delay: {fixed: 10ms}
        share: 33%
  load:
    arrivals: {rate: 1000/s, for: 72s}
    mix:
      - create: {resource: configmaps}
  expect:
    - complete: {}
    - injected: {fault: slow-mutate, within: 2ms}
    - injected: {fault: slow-writes, within: 2ms}
    - blame: {fault: slow-mutate, share: ">= 80%"}
    - blame: {fault: slow-writes, share: ">= 80%"}
    - latency: {where: {verb: create}, is: {p50: "< 50ms", p99: "< 100ms"}}
    - requests: {where: {status: ">= 400"}, count: 0}
    - phases: {where: {verb: create}, phase: etcd KV/Txn, is: {p99: "< 20ms"}}
    - spans:
        where: {name: Call validating webhook, parent: {name: Create}}
        perRequest: 1
    - spans:
        where: {name: etcdserverpb.KV/Txn, ancestor: {kind: server}}
        duration: {p99: "< 20ms"}
    - spans:
        where: {kind: server, ours: true}
        attributes: {http.response.status_code: 201}
"#;

fn main() -> ExitCode {
    command::run(|command| {
        if !command.wants("judge") {
            return Ok(());
        }
        let mut table = Table::begin("A run of 1M spans, judged on one thread")?;
        let evidence = evidence()?;
        if let Some(verdict) = verdict::judge(&evidence).iter().find(|it| it.status != Status::Pass) {
            return Err(format!("the made-up run does not pass: {verdict:#?}").into());
        }
        let expectations = evidence.scenario.spec.expect.len();
        let (index, _) = times(|| TraceIndex::new(&evidence.capture));
        let (phases, _) = times(|| verdict::phase_table(&evidence, &RequestFilter::default()));
        let (judged, cpu) = times(|| verdict::judge(&evidence));
        table.row(&Figure::median("index of trees", "s", &index))?;
        table.row(&Figure::median("index and phases of every request", "s", &phases))?;
        let all = format!("index and {expectations} verdicts");
        table.row(&Figure::median(all.clone(), "s", &judged).target(Target::AtMost(2.0)))?;
        table.row(&Figure::median(all, "CPU s", &cpu))?;
        Ok(())
    })
}

/// The seconds that `work` takes, by the clock and of CPU time, without what it takes to drop its result.
fn times<T>(work: impl Fn() -> T) -> (Vec<f64>, Vec<f64>) {
    let once = |_| {
        let (began, cpu) = (Instant::now(), CpuWatch::of_process());
        let result = black_box(work());
        let (took, cpu) = (began.elapsed(), cpu.elapsed());
        drop(result);
        (took.as_secs_f64(), cpu.as_secs_f64())
    };
    (0..RUNS).map(once).unzip()
}

/// A made-up run.
#[derive(Default)]
struct Run {
    store: Store,
    requests: Vec<RequestRecord>,
    injections: Vec<Injection>,
    /// What is yet to be stored.
    export: Vec<u8>,
}

fn evidence() -> Result<Evidence, Failure> {
    let scenario: Scenario = spangate_scenario::parse("million.yaml", SCENARIO)?;
    let mut run = Run::default();
    for number in 0..REQUESTS {
        run.request(number)?;
        if number % BATCH == BATCH - 1 || number == REQUESTS - 1 {
            run.store.append(&std::mem::take(&mut run.export).into())?;
        }
    }
    let facts = Facts {
        load_start: UnixNanos(LOAD_START),
        load_end: UnixNanos(LOAD_START + REQUESTS * APART),
        generator: Generator { planned: REQUESTS, started: REQUESTS, ..Generator::default() },
        ..Facts::default()
    };
    Ok(Evidence::new(scenario, run.requests, run.injections, run.store.snapshot(), facts))
}

// === impl Run ===

impl Run {
    /// Adds a request with its spans and whatever held it.
    fn request(&mut self, number: u64) -> Result<(), Failure> {
        let webhook = if number.is_multiple_of(2) { 20_000 } else { 0 };
        let etcd = if number.is_multiple_of(3) { 10_000 } else { 0 };
        let times = timeline(webhook, etcd, number * 7919 % 97);
        let start = LOAD_START + number * APART;
        let at = |micros: u64| UnixNanos(start + micros * 1_000);

        let mut export = ExportTraceServiceRequest::decode(shape::request(number, shape::TRACE_SPANS))?;
        let scopes = export.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans);
        let mut spans: Vec<&mut WireSpan> = scopes.flat_map(|scope| &mut scope.spans).collect();
        // The shape starts one span after the other: this is the order of the time line.
        spans.sort_by_key(|span| span.start_time_unix_nano);
        for (span, (from, to)) in spans.iter_mut().zip(times) {
            span.start_time_unix_nano = at(from).0;
            span.end_time_unix_nano = at(to).0;
        }
        // With a traceparent that the API server honours, the authentication span is a root of its own.
        let sent = context(&spans[1].trace_id, &spans[0].span_id)?;
        spans[0].trace_id.reverse();
        let webhook_call = context(&spans[8].trace_id, &spans[8].span_id)?;
        let etcd_call = context(&spans[12].trace_id, &spans[12].span_id)?;
        export.encode(&mut self.export)?;

        let (from, to) = times[8];
        self.injections.push(Injection {
            fault: "slow-mutate".to_owned(),
            call: number,
            target: Called::Webhook {
                uid: number.to_string(),
                operation: "CREATE".to_owned(),
                resource: "configmaps".to_owned(),
                namespace: "spangate".to_owned(),
                name: format!("load-{number:05}"),
            },
            ..injection(webhook_call, at(from + 50), at(to - 50), webhook)
        });
        if etcd > 0 {
            let (from, to) = times[12];
            self.injections.push(Injection {
                fault: "slow-writes".to_owned(),
                call: number / 3,
                target: Called::Etcd {
                    rpc: "KV/Txn".to_owned(),
                    key: format!("/registry/configmaps/spangate/load-{number:05}"),
                },
                ..injection(etcd_call, at(from + 50), at(to - 50), etcd)
            });
        }
        let (_, end) = times[1];
        self.requests.push(request(number, sent, UnixNanos(start - 200_000), at(end + 100)));
        Ok(())
    }
}

/// Start and end of each span of a trace of [`shape`], in microseconds from the start of the SERVER span,
/// when the mutating webhook and etcd hold the request this long.
fn timeline(webhook: u64, etcd: u64, jitter: u64) -> [(u64, u64); shape::TRACE_SPANS] {
    let end = 5_000 + webhook + etcd + jitter;
    let both = webhook + etcd;
    [
        (0, 90),
        (0, end),
        (10, end - 10),
        (20, end - 20),
        (30, end - 30),
        (40, end - 40),
        (100, end - 60),
        (200, 1_200 + webhook),
        (250, 1_150 + webhook),
        (1_300 + webhook, 2_300 + webhook),
        (1_350 + webhook, 2_250 + webhook),
        (2_400 + webhook, 4_400 + both),
        (2_450 + webhook, 4_350 + both),
        (4_450 + both, 4_700 + both),
    ]
}

fn context(trace: &[u8], span: &[u8]) -> Result<TraceContext, Failure> {
    let ids = TraceId::from_slice(trace).zip(SpanId::from_slice(span));
    ids.map(|(trace, span)| TraceContext::sampled(trace, span))
        .ok_or_else(|| "the shape has invalid ids".into())
}

/// What is the same of every call: it was held for `held` microseconds, if at all, and answered as ever.
fn injection(parent: TraceContext, received: UnixNanos, answered: UnixNanos, held: u64) -> Injection {
    let until = UnixNanos(received.0 + held * 1_000);
    Injection {
        fault: String::new(),
        call: 0,
        target: Called::Sink { spans: 0 },
        parent: Some(parent),
        received,
        answered,
        held: (held > 0).then_some(Held { from: received, to: until }),
        answer: Answer::Genuine,
    }
}

fn request(number: u64, sent: TraceContext, started: UnixNanos, ended: UnixNanos) -> RequestRecord {
    RequestRecord {
        arrival: number,
        step: 0,
        entry: 0,
        stage: 0,
        identity: Identity::admin(),
        sent: Some(sent),
        verb: Verb::Create,
        resource: "configmaps".into(),
        subresource: None,
        name: Some(format!("load-{number:05}")),
        method: "POST".into(),
        target: "/api/v1/namespaces/spangate/configmaps".to_owned(),
        intended: started,
        started,
        ended,
        outcome: Outcome::Status(201),
        audit_id: None,
        retry_after: None,
        received_bytes: 2_390,
    }
}

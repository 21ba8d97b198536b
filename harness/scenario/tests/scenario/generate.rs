//! Valid scenarios by chance.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, sample::select};
use spangate_scenario::{
    model::*,
    units::{Bound, Duration, PerMillion, Ratio},
};

mod load;

/// Length of the load of every scenario, so that windows can be chosen to lie in it.
const LENGTH: u64 = 60_000;

/// Any valid scenario.
pub(crate) fn scenario() -> impl Strategy<Value = Scenario> {
    let spec = (any::<u64>(), cluster(), collector(), vec(fault(), 0..5), load::load()).prop_flat_map(
        |(seed, cluster, collector, faults, load)| {
            let faults: Vec<Fault> = faults
                .into_iter()
                .filter(|fault| collector.is_some() || !matches!(fault, Fault::Collector(_)))
                .collect();
            let faults = named(faults);
            let names = faults
                .iter()
                .filter(|fault| !matches!(fault, Fault::Collector(_)))
                .map(|fault| (fault.name().to_owned(), matches!(fault, Fault::Sink(_))))
                .collect();
            let expected = expectation(names, &load);
            let expected = if collector.is_some() {
                prop_oneof![3 => expected, 1 => of_collector()].boxed()
            } else {
                expected.boxed()
            };
            let spec = move |expect| Spec {
                seed,
                cluster: cluster.clone(),
                collector: collector.clone(),
                backends: Backends::default(),
                faults: faults.clone(),
                load: load.clone(),
                expect,
            };
            vec(expected, 0..5).prop_map(spec)
        },
    );
    (label(), option::of(text()), spec).prop_map(|(name, description, spec)| Scenario {
        api_version: ApiVersion::V1Alpha1,
        kind: ScenarioKind::Scenario,
        metadata: Metadata { name, description },
        spec,
    })
}

/// A Collector, or none.
fn collector() -> impl Strategy<Value = Option<Collector>> {
    let gates = proptest::collection::btree_map("[a-z]{1,8}", any::<bool>(), 0..3);
    let env = proptest::collection::btree_map("[A-Z]{1,8}", text(), 0..3);
    let config = prop_oneof![
        "[a-z: \n]{1,30}[a-z]".prop_map(|text| (Some(text), None)),
        "[a-z]{1,8}\\.yaml".prop_map(|path| (None, Some(path.into()))),
    ];
    let collector = (config, gates, env).prop_map(|((config, config_file), feature_gates, env)| Collector {
        config,
        config_file,
        feature_gates,
        env,
        ..Collector::default()
    });
    option::of(collector)
}

/// What may be expected of a Collector.
fn of_collector() -> impl Strategy<Value = Expectation> {
    let share =
        || select(vec!["= 0%", "= 100%", "> 3%", "1%..5%"]).prop_map(|text| text.parse().expect("a bound"));
    let kept = (share(), any::<bool>(), option::of(duration())).prop_map(|(share, whole, slower_than)| {
        Expectation::Kept(Kept { share, whole, slower_than, ..Kept::default() })
    });
    let conserved = (share(), share(), any::<u64>()).prop_map(|(refused, failed, dropped)| {
        let dropped_too_early = Bound::at_most(dropped);
        Expectation::Conserved(Conserved { refused, failed, dropped_too_early })
    });
    let one = prop_oneof![
        kept,
        conserved,
        Just(Expectation::Sampling(Sampling::of(Roots::Collector))),
        Just(Expectation::SpanMetrics(SpanMetrics::default())),
        Just(overhead()),
    ];
    (one, any::<bool>()).prop_map(|(one, fails)| if fails { Expectation::Fails(Box::new(one)) } else { one })
}

/// What a Collector may use of the machine.
fn overhead() -> Expectation {
    let cpu_per_span = Some("< 30us".parse().expect("a bound"));
    let rss = Some("< 200MiB".parse().expect("a bound"));
    Expectation::Overhead(Overhead {
        collector: Some(CollectorOverhead { cpu_per_span, rss }),
        api_server: None,
    })
}

/// Text with everything that YAML could take for something else.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{1,20}",
        "[a-z: #'\"\n\t\\\\]{1,20}",
        "\\PC{1,10}",
        select(vec![
            "yes", "null", "~", "1.37", "0x1f", "- a", "true", "*", "&a", "!x", "a: b", " ", "|", ">", "=",
            "<<"
        ])
        .prop_map(str::to_owned),
    ]
}

fn label() -> impl Strategy<Value = String> {
    "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?"
}

/// From a microsecond to beyond an hour, with all units.
fn duration() -> impl Strategy<Value = Duration> {
    (1_u64..10_000_000_000).prop_map(|micros| std::time::Duration::from_micros(micros).into())
}

/// Neither none nor all.
fn share() -> impl Strategy<Value = Ratio> {
    (0.001_f64..0.999).prop_map(|share| Ratio::new(share).expect("within 0 and 1"))
}

fn bound<T: Clone + PartialOrd + std::fmt::Debug + 'static>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Bound<T>> {
    use spangate_scenario::units::Comparison::{AtLeast, AtMost, Equal, Greater, Less, NotEqual};
    let comparison = select(vec![Equal, NotEqual, Less, AtMost, Greater, AtLeast]);
    (comparison, value, any::<bool>()).prop_map(|(comparison, value, within)| {
        if within { Bound::Within(value.clone(), value) } else { Bound::One(comparison, value) }
    })
}

fn ratio_bound() -> impl Strategy<Value = Bound<Ratio>> {
    bound(share())
}

/// No equality: no time that is measured is exactly equal to another.
fn duration_bound() -> impl Strategy<Value = Bound<Duration>> {
    use spangate_scenario::units::Comparison::{AtLeast, AtMost, Greater, Less, NotEqual};
    let comparison = select(vec![NotEqual, Less, AtMost, Greater, AtLeast]);
    (comparison, duration(), any::<bool>()).prop_map(|(comparison, value, within)| {
        let longer = Duration::from(value.get() * 2);
        if within { Bound::Within(value, longer) } else { Bound::One(comparison, value) }
    })
}

fn window() -> impl Strategy<Value = Window> {
    (0..LENGTH).prop_flat_map(|from| {
        (from + 1..=LENGTH)
            .prop_map(move |to| Window { from: Duration::from_millis(from), to: Duration::from_millis(to) })
    })
}

fn cluster() -> impl Strategy<Value = Cluster> {
    let batch = (1_u64..100_000, option::of(2048_u32..10_000), option::of(1_u32..2048)).prop_map(
        |(delay, queue, export)| BatchProcessor {
            schedule_delay: Duration::from_millis(delay),
            max_queue_size: queue,
            max_export_batch_size: export,
            export_timeout: None,
        },
    );
    let sampling =
        option::of((0_u32..=1_000_000).prop_map(|parts| PerMillion::new(parts).expect("at most a million")));
    let maps = (vec(("[a-z-]{0,5}[a-z]", text()), 0..3), vec(("[A-Z][A-Za-z]{0,8}", any::<bool>()), 0..3));
    ((20_u32..50, option::of(0_u32..9)), batch, sampling, maps, option::of(Just(EtcdTracing::default())))
        .prop_map(|((minor, patch), batch, sampling_rate_per_million, (args, gates), tracing)| Cluster {
            kubernetes: patch.map_or(format!("1.{minor}"), |patch| format!("1.{minor}.{patch}")),
            tracing: Tracing { enabled: true, sampling_rate_per_million, batch },
            api_server: ApiServer {
                extra_args: args.into_iter().map(|(key, value)| (format!("x{key}"), value)).collect(),
                feature_gates: gates.into_iter().collect(),
                env: BTreeMap::new(),
            },
            etcd: Etcd { version: None, tracing },
            ..Cluster::default()
        })
}

fn delay() -> impl Strategy<Value = Delay> {
    prop_oneof![
        duration().prop_map(Delay::Fixed),
        (duration(), duration()).prop_map(|(a, b)| Delay::Uniform { min: a.min(b), max: a.max(b) }),
        (duration(), duration()).prop_map(|(mean, stddev)| Delay::Normal { mean, stddev }),
        duration().prop_map(|mean| Delay::Exponential { mean }),
        (duration(), 0.01_f64..100.0).prop_map(|(scale, shape)| Delay::Pareto { scale, shape }),
    ]
}

fn status() -> impl Strategy<Value = GrpcStatus> {
    select(vec![GrpcStatus::Cancelled, GrpcStatus::NotFound, GrpcStatus::Unavailable, GrpcStatus::DataLoss])
}

fn answer() -> impl Strategy<Value = WebhookAnswer> {
    let patch = (text(), text()).prop_map(|(path, value)| {
        let operation = [("op", "add".into()), ("path", path.into()), ("value", value.into())];
        WebhookAnswer::Patch(vec![
            operation.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        ])
    });
    prop_oneof![
        Just(WebhookAnswer::Hold),
        Just(WebhookAnswer::MalformedJson),
        (400_u16..600, text()).prop_map(|(code, message)| WebhookAnswer::Deny(Deny { code, message })),
        (400_u16..600).prop_map(|status| WebhookAnswer::Http(HttpFailure { status })),
        patch,
    ]
}

fn webhook() -> impl Strategy<Value = WebhookFault> {
    let condition =
        ("[a-z]{1,5}", "[a-z.]{1,20}").prop_map(|(name, expression)| MatchCondition { name, expression });
    (answer(), option::of(delay()), 1_u8..=30, option::of(window()), share(), option::of(condition)).prop_map(
        |(answer, delay, timeout_seconds, during, share, condition)| WebhookFault {
            name: String::new(),
            webhook_type: WebhookType::Mutating,
            rules: vec![WebhookRule {
                operations: vec![AdmissionOperation::Any],
                resources: vec!["pods".to_owned(), "pods/status".to_owned()],
                api_groups: vec![String::new(), "apps".to_owned()],
                api_versions: vec!["*".to_owned()],
            }],
            via: Via::Url,
            failure_policy: FailurePolicy::Ignore,
            timeout_seconds,
            match_conditions: condition.into_iter().collect(),
            reinvocation_policy: ReinvocationPolicy::IfNeeded,
            delay,
            answer,
            share,
            operations: vec![AdmissionOperation::Create],
            resources: vec!["pods".to_owned()],
            namespaces: vec!["a".to_owned()],
            during,
        },
    )
}

fn fault() -> impl Strategy<Value = Fault> {
    let etcd =
        (delay(), option::of(status()), option::of(window()), option::of("/registry/[g-l/]{0,10}"), share())
            .prop_map(|(delay, status, during, key_prefix, share)| {
                Fault::Etcd(EtcdFault {
                    name: String::new(),
                    rpc: "KV/Range".to_owned(),
                    key_prefix,
                    delay: Some(delay),
                    hold: HeldSide::Response,
                    status,
                    share,
                    during,
                })
            });
    let does = prop_oneof![
        Just(SinkMisbehaviour::Hang),
        Just(SinkMisbehaviour::Away),
        delay().prop_map(SinkMisbehaviour::Delay),
        (status(), option::of(duration()))
            .prop_map(|(status, retry_after)| SinkMisbehaviour::Refuse { status, retry_after }),
        share().prop_map(|rejected| SinkMisbehaviour::PartialSuccess { rejected }),
    ];
    let sink = (does, window()).prop_map(|(does, during)| {
        Fault::Sink(SinkFault { name: String::new(), does, during: Some(during) })
    });
    let collector = (window(), any::<bool>()).prop_map(|(during, kills)| {
        let does = if kills { CollectorOutage::Kill } else { CollectorOutage::Stop };
        Fault::Collector(CollectorFault { name: String::new(), does, during })
    });
    prop_oneof![webhook().prop_map(Fault::Webhook), etcd, sink, collector]
}

/// Gives every fault a name of its own.
fn named(mut faults: Vec<Fault>) -> Vec<Fault> {
    for (index, fault) in faults.iter_mut().enumerate() {
        let name = match fault {
            Fault::Webhook(fault) => &mut fault.name,
            Fault::Etcd(fault) => &mut fault.name,
            Fault::Sink(fault) => &mut fault.name,
            Fault::Collector(fault) => &mut fault.name,
        };
        *name = format!("f{index}");
    }
    faults
}

fn text_match() -> impl Strategy<Value = TextMatch> {
    prop_oneof![
        text().prop_map(TextMatch::Equals),
        text().prop_map(TextMatch::Prefix),
        "[a-z]{1,5}[.*]?".prop_map(TextMatch::Regex),
    ]
}

fn attributes() -> impl Strategy<Value = BTreeMap<String, AttributeMatch>> {
    let matched = prop_oneof![
        text().prop_map(AttributeMatch::Text),
        any::<i64>().prop_map(AttributeMatch::Int),
        any::<bool>().prop_map(AttributeMatch::Bool),
        any::<bool>().prop_map(AttributeMatch::Exists),
        text().prop_map(AttributeMatch::Prefix),
        bound(-1e9_f64..1e9).prop_map(AttributeMatch::Number),
    ];
    proptest::collection::btree_map(text(), matched, 0..3)
}

fn selector() -> impl Strategy<Value = SpanSelector> {
    let leaf = (text_match(), attributes(), option::of(duration_bound()), option::of(any::<bool>()))
        .prop_map(|(name, attributes, duration, ours)| SpanSelector {
            name: Some(name),
            kind: Some(SpanKind::Client),
            status: Some(SpanStatus::Error),
            links: Some(LinkMatch::None),
            attributes,
            duration,
            ours,
            ..SpanSelector::default()
        });
    leaf.prop_recursive(3, 6, 2, |inner| {
        (inner.clone(), inner, text_match()).prop_map(|(parent, not, event)| SpanSelector {
            parent: Some(Box::new(parent)),
            not: Some(Box::new(not.clone())),
            linked: Some(Box::new(not)),
            events: vec![EventMatch { name: event, attributes: BTreeMap::new() }],
            ..SpanSelector::default()
        })
    })
}

fn percentiles() -> impl Strategy<Value = Percentiles> {
    (duration_bound(), option::of(duration_bound())).prop_map(|(p99, min)| Percentiles {
        p99: Some(p99),
        min,
        ..Percentiles::default()
    })
}

fn filter(load: &Load) -> impl Strategy<Value = RequestFilter> + use<> {
    let own = load.identities.iter().map(|spec| spec.name.clone());
    let senders: Vec<Identity> =
        [Identity::admin(), Identity::unprivileged()].into_iter().chain(own).collect();
    let stages: Vec<Option<String>> = load.stage_labels().into_iter().map(Some).chain([None]).collect();
    let verb = select(vec!["create", "watchlist"]);
    (verb, option::of(bound(101_u64..599)), option::of(window()), select(senders), select(stages)).prop_map(
        |(verb, status, during, identity, stage)| RequestFilter {
            verb: Some(verb.to_owned()),
            resource: Some("pods".to_owned()),
            status,
            identity: Some(identity),
            stage,
            during,
        },
    )
}

/// An expectation about one of these faults, of which those of the sink are marked, or about the load.
/// What may be expected of the sampler: the roots that the load has for certain.
fn sampling(load: &Load) -> BoxedStrategy<Expectation> {
    let honoured =
        |entry: &MixEntry| entry.traceparent != TraceFlag::None && load.honours_parent_of(&entry.identity);
    let of = if load.entries().any(honoured) { Roots::HonouredParents } else { Roots::RequestRoots };
    let rate = option::of((1_u32..=1_000_000).prop_map(PerMillion::new));
    (rate, share(), option::of(share().prop_map(Bound::at_most)))
        .prop_map(move |(rate, within, lost)| {
            let by_rate = of == Roots::RequestRoots;
            Expectation::Sampling(Sampling {
                sampling_rate_per_million: rate.flatten().filter(|_| by_rate),
                within,
                lost: lost.filter(|_| by_rate),
                ..Sampling::of(of)
            })
        })
        .boxed()
}

fn expectation(faults: Vec<(String, bool)>, load: &Load) -> BoxedStrategy<Expectation> {
    let count = || option::of(bound(1_u64..1_000_000));
    let spans = (selector(), bound(1_u64..100), count(), option::of(percentiles()), attributes()).prop_map(
        |(selector, count, per_request, duration, attributes)| {
            Expectation::Spans(Spans {
                selector,
                count: Some(count),
                per_request,
                duration,
                attributes,
                cel: Some("span.name != ''".to_owned()),
            })
        },
    );
    let latency =
        (filter(load), percentiles()).prop_map(|(filter, is)| Expectation::Latency(Latency { filter, is }));
    let phases = (filter(load), option::of(percentiles()), bound(share())).prop_map(|(filter, is, share)| {
        Expectation::Phases(Phases { filter, phase: "etcd KV/Txn".to_owned(), is, share: Some(share) })
    });
    let requests =
        (filter(load), bound(1_u64..100), option::of(bound(share()))).prop_map(|(filter, count, share)| {
            Expectation::Requests(Requests { filter, count: Some(count), share })
        });
    let complete = (bound(1_u64..9), bound(1_u64..9)).prop_map(|(missing, orphans)| {
        Expectation::Complete(Complete { missing, orphans, ..Complete::default() })
    });
    let free = prop_oneof![spans, latency, phases, requests, complete, load::expected(load), sampling(load)];
    let free = free.boxed();
    if faults.is_empty() {
        return free;
    }
    let of_fault = (select(faults), duration(), share(), bound(share()), duration_bound()).prop_map(
        |((fault, of_sink), within, share, explained, dark)| {
            if of_sink {
                Expectation::Recovery(Recovery { fault, dark: Some(dark), lost: Some(explained) })
            } else if within.as_nanos() % 2 == 0 {
                Expectation::Injected(Injected { fault, within, share })
            } else {
                Expectation::Blame(Blame { fault, share: explained })
            }
        },
    );
    prop_oneof![free, of_fault].boxed()
}

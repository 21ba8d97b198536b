//! A configuration that breaks each rule, and one that nearly does.

use std::time::Duration;

use spangate_scenario::collector::{self, CheckOptions, RULES};

/// A configuration that nothing is wrong with.
const GOOD: &str = "\
receivers:
  otlp: {protocols: {grpc: {endpoint: 127.0.0.1:4317}}}
processors:
  memory_limiter: {check_interval: 1s, limit_mib: 512, spike_limit_mib: 128}
  tail_sampling:
    decision_wait: 66s
    policies:
      - {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
      - {name: rest, type: probabilistic, probabilistic: {sampling_percentage: 1}}
  probabilistic_sampler: {mode: proportional, sampling_percentage: 100}
  batch:
connectors:
  span_metrics: {dimensions: [{name: http.request.method}], metrics_flush_interval: 60s}
exporters:
  otlp_grpc: {endpoint: backend:4317, tls: {insecure: true}}
  prometheus: {endpoint: 127.0.0.1:8889, metric_expiration: 5m}
service:
  telemetry: {metrics: {level: normal}}
  pipelines:
    traces:
      receivers: [otlp]
      processors: [memory_limiter, probabilistic_sampler, tail_sampling, batch]
      exporters: [otlp_grpc]
    traces/all:
      receivers: [otlp]
      processors: [memory_limiter]
      exporters: [span_metrics]
    metrics:
      receivers: [span_metrics]
      processors: [batch]
      exporters: [prometheus]
";

/// A rule, what is replaced, by what breaks the rule, and by what does not.
type Case = (&'static str, &'static str, &'static str, &'static str);

const REST: &str = "{name: rest, type: probabilistic, probabilistic: {sampling_percentage: 1}}";

const CASES: &[Case] = &[
    ("duration-without-unit", "decision_wait: 66s", "decision_wait: 66", "decision_wait: 66000ms"),
    (
        "tail-old-attribute",
        REST,
        "{name: rest, type: and, and: {and_sub_policy: [{name: a, type: numeric_attribute, numeric_attribute: \
         {key: http.status_code, min_value: 500, max_value: 599}}]}}",
        "{name: rest, type: numeric_attribute, numeric_attribute: {key: http.response.status_code, min_value: 500, \
         max_value: 599}}",
    ),
    (
        "tail-old-attribute",
        REST,
        "{name: rest, type: ottl_condition, ottl_condition: {span: ['attributes[\"http.method\"] == \"GET\"']}}",
        "{name: rest, type: ottl_condition, ottl_condition: {span: ['attributes[\"http.target\"] == \"/\"']}}",
    ),
    ("unknown-section", "exporters:\n  otlp", "exporter: {}\nexporters:\n  otlp", "exporters:\n  otlp"),
    ("no-pipelines", "  pipelines:\n    traces:", "  pipes:\n    traces:", "  pipelines:\n    traces:"),
    ("unknown-signal", "    traces/all:", "    trace/all:", "    traces/some:"),
    (
        "pipeline-incomplete",
        "exporters: [prometheus]",
        "exporters: []",
        "exporters: [prometheus, prometheus]",
    ),
    (
        "processor-repeated",
        "processors: [batch]",
        "processors: [batch, batch]",
        "processors: [batch, memory_limiter]",
    ),
    (
        "connector-one-sided",
        "receivers: [span_metrics]",
        "receivers: [otlp]",
        "receivers: [otlp, span_metrics]",
    ),
    (
        "component-undefined",
        "exporters: [otlp_grpc]",
        "exporters: [otlp_grcp]",
        "exporters: [otlp_grpc, span_metrics]",
    ),
    (
        "component-unused",
        "sampler, tail_sampling, batch]",
        "sampler, batch]",
        "sampler, batch, tail_sampling]",
    ),
    ("component-removed", "exporters:\n", "exporters:\n  logging/a:\n", "exporters:\n  debug/a:\n"),
    ("connector-as-exporter", "exporters:\n", "exporters:\n  spanmetrics:\n", "exporters:\n  nop:\n"),
    (
        "component-renamed",
        "exporters:\n",
        "exporters:\n  otlphttp/a: {endpoint: 'http://a:4318'}\n",
        "exporters:\n  otlp_http/a: {endpoint: 'http://a:4318'}\n",
    ),
    ("component-unknown", "exporters:\n", "exporters:\n  loki:\n", "exporters:\n  file: {path: a}\n"),
    (
        "memory-limiter-missing",
        "processors: [memory_limiter]",
        "processors: []",
        "processors: [memory_limiter, batch]",
    ),
    (
        "memory-limiter-not-first",
        "processors: [memory_limiter]",
        "processors: [batch, memory_limiter]",
        "processors: [memory_limiter, batch]",
    ),
    (
        "batch-before-sampling",
        "[memory_limiter, probabilistic_sampler, tail_sampling, batch]",
        "[memory_limiter, probabilistic_sampler, batch, tail_sampling]",
        "[memory_limiter, probabilistic_sampler, tail_sampling]",
    ),
    ("memory-limiter-invalid", "spike_limit_mib: 128", "spike_limit_mib: 512", "spike_limit_mib: 511"),
    ("memory-limiter-invalid", "check_interval: 1s, ", "", "check_interval: '${env:INTERVAL}', "),
    ("memory-limiter-invalid", "limit_mib: 512, spike_limit_mib: 128", "", "limit_percentage: 80"),
    (
        "tail-no-policies",
        "      - {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}\n      - {name: rest, type: \
         probabilistic, probabilistic: {sampling_percentage: 1}}\n",
        "",
        "      - {name: all, type: always_sample}\n",
    ),
    ("tail-policy-unnamed", "{name: rest, ", "{", "{name: x, "),
    ("tail-duplicate-policy", "name: rest", "name: errors", "name: errors2"),
    ("tail-unknown-policy", "type: status_code", "type: status_codes", "type: always_sample"),
    (
        "tail-unknown-policy",
        REST,
        "{name: a, type: and, and: {and_sub_policy: [{name: b, type: drop}]}}",
        "{name: a, type: and, and: {and_sub_policy: [{name: b, type: always_sample}]}}",
    ),
    ("tail-status-code", "[ERROR]", "[Error]", "[ERROR, UNSET]"),
    (
        "tail-status-code",
        "status_code: {status_codes: [ERROR]}",
        "status_code: {}",
        "status_code: {status_codes: [OK]}",
    ),
    (
        "tail-invert-match",
        REST,
        "{name: a, type: string_attribute, string_attribute: {key: a, values: [b], invert_match: true}}",
        "{name: a, type: and, and: {and_sub_policy: [{name: b, type: string_attribute, string_attribute: \
         {key: a, values: [b], invert_match: true}}]}}",
    ),
    (
        "tail-latency-upper-bound",
        REST,
        "{name: a, type: latency, latency: {threshold_ms: 1, upper_threshold_ms: 2}}",
        "{name: a, type: latency, latency: {threshold_ms: 1, upper_threshold_ms: 0}}",
    ),
    (
        "tail-span-ingest-stateful",
        "    decision_wait: 66s\n    policies:\n",
        "    decision_wait: 66s\n    sampling_strategy: span-ingest\n    policies:\n      - {name: a, type: \
         rate_limiting, rate_limiting: {spans_per_second: 1}}\n",
        "    decision_wait: 66s\n    policies:\n      - {name: a, type: rate_limiting, rate_limiting: \
         {spans_per_second: 1}}\n",
    ),
    ("tail-decision-wait", "decision_wait: 66s", "decision_wait: 6s", "decision_wait: 7s"),
    ("tail-decision-wait", "decision_wait: 66s", "decision_wait: 6999ms", "decision_wait: ${env:WAIT}"),
    (
        "tail-num-traces",
        "decision_wait: 66s",
        "decision_wait: 66s\n    num_traces: 1339\n    expected_new_traces_per_sec: 10",
        "decision_wait: 66s\n    num_traces: 1340\n    expected_new_traces_per_sec: 10",
    ),
    (
        "tail-block-on-overflow",
        "decision_wait: 66s",
        "decision_wait: 66s\n    block_on_overflow: true\n    decision_cache: {sampled_cache_size: 1}",
        "decision_wait: 66s\n    block_on_overflow: true\n    decision_cache: {sampled_cache_size: 1, \
         non_sampled_cache_size: 1}",
    ),
    (
        "hash-seed-rate",
        "{mode: proportional, sampling_percentage: 100}",
        "{sampling_percentage: 0.01}",
        "{sampling_percentage: 50}",
    ),
    (
        "sampling-multiplied",
        "{mode: proportional, sampling_percentage: 100}",
        "{mode: proportional, sampling_percentage: 10}",
        "{mode: equalizing, sampling_percentage: 100}",
    ),
    (
        "span-metrics-after-sampling",
        "exporters: [otlp_grpc]",
        "exporters: [otlp_grpc, span_metrics]",
        "exporters: [otlp_grpc, otlp_grpc]",
    ),
    (
        "span-metrics-option",
        "span_metrics: {",
        "span_metrics: {latency_histogram_buckets: [1ms], ",
        "span_metrics: {histogram: {explicit: {buckets: [1ms]}}, ",
    ),
    (
        "span-metrics-dimension",
        "name: http.request.method",
        "name: http.method",
        "name: http.response.status_code",
    ),
    ("span-metrics-reserved-dimension", "name: http.request.method", "name: span.name", "name: span.names"),
    ("prometheus-expiration", "metric_expiration: 5m", "metric_expiration: 1m", "metric_expiration: 61s"),
    ("telemetry-address", "{level: normal}", "{address: 'localhost:8888'}", "{level: detailed}"),
    (
        "telemetry-reader-names",
        "{level: normal}",
        "{readers: [{pull: {exporter: {prometheus: {host: localhost, port: 8888}}}}]}",
        "{readers: [{pull: {exporter: {prometheus: {host: localhost, port: 8888, without_type_suffix: true, without_units: true, \
         without_scope_info: true}}}}]}",
    ),
    (
        "telemetry-reader-incomplete",
        "{level: normal}",
        "{readers: [{pull: {exporter: {prometheus: {host: localhost}}}}]}",
        "{readers: [{pull: {exporter: {prometheus: {host: localhost, port: 8888}}}}]}",
    ),
    ("tls-old-form", "tls: {insecure: true}", "insecure: true", "tls: {insecure: false}"),
    ("listens-everywhere", "127.0.0.1:4317", "0.0.0.0:4317", "localhost:4317"),
];

fn rules(text: &str, options: &CheckOptions) -> Vec<&'static str> {
    let config = collector::parse("c.yaml", text).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    collector::check(&config, options).iter().map(|finding| finding.rule).collect()
}

#[test]
fn each_rule_finds_what_it_is_for_and_nothing_that_is_near() {
    let options = CheckOptions::default();
    assert_eq!(rules(GOOD, &options), Vec::<&str>::new());
    for (rule, part, breaks, near) in CASES {
        assert!(GOOD.contains(part), "{rule}: {part}");
        let broken = GOOD.replacen(part, breaks, 1);
        assert!(rules(&broken, &options).contains(rule), "{rule}:\n{broken}");
        let near = GOOD.replacen(part, near, 1);
        assert!(!rules(&near, &options).contains(rule), "{rule}:\n{near}");
    }
}

#[test]
fn options_say_what_a_file_cannot() {
    let rates = |traces_per_second| CheckOptions { traces_per_second, ..CheckOptions::default() };
    assert_eq!(rules(GOOD, &rates(Some(373.0))), Vec::<&str>::new());
    assert_eq!(rules(GOOD, &rates(Some(374.0))), ["tail-num-traces"]);
    let head = CheckOptions { head_sampling_rate_per_million: Some(10_000), ..CheckOptions::default() };
    assert_eq!(rules(GOOD, &head), ["sampling-multiplied"]);
    let whole = CheckOptions { head_sampling_rate_per_million: Some(1_000_000), ..CheckOptions::default() };
    assert_eq!(rules(GOOD, &whole), Vec::<&str>::new());
    let counted = CheckOptions { sequential_ids: true, ..CheckOptions::default() };
    assert_eq!(rules(GOOD, &counted), ["fnv-sequential-ids"]);
    let webhooks = CheckOptions { longest_request: Duration::from_secs(30), ..CheckOptions::default() };
    let text = GOOD.replace("66s", "10s");
    assert_eq!(rules(&text, &CheckOptions::default()), Vec::<&str>::new());
    assert_eq!(rules(&text, &webhooks), ["tail-decision-wait"]);
}

#[test]
fn every_rule_has_a_case() {
    // An option makes the one, and a Collector says the other.
    let by_option = ["fnv-sequential-ids", "collector-refuses"];
    for rule in RULES {
        let tested = CASES.iter().any(|(id, ..)| *id == rule.id) || by_option.contains(&rule.id);
        assert!(tested, "{}", rule.id);
        assert!(rule.summary.ends_with('.'), "{}", rule.id);
    }
    let mut ids: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), RULES.len());
}

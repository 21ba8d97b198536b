//! What a Collector says about itself, in the terms of what must be conserved.
//!
//! Names of metrics have changed and depend on how the Collector serves them: with and without `_total`, with and
//! without units. They are read in every form (`go.opentelemetry.io/collector@v0.161.0`:
//! `receiver/receiverhelper`, `processor/processorhelper` and `exporter/exporterhelper`, each in its
//! `documentation.md`; contrib's `processor/tailsamplingprocessor/documentation.md`).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::prometheus::{ParseSampleError, Sample, parse};

/// What a Collector counted since it was started.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Telemetry {
    /// Receivers, all together.
    pub received: Received,
    /// Processors, by their ids.
    pub processors: BTreeMap<String, Processed>,
    /// Exporters, by their ids.
    pub exporters: BTreeMap<String, Exported>,
    /// Tail samplers, all together.
    pub tail: TailSampled,
    /// Traces that `probabilistic_sampler` decided on.
    pub probabilistic: Decided,
    /// CPU time of the process, in seconds.
    pub cpu_seconds: f64,
    /// Memory of the process that is resident, in bytes.
    pub memory_rss: u64,
}

/// Spans that came to receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Received {
    /// Went into the pipeline.
    pub accepted: u64,
    /// Could not go into the pipeline, and the sender was told.
    pub refused: u64,
    /// Failed within the receiver.
    pub failed: u64,
}

/// Items that went through a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Processed {
    /// Went in.
    pub incoming: u64,
    /// Came out.
    pub outgoing: u64,
}

/// Spans that came to an exporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Exported {
    /// Were sent, and accepted.
    pub sent: u64,
    /// Were sent, and given up.
    pub send_failed: u64,
    /// Found the queue full.
    pub enqueue_failed: u64,
    /// Requests that wait in the queue now.
    pub queue_size: u64,
    /// Requests that may wait.
    pub queue_capacity: u64,
}

/// Traces that a sampler decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Decided {
    /// Were kept.
    pub sampled: u64,
    /// Were not.
    pub not_sampled: u64,
}

/// What tail samplers did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TailSampled {
    /// Trace ids that were new; one that comes again after it was forgotten counts again.
    pub new_traces: u64,
    /// Traces that were kept.
    pub sampled: u64,
    /// Traces that were not: not sampled, or dropped by a `drop` policy.
    pub not_sampled: u64,
    /// Traces that were given up for their size.
    pub dropped_too_large: u64,
    /// Traces that were pushed out undecided.
    pub dropped_too_early: u64,
    /// Traces in memory now, decided ones included.
    pub on_memory: u64,
    /// Evaluations of policies that failed.
    pub evaluation_errors: u64,
}

// === impl Telemetry ===

impl Telemetry {
    /// Reads what a Collector serves.
    pub fn parse(text: &str) -> Result<Self, ParseSampleError> {
        let mut telemetry = Self::default();
        parse(text)?.iter().for_each(|sample| telemetry.add(sample));
        Ok(telemetry)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of things")]
    fn add(&mut self, sample: &Sample) {
        let Some(name) = sample.name.strip_prefix("otelcol_") else { return };
        let name = name.strip_suffix("_total").unwrap_or(name);
        let count = sample.value.max(0.0) as u64;
        let label = |key: &str| sample.labels.get(key).map(String::as_str);
        if let Some(name) = name.strip_prefix("receiver_") {
            let received = &mut self.received;
            match name.trim_end_matches("__spans") {
                "accepted_spans" => received.accepted += count,
                "refused_spans" => received.refused += count,
                "failed_spans" => received.failed += count,
                _ => {}
            }
        } else if let Some(name) = name.strip_prefix("processor_tail_sampling_") {
            self.tail.add(name, label("sampled"), count);
        } else if let Some(name) = name.strip_prefix("processor_probabilistic_sampler_") {
            if name.trim_end_matches("__traces").trim_end_matches("_traces") == "count_traces_sampled" {
                self.probabilistic.add(label("sampled"), count);
            }
        } else if let Some(name) = name.strip_prefix("processor_") {
            let Some(id) = label("processor") else { return };
            // Metrics and logs pass processors too.
            if label("otel_signal").is_some_and(|signal| signal != "traces") {
                return;
            }
            match name.trim_end_matches("__items") {
                "incoming_items" => self.processor(id).incoming += count,
                "outgoing_items" => self.processor(id).outgoing += count,
                _ => {}
            }
        } else if let Some(name) = name.strip_prefix("exporter_") {
            let Some(id) = label("exporter") else { return };
            match name.trim_end_matches("__spans").trim_end_matches("__batches") {
                "sent_spans" => self.exporter(id).sent += count,
                "send_failed_spans" => self.exporter(id).send_failed += count,
                "enqueue_failed_spans" => self.exporter(id).enqueue_failed += count,
                "queue_size" => self.exporter(id).queue_size += count,
                "queue_capacity" => self.exporter(id).queue_capacity += count,
                _ => {}
            }
        } else {
            match name {
                "process_cpu_seconds" => self.cpu_seconds += sample.value,
                "process_memory_rss" | "process_memory_rss_bytes" => self.memory_rss += count,
                _ => {}
            }
        }
    }

    fn processor(&mut self, id: &str) -> &mut Processed {
        self.processors.entry(id.to_owned()).or_default()
    }

    fn exporter(&mut self, id: &str) -> &mut Exported {
        self.exporters.entry(id.to_owned()).or_default()
    }

    /// Adds what another Collector counted that was there before this one: counts add up, states are the later ones.
    #[must_use]
    pub fn after(mut self, earlier: &Self) -> Self {
        self.received.accepted += earlier.received.accepted;
        self.received.refused += earlier.received.refused;
        self.received.failed += earlier.received.failed;
        for (id, counted) in &earlier.processors {
            let processor = self.processor(id);
            processor.incoming += counted.incoming;
            processor.outgoing += counted.outgoing;
        }
        for (id, counted) in &earlier.exporters {
            let exporter = self.exporter(id);
            exporter.sent += counted.sent;
            exporter.send_failed += counted.send_failed;
            exporter.enqueue_failed += counted.enqueue_failed;
        }
        self.tail.new_traces += earlier.tail.new_traces;
        self.tail.sampled += earlier.tail.sampled;
        self.tail.not_sampled += earlier.tail.not_sampled;
        self.tail.dropped_too_large += earlier.tail.dropped_too_large;
        self.tail.dropped_too_early += earlier.tail.dropped_too_early;
        self.tail.evaluation_errors += earlier.tail.evaluation_errors;
        self.probabilistic.sampled += earlier.probabilistic.sampled;
        self.probabilistic.not_sampled += earlier.probabilistic.not_sampled;
        self.cpu_seconds += earlier.cpu_seconds;
        self
    }

    /// Whether no exporter has anything left to send.
    pub fn is_drained(&self) -> bool {
        self.exporters.values().all(|exporter| exporter.queue_size == 0)
    }
}

// === impl TailSampled ===

impl TailSampled {
    fn add(&mut self, name: &str, sampled: Option<&str>, count: u64) {
        match name.trim_end_matches("__traces").trim_end_matches("__errors") {
            "new_trace_id_received" => self.new_traces += count,
            "global_count_traces_sampled" if sampled == Some("true") => self.sampled += count,
            "global_count_traces_sampled" => self.not_sampled += count,
            "traces_dropped_too_large" => self.dropped_too_large += count,
            "sampling_trace_dropped_too_early" => self.dropped_too_early += count,
            "sampling_traces_on_memory" => self.on_memory += count,
            "sampling_policy_evaluation_error" => self.evaluation_errors += count,
            _ => {}
        }
    }
}

// === impl Decided ===

impl Decided {
    fn add(&mut self, sampled: Option<&str>, count: u64) {
        *if sampled == Some("true") { &mut self.sampled } else { &mut self.not_sampled } += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_every_form() {
        for name in [
            "otelcol_exporter_sent_spans",
            "otelcol_exporter_sent_spans_total",
            "otelcol_exporter_sent_spans__spans_total",
        ] {
            let telemetry = Telemetry::parse(&format!("{name}{{exporter=\"otlp\"}} 7\n")).unwrap();
            assert_eq!(telemetry.exporters["otlp"].sent, 7, "{name}");
        }
    }

    #[test]
    fn counts_of_a_restarted_collector_add_up() {
        let text = |n: u64| {
            format!(
                "otelcol_receiver_accepted_spans{{receiver=\"otlp\",transport=\"grpc\"}} {n}\n\
                 otelcol_receiver_accepted_spans{{receiver=\"otlp\",transport=\"http\"}} 1\n\
                 otelcol_exporter_queue_size{{exporter=\"otlp\"}} {n}\n"
            )
        };
        let both = Telemetry::parse(&text(5)).unwrap().after(&Telemetry::parse(&text(2)).unwrap());
        assert_eq!(both.received.accepted, 9);
        assert_eq!(both.exporters["otlp"].queue_size, 5);
        assert!(!both.is_drained());
    }
}

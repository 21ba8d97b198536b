//! What a version of kube-apiserver must be told to trace: file, feature gate, environment.
//!
//! The file is read by `apiserver/pkg/server/options/tracing.go`, its types are
//! `component-base/tracing/api/v1/types.go`.

use std::{fmt::Write as _, time::Duration};

use spangate_scenario::{document, model::BatchProcessor, units::PerMillion};

use crate::version::Version;

/// The `TracingConfiguration` file for a version, in YAML.
///
/// `endpoint` is `host:port` of an OTLP/gRPC receiver without TLS; the API server refuses `http://`. With no
/// `sampling` the server starts no trace of its own, and still records privileged requests that arrive
/// sampled.
pub fn file(version: Version, endpoint: &str, sampling: Option<PerMillion>) -> String {
    let mut yaml = format!(
        "apiVersion: apiserver.config.k8s.io/{}\nkind: TracingConfiguration\nendpoint: \"{endpoint}\"\n",
        api_version(version)
    );
    if let Some(rate) = sampling {
        writeln!(yaml, "samplingRatePerMillion: {}", rate.get()).expect("writing to a string cannot fail");
    }
    yaml
}

/// What a `TracingConfiguration` says: the receiver, and the sampling rate if there is one.
///
/// Nothing, if it is not one that [`file()`] wrote.
pub fn read(text: &str) -> Option<(String, Option<PerMillion>)> {
    let config = document::read(text).ok()?;
    let endpoint = config["endpoint"].as_str()?.to_owned();
    let rate = &config["samplingRatePerMillion"];
    let number = |rate: &serde_json::Value| PerMillion::new(rate.as_u64()?.try_into().ok()?);
    Some((endpoint, if rate.is_null() { None } else { Some(number(rate)?) }))
}

/// The newest configuration version that a server of `version` reads without a warning.
///
/// `v1` came with 1.34, `v1beta1` with 1.27, `v1alpha1` was there from 1.22 on.
fn api_version(version: Version) -> &'static str {
    if version.at_least(1, 34) {
        "v1"
    } else if version.at_least(1, 27) {
        "v1beta1"
    } else {
        "v1alpha1"
    }
}

/// The feature gate that must be set for `--tracing-config-file` to have an effect, if any.
///
/// `APIServerTracing` is alpha and off before 1.27, on from 1.27, locked in 1.34, and gone in 1.37, where
/// naming it stops the server. So it is named only where it is off.
pub fn feature_gate(version: Version) -> Option<(&'static str, bool)> {
    (!version.at_least(1, 27)).then_some(("APIServerTracing", true))
}

/// The environment variables of the OpenTelemetry SDK's batch span processor (`OTEL_BSP_*`, times in
/// milliseconds). kube-apiserver and etcd both read them.
pub fn batch_env(batch: &BatchProcessor) -> Vec<(String, String)> {
    // Zero would be read as unset by the SDK, and the default of five seconds be taken.
    let millis = |duration: Duration| duration.as_millis().max(1).to_string();
    [
        ("OTEL_BSP_SCHEDULE_DELAY", Some(millis(batch.schedule_delay.get()))),
        ("OTEL_BSP_MAX_QUEUE_SIZE", batch.max_queue_size.map(|size| size.to_string())),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch.max_export_batch_size.map(|size| size.to_string())),
        ("OTEL_BSP_EXPORT_TIMEOUT", batch.export_timeout.map(|timeout| millis(timeout.get()))),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|value| (name.to_owned(), value)))
    .collect()
}

#[cfg(test)]
mod tests {
    use spangate_scenario::units;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for rate in [None, PerMillion::new(0), PerMillion::new(10_000)] {
            let text = file(Version::new(1, 37, 2), "127.0.0.1:4317", rate);
            assert_eq!(read(&text), Some(("127.0.0.1:4317".to_owned(), rate)));
        }
        for other in ["", "endpoint: [", "endpoint: a:1\nsamplingRatePerMillion: many\n"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn api_version_follows_the_release() {
        for (minor, wanted) in [
            (22, "v1alpha1"),
            (26, "v1alpha1"),
            (27, "v1beta1"),
            (33, "v1beta1"),
            (34, "v1"),
            (37, "v1"),
            (40, "v1"),
        ] {
            let text = file(Version::new(1, minor, 1), "127.0.0.1:4317", None);
            assert_eq!(
                text,
                format!(
                    "apiVersion: apiserver.config.k8s.io/{wanted}\nkind: TracingConfiguration\n\
                     endpoint: \"127.0.0.1:4317\"\n"
                ),
                "1.{minor}"
            );
        }
    }

    #[test]
    fn the_rate_is_written_only_when_given() {
        let version = Version::new(1, 37, 2);
        for rate in [0, 1, 1_000_000] {
            let text = file(version, "127.0.0.1:1", PerMillion::new(rate));
            assert!(text.ends_with(&format!("samplingRatePerMillion: {rate}\n")), "{text}");
        }
        assert!(!file(version, "127.0.0.1:1", None).contains("sampling"));
    }

    #[test]
    fn the_gate_is_named_only_where_it_is_off() {
        assert_eq!(feature_gate(Version::new(1, 26, 1)), Some(("APIServerTracing", true)));
        for minor in 27..=40 {
            assert_eq!(feature_gate(Version::new(1, minor, 0)), None, "1.{minor}");
        }
    }

    #[test]
    fn batch_settings_become_milliseconds() {
        let env = batch_env(&BatchProcessor {
            schedule_delay: units::Duration::from_millis(250),
            max_queue_size: Some(4096),
            max_export_batch_size: None,
            export_timeout: Some(units::Duration::from_secs(3)),
        });
        let wanted = [
            ("OTEL_BSP_SCHEDULE_DELAY", "250"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "4096"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "3000"),
        ];
        assert_eq!(env, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_delay_below_a_millisecond_is_not_read_as_unset() {
        let batch = BatchProcessor {
            schedule_delay: std::time::Duration::from_micros(10).into(),
            ..BatchProcessor::default()
        };
        assert_eq!(batch_env(&batch), [("OTEL_BSP_SCHEDULE_DELAY".to_owned(), "1".to_owned())]);
    }
}

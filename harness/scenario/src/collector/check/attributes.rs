//! The names of HTTP attributes. Those of semantic conventions 1.26 are on the spans of kube-apiserver 1.35 and later;
//! `http.target` is there still, since it is set by hand.

/// What an old name is called today.
pub(super) fn today(old: &str) -> Option<&'static str> {
    OLD.iter().find_map(|(name, today)| (*name == old).then_some(*today))
}

/// Old names, and those of today (opentelemetry.io/docs/specs/semconv/non-normative/http-migration).
pub(super) const OLD: [(&str, &str); 4] = [
    ("http.method", "http.request.method"),
    ("http.status_code", "http.response.status_code"),
    ("http.user_agent", "user_agent.original"),
    ("http.scheme", "url.scheme"),
];

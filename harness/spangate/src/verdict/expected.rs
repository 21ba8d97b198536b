//! What must follow from a request: the one place that knows when the API server traces.
//!
//! kube-apiserver honours an incoming `traceparent` only of `system:masters` and `system:monitoring`
//! (`apiserver/pkg/endpoints/filters/traces.go`); for them the remote flag decides. Everyone else gets a new
//! root with a link to what was sent, sampled by the ratio alone (`component-base/tracing/utils.go`).

use spangate_load::{Outcome, RequestRecord};
use spangate_scenario::model::Spec;
use spangate_trace::TraceContext;

/// What must follow from a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// A SERVER span that is a child of what was sent.
    Child(TraceContext),
    /// A SERVER span that is a root, with a link to what was sent.
    LinkedRoot(TraceContext),
    /// A SERVER span that is a root; only its `audit-id` ties it to the request.
    Root,
    /// No SERVER span.
    Nothing,
    /// Either: the ratio decides, or the request broke off.
    Undetermined,
}

/// What must follow from `request` in this scenario.
pub(crate) fn expected(request: &RequestRecord, spec: &Spec) -> Expected {
    match request.outcome {
        // What was never sent leaves nothing. A 401 has no SERVER span either: the tracing filter sits inside
        // authentication.
        Outcome::Shed | Outcome::Status(401) => return Expected::Nothing,
        Outcome::Error(_) | Outcome::Timeout => return Expected::Undetermined,
        Outcome::Status(_) => {}
    }
    if !spec.cluster.tracing.enabled {
        return Expected::Nothing;
    }
    if let Some(sent) = honoured(request, spec) {
        return if sent.sampled { Expected::Child(sent) } else { Expected::Nothing };
    }
    match spec.cluster.tracing.rate() {
        0 => Expected::Nothing,
        1_000_000 => request.sent.map_or(Expected::Root, Expected::LinkedRoot),
        _ => Expected::Undetermined,
    }
}

/// The `traceparent` of a request that the API server honours, so that its flag decides and the rate does not.
pub(crate) fn honoured(request: &RequestRecord, spec: &Spec) -> Option<TraceContext> {
    let honours = || spec.cluster.follows_admin() && spec.load.honours_parent_of(&request.identity);
    request.sent.filter(|_| honours())
}

/// Whether the sampler certainly had to decide on a request: it was answered, and from inside the tracing filter.
pub(crate) fn was_decided(request: &RequestRecord) -> bool {
    matches!(request.outcome, Outcome::Status(status) if status != 401)
}

#[cfg(test)]
mod tests {
    use spangate_scenario::{model::Identity, units::PerMillion};
    use spangate_trace::{SpanId, TraceId};

    use super::*;
    use crate::testing::{request, scenario};

    fn rate(parts: Option<u32>) -> Spec {
        let mut spec = scenario().spec;
        spec.cluster.tracing.sampling_rate_per_million = parts.and_then(PerMillion::new);
        spec
    }

    #[test]
    fn the_flag_decides_for_the_privileged_and_the_ratio_for_the_rest() {
        let sent = TraceContext::sampled(TraceId::new([1; 16]), SpanId::new([2; 8]));
        let not = TraceContext { sampled: false, ..sent };
        let admin = |sent| RequestRecord { sent, identity: Identity::admin(), ..request() };
        let user = |sent| RequestRecord { sent, identity: Identity::unprivileged(), ..request() };
        for (request, parts, want) in [
            (admin(Some(sent)), None, Expected::Child(sent)),
            (admin(Some(sent)), Some(10), Expected::Child(sent)),
            (admin(Some(not)), Some(1_000_000), Expected::Nothing),
            (admin(None), Some(1_000_000), Expected::Root),
            (admin(None), None, Expected::Nothing),
            (user(Some(sent)), None, Expected::Nothing),
            (user(Some(sent)), Some(0), Expected::Nothing),
            (user(Some(sent)), Some(10), Expected::Undetermined),
            (user(Some(not)), Some(1_000_000), Expected::LinkedRoot(not)),
        ] {
            assert_eq!(expected(&request, &rate(parts)), want, "{request:?} at {parts:?}");
        }
    }

    #[test]
    fn an_administrator_without_a_privileged_group_is_like_the_rest() {
        let sent = TraceContext::sampled(TraceId::new([1; 16]), SpanId::new([2; 8]));
        let request = RequestRecord { sent: Some(sent), identity: Identity::admin(), ..request() };
        for (group, parts, want) in [
            ("kubeadm:cluster-admins", Some(1_000_000), Expected::LinkedRoot(sent)),
            ("kubeadm:cluster-admins", None, Expected::Nothing),
            ("system:masters", None, Expected::Child(sent)),
            ("system:monitoring", None, Expected::Child(sent)),
        ] {
            let mut spec = rate(parts);
            spec.cluster.admin_group = Some(group.to_owned());
            assert_eq!(expected(&request, &spec), want, "{group} at {parts:?}");
        }
    }

    #[test]
    fn what_was_never_answered_is_not_demanded() {
        let sent = Some(TraceContext::sampled(TraceId::new([1; 16]), SpanId::new([2; 8])));
        let with = |outcome| RequestRecord { sent, outcome, ..request() };
        assert_eq!(expected(&with(Outcome::Shed), &rate(None)), Expected::Nothing);
        assert_eq!(expected(&with(Outcome::Timeout), &rate(None)), Expected::Undetermined);
        assert_eq!(expected(&with(Outcome::Status(401)), &rate(None)), Expected::Nothing);
    }
}

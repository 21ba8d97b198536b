//! Where two traces touch without being one: a link of a span to a span of another trace.
//!
//! An API server that does not follow a caller's trace context starts a trace of its own, whose root links to what was
//! sent. So only the links of roots are looked at from the other side.

use crate::{Capture, NameId, Trace, TraceId, TraceIndex};

/// A link between a span of one trace and a span of another, both by their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joint {
    /// The span that has the link.
    pub from: usize,
    /// The span that it leads to.
    pub to: usize,
}

/// The links of a trace to captured spans of others, in the order of its spans, and then those of others to it.
pub fn joints(trace: &Trace<'_>) -> Vec<Joint> {
    let index = trace.index();
    let own = trace.rows().flat_map(|row| led_from(index, row));
    let roots = (0..index.capture().rows().len()).filter(|row| !index.row(*row).parent.is_valid());
    let others = roots
        .filter(|row| index.row(*row).trace_id != trace.id())
        .flat_map(|row| led_from(index, row))
        .filter(|joint| index.row(joint.to).trace_id == trace.id());
    own.filter(|joint| index.row(joint.to).trace_id != trace.id()).chain(others).collect()
}

/// Where the links of a span lead, as far as that was captured.
fn led_from<'i>(index: &'i TraceIndex<'_>, from: usize) -> impl Iterator<Item = Joint> + use<'i> {
    let links = index.capture().span(from).links;
    let ends = links.into_iter().map(|link| index.by_span(link.trace_id, link.span_id));
    ends.flatten().map(move |to| Joint { from, to }).collect::<Vec<_>>().into_iter()
}

// === impl Joint ===

impl Joint {
    /// A line that tells of it, beside the picture of the trace `shown`.
    pub fn line(self, capture: &Capture, shown: TraceId) -> String {
        let [from, to] = [self.from, self.to].map(|row| &capture.rows()[row]);
        let (here, joined, there) =
            if from.trace_id == shown { (from, "links to", to) } else { (to, "is linked to by", from) };
        let name = |id: NameId| printable(capture.names().get(id));
        format!(
            "{} {joined} {} [{}], trace {}",
            name(here.name),
            name(there.name),
            name(there.service),
            there.trace_id
        )
    }
}

/// Text without what could take over a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Capture, Link,
        span::Attributes,
        testing::{span, span_id, trace_id},
    };

    #[test]
    fn traces_are_joined_by_the_links_of_roots_seen_from_both_sides() {
        let mut spans = vec![
            span(trace_id(1), 1, None, "HTTP PATCH", 0, 9),
            span(trace_id(2), 2, None, "PATCH /status", 1, 8),
            span(trace_id(3), 3, None, "other", 1, 8),
        ];
        let link = |trace, id| Link { trace_id: trace, span_id: span_id(id), attributes: Attributes::new() };
        spans[1].links = vec![link(trace_id(1), 1), link(trace_id(9), 9)];
        let capture = Capture::from_spans(spans);
        let index = TraceIndex::new(&capture);
        let of = |number| joints(&index.by_trace(trace_id(number)).unwrap());
        let joint = Joint { from: 1, to: 0 };
        assert_eq!((of(1), of(2), of(3)), (vec![joint], vec![joint], vec![]));
        for (shown, wanted) in [
            (2, "PATCH /status links to HTTP PATCH [apiserver]"),
            (1, "HTTP PATCH is linked to by PATCH /status [apiserver]"),
        ] {
            let wanted = format!("{wanted}, trace {}", trace_id(3 - shown));
            assert_eq!(joint.line(&capture, trace_id(shown)), wanted);
        }
    }
}

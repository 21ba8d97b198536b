//! The part of OTTL that is needed to say whether a span is worth keeping.
//!
//! Conditions are comparisons, `and`, `or`, `not`, parentheses, `true`, `false`, and two functions:
//!
//! | what | which |
//! |---|---|
//! | paths | `attributes["k"]`, `resource.attributes["k"]`, `instrumentation_scope.name`, `name`, `kind`, `kind.string`, `status.code`, `status.message`, `start_time`, `end_time`, both with `_unix_nano`, `trace_state`, `trace_state["k"]`; for events `name` and `attributes["k"]`, and the paths of the span behind `span.` |
//! | literals | text, numbers, `true`, `false`, `nil`, `SPAN_KIND_*`, `STATUS_CODE_*`, `Duration("1s")` |
//! | arithmetic | the difference of two times |
//! | functions | `IsMatch(path, "expression")`, `IsRootSpan()` |
//!
//! Anything else is [`Unsupported`]: it is said, and the policy is taken to say anything. Nothing of the above can fail
//! while it is evaluated, so that `error_mode` is without effect here. Read from `pkg/ottl/{grammar,compare,boolean_value}.go`
//! and `pkg/ottl/contexts/internal/{ctxspan,ctxspanevent}` of opentelemetry-collector-contrib v0.161.0.

use super::{
    config::OttlConditionConfig,
    input::TraceView,
    ottl::{
        eval::{Scope, Unknown},
        parse::Condition,
    },
    votes::{Vote, Votes},
};

mod eval;
mod lex;
mod parse;

/// A condition that has something in it which is not evaluated here; the Collector may refuse it as well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("OTTL condition {condition:?}: {what}")]
pub struct Unsupported {
    /// The whole condition.
    pub condition: String,
    /// What of it is not evaluated here.
    pub what: String,
}

/// The `ottl_condition` policy.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    spans: Vec<Condition>,
    events: Vec<Condition>,
}

// === impl Filter ===

impl Filter {
    /// The policy with these settings.
    pub(super) fn new(config: &OttlConditionConfig) -> Result<Self, Unsupported> {
        let parse = |conditions: &[String], of_event| {
            conditions.iter().map(|text| Condition::parse(text, of_event)).collect::<Result<_, _>>()
        };
        Ok(Self { spans: parse(&config.span, false)?, events: parse(&config.spanevent, true)? })
    }

    /// Sampled when a condition holds for a span or an event; anything when that cannot be told.
    pub(super) fn vote(&self, trace: &TraceView<'_>) -> Votes {
        match self.holds(trace) {
            Ok(holds) => Votes::sampled_if(holds),
            Err(Unknown) => Votes::EITHER.with(Vote::Error),
        }
    }

    /// Whether a condition holds, in the order in which upstream looks (`internal/sampling/ottl.go`).
    fn holds(&self, trace: &TraceView<'_>) -> Result<bool, Unknown> {
        let any = |conditions: &[Condition], scope: Scope<'_>| {
            conditions
                .iter()
                .try_fold(false, |holds, condition| if holds { Ok(true) } else { condition.holds(scope) })
        };
        for batch in &trace.batches {
            for view in &batch.spans {
                let scope = Scope { resource: &batch.resource, view, event: None };
                if any(&self.spans, scope)? {
                    return Ok(true);
                }
                for event in &view.span.events {
                    if any(&self.events, Scope { event: Some(event), ..scope })? {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(condition: &str, of_event: bool) -> Result<Condition, Unsupported> {
        Condition::parse(condition, of_event)
    }

    #[test]
    fn what_is_in_the_table_is_taken() {
        for condition in [
            r#"attributes["k"] == "a" and not (span.name != "b" or kind == SPAN_KIND_SERVER)"#,
            "(end_time_unix_nano - start_time_unix_nano) > 5",
            r#"((name)) == "a""#,
            r#"end_time - start_time >= Duration("1.5s")"#,
            r#"IsMatch(resource.attributes["k"], "^a") or IsRootSpan() or true"#,
            r#"trace_state["a"] == nil and scope.name == "s" and -1.5 < attributes["k"]"#,
        ] {
            assert!(parse(condition, false).is_ok(), "{condition}");
        }
        assert!(parse(r#"name == "exception" and spanevent.attributes["k"] == nil"#, true).is_ok());
    }

    #[test]
    fn everything_else_is_said_to_be_unsupported() {
        for condition in [
            "",
            "name",
            r#"name = "a""#,
            r#"name == "a" and"#,
            r#"name == "a" name"#,
            r#"name == "a"#,
            r#"name == "\x41""#,
            "duration > 5",
            "Len(name) > 5",
            r#"attributes["a"]["b"] == 1"#,
            "attributes == nil",
            "attributes[0] == 1",
            "1 + 1 == 2",
            "kind + 1 == 2",
            "end_time - start_time - start_time == 2",
            "end_time - kind == 2",
            "0x41 == 1",
            "99999999999999999999 == 1",
            "IsMatch(name, name)",
            r#"IsMatch(name, "(")"#,
            r#"spanevent.name == "a""#,
            "not not true",
        ] {
            assert!(parse(condition, false).is_err(), "{condition}");
        }
        assert!(parse("IsRootSpan()", true).is_err());
        let error = parse("Len(name) > 5", false).unwrap_err();
        assert_eq!(error.to_string(), r#"OTTL condition "Len(name) > 5": the path Len is not known"#);
    }
}

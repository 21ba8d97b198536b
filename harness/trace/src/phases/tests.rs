use proptest::prelude::*;

use super::*;
use crate::{
    Capture, TraceIndex,
    contract::{MUTATING_WEBHOOK, VALIDATING_WEBHOOK},
    testing::{Builder, NAMES, any_spans},
};

fn phases(capture: &Capture, server: usize) -> Vec<(String, u64)> {
    let index = TraceIndex::new(capture);
    let times = Phases::new(&index).of(server);
    assert_eq!(times.by_phase.iter().map(|(_, time)| *time).sum::<Duration>(), times.total);
    let nanos = |time: &Duration| u64::try_from(time.as_nanos()).unwrap();
    times.by_phase.iter().map(|(phase, time)| (phase.to_string(), nanos(time))).collect()
}

fn expected(phases: &[(&str, u64)]) -> Vec<(String, u64)> {
    phases.iter().map(|(phase, time)| ((*phase).to_owned(), *time)).collect()
}

/// The tree of a create with webhooks, as the span contract (1.4) has it.
#[test]
fn a_create_with_webhooks() {
    let mut b = Builder::default();
    let server = b.server(0, 1000);
    let audit = b.span("audit", Some(server), 10, 990);
    let impersonation = b.span("constrainedimpersonation", Some(audit), 15, 985);
    let fairness = b.span("priorityandfairness", Some(impersonation), 20, 980);
    let authorization = b.span("authorization", Some(fairness), 40, 970);
    let create = b.span("Create", Some(authorization), 50, 960);
    b.webhook(MUTATING_WEBHOOK, "slow-mutate.spangate.dev", create, 100, 400);
    b.webhook(VALIDATING_WEBHOOK, "quick.spangate.dev", create, 410, 450);
    b.webhook(VALIDATING_WEBHOOK, "policy.example.com", create, 420, 500);
    let storage = b.span("Create etcd3", Some(create), 520, 800);
    b.span("TransformToStorage with envelopeTransformer", Some(storage), 530, 540);
    let call = b.span("etcdserverpb.KV/Txn", Some(storage), 550, 790);
    b.get(call).kind = Kind::Client;
    let callee = b.span("etcdserverpb.KV/Txn", Some(call), 560, 780);
    b.get(callee).kind = Kind::Server;
    b.get(callee).service = "etcd".into();
    b.span("txn", Some(callee), 570, 770);
    b.span("SerializeObject", Some(create), 900, 950);
    let phases = phases(&b.capture(), server);
    let handler = (100 - 50) + (410 - 400) + (520 - 500) + (900 - 800) + (960 - 950);
    let storage = (530 - 520) + (550 - 540) + (800 - 790);
    assert_eq!(
        phases,
        expected(&[
            ("audit", 10),
            ("authorization", 20),
            ("encryption", 10),
            ("etcd KV/Txn", 240),
            ("handler", handler),
            ("impersonation", 10),
            ("mutating slow-mutate", 300),
            ("priority and fairness", 30),
            ("serialization", 50),
            ("server", 20),
            ("storage", storage),
            ("validating policy.example.com", 80),
            ("validating quick", 10),
        ])
    );
}

/// Without a `traceparent`, a privileged caller's SERVER span lies below `authentication`.
#[test]
fn authentication_above_the_server_span_is_left_out() {
    let mut b = Builder::default();
    let authentication = b.span("authentication", None, 0, 100);
    let server = b.server(10, 90);
    b.get(server).parent = Some(crate::testing::span_id(authentication as u64 + 1));
    b.span("cacher.Watch", Some(server), 20, 90);
    assert_eq!(phases(&b.capture(), server), expected(&[("cache", 70), ("server", 10)]));
}

/// An aggregated API server's spans are in the trace, but it is one call for the caller.
#[test]
fn what_another_server_does_is_the_call() {
    let mut b = Builder::default();
    let server = b.server(0, 100);
    let call = b.span("HTTP GET", Some(server), 10, 90);
    let aggregated = b.server(20, 80);
    b.get(aggregated).parent = Some(crate::testing::span_id(call as u64 + 1));
    b.span("List", Some(aggregated), 30, 70);
    let capture = b.capture();
    assert_eq!(phases(&capture, server), expected(&[("proxy", 80), ("server", 20)]));
    assert_eq!(phases(&capture, aggregated), expected(&[("handler", 40), ("server", 20)]));
}

#[test]
fn of_two_at_work_the_one_that_ends_last_is_waited_for() {
    let mut b = Builder::default();
    let server = b.server(0, 100);
    b.webhook(VALIDATING_WEBHOOK, "a", server, 10, 40);
    b.webhook(VALIDATING_WEBHOOK, "b", server, 20, 60);
    b.webhook(VALIDATING_WEBHOOK, "hidden", server, 25, 55);
    let phases = phases(&b.capture(), server);
    assert_eq!(phases, expected(&[("server", 50), ("validating a", 10), ("validating b", 40)]));
}

#[test]
fn a_webhook_without_its_attribute_is_still_a_webhook() {
    let mut b = Builder::default();
    let server = b.server(0, 100);
    b.span(MUTATING_WEBHOOK, Some(server), 0, 30);
    assert_eq!(phases(&b.capture(), server), expected(&[("mutating unnamed", 30), ("server", 70)]));
}

#[test]
fn requests_do_not_leak_into_each_other() {
    let mut b = Builder::default();
    let one = b.server(0, 100);
    b.span("Get", Some(one), 0, 100);
    let other = b.server(0, 10);
    let capture = b.capture();
    let index = TraceIndex::new(&capture);
    let mut phases = Phases::new(&index);
    assert_eq!(phases.of(one).by_phase.len(), 2);
    let times = phases.of(other);
    assert_eq!(times.by_phase, [(Phase::Server, Duration::from_nanos(10))]);
    assert_eq!(times.get(&Phase::Server), Duration::from_nanos(10));
    assert_eq!(times.get(&Phase::Handler), Duration::ZERO);
}

/// The phase of one instant, by the definition in the module's documentation and not by its algorithm.
fn owner(index: &TraceIndex<'_>, row: usize, window: (u64, u64), instant: u64) -> usize {
    if is_call(&index.capture().names().get(index.row(row).name).clone()) {
        return row;
    }
    // The windows of the children, from the one that ends last down, each cut where the one before begins.
    let clip = |child: usize| {
        let child = index.row(child);
        (child.start.0.max(window.0), child.end.0.min(window.1))
    };
    let at_work = |child: &usize| clip(*child).0 <= instant && instant < clip(*child).1;
    let last = |one: &usize| (u64::MAX - clip(*one).1, clip(*one).0, *one);
    let Some(child) = index.children(row).filter(at_work).min_by_key(last) else { return row };
    // The end of the child's part: where a child that ends later, or as late and is preferred, takes over.
    let (start, end) = clip(child);
    let taken_over = |other: &usize| last(other) < last(&child) && clip(*other).0 < clip(*other).1;
    let end = index.children(row).filter(taken_over).map(|other| clip(other).0).fold(end, u64::min);
    owner(index, child, (start, end), instant)
}

fn is_call(name: &str) -> bool {
    name == MUTATING_WEBHOOK || name.starts_with("HTTP ") || name.starts_with("etcdserverpb.")
}

proptest! {
    #[test]
    fn phases_add_up_and_follow_the_definition(spans in any_spans()) {
        let capture = Capture::from_spans(spans);
        let index = TraceIndex::new(&capture);
        let mut phases = Phases::new(&index);
        for server in 0..capture.rows().len() {
            let row = index.row(server);
            let times = phases.of(server);
            prop_assert_eq!(times.total, row.end.since(row.start));
            prop_assert_eq!(times.by_phase.iter().map(|(_, time)| *time).sum::<Duration>(), times.total);
            prop_assert!(times.by_phase.is_sorted_by(|one, other| one.0 < other.0));
            let mut spent = HashMap::<Phase, u64>::new();
            for instant in row.start.0..row.end.0 {
                let owner = owner(&index, server, (row.start.0, row.end.0), instant);
                *spent.entry(named(capture.names().get(index.row(owner).name))).or_default() += 1;
            }
            for (phase, nanos) in spent {
                prop_assert_eq!(times.get(&phase), Duration::from_nanos(nanos), "{}", phase);
            }
        }
    }
}

/// The phases of [`NAMES`].
fn named(name: &str) -> Phase {
    let phases = [
        Phase::Audit,
        Phase::Impersonation,
        Phase::PriorityAndFairness,
        Phase::Authorization,
        Phase::Handler,
        Phase::mutating("unnamed"),
        Phase::Storage,
        Phase::etcd("KV/Txn"),
        Phase::Cache,
        Phase::Serialization,
        Phase::Proxy,
        Phase::Other,
    ];
    let at = NAMES.iter().position(|known| *known == name).unwrap();
    phases[at].clone()
}

//! Valid loads by chance.

use std::{collections::BTreeMap, path::PathBuf};

use proptest::{collection::vec, option, prelude::*, sample::select, sample::subsequence};
use spangate_scenario::{
    model::*,
    units::{Comparison, Duration, Rate, Size},
};

use super::{LENGTH, bound, delay, duration, label, percentiles, ratio_bound, text};

/// Objects of each resource that exist before load starts, at least.
const OBJECTS: u32 = 10;

/// Any valid load that lasts at least [`LENGTH`] and writes pods, for windows and webhooks to meet.
pub(super) fn load() -> impl Strategy<Value = Load> {
    (vec(kind_of_sender(), 0..3), 0_usize..3).prop_flat_map(|(kinds, watchers)| {
        let identities: Vec<IdentitySpec> = (0..)
            .zip(kinds)
            .map(|(index, spec)| IdentitySpec { name: Identity::new(&format!("sender-{index}")), ..spec })
            .collect();
        let own = identities.iter().map(|spec| spec.name.clone());
        let names: Vec<Identity> =
            [Identity::admin(), Identity::unprivileged()].into_iter().chain(own).collect();
        let settings = (label(), 1_u32..5000, duration(), client(), population());
        (sending(&names), vec(self::watchers(&names), watchers), option::of(abort()), settings).prop_map(
            move |(sent, watchers, abort, (namespace, max_in_flight, timeout, client, prepare))| Load {
                watchers: (0..)
                    .zip(watchers)
                    .map(|(index, watchers)| Watchers { name: Some(format!("w{index}")), ..watchers })
                    .collect(),
                identities: identities.clone(),
                namespace: format!("x{namespace}"),
                objects: OBJECTS,
                prepare,
                client,
                max_in_flight,
                timeout,
                abort_on: abort.into_iter().collect(),
                ..sent
            },
        )
    })
}

/// A sender without a name.
fn kind_of_sender() -> impl Strategy<Value = IdentitySpec> {
    let spec = |service_accounts, impersonate| IdentitySpec {
        name: Identity::default(),
        service_accounts,
        impersonate,
    };
    let person = ("[a-z:]{1,10}", vec("[a-z:]{1,10}", 0..3));
    prop_oneof![
        (1_u32..=1000).prop_map(move |accounts| spec(Some(accounts), None)),
        person.prop_map(move |(user, groups)| spec(None, Some(Impersonate { user, groups }))),
    ]
}

/// One source of operations, and the mix if it draws from one.
fn sending(names: &[Identity]) -> BoxedStrategy<Load> {
    let mix = || mix(names);
    let flat = (rate(), option::of(shape()), mix()).prop_map(|(rate, shape, mix)| {
        let arrivals = Arrivals { rate: Some(rate), shape, duration: Some(whole()), stages: Vec::new() };
        Load { arrivals: Some(arrivals), mix, ..Load::default() }
    });
    let staged = (vec((stage(), option::of(mix())), 1..4), mix()).prop_map(|(stages, mix)| {
        let names = 0..;
        let stages: Vec<Stage> = names
            .zip(stages)
            .map(|(index, (stage, mix))| {
                let name = (index % 2 == 1).then(|| format!("part-{index}"));
                Stage { name, mix, ..stage }
            })
            .collect();
        let mix = if stages.iter().all(|stage| stage.mix.is_some()) { Vec::new() } else { mix };
        Load { arrivals: Some(Arrivals { stages, ..Arrivals::default() }), mix, ..Load::default() }
    });
    let users = (1_u32..200, option::of(delay()), vec((mix(), option::of(delay()), 1_u32..9), 0..3), mix())
        .prop_map(|(count, think_time, sessions, mix)| {
            let session = |(index, (steps, think_time, weight))| Session {
                name: format!("session-{index}"),
                weight: Weight(weight),
                think_time,
                steps: in_order(steps),
            };
            let sessions: Vec<Session> = (0..).zip(sessions).map(session).collect();
            let mix = if sessions.is_empty() { without_deletes(mix) } else { Vec::new() };
            let hatch_rate = Rate::per_second(10.0).expect("finite");
            let users = Users { count, hatch_rate, duration: whole(), think_time, sessions };
            Load { users: Some(users), mix, ..Load::default() }
        });
    let replay = (any::<bool>(), "[a-z/.-]{1,20}", 0.01_f64..100.0, option::of(Just(whole()))).prop_map(
        |(is_audit, path, speed, duration)| {
            let path = PathBuf::from(path);
            let (audit, ledger) = if is_audit { (Some(path), None) } else { (None, Some(path)) };
            Load { replay: Some(Replay { audit, ledger, speed, duration }), ..Load::default() }
        },
    );
    prop_oneof![flat, staged, users, replay].boxed()
}

/// The time that windows are chosen from.
fn whole() -> Duration {
    Duration::from_millis(LENGTH)
}

fn rate() -> impl Strategy<Value = Rate> {
    (0.1_f64..1000.0).prop_map(|rate| Rate::per_second(rate).expect("finite"))
}

fn shape() -> impl Strategy<Value = Shape> {
    select(vec![Shape::Constant, Shape::Poisson])
}

/// A stage without a name and a mix.
fn stage() -> impl Strategy<Value = Stage> {
    let plain = |shape| Stage {
        name: None,
        rate: None,
        ramp: None,
        steps: None,
        spike: None,
        shape,
        duration: whole(),
        mix: None,
    };
    let zero = Rate::per_second(0.0).expect("finite");
    let form = (0_u8..4, rate(), rate(), any::<bool>(), 2_u32..1000, 1..LENGTH);
    (shape(), form).prop_map(move |(shape, (form, one, other, from_zero, count, width))| {
        let from = if from_zero { zero } else { one };
        let plain = plain(shape);
        match form {
            0 => Stage { rate: Some(one), ..plain },
            1 => Stage { ramp: Some(Ramp { from, to: other }), ..plain },
            2 => Stage { steps: Some(Steps { from: other, to: from, count }), ..plain },
            _ => {
                let peak = Rate::per_second(one.get() + other.get()).expect("finite");
                let width = Duration::from_millis(width);
                Stage { spike: Some(Spike { base: from, peak, width }), ..plain }
            }
        }
    })
}

fn client() -> impl Strategy<Value = ClientOptions> {
    let words = (
        select(vec![Protocol::Http2, Protocol::Http1]),
        select(vec![Encoding::Json, Encoding::Protobuf]),
        select(vec![RetryAfter::Record, RetryAfter::Honour]),
    );
    (words, 1_u16..100, 1_u32..1000).prop_map(|((protocol, encoding, retry_after), connections, streams)| {
        ClientOptions { protocol, connections, streams, encoding, retry_after }
    })
}

fn sizes() -> impl Strategy<Value = Sizes> {
    prop_oneof![
        (0_u64..200_000).prop_map(|size| Sizes::Fixed(Size(size))),
        (0_u64..100_000, 0_u64..100_000).prop_map(|(min, more)| {
            Sizes::Drawn(SizeDistribution::Uniform { min: Size(min), max: Size(min + more) })
        }),
        (1_u64..100_000, 1_u64..100_000).prop_map(|(median, more)| {
            Sizes::Drawn(SizeDistribution::LogNormal { median: Size(median), p99: Size(median + more) })
        }),
    ]
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map("[a-z]{1,5}", "[a-z]{0,5}", 0..3)
}

fn population() -> impl Strategy<Value = Population> {
    let entry = || {
        (OBJECTS..1_000_000, sizes(), labels()).prop_map(|(count, size, labels)| PopulationEntry {
            resource: Resource::Pods,
            count,
            size,
            labels,
        })
    };
    let resources = subsequence(Resource::ALL.to_vec(), 0..=Resource::ALL.len());
    (1_u32..=1000, 1_u32..=1000, resources, vec(entry(), Resource::ALL.len())).prop_map(
        |(namespaces, parallel, resources, entries)| Population {
            namespaces,
            parallel,
            objects: resources
                .into_iter()
                .zip(entries)
                .map(|(resource, entry)| PopulationEntry { resource, ..entry })
                .collect(),
        },
    )
}

fn resource() -> impl Strategy<Value = Resource> {
    select(Resource::ALL.to_vec())
}

fn label_selector() -> impl Strategy<Value = Option<String>> {
    option::of(Just("a in (b, c),!d".to_owned()))
}

fn field_selector() -> impl Strategy<Value = Option<String>> {
    option::of(Just(r"metadata.name!=a\,b,metadata.namespace=c".to_owned()))
}

fn scope() -> impl Strategy<Value = Scope> {
    select(vec![Scope::Namespace, Scope::Cluster])
}

fn flag() -> impl Strategy<Value = TraceFlag> {
    select(vec![TraceFlag::Sampled, TraceFlag::Unsampled, TraceFlag::None])
}

/// Watchers without a name.
fn watchers(names: &[Identity]) -> impl Strategy<Value = Watchers> + use<> {
    let mode = select(vec![WatchMode::Watch, WatchMode::ListWatch, WatchMode::WatchList]);
    let query = (resource(), label_selector(), field_selector(), scope());
    let ending = (any::<bool>(), option::of(1_u64..1000));
    (1_u32..=10_000, query, mode, ending, select(names.to_vec()), flag()).prop_map(
        |(
            count,
            (resource, label_selector, field_selector, scope),
            mode,
            (bookmarks, seconds),
            identity,
            traceparent,
        )| {
            Watchers {
                name: None,
                count,
                resource,
                mode,
                bookmarks,
                timeout: seconds.map(Duration::from_secs),
                label_selector,
                field_selector,
                scope,
                identity,
                traceparent,
            }
        },
    )
}

fn abort() -> impl Strategy<Value = AbortRule> {
    (option::of(ratio_bound()), percentiles(), duration(), 0..LENGTH).prop_map(
        |(errors, latency, over, grace)| AbortRule {
            errors,
            latency: Some(latency),
            achieved: None,
            over,
            grace: Duration::from_millis(grace),
        },
    )
}

/// Entries, the last of which creates pods.
fn mix(names: &[Identity]) -> impl Strategy<Value = Vec<MixEntry>> + use<> {
    vec(entry(names), 0..4).prop_map(|mut mix| {
        mix.push(created(Resource::Pods));
        mix
    })
}

/// The steps of a session have no weights, delete no collections, and make what they delete.
fn in_order(steps: Vec<MixEntry>) -> Vec<MixEntry> {
    let steps = steps.into_iter().filter(|step| step.delete_collection.is_none());
    let steps = steps.flat_map(|step| {
        let deleted = step.delete.as_ref().map(|delete| created(delete.resource));
        deleted.into_iter().chain([step])
    });
    steps.map(|step| MixEntry { weight: Weight::default(), ..step }).collect()
}

/// What users may draw from.
fn without_deletes(mix: Vec<MixEntry>) -> Vec<MixEntry> {
    let stays = |entry: &MixEntry| entry.delete.is_none() && entry.delete_collection.is_none();
    mix.into_iter().filter(stays).collect()
}

fn created(resource: Resource) -> MixEntry {
    let create = CreateOperation { resource, size: Sizes::default(), labels: BTreeMap::new() };
    MixEntry { create: Some(create), ..MixEntry::default() }
}

fn entry(names: &[Identity]) -> impl Strategy<Value = MixEntry> + use<> {
    (prop_oneof![write(), read()], 1_u32..100, select(names.to_vec()), flag()).prop_map(
        |(entry, weight, identity, traceparent)| MixEntry {
            weight: Weight(weight),
            identity,
            traceparent,
            ..entry
        },
    )
}

fn write() -> impl Strategy<Value = MixEntry> {
    let made = (resource(), sizes(), labels(), 0_u8..3).prop_map(|(resource, size, labels, which)| {
        let made = CreateOperation { resource, size, labels };
        let plain = MixEntry::default();
        match which {
            0 => MixEntry { create: Some(made), ..plain },
            1 => MixEntry { apply: Some(made), ..plain },
            _ => MixEntry { post_delete: Some(made), ..plain },
        }
    });
    let objects = || option::of(1_u32..=OBJECTS);
    let changed = (resource(), objects(), sizes(), 0_u8..5).prop_map(|(resource, objects, size, which)| {
        let plain = MixEntry::default();
        match which {
            0 => MixEntry { update: Some(UpdateOperation { resource, objects }), ..plain },
            1 if resource != Resource::Widgets => {
                MixEntry { put: Some(PutOperation { resource, size, objects }), ..plain }
            }
            2 => MixEntry {
                patch: Some(PatchOperation { resource, patch_type: PatchType::Json, objects }),
                ..plain
            },
            3 => MixEntry { delete: Some(DeleteOperation { resource }), ..plain },
            _ => MixEntry { delete_collection: Some(DeleteOperation { resource }), ..plain },
        }
    });
    let kubectl = Just(MixEntry {
        kubectl: Some(vec![KubectlStep::Apply, KubectlStep::Scale, KubectlStep::Delete]),
        ..MixEntry::default()
    });
    prop_oneof![made, changed, kubectl]
}

fn read() -> impl Strategy<Value = MixEntry> {
    let query = || (resource(), label_selector(), field_selector(), scope());
    prop_oneof![
        (resource(), option::of(text())).prop_map(|(resource, resource_version)| MixEntry {
            get: Some(GetOperation { resource, resource_version }),
            ..MixEntry::default()
        }),
        (query(), option::of(1_u32..9)).prop_map(
            |((resource, label_selector, field_selector, scope), limit)| {
                let resource_version = limit.map(|_| "0".to_owned());
                let list = ListOperation {
                    resource,
                    resource_version,
                    limit,
                    label_selector,
                    field_selector,
                    scope,
                };
                MixEntry { list: Some(list), ..MixEntry::default() }
            }
        ),
        query().prop_map(|(resource, label_selector, field_selector, scope)| {
            let list = WatchListOperation { resource, label_selector, field_selector, scope };
            MixEntry { watch_list: Some(list), ..MixEntry::default() }
        }),
        (resource(), duration(), any::<bool>(), label_selector()).prop_map(
            |(resource, duration, initial_events, label_selector)| MixEntry {
                watch: Some(WatchOperation { resource, duration, initial_events, label_selector }),
                ..MixEntry::default()
            }
        ),
    ]
}

/// What may be expected of a load.
pub(super) fn expected(load: &Load) -> BoxedStrategy<Expectation> {
    let is_planned = load.users.is_none();
    let is_replay = load.replay.is_some();
    let bounds = (bound(1_u64..100), bound(1_u64..100), ratio_bound(), ratio_bound(), percentiles());
    let sent = bounds.prop_map(move |(shed, skipped, achieved, errors, start_lag)| {
        Expectation::Load(LoadExpectation {
            achieved: is_planned.then_some(achieved),
            start_lag: Some(start_lag),
            shed: is_planned.then_some(shed),
            errors: Some(errors),
            skipped: is_replay.then_some(skipped),
        })
    });
    if load.watchers.is_empty() {
        return sent.boxed();
    }
    let names: Vec<String> = load.watchers.iter().map(|watchers| watchers.label().to_owned()).collect();
    let watched = (option::of(select(names)), percentiles(), option::of(bound(1_u64..100))).prop_map(
        |(name, lag, reopened)| {
            let missed = Some(spangate_scenario::units::Bound::One(Comparison::Equal, 0));
            Expectation::Watchers(WatchersExpectation { name, lag: Some(lag), missed, reopened })
        },
    );
    prop_oneof![sent, watched].boxed()
}

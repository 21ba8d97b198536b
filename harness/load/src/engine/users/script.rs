//! What each user does, step by step: a pure function of the load, the seed and the user.
//!
//! A user's steps are numbered from zero over all repetitions of its session. The number of an arrival holds the
//! user and the step, so that names, ids and choices need no state and are the same in every run, however the
//! users overtake each other.

use std::time::Duration;

use rand_chacha::rand_core::Rng;
use spangate_scenario::{
    delay::{DelayError, DelaySampler},
    model::{Load, MixEntry, Resource, Users},
};

use crate::{
    Arrival, Kind, Operation, Schedule, Setting, Shard,
    operation::delete,
    seed::{Purpose, fnv1a, generator, pick},
};

/// Bits of an arrival's number that count a user's steps; the upper ones are the user's.
const STEP_BITS: u32 = 40;

/// What the users of a load do.
#[derive(Debug)]
pub(crate) struct Script {
    seed: u64,
    /// Users over all shards.
    count: u32,
    /// Users over all shards who come in a second.
    hatch_rate: f64,
    duration: Duration,
    shard: Shard,
    sessions: Vec<Part>,
    /// Number of the session of each user.
    of_user: Vec<u32>,
}

/// What one kind of user does.
#[derive(Debug)]
struct Part {
    steps: Steps,
    pause: Option<DelaySampler>,
}

#[derive(Debug)]
enum Steps {
    /// One after the other, and again.
    InOrder(Vec<Step>),
    /// Drawn from the mix: the sum of the weights up to each entry and with it.
    Drawn(Vec<u64>),
}

#[derive(Debug)]
struct Step {
    /// Index in the order of [`Load::entries`].
    entry: usize,
    /// For a delete, how many steps earlier its object was made.
    made_before: Option<u64>,
}

// === impl Script ===

impl Script {
    /// The script of `users`, of whom `schedule` says which shard is here.
    pub(crate) fn new(load: &Load, users: &Users, schedule: &Schedule) -> Result<Self, DelayError> {
        let seed = schedule.seed;
        let pause = |name: &str, delay: Option<&_>| {
            delay.map(|delay| DelaySampler::new(delay, seed ^ fnv1a(name.bytes()))).transpose()
        };
        let mut sessions = Vec::new();
        let mut first = load.mix.len();
        for session in &users.sessions {
            sessions.push(Part {
                steps: Steps::in_order(&session.steps, first),
                pause: pause(&session.name, session.think_time.as_ref().or(users.think_time.as_ref()))?,
            });
            first += session.steps.len();
        }
        let mut weights: Vec<u64> = users.sessions.iter().map(|session| session.weight.0.into()).collect();
        if sessions.is_empty() {
            sessions
                .push(Part { steps: Steps::drawn(&load.mix), pause: pause("", users.think_time.as_ref())? });
            weights.push(1);
        }
        Ok(Self {
            seed,
            count: users.count,
            hatch_rate: users.hatch_rate.get(),
            duration: users.duration.get(),
            shard: schedule.part(),
            sessions,
            of_user: dealt(&weights, users.count),
        })
    }

    /// How many users there are here.
    pub(crate) fn users(&self) -> usize {
        usize::try_from(self.shard.share(self.count.into())).unwrap_or(usize::MAX)
    }

    /// How many of them come in a second.
    pub(crate) fn hatch_rate(&self) -> f64 {
        self.hatch_rate * self.users() as f64 / f64::from(self.count)
    }

    /// How long they go on.
    pub(crate) fn duration(&self) -> Duration {
        self.duration
    }

    /// Which user, over all shards, the `local`th of this one is.
    pub(crate) fn user(&self, local: usize) -> u64 {
        local as u64 * u64::from(self.shard.of()) + u64::from(self.shard.index())
    }

    /// Step `step` of `user`, which begins `at` a time from the start; nothing when there is nothing to do.
    pub(crate) fn arrival(&self, user: u64, step: u64, at: Duration) -> Option<Arrival> {
        let session = self.session(user)?;
        let number = (user << STEP_BITS) | step;
        let (choice, drawn) = self.draw(number);
        let entry = match &self.sessions[session as usize].steps {
            Steps::InOrder(steps) => steps.get(place(step, steps)?)?.entry,
            Steps::Drawn(sums) => {
                let point = pick(drawn, *sums.last()?);
                sums.partition_point(|sum| *sum <= point)
            }
        };
        Some(Arrival { number, at, stage: session, entry, choice })
    }

    /// The pause of `user` after `step`.
    pub(crate) fn pause(&self, user: u64, step: u64) -> Duration {
        let session = self.session(user).map(|session| &self.sessions[session as usize]);
        let pause = session.and_then(|session| session.pause.as_ref());
        pause.map_or(Duration::ZERO, |pause| pause.nth((user << STEP_BITS) | step))
    }

    /// The operation of `arrival` if it deletes what an earlier step of its session made.
    pub(crate) fn deletion(&self, kind: Kind<'_>, arrival: &Arrival, setting: &Setting) -> Option<Operation> {
        let (Kind::Delete(deletion), Steps::InOrder(steps)) =
            (kind, &self.sessions.get(arrival.stage as usize)?.steps)
        else {
            return None;
        };
        let step = arrival.number & ((1 << STEP_BITS) - 1);
        let number = arrival.number - steps.get(place(step, steps)?)?.made_before?;
        let maker = Arrival { number, choice: self.draw(number).0, ..*arrival };
        Some(Operation::one(delete::made(deletion.resource, &maker, setting)))
    }

    fn session(&self, user: u64) -> Option<u32> {
        self.of_user.get(usize::try_from(user).ok()?).copied()
    }

    /// Random bits of the arrival `number`: for its object, and for its mix entry.
    fn draw(&self, number: u64) -> (u64, u64) {
        let mut generator = generator(self.seed, Purpose::Users);
        generator.set_stream(number);
        (generator.next_u64(), generator.next_u64())
    }
}

/// Where `step` is in a session that is repeated.
fn place(step: u64, steps: &[Step]) -> Option<usize> {
    usize::try_from(step.checked_rem(steps.len() as u64)?).ok()
}

/// Deals out `count` users to sessions in proportion to their weights, evenly mixed: after any number of users,
/// no session is a whole user away from its share.
fn dealt(weights: &[u64], count: u32) -> Vec<u32> {
    let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if total == 0 {
        return Vec::new();
    }
    let mut dealt = vec![0_u128; weights.len()];
    let deal = |user: u32| {
        // The session that will be the first to be a whole user short. It has a weight: its share is not met yet.
        let due = |session: usize| (dealt[session] + 1) * DUE / u128::from(weights[session]);
        let open = (0..weights.len()).filter(|session| {
            weights[*session] > 0
                && dealt[*session] * total < u128::from(weights[*session]) * u128::from(user + 1)
        });
        let session =
            open.min_by_key(|session| due(*session)).expect("all shares together are more than were dealt");
        dealt[session] += 1;
        u32::try_from(session).expect("sessions are few")
    };
    (0..count).map(deal).collect()
}

/// Parts of a user in which deadlines are compared: finer than any weight.
const DUE: u128 = 1 << 64;

// === impl Steps ===

impl Steps {
    fn in_order(entries: &[MixEntry], first: usize) -> Self {
        let mut made: Vec<(Resource, u64)> = Vec::new();
        let steps = (0_u64..).zip(entries).map(|(index, entry)| {
            let mut made_before = None;
            match Kind::of(entry) {
                Some(Kind::Create(create) | Kind::Apply(create)) => made.push((create.resource, index)),
                Some(Kind::Delete(delete)) => {
                    let last = made.iter().rposition(|(resource, _)| *resource == delete.resource);
                    made_before = last.map(|last| index - made.remove(last).1);
                }
                _ => {}
            }
            Step { entry: first + usize::try_from(index).expect("an index"), made_before }
        });
        Self::InOrder(steps.collect())
    }

    fn drawn(mix: &[MixEntry]) -> Self {
        let weights = mix.iter().map(|entry| Kind::of(entry).map_or(0, |_| u64::from(entry.weight.0)));
        let sums: Vec<u64> = weights
            .scan(0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        // Nothing to draw is nothing to do.
        Self::Drawn(if sums.last() == Some(&0) { Vec::new() } else { sums })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use spangate_scenario::{
        model::{CreateOperation, Delay, DeleteOperation, GetOperation, Session, Sizes, Weight},
        units::{self, Rate},
    };

    use super::*;
    use crate::testing;

    fn create(resource: Resource) -> MixEntry {
        let create = CreateOperation { resource, size: Sizes::default(), labels: [].into() };
        MixEntry { create: Some(create), ..MixEntry::default() }
    }

    fn delete(resource: Resource) -> MixEntry {
        MixEntry { delete: Some(DeleteOperation { resource }), ..MixEntry::default() }
    }

    fn get(weight: u32) -> MixEntry {
        let get = Some(GetOperation { resource: Resource::Pods, resource_version: None });
        MixEntry { get, weight: Weight(weight), ..MixEntry::default() }
    }

    fn session(name: &str, weight: u32, steps: Vec<MixEntry>) -> Session {
        Session { name: name.to_owned(), weight: Weight(weight), think_time: None, steps }
    }

    fn load(count: u32, sessions: Vec<Session>, mix: Vec<MixEntry>) -> Load {
        Load {
            arrivals: None,
            users: Some(Users {
                count,
                hatch_rate: Rate::per_second(10.0).unwrap(),
                duration: units::Duration::from_secs(10),
                think_time: Some(Delay::Exponential { mean: units::Duration::from_millis(20) }),
                sessions,
            }),
            ..testing::load(mix)
        }
    }

    fn script(load: &Load, shard: Shard) -> Script {
        Script::new(load, load.users.as_ref().unwrap(), &Schedule::new(load, 7).shard(shard)).unwrap()
    }

    fn at(script: &Script, user: u64, step: u64) -> Arrival {
        script.arrival(user, step, Duration::ZERO).unwrap()
    }

    fn target(script: &Script, load: &Load, arrival: &Arrival) -> Option<String> {
        let kind = Kind::of(load.entries().nth(arrival.entry).unwrap()).unwrap();
        let mut operation = script.deletion(kind, arrival, &testing::setting())?;
        Some(operation.next(None).unwrap().target)
    }

    #[test]
    fn a_session_is_repeated_in_order_and_its_entries_are_those_of_the_load() {
        let sessions = vec![session("a", 1, vec![get(1)]), session("b", 1, vec![get(1), get(1)])];
        let script = script(&load(2, sessions, Vec::new()), Shard::WHOLE);
        let of = |user| (0..5).map(|step| at(&script, user, step).entry).collect::<Vec<_>>();
        assert_eq!((of(0), of(1)), (vec![0; 5], vec![1, 2, 1, 2, 1]));
        assert_eq!((at(&script, 0, 0).stage, at(&script, 1, 0).stage), (0, 1));
    }

    #[test]
    fn a_delete_takes_what_the_same_turn_of_the_session_made_last() {
        let steps = vec![
            create(Resource::Configmaps),
            create(Resource::Pods),
            create(Resource::Configmaps),
            delete(Resource::Configmaps),
            delete(Resource::Configmaps),
            delete(Resource::Pods),
        ];
        let load = load(1, vec![session("a", 1, steps)], Vec::new());
        let script = script(&load, Shard::WHOLE);
        for (step, resource, number) in
            [(3, "configmaps", 2), (4, "configmaps", 0), (5, "pods", 1), (9, "configmaps", 8)]
        {
            let target = target(&script, &load, &at(&script, 0, step)).unwrap();
            assert_eq!(target, format!("/api/v1/namespaces/ns/{resource}/load-{number}-0"));
        }
        assert_eq!(target(&script, &load, &at(&script, 0, 0)), None, "only a delete is one");
    }

    #[test]
    fn without_sessions_steps_are_drawn_by_weight() {
        let load = load(3, Vec::new(), vec![get(3), get(0), get(1)]);
        let script = script(&load, Shard::WHOLE);
        let mut counts = [0_u32; 3];
        for step in 0..2000 {
            let arrival = at(&script, step % 3, step);
            assert_eq!(arrival.stage, 0);
            counts[arrival.entry] += 1;
        }
        // Six standard deviations of a binomial with n = 2000 and p = 3/4 are 116.
        assert!((1384..=1616).contains(&counts[0]) && counts[1] == 0, "{counts:?} with seed 7");
    }

    #[test]
    fn nothing_to_do_is_no_arrival() {
        let nobody = script(&load(1, vec![session("a", 0, vec![get(1)])], Vec::new()), Shard::WHOLE);
        let idle = script(&load(1, vec![session("a", 1, Vec::new())], Vec::new()), Shard::WHOLE);
        let weightless = script(&load(1, Vec::new(), vec![get(0)]), Shard::WHOLE);
        for script in [nobody, idle, weightless] {
            assert_eq!(script.arrival(0, 0, Duration::ZERO), None);
        }
    }

    proptest! {
        #[test]
        fn every_session_has_its_share_of_users_at_any_time(
            weights in prop::collection::vec(0_u64..20, 1..6), count in 1_u32..200,
        ) {
            let dealt = dealt(&weights, count);
            let total: u64 = weights.iter().sum();
            prop_assert_eq!(dealt.len(), if total == 0 { 0 } else { count as usize });
            for (index, weight) in weights.iter().enumerate() {
                for upto in 0..=dealt.len() {
                    let has = dealt[..upto].iter().filter(|session| **session as usize == index).count() as f64;
                    let share = upto as f64 * *weight as f64 / total.max(1) as f64;
                    prop_assert!((has - share).abs() < 1.0, "session {index} has {has} of {upto}, share {share}");
                }
            }
        }

        #[test]
        fn shards_are_the_whole_and_numbers_are_unique(count in 1_u32..40, of in 1_u32..5) {
            let load = load(count, Vec::new(), vec![get(1)]);
            let whole = script(&load, Shard::WHOLE);
            let mut numbers = BTreeSet::new();
            for shard in Shard::all(of) {
                let part = script(&load, shard);
                for local in 0..part.users() {
                    let user = part.user(local);
                    for step in 0..3 {
                        let arrival = at(&part, user, step);
                        prop_assert_eq!(arrival, at(&whole, user, step));
                        prop_assert_eq!(part.pause(user, step), whole.pause(user, step));
                        prop_assert!(numbers.insert(arrival.number));
                    }
                }
            }
            prop_assert_eq!(numbers.len(), count as usize * 3);
        }
    }
}

//! Watchers that stay for the whole run: plain watches and informers.
//!
//! They are established before load starts, so that every write of it has its event, and are ended after it
//! when the last events have come. Each request of theirs is a line of the request ledger as any other, and
//! each event a [`WatchRecord`] with the time at which it was received. What an event was late by follows from
//! both ledgers; nothing is judged here.
//!
//! A watch is ended as client-go ends it, by closing the stream: to the API server that is the end of the
//! request, and its SERVER span ends with the stream. The ledger has the status that the watch was answered
//! with.

mod event;
mod informer;
mod record;
mod stream;
mod watcher;
mod wire;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::header::{HeaderName, HeaderValue};
pub use record::{WatchCounts, WatchEvent, WatchRecord};
use spangate_scenario::model::{Identity, Load, Protocol, Scope, Watchers};
use spangate_trace::{Clock, UnixNanos};
use tokio::{
    sync::{mpsc::UnboundedSender, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use self::{
    informer::Informer,
    watcher::{Standing, Watcher},
};
use crate::{
    Client, ClientConfig, ClientError, EngineError, LoadEvent, Schedule, engine::Headers, target::Target,
};

/// The arrival number of the first watcher's requests. Arrivals of the load are counted from zero and never
/// come this far.
pub const FIRST_ARRIVAL: u64 = 1 << 63;
/// The stage number of watchers' requests: they belong to none.
pub const NO_STAGE: u32 = u32::MAX;

/// Streams on one connection, at most: half of what the API server allows.
const STREAMS: u32 = 50;
/// Time for all watchers to be established.
const PATIENCE: Duration = Duration::from_secs(30);
/// After the load, watchers end once no event has come for this long.
const QUIET: Duration = Duration::from_secs(1);
/// They end after this time in any case.
const LAST_EVENTS: Duration = Duration::from_secs(10);
/// Time between two looks whether it is quiet.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One watcher of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its number among all watchers of the load.
    pub index: u32,
    /// Index of its entry of the load's `watchers`.
    pub entry: usize,
    /// What it does.
    pub watchers: &'a Watchers,
    /// The namespace that it watches; `None` for all of them.
    pub namespace: Option<String>,
}

/// What watchers need.
pub(crate) struct Site<'a> {
    pub(crate) load: &'a Load,
    pub(crate) schedule: &'a Schedule,
    pub(crate) clock: Clock,
    pub(crate) events: &'a UnboundedSender<LoadEvent>,
}

/// Watchers that are established. They end, without the patience of [`Watching::stop`], when this is dropped.
#[derive(Debug)]
#[must_use = "the watchers end with it"]
pub struct Watching {
    tasks: JoinSet<WatchCounts>,
    standings: Vec<watch::Receiver<Standing>>,
    clock: Clock,
    last_event: Arc<AtomicU64>,
    stop: CancellationToken,
}

/// The watchers of `load`, in order. Those of one entry are spread over the load's namespaces in turn.
pub fn members(load: &Load) -> impl Iterator<Item = Member<'_>> {
    let namespaces: Vec<String> = load.namespaces().collect();
    let all = load.watchers.iter().enumerate();
    let all =
        all.flat_map(|(entry, watchers)| (0..watchers.count).map(move |place| (entry, watchers, place)));
    (0..).zip(all).map(move |(index, (entry, watchers, place))| {
        let namespace = (watchers.scope == Scope::Namespace)
            .then(|| namespaces[usize::try_from(place).unwrap_or(0) % namespaces.len()].clone());
        Member { index, entry, watchers, namespace }
    })
}

/// The arrival number of the requests of watcher `index`.
pub const fn arrival(index: u32) -> u64 {
    FIRST_ARRIVAL + index as u64
}

/// The watcher whose requests have this arrival number, if they are a watcher's.
pub fn index_of(arrival: u64) -> Option<u32> {
    u32::try_from(arrival.checked_sub(FIRST_ARRIVAL)?).ok()
}

/// Starts every watcher of the load, and returns when all are established: the state is through where the
/// mode has one, and the watch is open. A worker that does a part of the load has that part of the watchers.
///
/// `apart` says how a watcher opens a connection of its own, and the headers of its requests; watchers with the
/// same headers share one by the fifty, with HTTP/1.1 none.
pub(crate) async fn start(
    site: &Site<'_>,
    apart: impl Fn(&Identity, u64) -> (ClientConfig, Headers),
    cancel: &CancellationToken,
) -> Result<Watching, EngineError> {
    let deadline = Instant::now() + PATIENCE;
    let mut watching = Watching {
        tasks: JoinSet::new(),
        standings: Vec::new(),
        clock: site.clock,
        last_event: Arc::default(),
        stop: cancel.child_token(),
    };
    let mut lines: Vec<Line> = Vec::new();
    let part = site.schedule.part();
    let mine = || members(site.load).filter(|member| part.holds(member.index.into()));
    for member in mine() {
        let identity = &member.watchers.identity;
        let (config, headers) = apart(identity, member.index.into());
        let place = lines.iter().position(|line| line.left > 0 && line.suits(identity, &headers));
        let place = if let Some(place) = place {
            place
        } else {
            lines.push(Line::open(identity, headers, config).await?);
            lines.len() - 1
        };
        lines[place].left -= 1;
        watching.add(site, &member, &lines[place]);
    }
    for (standing, member) in watching.standings.iter_mut().zip(mine()) {
        let open = standing.wait_for(|standing| *standing == Standing::Open);
        let opened = matches!(timeout_at(deadline, open).await, Ok(Ok(_)));
        if !opened {
            let (watcher, reason) = (member.watchers.label().to_owned(), standing.borrow().to_string());
            return Err(EngineError::NotWatching { watcher, reason });
        }
    }
    Ok(watching)
}

/// A connection that watchers share.
struct Line {
    identity: Identity,
    headers: Arc<[(HeaderName, HeaderValue)]>,
    client: Arc<Client>,
    /// Watchers that it has room for.
    left: u32,
}

// === impl Line ===

impl Line {
    async fn open(identity: &Identity, headers: Headers, config: ClientConfig) -> Result<Self, ClientError> {
        let left = match config.protocol {
            Protocol::Http2 => STREAMS,
            Protocol::Http1 => 1,
        };
        let client = Client::new(&ClientConfig { connections: 1, streams: STREAMS, ..config })?;
        client.connect().await?;
        Ok(Self { identity: identity.clone(), headers: headers.into(), client: client.into(), left })
    }

    fn suits(&self, identity: &Identity, headers: &[(HeaderName, HeaderValue)]) -> bool {
        self.identity == *identity && self.headers[..] == *headers
    }
}

// === impl Watching ===

impl Watching {
    fn add(&mut self, site: &Site<'_>, member: &Member<'_>, line: &Line) {
        let Member { index, entry, watchers, namespace } = member;
        let collection = match namespace {
            Some(namespace) => Target::collection(namespace, watchers.resource),
            None => Target::everywhere(watchers.resource),
        };
        let (standing, told) = watch::channel(Standing::default());
        self.standings.push(told);
        let watcher = Watcher {
            client: Arc::clone(&line.client),
            headers: Arc::clone(&line.headers),
            clock: site.clock,
            schedule: site.schedule.clone(),
            events: site.events.clone(),
            limit: site.load.timeout.get(),
            name: watchers.label().into(),
            index: *index,
            entry: site.load.entries().count() + entry,
            resource: watchers.resource.plural(),
            identity: watchers.identity.clone(),
            flag: watchers.traceparent,
            informer: Informer::new(watchers, *index, collection),
            standing,
            counts: WatchCounts::new(),
            last_event: Arc::clone(&self.last_event),
            stop: self.stop.clone(),
        };
        self.tasks.spawn(watcher.run());
    }

    /// Waits until the last events have come, ends the watchers, and gives what they received.
    ///
    /// The last events have come when every watch is open and none has delivered anything for a second; ten
    /// seconds are the most.
    pub async fn stop(mut self) -> WatchCounts {
        let deadline = Instant::now() + LAST_EVENTS;
        let begun = self.clock.now();
        while Instant::now() < deadline && !self.stop.is_cancelled() && !self.is_quiet(begun) {
            sleep(LOOK_EVERY).await;
        }
        self.stop.cancel();
        let mut counts = WatchCounts::new();
        while let Some(ended) = self.tasks.join_next().await {
            let of_one = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            for (watcher, events) in of_one {
                let sum = counts.entry(watcher).or_default();
                for (event, n) in events {
                    *sum.entry(event).or_default() += n;
                }
            }
        }
        counts
    }

    fn is_quiet(&self, begun: UnixNanos) -> bool {
        let last = UnixNanos(self.last_event.load(Ordering::Relaxed)).max(begun);
        let all_open = || self.standings.iter().all(|standing| *standing.borrow() == Standing::Open);
        self.tasks.is_empty() || (self.clock.now().since(last) >= QUIET && all_open())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn watchers_are_numbered_through_and_spread_over_the_namespaces() {
        let mut load = testing::load(Vec::new());
        load.prepare.namespaces = 2;
        load.watchers = serde_json::from_value(serde_json::json!([
            {"count": 3, "resource": "pods"},
            {"count": 2, "resource": "configmaps", "scope": "cluster"},
        ]))
        .unwrap();
        let found: Vec<_> =
            members(&load).map(|member| (member.index, member.entry, member.namespace)).collect();
        let namespace = |name: &str| Some(name.to_owned());
        assert_eq!(
            found,
            [
                (0, 0, namespace("ns")),
                (1, 0, namespace("ns-2")),
                (2, 0, namespace("ns")),
                (3, 1, None),
                (4, 1, None),
            ]
        );
    }

    #[test]
    fn requests_of_watchers_are_told_from_arrivals() {
        for index in [0, 7, u32::MAX] {
            assert_eq!(index_of(arrival(index)), Some(index));
        }
        assert_eq!(index_of(0), None);
        assert_eq!(index_of(FIRST_ARRIVAL - 1), None);
    }
}

//! From what was asked to what is asked again.
//!
//! Nothing here does IO. What is read is kept small: a record is a few words, and what many records share (the
//! query of a list, a path, a reason) is kept once.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    time::Duration,
};

use spangate_scenario::model::{Identity, IdentitySpec, PatchType, Resource, Scope, TraceFlag};
use spangate_trace::UnixNanos;

use super::place::{Place, is_discovery, parameters};
use crate::seed::fnv1a;

/// Reasons that are told apart; a cluster has many resources, and a broken record might name any number of them.
const REASONS: usize = 64;
/// What is counted beyond them.
pub(super) const OTHER: &str = "other reasons";

/// A request as a record tells of it.
pub(super) struct Asked<'a> {
    /// What all events of one request share.
    pub(super) id: Option<&'a str>,
    pub(super) at: UnixNanos,
    /// When it was over, if it is.
    pub(super) ended: Option<UnixNanos>,
    pub(super) sender: Sender<'a>,
    pub(super) traceparent: TraceFlag,
    /// As RBAC names it; `apply` and `watchlist` too.
    pub(super) verb: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    /// The resource; none for other paths.
    pub(super) place: Option<Place<'a>>,
    pub(super) body: Option<Body>,
}

/// Who asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sender<'a> {
    /// A user of the cluster that was recorded.
    User(&'a str),
    /// A sender of the load that was recorded.
    Identity(&'a Identity),
}

/// What was sent, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// The operations of a JSON patch.
    Array,
    /// An object that says what it is.
    Whole {
        /// Bytes of it.
        size: u64,
    },
    /// Any other.
    Part,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Get {
        resource: Resource,
        stale: bool,
    },
    /// Number of a query.
    List(u32),
    Watch {
        query: u32,
        seconds: u32,
    },
    Create {
        resource: Resource,
        size: u32,
    },
    Put {
        resource: Resource,
        size: u32,
    },
    Patch {
        resource: Resource,
        patch_type: PatchType,
    },
    Apply {
        resource: Resource,
        size: u32,
    },
    Delete {
        resource: Resource,
    },
    DeleteCollection(Resource),
    /// Number of a path.
    Discovery(u32),
}

/// What a list or a watch asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Query {
    pub(super) resource: Resource,
    pub(super) scope: Scope,
    pub(super) label_selector: Option<String>,
    pub(super) field_selector: Option<String>,
    pub(super) limit: Option<u32>,
    /// Whether the watch cache may answer, however old it is (`resourceVersion=0`).
    pub(super) stale: bool,
    pub(super) bookmarks: bool,
    pub(super) initial_events: bool,
}

/// Which object a request that makes or deletes one means, by the number of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// What that arrival made.
    Made(u64),
    /// What was made for that arrival to delete.
    Victim(u64),
}

/// A request that is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replayed {
    pub(super) ask: Ask,
    /// Chooses the prepared object or the namespace: the same for the same one of the record.
    pub(super) choice: u64,
    pub(super) named: Named,
    /// Number of a sender.
    pub(super) sender: u32,
    pub(super) traceparent: TraceFlag,
}

/// What records share.
#[derive(Debug, Default)]
pub(super) struct Tables {
    queries: Table<Query>,
    paths: Table<String>,
    senders: Table<Identity>,
}

/// Values by number, each once.
#[derive(Debug)]
struct Table<T> {
    values: Vec<T>,
    numbers: HashMap<T, u32>,
}

/// One request of a record.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: UnixNanos,
    ended: Option<UnixNanos>,
    choice: u64,
    sender: u32,
    traceparent: TraceFlag,
    /// Or the number of a reason.
    ask: Result<Ask, u32>,
}

/// Gathers a record, request by request.
pub(super) struct Collector<'a> {
    identities: &'a [IdentitySpec],
    seen: Vec<Seen>,
    /// Index of the request with this id; ids are random, so that their hash is as good.
    ids: HashMap<u64, usize>,
    tables: Tables,
    reasons: Table<String>,
    broken: u64,
    never_sent: u64,
}

/// What a record came to.
#[derive(Debug, Default)]
pub(super) struct Mapped {
    /// From the start; they do not fall.
    pub(super) times: Vec<Duration>,
    /// As many.
    pub(super) requests: Vec<Replayed>,
    pub(super) tables: Tables,
    pub(super) skipped: BTreeMap<String, u64>,
}

// === impl Collector ===

impl<'a> Collector<'a> {
    /// Requests of users whom one of `identities` acts as are sent by it.
    pub(super) fn new(identities: &'a [IdentitySpec]) -> Self {
        Self {
            identities,
            seen: Vec::new(),
            ids: HashMap::new(),
            tables: Tables::default(),
            reasons: Table::default(),
            broken: 0,
            never_sent: 0,
        }
    }

    /// Counts a line that says nothing.
    pub(super) fn broken(&mut self) {
        self.broken += 1;
    }

    /// Counts a request that was never sent.
    pub(super) fn never_sent(&mut self) {
        self.never_sent += 1;
    }

    /// Takes one request, or what a later stage of it adds.
    pub(super) fn add(&mut self, asked: &Asked<'_>) {
        let sender = self.sender(asked.sender);
        let ask = match &sender {
            Ok(_) => self.ask(asked),
            Err(reason) => Err(reason.clone()),
        };
        let seen = Seen {
            at: asked.at,
            ended: asked.ended,
            choice: choice(asked),
            sender: sender.as_ref().map_or(0, |sender| self.tables.senders.number(sender)),
            traceparent: asked.traceparent,
            ask: ask.map_err(|reason| self.reason(reason)),
        };
        let known = asked.id.map(|id| *self.ids.entry(fnv1a(id.bytes())).or_insert(self.seen.len()));
        match known.and_then(|index| self.seen.get_mut(index)) {
            // Stages come in their order; should they not, the end is what knows most.
            Some(earlier) if earlier.ended.is_some() => {}
            Some(earlier) => *earlier = seen,
            None => self.seen.push(seen),
        }
    }

    /// Whoever sends in place of `sender`; the error is the reason why nobody does.
    fn sender(&self, sender: Sender<'_>) -> Result<Identity, String> {
        match sender {
            Sender::User(user) => {
                let acts =
                    |spec: &&IdentitySpec| spec.impersonate.as_ref().is_some_and(|who| who.user == user);
                Ok(self.identities.iter().find(acts).map_or_else(Identity::admin, |spec| spec.name.clone()))
            }
            Sender::Identity(name) => {
                let built_in = [Identity::ADMIN, Identity::UNPRIVILEGED].contains(&name.as_str());
                let is_known = built_in || self.identities.iter().any(|spec| spec.name == *name);
                is_known.then(|| name.clone()).ok_or_else(|| format!("sender {name}"))
            }
        }
    }

    /// What is asked again; the error is the reason why nothing is.
    fn ask(&mut self, asked: &Asked<'_>) -> Result<Ask, String> {
        let Some(place) = &asked.place else {
            let is_read = asked.verb == "get" || asked.verb == "discovery";
            return if is_read && is_discovery(asked.path) {
                Ok(Ask::Discovery(self.tables.paths.number(&asked.path.to_owned())))
            } else {
                Err("path outside of the API's resources".to_owned())
            };
        };
        let resource = place.known().ok_or_else(|| format!("resource {}", place.kind()))?;
        if let Some(subresource) = &place.subresource {
            return Err(format!("subresource {resource}/{subresource}", resource = resource.plural()));
        }
        let query = Parameters::of(asked.query);
        if query.dry_run {
            return Err("dry run".to_owned());
        }
        let size = match asked.body {
            Some(Body::Whole { size }) => {
                u32::try_from(size.min(resource.payload_limit().0)).unwrap_or(u32::MAX)
            }
            _ => SIZE,
        };
        match asked.verb {
            "get" => Ok(Ask::Get { resource, stale: query.stale }),
            "list" if query.later_page => {
                Err("later page of a list: its first page reads them all".to_owned())
            }
            "list" if query.exact => Err("list of an exact resource version".to_owned()),
            "list" => Ok(Ask::List(self.query(resource, place, query))),
            // How long is known when all is read.
            "watch" | "watchlist" => Ok(Ask::Watch { query: self.query(resource, place, query), seconds: 0 }),
            "create" => Ok(Ask::Create { resource, size }),
            // The API server takes no custom resource back without the version that it had.
            "update" if resource == Resource::Widgets => Err("update of a custom resource".to_owned()),
            "update" => Ok(Ask::Put { resource, size }),
            "apply" => Ok(Ask::Apply { resource, size }),
            "patch" => Ok(match (asked.body, query.force) {
                (Some(Body::Whole { .. }), _) | (_, true) => Ask::Apply { resource, size },
                (Some(Body::Array), _) => Ask::Patch { resource, patch_type: PatchType::Json },
                // A record does not keep the media type. Go clients send built-in types strategic merge patches.
                _ if resource == Resource::Widgets => Ask::Patch { resource, patch_type: PatchType::Merge },
                _ => Ask::Patch { resource, patch_type: PatchType::Strategic },
            }),
            "delete" => Ok(Ask::Delete { resource }),
            "deletecollection" => Ok(Ask::DeleteCollection(resource)),
            verb => Err(format!("verb {verb}")),
        }
    }

    fn query(&mut self, resource: Resource, place: &Place<'_>, parameters: Parameters) -> u32 {
        self.tables.queries.number(&Query {
            resource,
            scope: if place.namespace.is_some() { Scope::Namespace } else { Scope::Cluster },
            label_selector: parameters.label_selector,
            field_selector: parameters.field_selector,
            limit: parameters.limit,
            stale: parameters.stale,
            bookmarks: parameters.bookmarks,
            initial_events: parameters.initial_events,
        })
    }

    fn reason(&mut self, reason: String) -> u32 {
        let is_full = self.reasons.values.len() >= REASONS && !self.reasons.numbers.contains_key(&reason);
        self.reasons.number(&if is_full { OTHER.to_owned() } else { reason })
    }

    /// What is sent again `speed` times as fast, up to `cut`.
    pub(super) fn finish(mut self, speed: f64, cut: Option<Duration>) -> Mapped {
        let mut mapped = Mapped { tables: self.tables, ..Mapped::default() };
        let mut skip = |reason: &str, count: u64| {
            if count > 0 {
                *mapped.skipped.entry(reason.to_owned()).or_default() += count;
            }
        };
        skip("broken line", self.broken);
        skip("never sent", self.never_sent);
        let scaled = |time: Duration| Duration::try_from_secs_f64(time.as_secs_f64() / speed).ok();
        self.seen.sort_by_key(|seen| seen.at);
        let start = self.seen.iter().find(|seen| seen.ask.is_ok()).map_or(UnixNanos(0), |seen| seen.at);
        let mut objects = HashMap::new();
        for seen in &self.seen {
            let ask = match seen.ask {
                Ok(ask) => ask,
                Err(reason) => {
                    skip(&self.reasons.values[reason as usize], 1);
                    continue;
                }
            };
            let at = scaled(seen.at.since(start)).filter(|at| cut.is_none_or(|cut| *at < cut));
            let Some(at) = at else {
                skip("after the end of the replay", 1);
                continue;
            };
            let number = mapped.requests.len() as u64;
            let held = seen.ended.and_then(|ended| scaled(ended.since(seen.at)));
            mapped.times.push(at);
            mapped.requests.push(Replayed {
                ask: match ask {
                    Ask::Watch { query, .. } => Ask::Watch { query, seconds: whole_seconds(held) },
                    ask => ask,
                },
                choice: seen.choice,
                named: named(ask, number, seen.choice, &mut objects),
                sender: seen.sender,
                traceparent: seen.traceparent,
            });
        }
        let end = cut.or_else(|| mapped.times.last().copied()).unwrap_or_default();
        for (request, at) in mapped.requests.iter_mut().zip(&mapped.times) {
            if let Ask::Watch { seconds, .. } = &mut request.ask {
                *seconds = whole_seconds(Some(end.saturating_sub(*at))).min(*seconds);
            }
        }
        mapped
    }
}

/// Payload where a record does not say, as a created object has unless a scenario says otherwise.
const SIZE: u32 = 1024;

/// The time that a watch is asked for: whole seconds, and at least one. Without an end, as long as it may be.
fn whole_seconds(held: Option<Duration>) -> u32 {
    held.map_or(u32::MAX, |held| {
        let seconds = held.as_secs() + u64::from(held.subsec_nanos() > 0);
        u32::try_from(seconds.max(1)).unwrap_or(u32::MAX)
    })
}

/// The object that arrival `number` makes or deletes, with `choice` for its namespace and name.
fn named(ask: Ask, number: u64, choice: u64, objects: &mut HashMap<(Resource, u64), Named>) -> Named {
    match ask {
        Ask::Create { resource, .. } => {
            objects.insert((resource, choice), Named::Made(number));
            Named::Made(number)
        }
        // Applied again, it is the same object, unless it was deleted meanwhile.
        Ask::Apply { resource, .. } => match objects.get(&(resource, choice)) {
            Some(made @ Named::Made(_)) => *made,
            _ => named(Ask::Create { resource, size: 0 }, number, choice, objects),
        },
        // Deleted again, it is as gone as it was.
        Ask::Delete { resource } => *objects.entry((resource, choice)).or_insert(Named::Victim(number)),
        _ => Named::Made(number),
    }
}

/// Chooses the object, or the namespace of a collection.
fn choice(asked: &Asked<'_>) -> u64 {
    let place = asked.place.as_ref();
    let part = |text: Option<&std::borrow::Cow<'_, str>>| text.map_or("", |text| text.as_ref()).to_owned();
    let namespace = part(place.and_then(|place| place.namespace.as_ref()));
    let name = match place.and_then(|place| place.name.as_deref()) {
        Some(name) => name.to_owned(),
        // Created under a name that the server made up: an object that nobody else means.
        None if asked.verb == "create" => asked.id.unwrap_or_default().to_owned(),
        None => String::new(),
    };
    spread(fnv1a(namespace.bytes().chain([b'/']).chain(name.bytes())))
}

/// Spreads a hash over all its bits: FNV-1a hardly moves the upper ones for names that differ at the end, and the
/// upper ones choose. The finalizer of `MurmurHash3`.
fn spread(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// What a query asks for.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a parameter that is there or not")]
struct Parameters {
    label_selector: Option<String>,
    field_selector: Option<String>,
    limit: Option<u32>,
    stale: bool,
    exact: bool,
    later_page: bool,
    bookmarks: bool,
    initial_events: bool,
    dry_run: bool,
    force: bool,
}

// === impl Parameters ===

impl Parameters {
    fn of(query: &str) -> Self {
        let mut all = Self::default();
        for (key, value) in parameters(query).filter(|(_, value)| !value.is_empty()) {
            match key.as_ref() {
                "labelSelector" => all.label_selector = Some(value.into_owned()),
                "fieldSelector" => all.field_selector = Some(value.into_owned()),
                "limit" => all.limit = value.parse().ok().filter(|limit| *limit > 0),
                // A version of another cluster means nothing here, but like zero it lets the cache answer.
                "resourceVersion" => all.stale = true,
                "resourceVersionMatch" => all.exact = value == "Exact",
                "continue" => all.later_page = true,
                "allowWatchBookmarks" => all.bookmarks = value == "true",
                "sendInitialEvents" => all.initial_events = value == "true",
                "dryRun" => all.dry_run = true,
                // Refused beside any other patch than an applied one.
                "force" => all.force = true,
                _ => {}
            }
        }
        all
    }
}

// === impl Tables ===

impl Tables {
    pub(super) fn query(&self, number: u32) -> &Query {
        &self.queries.values[number as usize]
    }

    pub(super) fn path(&self, number: u32) -> &str {
        &self.paths.values[number as usize]
    }

    pub(super) fn sender(&self, number: u32) -> &Identity {
        &self.senders.values[number as usize]
    }
}

// === impl Table ===

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { values: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Table<T> {
    fn number(&mut self, value: &T) -> u32 {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        let number = u32::try_from(self.values.len()).expect("no record has as many lines");
        self.values.push(value.clone());
        self.numbers.insert(value.clone(), number);
        number
    }
}

//! Sends a known load to a Kubernetes API server and keeps the ledger of it.
//!
//! What is sent, and when, is fixed before the run by the scenario and a seed ([`Schedule`]). The [`Engine`]
//! prepares what the load needs, starts every arrival at its time whatever the server does, and tells of
//! every request as a [`RequestRecord`]. There are no retries and no hidden queues: what the server was
//! asked is what the ledger says.
//!
//! This crate knows the API's paths and bodies, but no Kubernetes client library. It judges nothing: that is
//! left to those who read the ledger.
//!
//! ```
//! use spangate_load::Schedule;
//! use spangate_scenario::model::Load;
//!
//! let load: Load = serde_json::from_value(serde_json::json!({
//!     "arrivals": {"rate": "50/s", "shape": "poisson", "for": "20s"},
//!     "mix": [{"weight": 3, "create": {"resource": "configmaps"}}, {"list": {"resource": "pods"}}],
//! }))?;
//! let schedule = Schedule::new(&load, 7);
//! assert_eq!(schedule, Schedule::new(&load, 7));
//! assert!(schedule.arrivals().all(|arrival| arrival.at < schedule.duration));
//! # Ok::<(), serde_json::Error>(())
//! ```

pub mod client;
pub mod engine;
pub mod histogram;
mod initial;
pub mod ledger;
pub mod merge;
pub mod object;
pub mod operation;
pub mod preparation;
mod protobuf;
pub mod replay;
pub mod request;
mod rollout;
pub mod schedule;
mod seed;
pub mod setting;
pub mod synthetic;
mod target;
#[cfg(test)]
mod testing;
pub mod watchers;

pub use client::{Client, ClientConfig, ClientError, ClientIdentity, Endpoint};
pub use engine::{
    Aborted, Engine, EngineConfig, EngineError, Gauge, GeneratorLoad, LoadEvent, Summary, keep_ctrl_c,
};
pub use histogram::{Class, CoarseHistogram, Ending, Histogram, Latencies, Latency, Series, Slot, Timeline};
pub use ledger::{Outcome, RequestRecord, Verb};
pub use operation::{Kind, Operation};
pub use preparation::{Preparation, Prepared};
pub use replay::{BrokenLines, Replay, ReplayError};
pub use request::{Read, Reply, Request};
pub use schedule::{Arrival, ParseShardError, Schedule, Shard};
pub use seed::fnv1a;
pub use setting::{Namespaces, Setting};
pub use watchers::{WatchCounts, WatchEvent, WatchRecord, Watching};

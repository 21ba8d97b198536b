//! Faults, and a ledger of every one that was injected.
//!
//! - [`webhook`]: admission webhooks that are slow, or answer what they should not;
//! - [`etcd`]: a proxy between API server and etcd that delays or fails single RPCs;
//! - [`delay`] and [`hold`]: how long something is held, and holding it for exactly that long;
//! - [`ledger`]: which call was held from when to when, under which span of its caller.
//!
//! Every random choice is made by the run's seed, the fault's name and the number of the call, so that a run
//! can be repeated. Every time in the ledger was measured and is never the one that was asked for.
//!
//! ```
//! use std::time::Duration;
//!
//! use spangate_inject::DelaySampler;
//! use spangate_scenario::{model::Delay, units};
//!
//! let delay = Delay::Fixed(units::Duration::from_millis(150));
//! assert_eq!(DelaySampler::new(&delay, 7)?.sample(), Duration::from_millis(150));
//! # Ok::<(), spangate_inject::DelayError>(())
//! ```

mod chance;
pub mod delay;
pub mod etcd;
mod gate;
pub mod hold;
pub mod ledger;
mod listen;
mod note;
mod thread;
pub mod webhook;

pub use delay::{DelayError, DelaySampler};
pub use etcd::{EtcdProxy, EtcdProxyConfig, EtcdProxyError, EtcdProxyHandle};
pub use hold::Timer;
pub use ledger::{Answer, Held, Injection, Target};
pub use thread::THREADS;
pub use webhook::{CANARY_NAMESPACE, CanaryCalls, WebhookConfig, WebhookError, WebhookHandle, WebhookServer};

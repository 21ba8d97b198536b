//! Faults, and a ledger of every one that was injected.
//!
//! - [`webhook`]: admission webhooks that are slow, or answer what they should not;
//! - [`etcd`]: a proxy between API server and etcd that delays or fails single RPCs;
//! - [`hold`]: holding something for exactly as long as was asked for;
//! - [`ledger`]: which call was held from when to when, under which span of its caller.
//!
//! Every random choice is made by the run's seed, the fault's name and the number of the call, so that a run
//! can be repeated. Every time in the ledger was measured and is never the one that was asked for.

mod chance;
pub mod etcd;
mod gate;
pub mod hold;
pub mod ledger;
mod listen;
mod note;
mod thread;
pub mod webhook;

pub use etcd::{EtcdProxy, EtcdProxyConfig, EtcdProxyError, EtcdProxyHandle, EtcdTls, Upstream};
pub use hold::Timer;
pub use ledger::{Answer, Held, Injection, Target};
pub use thread::THREADS;
pub use webhook::{
    CANARY_NAMESPACE, CanaryCalls, ServiceReference, WEBHOOK_SERVICE, WebhookConfig, WebhookError,
    WebhookHandle, WebhookServer,
};

//! Admission webhooks and a gRPC-aware etcd proxy, with a ledger of every injection.

pub mod ledger;

pub use ledger::{Answer, Held, Injection, Target};

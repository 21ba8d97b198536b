//! On a real etcd and a real kube-apiserver: every shipped scenario, and what happens when the truth is
//! falsified afterwards.
//!
//! The binaries are looked up as `spangate run` does it; on a machine without them the first test builds them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod check;
mod containers;
mod contract;
mod duet;
mod etcd_proxy;
mod experiment;
mod falsified;
mod falsified_collector;
mod falsified_sampling;
mod gate;
mod harness;
mod kind;
mod kind_collector;
mod prove_gate;
mod prove_sampling;
mod scenarios;
mod skipped;
mod templates;

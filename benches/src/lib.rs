//! What the benches share: figures with intervals, CPU time, and gRPC calls without a codec.
//!
//! A bench measures and tells; it does not fail when a figure misses its target, since a busy machine would
//! make that a matter of luck. Each figure comes with the number of its observations, a 95 % interval and,
//! where there is a target, `PASS` or `MISS`. What is compared is measured in turns, so that whatever else
//! the machine does meets both sides alike.

pub mod command;
pub mod cpu;
pub mod figures;
pub mod grpc;

pub use command::Command;
pub use cpu::CpuWatch;
pub use figures::{Figure, Table, Target};

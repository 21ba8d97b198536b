//! What the processes of a run use of the machine, and what else goes on there.
//!
//! A [`Recorder`] reads each of them at a steady pace while load is sent and until the last span is through, and more closely
//! at the [`Border`]s between its phases. CPU time is in nanoseconds as the scheduler counts it, and not in ticks of ten
//! milliseconds; so a window of half a second can be told from the next. What is recorded is plain data, and judged
//! afterwards; what went on [`Beside`] it too.

mod beside;
mod cgroup;
mod host;
mod machine;
mod meter;
mod recorder;
mod surroundings;
mod usage;

pub use beside::Beside;
pub use cgroup::CgroupUsage;
pub use host::HostTimes;
pub use machine::Machine;
pub use meter::{Detail, Meter, Traffic, Usage};
pub use recorder::{Follow, Recorder};
pub use surroundings::Surroundings;
pub use usage::{Border, Measurements, Sample, Window};

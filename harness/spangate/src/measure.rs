//! What the processes of a run use of the machine, and what else goes on there.
//!
//! A [`Recorder`] reads each of them at a steady pace while load is sent and until the last span is through. CPU time is
//! in nanoseconds as the scheduler counts it, and not in ticks of ten milliseconds; so a window of half a second can be
//! told from the next. What is recorded is plain data, and judged afterwards.

mod host;
mod meter;
mod recorder;
mod usage;

pub use host::HostTimes;
pub use meter::{Meter, Usage};
pub use recorder::{Follow, Recorder};
pub use usage::{Measurements, Sample, Window};

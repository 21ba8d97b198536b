//! How much CPU time a process or a thread uses.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A stopwatch for CPU time, in user mode and in the kernel.
#[derive(Debug, Clone, Copy)]
pub struct CpuWatch {
    clock: ClockId,
    started: Duration,
}

// === impl CpuWatch ===

impl CpuWatch {
    /// Starts counting for all threads of this process.
    pub fn of_process() -> Self {
        Self::start(ClockId::ProcessCPUTime)
    }

    /// Starts counting for this thread; only this thread can read it.
    pub fn of_thread() -> Self {
        Self::start(ClockId::ThreadCPUTime)
    }

    fn start(clock: ClockId) -> Self {
        Self { clock, started: now(clock) }
    }

    /// The CPU time since the start.
    pub fn elapsed(&self) -> Duration {
        now(self.clock).saturating_sub(self.started)
    }
}

fn now(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::{hint::black_box, time::Instant};

    use super::*;

    #[test]
    fn work_takes_cpu_time() {
        let (process, cpu, began) = (CpuWatch::of_process(), CpuWatch::of_thread(), Instant::now());
        let mut sum = 0_u64;
        while cpu.elapsed() < Duration::from_millis(5) {
            sum = black_box(sum.wrapping_add(1));
            let took = began.elapsed();
            assert!(took < Duration::from_secs(20), "{:?} of CPU time after {took:?} of work", cpu.elapsed());
        }
        assert!(process.elapsed() >= Duration::from_millis(5), "{:?}", process.elapsed());
    }
}

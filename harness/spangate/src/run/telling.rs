//! What is told every now and then while a load goes on, since nothing that happens tells of it.

use std::{sync::Arc, time::Duration};

use spangate_load::Gauge;
use tokio::{task::JoinHandle, time::interval};

use crate::event::{Event, Events};

/// Time between two events of one kind.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// A task that tells of something until this is dropped.
#[derive(Debug)]
pub(crate) struct Telling(JoinHandle<()>);

// === impl Telling ===

impl Telling {
    /// Tells what `look` sees.
    pub(crate) fn start(events: Events, look: impl Fn() -> Event + Send + 'static) -> Self {
        Self(tokio::spawn(async move {
            let mut ticks = interval(TELL_EVERY);
            loop {
                ticks.tick().await;
                events.send(look());
            }
        }))
    }

    /// Tells how the load stands.
    pub(crate) fn of_load(events: Events, gauge: Arc<Gauge>) -> Self {
        Self::start(events, move || Event::UnderWay { in_flight: gauge.in_flight(), late: gauge.late() })
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_told_again_and_again_until_nobody_wants_it() {
        let (events, mut told) = Events::channel();
        let telling = Telling::of_load(events, Arc::default());
        for _ in 0..2 {
            let event = told.recv().await;
            assert!(matches!(event, Some(Event::UnderWay { in_flight: 0, late: 0 })), "{event:?}");
        }
        drop(telling);
        while told.recv().await.is_some() {}
    }
}

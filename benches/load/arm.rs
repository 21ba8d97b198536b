//! Those who send, and how much.

use spangate_benches::command::Failure;

use crate::{
    generator::{CLIENT, ENGINE, Order, Sent, Target},
    measure::{self, Run},
    peers::{Peer, Tool},
    role,
};

/// One who sends.
#[derive(Debug, Clone)]
pub(crate) enum Arm {
    /// The whole engine, with so much planned: a share of the rate that h2load reaches.
    Engine(f64),
    Client,
    Peer(Tool),
}

/// Requests in a round against a server, which takes each arm a second or more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    spangate: u64,
    h2load: u64,
    k6: u64,
    hey: u64,
}

/// Rates of the engine, as shares of what h2load reaches.
pub(crate) const HALF: f64 = 0.5;
pub(crate) const HIGH: f64 = 0.8;
/// Nearly what the server can take: most streams are busy, and requests go out in groups as large as the others'. At
/// more than that, what is measured is the waiting of those that cannot be sent yet.
pub(crate) const FULL: f64 = 0.95;

pub(crate) const STUB: Sizes = Sizes { spangate: 100_000, h2load: 150_000, k6: 15_000, hey: 30_000 };
pub(crate) const APISERVER: Sizes = Sizes { spangate: 20_000, h2load: 20_000, k6: 5_000, hey: 8_000 };

/// Lets this program send in a process of its own.
pub(crate) fn generate(part: &str, order: &Order) -> Result<(Sent, f64), Failure> {
    let (output, cpu) = measure::run(&mut role(part, order)?)?;
    let sent: Sent = serde_json::from_str(&output)?;
    if sent.failed > 0 {
        return Err(format!("{} of {} requests failed", sent.failed, sent.requests).into());
    }
    Ok((sent, cpu))
}

// === impl Arm ===

impl Arm {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Engine(share) => format!("spangate at {:.0}%", share * 100.0),
            Self::Client => "spangate's client".to_owned(),
            Self::Peer(tool) => tool.peer.name().to_owned(),
        }
    }

    /// Sends a round's requests; what Spangate says more of it comes first.
    pub(crate) fn send(
        &self,
        target: &Target,
        sizes: &Sizes,
        capacity: f64,
    ) -> Result<(Option<Sent>, Run), Failure> {
        let order = |requests, rate| Order { target: target.clone(), requests, rate };
        let (part, order) = match self {
            Self::Peer(tool) => return Ok((None, tool.send(&order(sizes.of(tool.peer), 0.0))?)),
            Self::Engine(share) => (ENGINE, order(sizes.spangate, capacity * share)),
            Self::Client => (CLIENT, order(sizes.spangate, 0.0)),
        };
        let (sent, cpu) = generate(part, &order)?;
        let Sent { requests, seconds, p50, p99, .. } = sent;
        Ok((Some(sent), Run { requests, seconds, cpu, p50, p99 }))
    }
}

// === impl Sizes ===

impl Sizes {
    fn of(&self, peer: Peer) -> u64 {
        match peer {
            Peer::H2load => self.h2load,
            Peer::K6 => self.k6,
            Peer::Hey => self.hey,
        }
    }
}

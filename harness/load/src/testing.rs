//! Values that unit tests of this crate share.

use http::StatusCode;
use spangate_scenario::{
    model::{Arrivals, Identity, Load, MixEntry, Shape},
    units::{self, Rate},
};
use spangate_trace::UnixNanos;

use crate::{Arrival, Outcome, RequestRecord, Setting, Verb, request::Reply};

/// Two seconds of ten a second.
pub(crate) fn load(mix: Vec<MixEntry>) -> Load {
    Load {
        arrivals: Some(Arrivals::flat(
            Rate::per_second(10.0).unwrap(),
            Shape::Constant,
            units::Duration::from_secs(2),
        )),
        mix,
        namespace: "ns".to_owned(),
        objects: 4,
        max_in_flight: 100,
        timeout: units::Duration::from_secs(10),
        ..Load::default()
    }
}

pub(crate) fn setting() -> Setting {
    Setting::new(&load(Vec::new()), "test-run", 7)
}

pub(crate) fn arrival(number: u64) -> Arrival {
    Arrival { number, at: std::time::Duration::ZERO, stage: 0, entry: 0, choice: 0 }
}

pub(crate) fn reply(status: u16, body: &'static str) -> Reply {
    Reply { status: StatusCode::from_u16(status).unwrap(), body: body.into() }
}

pub(crate) fn record(outcome: Outcome) -> RequestRecord {
    RequestRecord {
        arrival: 0,
        step: 0,
        entry: 0,
        stage: 0,
        identity: Identity::admin(),
        sent: None,
        verb: Verb::Create,
        resource: "configmaps".into(),
        subresource: None,
        name: None,
        method: "POST".into(),
        target: "/".to_owned(),
        intended: UnixNanos(0),
        started: UnixNanos(0),
        ended: UnixNanos(0),
        outcome,
        audit_id: None,
        retry_after: None,
        received_bytes: 0,
    }
}

//! Receivers listen where they are told to.

use super::{Rewiring, Role};
use crate::{
    collector::{Section, tree},
    node::Node,
};

pub(super) fn rewire(rewiring: &mut Rewiring<'_, '_>) {
    for (key, id) in rewiring.ids(Section::Receivers) {
        let component = ["receivers", key.as_str()];
        let protocols = rewiring.get(component, &["protocols"]).and_then(Node::entries).unwrap_or_default();
        let protocols: Vec<String> = protocols.iter().map(|entry| entry.key.clone()).collect();
        for protocol in protocols {
            let role = match (id.kind(), protocol.as_str()) {
                ("otlp", "grpc") => Role::OtlpGrpc,
                ("otlp", "http") => Role::OtlpHttp,
                _ => Role::Receiver,
            };
            // A protocol that is named without a body has a default endpoint.
            rewiring.listen(component, &["protocols", &protocol, "endpoint"], role);
            // A path of a Unix socket was replaced by a port.
            if rewiring.get(component, &["protocols", &protocol, "transport"]).is_some() {
                rewiring.set(component, &["protocols", &protocol, "transport"], tree::plain("tcp"));
            }
        }
        if rewiring.get(component, &["endpoint"]).is_some() {
            rewiring.listen(component, &["endpoint"], Role::Receiver);
        }
    }
}

//! The pod network of clusters whose node image is ours: a link to each pod, and routes from node to node.
//!
//! kind lays its own by a daemon set whose image is in `kindest/node`. Here it is laid from outside, once kind is done: it
//! needs no pod, and no client that watches nodes while a scenario runs.

use std::{io::Write, net::IpAddr};

use serde_json::json;

use crate::docker::{Docker, DockerError};

/// What of the network is on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeNetwork {
    /// The node, which is its container's name too.
    node: String,
    /// The addresses of its pods (`spec.podCIDR`).
    pods: String,
    /// Its own address.
    address: IpAddr,
}

/// What kubectl is to print of the nodes, for [`NodeNetwork::parse`].
pub(super) const COLUMNS: &str = "custom-columns=NAME:.metadata.name,PODS:.spec.podCIDR,\
                                  ADDRESS:.status.addresses[?(@.type==\"InternalIP\")].address";

// === impl NodeNetwork ===

impl NodeNetwork {
    /// The nodes in what kubectl printed; `None` when one has no addresses for pods yet.
    pub(super) fn parse(text: &str) -> Option<Vec<Self>> {
        let node = |line: &str| {
            let mut words = line.split_whitespace();
            let (node, pods) = (words.next()?.to_owned(), words.next()?.to_owned());
            // Of a node with two families of addresses, the first is enough.
            let address = words.next()?.split(',').next()?.parse().ok()?;
            pods.contains('/').then_some(Self { node, pods, address })
        };
        text.lines().filter(|line| !line.trim().is_empty()).map(node).collect()
    }

    /// The configuration of containerd's network plugins on this node.
    fn conflist(&self) -> String {
        json!({
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "ptp",
                    "ipMasq": true,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": "/run/cni-addresses",
                        "ranges": [[{"subnet": self.pods}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ],
        })
        .to_string()
    }
}

/// Lays the network between all nodes of a cluster. Blocks.
pub(super) fn lay(docker: &Docker, nodes: &[NodeNetwork]) -> Result<(), DockerError> {
    for here in nodes {
        for there in nodes.iter().filter(|there| there.node != here.node) {
            let via = there.address.to_string();
            docker.run(["exec", &here.node, "ip", "route", "replace", &there.pods, "via", &via])?;
        }
        // Last, since the kubelet starts pods as soon as it is there.
        let write = "cat > /etc/cni/net.d/.new && mv /etc/cni/net.d/.new /etc/cni/net.d/10-pods.conflist";
        let conflist = here.conflist();
        docker
            .run_with(&["exec", "--interactive", &here.node, "sh", "-c", write], |out: &mut dyn Write| {
                out.write_all(conflist.as_bytes())
            })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_read_once_all_have_addresses_for_pods() {
        let text = "a   10.244.0.0/24   172.18.0.2\nb   10.244.1.0/24   172.18.0.3,fc00::3\n";
        let nodes = NodeNetwork::parse(text).unwrap();
        assert_eq!(nodes[1].address, IpAddr::from([172, 18, 0, 3]));
        let config: serde_json::Value = serde_json::from_str(&nodes[1].conflist()).unwrap();
        assert_eq!(config["plugins"][0]["ipam"]["ranges"][0][0]["subnet"], "10.244.1.0/24");
        assert_eq!(NodeNetwork::parse("a   <none>   172.18.0.2\n"), None);
    }
}

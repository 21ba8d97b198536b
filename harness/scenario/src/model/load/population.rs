//! Objects that exist before load starts.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Resource, Sizes};

/// What is made before load starts, and removed after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Population {
    /// Namespaces that the objects are spread over, in turn, 1 to 1000; the first is the load's `namespace`, the
    /// others have its name and a number from 2 on.
    pub namespaces: u32,
    /// Objects that are made at once, 1 to 1000.
    pub parallel: u32,
    /// Objects by resource, in place of the load's `objects`; one entry for each resource.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<PopulationEntry>,
}

/// Objects of one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PopulationEntry {
    /// What.
    pub resource: Resource,
    /// How many, over all namespaces; at most a million.
    pub count: u32,
    /// Size of the payload, where the resource has room for one.
    #[serde(default)]
    pub size: Sizes,
    /// Labels of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

// === impl Population ===

impl Default for Population {
    fn default() -> Self {
        Self { namespaces: 1, parallel: 64, objects: Vec::new() }
    }
}

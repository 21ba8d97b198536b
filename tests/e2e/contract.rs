//! What kube-apiserver 1.37 says in its spans, held against what was sent to it.
//!
//! Spangate's verdicts rest on names, attributes, trees and rules that no API promises. Every one of them is
//! proven here, on one run of every operation by every kind of caller; `docs/span-contract.md` names these
//! tests, so a release that changes one of them turns the line red that has to be written anew.

use std::collections::BTreeSet;

mod callers;
mod observed;
mod operations;
mod refused;
mod requests;
mod spans;
mod status;
mod trees;
pub(crate) mod versions;

pub(crate) use observed::Observed;

/// The page that says what is proven here.
const PAGE: &str = include_str!("../../docs/span-contract.md");

/// The modules with tests, and their text.
const MODULES: [(&str, &str); 8] = [
    ("callers", include_str!("contract/callers.rs")),
    ("operations", include_str!("contract/operations.rs")),
    ("refused", include_str!("contract/refused.rs")),
    ("requests", include_str!("contract/requests.rs")),
    ("spans", include_str!("contract/spans.rs")),
    ("status", include_str!("contract/status.rs")),
    ("trees", include_str!("contract/trees.rs")),
    ("versions", include_str!("contract/versions.rs")),
];

/// Scenario: the page is read beside the tests.
/// Guarantees: every test that it names exists, and it names every one of them.
#[test]
fn the_page_names_every_test() {
    let mut tests = BTreeSet::new();
    for (module, text) in MODULES {
        let names = text.split("#[test]\nfn ").skip(1).filter_map(|test| test.split('(').next());
        tests.extend(names.map(|name| format!("{module}::{name}")));
    }
    let code = PAGE.split('`').skip(1).step_by(2);
    let of_a_module =
        |code: &&str| MODULES.iter().any(|(module, _)| code.starts_with(&format!("{module}::")));
    let named: BTreeSet<String> = code.filter(of_a_module).map(str::to_owned).collect();
    assert_eq!(named, tests);
}

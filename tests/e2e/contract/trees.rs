//! The spans below a request: which, in which order, under which parent.

use std::collections::{BTreeMap, BTreeSet};

use spangate_load::{Outcome, RequestRecord};
use spangate_scenario::model::{Identity, TraceFlag};

use super::observed::{FILTERS, OBSERVED, Observed, is_api_server};

/// The trees of all operations, as they are known.
const TREES: &str = include_str!("trees.txt");

/// Scenario: a privileged caller with a sampled traceparent sends every operation.
/// Guarantees: each operation has one of the trees that `contract/trees.txt` lists for it, every operation in
/// that file was seen, and so was the first tree of each.
#[test]
fn every_operation_has_its_tree() {
    let observed = &*OBSERVED;
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for request in observed.sent(&Identity::admin(), TraceFlag::Sampled) {
        let tree = tree(observed, observed.server(request));
        seen.entry(operation(request)).or_default().insert(tree);
    }
    let known = known();
    let mut problems = Vec::new();
    for (operation, trees) in &seen {
        let known = known.get(operation.as_str()).map_or(&[][..], Vec::as_slice);
        let unknown = trees.iter().filter(|tree| !known.contains(&tree.as_str()));
        problems.extend(unknown.map(|tree| format!("new tree of {operation}:\n{tree}\n")));
    }
    for (operation, trees) in &known {
        if !seen.get(*operation).is_some_and(|seen| seen.contains(trees[0])) {
            problems.push(format!("never seen of {operation}:\n{}\n", trees[0]));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The trees of the file by operation, the usual one first.
fn known() -> BTreeMap<&'static str, Vec<&'static str>> {
    let blocks = TREES.split("\n\n").filter(|block| !block.starts_with('#'));
    let operations = blocks.map(|block| {
        let (operation, trees) = block.split_once('\n').expect("an operation and its trees");
        (operation, trees.trim_end().split("\nor\n").collect())
    });
    operations.collect()
}

/// What a request was, as far as its tree depends on it: `list configmaps continue limit 200`.
fn operation(request: &RequestRecord) -> String {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let mut words = vec![request.verb.to_string()];
    words.push(match (&*request.resource, &request.subresource) {
        ("", _) => path.to_owned(),
        (resource, Some(subresource)) => format!("{resource}/{subresource}"),
        (resource, None) => resource.to_owned(),
    });
    for parameter in query.split('&') {
        match parameter.split_once('=') {
            Some((key @ ("limit" | "continue"), _)) => words.push(key.to_owned()),
            Some(("resourceVersion", _)) => words.push(parameter.to_owned()),
            _ => {}
        }
    }
    words.push(match &request.outcome {
        Outcome::Status(status) => status.to_string(),
        other => format!("{other:?}"),
    });
    words.join(" ")
}

/// The API server's spans from a SERVER span down, one a line, without the filters where they are in order.
fn tree(observed: &Observed, server: usize) -> String {
    let mut inner = server;
    for filter in FILTERS {
        let mut children = observed.index.children(inner);
        match (children.next(), children.next()) {
            (Some(only), None) if &*observed.spans[only].name == filter => inner = only,
            _ => break,
        }
    }
    block(observed, &observed.spans[server].name, inner)
}

/// `name` and below it the children of `row`; what is there more than once is drawn once.
fn block(observed: &Observed, name: &str, row: usize) -> String {
    let mut children: Vec<(String, usize)> = Vec::new();
    for child in observed.index.children(row).filter(|child| is_api_server(&observed.spans[*child])) {
        let text = block(observed, &observed.spans[child].name, child);
        match children.iter_mut().find(|(known, _)| *known == text) {
            Some((_, count)) => *count += 1,
            None => children.push((text, 1)),
        }
    }
    let mut lines = vec![name.to_owned()];
    for (text, count) in children {
        let mark = if count > 1 { " (repeated)" } else { "" };
        let mut below = text.lines();
        lines.extend(below.next().map(|first| format!("  {first}{mark}")));
        lines.extend(below.map(|line| format!("  {line}")));
    }
    lines.join("\n")
}

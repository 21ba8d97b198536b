//! Whether a watcher sees an object: resource, namespace, and selectors as far as the scenario tells.

use std::{cmp::Ordering, collections::BTreeMap};

use spangate_load::{object, watchers::Member};
use spangate_scenario::model::Load;

use super::writes::Write;

/// What is known of an object's labels.
struct Labels<'a> {
    known: BTreeMap<&'a str, &'a str>,
    /// Whether there are no others.
    all: bool,
}

/// Whether `member` sees the object that was written; `None` when a selector decides by what the ledger does
/// not have.
pub(super) fn covers(member: &Member<'_>, write: &Write<'_>, load: &Load, run: &str) -> Option<bool> {
    let watchers = member.watchers;
    let here = member.namespace.as_ref().is_none_or(|namespace| namespace == write.namespace);
    if write.request.resource != watchers.resource.plural() || !here {
        return Some(false);
    }
    let labels =
        watchers.label_selector.as_deref().map(|selector| labels(write, load, run).matches(selector));
    let fields = watchers.field_selector.as_deref().map(|selector| fields(write, selector));
    all(labels.into_iter().chain(fields))
}

/// Whether all are so. What is not known matters only where nothing else decides.
fn all(answers: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut all = Some(true);
    for answer in answers {
        match answer {
            Some(true) => {}
            Some(false) => return answer,
            None => all = None,
        }
    }
    all
}

fn labels<'a>(write: &Write<'_>, load: &'a Load, run: &'a str) -> Labels<'a> {
    let mut known = BTreeMap::from([object::MANAGED_BY, (object::RUN_LABEL, run)]);
    let entry = load.entries().nth(write.request.entry);
    let made =
        entry.and_then(|entry| entry.create.as_ref().or(entry.post_delete.as_ref()).or(entry.apply.as_ref()));
    let (pooled, by_load) = (write.name.starts_with(object::POOL), write.name.starts_with(object::MADE));
    let mut pools = load.prepare.objects.iter();
    let mut pool =
        || pools.find(|pool| pool.resource.plural() == write.request.resource).map(|pool| &pool.labels);
    let own = if pooled { pool() } else { made.map(|create| &create.labels) };
    known.extend(own.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_str())));
    // What was made to be deleted has labels that only the preparation knows.
    Labels { known, all: pooled || by_load || made.is_some() }
}

/// Only names and namespaces are known of every object.
fn fields(write: &Write<'_>, selector: &str) -> Option<bool> {
    all(selector.split(',').map(|term| {
        let (equal, (field, wanted)) = match (term.split_once("!="), term.split_once("==")) {
            (Some(parts), _) => (false, parts),
            (None, Some(parts)) => (true, parts),
            (None, None) => (true, term.split_once('=')?),
        };
        let value = match field.trim() {
            "metadata.name" => &write.name,
            "metadata.namespace" => write.namespace,
            _ => return None,
        };
        Some((value == wanted.trim()) == equal)
    }))
}

// === impl Labels ===

impl Labels<'_> {
    /// As `k8s.io/apimachinery/pkg/labels` selects; the selector is one that validation let through.
    fn matches(&self, selector: &str) -> Option<bool> {
        all(terms(selector).map(|term| self.holds(term.trim())))
    }

    fn holds(&self, term: &str) -> Option<bool> {
        if let Some(absent) = term.strip_prefix('!') {
            return self.ask(absent, |value| value.is_none());
        }
        if let Some((head, values)) = term.split_once('(') {
            let (key, how) = head.trim().rsplit_once(char::is_whitespace)?;
            let mut values = values.trim_end_matches(')').split(',').map(str::trim);
            let is_in = |value: Option<&str>| value.is_some_and(|value| values.any(|one| one == value));
            return self.ask(key, is_in).map(|is_in| is_in == (how == "in"));
        }
        for (sign, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some((key, wanted)) = term.split_once(sign) {
                return self.ask(key, |value| (value == Some(wanted.trim())) == equal);
            }
        }
        for (sign, beyond) in [('>', Ordering::Greater), ('<', Ordering::Less)] {
            if let Some((key, limit)) = term.split_once(sign) {
                let limit: i64 = limit.trim().parse().ok()?;
                let number = |value: &str| value.parse::<i64>().ok();
                return self
                    .ask(key, |value| value.and_then(number).is_some_and(|n| n.cmp(&limit) == beyond));
            }
        }
        self.ask(term, |value| value.is_some())
    }

    /// What `test` says of a label's value, or of its absence; nothing when the label may be there.
    fn ask(&self, key: &str, test: impl FnOnce(Option<&str>) -> bool) -> Option<bool> {
        let value = self.known.get(key.trim()).copied();
        (value.is_some() || self.all).then(|| test(value))
    }
}

/// Splits at the commas that are not in parentheses.
fn terms(selector: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    selector.split(move |c| {
        inside = c == '(' || (inside && c != ')');
        c == ',' && !inside
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_selected_as_kubernetes_does() {
        let known = BTreeMap::from([("app", "web"), ("size", "5")]);
        let (whole, part) = (Labels { known: known.clone(), all: true }, Labels { known, all: false });
        for (selector, of_whole, of_part) in [
            ("app=web", Some(true), Some(true)),
            ("app == web, size!=4", Some(true), Some(true)),
            ("app!=web", Some(false), Some(false)),
            ("app in (db, web),size>4", Some(true), Some(true)),
            ("app notin (db, web)", Some(false), Some(false)),
            ("size<5", Some(false), Some(false)),
            ("app", Some(true), Some(true)),
            ("!app", Some(false), Some(false)),
            ("tier", Some(false), None),
            ("!tier", Some(true), None),
            ("tier!=back", Some(true), None),
            ("tier notin (back)", Some(true), None),
            ("tier in (back)", Some(false), None),
            ("tier=back,app=db", Some(false), Some(false)),
        ] {
            assert_eq!(whole.matches(selector), of_whole, "{selector}");
            assert_eq!(part.matches(selector), of_part, "{selector} of unknown labels");
        }
    }
}

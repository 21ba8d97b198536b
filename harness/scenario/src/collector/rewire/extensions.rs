//! Extensions that listen do so where they are told to, or are taken out.

use super::{ExtensionWiring, Rewiring, Role};
use crate::collector::{Id, Section, emit};

pub(super) fn rewire(rewiring: &mut Rewiring<'_, '_>) {
    for (key, id) in rewiring.ids(Section::Extensions) {
        let component = ["extensions", key.as_str()];
        let role = match id.kind() {
            "health_check" | "healthcheck" => Role::Health,
            "zpages" => Role::Zpages,
            "pprof" => Role::Pprof,
            _ => {
                rewiring.leave(component, &["endpoint"]);
                continue;
            }
        };
        match rewiring.wiring.extensions {
            // Each has a default port, so that it listens even without a body.
            ExtensionWiring::Keep => rewiring.listen(component, &["endpoint"], role),
            ExtensionWiring::Remove => remove(rewiring, component, &id),
        }
    }
}

fn remove(rewiring: &mut Rewiring<'_, '_>, component: [&str; 2], id: &Id) {
    rewiring.remove(component, &[]);
    let list = ["service", "extensions"];
    let Some(mut started) = rewiring.root.value_at(&list).cloned() else { return };
    let before = emit::inline(&started);
    started.remove_items(|item| item.text().and_then(|text| Id::parse(text).ok()).as_ref() == Some(id));
    let after = emit::inline(&started);
    rewiring.root.set(&list, started);
    rewiring.note(list, &[], Some(before), Some(after));
}

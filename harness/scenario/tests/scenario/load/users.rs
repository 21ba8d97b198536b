//! Mistakes of meaning in users and their sessions.

use super::{SENDING, fine, load, sessions};
use crate::support::{SHORT, advice, problems};

/// Problems of users with these keys, who draw from a mix.
#[track_caller]
fn users(keys: &str, messages: &[&str]) {
    load(&[&format!("users: {keys}"), "mix: [{list: {resource: configmaps}}]"], messages);
}

#[test]
fn users_come_and_go() {
    users("{count: <<0>>, for: 20s}", &["must be 1 to 100000, got 0"]);
    users("{count: <<100001>>, hatchRate: 1000000/s, for: 20s}", &["must be 1 to 100000, got 100001"]);
    users("{count: 1, for: <<0s>>}", &["must be longer than 0s"]);
    users("{count: 1, for: 20s, hatchRate: <<0/s>>}", &["must be greater than 0"]);
    users(
        "{count: 200, for: 20s, hatchRate: <<10/s>>}",
        &["200 users at 10/s are all there after 20s, and load ends after 20s"],
    );
    users(
        "<<{count: 1000, for: 20s}>>",
        &["1000 users at 10/s are all there after 100s, and load ends after 20s"],
    );
    users("{count: 1, for: 20s, thinkTime: {fixed: <<0s>>}}", &["a delay of 0s does nothing"]);
    users(
        "{count: 1, for: 20s, thinkTime: {uniform: <<{min: 2s, max: 1s}>>}}",
        &["`min` (2s) is greater than `max` (1s)"],
    );
}

#[test]
fn sessions_have_names_steps_and_weights() {
    let steps = "steps: [{get: {resource: pods}}]";
    sessions(&format!("[{{name: <<A>>, {steps}}}]"), &["`A` is not a DNS label"]);
    sessions(
        &format!("[{{name: a, {steps}}}, {{name: <<a>>, {steps}}}]"),
        &["another session is called `a` too"],
    );
    sessions("[{name: a, steps: <<[]>>}]", &["must have at least one step"]);
    sessions(
        &format!("<<[{{name: a, weight: 0, {steps}}}]>>"),
        &["no session is ever chosen: all weights are 0"],
    );
    sessions(
        &format!("[{{name: a, thinkTime: {{exponential: {{mean: <<0s>>}}}}, {steps}}}]"),
        &["a delay of 0s does nothing"],
    );
    sessions(
        "[{name: a, steps: [{weight: <<2>>, get: {resource: pods}}]}]",
        &["the steps of a session come in order, each once"],
    );
}

#[test]
fn a_session_deletes_what_it_made() {
    let nothing = |plural: &str| format!("the session has no {plural} to delete here");
    let configmaps = nothing("configmaps");
    sessions("[{name: a, steps: [{delete: <<{resource: configmaps}>>}]}]", &[&configmaps]);
    // Made afterwards, made of another resource, made under a name that is not the session's, deleted before.
    for before in [
        "",
        "{create: {resource: secrets}}, ",
        "{postDelete: {resource: configmaps}}, {kubectl: [create configmap]}, {update: {resource: configmaps}}, ",
        "{create: {resource: configmaps}}, {delete: {resource: configmaps}}, ",
    ] {
        let steps =
            format!("{before}{{delete: <<{{resource: configmaps}}>>}}, {{create: {{resource: configmaps}}}}");
        sessions(&format!("[{{name: a, steps: [{steps}]}}]"), &[&configmaps]);
    }
    // What another session made is another user's.
    sessions(
        "[{name: a, steps: [{create: {resource: pods}}]}, {name: b, steps: [{delete: <<{resource: pods}>>}]}]",
        &[&nothing("pods")],
    );
    let text = |steps: &str| {
        SHORT.replace(
            SENDING,
            &format!("users: {{count: 1, for: 9s, sessions: [{{name: a, steps: [{steps}]}}]}}"),
        )
    };
    let wrong = text("{get: {resource: pods}}, {delete: {resource: pods}}");
    assert_eq!(advice(&wrong), "put a `create` or an `apply` of pods before each `delete`");
    assert_eq!(
        problems(&wrong).problems()[0].path().to_string(),
        "spec.load.users.sessions[0].steps[1].delete"
    );
    fine(&text(
        "{create: {resource: pods}}, {apply: {resource: pods}}, {get: {resource: pods}}, {delete: {resource: pods}}, \
         {delete: {resource: pods}}",
    ));
    // What cannot be read may have made it.
    sessions(
        "[{name: a, steps: [{create: {resource: <<pod>>}}, {delete: {resource: pods}}]}]",
        &["unknown value `pod`"],
    );
}

#[test]
fn users_have_no_collections() {
    sessions(
        "[{name: a, steps: [{create: {resource: pods}}, {deleteCollection: <<{resource: pods}>>}]}]",
        &["users have no collections to delete"],
    );
}

#[test]
fn users_who_draw_delete_only_what_they_make() {
    let nothing = "users who draw from a mix have nothing to delete";
    let mix = "mix: [{delete: <<{resource: pods}>>}, {deleteCollection: <<{resource: pods}>>}, {postDelete: {resource: pods}}]";
    load(&["users: {count: 1, for: 20s}", mix], &[nothing, nothing]);
    let entry = "mix: [{delete: {resource: pods}}]";
    let text = SHORT.replace(SENDING, &format!("users: {{count: 1, for: 20s}}\n    {entry}"));
    assert_eq!(
        advice(&text),
        "use `postDelete`, or give users a session in which `create` comes before `delete`"
    );
    assert_eq!(problems(&text).problems()[0].path().to_string(), "spec.load.mix[0].delete");
    // Arrivals have something made for each of theirs.
    fine(&SHORT.replace(SENDING, &format!("arrivals: {{rate: 10/s, for: 20s}}\n    {entry}")));
}

//! Mistakes of meaning in the load, and in what is expected of it.

use spangate_scenario::{model::Resource, parse};

use crate::support::{SHORT, advice, assert_problems, expect, problems, replaced, with_faults_and_mix};

mod users;

/// The source and the mix of the short scenario.
const SENDING: &str = "arrivals: {rate: 10/s, for: 20s}\n    mix: [{list: {resource: configmaps}}]";

/// Problems of the short scenario with these lines in place of its source and its mix.
#[track_caller]
fn load(lines: &[&str], messages: &[&str]) {
    replaced(SENDING, &lines.join("\n    "), messages);
}

/// Problems of the short scenario with these keys of the load besides its own.
#[track_caller]
fn with(keys: &str, messages: &[&str]) {
    replaced("  load:", &format!("  load:\n    {keys}"), messages);
}

/// Problems of the short scenario with these arrivals.
#[track_caller]
fn arrivals(arrivals: &str, messages: &[&str]) {
    replaced("{rate: 10/s, for: 20s}", arrivals, messages);
}

/// Problems of a stage with these keys besides its length.
#[track_caller]
fn stage(keys: &str, messages: &[&str]) {
    arrivals(&format!("{{stages: [{{for: 10s, {keys}}}]}}"), messages);
}

#[track_caller]
fn mix(entry: &str, messages: &[&str]) {
    replaced("{list: {resource: configmaps}}", entry, messages);
}

/// Problems of users who have these sessions.
#[track_caller]
fn sessions(sessions: &str, messages: &[&str]) {
    load(&[&format!("users: {{count: 1, for: 20s, sessions: {sessions}}}")], messages);
}

#[track_caller]
fn replay(keys: &str, messages: &[&str]) {
    load(&[&format!("replay: {keys}")], messages);
}

/// The text of a scenario with these lines in place of the source and the mix, and with this expectation.
fn expecting(lines: &[&str], yaml: &str) -> String {
    let scenario = SHORT.replace(SENDING, &lines.join("\n    "));
    format!("{scenario}  expect:\n    - {yaml}\n")
}

#[track_caller]
fn fine(text: &str) {
    parse("fine", text).unwrap_or_else(|found| panic!("{:?}\n{text}", found.problems()));
}

#[test]
fn a_load_has_one_source() {
    let text = SHORT.replace("  load:", "  <<load>>:").replace(SENDING, "objects: 5");
    assert_problems(&text, &["has no source of operations"]);
    assert_eq!(advice(&text), "give it one of `arrivals`, `users`, `replay`, `traces`");
    let text = SHORT.replace("  load:", "  <<load>>:\n    replay: {audit: a.log}");
    assert_problems(&text, &["has more than one source of operations: `arrivals`, `replay`"]);
}

#[test]
fn loads_need_a_mix_unless_they_have_something_else_to_do() {
    let stages = |mixes: [&str; 2]| {
        let [one, two] = mixes.map(|mix| format!("{{rate: 1/s, for: 20s{mix}}}"));
        format!("arrivals: {{stages: [{one}, {two}]}}")
    };
    let own = ", mix: [{get: {resource: pods}}]";
    let load_mix = "mix: [{list: {resource: pods}}]";
    let none = "have nothing to do: `mix` has no entry";
    load(&["arrivals: {rate: 1/s, for: 20s}", "mix: <<[]>>"], &[&format!("arrivals {none}")]);
    load(&[&stages([own, ""]), "mix: <<[]>>"], &[&format!("arrivals {none}")]);
    load(&["users: {count: 1, for: 20s}", "mix: <<[]>>"], &[&format!("users {none}")]);
    load(&[&stages([own, ", mix: <<[]>>"])], &["must have at least one entry"]);

    let used = "mix: <<[{list: {resource: pods}}]>>";
    load(&[&stages([own, own]), used], &["is never used: every stage has a `mix` of its own"]);
    load(
        &["users: {count: 1, for: 20s, sessions: [{name: a, steps: [{get: {resource: pods}}]}]}", used],
        &["is never used: users do the steps of their sessions"],
    );
    load(&["replay: {audit: a.log}", used], &["is never used: a replay sends what was recorded"]);

    fine(&expecting(&[&stages([own, own])], "load: {shed: 0}"));
    fine(&expecting(&[&stages([own, ""]), load_mix], "load: {shed: 0}"));
    fine(&expecting(&["replay: {ledger: requests.jsonl, speed: 2, for: 1m}"], "load: {skipped: 0}"));
}

#[test]
fn arrivals_have_a_rate_and_a_length() {
    replaced("10/s", "<<0/s>>", &["must be greater than 0"]);
    replaced("20s", "<<0>>", &["expected a duration such as 150ms, 1.5s or 1m30s, got the number `0`"]);
    replaced("20s", "<<0s>>", &["must be longer than 0s"]);
    arrivals("<<{}>>", &["does not say when operations start"]);
    arrivals("<<{shape: poisson}>>", &["does not say when operations start"]);
    arrivals("<<{rate: 1/s}>>", &["has a `rate`, but no `for`"]);
    arrivals("<<{for: 1m}>>", &["has a `for`, but no `rate`"]);
    arrivals(
        "<<{for: 1m, shape: poisson, stages: [{rate: 1/s, for: 1s}]}>>",
        &["has `stages`, and beside them `shape`, `for`"],
    );
}

#[test]
fn arrivals_are_neither_none_nor_endless() {
    arrivals("<<{rate: 1000000/s, for: 1h}>>", &["are 3600000000 arrivals, and 100000000 are the limit"]);
    let text = SHORT.replace("{rate: 10/s, for: 20s}", "{rate: 1000000/s, for: 1h}");
    assert_eq!(advice(&text), "lower the rate or the duration: each arrival is a line of the ledger");
    arrivals("<<{rate: 1/h, for: 1s}>>", &["are less than one arrival in 1s"]);
    arrivals(
        "<<{stages: [{rate: 1/h, for: 10s}, {ramp: {from: 0/s, to: 1/h}, for: 20s}]}>>",
        &["are less than one arrival in 30s"],
    );
    // A spike of 100 s at the highest rate is the limit, and one arrival more is over it.
    let spike = |base: &str| {
        format!("{{stages: [{{spike: {{base: {base}, peak: 1000000/s, width: 100s}}, for: 200s}}]}}")
    };
    fine(&SHORT.replace("{rate: 10/s, for: 20s}", &spike("0/s")));
    arrivals(&format!("<<{}>>", spike("0.01/s")), &["are 100000001 arrivals, and 100000000 are the limit"]);
}

#[test]
fn stages_have_one_rate() {
    arrivals("{stages: [<<{for: 10s}>>]}", &["has no rate"]);
    arrivals(
        "{stages: [<<{for: 10s, rate: 1/s, ramp: {from: 1/s, to: 2/s}}>>]}",
        &["has more than one rate: `rate`, `ramp`"],
    );
    arrivals("{stages: [{rate: 1/s, for: 10s}, {rate: 1/s, for: <<0s>>}]}", &["must be longer than 0s"]);
    let last = "{rate: 9/s, for: 1s}";
    arrivals(&format!("{{stages: [{{for: 10s, rate: <<0/s>>}}, {last}]}}"), &["must be greater than 0"]);
    let nothing = "`from` and `to` are both 0, so nothing arrives";
    stage("ramp: <<{from: 0/s, to: 0/s}>>", &[nothing]);
    stage("steps: <<{from: 0/s, to: 0/s, count: 2}>>", &[nothing]);
    stage("steps: {from: 1/s, to: 2/s, count: <<1>>}", &["must be 2 to 1000, got 1"]);
    stage("steps: {from: 1/s, to: 2/s, count: <<1001>>}", &["must be 2 to 1000, got 1001"]);
    stage("spike: <<{base: 2/s, peak: 2/s, width: 1s}>>", &["`peak` (2/s) is not above `base` (2/s)"]);
    stage("spike: {base: 1/s, peak: 2/s, width: <<0s>>}", &["must be longer than 0s"]);
    stage(
        "spike: {base: 1/s, peak: 2/s, width: <<10s>>}",
        &["the peak is 10s long, and the whole stage is 10s"],
    );
    for rate in [
        "ramp: {from: 0/s, to: 1/s}",
        "ramp: {from: 1/s, to: 0/s}",
        "steps: {from: 1/s, to: 0/s, count: 2}",
        "spike: {base: 0/s, peak: 1/s, width: 5s}",
    ] {
        fine(&SHORT.replace("{rate: 10/s, for: 20s}", &format!("{{stages: [{{for: 10s, {rate}}}]}}")));
    }
}

#[test]
fn rates_are_those_of_a_machine() {
    let most = "2000000/s is more than any machine can send";
    arrivals("{rate: <<2000000/s>>, for: 1s}", &[most]);
    for rate in [
        "rate: <<2000000/s>>",
        "ramp: {from: <<2000000/s>>, to: 0/s}",
        "ramp: {from: 0/s, to: <<2000000/s>>}",
        "steps: {from: 0/s, to: <<2000000/s>>, count: 2}",
        "spike: {base: 0/s, peak: <<2000000/s>>, width: 1s}",
    ] {
        stage(rate, &[most]);
        let text = SHORT.replace("{rate: 10/s, for: 20s}", &format!("{{stages: [{{for: 10s, {rate}}}]}}"));
        assert_eq!(advice(&text), "1000000/s is the limit, and some ten thousand a second are a lot");
    }
}

#[test]
fn stages_are_called_differently() {
    let stages = |names: [&str; 3]| {
        let stages = names.map(|name| format!("{{rate: 1/s, for: 10s{name}}}"));
        format!("{{stages: [{}]}}", stages.join(", "))
    };
    arrivals(&stages([", name: <<A b>>", "", ""]), &["`A b` is not a DNS label"]);
    arrivals(&stages([", name: a", "", ", name: <<a>>"]), &["another stage is called `a` too"]);
    arrivals(&stages([", name: <<stage-3>>", "", ""]), &["another stage is called `stage-3` too"]);
    arrivals(&stages(["", "", ", name: <<stage-2>>"]), &["another stage is called `stage-2` too"]);
    let text = SHORT.replace("{rate: 10/s, for: 20s}", &stages(["", "", ", name: stage-2"]));
    assert_eq!(advice(&text), "a stage without a name is called `stage-N`, counted from 1");
    let free = [", name: stage-1", ", name: stage-7", ", name: stage-03"];
    fine(&SHORT.replace("{rate: 10/s, for: 20s}", &stages(free)));
}

#[test]
fn replays_have_one_record_and_a_pace() {
    replay("<<{speed: 2}>>", &["has no record to replay"]);
    replay("<<{audit: a, ledger: b}>>", &["has more than one record to replay: `audit`, `ledger`"]);
    replay("{audit: <<\"\">>}", &["must not be empty"]);
    for speed in ["0", "-1", "1e999"] {
        replay(&format!("{{audit: a, speed: <<{speed}>>}}"), &["must be greater than 0"]);
    }
    replay("{audit: a, for: <<0s>>}", &["must be longer than 0s"]);
}

#[test]
fn lists_have_an_end() {
    let entry = "{list: {resource: configmaps}}";
    let entries = vec![entry; 1001].join(", ");
    let long = "has 1001 entries, and 1000 are the limit";
    replaced(&format!("[{entry}]"), &format!("<<[{entries}]>>"), &[long]);
    sessions(&format!("[{{name: a, steps: <<[{entries}]>>}}]"), &[long]);
    let stages = vec!["{rate: 1/s, for: 1s}"; 1001].join(", ");
    arrivals(&format!("{{stages: <<[{stages}]>>}}"), &[long]);
}

#[test]
fn settings_of_load() {
    let owned =
        |name: &str| format!("`{name}` belongs to the cluster, and the namespace is removed after the run");
    with("namespace: <<default>>", &[&owned("default")]);
    with("namespace: <<kube-system>>", &[&owned("kube-system")]);
    with("namespace: <<a/b>>", &["`a/b` is not a DNS label"]);
    let long = "a".repeat(60);
    with(
        &format!("namespace: <<{long}>>\n    prepare: {{namespaces: 100}}"),
        &[&format!("the last of the namespaces would be called `{long}-100`, which is too long")],
    );
    with("client: {connections: <<0>>}", &["must be at least 1"]);
    with("client: {streams: <<0>>}", &["must be at least 1"]);
    with("maxInFlight: <<0>>", &["must be at least 1"]);
    with("objects: <<1000001>>", &["must be at most 1000000, got 1000001"]);
    with("timeout: <<0s>>", &["must be longer than 0s"]);
    fine(&SHORT.replace("  load:", "  load:\n    client: {protocol: http1, streams: 250}"));
}

#[test]
fn entries_of_the_mix() {
    replaced(
        "[{list: {resource: configmaps}}]",
        "<<[]>>",
        &["arrivals have nothing to do: `mix` has no entry"],
    );
    mix("<<{weight: 2}>>", &["has no operation"]);
    mix(
        "<<{get: {resource: pods}, list: {resource: pods}}>>",
        &["has more than one operation: `get`, `list`"],
    );
    replaced(
        "[{list: {resource: configmaps}}]",
        "<<[{weight: 0, list: {resource: pods}}]>>",
        &["no entry is ever chosen: all weights are 0"],
    );
    mix(
        "{create: {resource: pods, labels: {a b: <<c>>, d: <<e f>>}}}",
        &["`a b` is not the key of a label", "`e f` is not the value of a label"],
    );
    mix("{list: {resource: pods, limit: <<0>>}}", &["must be at least 1, or left out"]);
    mix("{list: {resource: pods, labelSelector: <<\"a in (\">>}}", &["a `(` has no `)` after it"]);
    mix("{watchList: {resource: pods, labelSelector: <<\"a in (\">>}}", &["a `(` has no `)` after it"]);
    mix("{watch: {resource: pods, for: <<0s>>}}", &["must be longer than 0s"]);
    mix(
        "{patch: {resource: widgets, type: <<strategic>>}}",
        &["the API server takes no strategic merge patches of custom resources"],
    );
    mix(
        "{put: {resource: <<widgets>>}}, {put: {resource: pods}}, {update: {resource: widgets}}",
        &["the API server replaces no custom resource without its version"],
    );
    let text = SHORT.replace("list: {resource: configmaps}", "put: {resource: widgets}");
    assert_eq!(advice(&text), "use `update`, which reads the version first");
}

/// What holds for an entry holds wherever one stands.
#[test]
fn entries_of_stages_and_sessions() {
    stage_mix("<<{weight: 2}>>", &["has no operation"]);
    stage_mix("{as: <<nobody>>, get: {resource: pods}}", &["there is no identity `nobody`"]);
    stage_mix("{kubectl: [<<scale>>]}", &["there is no deployment to scale yet"]);
    load(
        &["arrivals: {stages: [{rate: 1/s, for: 20s, mix: <<[{weight: 0, get: {resource: pods}}]>>}]}"],
        &["no entry is ever chosen: all weights are 0"],
    );
    sessions("[{name: a, steps: [{get: {resource: pods}}, <<{}>>]}]", &["has no operation"]);
    sessions(
        "[{name: a, steps: [{update: {resource: pods, objects: <<11>>}}]}]",
        &["only 10 objects exist before load starts (`load.objects`)"],
    );
    let text = SHORT.replace(SENDING, "users: {count: 1, for: 9s, sessions: [{name: a, steps: [{}]}]}");
    assert_eq!(problems(&text).problems()[0].path().to_string(), "spec.load.users.sessions[0].steps[0]");
}

/// Problems of a stage with this entry in its own mix.
#[track_caller]
fn stage_mix(entry: &str, messages: &[&str]) {
    load(&[&format!("arrivals: {{stages: [{{rate: 1/s, for: 20s, mix: [{entry}]}}]}}")], messages);
}

#[test]
fn sizes_of_payloads() {
    let too_much = |resource: Resource, size: &str| {
        let (limit, place) = (resource.payload_limit(), resource.payload_place());
        format!("{size} are too much: {} hold at most {limit} in their {place}", resource.plural())
    };
    let sized = |operation: &str, resource: &str, size: &str, messages: &[&str]| {
        mix(&format!("{{{operation}: {{resource: {resource}, size: {size}}}}}"), messages);
    };
    sized(
        "create",
        "configmaps",
        "<<2MiB>>",
        &["2MiB are too much: configmaps hold at most 1MiB in their data"],
    );
    sized("apply", "pods", "<<1MiB>>", &["1MiB are too much: pods hold at most 256KiB in their annotations"]);
    sized("postDelete", "widgets", "<<2MiB>>", &[&too_much(Resource::Widgets, "2MiB")]);
    sized("put", "secrets", "<<2MiB>>", &[&too_much(Resource::Secrets, "2MiB")]);
    sized(
        "create",
        "events",
        "{uniform: {min: 1, max: <<257KiB>>}}",
        &[&too_much(Resource::Events, "257KiB")],
    );
    sized(
        "create",
        "events",
        "{logNormal: {median: 1, p99: <<257KiB>>}}",
        &[&too_much(Resource::Events, "257KiB")],
    );
    sized(
        "create",
        "pods",
        "{uniform: <<{min: 2KiB, max: 1KiB}>>}",
        &["`min` (2KiB) is greater than `max` (1KiB)"],
    );
    sized("create", "pods", "{logNormal: {median: <<0>>, p99: 9}}", &["must be at least 1"]);
    sized(
        "create",
        "pods",
        "{logNormal: <<{median: 1KiB, p99: 1KiB}>>}",
        &["`median` (1KiB) is not less than `p99` (1KiB)"],
    );
    mix(
        "{create: {resource: pods, size: {uniform: {min: 1, max: 1}}}}, {get: <<{}>>}",
        &["the key `resource` is missing"],
    );
}

/// A size is a plain one or one of the distributions, and what is neither is told as that.
#[test]
fn forms_of_sizes() {
    let size = |size: &str, messages: &[&str]| {
        mix(&format!("{{create: {{resource: pods, size: {size}}}}}"), messages);
    };
    size("<<big>>", &["expected a size such as 500, 2KiB or 1MiB, got \"big\""]);
    size(
        "<<true>>",
        &[
            "expected a size such as 500, 2KiB or 1MiB, or a mapping with one of uniform, logNormal, got the truth value `true`",
        ],
    );
    size("<<{}>>", &["expected exactly one of uniform, logNormal"]);
    size(
        "<<{uniform: {min: 1, max: 2}, logNormal: {median: 1, p99: 2}}>>",
        &["expected exactly one of uniform, logNormal"],
    );
    size("<<{unifrom: {min: 1, max: 2}}>>", &["unknown key `unifrom`"]);
    size("{uniform: <<{}>>}", &["the keys `min`, `max` are missing"]);
    size(
        "{uniform: {min: <<a>>, max: <<b>>}}",
        &[
            "expected a size such as 500, 2KiB or 1MiB, got \"a\"",
            "expected a size such as 500, 2KiB or 1MiB, got \"b\"",
        ],
    );
    size("{logNormal: {median: 1, <<p98>>: 2, p99: 3}}", &["unknown key `p98`"]);
}

#[test]
fn operations_on_prepared_objects() {
    let only = "only 10 objects exist before load starts (`load.objects`)";
    for operation in ["update", "put", "patch"] {
        mix(&format!("{{{operation}: {{resource: pods, objects: <<11>>}}}}"), &[only]);
        mix(&format!("{{{operation}: {{resource: pods, objects: <<0>>}}}}"), &["must be at least 1"]);
    }
    let prepared = |setting: &str, entry: &str, messages: &[&str]| {
        load(&["arrivals: {rate: 10/s, for: 20s}", setting, &format!("mix: [{entry}]")], messages);
    };
    let population = "prepare: {objects: [{resource: pods, count: 3}, {resource: secrets, count: 0}]}";
    prepared(
        population,
        "{put: {resource: pods, objects: <<4>>}}, {put: {resource: events, objects: 4}}",
        &["only 3 objects exist before load starts (`load.prepare`)"],
    );
    prepared(
        population,
        "{get: <<{resource: secrets}>>}",
        &["works on secrets that exist before load starts, and there are none (`load.prepare`)"],
    );
    for operation in ["get", "update", "put", "patch"] {
        prepared(
            "objects: 0",
            &format!("{{{operation}: <<{{resource: pods}}>>}}"),
            &["works on pods that exist before load starts, and there are none (`load.objects`)"],
        );
    }
    // What cannot be read may have been enough.
    prepared(
        "prepare: {objects: [{resource: pods, count: <<many>>}]}",
        "{put: {resource: pods, objects: 11}}",
        &["expected a whole number from 0 to 4294967295, got `many`"],
    );
}

#[test]
fn steps_of_kubectl() {
    mix("{kubectl: <<[]>>}", &["must have at least one step"]);
    mix(
        "{kubectl: [<<delete>>, apply, delete, <<scale>>]}",
        &["there is nothing to delete yet", "there is no deployment to scale yet"],
    );
    mix("{kubectl: [create configmap, <<scale>>, delete]}", &["there is no deployment to scale yet"]);
}

#[test]
fn field_selectors() {
    let wrong = "configmaps cannot be selected by `status.phase`";
    let selector = "fieldSelector: <<status.phase=Running>>";
    for operation in ["list", "watchList"] {
        mix(&format!("{{{operation}: {{resource: configmaps, {selector}}}}}"), &[wrong]);
    }
    with(&format!("watchers: [{{count: 1, resource: configmaps, {selector}}}]"), &[wrong]);
    mix(
        "{list: {resource: pods, fieldSelector: <<metadata.name>>}}",
        &["`metadata.name` compares nothing: it has no `=` and no `!=`"],
    );
    let text = SHORT.replace("{resource: configmaps}", "{resource: pods, fieldSelector: spec.node=a}");
    assert_eq!(advice(&text), "did you mean `spec.nodeName`?");
}

#[test]
fn senders_are_known() {
    let none = "there is no identity `tennants`";
    let with_tenants = |lines: &str, messages: &[&str]| {
        with(&format!("identities: [{{name: tenants, serviceAccounts: 3}}]\n    {lines}"), messages);
    };
    with_tenants("watchers: [{count: 1, resource: pods, as: <<tennants>>}]", &[none]);
    with_tenants(
        "watchers: [{count: 1, resource: pods, as: tenants}]\n    objects: <<2000000>>",
        &["must be at most 1000000, got 2000000"],
    );
    mix("{as: <<tennants>>, get: {resource: pods}}", &[none]);
    expect("requests: {where: {as: <<tennants>>}, count: 1}", &[none]);
    let text = SHORT
        .replace("  load:", "  load:\n    identities: [{name: tenants, serviceAccounts: 3}]")
        .replace("{list:", "{as: tennants, list:");
    assert_eq!(advice(&text), "did you mean `tenants`?");
    assert_eq!(advice(&SHORT.replace("{list:", "{as: Admin, list:")), "did you mean `admin`?");
    // The one that is meant may be the one that cannot be read.
    with(
        "identities: [{name: tenants, serviceAccounts: <<x>>}]\n    watchers: [{count: 1, resource: pods, as: tenants}]",
        &["expected a whole number from 0 to 4294967295, got `x`"],
    );
}

#[test]
fn identities_are_somebody() {
    let identity = |identity: &str, messages: &[&str]| with(&format!("identities: [{identity}]"), messages);
    identity("{name: <<A>>, serviceAccounts: 1}", &["`A` is not a DNS label"]);
    for name in ["admin", "unprivileged"] {
        let message = format!("`{name}` is there without being named here");
        identity(&format!("{{name: <<{name}>>, serviceAccounts: 1}}"), &[&message]);
    }
    identity(
        "{name: a, serviceAccounts: 1}, {name: <<a>>, serviceAccounts: 1}",
        &["another identity is called `a` too"],
    );
    identity("<<{name: a}>>", &["has no kind of sender"]);
    identity(
        "<<{name: a, serviceAccounts: 1, impersonate: {user: b}}>>",
        &["has more than one kind of sender: `serviceAccounts`, `impersonate`"],
    );
    identity("{name: a, serviceAccounts: <<0>>}", &["must be 1 to 1000, got 0"]);
    identity("{name: a, serviceAccounts: <<1001>>}", &["must be 1 to 1000, got 1001"]);
    identity("{name: a, impersonate: {user: <<\" \">>}}", &["must not be empty"]);
    identity("{name: a, impersonate: {user: b, groups: [c, <<\"\">>]}}", &["must not be empty"]);
    identity(
        r#"{name: a, impersonate: {user: <<"b\r\nc: d">>}}"#,
        &["must not hold line ends and other control characters"],
    );
}

#[test]
fn populations_have_an_end() {
    let prepare = |keys: &str, messages: &[&str]| with(&format!("prepare: {{{keys}}}"), messages);
    prepare("namespaces: <<0>>", &["must be 1 to 1000, got 0"]);
    prepare("namespaces: <<1001>>", &["must be 1 to 1000, got 1001"]);
    prepare("parallel: <<0>>", &["must be 1 to 1000, got 0"]);
    prepare("parallel: <<1001>>", &["must be 1 to 1000, got 1001"]);
    prepare(
        "objects: [{resource: pods, count: 1}, {resource: <<pods>>, count: 2}]",
        &["another entry is about `pods` too"],
    );
    prepare("objects: [{resource: pods, count: <<1000001>>}]", &["must be at most 1000000, got 1000001"]);
    prepare(
        "objects: [{resource: pods, count: 1, size: <<1MiB>>}]",
        &["1MiB are too much: pods hold at most 256KiB in their annotations"],
    );
    prepare(
        "objects: [{resource: pods, count: 1, labels: {a: <<\"-\">>}}]",
        &["`-` is not the value of a label"],
    );
}

#[test]
fn watchers_are_told_apart() {
    let watchers = |watchers: &str, messages: &[&str]| with(&format!("watchers: [{watchers}]"), messages);
    watchers("{count: <<0>>, resource: pods}", &["must be 1 to 10000, got 0"]);
    watchers("{count: <<10001>>, resource: pods}", &["must be 1 to 10000, got 10001"]);
    watchers("{name: <<A>>, count: 1, resource: pods}", &["`A` is not a DNS label"]);
    watchers("{count: 1, resource: pods, labelSelector: <<a b>>}", &["`a b` is not the key of a label"]);
    for time in ["0s", "1.5s"] {
        let watcher = format!("{{count: 1, resource: pods, timeout: <<{time}>>}}");
        watchers(&watcher, &["must be one or more whole seconds"]);
    }
    let clash = "other watchers are called `pods` too";
    watchers("{count: 1, resource: pods}, <<{count: 2, resource: pods}>>", &[clash]);
    watchers("{count: 1, resource: pods}, {name: <<pods>>, count: 1, resource: events}", &[clash]);
    let text = SHORT.replace(
        "  load:",
        "  load:\n    watchers: [{count: 1, resource: pods}, {count: 2, resource: pods}]",
    );
    assert_eq!(advice(&text), "give each a `name` of its own; without one they are called as their resource");
}

#[test]
fn rules_that_end_the_load() {
    let abort = |rule: &str, messages: &[&str]| with(&format!("abortOn: [{rule}]"), messages);
    abort("<<{over: 5s}>>", &["never ends the load"]);
    abort("{errors: \"> 1%\", over: <<0s>>}", &["must be longer than 0s"]);
    abort("{latency: <<{}>>}", &["says nothing that must be true"]);
    abort(
        "{errors: <<\">= 0%\">>, achieved: <<\"> 100%\">>}",
        &["every value is within this bound, so load would end at once", "no value can be within this bound"],
    );
    abort(
        "{latency: {p99: <<\">= 0s\">>}}",
        &["every value is within this bound, so load would end at once"],
    );
    abort("{latency: {p99: <<1s>>}}", &["no measured time is exactly 1s"]);
    let exact = SHORT.replace("  load:", "  load:\n    abortOn: [{latency: {p99: 1s}}]");
    assert_eq!(advice(&exact), "did you mean `> 1s`?");
    abort("{errors: \"> 1%\", grace: <<20s>>}", &["the rule never counts: load ends after 20s"]);
    fine(&SHORT.replace("  load:", "  load:\n    abortOn: [{errors: \"> 1%\", grace: 19s}]"));
    let mix = "mix: [{list: {resource: pods}}]";
    load(
        &["users: {count: 1, for: 20s}", mix, "abortOn: [{achieved: <<\"< 90%\">>}]"],
        &["users wait for every answer, so nothing of what they do is planned"],
    );
}

#[test]
fn windows_lie_in_the_load() {
    let window = "requests: {where: {during: {from: 1s, to: <<21s>>}}, count: 1}";
    let after = "lies after the end of load, which is sent for 20s";
    let mix = "mix: [{list: {resource: pods}}]";
    for lines in [
        &["arrivals: {stages: [{rate: 1/s, for: 5s}, {rate: 2/s, for: 15s}]}", mix][..],
        &["users: {count: 1, for: 20s}", mix],
        &["replay: {audit: a.log, for: 20s}"],
    ] {
        assert_problems(&expecting(lines, window), &[after]);
    }
    // How long it is is up to the log.
    fine(&expecting(&["replay: {audit: a.log}"], &window.replace("<<", "").replace(">>", "")));
    // A stage that cannot be read may be long enough.
    assert_problems(
        &expecting(
            &["arrivals: {stages: [{rate: 1/s, for: <<5>>}, {rate: 2/s, for: 15s}]}", mix],
            "requests: {where: {during: {from: 1s, to: 21s}}, count: 1}",
        ),
        &["expected a duration such as 150ms, 1.5s or 1m30s, got the number `5`"],
    );
}

#[test]
fn writes_are_looked_for_in_all_of_the_load() {
    let rules = "[{operations: [CREATE], resources: [secrets]}]";
    let hook =
        |rules: &str| format!("    - webhook: {{name: a, type: mutating, answer: hold, rules: {rules}}}");
    let scenario = |rules: &str, lines: &str| {
        with_faults_and_mix(&hook(rules), "{list: {resource: configmaps}}").replace(SENDING, lines)
    };
    let create = "{create: {resource: secrets}}";
    let get = "{get: {resource: pods}}";
    let staged = |mix: &str| format!("arrivals: {{stages: [{{rate: 1/s, for: 9s, mix: [{mix}]}}]}}");
    let session = |weight: u8, step: &str| {
        let other = format!("{{name: other, steps: [{get}]}}");
        format!(
            "users: {{count: 1, for: 9s, sessions: [{{name: s, weight: {weight}, steps: [{step}]}}, {other}]}}"
        )
    };
    fine(&scenario(rules, &staged(create)));
    fine(&scenario(rules, &session(1, create)));
    fine(&scenario(rules, &session(1, "{postDelete: {resource: secrets}}")));
    // What a replay writes is not known.
    fine(&scenario(rules, "replay: {audit: a.log}"));
    let never = "the webhook is never called: load sends no write that it is for";
    let marked = format!("<<{rules}>>");
    for lines in [
        staged(get),
        staged(&format!("{{weight: 0, create: {{resource: secrets}}}}, {get}")),
        session(0, create),
        session(1, get),
    ] {
        assert_problems(&scenario(&marked, &lines), &[never]);
    }
    let text = scenario(rules, &staged("{put: {resource: secrets}}"));
    assert_eq!(advice(&text), "load sends `UPDATE secrets`");
}

#[test]
fn custom_resources_are_kept_below_their_group() {
    let fault = |prefix: &str| {
        let fault =
            format!("    - etcd: {{name: a, rpc: KV/Txn, keyPrefix: {prefix}, delay: {{fixed: 1s}}}}");
        with_faults_and_mix(&fault, "{create: {resource: widgets}}")
    };
    fine(&fault("/registry/load.spangate.dev/widgets/"));
    let text = fault("<</registry/widgets/x>>");
    assert_problems(&text, &["no key of the API server begins with `/registry/widgets/`"]);
    assert_eq!(advice(&text), "did you mean `/registry/load.spangate.dev/widgets/x`?");
}

#[test]
fn blame_takes_all_of_the_load_into_account() {
    let message = "`a` spares no request of a kind, so there is none to compare with";
    let blame = |lines: &str| {
        let fault = "    - etcd: {name: a, rpc: KV/Range, delay: {fixed: 1s}}";
        let scenario = with_faults_and_mix(fault, "{list: {resource: configmaps}}").replace(SENDING, lines);
        format!("{scenario}  expect:\n    - blame: {{fault: <<a>>}}\n")
    };
    let unmarked = |lines: &str| blame(lines).replace("<<", "").replace(">>", "");
    let staged = |entry: &str| format!("arrivals: {{stages: [{{rate: 1/s, for: 9s, mix: [{entry}]}}]}}");
    assert_problems(&blame(&staged("{get: {resource: pods}}")), &[message]);
    fine(&unmarked(&staged("{list: {resource: pods}}")));
    fine(&unmarked("replay: {audit: a.log}"));
    let watched =
        format!("{}\n    watchers: [{{count: 1, resource: pods}}]", staged("{get: {resource: pods}}"));
    fine(&unmarked(&watched));
}

#[test]
fn what_is_expected_of_the_load() {
    expect("load: <<{}>>", &["says nothing that must be true"]);
    expect("load: {startLag: <<{}>>}", &["says nothing that must be true"]);
    expect(
        "load: {achieved: <<\"<= 100%\">>, shed: <<\">= 0\">>, errors: <<\"< 0%\">>}",
        &[
            "every value is within this bound, so it checks nothing",
            "every value is within this bound, so it checks nothing",
            "no value can be within this bound",
        ],
    );
    expect("load: {startLag: {p99: <<1ms>>}}", &["no measured time is exactly 1ms"]);
    expect("load: {skipped: <<0>>}", &["only what a replay cannot send is skipped, and load is no replay"]);
    let users = &["users: {count: 1, for: 20s}", "mix: [{list: {resource: pods}}]"];
    let planned = "users wait for every answer, so nothing of what they do is planned";
    assert_problems(&expecting(users, "load: {achieved: <<\"> 90%\">>, shed: <<0>>}"), &[planned, planned]);
    fine(&expecting(users, "load: {errors: \"< 1%\", startLag: {p99: \"< 1ms\"}}"));
    fine(&expecting(&["replay: {audit: a.log}"], "load: {achieved: \"> 90%\", shed: 0, skipped: 0}"));
}

#[test]
fn what_is_expected_of_watchers() {
    let mix = "mix: [{list: {resource: pods}}]";
    let watchers = "watchers: [{name: all-pods, count: 1, resource: pods}, {count: 1, resource: events}]";
    let lines = &["arrivals: {rate: 1/s, for: 20s}", mix, watchers];
    assert_problems(&expecting(lines, "watchers: <<{name: events}>>"), &["says nothing that must be true"]);
    let text = expecting(lines, "watchers: {name: <<all-pod>>, missed: 0}");
    assert_problems(&text, &["no watchers are called `all-pod`"]);
    assert_eq!(advice(&text), "did you mean `all-pods`?");
    assert_problems(
        &expecting(lines, "watchers: {lag: {p99: <<0.5s>>}, missed: <<\">= 0\">>, reopened: <<\"< 0\">>}"),
        &[
            "no measured time is exactly 500ms",
            "every value is within this bound, so it checks nothing",
            "no value can be within this bound",
        ],
    );
    fine(&expecting(lines, "watchers: {name: events, missed: 0}"));
    let text = expecting(&lines[..2], "watchers: <<{missed: 0}>>");
    assert_problems(&text, &["load has no watchers"]);
    assert_eq!(advice(&text), "add some to `load.watchers`");
}

#[test]
fn filters_by_stage_and_session() {
    let filter = |stage: &str| format!("requests: {{where: {{stage: {stage}}}, count: 1}}");
    let mix = "mix: [{list: {resource: pods}}]";
    let stages = "arrivals: {stages: [{rate: 1/s, for: 5s}, {name: peak, rate: 2/s, for: 15s}]}";
    let none = |name: &str| format!("no stage and no session is called `{name}`");
    for name in ["stage-1", "peak"] {
        fine(&expecting(&[stages, mix], &filter(name)));
    }
    assert_problems(&expecting(&[stages, mix], &filter("<<peek>>")), &[&none("peek")]);
    assert_eq!(advice(&expecting(&[stages, mix], &filter("peek"))), "did you mean `peak`?");
    let session = "users: {count: 1, for: 9s, sessions: [{name: dev, steps: [{get: {resource: pods}}]}]}";
    fine(&expecting(&[session], &filter("dev")));
    assert_problems(&expecting(&[session], &filter("<<stage-1>>")), &[&none("stage-1")]);
    for lines in [
        &["arrivals: {rate: 1/s, for: 5s}", mix][..],
        &["users: {count: 1, for: 20s}", mix],
        &["replay: {audit: a.log}"],
    ] {
        fine(&expecting(lines, &filter("load")));
        let text = expecting(lines, &filter("<<stage-1>>"));
        assert_problems(&text, &[&none("stage-1")]);
        assert_eq!(advice(&text), "known here: `load`");
    }
}

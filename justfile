# The commands of the README and of CI, with short names.
set positional-arguments

# List the recipes.
default:
    @just --list

# Everything that CI runs.
ci:
    .ci/run

# Compile quickly, without tests.
check:
    cargo check --workspace --all-targets

# Format the code.
fmt:
    cargo fmt --all

# Lint as CI does.
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# The whole suite; the first run on a machine builds kube-apiserver.
test:
    cargo test

# The four leaf crates only: seconds, no control plane.
test-leaf:
    cargo test -p spangate-scenario -p spangate-trace -p spangate-sink -p spangate-inject -p spangate-load

# The tests on a real control plane only.
e2e *ARGS:
    cargo test -p spangate-tests --test e2e -- "$@"

# Every policy of the Collector whose decision is a function of the trace, against a real one.
prove-sampling TRACES="10000":
    SPANGATE_PROVE_TRACES={{TRACES}} cargo test --release -p spangate-tests --test e2e -- --nocapture prove_sampling

# The gate on overhead, on real API servers: equal ones, and ones that burn 10 % of CPU on purpose. An hour on a quiet machine.
prove-gate EQUAL="10" BURNT="5" MINUTES="120":
    SPANGATE_PROVE_GATE={{EQUAL}},{{BURNT}} SPANGATE_PROVE_MINUTES={{MINUTES}} cargo test --release -p spangate-tests --test e2e -- --ignored --nocapture the_gate_keeps_its_promises

# Whether 20 pairs of real API servers tell a burn of 2 % from none, and equal ones from nothing. Forty minutes on a quiet machine.
prove-resolution PERCENT="2":
    SPANGATE_PROVE_BURN={{PERCENT}} cargo test --release -p spangate-tests --test e2e -- --ignored --nocapture two_percent_are_resolved_with_twenty_pairs

# A scenario with Jaeger and Prometheus, which are built on the first run; needs Docker.
backends:
    SPANGATE_REQUIRE_KIND=1 cargo test -p spangate-tests --test e2e -- --ignored --nocapture jaeger_and_prometheus

# Run a scenario by its name.
scenario NAME *ARGS:
    cargo run --release -- run scenarios/{{NAME}}.yaml "${@:2}"

# Write the generated files again.
schemas:
    cargo build -p spangate
    target/debug/spangate schema scenario > schemas/scenario.schema.json
    target/debug/spangate schema experiment > schemas/experiment.schema.json
    target/debug/spangate schema gate-rules > schemas/gate-rules.schema.json
    target/debug/spangate schema overhead-rules > schemas/overhead-rules.schema.json
    target/debug/spangate schema report > schemas/report.schema.json
    target/debug/spangate schema reference > docs/scenario-reference.md

# What tracing costs an API server: off, 0, 1, 10 and 100 %, in at most 20 minutes.
bench *ARGS:
    cargo run --release -- bench overhead "$@"

# Configurations of a Collector against each other, by synthetic traces.
bench-collector *ARGS:
    cargo run --release -- bench collector "$@"

# All micro-benches.
benches *ARGS:
    cargo bench -p spangate-benches -- "$@"

# The sink: spans per CPU second, loss at a fixed rate, walk against full decode.
bench-sink *ARGS:
    cargo bench -p spangate-benches --bench sink -- "$@"

# The etcd proxy against a direct connection.
bench-proxy *ARGS:
    cargo bench -p spangate-benches --bench proxy -- "$@"

# The load generator beside others; parts: stub, start, memory (--long), apiserver.
bench-load *ARGS:
    cargo bench -p spangate-benches --bench load -- "$@"

# Synthetic traces: spans per CPU second of the sender, and how late it is at a fixed rate.
bench-synthetic *ARGS:
    cargo bench -p spangate-benches --bench synthetic -- "$@"

# What tracing adds to a request, in one API server.
bench-duet *ARGS:
    cargo run --release -- bench duet "$@"

# The API documentation.
docs:
    cargo doc --workspace --no-deps --open

# Licences, advisories and duplicates (needs cargo-deny).
deny:
    cargo deny check

# Fuzz a parser (needs cargo-fuzz and a nightly toolchain).
fuzz TARGET *ARGS:
    cargo +nightly fuzz run {{TARGET}} "${@:2}"

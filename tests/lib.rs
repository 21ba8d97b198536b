//! The tests are in `e2e/` and `integration/`; this package has no code of its own.

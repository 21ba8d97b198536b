//! The `spangate` command.
fn main() {}

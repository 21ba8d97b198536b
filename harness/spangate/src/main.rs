//! The `spangate` command: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    spangate::cli::main().into()
}

//! How a bench is started: `cargo bench --bench NAME -- [PART]...`, much as benches of criterion are.

use std::{
    env,
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

/// Whatever kept a bench from measuring.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The command line of a bench.
#[derive(Debug, Clone)]
pub struct Command {
    measure: bool,
    parts: Vec<String>,
}

/// Runs a bench and says why when it cannot measure.
pub fn run(bench: impl FnOnce(&Command) -> Result<(), Failure>) -> ExitCode {
    match bench(&Command::new(env::args().skip(1))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let mut text = format!("error: {failure}");
            let mut source = failure.source();
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            // Without a terminal to tell it to, the exit code has to do.
            let _ = writeln!(io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

// === impl Command ===

impl Command {
    /// Reads the arguments; those that are none of ours are criterion's.
    pub fn new(args: impl IntoIterator<Item = String>) -> Self {
        let args: Vec<_> = args.into_iter().collect();
        Self {
            // Cargo adds it for `cargo bench`; `cargo test --benches` is to see only that benches start.
            measure: args.iter().any(|arg| arg == "--bench"),
            // What stands after an option may be its value.
            parts: args.iter().take_while(|arg| !arg.starts_with('-')).cloned().collect(),
        }
    }

    /// Whether this part is to be measured: all are, unless pieces of names were given.
    pub fn wants(&self, part: &str) -> bool {
        let named = || self.parts.iter().any(|wanted| part.contains(wanted.as_str()));
        self.measure && (self.parts.is_empty() || named())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(args: &[&str]) -> Command {
        Command::new(args.iter().map(|&arg| arg.to_owned()))
    }

    #[test]
    fn parts_are_named_first() {
        assert!(command(&["--bench"]).wants("loss"));
        assert!(command(&["loss", "--bench"]).wants("loss"));
        assert!(!command(&["walk", "--bench"]).wants("loss"));
        let two = command(&["walk", "loss", "--bench"]);
        assert!(two.wants("walk") && two.wants("loss") && !two.wants("rate"));
        assert!(command(&["--save-baseline", "main", "--bench"]).wants("loss"));
    }

    #[test]
    fn nothing_is_measured_in_a_test() {
        assert!(!command(&[]).wants("loss"));
    }
}

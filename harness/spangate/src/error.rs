//! What can keep a command from doing its work, and which exit code follows.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use miette::Diagnostic;

use crate::exit::Exit;

/// What kept a command from doing its work. A verdict is never an error.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    exit: Exit,
    message: String,
    help: Option<String>,
    directory: Option<PathBuf>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

// === impl CommandError ===

impl CommandError {
    /// The environment could not be had.
    pub fn environment(message: impl Into<String>) -> Self {
        Self::new(Exit::Environment, message)
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The user or the system ended the command.
    pub fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted: everything that was started has been ended")
    }

    /// A bug of ours.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Exit::Bug, message)
    }

    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), help: None, directory: None, source: None }
    }

    /// Adds what lies behind it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says before the message what it is about.
    #[must_use]
    pub fn about(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds what to do about it, unless that was said already or there is nothing to do.
    #[must_use]
    pub fn help_else(self, help: impl FnOnce() -> String) -> Self {
        if self.help.is_some() || self.exit == Exit::Interrupted { self } else { self.help(help()) }
    }

    /// Adds the directory of the run that it ended.
    #[must_use]
    pub fn in_directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// The directory of the run that it ended, if one was made.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The message with all that lies behind it, in one line.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        text
    }

    /// The exit code that follows.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl Diagnostic for CommandError {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }
}

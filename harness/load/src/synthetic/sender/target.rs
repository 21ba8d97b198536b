//! Where an OTLP receiver listens.

use std::{fmt, str::FromStr};

use crate::Endpoint;

/// Host and port of a receiver of OTLP/gRPC without TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Text that names no receiver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected the URL of an OTLP/gRPC receiver without TLS such as http://127.0.0.1:4317, got {0:?}")]
pub struct ParseTargetError(String);

// === impl Target ===

impl Target {
    /// The port that OTLP/gRPC is registered for.
    pub const PORT: u16 = 4317;
}

impl FromStr for Target {
    type Err = ParseTargetError;

    /// Reads `http://host[:port]` or `host:port`; the port is 4317 unless given.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = Endpoint::read(text, "http", Self::PORT);
        let Endpoint { host, port } = read.ok_or_else(|| ParseTargetError(text.to_owned()))?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for Target {
    /// As the authority of a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self.clone();
        Endpoint { host, port }.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_addresses_are_read() {
        for (text, shown) in [
            ("http://127.0.0.1:4317", "127.0.0.1:4317"),
            ("http://collector/", "collector:4317"),
            ("localhost:14317", "localhost:14317"),
            ("http://[::1]:4317", "[::1]:4317"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_receiver_is_refused() {
        for text in ["", "https://127.0.0.1:4317", "localhost", "http://a:1/v1/traces", "http://u@a:1"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}

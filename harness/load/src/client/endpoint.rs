//! Where the API server listens.

use std::{fmt, str::FromStr};

use http::Uri;

/// Host and port of an API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Text that names no HTTPS endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected the URL of an API server such as https://127.0.0.1:6443, got {0:?}")]
pub struct ParseEndpointError(String);

// === impl Endpoint ===

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    /// Reads `https://host[:port]` or `host:port`; the port is 443 unless given.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::read(text, "https", 443).ok_or_else(|| ParseEndpointError(text.to_owned()))
    }
}

impl Endpoint {
    /// Reads `<scheme>://host[:port]` or `host:port`; a URL without a port has `default`.
    pub(crate) fn read(text: &str, scheme: &str, default: u16) -> Option<Self> {
        let uri: Uri = text.trim().parse().ok()?;
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        if uri.scheme_str().is_some_and(|given| given != scheme) || !matches!(path, "" | "/") {
            return None;
        }
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let port = match authority.port_u16() {
            Some(port) => port,
            None if uri.scheme().is_some() && authority.as_str() == authority.host() => default,
            None => return None,
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { host, port })
    }
}

impl fmt::Display for Endpoint {
    /// As the authority of a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_addresses_are_read() {
        for (text, shown) in [
            ("https://127.0.0.1:6443", "127.0.0.1:6443"),
            ("https://api.example/", "api.example:443"),
            ("localhost:6443", "localhost:6443"),
            ("https://[::1]:6443", "[::1]:6443"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_https_endpoint_is_refused() {
        for text in
            ["", "http://127.0.0.1:8080", "localhost", "https://a:1/path", "https://u@a:1", "https://a:99999"]
        {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}

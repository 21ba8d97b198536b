//! Who a client is.

use std::{fmt, sync::Arc};

use http::{HeaderValue, header::InvalidHeaderValue};

use super::ClientError;

/// Who a client is, and how the API server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The user name that the API server takes it for.
    pub user: String,
    /// What proves it.
    pub credential: Credential,
}

/// What proves to the API server who a client is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A certificate whose common name is the user's.
    Certificate {
        /// The certificate and those between it and the server's CA, in PEM.
        certificate_pem: String,
        /// The private key, in PEM.
        key_pem: String,
    },
    /// A bearer token, sent with every request.
    Token(String),
    /// Nothing: each request brings a token of its own, or is anonymous.
    None,
}

// === impl ClientIdentity ===

impl ClientIdentity {
    /// `user`, by a certificate and its key in PEM.
    pub fn certificate(
        user: impl Into<String>,
        certificate_pem: impl Into<String>,
        key_pem: impl Into<String>,
    ) -> Self {
        let credential =
            Credential::Certificate { certificate_pem: certificate_pem.into(), key_pem: key_pem.into() };
        Self { user: user.into(), credential }
    }

    /// `user`, by a bearer token.
    pub fn token(user: impl Into<String>, token: impl Into<String>) -> Self {
        Self { user: user.into(), credential: Credential::Token(token.into()) }
    }

    /// Nobody, until a request says by a token of its own who sends it.
    pub fn none() -> Self {
        Self { user: "system:anonymous".to_owned(), credential: Credential::None }
    }

    /// The `authorization` header of every request.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, ClientError> {
        let Credential::Token(token) = &self.credential else { return Ok(None) };
        let failed = |source| ClientError::Header { user: self.user.clone(), source: Arc::new(source) };
        bearer(token).map(Some).map_err(failed)
    }
}

/// The value of the `authorization` header for `token`.
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    // The newline at the end of a token's file is no part of it.
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))?;
    // Keeps it out of the tables of HTTP/2's header compression, and out of debug output.
    value.set_sensitive(true);
    Ok(value)
}

// === impl Credential ===

impl fmt::Debug for Credential {
    /// Leaves secrets out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate { .. } => "Certificate",
            Self::Token(_) => "Token",
            Self::None => "None",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_becomes_a_header_and_stays_secret() {
        let identity = ClientIdentity::token("robot", "abc\n");
        let value = identity.authorization().unwrap().unwrap();
        assert_eq!((value.to_str().unwrap(), value.is_sensitive()), ("Bearer abc", true));
        assert!(!format!("{identity:?}").contains("abc"), "{identity:?}");
        assert_eq!(ClientIdentity::none().authorization().unwrap(), None);
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_refused() {
        let error = ClientIdentity::token("robot", "a\nb").authorization().unwrap_err();
        assert!(error.to_string().contains("robot"), "{error}");
    }
}

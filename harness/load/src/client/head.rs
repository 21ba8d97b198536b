//! The head of a request, as far as it is the same for all requests of a client.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{AUTHORIZATION, HOST, USER_AGENT},
    uri::{Authority, PathAndQuery, Scheme},
};
use spangate_scenario::model::Protocol;

use super::{ClientError, ClientIdentity, Endpoint};

/// The `user-agent` of every request, in the form of kubectl's.
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("kubectl/v1.37.2 (linux/amd64) spangate/", env!("CARGO_PKG_VERSION")));

/// Room for the headers of most requests, so that no map has to grow. A larger one would not come from the part of
/// the allocator that is fast.
const HEADERS: usize = 6;

/// What the heads of all requests share.
pub(super) struct Head {
    protocol: Protocol,
    authority: Authority,
    headers: Vec<(HeaderName, HeaderValue)>,
}

// === impl Head ===

impl Head {
    pub(super) fn new(
        endpoint: &Endpoint,
        identity: &ClientIdentity,
        protocol: Protocol,
    ) -> Result<Self, ClientError> {
        let host = || ClientError::Host(endpoint.host.clone());
        let authority = Authority::try_from(endpoint.to_string()).map_err(|_| host())?;
        let mut headers = vec![(USER_AGENT, AGENT)];
        headers.extend(identity.authorization()?.map(|value| (AUTHORIZATION, value)));
        if protocol == Protocol::Http1 {
            headers.push((HOST, HeaderValue::try_from(authority.as_str()).map_err(|_| host())?));
        }
        Ok(Self { protocol, authority, headers })
    }

    pub(super) fn request(
        &self,
        method: &Method,
        target: &str,
        body: Bytes,
    ) -> Result<Request<Bytes>, http::Error> {
        let mut request = Request::new(body);
        *request.method_mut() = method.clone();
        *request.uri_mut() = self.uri(PathAndQuery::try_from(target)?)?;
        *request.version_mut() = match self.protocol {
            Protocol::Http2 => Version::HTTP_2,
            Protocol::Http1 => Version::HTTP_11,
        };
        let mut headers = HeaderMap::with_capacity(HEADERS);
        headers.extend(self.headers.iter().cloned());
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// HTTP/2 says to whom a request goes beside the path, HTTP/1.1 in a header.
    fn uri(&self, target: PathAndQuery) -> Result<Uri, http::Error> {
        let mut parts = http::uri::Parts::default();
        if self.protocol == Protocol::Http2 {
            parts.scheme = Some(Scheme::HTTPS);
            parts.authority = Some(self.authority.clone());
        }
        parts.path_and_query = Some(target);
        Ok(Uri::from_parts(parts)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(protocol: Protocol) -> Request<Bytes> {
        let endpoint = "https://[::1]:6443".parse().unwrap();
        let head = Head::new(&endpoint, &ClientIdentity::token("robot", "abc"), protocol).unwrap();
        head.request(&Method::GET, "/api/v1/pods?limit=5", Bytes::new()).unwrap()
    }

    #[test]
    fn each_protocol_says_in_its_own_way_to_whom_it_speaks() {
        let http2 = request(Protocol::Http2);
        assert_eq!(http2.uri(), "https://[::1]:6443/api/v1/pods?limit=5");
        assert!(!http2.headers().contains_key(HOST));
        let http1 = request(Protocol::Http1);
        assert_eq!(http1.uri(), "/api/v1/pods?limit=5");
        assert_eq!(http1.headers()[HOST], "[::1]:6443");
        for request in [http2, http1] {
            assert_eq!(request.headers()[AUTHORIZATION], "Bearer abc");
            assert!(request.headers()[USER_AGENT].to_str().unwrap().starts_with("kubectl/"));
        }
    }
}

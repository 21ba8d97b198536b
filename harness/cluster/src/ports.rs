//! Free ports on loopback.
//!
//! etcd and kube-apiserver must be told their ports, so one is asked of the kernel and given back. Another
//! process may take it in between; who starts a server tries again then.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

/// Distinct addresses on 127.0.0.1 whose ports were free a moment ago.
pub(crate) fn free<const N: usize>() -> io::Result<[SocketAddr; N]> {
    // All are held until all are known, so that no port is given twice.
    let listeners =
        (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<io::Result<Vec<_>>>()?;
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
    Ok(addresses.try_into().expect("N listeners have N addresses"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_distinct_and_free() {
        let [a, b] = free().unwrap();
        assert_ne!(a, b);
        assert!(TcpListener::bind(a).is_ok() && TcpListener::bind(b).is_ok());
    }
}

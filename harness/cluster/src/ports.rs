//! Free ports on loopback.
//!
//! etcd and kube-apiserver must be told their ports, so one is asked of the kernel and given back. Another
//! process may take it in between; who starts a server tries again then.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

/// Distinct addresses on 127.0.0.1 whose ports were free a moment ago.
///
/// # Panics
///
/// Never: as many addresses come as are asked for.
pub fn free<const N: usize>() -> io::Result<[SocketAddr; N]> {
    Ok(free_list(N)?.try_into().expect("N listeners have N addresses"))
}

/// As [`free`], for a number that is known only now.
pub fn free_list(count: usize) -> io::Result<Vec<SocketAddr>> {
    // All are held until all are known, so that no port is given twice.
    let listeners =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<io::Result<Vec<_>>>()?;
    listeners.iter().map(TcpListener::local_addr).collect()
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

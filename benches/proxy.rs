//! The etcd proxy against a direct connection, both to a real etcd.
//!
//! One client calls directly and through proxies in turns, each in an order of its own, so that whatever else
//! the machine does meets all alike. Each proxy runs on a thread of its own, as in a run: no task of the
//! client wakes one of its but through a socket. A proxy without faults shows what carrying costs; one with
//! armed faults for the same RPCs but other keys shows what looking costs. etcd syncs nothing to disk, so
//! that puts do not measure it.
//!
//! A bare TCP relay, on a thread like a proxy's, shows what it costs on this machine that anything stands
//! between, whatever it understands. So each proxy is compared with it too.
//!
//! Client, proxies and etcd share the machine. Where all its cores are busy, the CPU time that a proxied call
//! costs is missing elsewhere, and the ratio of throughputs says as much of the machine as of the proxy. So
//! that CPU time is shown beside it.
//!
//! The parts are `KV/Put` and `KV/Range`.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::{self, try_join_all};
use prost::Message;
use spangate_benches::{
    CpuWatch, Figure, Table, Target,
    command::{self, Failure},
    figures,
    grpc::{self, CallError, Client, Method},
};
use spangate_cluster::{Assets, AssetsEnv, Component, EtcdConfig, Lifetime, LocalEtcd, Wanted};
use spangate_inject::{EtcdProxy, EtcdProxyConfig, EtcdProxyHandle, Injection};
use spangate_scenario::{
    model::{BatchProcessor, Delay, EtcdFault, HeldSide},
    units::{self, Ratio},
};
use spangate_trace::{Clock, stats::SplitMix64};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::{
        mpsc::{self, UnboundedReceiver},
        oneshot,
    },
};

/// Calls one after the other, over each path.
const CALLS: usize = 4_000;
/// Calls before anything is measured.
const WARM_UP: usize = 500;
/// Calls under way at once when throughput is measured.
const STREAMS: usize = 64;
/// Windows of throughput over each path, and how long each is.
const WINDOWS: usize = 24;
const WINDOW: Duration = Duration::from_millis(400);

/// The names of the ways to etcd. All others are compared with the first, those after the second with it too.
const WAYS: [&str; 4] = ["direct", "bare TCP relay", "proxy", "proxy, fault on other keys"];

/// `etcdserverpb.RangeRequest`.
#[derive(Clone, PartialEq, Message)]
struct Range {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
}

/// `etcdserverpb.PutRequest`.
#[derive(Clone, PartialEq, Message)]
struct Put {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// etcd, and the ways to it; all end when this is dropped.
struct Servers {
    etcd: LocalEtcd,
    relay: TcpRelay,
    proxies: [EtcdProxyHandle; 2],
    ledger: UnboundedReceiver<Injection>,
    _dir: tempfile::TempDir,
}

/// Carries the bytes of every connection as they come, on a thread of its own, until it is dropped.
struct TcpRelay {
    addr: SocketAddr,
    _stop: oneshot::Sender<()>,
}

/// A way to etcd, and what is called on it.
struct Way {
    client: Client,
    method: Method,
}

/// The order of the ways, another one for each turn, from a fixed seed.
///
/// What a call leaves to be done, at the proxy and at etcd, is done while the next one is measured. In a
/// fixed order, or one that only rotates, the same way would pay for the same other one each time.
struct Order(SplitMix64);

/// What is called.
struct Call {
    name: &'static str,
    path: &'static str,
    message: Bytes,
}

fn main() -> ExitCode {
    command::run(|command| {
        let calls = calls().into_iter().filter(|call| command.wants(call.name)).collect::<Vec<_>>();
        if calls.is_empty() {
            return Ok(());
        }
        let servers_threads = Runtime::new()?;
        let mut servers = servers_threads.block_on(Servers::start())?;
        let client = Builder::new_current_thread().enable_all().build()?;
        for call in &calls {
            client.block_on(latency(call, &servers))?;
            client.block_on(throughput(call, &servers))?;
        }
        match servers.ledger.try_recv() {
            Ok(injection) => {
                Err(format!("a fault touched a call that it does not match: {injection:?}").into())
            }
            Err(_) => Ok(()),
        }
    })
}

/// Like an API server's: a key of a `ConfigMap`, 2 KiB of it.
fn calls() -> [Call; 2] {
    let key = Bytes::from_static(b"/registry/configmaps/spangate/load-00001");
    let put = Put { key: key.clone(), value: vec![b'x'; 2_048].into() };
    [
        // First, so that there is something to read.
        Call { name: "KV/Put", path: "/etcdserverpb.KV/Put", message: grpc::framed(&put.encode_to_vec()) },
        Call {
            name: "KV/Range",
            path: "/etcdserverpb.KV/Range",
            message: grpc::framed(&Range { key }.encode_to_vec()),
        },
    ]
}

async fn latency(call: &Call, servers: &Servers) -> Result<(), Failure> {
    let mut table = Table::begin(&format!("{} of 2 KiB, one call after the other, in turns", call.name))?;
    let ways = servers.ways(call).await?;
    let mut order = Order::new();
    let mut micros: [Vec<f64>; WAYS.len()] = Default::default();
    for turn in 0..WARM_UP + CALLS {
        for way in order.draw() {
            let began = Instant::now();
            ways[way].call(call).await?;
            if turn >= WARM_UP {
                micros[way].push(began.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    for (name, micros) in WAYS.iter().zip(&micros) {
        table.row(&Figure::median(*name, "us", micros))?;
    }
    let [direct, relayed, proxied @ ..] = &micros;
    let added = |name: &str, one: &[f64], other: &[f64]| {
        let added = figures::compare(one, other, |one, other| one - other);
        Figure::new(format!("added by {name}"), "us", added, one.len())
    };
    table.row(&added(WAYS[1], relayed, direct))?;
    for (name, proxied) in WAYS[2..].iter().zip(proxied) {
        table.row(&added(name, proxied, direct).target(Target::AtMost(80.0)))?;
        table.row(&added(&format!("{name}, over relay"), proxied, relayed))?;
    }
    Ok(())
}

async fn throughput(call: &Call, servers: &Servers) -> Result<(), Failure> {
    let title =
        format!("{} of 2 KiB, {STREAMS} streams on one connection, in turns of {WINDOW:?}", call.name);
    let mut table = Table::begin(&title)?;
    let ways = servers.ways(call).await?;
    let mut order = Order::new();
    let (mut rates, mut costs): ([Vec<f64>; WAYS.len()], [Vec<f64>; WAYS.len()]) = Default::default();
    for turn in 0..=WINDOWS {
        for way in order.draw() {
            let (rate, cost) = ways[way].saturate(call).await?;
            // The first turn warms up.
            if turn > 0 {
                rates[way].push(rate);
                costs[way].push(cost);
            }
        }
    }
    for (name, rates) in WAYS.iter().zip(&rates) {
        table.row(&Figure::median(*name, "calls/s", rates))?;
    }
    let [direct, relayed, proxied @ ..] = &rates;
    let share = |name: &str, one: &[f64], other: &[f64]| {
        let share = figures::compare(one, other, |one, other| one / other * 100.0);
        Figure::new(name, "%", share, one.len())
    };
    table.row(&share(&format!("{}, of direct", WAYS[1]), relayed, direct))?;
    for (name, proxied) in WAYS[2..].iter().zip(proxied) {
        let of_direct = share(&format!("{name}, of direct"), proxied, direct);
        table.row(&of_direct.target(Target::AtLeast(85.0)))?;
        table.row(&share(&format!("{name}, of relay"), proxied, relayed))?;
    }
    for (name, costs) in WAYS.iter().zip(&costs).skip(1) {
        table.row(&Figure::median(format!("CPU of {name}, a call"), "us", costs))?;
    }
    Ok(())
}

// === impl Order ===

impl Order {
    fn new() -> Self {
        Self(SplitMix64::new(7))
    }

    /// The order of the next turn: each is as likely as each other (Fisher and Yates).
    fn draw(&mut self) -> [usize; WAYS.len()] {
        let mut order = std::array::from_fn(|way| way);
        for end in (1..order.len()).rev() {
            order.swap(end, self.0.below(end + 1));
        }
        order
    }
}

// === impl Servers ===

impl Servers {
    async fn start() -> Result<Self, Failure> {
        let found = tokio::task::spawn_blocking(|| {
            let assets = Assets::new(AssetsEnv::from_process());
            let version =
                assets.catalogue().default_version(Component::Etcd).ok_or("there is no etcd to be had")?;
            let wanted = Wanted { component: Component::Etcd, spec: version.any_patch(), path: None };
            Ok::<_, Failure>(assets.ensure(&wanted, &())?)
        })
        .await??;
        let dir = tempfile::tempdir()?;
        let config = EtcdConfig {
            binary: found.path,
            version: found.version,
            dir: dir.path().to_owned(),
            tracing: None,
            batch: BatchProcessor::default(),
            lifetime: Lifetime::WithParent,
        };
        let etcd = LocalEtcd::start(&config, &()).await?;
        let (sender, ledger) = mpsc::unbounded_channel();
        let clock = Clock::new();
        let start = |faults| {
            EtcdProxy::start(EtcdProxyConfig {
                upstream: etcd.address().into(),
                tls: None,
                faults,
                seed: 7,
                clock,
                ledger: sender.clone(),
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            })
        };
        let proxies = [start(Vec::new()).await?, start(faults()).await?];
        for proxy in &proxies {
            proxy.arm(clock.now());
        }
        let relay = TcpRelay::start(etcd.address())?;
        Ok(Self { etcd, relay, proxies, ledger, _dir: dir })
    }

    /// The ways to etcd, in the order of [`WAYS`].
    async fn ways(&self, call: &Call) -> Result<Vec<Way>, CallError> {
        let [plain, with_faults] = &self.proxies;
        let addrs = [self.etcd.address(), self.relay.addr, plain.addr(), with_faults.addr()];
        try_join_all(addrs.map(async |addr| {
            let client = Client::connect(addr).await?;
            Ok(Way { method: client.method(call.path), client })
        }))
        .await
    }
}

/// A fault for each call, but for keys that nobody uses.
fn faults() -> Vec<EtcdFault> {
    let fault = |rpc: &str| EtcdFault {
        name: rpc.to_lowercase().replace('/', "-"),
        rpc: rpc.to_owned(),
        key_prefix: Some("/registry/deployments/".to_owned()),
        delay: Some(Delay::Fixed(units::Duration::from_secs(1))),
        hold: HeldSide::Request,
        status: None,
        share: Ratio::one(),
        during: None,
    };
    ["KV/Put", "KV/Range"].map(fault).into()
}

// === impl TcpRelay ===

impl TcpRelay {
    fn start(upstream: SocketAddr) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let listener = {
            let _there = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let accepting = async move {
            while let Ok((downstream, _)) = listener.accept().await {
                // When it breaks, the calls on it fail, and the bench with them.
                tokio::spawn(async move { drop(relay(downstream, upstream).await) });
            }
        };
        let (stop, stopped) = oneshot::channel();
        thread::Builder::new()
            .name("bench-relay".to_owned())
            .spawn(move || drop(runtime.block_on(future::select(pin!(accepting), stopped))))?;
        Ok(Self { addr, _stop: stop })
    }
}

async fn relay(mut downstream: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let mut upstream = TcpStream::connect(upstream).await?;
    downstream.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    copy_bidirectional(&mut downstream, &mut upstream).await.map(drop)
}

// === impl Way ===

impl Way {
    async fn call(&self, call: &Call) -> Result<(), CallError> {
        self.client.call(&self.method, call.message.clone()).await.map(drop)
    }

    /// Calls a second with all streams busy for a window, and the CPU time in microseconds that each call
    /// cost the other threads of this process, which are those of the proxies.
    async fn saturate(&self, call: &Call) -> Result<(f64, f64), CallError> {
        let (process, client, began) = (CpuWatch::of_process(), CpuWatch::of_thread(), Instant::now());
        let stream = || async {
            let mut calls = 0_u32;
            while began.elapsed() < WINDOW {
                self.call(call).await?;
                calls += 1;
            }
            Ok::<_, CallError>(calls)
        };
        let calls: u32 = try_join_all((0..STREAMS).map(|_| stream())).await?.iter().sum();
        let (took, others) = (began.elapsed(), process.elapsed().saturating_sub(client.elapsed()));
        Ok((f64::from(calls) / took.as_secs_f64(), others.as_secs_f64() * 1e6 / f64::from(calls)))
    }
}

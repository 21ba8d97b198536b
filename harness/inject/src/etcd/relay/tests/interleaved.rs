//! Frames of many calls in any order, with holds, resets, paddings and changing windows.

use proptest::prelude::*;
use spangate_trace::stats::SplitMix64;

use super::*;

/// What a call sends, and how it ends.
#[derive(Debug, Clone)]
struct Call {
    rpc: &'static str,
    /// Length of the first message, and of what comes after it, in bytes.
    request: (usize, usize),
    response: usize,
    /// One in so many chances to be reset is taken, by the client or by etcd.
    fickle: bool,
}

fn call() -> impl Strategy<Value = Call> {
    let rpc = prop::sample::select(vec![
        "KV/Put",
        "KV/Range",
        "KV/DeleteRange",
        "KV/Txn",
        "KV/Compact",
        "Watch/Watch",
    ]);
    let length = || prop_oneof![4 => 0_usize..300, 2 => 1_000_usize..30_000, 1 => 60_000_usize..120_000];
    (rpc, length(), 0_usize..3_000, length(), prop::bool::weighted(0.15)).prop_map(
        |(rpc, first, more, response, fickle)| Call { rpc, request: (first, more), response, fickle },
    )
}

fn window_size() -> impl Strategy<Value = i64> {
    prop_oneof![300_i64..2_000, 2_000_i64..20_000, Just(65_535_i64), 100_000_i64..1_000_000]
}

impl Call {
    fn up(&self, number: usize) -> Vec<u8> {
        let (first, more) = self.request;
        let message: Vec<u8> = (0..first).map(|at| byte(number, at)).collect();
        [&framed(0, &message)[..], &vec![9; more]].concat()
    }

    fn down(&self, number: usize) -> Vec<u8> {
        (0..self.response).map(|at| byte(number, at + 7)).collect()
    }
}

/// A byte that another place or call would not have.
fn byte(number: usize, at: usize) -> u8 {
    ((number * 31 + at) % 251).to_le_bytes()[0]
}

/// One end sends some more of a stream: its start, data, or its end.
fn send(peer: &mut Peer, id: u32, whole: &[u8], random: &mut SplitMix64, trailers: bool) {
    let end = &peer.streams[&id];
    if !end.can_send() {
        return;
    }
    let (sent, room) = (end.sent, peer.room(id));
    let length = (whole.len() - sent).min(room).min(1 + random.below(20_000));
    let last = sent + length == whole.len();
    if length == 0 && !last {
        return;
    }
    let padding = (random.below(4) == 0).then(|| random.below(256).to_le_bytes()[0]);
    peer.data(id, &whole[sent..sent + length], padding, last && !trailers);
    if last && trailers {
        peer.block(id, true, &[("grpc-status", "0")]);
    }
}

fn run(calls: &[Call], windows: [i64; 2], changes: &[i64], seed: u64) {
    let mut random = SplitMix64::new(seed);
    let mut between = Between::new(windows[0], windows[1]);
    let (mut begun, mut changes) = (0, changes.iter());
    let number = |id: u32| usize::try_from(id / 2).unwrap();
    let whole: Vec<_> =
        calls.iter().enumerate().map(|(number, call)| (call.up(number), call.down(number))).collect();
    // A last stretch in which everything is let go.
    let steps = 60 * calls.len() + 100;
    for step in 0.. {
        let ending = step > steps;
        match random.below(9) {
            0 if begun < calls.len() => {
                let id = u32::try_from(2 * begun + 1).unwrap();
                between.client.block(
                    id,
                    false,
                    &[(":path", &path(calls[begun].rpc)), ("x-call", &begun.to_string())],
                );
                begun += 1;
            }
            1 | 2 => {
                for id in pick(&between.client, ending, &mut random) {
                    send(&mut between.client, id, &whole[number(id)].0, &mut random, id.is_multiple_of(3));
                }
            }
            3 | 4 => {
                for id in pick(&between.etcd, ending, &mut random) {
                    let end = &between.etcd.streams[&id];
                    let call = end.header("x-call").unwrap().parse::<usize>().unwrap();
                    if end.can_send() {
                        send(&mut between.etcd, id, &whole[call].1, &mut random, true);
                    }
                }
            }
            5 => {
                for peer in [&mut between.client, &mut between.etcd] {
                    for id in std::iter::once(0).chain(pick(peer, ending, &mut random)) {
                        peer.grant(id);
                    }
                }
            }
            6 => {
                while !between.held.is_empty() {
                    let which = random.below(between.held.len());
                    between.release(which);
                    if !ending {
                        break;
                    }
                }
            }
            7 if !ending => {
                let fickle = pick(&between.client, false, &mut random);
                for id in fickle.into_iter().filter(|id| calls[number(*id)].fickle && random.below(3) == 0) {
                    let end = &between.client.streams[&id];
                    if end.reset.is_none() && !end.ended {
                        between.client.reset(id, 8);
                    }
                }
                if let Some(to) = changes.next() {
                    let peer = if to % 2 == 0 { &mut between.client } else { &mut between.etcd };
                    peer.change_initial(*to);
                }
            }
            _ => {}
        }
        for direction in [Direction::Up, Direction::Down] {
            if ending || random.below(2) == 0 {
                let most = if ending { usize::MAX } else { random.below(30_000) };
                between.give(direction, most);
            }
            if ending || random.below(2) == 0 {
                between.deliver(direction);
            }
        }
        let over =
            between.relay.streams.is_empty() && between.client.out.is_empty() && between.etcd.out.is_empty();
        if ending && begun == calls.len() && over {
            break;
        }
        assert!(
            step < steps + 30_000,
            "seed {seed}: calls do not end: {:?}",
            between.relay.streams.numbers()
        );
    }
    check(calls, &mut between);
}

/// All streams at the end, else one of them.
fn pick(peer: &Peer, all: bool, random: &mut SplitMix64) -> Vec<u32> {
    let ids: Vec<u32> = peer.streams.keys().copied().collect();
    if all || ids.is_empty() { ids } else { vec![ids[random.below(ids.len())]] }
}

fn check(calls: &[Call], between: &mut Between) {
    between.settle();
    for (number, call) in calls.iter().enumerate() {
        let id = u32::try_from(2 * number + 1).unwrap();
        let client = &between.client.streams[&id];
        let name = number.to_string();
        let etcd = between.etcd.streams.values().find(|end| end.header("x-call") == Some(&name));
        if call.rpc == "KV/DeleteRange" {
            assert!(etcd.is_none(), "etcd saw a call that was answered in its place");
            let answered = client.header("grpc-status") == Some("10");
            assert!(answered || matches!(client.reset, Some((8, true))));
            continue;
        }
        if let Some((code, mine)) = client.reset {
            assert!(mine, "reset with {code}");
            continue;
        }
        let etcd = etcd.unwrap();
        assert!(client.data == call.down(number), "the response of {number}");
        assert!(etcd.data == call.up(number), "the request of {number}");
        assert!(client.ended && etcd.ended);
        for block in client.blocks.iter().chain(&etcd.blocks) {
            assert!(block.contains(&("x-common".to_owned(), "same".to_owned())), "{block:?}");
        }
    }
    // Nothing of the connection's windows is lost.
    for peer in [&mut between.client, &mut between.etcd] {
        peer.grant(0);
    }
    between.settle();
    assert_eq!(
        [between.client.send, between.client.receive, between.etcd.send, between.etcd.receive],
        [65_535; 4]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 30, ..ProptestConfig::default() })]

    #[test]
    fn every_call_is_whole_and_no_window_is_overrun(
        calls in prop::collection::vec(call(), 1..12),
        windows in [window_size(), window_size()],
        changes in prop::collection::vec(window_size(), 0..4),
        seed: u64,
    ) {
        run(&calls, windows, &changes, seed);
    }
}

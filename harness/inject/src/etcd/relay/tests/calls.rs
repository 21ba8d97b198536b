//! Single frames and calls.

use proptest::prelude::*;

use super::*;
use crate::etcd::frame::{flag, reason};

#[test]
fn calls_overtake_one_that_is_held_and_get_rising_numbers() {
    let mut between = Between::new(65_535, 65_535);
    between.call(1, "KV/Put", &message());
    between.call(3, "KV/Txn", &message());
    between.call(5, "KV/Compact", b"any");
    between.settle();
    let paths = |between: &Between| -> Vec<String> {
        between.etcd.streams.values().map(|end| end.header(":path").unwrap().to_owned()).collect()
    };
    assert_eq!(paths(&between), [path("KV/Txn"), path("KV/Compact")]);
    between.release(0);
    between.settle();
    assert_eq!(paths(&between), [path("KV/Txn"), path("KV/Compact"), path("KV/Put")]);
    assert_eq!(between.etcd.streams[&5].data, message());
    // The response to the last is the client's first.
    between.etcd.block(5, true, &[("grpc-status", "0")]);
    between.settle();
    assert_eq!(between.client.streams[&1].header("grpc-status"), Some("0"));
    assert_eq!(between.ledger.try_recv().unwrap().answer, Answer::Genuine);
}

#[test]
fn many_held_calls_leave_the_connection_to_others() {
    let mut between = Between::new(65_535, 65_535);
    let body = framed(0, &txn(b"/a", &vec![7; 30_000]));
    for call in 0..50 {
        let id = 2 * call + 1;
        between.client.block(id, false, &[(":path", &path("KV/Put"))]);
        for (index, part) in body.chunks(16_000).enumerate() {
            between.client.data(id, part, None, index == 1);
            between.settle();
        }
    }
    assert_eq!((between.held.len(), between.client.send), (50, 65_535));
    between.call(101, "KV/Txn", &message());
    between.settle();
    assert_eq!(between.etcd.streams[&1].data, message());
    // As much goes to etcd as it takes, and the rest when it has read that. The client has the credit already.
    while !between.held.is_empty() {
        between.release(0);
    }
    between.settle();
    assert!(between.etcd.receive < 16_384, "{}", between.etcd.receive);
    while between.etcd.ungranted > 0 {
        between.etcd.grant(0);
        between.settle();
    }
    let whole = between.etcd.streams.values().skip(1).filter(|end| end.ended && end.data == body).count();
    assert_eq!(whole, 50);
    assert_eq!((between.client.send, between.etcd.receive), (65_535, 65_535));
}

#[test]
fn a_caller_that_goes_away_during_a_hold_leaves_no_trace_at_etcd() {
    let mut between = Between::new(65_535, 65_535);
    between.call(1, "KV/Put", &message());
    between.client.block(3, false, &[(":path", &path("KV/Put"))]);
    between.client.data(3, &message()[..7], None, false);
    between.settle();
    between.client.reset(1, 8);
    between.client.reset(3, 8);
    between.settle();
    assert!(between.held[0].1.is_aborted());
    between.release(0);
    between.settle();
    assert!(between.etcd.streams.is_empty());
    assert_eq!((between.client.send, between.relay.streams.is_empty()), (65_535, true));
}

#[test]
fn a_status_ends_the_call_and_what_still_comes_of_it_is_given_back() {
    let mut between = Between::new(65_535, 65_535);
    between.client.block(1, false, &[(":path", &path("KV/DeleteRange"))]);
    between.client.data(1, &message(), Some(9), false);
    between.settle();
    between.release(0);
    // Under way when the status comes.
    between.client.data(1, &[1; 5_000], None, false);
    between.settle();
    let end = &between.client.streams[&1];
    let expected = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "10")];
    let block: Vec<_> = end.blocks[0].iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(block[..3], expected);
    assert_eq!((end.ended, end.reset), (true, Some((reason::NO_ERROR, false))));
    assert_eq!(between.client.send, 65_535);
    assert!(between.etcd.streams.is_empty());
    assert_eq!(between.ledger.try_recv().unwrap().answer, Answer::Grpc(10));
}

#[test]
fn a_window_granted_during_a_hold_is_granted_at_etcd() {
    let mut between = Between::new(100, 65_535);
    between.call(1, "KV/Put", &message());
    between.settle();
    let grant = 5_000_u32.to_be_bytes();
    put(&mut between.client.out, kind::WINDOW_UPDATE, 0, 1, &grant);
    between.settle();
    between.release(0);
    between.settle();
    assert_eq!(between.etcd.room(1), 5_100);
}

#[test]
fn a_go_away_is_told_in_the_client_s_numbers() {
    let mut between = Between::new(65_535, 65_535);
    between.call(1, "KV/Put", &message());
    for id in [3, 5, 7] {
        between.call(id, "KV/Compact", b"any");
    }
    between.call(9, "KV/Put", &message());
    between.settle();
    between.release(0);
    between.settle();
    // At etcd they are 1, 3, 5, and the call 1 has come last, as 7.
    let go_away = |last: u32| [last.to_be_bytes(), [0; 4]].concat();
    put(&mut between.etcd.out, kind::GOAWAY, 0, 0, &go_away((1 << 31) - 1));
    between.settle();
    put(&mut between.etcd.out, kind::GOAWAY, 0, 0, &go_away(3));
    between.settle();
    assert_eq!(between.client.go_aways, [(1 << 31) - 1, 5]);
    // The client does not know of the call 1 by that. It knows of 7 and 9, and they are forgotten.
    assert_eq!(between.client.streams[&1].reset, Some((reason::REFUSED_STREAM, false)));
    assert_eq!(between.relay.streams.numbers(), [3, 5]);
    assert!(between.held[0].1.is_aborted());
    between.call(11, "KV/Compact", b"any");
    between.settle();
    assert_eq!(between.etcd.streams.len(), 4);
    // Three times "any" has not been read at etcd; what was held has been given back before.
    assert_eq!(between.client.send, 65_535 - 9);
}

#[test]
fn calls_end_when_etcd_is_gone_and_held_ones_after_their_hold() {
    let mut between = Between::new(65_535, 65_535);
    between.call(1, "KV/Put", &message());
    between.call(3, "KV/Range", &message());
    between.client.block(5, false, &[(":path", &path("KV/Compact"))]);
    between.client.block(7, false, &[(":path", &path("KV/Txn"))]);
    between.settle();
    // The whole response is here, and held.
    between.etcd.block(1, false, &[(":status", "200")]);
    between.etcd.block(1, true, &[("grpc-status", "0")]);
    between.settle();
    between.relay.etcd_gone();
    between.settle();
    let status = |between: &Between, id: u32| -> Option<String> {
        let block = between.client.streams[&id].blocks.last()?;
        block.iter().find(|(name, _)| name == "grpc-status").map(|(_, value)| value.clone())
    };
    assert_eq!(
        [1, 3, 5, 7].map(|id| status(&between, id)),
        [None, None, Some("14".into()), Some("14".into())]
    );
    assert_eq!(between.client.go_aways, [7]);
    put(&mut between.client.out, kind::PING, 0, 0, b"12345678");
    between.settle();
    assert_eq!(between.client.pings, [(flag::ACK, *b"12345678")]);
    assert!(!between.relay.is_over());
    while !between.held.is_empty() {
        between.release(0);
    }
    between.settle();
    assert_eq!([1, 3].map(|id| status(&between, id)), [Some("14".into()), Some("0".into())]);
    assert!(between.relay.is_over());
}

#[test]
fn what_came_before_a_reset_of_a_held_response_comes_before_it() {
    let mut between = Between::new(65_535, 65_535);
    between.client.block(1, false, &[(":path", &path("KV/Range"))]);
    between.client.data(1, &message(), None, false);
    between.settle();
    between.etcd.block(1, false, &[(":status", "200")]);
    between.etcd.data(1, b"answer", Some(3), false);
    between.etcd.reset(1, 2);
    between.settle();
    // What the client still sends is nobody's any more.
    between.client.data(1, b"more", None, false);
    between.settle();
    assert_eq!(between.client.streams[&1].blocks.len(), 0);
    between.release(0);
    between.settle();
    let end = &between.client.streams[&1];
    assert_eq!((&end.data[..], end.reset), (&b"answer"[..], Some((2, false))));
    assert_eq!(between.etcd.streams[&1].data, message());
    assert_eq!(between.etcd.send, 65_535, "padding is given back, and what was held in advance");
}

#[test]
fn pings_and_unknown_frames() {
    let mut between = Between::new(65_535, 65_535);
    for out in [&mut between.client.out, &mut between.etcd.out] {
        put(out, kind::PING, 0, 0, b"12345678");
        put(out, 0xf5, 0, 0, b"unknown");
        // PRIORITY of a stream that is idle.
        put(out, 2, 0, 9, b"12345");
    }
    between.settle();
    for peer in [&between.client, &between.etcd] {
        assert_eq!(peer.pings, [(0, *b"12345678")]);
    }
}

/// A name, who sends it, and what.
type Wrong = (&'static str, Direction, fn(&mut Vec<u8>));

/// What must not be sent, after settings, a call and its headers.
#[test]
fn what_breaks_the_rules_ends_the_connections() {
    let headers = |out: &mut Vec<u8>, id| put(out, kind::HEADERS, flag::END_HEADERS, id, &[0x83]);
    let wrongs: [Wrong; 14] = [
        ("push", Direction::Down, |out| put(out, kind::PUSH_PROMISE, 4, 1, &[0, 0, 0, 2, 0x83])),
        ("even stream", Direction::Up, |out| put(out, kind::HEADERS, 4, 4, &[0x83])),
        ("idle stream", Direction::Up, |out| put(out, kind::DATA, 0, 5, b"")),
        ("idle stream of etcd", Direction::Down, |out| put(out, kind::HEADERS, 4, 5, &[0x88])),
        ("stream 0", Direction::Up, |out| put(out, kind::RST_STREAM, 0, 0, &[0; 4])),
        ("after the end", Direction::Up, |out| {
            put(out, kind::DATA, flag::END_STREAM, 1, b"");
            put(out, kind::DATA, 0, 1, b"");
        }),
        ("too much data", Direction::Up, |out| {
            for _ in 0..5 {
                put(out, kind::DATA, 0, 1, &[0; 16_000]);
            }
        }),
        ("within a block", Direction::Up, |out| {
            put(out, kind::HEADERS, 0, 3, &[0x83]);
            put(out, kind::PING, 0, 0, &[0; 8]);
        }),
        ("another's block", Direction::Up, |out| {
            put(out, kind::HEADERS, 0, 3, &[0x83]);
            put(out, kind::CONTINUATION, 4, 1, &[0x83]);
        }),
        ("endless block", Direction::Up, |out| {
            put(out, kind::HEADERS, 0, 3, &[0x83]);
            for _ in 0..65 {
                put(out, kind::CONTINUATION, 0, 3, &[0x83; 16_384]);
            }
        }),
        ("acknowledgement of nothing", Direction::Up, |out| put(out, kind::SETTINGS, flag::ACK, 0, b"")),
        ("large window", Direction::Down, |out| put(out, kind::SETTINGS, 0, 0, &[0, 4, 0xff, 0, 0, 0])),
        ("window of nothing", Direction::Up, |out| put(out, kind::WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("bad headers", Direction::Up, |out| put(out, kind::HEADERS, 4, 3, &[0x80])),
    ];
    for (name, direction, wrong) in wrongs {
        let mut between = Between::new(65_535, 65_535);
        between.settle();
        headers(&mut between.client.out, 1);
        between.client.streams.insert(1, peer::End::default());
        between.settle();
        let mut out = Vec::new();
        wrong(&mut out);
        assert!(between.relay.take(direction, &out).is_err(), "{name}");
    }
}

#[test]
fn a_connection_begins_with_its_preface_and_settings() {
    for start in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        assert!(Relay::new(Arc::new(rules().0)).take(Direction::Up, start).is_err());
    }
    let mut relay = Relay::new(Arc::new(rules().0));
    assert_eq!(relay.take(Direction::Up, &crate::etcd::frame::PREFACE[..20]), Ok(0));
}

proptest! {
    #[test]
    fn no_frames_make_it_panic(
        frames in prop::collection::vec((any::<bool>(), 0_u8..11, any::<u8>(), 0_u32..8, prop::collection::vec(any::<u8>(), 0..40)), 1..60),
    ) {
        let mut between = Between::new(65_535, 65_535);
        between.give(Direction::Up, usize::MAX);
        between.give(Direction::Down, usize::MAX);
        let mut relay = between.relay;
        for (up, kind, flags, stream, payload) in frames {
            let direction = if up { Direction::Up } else { Direction::Down };
            let mut bytes = Vec::new();
            // Most of HEADERS are of a call that is held.
            let mut block = vec![0x83];
            crate::etcd::hpack::put_named(&mut block, 4, path("KV/Put").as_bytes());
            let payload = if kind == 1 && flags < 200 { block } else { payload };
            put(&mut bytes, kind, flags & 0x2d, stream, &payload);
            if relay.take(direction, &bytes).is_err() {
                // The connections are closed.
                break;
            }
            if flags.is_multiple_of(4) {
                let holds: Vec<Hold> = relay.holds().collect();
                for hold in holds {
                    relay.release(hold.id, hold.touches, hold.request);
                }
            }
        }
        relay.etcd_gone();
    }
}

//! Windows of flow control (RFC 9113, 5.2), seen from the middle.
//!
//! What the sender may still send and what the receiver would still take are the same, as long as everything is
//! passed on at once. Bytes that are parked here stand between the two. Where they are given back to the sender in
//! advance, so that it can go on with other streams, the receiver's credit for them must not be given a second
//! time. It comes once they have been sent on and read: from then on they are owed, and not before, since what
//! the receiver grants until then is for other bytes.

use super::frame::Malformed;

/// The window before anybody has said anything, in bytes (RFC 9113, 6.9.2).
pub(crate) const INITIAL: i64 = 65_535;
/// The largest window, in bytes (RFC 9113, 6.9.1).
pub(crate) const LARGEST: i64 = (1 << 31) - 1;

/// The window of a stream or a connection, in one direction. All numbers are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// What the receiver takes; negative when it has shrunk its window.
    room: i64,
    /// What came, was not sent on, and was not given back.
    parked: i64,
    /// What was sent on and had been given back before the receiver did.
    owed: i64,
}

// === impl Window ===

impl Window {
    pub(crate) fn new(room: i64) -> Self {
        Self { room, parked: 0, owed: 0 }
    }

    /// What may be sent to the receiver.
    pub(crate) fn room(&self) -> i64 {
        self.room
    }

    /// What the sender may believe that it can send.
    pub(crate) fn sender(&self) -> i64 {
        self.room - self.parked + self.owed
    }

    /// Bytes came and are sent on.
    pub(crate) fn pass(&mut self, bytes: i64) {
        self.room -= bytes;
    }

    /// Bytes came and stay. When it is in `advance`, the sender is given as many at once.
    pub(crate) fn park(&mut self, bytes: i64, advance: bool) {
        if !advance {
            self.parked += bytes;
        }
    }

    /// Parked bytes are sent on.
    pub(crate) fn release(&mut self, bytes: i64, advanced: bool) {
        self.room -= bytes;
        if advanced {
            self.owed += bytes;
        } else {
            self.parked -= bytes;
        }
    }

    /// Parked bytes are forgotten. The sender is to be given them, if it was not before.
    pub(crate) fn discard(&mut self, bytes: i64, advanced: bool) -> u32 {
        if advanced {
            return 0;
        }
        self.parked -= bytes;
        credit(bytes)
    }

    /// The receiver takes more; how much of that the sender is to be told.
    pub(crate) fn grant(&mut self, bytes: u32) -> Result<u32, Malformed> {
        let bytes = i64::from(bytes);
        self.room += bytes;
        if bytes == 0 || self.room > LARGEST {
            return Err(Malformed("a window grows by nothing, or beyond its limit"));
        }
        let settled = self.owed.min(bytes);
        self.owed -= settled;
        Ok(credit(bytes - settled))
    }

    /// The initial window changes, which sender and receiver apply on their own (RFC 9113, 6.9.2).
    pub(crate) fn adjust(&mut self, by: i64) {
        self.room += by;
    }
}

/// As the number of a frame.
fn credit(bytes: i64) -> u32 {
    u32::try_from(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What may happen to a window.
    #[derive(Debug, Clone)]
    enum Event {
        Pass(i64),
        Park(i64, bool),
        Release(prop::sample::Index),
        Discard(prop::sample::Index),
        Read(i64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (1_i64..9000).prop_map(Event::Pass),
            (1_i64..9000, any::<bool>()).prop_map(|(bytes, advance)| Event::Park(bytes, advance)),
            any::<prop::sample::Index>().prop_map(Event::Release),
            any::<prop::sample::Index>().prop_map(Event::Discard),
            (1_i64..9000).prop_map(Event::Read),
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_overrun_and_nothing_is_lost(events in prop::collection::vec(event(), 0..200)) {
            const SIZE: i64 = 20_000;
            let mut window = Window::new(SIZE);
            // As the two ends count.
            let (mut sender, mut receiver, mut unread, mut parked) = (SIZE, SIZE, 0, Vec::new());
            for event in events {
                match event {
                    Event::Pass(bytes) if bytes <= sender && bytes <= window.room() => {
                        sender -= bytes;
                        receiver -= bytes;
                        unread += bytes;
                        window.pass(bytes);
                    }
                    Event::Park(bytes, advance) if bytes <= sender => {
                        parked.push((bytes, advance));
                        window.park(bytes, advance);
                        if !advance {
                            sender -= bytes;
                        }
                    }
                    Event::Release(which) if !parked.is_empty() => {
                        let which = which.index(parked.len());
                        if parked[which].0 <= window.room() {
                            let (bytes, advanced) = parked.swap_remove(which);
                            receiver -= bytes;
                            unread += bytes;
                            window.release(bytes, advanced);
                        }
                    }
                    Event::Discard(which) if !parked.is_empty() => {
                        let (bytes, advanced) = parked.swap_remove(which.index(parked.len()));
                        sender += i64::from(window.discard(bytes, advanced));
                    }
                    Event::Read(bytes) if unread > 0 => {
                        let bytes = bytes.min(unread);
                        unread -= bytes;
                        receiver += bytes;
                        sender += i64::from(window.grant(u32::try_from(bytes).unwrap()).unwrap());
                    }
                    _ => {}
                }
                prop_assert!(receiver >= 0);
                // What is held in advance stops nobody else.
                let stays: i64 = parked.iter().filter(|(_, advanced)| !advanced).map(|(bytes, _)| bytes).sum();
                prop_assert!(sender >= receiver - stays);
                prop_assert_eq!((window.room(), window.sender()), (receiver, sender));
            }
            // Once all is read and nothing stays, both ends have what they began with.
            for (bytes, advanced) in parked {
                sender += i64::from(window.discard(bytes, advanced));
            }
            if let Ok(unread @ 1..) = u32::try_from(unread) {
                sender += i64::from(window.grant(unread).unwrap());
            }
            prop_assert_eq!((window.room(), sender), (SIZE, SIZE));
        }
    }

    #[test]
    fn a_window_has_a_limit() {
        let mut window = Window::new(LARGEST - 1);
        assert_eq!(window.grant(1), Ok(1));
        assert!(window.grant(1).is_err());
        assert!(Window::new(0).grant(0).is_err());
    }
}

//! `SETTINGS` and `WINDOW_UPDATE`: what either peer takes.

use super::{
    super::{
        frame::{self, Frame, Malformed, flag, kind},
        stream::Direction,
        window,
    },
    Flow, Relay,
};

/// Settings that mean something to the proxy (RFC 9113, 6.5.2).
mod setting {
    pub(super) const HEADER_TABLE_SIZE: u16 = 1;
    pub(super) const ENABLE_PUSH: u16 = 2;
    pub(super) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(super) const MAX_FRAME_SIZE: u16 = 5;
}

/// Settings of one peer that the other may leave to be acknowledged. Nobody changes his mind so often.
const MOST_UNACKNOWLEDGED: usize = 1_000;

impl Relay {
    /// Settings are passed on, but for two: no table of headers is to be used, so that blocks stand on their own,
    /// and nothing is to be pushed.
    pub(super) fn settings(&mut self, direction: Direction, frame: &Frame<'_>) -> Result<(), Malformed> {
        if frame.stream != 0 {
            return Err(Malformed("settings are for a stream"));
        }
        if frame.has(flag::ACK) {
            return self.settings_ack(direction, frame);
        }
        let (settings, rest) = frame.payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(Malformed("settings end within one"));
        }
        // They are about what the other peer sends.
        let flow = self.flows.of_mut(direction.back());
        let (mut passed, mut initial) = (Vec::with_capacity(frame.payload.len() + 12), None);
        let (mut table_said, mut push_said) = (false, false);
        for setting @ &[a, b, c, d, e, f] in settings {
            let (name, value) = (u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f]));
            match name {
                setting::HEADER_TABLE_SIZE => {
                    flow.announce = true;
                    table_said = true;
                    put_setting(&mut passed, name, 0);
                }
                setting::ENABLE_PUSH if direction == Direction::Up => {
                    push_said = true;
                    put_setting(&mut passed, name, 0);
                }
                setting::INITIAL_WINDOW_SIZE if i64::from(value) > window::LARGEST => {
                    return Err(Malformed("an initial window is too large"));
                }
                setting::INITIAL_WINDOW_SIZE => {
                    initial = Some(i64::from(value));
                    passed.extend_from_slice(setting);
                }
                setting::MAX_FRAME_SIZE => {
                    // Frames that are under way may still have the length of before.
                    flow.longest = flow.longest.max(usize::try_from(value).unwrap_or(usize::MAX));
                    if !(frame::SMALLEST_LIMIT..1 << 24).contains(&flow.longest) {
                        return Err(Malformed("a longest frame is out of bounds"));
                    }
                    passed.extend_from_slice(setting);
                }
                _ => passed.extend_from_slice(setting),
            }
        }
        flow.unacknowledged.push_back(initial);
        if flow.unacknowledged.len() > MOST_UNACKNOWLEDGED {
            return Err(Malformed("settings are changed without end"));
        }
        let flow = self.flows.of_mut(direction);
        if !std::mem::replace(&mut flow.greeted, true) {
            if !table_said {
                put_setting(&mut passed, setting::HEADER_TABLE_SIZE, 0);
            }
            if direction == Direction::Up && !push_said {
                put_setting(&mut passed, setting::ENABLE_PUSH, 0);
            }
        }
        frame::put(&mut flow.out, kind::SETTINGS, 0, 0, &passed);
        Ok(())
    }

    /// From here on the sender does as the receiver has asked; windows change for both at this point.
    fn settings_ack(&mut self, direction: Direction, frame: &Frame<'_>) -> Result<(), Malformed> {
        let flow = self.flows.of_mut(direction);
        let (Some(initial), true) = (flow.unacknowledged.pop_front(), frame.payload.is_empty()) else {
            return Err(Malformed("settings are acknowledged that nobody sent"));
        };
        frame::put(&mut flow.out, kind::SETTINGS, flag::ACK, 0, &[]);
        if let Some(initial) = initial {
            let by = initial - flow.initial;
            flow.initial = initial;
            for stream in self.streams.values_mut() {
                stream.lanes.of_mut(direction).window.adjust(by);
            }
            self.flush_waiting(direction);
        }
        Ok(())
    }

    pub(super) fn window_update(&mut self, direction: Direction, frame: &Frame<'_>) -> Result<(), Malformed> {
        let bytes = frame.number()? & 0x7fff_ffff;
        let back = direction.back();
        if frame.stream == 0 {
            let passed = self.flows.of_mut(back).window.grant(bytes)?;
            frame::put_credit(&mut self.flows.of_mut(direction).out, 0, passed);
            self.flush_waiting(back);
            return Ok(());
        }
        let Some(id) = self.find(direction, frame.stream)? else { return Ok(()) };
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        let passed = stream.lanes.of_mut(back).window.grant(bytes)?;
        let number = if direction == Direction::Up { stream.etcd } else { Some(id) };
        match number {
            Some(number) => frame::put_credit(&mut self.flows.of_mut(direction).out, number, passed),
            None => stream.granted = stream.granted.saturating_add(passed),
        }
        self.flush(back, id);
        Ok(())
    }
}

impl Flow {
    /// By how much the window of a stream may be larger for the sender than for the receiver, in bytes: settings
    /// that the sender has applied and not acknowledged yet.
    pub(super) fn in_sight(&self) -> i64 {
        self.unacknowledged.iter().flatten().map(|initial| initial - self.initial).max().unwrap_or(0).max(0)
    }
}

fn put_setting(out: &mut Vec<u8>, name: u16, value: u32) {
    out.extend_from_slice(&name.to_be_bytes());
    out.extend_from_slice(&value.to_be_bytes());
}

//! The rate of a stage over its time, and its inverse: when a given number of arrivals is reached.
//!
//! A profile is made of straight pieces. The number of arrivals up to a time is the integral of the rate, at
//! most quadratic within a piece, so the time of a number has a closed form. Everything is worked out from the
//! piece's index, not added up from piece to piece: there is no drift, and no memory per piece.

use std::time::Duration;

use spangate_scenario::{model::Stage, units::Rate};

/// The rate of a stage over its time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Profile {
    form: Form,
    /// Seconds.
    length: f64,
}

/// How the rate goes, in arrivals per second.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// In a straight line; the same all the time if the ends are equal.
    Line { from: f64, to: f64 },
    /// In `count` equal steps of equal length.
    Steps { from: f64, to: f64, count: u32 },
    /// `base`, then `peak` for `width` seconds in the middle, then `base`.
    Spike { base: f64, peak: f64, width: f64 },
}

/// A stretch of a profile in which the rate is a straight line. Times are seconds from the start of the stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Piece {
    start: f64,
    end: f64,
    /// Arrivals per second at the start.
    rate: f64,
    /// Change of the rate per second.
    slope: f64,
    /// Arrivals before it, on average.
    before: f64,
}

/// Times within a stage at which the number of arrivals reaches given values, which must not fall.
#[derive(Debug, Clone)]
pub(super) struct Inverse {
    profile: Profile,
    piece: Piece,
    /// The pieces after the current one.
    following: u32,
    next: Option<Piece>,
}

// === impl Profile ===

impl Profile {
    /// The profile of `stage`; a stage without a rate has none.
    pub(super) fn of(stage: &Stage) -> Self {
        let length = stage.duration.as_secs_f64();
        let form = if let Some(ramp) = stage.ramp {
            Form::Line { from: ramp.from.get(), to: ramp.to.get() }
        } else if let Some(steps) = stage.steps {
            Form::Steps { from: steps.from.get(), to: steps.to.get(), count: steps.count.max(1) }
        } else if let Some(spike) = stage.spike {
            let width = spike.width.as_secs_f64().min(length);
            Form::Spike { base: spike.base.get(), peak: spike.peak.get(), width }
        } else {
            let rate = stage.rate.map_or(0.0, Rate::get);
            Form::Line { from: rate, to: rate }
        };
        Self { form, length }
    }

    /// Arrivals per second at `at` from the start of the stage.
    pub(super) fn rate_at(&self, at: Duration) -> f64 {
        let at = at.as_secs_f64().min(self.length);
        let piece = self.piece_at(at);
        (piece.rate + piece.slope * (at - piece.start)).max(0.0)
    }

    /// Arrivals from the start of the stage until `at`, on average.
    pub(super) fn until(&self, at: Duration) -> f64 {
        let at = at.as_secs_f64().min(self.length);
        self.piece_at(at).until(at)
    }

    /// Times at which the number of arrivals reaches given values.
    pub(super) fn inverse(&self) -> Inverse {
        let piece = self.piece(0).expect("every profile has a piece");
        Inverse { profile: *self, piece, following: 1, next: self.piece(1) }
    }

    fn piece_at(&self, at: f64) -> Piece {
        let index = match self.form {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share of the length is not negative, and is cut to the number of steps"
            )]
            Form::Steps { count, .. } if self.length > 0.0 => {
                ((at / self.length * f64::from(count)) as u32).min(count - 1)
            }
            Form::Line { .. } | Form::Steps { .. } => 0,
            Form::Spike { width, .. } => {
                let rise = (self.length - width) / 2.0;
                u32::from(at >= rise) + u32::from(at >= rise + width)
            }
        };
        self.piece(index).expect("the index is one of the form")
    }

    fn piece(&self, index: u32) -> Option<Piece> {
        let Self { form, length } = *self;
        let flat = |start, end, rate, before| Piece { start, end, rate, slope: 0.0, before };
        let number = f64::from(index);
        match form {
            Form::Line { from, to } => {
                let slope = if length > 0.0 { (to - from) / length } else { 0.0 };
                (index == 0).then_some(Piece { start: 0.0, end: length, rate: from, slope, before: 0.0 })
            }
            Form::Steps { from, to, count } => {
                let rise = if count > 1 { (to - from) / f64::from(count - 1) } else { 0.0 };
                let wide = length / f64::from(count);
                let before = wide * (number * from + rise * number * (number - 1.0) / 2.0);
                // The last step is the one that rounding must not move: its rate may be zero.
                let (end, rate) = if index + 1 == count {
                    (length, to)
                } else {
                    (wide * (number + 1.0), from + rise * number)
                };
                (index < count).then(|| flat(wide * number, end, rate, before))
            }
            Form::Spike { base, peak, width } => {
                let rise = (length - width) / 2.0;
                match index {
                    0 => Some(flat(0.0, rise, base, 0.0)),
                    1 => Some(flat(rise, rise + width, peak, rise * base)),
                    2 => Some(flat(rise + width, length, base, rise * base + width * peak)),
                    _ => None,
                }
            }
        }
    }
}

// === impl Piece ===

impl Piece {
    /// Arrivals until `at`, on average.
    fn until(&self, at: f64) -> f64 {
        let into = at - self.start;
        self.before + into * (self.rate + self.slope * into / 2.0)
    }

    /// When `number` arrivals are passed; its end if that is not within it.
    fn time(&self, number: f64) -> f64 {
        let more = number - self.before;
        let into = if self.slope == 0.0 {
            // Without a rate it is never: the division gives no number, and `min` takes the end.
            more / self.rate
        } else if more > 0.0 {
            // The root of a quadratic, in the form that loses no digits when the slope is small.
            let root = (self.rate * self.rate + 2.0 * self.slope * more).max(0.0).sqrt();
            2.0 * more / (self.rate + root)
        } else {
            0.0
        };
        (self.start + into).min(self.end)
    }
}

// === impl Inverse ===

impl Inverse {
    /// When `number` arrivals are passed; the end of the stage if that is not within it.
    ///
    /// Where the rate is zero the number does not change, and the time is the end of such a stretch.
    pub(super) fn time(&mut self, number: f64) -> f64 {
        while let Some(next) = self.next.filter(|next| next.before <= number) {
            self.piece = next;
            self.following += 1;
            self.next = self.profile.piece(self.following);
        }
        self.piece.time(number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form() -> impl Strategy<Value = Form> {
        let rate = || prop_oneof![Just(0.0), 0.01_f64..1000.0];
        prop_oneof![
            (rate(), rate()).prop_map(|(from, to)| Form::Line { from, to }),
            (rate(), rate(), 1_u32..20).prop_map(|(from, to, count)| Form::Steps { from, to, count }),
            (rate(), rate(), 0.0_f64..10.0).prop_map(|(base, peak, width)| Form::Spike { base, peak, width }),
        ]
    }

    #[test]
    fn a_ramp_reaches_its_numbers_at_the_root_of_the_integral() {
        // 10/s to 30/s in 10 s: n(t) = 10 t + t^2, so 75 arrivals after 5 s.
        let profile = Profile { form: Form::Line { from: 10.0, to: 30.0 }, length: 10.0 };
        let mut inverse = profile.inverse();
        for (number, time) in [(0.0, 0.0), (11.0, 1.0), (75.0, 5.0), (200.0, 10.0), (300.0, 10.0)] {
            assert!((inverse.time(number) - time).abs() < 1e-12, "{number}");
        }
        let falling = Profile { form: Form::Line { from: 20.0, to: 0.0 }, length: 10.0 };
        let mut inverse = falling.inverse();
        for (number, time) in [(0.0, 0.0), (75.0, 5.0), (100.0, 10.0), (101.0, 10.0)] {
            assert!((inverse.time(number) - time).abs() < 1e-6, "{number}");
        }
    }

    #[test]
    fn a_stretch_without_a_rate_has_no_arrival() {
        let steps = Profile { form: Form::Steps { from: 0.0, to: 10.0, count: 2 }, length: 10.0 };
        assert!((steps.inverse().time(0.0) - 5.0).abs() < 1e-12, "the first is where the rate begins");
        let spike = Profile { form: Form::Spike { base: 0.0, peak: 10.0, width: 2.0 }, length: 10.0 };
        let mut inverse = spike.inverse();
        let times = [0.0, 10.0, 19.0, 20.0].map(|number| inverse.time(number));
        assert!(times.iter().zip([4.0, 5.0, 5.9, 10.0]).all(|(a, b)| (a - b).abs() < 1e-12), "{times:?}");
        let nothing = Profile { form: Form::Line { from: 0.0, to: 0.0 }, length: 10.0 };
        assert!((nothing.inverse().time(0.0) - 10.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn pieces_join_and_the_inverse_undoes_the_integral(
            form in form(), shares in prop::collection::vec(0.0_f64..1.0, 1..50),
        ) {
            let profile = Profile { form, length: 10.0 };
            let pieces: Vec<_> = (0..).map_while(|index| profile.piece(index)).collect();
            prop_assert_eq!((pieces[0].start, pieces[0].before), (0.0, 0.0));
            prop_assert!((pieces[pieces.len() - 1].end - 10.0).abs() < 1e-9);
            for pair in pieces.windows(2) {
                prop_assert!((pair[0].end - pair[1].start).abs() < 1e-9);
                prop_assert!((pair[0].until(pair[0].end) - pair[1].before).abs() < 1e-6);
            }
            let total = profile.until(Duration::from_secs(10));
            let mut numbers: Vec<_> = shares.iter().map(|share| share * total).collect();
            numbers.sort_by(f64::total_cmp);
            let mut inverse = profile.inverse();
            let mut before = 0.0;
            for number in numbers {
                let time = inverse.time(number);
                prop_assert!(time >= before && time <= 10.0, "{time} after {before}");
                before = time;
                let back = profile.until(Duration::from_secs_f64(time));
                // A nanosecond of the highest rate, and the rounding of a long sum.
                prop_assert!((back - number).abs() < 1e-5, "{number} came back as {back}");
            }
        }
    }
}

//! How long something is held: samples of a scenario's `delay`.
//!
//! Sample `n` depends on the seed and on `n` alone: the tenth call is held equally long in every run, however
//! many calls were in flight when it came.

use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp, Normal, Pareto, Uniform};

use crate::model::Delay;

/// The longest delay: a sample from a heavy tail must not outlive the run.
pub const LONGEST: Duration = Duration::from_mins(10);

/// Samples delays, reproducibly.
#[derive(Debug, Clone)]
pub struct DelaySampler {
    shape: Shape,
    rng: ChaCha8Rng,
    next: u64,
}

/// Parameters that make no distribution.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DelayError {
    /// The range of a uniform delay is empty.
    #[error("the shortest delay {min:?} is longer than the longest {max:?}; swap them")]
    EmptyRange {
        /// The lower end.
        min: Duration,
        /// The upper end.
        max: Duration,
    },
    /// The tail index of a Pareto delay is not a positive number.
    #[error("the shape of a Pareto delay must be a positive number, got {shape}")]
    Shape {
        /// What was given.
        shape: f64,
    },
}

/// Distributions count in seconds.
#[derive(Debug, Clone)]
enum Shape {
    Fixed(Duration),
    Uniform(Uniform<f64>),
    Normal(Normal<f64>),
    Exponential(Exp<f64>),
    Pareto(Pareto<f64>),
}

// === impl DelaySampler ===

impl DelaySampler {
    /// A sampler of `delay`; the same seed gives the same samples.
    pub fn new(delay: &Delay, seed: u64) -> Result<Self, DelayError> {
        Ok(Self { shape: Shape::new(delay)?, rng: ChaCha8Rng::seed_from_u64(seed), next: 0 })
    }

    /// The next sample.
    pub fn sample(&mut self) -> Duration {
        let sample = self.nth(self.next);
        self.next += 1;
        sample
    }

    /// Sample number `n`, counted from zero.
    pub fn nth(&self, n: u64) -> Duration {
        let mut rng = self.rng.clone();
        rng.set_stream(n);
        let seconds = match &self.shape {
            Shape::Fixed(delay) => return *delay,
            Shape::Uniform(shape) => shape.sample(&mut rng),
            Shape::Normal(shape) => shape.sample(&mut rng),
            Shape::Exponential(shape) => shape.sample(&mut rng),
            Shape::Pareto(shape) => shape.sample(&mut rng),
        };
        // `clamp` would let NaN through; `max` and `min` do not.
        Duration::from_secs_f64(seconds.max(0.0).min(LONGEST.as_secs_f64()))
    }
}

// === impl Shape ===

impl Shape {
    fn new(delay: &Delay) -> Result<Self, DelayError> {
        let shape = match *delay {
            Delay::Fixed(delay) => Self::Fixed(delay.get().min(LONGEST)),
            Delay::Uniform { min, max } => Uniform::new_inclusive(min.as_secs_f64(), max.as_secs_f64())
                .map(Self::Uniform)
                .map_err(|_| DelayError::EmptyRange { min: min.get(), max: max.get() })?,
            Delay::Normal { mean, stddev } => {
                let normal = Normal::new(mean.as_secs_f64(), stddev.as_secs_f64());
                Self::Normal(normal.expect("a duration is a finite number of seconds"))
            }
            Delay::Exponential { mean } if mean.is_zero() => Self::Fixed(Duration::ZERO),
            Delay::Exponential { mean } => {
                let exponential = Exp::new(mean.as_secs_f64().recip());
                Self::Exponential(exponential.expect("the mean is positive"))
            }
            Delay::Pareto { shape, .. } if shape.is_nan() || shape <= 0.0 => {
                return Err(DelayError::Shape { shape });
            }
            Delay::Pareto { scale, .. } if scale.is_zero() => Self::Fixed(Duration::ZERO),
            Delay::Pareto { scale, shape } => {
                let pareto = Pareto::new(scale.as_secs_f64(), shape);
                Self::Pareto(pareto.expect("scale and shape are positive"))
            }
        };
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units;
    use proptest::prelude::*;

    const SEED: u64 = 7;
    const SAMPLES: u32 = 20_000;

    fn ms(milliseconds: u64) -> units::Duration {
        units::Duration::from_millis(milliseconds)
    }

    fn samples(delay: &Delay) -> Vec<f64> {
        let mut source = DelaySampler::new(delay, SEED).unwrap();
        let mut samples: Vec<f64> = (0..SAMPLES).map(|_| source.sample().as_secs_f64() * 1e3).collect();
        samples.sort_by(f64::total_cmp);
        samples
    }

    fn mean(samples: &[f64]) -> f64 {
        samples.iter().sum::<f64>() / f64::from(SAMPLES)
    }

    fn deviation(samples: &[f64]) -> f64 {
        let mean = mean(samples);
        (samples.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / f64::from(SAMPLES)).sqrt()
    }

    /// Within five standard errors; with the fixed seed this holds or not, for good.
    #[track_caller]
    fn assert_near(what: &str, got: f64, want: f64, standard_error: f64) {
        assert!((got - want).abs() < 5.0 * standard_error, "seed {SEED}: {what} is {got}, expected {want}");
    }

    #[test]
    fn a_fixed_delay_is_always_the_same() {
        let samples = samples(&Delay::Fixed(ms(150)));
        assert!(samples.iter().all(|s| (s - 150.0).abs() < 1e-9));
    }

    #[test]
    fn a_uniform_delay_fills_its_range_evenly() {
        let samples = samples(&Delay::Uniform { min: ms(10), max: ms(30) });
        let root = f64::from(SAMPLES).sqrt();
        assert!(samples[0] >= 10.0 && samples[samples.len() - 1] <= 30.0);
        assert_near("the mean", mean(&samples), 20.0, 20.0 / 12_f64.sqrt() / root);
        // The largest distance to the straight line of the distribution (Kolmogorov-Smirnov, 0.1 %: 1.95).
        let distance = (samples.iter().zip(0_u32..))
            .map(|(s, i)| ((s - 10.0) / 20.0 - f64::from(i) / f64::from(SAMPLES)).abs())
            .fold(0.0, f64::max);
        assert!(distance * root < 1.95, "seed {SEED}: distance {distance}");
    }

    #[test]
    fn a_normal_delay_has_its_mean_and_deviation() {
        let samples = samples(&Delay::Normal { mean: ms(80), stddev: ms(10) });
        let root = f64::from(SAMPLES).sqrt();
        assert_near("the mean", mean(&samples), 80.0, 10.0 / root);
        assert_near("the deviation", deviation(&samples), 10.0, 10.0 / root / 2_f64.sqrt());
    }

    #[test]
    fn a_negative_sample_is_zero() {
        let samples = samples(&Delay::Normal { mean: ms(0), stddev: ms(10) });
        let zeros = samples.iter().filter(|s| **s <= 0.0).count();
        let share = f64::from(u32::try_from(zeros).unwrap()) / f64::from(SAMPLES);
        assert_near("the share of zeros", share, 0.5, 0.5 / f64::from(SAMPLES).sqrt());
    }

    #[test]
    fn an_exponential_delay_has_its_mean_and_is_as_wide() {
        let samples = samples(&Delay::Exponential { mean: ms(50) });
        let root = f64::from(SAMPLES).sqrt();
        assert_near("the mean", mean(&samples), 50.0, 50.0 / root);
        // The variance of a sample deviation of an exponential is 2/n of the squared mean.
        assert_near("the deviation", deviation(&samples), 50.0, 50.0 * 2_f64.sqrt() / root);
    }

    #[test]
    fn a_pareto_delay_has_its_scale_and_its_median() {
        let samples = samples(&Delay::Pareto { scale: ms(10), shape: 2.0 });
        let median = 10.0 * 2_f64.sqrt();
        // The density at the median is shape / (2 median).
        let error = 0.5 / (2.0 / (2.0 * median)) / f64::from(SAMPLES).sqrt();
        assert!(samples[0] >= 10.0);
        assert_near("the median", samples[samples.len() / 2], median, error);
    }

    #[test]
    fn no_tail_is_longer_than_the_cap() {
        let heavy = samples(&Delay::Pareto { scale: ms(1000), shape: 0.1 });
        let cap = LONGEST.as_secs_f64() * 1e3;
        assert!(heavy.iter().all(|s| *s <= cap));
        assert!(heavy[heavy.len() - 1] >= cap, "seed {SEED}: the cap was never reached");
        assert_eq!(
            DelaySampler::new(&Delay::Fixed(units::Duration::from_secs(3600)), SEED).unwrap().nth(0),
            LONGEST
        );
    }

    #[test]
    fn a_degenerate_distribution_is_a_point() {
        for delay in [
            Delay::Exponential { mean: ms(0) },
            Delay::Normal { mean: ms(0), stddev: ms(0) },
            Delay::Uniform { min: ms(0), max: ms(0) },
            Delay::Pareto { scale: ms(0), shape: 1.0 },
        ] {
            assert_eq!(DelaySampler::new(&delay, SEED).unwrap().nth(3), Duration::ZERO, "{delay:?}");
        }
    }

    #[test]
    fn impossible_parameters_are_refused() {
        let empty = DelaySampler::new(&Delay::Uniform { min: ms(2), max: ms(1) }, SEED).unwrap_err();
        assert_eq!(empty, DelayError::EmptyRange { min: ms(2).get(), max: ms(1).get() });
        for shape in [0.0, -1.0, f64::NAN] {
            assert!(DelaySampler::new(&Delay::Pareto { scale: ms(1), shape }, SEED).is_err(), "{shape}");
        }
    }

    proptest! {
        #[test]
        fn samples_depend_on_seed_and_number_alone(seed: u64, n in 0_u64..1000) {
            let delay = Delay::Exponential { mean: ms(50) };
            let mut one = DelaySampler::new(&delay, seed).unwrap();
            let other = DelaySampler::new(&delay, seed).unwrap();
            let sequence: Vec<Duration> = (0..=n).map(|_| one.sample()).collect();
            prop_assert_eq!(sequence.last().copied(), Some(other.nth(n)));
            prop_assert_ne!(other.nth(n), other.nth(n + 1));
        }
    }
}

//! Which phase is to blame for the time that a fault cost.
//!
//! The requests that a fault touched are compared with like requests that it did not touch: the same
//! operation under the same other faults (a stratum). In each stratum the excess of a phase is the mean of the
//! touched minus the mean of the untouched; strata are averaged by their number of touched requests. Phases
//! add up to the request's duration, so their excesses add up to the whole excess, and the share of the
//! fault's own phases is what the fault explains of it.
//!
//! The intervals come from a bootstrap that draws requests within each group of each stratum.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use crate::{
    Phase, PhaseTimes, TraceId,
    stats::{Bootstrap, Estimate, SplitMix64, bootstrap::Sample},
};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation<'t> {
    /// What requests must have in common to be compared, such as `create configmaps`.
    pub operation: Arc<str>,
    /// The faults that touched it, ascending and each once.
    pub faults: Vec<u32>,
    /// Where its time went.
    pub phases: Cow<'t, PhaseTimes>,
    /// Its trace.
    pub trace: TraceId,
}

/// How to decide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Method {
    /// The least number of touched and of untouched requests in a stratum; smaller strata are left out.
    pub least: usize,
    /// How the intervals are made.
    pub bootstrap: Bootstrap,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Blame {
    /// The fault cost time, and this is where.
    Decided(Finding),
    /// The requests cannot tell.
    Undecided(Undecided),
}

/// Where the time went that a fault cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The phase with the greatest excess.
    pub accused: Phase,
    /// The part of the whole excess that lies in the fault's own phases; above 1 when others got faster.
    pub share: Estimate,
    /// The whole excess of a touched request in nanoseconds.
    pub excess: Estimate,
    /// The excess of each phase in nanoseconds, greatest first.
    pub by_phase: Vec<(Phase, f64)>,
    /// How many touched requests were compared.
    pub treated: usize,
    /// How many untouched requests they were compared with.
    pub controls: usize,
    /// How many touched requests were left out because their strata are too small.
    pub left_out: usize,
    /// Up to three traces of touched requests, those with the greatest excess first.
    pub examples: Vec<TraceId>,
}

/// Why the requests cannot tell.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Undecided {
    /// The fault touched no request.
    Untouched,
    /// The fault touched every request of the run.
    AllTouched {
        /// How many.
        treated: usize,
    },
    /// There are untouched requests, but none is like a touched one.
    NothingAlike {
        /// How many requests were touched.
        treated: usize,
        /// How many were not.
        untouched: usize,
    },
    /// No stratum has enough requests of both sorts.
    TooFew {
        /// The operation of the stratum that comes nearest.
        operation: Arc<str>,
        /// Its touched requests.
        treated: usize,
        /// Its untouched requests.
        controls: usize,
        /// How many there must be of each.
        least: usize,
    },
    /// The touched requests did not take longer, or not by enough to tell it from chance.
    NoExcess {
        /// The whole excess of a touched request in nanoseconds.
        excess: Estimate,
        /// How many touched requests were compared.
        treated: usize,
        /// How many untouched requests they were compared with.
        controls: usize,
    },
}

/// Requests that may be compared.
#[derive(Default)]
struct Stratum<'o> {
    treated: Vec<&'o Observation<'o>>,
    controls: Vec<&'o Observation<'o>>,
}

/// A stratum, ready to be resampled: the time in the fault's phases, and all of the time.
struct Resampled {
    treated: Sample<2>,
    controls: Sample<2>,
    weight: f64,
}

/// Looks for the phase that is to blame for what `fault` cost; `own` are the phases that the fault acts in.
pub fn blame(observations: &[Observation<'_>], fault: u32, own: &[Phase], method: &Method) -> Blame {
    let strata = match comparable(observations, fault, method.least) {
        Ok(strata) => strata,
        Err(reason) => return Blame::Undecided(reason),
    };
    let treated: usize = strata.iter().map(|stratum| stratum.treated.len()).sum();
    let controls = strata.iter().map(|stratum| stratum.controls.len()).sum();
    let (share, excess) = intervals(&strata, treated, own, &method.bootstrap);
    if excess.low <= 0.0 {
        return Blame::Undecided(Undecided::NoExcess { excess, treated, controls });
    }
    let by_phase = by_phase(&strata, treated);
    let all_treated = observations.iter().filter(|request| request.touched(fault)).count();
    Blame::Decided(Finding {
        accused: by_phase.first().map_or(Phase::Other, |(phase, _)| phase.clone()),
        share,
        excess,
        by_phase,
        treated,
        controls,
        left_out: all_treated - treated,
        examples: examples(&strata),
    })
}

/// The strata with enough requests of both sorts, or why there are none.
fn comparable<'o>(
    observations: &'o [Observation<'o>],
    fault: u32,
    least: usize,
) -> Result<Vec<Stratum<'o>>, Undecided> {
    let mut strata = BTreeMap::<_, Stratum<'_>>::new();
    for request in observations {
        let others: Vec<_> = request.faults.iter().copied().filter(|other| *other != fault).collect();
        let stratum = strata.entry((&request.operation, others)).or_default();
        let group = if request.touched(fault) { &mut stratum.treated } else { &mut stratum.controls };
        group.push(request);
    }
    let treated: usize = strata.values().map(|stratum| stratum.treated.len()).sum();
    let untouched = observations.len() - treated;
    if treated == 0 {
        return Err(Undecided::Untouched);
    }
    if untouched == 0 {
        return Err(Undecided::AllTouched { treated });
    }
    let nearest = strata.iter().max_by_key(|(_, stratum)| stratum.smaller());
    if let Some(((operation, _), stratum)) = nearest.filter(|(_, stratum)| stratum.smaller() < least.max(1)) {
        return Err(match stratum.smaller() {
            0 => Undecided::NothingAlike { treated, untouched },
            _ => Undecided::TooFew {
                operation: Arc::clone(operation),
                treated: stratum.treated.len(),
                controls: stratum.controls.len(),
                least,
            },
        });
    }
    Ok(strata.into_values().filter(|stratum| stratum.smaller() >= least.max(1)).collect())
}

/// The share of the fault's own phases, and the whole excess in nanoseconds.
fn intervals(
    strata: &[Stratum<'_>],
    treated: usize,
    own: &[Phase],
    method: &Bootstrap,
) -> (Estimate, Estimate) {
    let own: HashSet<_> = own.iter().collect();
    let parts = |request: &&Observation<'_>| {
        let own = own.iter().map(|phase| request.phases.get(phase)).sum();
        [nanos(own), nanos(request.phases.total)]
    };
    let mut random = SplitMix64::new(method.seed);
    let mut ready = |requests: &[&Observation<'_>]| {
        let sample = Sample::new(requests.iter().map(parts).collect(), &mut random);
        sample.expect("a stratum has requests of both sorts")
    };
    let strata: Vec<_> = strata
        .iter()
        .map(|stratum| Resampled {
            treated: ready(&stratum.treated),
            controls: ready(&stratum.controls),
            weight: stratum.treated.len() as f64 / treated as f64,
        })
        .collect();
    let excess = combined(&strata, Sample::mean);
    let (mut shares, mut excesses) = (Vec::new(), Vec::new());
    for _ in 0..method.resamples {
        let [own, whole] = combined(&strata, |sample| sample.resample(&mut random));
        excesses.push(whole);
        if whole != 0.0 {
            shares.push(own / whole);
        }
    }
    let [own, whole] = excess;
    (method.percentiles(own / whole, &mut shares), method.percentiles(whole, &mut excesses))
}

/// The difference between the groups, averaged over the strata.
fn combined(strata: &[Resampled], mut mean: impl FnMut(&Sample<2>) -> [f64; 2]) -> [f64; 2] {
    let mut sum = [0.0; 2];
    for stratum in strata {
        let (treated, controls) = (mean(&stratum.treated), mean(&stratum.controls));
        for part in 0..2 {
            sum[part] += stratum.weight * (treated[part] - controls[part]);
        }
    }
    sum
}

/// The excess of each phase in nanoseconds, greatest first.
fn by_phase(strata: &[Stratum<'_>], treated: usize) -> Vec<(Phase, f64)> {
    let mut excess: Vec<(&Phase, f64)> = Vec::new();
    for stratum in strata {
        // A stratum weighs as much as it has touched requests; its untouched ones share that weight.
        let each = 1.0 / treated as f64;
        let control = -each * stratum.treated.len() as f64 / stratum.controls.len() as f64;
        for (requests, weight) in [(&stratum.treated, each), (&stratum.controls, control)] {
            for request in requests {
                // Most requests have the phases of the one before, in the same order.
                let mut place = 0;
                for (phase, time) in &request.phases.by_phase {
                    if excess.get(place).is_none_or(|(next, _)| *next != phase) {
                        place =
                            excess.binary_search_by_key(&phase, |(known, _)| known).unwrap_or_else(|new| {
                                excess.insert(new, (phase, 0.0));
                                new
                            });
                    }
                    excess[place].1 += weight * nanos(*time);
                    place += 1;
                }
            }
        }
    }
    let mut excess: Vec<(Phase, f64)> =
        excess.into_iter().map(|(phase, nanos)| (phase.clone(), nanos)).collect();
    excess.sort_by(|one, other| other.1.total_cmp(&one.1));
    excess
}

/// The traces of the touched requests that took longest over what is usual in their stratum.
fn examples(strata: &[Stratum<'_>]) -> Vec<TraceId> {
    let mut requests: Vec<_> = strata
        .iter()
        .flat_map(|stratum| {
            let whole: f64 = stratum.controls.iter().map(|request| nanos(request.phases.total)).sum();
            let usual = whole / stratum.controls.len() as f64;
            stratum.treated.iter().map(move |request| (nanos(request.phases.total) - usual, request.trace))
        })
        .collect();
    requests.sort_unstable_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
    requests.into_iter().take(3).map(|(_, trace)| trace).collect()
}

fn nanos(time: Duration) -> f64 {
    time.as_nanos() as f64
}

// === impl Method ===

impl Default for Method {
    /// At least 5 requests of each sort, and the default bootstrap.
    fn default() -> Self {
        Self { least: 5, bootstrap: Bootstrap::default() }
    }
}

// === impl Observation ===

impl Observation<'_> {
    fn touched(&self, fault: u32) -> bool {
        self.faults.contains(&fault)
    }
}

// === impl Stratum ===

impl Stratum<'_> {
    /// The size of the smaller group.
    fn smaller(&self) -> usize {
        self.treated.len().min(self.controls.len())
    }
}

// === impl Undecided ===

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untouched => f.write_str("the fault touched no request, so there is nothing to explain"),
            Self::AllTouched { treated } => write!(
                f,
                "the fault touched every request of the run ({treated}), so there is none to compare with: \
                 limit the fault to a part of the run, of the operations or of the requests"
            ),
            Self::NothingAlike { treated, untouched } => write!(
                f,
                "none of the {untouched} untouched requests has the operation and the other faults of one of the \
                 {treated} touched ones: limit the fault to a part of the run or of the requests"
            ),
            Self::TooFew { operation, treated, controls, least } => write!(
                f,
                "at least {least} touched and {least} untouched requests of one sort are needed, but the most are \
                 {treated} and {controls} of {operation:?}: run longer or send more"
            ),
            Self::NoExcess { excess, treated, controls } => {
                let ms = |nanos: f64| nanos / 1e6;
                write!(
                    f,
                    "{treated} touched requests took {:.3} ms longer than {controls} untouched ones, with an interval \
                     from {:.3} ms to {:.3} ms: not enough to tell it from chance",
                    ms(excess.value),
                    ms(excess.low),
                    ms(excess.high)
                )
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! What is judged without being asked for: whether the load was sent as it was meant.
//!
//! A load that was given up has failed, whatever the rest says. A generator that could not keep up measured
//! itself, so that nothing it measured decides anything.

use super::{Check, Verdict};
use crate::evidence::Generator;

/// A verdict where there is something to say; a load that was sent as it was meant is no news.
pub(super) fn judge(generator: &Generator) -> Option<Verdict> {
    if let Some(aborted) = &generator.aborted {
        let mut verdict = Verdict::new("the load runs to its end");
        let n = usize::try_from(aborted.n).unwrap_or(usize::MAX);
        let told = Check::told(&aborted.rule, &aborted.observed, n);
        verdict.fail(format!(
            "the load was given up after {:.1}s: {} was {}",
            aborted.after_seconds, aborted.rule, aborted.observed
        ));
        verdict.check(told);
        return Some(verdict);
    }
    let bottleneck = generator.bottleneck.as_ref()?;
    let mut verdict = Verdict::new("the generator keeps up");
    verdict.undecided(bottleneck.clone());
    Some(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{evidence::Aborted, verdict::Status};

    #[test]
    fn a_load_that_was_sent_as_it_was_meant_is_no_news() {
        assert_eq!(judge(&Generator::default()), None);
    }

    #[test]
    fn a_generator_that_did_not_keep_up_decides_nothing() {
        let generator = Generator { bottleneck: Some("no CPU left".to_owned()), ..Generator::default() };
        let verdict = judge(&generator).unwrap();
        assert_eq!((verdict.status, verdict.reasons), (Status::Inconclusive, vec!["no CPU left".to_owned()]));
    }

    #[test]
    fn a_load_that_was_given_up_has_failed_even_if_the_generator_was_slow() {
        let aborted = Aborted {
            rule: "errors > 20% over 10s".to_owned(),
            observed: "34% (34 of 100)".to_owned(),
            n: 100,
            after_seconds: 12.0,
        };
        let generator = Generator {
            aborted: Some(aborted),
            bottleneck: Some("no CPU left".to_owned()),
            ..Generator::default()
        };
        let verdict = judge(&generator).unwrap();
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(
            verdict.reasons,
            ["the load was given up after 12.0s: errors > 20% over 10s was 34% (34 of 100)"]
        );
    }
}

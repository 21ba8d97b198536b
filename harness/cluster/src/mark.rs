//! Names that nobody else has.

use std::hash::{BuildHasher as _, RandomState};

/// Eight characters that no other run has, of this machine or another one.
pub fn mark() -> String {
    // Keyed by what the system gives each process at random.
    let random = RandomState::new().hash_one(std::process::id());
    format!("{:08x}", random & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_marks_are_the_same() {
        assert_ne!(mark(), mark());
        assert_eq!(mark().len(), 8);
    }
}

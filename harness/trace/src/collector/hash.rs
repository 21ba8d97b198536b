//! The hashes of the Collector's samplers and the numbers that they are held against.

/// FNV-1a of 64 bits over `parts`, one after the other (Go's `hash/fnv.New64a`).
pub(super) fn fnv1a_64(parts: &[&[u8]]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    parts.iter().copied().flatten().fold(0xcbf2_9ce4_8422_2325, step)
}

/// FNV-1a of 32 bits over `parts` (`processor/probabilisticsamplerprocessor/fnvhasher.go`).
pub(super) fn fnv1a_32(parts: &[&[u8]]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    parts.iter().copied().flatten().fold(0x811c_9dc5, step)
}

/// (2^64 - 1) * `ratio`, as `calculateThreshold` has it (`internal/sampling/probabilistic.go` of the
/// `tail_sampling` processor v0.161.0).
///
/// A `big.Float` with a mantissa of 64 bits multiplies exactly, rounds to the nearest, ties to even, and is then cut
/// off to a whole number between 0 and 2^64 - 1.
#[expect(clippy::cast_possible_truncation, reason = "shifted to 64 bits")]
pub(super) fn part_of_u64(ratio: f64) -> u64 {
    if ratio.is_nan() || ratio <= 0.0 {
        return 0;
    }
    if ratio >= 1.0 {
        return u64::MAX;
    }
    let bits = ratio.to_bits();
    let (exponent, fraction) = (bits >> 52, bits & ((1 << 52) - 1));
    // The ratio is mantissa * 2^-down.
    let (mantissa, down) = match exponent {
        0 => (fraction, 1_074),
        _ => (fraction | 1 << 52, 1_075 - exponent),
    };
    let product = u128::from(u64::MAX) * u128::from(mantissa);
    let extra = (128 - product.leading_zeros()).saturating_sub(64);
    let mut rounded = product >> extra;
    let (rest, half) = (product - (rounded << extra), (1_u128 << extra) / 2);
    if extra > 0 && (rest > half || (rest == half && rounded & 1 == 1)) {
        rounded += 1;
    }
    // rounded * 2^(extra - down), and down is the greater: the ratio is below one.
    let down = down - u64::from(extra);
    if down >= 128 { 0 } else { (rounded >> down).min(u128::from(u64::MAX)) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the specification (draft-eastlake-fnv).
    #[test]
    fn hashes_of_the_specification() {
        assert_eq!((fnv1a_64(&[b""]), fnv1a_32(&[b""])), (0xcbf2_9ce4_8422_2325, 0x811c_9dc5));
        assert_eq!(
            (fnv1a_64(&[b"foo", b"bar"]), fnv1a_32(&[b"foobar"])),
            (0x8594_4171_f739_67e8, 0xbf9c_f968)
        );
    }

    #[test]
    fn parts_are_rounded_and_cut_off() {
        for (ratio, part) in [
            (0.0, 0),
            (-1.0, 0),
            (f64::NAN, 0),
            (f64::MIN_POSITIVE, 0),
            (0.5, (1 << 63) - 1),
            (0.25, (1 << 62) - 1),
            (1.0, u64::MAX),
            (7.0, u64::MAX),
        ] {
            assert_eq!(part_of_u64(ratio), part, "{ratio}");
        }
    }
}

//! Range of motion: robust extremes of an angle, in bounded memory.

/// Degrees that are told apart; what is outside counts as its end.
const LEAST_DEG: f32 = -150.0;

/// One bin a degree, up to beyond an arm overhead.
const BINS: u16 = 420;

/// Samples before there is a range: a second at 30 Hz.
const SAMPLES_MIN: u32 = 30;

/// Share of the samples beyond each end of the range, in hundredths: a maximum of noise would grow with time.
const BEYOND_PERCENT: u32 = 5;

/// How often an angle was at each degree.
#[derive(Debug)]
pub(super) struct Range {
    bins: Box<[u32; BINS as usize]>,
    count: u32,
}

impl Default for Range {
    fn default() -> Self {
        Self {
            bins: Box::new([0; BINS as usize]),
            count: 0,
        }
    }
}

impl Range {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the bins"
    )]
    pub fn add(&mut self, deg: f32) {
        // Years of frames: what comes then changes no percentile.
        if self.count == u32::MAX {
            return;
        }
        let bin = (deg - LEAST_DEG).clamp(0.0, (BINS - 1).into()) as usize;
        self.bins[bin] += 1;
        self.count += 1;
    }

    /// Takes all of `other`'s samples.
    pub fn merge(&mut self, other: &mut Self) {
        for (own, more) in self.bins.iter_mut().zip(other.bins.iter_mut()) {
            *own = own.saturating_add(std::mem::take(more));
        }
        self.count = self.count.saturating_add(std::mem::take(&mut other.count));
    }

    /// Forgets all samples.
    pub fn clear(&mut self) {
        self.bins.fill(0);
        self.count = 0;
    }

    /// The 5th and the 95th percentile, degrees, once there is a second of samples.
    pub fn extremes(&self) -> Option<[f32; 2]> {
        if self.count < SAMPLES_MIN {
            return None;
        }
        Some([
            self.percentile(BEYOND_PERCENT),
            self.percentile(100 - BEYOND_PERCENT),
        ])
    }

    fn percentile(&self, percent: u32) -> f32 {
        let rank = u64::from(self.count) * u64::from(percent) / 100;
        let mut below = 0;
        for (bin, count) in (0_u16..).zip(self.bins.iter()) {
            below += u64::from(*count);
            if below > rank {
                return LEAST_DEG + f32::from(bin) + 0.5;
            }
        }
        LEAST_DEG + f32::from(BINS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "small whole degrees")]
    fn one_wild_value_is_no_extreme_and_few_values_are_no_range() {
        let mut range = Range::default();
        for step in 0..29 {
            range.add(step as f32);
        }
        assert_eq!(range.extremes(), None);
        for _ in 0..100 {
            for deg in 0..=90 {
                range.add(deg as f32);
            }
        }
        range.add(200.0);
        range.add(f32::INFINITY);
        let [low, high] = range.extremes().unwrap();
        assert!(
            (3.0..6.0).contains(&low) && (84.0..88.0).contains(&high),
            "{low} {high}"
        );
    }
}

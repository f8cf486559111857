//! Means, deviations and percentiles.

/// The mean of `values`; 0 when there are none.
pub fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0u64);
    for value in values {
        sum += value;
        count += 1;
    }
    if count == 0 { 0.0 } else { sum / count as f64 }
}

/// Whole numbers, counted: loads, hops, moved keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Ascending.
    sorted: Vec<u64>,
}

impl Sample {
    /// A sample of these values, in any order.
    pub fn new(values: impl IntoIterator<Item = u64>) -> Sample {
        let mut sorted: Vec<u64> = values.into_iter().collect();
        sorted.sort_unstable();
        Sample { sorted }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The mean; 0 when there are no values.
    pub fn mean(&self) -> f64 {
        if self.is_empty() { 0.0 } else { self.sum() as f64 / self.len() as f64 }
    }

    /// The sample standard deviation (n - 1 in the denominator), from exact sums; 0 for fewer than two values.
    pub fn standard_deviation(&self) -> f64 {
        let n = self.len() as u128;
        if n < 2 {
            return 0.0;
        }
        let squares: u128 = self.sorted.iter().map(|value| u128::from(*value) * u128::from(*value)).sum();
        let numerator = n * squares - self.sum() * self.sum();
        (numerator as f64 / (n * (n - 1)) as f64).sqrt()
    }

    /// The smallest value that at least `percent` of 100 values do not exceed (nearest rank); 0 without values.
    pub fn percentile(&self, percent: f64) -> u64 {
        let rank = (percent / 100.0 * self.len() as f64).ceil() as usize;
        self.sorted.get(rank.clamp(1, self.len().max(1)) - 1).copied().unwrap_or(0)
    }

    /// Each value that occurs with how often it does, ascending.
    pub fn distribution(&self) -> Vec<(u64, usize)> {
        let mut counts: Vec<(u64, usize)> = Vec::new();
        for value in &self.sorted {
            match counts.last_mut() {
                Some((last, count)) if last == value => *count += 1,
                _ => counts.push((*value, 1)),
            }
        }
        counts
    }

    fn sum(&self) -> u128 {
        self.sorted.iter().map(|value| u128::from(*value)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviation_is_that_of_a_sample() {
        let sample = Sample::new([2, 4, 4, 4, 5, 5, 7, 9]);
        assert_eq!(sample.mean(), 5.0);
        assert!((sample.standard_deviation() - 2.138_089_935_299_395).abs() < 1e-15);
        assert_eq!(Sample::new([3]).standard_deviation(), 0.0);
        assert_eq!(Sample::default().mean(), 0.0);
    }

    #[test]
    fn percentiles_are_values_of_the_sample() {
        let sample = Sample::new((1..=200).rev());
        assert_eq!([1.0, 50.0, 99.0, 100.0].map(|p| sample.percentile(p)), [2, 100, 198, 200]);
        assert_eq!(Sample::new([7]).percentile(1.0), 7);
        assert_eq!(Sample::default().percentile(99.0), 0);
    }

    #[test]
    fn a_distribution_counts_equal_values() {
        assert_eq!(Sample::new([3, 1, 3]).distribution(), [(1, 1), (3, 2)]);
    }
}

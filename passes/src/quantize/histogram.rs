//! What values a tensor takes: extremes and a histogram that grows with them, in one sweep over the samples.
//!
//! The bins cover `-reach..reach`. When a value lies beyond, the reach doubles and neighbouring bins join, so that no
//! second sweep is needed and no count is lost; at least a quarter of the bins lies between zero and the extreme that is
//! farther away.

/// Bins of a histogram; a multiple of 4, far more than there are int8 steps.
const BINS: usize = 8192;

/// Values of one tensor over all samples.
#[derive(Clone, Debug)]
pub struct Histogram {
    min: f32,
    max: f32,
    reach: f64,
    counts: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { min: f32::INFINITY, max: f32::NEG_INFINITY, reach: 0.0, counts: vec![0; BINS] }
    }
}

impl Histogram {
    /// Adds values, all finite.
    pub fn add(&mut self, values: &[f32]) {
        let (mut min, mut max) = (self.min, self.max);
        for &x in values {
            min = if x < min { x } else { min };
            max = if x > max { x } else { max };
        }
        (self.min, self.max) = (min, max);
        self.grow(f64::from(min.abs().max(max.abs())));
        if self.reach == 0.0 {
            self.counts[BINS / 2] += values.len() as u64;
            return;
        }
        let per_unit = (BINS / 2) as f64 / self.reach;
        for &x in values {
            let bin = ((f64::from(x) + self.reach) * per_unit) as usize;
            self.counts[bin.min(BINS - 1)] += 1;
        }
    }

    /// Makes room for numbers of the given size.
    fn grow(&mut self, size: f64) {
        if !size.is_finite() || size <= self.reach {
            return;
        }
        if self.reach == 0.0 {
            // Zeros so far, which stay in the bin above the middle.
            self.reach = size;
            return;
        }
        while self.reach < size {
            self.reach *= 2.0;
            let mut joined = vec![0; BINS];
            for (bin, &count) in self.counts.iter().enumerate() {
                joined[BINS / 4 + bin / 2] += count;
            }
            self.counts = joined;
        }
    }

    /// Adds what another histogram holds.
    pub fn merge(&mut self, other: &Histogram) {
        if other.is_empty() {
            return;
        }
        let mut other = other.clone();
        if self.is_empty() {
            *self = other;
            return;
        }
        (self.min, self.max) = (self.min.min(other.min), self.max.max(other.max));
        if self.reach == other.reach {
            self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
            return;
        }
        // The reaches of two tensors have no common measure: the smaller one's bins go where their middles lie.
        if other.reach > self.reach {
            std::mem::swap(&mut self.counts, &mut other.counts);
            std::mem::swap(&mut self.reach, &mut other.reach);
        }
        let per_unit = (BINS / 2) as f64 / self.reach;
        for (value, count) in other.bins() {
            let bin = ((value + self.reach) * per_unit) as usize;
            self.counts[bin.min(BINS - 1)] += count;
        }
    }

    /// Whether no value was added.
    pub fn is_empty(&self) -> bool {
        self.min > self.max
    }

    /// Least and greatest value; `(0, 0)` if there is none.
    pub fn extremes(&self) -> (f32, f32) {
        if self.is_empty() { (0.0, 0.0) } else { (self.min, self.max) }
    }

    /// Middles of the bins that hold something, ascending, with their counts.
    pub fn bins(&self) -> impl Iterator<Item = (f64, u64)> {
        let width = 2.0 * self.reach / BINS as f64;
        let middle =
            move |bin: usize| if width == 0.0 { 0.0 } else { (bin as f64 + 0.5) * width - self.reach };
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(move |(bin, &count)| (middle(bin), count))
    }

    /// The values below and above which the given share of all values lies, from 0 to 1, on both sides together.
    pub fn percentile(&self, inside: f64) -> (f32, f32) {
        let bins: Vec<(f64, u64)> = self.bins().collect();
        let total: u64 = bins.iter().map(|(_, count)| count).sum();
        let beyond = total as f64 * (1.0 - inside) / 2.0;
        fn from<'a>(mut bins: impl Iterator<Item = &'a (f64, u64)>, beyond: f64) -> Option<f32> {
            let mut seen = 0.0;
            let found = bins.find(|(_, count)| {
                seen += *count as f64;
                seen > beyond
            });
            found.map(|(value, _)| *value as f32)
        }
        let (min, max) = self.extremes();
        let low = from(bins.iter(), beyond).unwrap_or(min);
        let high = from(bins.iter().rev(), beyond).unwrap_or(max);
        (low.max(min), high.min(max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_are_exact_and_no_count_is_lost_while_it_grows() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.extremes(), (0.0, 0.0));
        histogram.add(&[0.0, 0.0]);
        histogram.add(&[0.25, -0.125]);
        histogram.add(&[100.0]);
        assert_eq!(histogram.extremes(), (-0.125, 100.0));
        assert_eq!(histogram.bins().map(|(_, count)| count).sum::<u64>(), 5);
    }

    #[test]
    fn bins_lie_where_the_values_are() {
        let mut histogram = Histogram::default();
        for i in 0..1000 {
            histogram.add(&[i as f32 / 10.0]);
        }
        let mean: f64 = histogram.bins().map(|(value, count)| value * count as f64).sum::<f64>() / 1000.0;
        assert!((mean - 49.95).abs() < 0.05, "{mean}");
    }

    #[test]
    fn merging_is_as_adding() {
        let (low, high) = (vec![-1.0, 0.5, 0.75], vec![8.0, 3.0]);
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        one.add(&low);
        other.add(&high);
        one.merge(&other);
        assert_eq!(one.extremes(), (-1.0, 8.0));
        assert_eq!(one.bins().map(|(_, count)| count).sum::<u64>(), 5);
        let mut empty = Histogram::default();
        empty.merge(&one);
        assert_eq!(empty.extremes(), (-1.0, 8.0));
    }

    #[test]
    fn percentiles_leave_out_both_tails() {
        let mut histogram = Histogram::default();
        let values: Vec<f32> = (0..10_000).map(|i| i as f32 / 10_000.0).collect();
        histogram.add(&values);
        histogram.add(&[1000.0]);
        let (low, high) = histogram.percentile(0.99);
        assert!((low - 0.005).abs() < 0.3 && high < 1.3, "{low} {high}");
        assert_eq!(histogram.percentile(1.0), (0.0, 1000.0));
    }
}

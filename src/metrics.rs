//! Measures of what a model gets right, and of how far it is from another.

/// Index of the greatest number; the first of equal ones, `None` if there are none.
pub fn argmax(numbers: &[f32]) -> Option<usize> {
    let greater = |best: Option<usize>, (at, number): (usize, &f32)| match best {
        Some(best) if numbers[best] >= *number => Some(best),
        _ => Some(at),
    };
    numbers.iter().enumerate().fold(None, greater)
}

/// How many numbers stand before that of a class when the greatest comes first; equal ones count if their index is less.
pub fn rank(numbers: &[f32], class: usize) -> usize {
    let Some(&own) = numbers.get(class) else { return numbers.len() };
    numbers.iter().enumerate().filter(|&(at, &other)| other > own || other == own && at < class).count()
}

/// How often each class was taken for each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Confusion {
    /// By class, then by predicted class.
    counts: Vec<Vec<u64>>,
}

impl Confusion {
    /// Nothing yet, of so many classes.
    pub fn new(classes: usize) -> Self {
        Self { counts: vec![vec![0; classes]; classes] }
    }

    /// Counts a prediction. Classes beyond the last are the caller's error and count nothing.
    pub fn add(&mut self, class: usize, predicted: usize) {
        if let Some(count) = self.counts.get_mut(class).and_then(|row| row.get_mut(predicted)) {
            *count += 1;
        }
    }

    /// By class, then by predicted class.
    pub fn counts(&self) -> &[Vec<u64>] {
        &self.counts
    }

    /// Samples of a class.
    pub fn samples(&self, class: usize) -> u64 {
        self.counts.get(class).map_or(0, |row| row.iter().sum())
    }

    /// Samples whose class was predicted.
    pub fn correct(&self) -> u64 {
        (0..self.counts.len()).map(|class| self.counts[class][class]).sum()
    }

    /// Part of a class's samples that were taken for it; `None` without samples.
    pub fn recall(&self, class: usize) -> Option<f64> {
        ratio(self.counts.get(class)?[class], self.samples(class))
    }

    /// Part of what was taken for a class that is of it; `None` if nothing was.
    pub fn precision(&self, class: usize) -> Option<f64> {
        ratio(self.counts.get(class)?[class], self.counts.iter().map(|row| row[class]).sum())
    }
}

/// A part of a whole; `None` of nothing.
pub fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// How far numbers are from those of a reference.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Deviation {
    /// Sum of the reference's squares.
    signal: f64,
    /// Sum of the differences' squares.
    noise: f64,
    /// Greatest difference.
    pub max_abs: f64,
}

impl Deviation {
    /// That of one sample. NaN where the reference has NaN is no difference; NaN elsewhere makes everything NaN.
    pub fn of(numbers: &[f32], reference: &[f32]) -> Self {
        let mut deviation = Self::default();
        for (&number, &reference) in numbers.iter().zip(reference) {
            if number.to_bits() == reference.to_bits() && !reference.is_finite() {
                continue;
            }
            let difference = f64::from(number) - f64::from(reference);
            deviation.signal += f64::from(reference).powi(2);
            deviation.noise += difference.powi(2);
            deviation.max_abs =
                if difference.is_nan() { f64::NAN } else { deviation.max_abs.max(difference.abs()) };
        }
        deviation
    }

    /// Adds another sample's.
    pub fn add(&mut self, other: Self) {
        self.signal += other.signal;
        self.noise += other.noise;
        self.max_abs = if other.max_abs.is_nan() { f64::NAN } else { self.max_abs.max(other.max_abs) };
    }

    /// Signal-to-quantization-noise ratio in dB, `10 log10(sum of reference² / sum of difference²)` over all samples;
    /// infinite where nothing differs.
    pub fn sqnr_db(&self) -> f64 {
        if self.noise == 0.0 { f64::INFINITY } else { 10.0 * (self.signal / self.noise).log10() }
    }
}

/// Mean of the squared differences; zero of nothing.
pub fn mean_square(numbers: &[f32], others: &[f32]) -> f64 {
    let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
    numbers.iter().zip(others).map(square).sum::<f64>() / numbers.len().max(1) as f64
}

/// Area under the receiver operating characteristic: the chance that a positive scores above a negative, where equal
/// scores count half. `None` unless there are both.
///
/// Source: the statistic of Mann and Whitney; Hanley and McNeil, "The meaning and use of the area under a receiver
/// operating characteristic (ROC) curve", 1982.
pub fn auc(scores: &[(f64, bool)]) -> Option<f64> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = sorted.iter().filter(|(_, positive)| *positive).count() as f64;
    let negatives = sorted.len() as f64 - positives;
    let (mut above, mut seen) = (0.0, 0.0);
    for equal in sorted.chunk_by(|a, b| a.0 == b.0) {
        let here = equal.iter().filter(|(_, positive)| *positive).count() as f64;
        let others = equal.len() as f64 - here;
        above += here * (seen + others / 2.0);
        seen += others;
    }
    (positives > 0.0 && negatives > 0.0).then(|| above / (positives * negatives))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_numbers_wins() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0, 2.0]), Some(1));
        assert_eq!(argmax(&[]), None);
        assert_eq!([0, 1, 2, 3].map(|class| rank(&[1.0, 3.0, 3.0, 2.0], class)), [3, 0, 1, 2]);
    }

    #[test]
    fn confusion_counts_by_class_and_prediction() {
        let mut confusion = Confusion::new(3);
        for (class, predicted) in [(0, 0), (0, 0), (0, 1), (1, 1), (1, 0)] {
            confusion.add(class, predicted);
        }
        assert_eq!(confusion.counts(), [vec![2, 1, 0], vec![1, 1, 0], vec![0, 0, 0]]);
        assert_eq!((confusion.correct(), confusion.samples(0)), (3, 3));
        assert_eq!((confusion.recall(1), confusion.precision(0)), (Some(0.5), Some(2.0 / 3.0)));
        assert_eq!((confusion.recall(2), confusion.precision(2)), (None, None));
    }

    #[test]
    fn signal_to_noise_is_over_all_samples() {
        // Signal 9 + 16 + 0 = 25, noise 0.25 + 0 + 0 = 0.25: a hundredfold is 20 dB.
        let mut deviation = Deviation::of(&[3.5, 4.0], &[3.0, 4.0]);
        deviation.add(Deviation::of(&[0.0], &[0.0]));
        assert!((deviation.sqnr_db() - 20.0).abs() < 1e-12);
        assert_eq!(deviation.max_abs, 0.5);
        assert_eq!(Deviation::of(&[1.0], &[1.0]).sqnr_db(), f64::INFINITY);
        assert!(Deviation::of(&[f32::NAN], &[1.0]).sqnr_db().is_nan());
        assert_eq!(mean_square(&[1.0, 2.0], &[1.0, 4.0]), 2.0);
    }

    #[test]
    fn area_is_the_part_of_pairs_in_order() {
        assert_eq!(auc(&[(0.1, false), (0.4, false), (0.35, true), (0.8, true)]), Some(0.75));
        assert_eq!(auc(&[(1.0, false), (1.0, true)]), Some(0.5));
        // Pairs: 2 over 1 counts 1, 2 over 2 half, 1 over 1 half, 1 over 2 nothing.
        assert_eq!(auc(&[(1.0, false), (1.0, true), (2.0, true), (2.0, false)]), Some(0.5));
        assert_eq!(auc(&[(1.0, true)]), None);
    }
}

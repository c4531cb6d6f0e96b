//! Which layer gets how many bits: a multiple-choice knapsack, solved exactly for all budgets at once.
//!
//! Every layer takes one of its options; bytes and noise add up. Layers are added one after the other to the list of
//! all sums that no other sum beats in both; since sums that are beaten stay so whatever follows, the list at the end is the
//! whole Pareto front. It holds at most as many entries as there are different sums of bytes, which bounds the time by
//! layers x options x bytes. Source: Kellerer, Pferschy, Pisinger, "Knapsack Problems", section 11.5 (dynamic
//! programming with lists and dominance).

/// What a layer may take.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Choice {
    /// Its weights in flash.
    pub bytes: usize,
    /// Noise at the outputs that it adds.
    pub noise: f64,
}

/// A point of the front: an option for every layer.
#[derive(Clone, PartialEq, Debug)]
pub struct Assignment {
    /// Sum of the bytes.
    pub bytes: usize,
    /// Sum of the noises.
    pub noise: f64,
    /// Position of each layer's option.
    pub options: Vec<usize>,
}

/// One entry of the list: its sums, the option of the newest layer, and the entry that it continues.
#[derive(Clone, Copy)]
struct Entry {
    bytes: usize,
    noise: f64,
    option: usize,
    before: usize,
}

/// All assignments that no other beats in bytes and noise, from fewest bytes to most. Every layer has at least one option, or there
/// is none.
pub fn pareto_front(layers: &[Vec<Choice>]) -> Vec<Assignment> {
    let mut stages: Vec<Vec<Entry>> = vec![vec![Entry { bytes: 0, noise: 0.0, option: 0, before: 0 }]];
    for options in layers {
        let before = &stages[stages.len() - 1];
        let mut sums: Vec<Entry> = Vec::with_capacity(before.len() * options.len());
        for (at, entry) in before.iter().enumerate() {
            sums.extend(options.iter().enumerate().map(|(option, choice)| Entry {
                bytes: entry.bytes + choice.bytes,
                noise: entry.noise + choice.noise,
                option,
                before: at,
            }));
        }
        sums.sort_by(|a, b| a.bytes.cmp(&b.bytes).then(a.noise.total_cmp(&b.noise)));
        let mut least = f64::INFINITY;
        sums.retain(|entry| {
            let better = entry.noise < least;
            least = least.min(entry.noise);
            better
        });
        stages.push(sums);
    }
    let last = stages.len() - 1;
    (0..stages[last].len()).map(|at| trace(&stages, at)).collect()
}

/// The assignment that leads to an entry of the last stage.
fn trace(stages: &[Vec<Entry>], at: usize) -> Assignment {
    let last = stages.len() - 1;
    let Entry { bytes, noise, .. } = stages[last][at];
    let mut options = vec![0; last];
    let mut at = at;
    for stage in (1..=last).rev() {
        options[stage - 1] = stages[stage][at].option;
        at = stages[stage][at].before;
    }
    Assignment { bytes, noise, options }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least noise within a budget, by trying everything.
    fn brute_force(layers: &[Vec<Choice>], budget: usize) -> Option<f64> {
        let Some((first, rest)) = layers.split_first() else { return Some(0.0) };
        let affordable = first.iter().filter(|choice| choice.bytes <= budget);
        let totals =
            affordable.filter_map(|choice| Some(choice.noise + brute_force(rest, budget - choice.bytes)?));
        totals.min_by(f64::total_cmp)
    }

    #[test]
    fn the_front_is_what_brute_force_finds_for_every_budget() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let mut choice = || Choice { bytes: random.usize(0..40), noise: f64::from(random.u32(0..50)) };
            let layers: Vec<Vec<Choice>> = (0..5).map(|_| (0..3).map(|_| choice()).collect()).collect();
            let front = pareto_front(&layers);
            for budget in 0..200 {
                let found = front.iter().filter(|point| point.bytes <= budget).map(|point| point.noise);
                let found = found.min_by(f64::total_cmp);
                assert_eq!(found, brute_force(&layers, budget), "{layers:?} {budget}");
            }
            for point in &front {
                let of = |f: fn(&Choice) -> f64| -> f64 {
                    layers.iter().zip(&point.options).map(|(layer, &option)| f(&layer[option])).sum()
                };
                assert_eq!((point.bytes as f64, point.noise), (of(|c| c.bytes as f64), of(|c| c.noise)));
            }
        }
    }

    #[test]
    fn no_layers_cost_nothing_and_no_options_allow_nothing() {
        assert_eq!(pareto_front(&[]).len(), 1);
        assert_eq!(pareto_front(&[Vec::new()]), Vec::new());
    }
}

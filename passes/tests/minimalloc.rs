//! The exact search places every instance of MiniMalloc within few nodes. `bench/minimalloc.sh` prints how many.

use mcunet_passes::plan_memory::exact::{Fit, fit};
use mcunet_passes::watch::Unwatched;
use mcunet_testing::minimalloc::instances;

/// Twice what the hardest takes.
const MAX_NODES: usize = 50_000;

#[test]
fn instances_are_placed_within_their_capacity() {
    for instance in instances().unwrap_or_default() {
        let (fit, nodes) = fit(&instance.problem, instance.capacity, MAX_NODES, &Unwatched);
        assert!(nodes <= MAX_NODES);
        let Fit::Found(offsets) = fit else { panic!("{}: {fit:?} within {nodes} nodes", instance.name) };
        instance.check(&offsets);
    }
}

//! Places the instances of MiniMalloc within their capacities by the exact search, and prints what that took:
//!     cargo run --release -p mcunet-passes --example minimalloc -- [MAX_NODES]
//! Nodes don't depend on the machine, seconds do.

use mcunet_passes::plan_memory::best_fit;
use mcunet_passes::plan_memory::exact::{self, Fit, lower_bound};
use mcunet_passes::watch::Unwatched;
use mcunet_testing::minimalloc::{Instance, instances};
use std::time::Instant;

/// Enough for all instances known.
const MAX_NODES: usize = 1_000_000;

fn main() -> Result<(), String> {
    let max_nodes = match std::env::args().nth(1) {
        Some(text) => text.parse().map_err(|_| format!("expected a number of nodes, got '{text}'"))?,
        None => MAX_NODES,
    };
    let instances = instances().ok_or("nothing to place")?;
    println!("| instance | buffers | greedy | lower bound | capacity | height | proven | nodes | seconds |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let solved = instances.iter().filter(|instance| row(instance, max_nodes)).count();
    println!("\n{solved} of {} within the capacity, at most {max_nodes} nodes each", instances.len());
    Ok(())
}

/// Prints a line. Returns whether a placement was found.
fn row(instance: &Instance, max_nodes: usize) -> bool {
    let (problem, capacity) = (&instance.problem, instance.capacity);
    let (greedy, bound) = (problem.height(&best_fit::solve(problem)), lower_bound(problem));
    let start = Instant::now();
    let (fit, nodes) = exact::fit(problem, capacity, max_nodes, &Unwatched);
    let seconds = start.elapsed().as_secs_f64();
    let (height, proven) = match &fit {
        Fit::Found(offsets) => {
            instance.check(offsets);
            let height = problem.height(offsets);
            (height.to_string(), if height == bound { "least" } else { "fits" })
        }
        Fit::Impossible => ("-".to_owned(), "does not fit"),
        Fit::Unknown => ("-".to_owned(), "no"),
    };
    println!(
        "| {} | {} | {greedy} | {bound} | {capacity} | {height} | {proven} | {nodes} | {seconds:.2} |",
        instance.name,
        problem.items.len()
    );
    matches!(fit, Fit::Found(_))
}

//! What the next kilobyte would cost: where so many bytes live that the arena can't be a kilobyte smaller unless
//! something there shrinks.
//!
//! A step is *tight* if more live at it than the lower bound less a kilobyte. The bound falls by a kilobyte if every tight
//! step gives up what it has in excess of that. What the plan lies above the bound is a matter of placing, and comes on top.

use super::layers::origin;
use mcunet_ir::loops::program::Part;
use mcunet_ir::module::Function;
use mcunet_passes::analysis::composition::{buffer_name, row_bytes};
use mcunet_passes::analysis::liveness::{BufferLife, LiveBytes, Liveness};
use serde::Serialize;

/// What is to be saved.
pub const SAVED_BYTES: usize = 1024;

/// What stands in the way of an arena that is a kilobyte smaller.
#[derive(Serialize, Debug)]
pub struct NextKilobyte {
    /// The kilobyte.
    pub saved_bytes: usize,
    /// What of it a better placement of the same buffers could give, as far as is known.
    pub by_placement_bytes: usize,
    /// What would have to live at most at any step for the lower bound to be a kilobyte smaller.
    pub goal_bytes: usize,
    /// Steps at which more live.
    pub tight_steps: usize,
    /// Cascades, and layers that run by themselves, that have such steps.
    pub places: Vec<Tight>,
    /// What lives at such steps; those that live at most of them first.
    pub tensors: Vec<Lever>,
}

/// A cascade, or a layer by itself, with tight steps.
#[derive(Serialize, Debug)]
pub struct Tight {
    /// Its first layer.
    pub first_layer: usize,
    /// Its last layer.
    pub last_layer: usize,
    /// How many of its steps are tight.
    pub tight_steps: usize,
    /// The worst of them.
    pub worst_step: usize,
    /// The layer that runs then.
    pub worst_layer: usize,
    /// Its operation.
    pub op: String,
    /// Where it comes from in the model.
    pub origin: String,
    /// Bytes that live then.
    pub live_bytes: usize,
    /// What would have to be given up of them.
    pub excess_bytes: usize,
    /// What lives then, largest first.
    pub buffers: Vec<Share>,
}

/// A tensor at the worst step of a place.
#[derive(Serialize, Debug)]
pub struct Share {
    /// Name of the tensor.
    pub name: String,
    /// Bytes of it that live.
    pub bytes: usize,
}

/// A tensor that lives at tight steps.
#[derive(Serialize, Debug)]
pub struct Lever {
    /// Name of the tensor.
    pub name: String,
    /// What it is: input, output, activation or scratch.
    pub role: &'static str,
    /// The first and the last layer that touch it.
    pub layers: [usize; 2],
    /// At how many of the tight steps it lives.
    pub tight_steps: usize,
    /// The most bytes of it that live at one of them.
    pub bytes: usize,
    /// What it would have to give up if nothing else shrank, where it lives.
    pub excess_bytes: usize,
    /// Bytes of a row.
    pub row_bytes: usize,
    /// Whether that would do: it lives at all tight steps, with enough bytes.
    pub sufficient: bool,
}

impl NextKilobyte {
    /// The analysis of a lowered function, given the bytes that live at each step; nothing if there is no kilobyte to save.
    pub fn of(function: &Function, liveness: &Liveness, live: &[usize], arena: usize) -> Option<Self> {
        let bound = live.iter().copied().max()?;
        let goal = bound.checked_sub(SAVED_BYTES).filter(|&goal| goal > 0)?;
        let mut places: Vec<Tight> = (liveness.program.parts.iter())
            .filter_map(|part| Tight::of(function, liveness, live, goal, part))
            .collect();
        let mut tensors = Vec::new();
        for life in &liveness.buffers {
            let held: Vec<usize> = bytes_by_step(life, live.len());
            for place in places.iter_mut().filter(|place| held[place.worst_step] > 0) {
                let name = buffer_name(function, life).to_owned();
                place.buffers.push(Share { name, bytes: held[place.worst_step] });
            }
            tensors.extend(Lever::of(function, life, &held, live, goal));
        }
        for place in &mut places {
            place.buffers.sort_by_key(|share| std::cmp::Reverse(share.bytes));
        }
        tensors.sort_by_key(|lever| std::cmp::Reverse((lever.sufficient, lever.tight_steps, lever.bytes)));
        Some(Self {
            saved_bytes: SAVED_BYTES,
            by_placement_bytes: arena.saturating_sub(bound).min(SAVED_BYTES),
            goal_bytes: goal,
            tight_steps: live.iter().filter(|&&bytes| bytes > goal).count(),
            places,
            tensors,
        })
    }
}

impl Tight {
    fn of(
        function: &Function,
        liveness: &Liveness,
        live: &[usize],
        goal: usize,
        part: &Part,
    ) -> Option<Self> {
        let tight = part.steps.clone().filter(|&step| live[step] > goal);
        let tight_steps = tight.clone().count();
        let worst_step = tight.max_by_key(|&step| (live[step], std::cmp::Reverse(step)))?;
        let worst_layer = liveness.program.steps[worst_step].kernel;
        Some(Self {
            first_layer: part.kernels.start,
            last_layer: part.kernels.end.saturating_sub(1),
            tight_steps,
            worst_step,
            worst_layer,
            op: liveness.program.head(function, worst_layer).layer.to_string(),
            origin: origin(&function.ops[liveness.program.kernels[worst_layer]].origin),
            live_bytes: live[worst_step],
            excess_bytes: live[worst_step] - goal,
            buffers: Vec::new(),
        })
    }
}

impl Lever {
    /// What a buffer, of which so many bytes live at each step, could give; nothing if it does not live at tight steps.
    fn of(
        function: &Function,
        life: &BufferLife,
        held: &[usize],
        live: &[usize],
        goal: usize,
    ) -> Option<Self> {
        let mut lever = Self {
            name: buffer_name(function, life).to_owned(),
            role: life.role.name(),
            layers: life.kernels,
            tight_steps: 0,
            bytes: 0,
            excess_bytes: 0,
            row_bytes: row_bytes(function, life),
            sufficient: true,
        };
        for (&held, excess) in held.iter().zip(live.iter().map(|bytes| bytes.saturating_sub(goal))) {
            // More than there is can't be given up; then also something else has to.
            lever.sufficient &= held >= excess;
            if held > 0 && excess > 0 {
                lever.tight_steps += 1;
                lever.bytes = lever.bytes.max(held);
                lever.excess_bytes = lever.excess_bytes.max(excess.min(held));
            }
        }
        (lever.tight_steps > 0).then_some(lever)
    }
}

/// Bytes of a buffer that live at each of so many steps.
fn bytes_by_step(life: &BufferLife, steps: usize) -> Vec<usize> {
    let mut bytes = LiveBytes::none(steps);
    for (slot, lives) in life.slots.iter().enumerate() {
        lives.iter().for_each(|&interval| bytes.add(interval, life.bytes_of(slot)));
    }
    bytes.by_step().take(steps).collect()
}

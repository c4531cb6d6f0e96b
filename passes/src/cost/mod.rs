//! What one invocation of the program costs: instructions, cycles, accesses to memory, code.
//!
//! Counted from the lowered program: its walk says which instructions the compiler makes of a kernel and how often each is
//! executed, a core's table what they take. Nothing is fitted to a model: `docs/cost.md` says where every figure comes from
//! and how far the sums are from those of the simulator.
//!
//! What the caller does is not counted: filling inputs, reading outputs, handing over rows.

mod accesses;
mod count;
pub mod depthwise;
pub mod depthwise_block;
pub mod depthwise_blocks;
mod linear;
pub mod matmul;
pub mod mix;
mod pointers;
mod registers;
mod scope;
mod select;
mod shared;
#[cfg(test)]
mod tests;
mod unroll;
mod values;
mod walk;

mod cortex_m0plus;
mod cortex_m3;
mod cortex_m33;
mod cortex_m4;
mod cortex_m7;

use crate::target::{Core, Target};
use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::ops::Depthwise;
use mcunet_ir::loops::program::Program;
use mcunet_ir::module::{Function, Module, OpKind};
use mcunet_ir::types::Scalar;
use mix::Mix;
use shared::Shared;
use std::collections::{BTreeMap, BTreeSet};
use walk::{Calls, KernelMix};

/// What the compiler can use.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Isa {
    /// The DSP extension.
    pub dsp: bool,
    /// A unit for single-precision floats.
    pub float: bool,
    /// 32-bit instructions (Thumb-2): wide offsets and literals, division, bit fields.
    pub wide: bool,
    /// Multiplications that add.
    pub multiply_accumulate: bool,
    /// Multiplications with 64-bit results.
    pub long: bool,
    /// Core registers that hold values.
    pub registers: usize,
}

impl Isa {
    /// A product of two words in two words: an instruction, or four of halves.
    fn long_multiply(&self) -> Mix {
        match self.long {
            true => Mix { long_multiplies: 1.0, ..Mix::default() },
            false => Mix { multiplies: 4.0, alu: 14.0, ..Mix::default() },
        }
    }
}

/// Cycles of instructions on a core, at memory without wait states.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Timing {
    /// What the compiler can use.
    pub isa: Isa,
    /// Of an arithmetic instruction.
    pub alu: f64,
    /// Of arithmetic on the lanes of a word, where that is told apart.
    pub lane_op: f64,
    /// Of an IT instruction.
    pub condition: f64,
    /// Of a multiplication with a 32-bit result.
    pub multiply: f64,
    /// Of a multiplication with a 64-bit result.
    pub long_multiply: f64,
    /// Of what was placed by hand to be issued together with another instruction.
    pub paired: f64,
    /// Of a division.
    pub division: f64,
    /// Of a load.
    pub load: f64,
    /// On top, of a load of less than a word.
    pub narrow_load: f64,
    /// Of a load of two words.
    pub load_pair: f64,
    /// Of a load that was placed by hand next to others.
    pub scheduled_load: f64,
    /// On top, of the last of them.
    pub load_run: f64,
    /// On top, of a load whose address is not a multiple of four.
    pub unaligned_load: f64,
    /// Of a store that was placed by hand next to others.
    pub scheduled_store: f64,
    /// Of a store.
    pub store: f64,
    /// Of each word saved or restored around a function.
    pub saved_word: f64,
    /// Of a branch that is not taken.
    pub untaken: f64,
    /// Of a branch that is taken.
    pub taken: f64,
    /// On top, of a branch that leaves its usual direction.
    pub surprise: f64,
    /// Of an addition of floats.
    pub float_add: f64,
    /// Of a multiplication of floats.
    pub float_multiply: f64,
    /// Of a division of floats.
    pub float_division: f64,
    /// Bytes of an instruction.
    pub instruction_bytes: f64,
}

impl Timing {
    /// The table of a core. Those without one take that of the nearest: M0 and M23 that of M0+, M55 (whose vector
    /// instructions the compiler is not asked for) that of M33.
    pub fn of(core: Core) -> &'static Timing {
        match core {
            Core::CortexM0 | Core::CortexM0plus | Core::CortexM23 => &cortex_m0plus::TIMING,
            Core::CortexM3 => &cortex_m3::TIMING,
            Core::CortexM4 => &cortex_m4::TIMING,
            Core::CortexM7 => &cortex_m7::TIMING,
            Core::CortexM33 | Core::CortexM55 => &cortex_m33::TIMING,
        }
    }

    /// Cycles of instructions.
    pub fn cycles(&self, mix: &Mix) -> f64 {
        self.alu * mix.alu
            + self.lane_op * mix.lane_ops
            + self.condition * mix.conditions
            + self.multiply * mix.multiplies
            + self.long_multiply * mix.long_multiplies
            + self.paired * mix.all_paired()
            + self.division * mix.divisions
            + self.load * mix.loads()
            + self.narrow_load * mix.narrow_loads
            + self.load_pair * (mix.flash_pairs + mix.ram_pairs)
            + self.scheduled_load * (mix.scheduled_loads() + mix.further_words)
            + self.unaligned_load * mix.unaligned_loads
            + self.load_run * mix.load_runs
            + self.scheduled_store * mix.scheduled_stores
            + self.store * mix.stores()
            + self.saved_word * mix.saved_words
            + self.untaken * mix.untaken
            + self.taken * mix.taken
            + self.surprise * mix.surprises
            + self.float_add * mix.float_adds
            + self.float_multiply * mix.float_multiplies
            + self.float_division * mix.float_divisions
    }
}

/// What a piece of a program costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// Cycles at memory without wait states.
    pub cycles: u64,
    /// Instructions that are executed.
    pub instructions: u64,
    /// Words or less that are loaded from RAM, the stack included.
    pub ram_loads: u64,
    /// Words or less that are loaded from constants.
    pub flash_loads: u64,
    /// Words or less that are stored.
    pub stores: u64,
    /// Bytes of code, of what kernels share at the first of them, with what these give the function.
    pub code_bytes: u64,
}

/// What an invocation costs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cost {
    /// In all; of code also the functions that layers call.
    pub total: Figures,
    /// Of each kernel, in the order of [`Program::kernels`]: the layers.
    pub layers: Vec<Figures>,
}

/// The cost of one invocation of a lowered module on a target; nothing for a module of another stage.
pub fn of_module(module: &Module, target: &Target) -> Cost {
    of_module_on(module, target.core)
}

/// The cost of one invocation of a lowered module on a core.
pub fn of_module_on(module: &Module, core: Core) -> Cost {
    module.functions.first().map_or_else(Cost::default, |function| of_function_on(function, core))
}

/// The cost of one invocation of a lowered function on a core.
pub fn of_function_on(function: &Function, core: Core) -> Cost {
    let timing = Timing::of(core);
    let program = Program::of(function);
    let shared = Shared::of(function, &program);
    let mut layers = Vec::new();
    for part in &program.parts {
        for index in part.kernels.clone() {
            let kernel = program.kernels[index];
            let calls = Calls { rows: program.head(function, index).rows, per_row: part.cascade.is_some() };
            let sharer = shared.sharers.get(&kernel);
            let opened = shared.function.as_ref().filter(|_| sharer.is_some());
            let mut mix = walk::kernel(function, opened, kernel, calls, &timing.isa);
            let mut own_bytes = 0;
            if let Some(sharer) = sharer {
                mix.executed += shared::call() * if calls.per_row { calls.rows as f64 } else { 1.0 };
                mix.code = if sharer.is_first { mix.code } else { Mix::default() };
                own_bytes = sharer.own_bytes as u64;
            }
            if calls.per_row {
                mix.executed += dispatch() * calls.rows as f64;
                mix.code += dispatch();
            }
            let figures = figures(&mix, timing);
            layers.push(Figures { code_bytes: figures.code_bytes + own_bytes, ..figures });
        }
    }
    let mut total = layers.iter().fold(Figures::default(), Figures::plus);
    total.code_bytes += called_code_bytes(function);
    Cost { total, layers }
}

/// Bytes of the functions that kernels call for products and depthwise convolutions.
fn called_code_bytes(function: &Function) -> u64 {
    let mut products = BTreeSet::new();
    let mut windows = BTreeSet::new();
    for op in function.walk() {
        let data = &function.ops[op];
        match &data.kind {
            OpKind::Loop(LoopOp::Matmul(head)) => {
                let inputs = function.ty(data.operands[1]).as_memref();
                let narrow = inputs.is_some_and(|inputs| inputs.element == Scalar::I8);
                products.extend(matmul::Function::of(head, narrow).map(|(function, _)| function));
            }
            OpKind::Loop(LoopOp::Depthwise(head)) => {
                let rows = Depthwise::rows(&data.operands).len();
                windows.extend(depthwise::Form::of(head, rows));
            }
            _ => {}
        }
    }
    let products = products.iter().map(matmul::Function::code_bytes);
    products.chain(windows.iter().map(depthwise::Form::code_bytes)).sum()
}

/// Cycles of one invocation of a module that was lowered for `core`, on that and the other cores that have their own table
/// and run the same program.
pub fn cycles_by_core(module: &Module, core: Core) -> BTreeMap<&'static str, u64> {
    let cores = [Core::CortexM0plus, Core::CortexM3, Core::CortexM4, Core::CortexM7, Core::CortexM33];
    let same = cores.into_iter().filter(|other| other.has_dsp() == core.has_dsp());
    same.chain([core]).map(|core| (core.name(), of_module_on(module, core).total.cycles)).collect()
}

/// How a step of a cascade gets to its kernel: the step is read, a table jumped through, the row counted, the kernel called.
fn dispatch() -> Mix {
    Mix {
        alu: 8.0,
        flash_loads: 2.0,
        stack_loads: 1.0,
        stack_stores: 1.0,
        taken: 4.0,
        untaken: 1.0,
        surprises: 1.0,
        ..Mix::default()
    }
}

fn figures(KernelMix { executed, code }: &KernelMix, timing: &Timing) -> Figures {
    // Counts are sums of products of trips: nothing here is near 2^53.
    let whole = |count: f64| count.max(0.0).round() as u64;
    Figures {
        cycles: whole(timing.cycles(executed)),
        instructions: whole(executed.instructions()),
        ram_loads: whole(
            executed.ram_loads
                + executed.stack_loads
                + executed.scheduled_ram_loads
                + executed.paired_ram_loads
                + 2.0 * executed.ram_pairs,
        ),
        flash_loads: whole(
            executed.flash_loads
                + 2.0 * executed.flash_pairs
                + executed.further_words
                + executed.scheduled_flash_loads
                + executed.paired_flash_loads,
        ),
        stores: whole(executed.stores() + executed.scheduled_stores),
        code_bytes: whole(code.instructions() * timing.instruction_bytes),
    }
}

impl Figures {
    fn plus(self, other: &Self) -> Self {
        Self {
            cycles: self.cycles + other.cycles,
            instructions: self.instructions + other.instructions,
            ram_loads: self.ram_loads + other.ram_loads,
            flash_loads: self.flash_loads + other.flash_loads,
            stores: self.stores + other.stores,
            code_bytes: self.code_bytes + other.code_bytes,
        }
    }
}

//! Lets layers that are the same code share a function.
//!
//! Kernels that were lowered alike differ in the memory that they work on and in integers ([`mcunet_ir::loops::skeleton`]): the
//! compiler would make the same code of them again and again. Those that only differ in memory share a function wherever that
//! saves bytes; it costs them a call. Where numbers differ as well, the function has to load them, keeps them in registers or
//! on the stack, and loops that were unrolled may not be any more. What that costs is asked of the cost model, for each
//! kernel by itself: it gives up its own code if a byte of that is worth more than its cycles.
//!
//! What a byte is worth does not depend on the size of the network: it is said in percent of the cycles for a percent of the
//! flash, constants included. Where the target has a budget of flash that constants and estimated code exceed, it doubles until
//! they fit.
//!
//! Linear in the size of the program; the cost model is asked of it four times.

use crate::cost::{self, Cost, Figures};
use crate::pass::{Changed, Pass, PassContext};
use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::program::{Program, constant_bytes};
use mcunet_ir::loops::skeleton::{Code, Skeleton};
use mcunet_ir::module::{Function, OpKind};
use mcunet_ir::{Diagnostics, Module};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Cycles that sharing may add at most, as a part of all: with what lowering for small code costs, programs stay within 1.5
/// times those of fast ones.
const MAX_SLOWDOWN: f64 = 0.2;

/// The part of the bytes of code that is surely there: the estimate is off by a quarter (`docs/cost.md`).
const SURE: f64 = 0.75;

/// Times that the worth of a byte is doubled or halved at most.
const MAX_DOUBLINGS: usize = 16;

crate::declare_pass! {
    /// Lets layers that are the same code share a function.
    ///
    /// Kernels that only differ in memory share one wherever that saves flash; those that differ in numbers as well where the
    /// bytes that it saves are worth the cycles that it costs, both estimated. Where the target has a budget of flash that
    /// constants and estimated code exceed, bytes are worth more, until they fit. `--stats` tells what it saves and costs.
    pub ShareKernels = "share-kernels" {
        /// Hundredths of a percent of the cycles that a percent of the flash is worth; 0 shares what differs in memory only.
        worth: usize = 50,
    } requires Planned ensures Planned;
}

impl Pass for ShareKernels {
    fn run(&self, module: &mut Module, cx: &PassContext<'_>) -> Result<Changed, Diagnostics> {
        let mut changed = false;
        for function in &mut module.functions {
            let sharing = Sharing::of(function, cx);
            let classes = sharing.choose(self.worth, cx.target.flash_bytes);
            write(function, &sharing.program, &classes);
            let together = cost::of_function_on(function, cx.target.core).total;
            changed |= !classes.is_empty();
            cx.count("functions shared", classes.len() as u64);
            cx.count("layers that share one", classes.iter().map(Vec::len).sum::<usize>() as u64);
            cx.count("estimated bytes saved", sharing.apart.code_bytes.saturating_sub(together.code_bytes));
            cx.count("estimated cycles added", together.cycles.saturating_sub(sharing.apart.cycles));
        }
        Ok(changed.into())
    }
}

/// A kernel that could share its code.
#[derive(Clone, Debug)]
struct Candidate {
    /// Its number.
    index: usize,
    /// Cycles that it costs to call a function for it.
    call_cycles: f64,
    /// Cycles that it costs if that loads what differs, the call among them.
    number_cycles: f64,
}

/// Kernels of equal code.
#[derive(Clone, Debug)]
struct Group {
    /// Bytes of the code.
    bytes: f64,
    /// Bytes that each has nonetheless.
    own_bytes: f64,
    /// The kernels, those with equal numbers together.
    kernels: Vec<Vec<Candidate>>,
}

/// What could be shared in a function.
struct Sharing {
    program: Program,
    groups: Vec<Group>,
    /// What the function costs if it shares nothing.
    apart: Figures,
    constant_bytes: usize,
}

impl Sharing {
    fn of(function: &mut Function, cx: &PassContext<'_>) -> Self {
        let program = Program::of(function);
        for &kernel in &program.kernels {
            set_shared(function, kernel, None);
        }
        let apart = cost::of_function_on(function, cx.target.core);
        let mut found: BTreeMap<Code, BTreeMap<Vec<i64>, Vec<usize>>> = BTreeMap::new();
        for (index, &kernel) in program.kernels.iter().enumerate() {
            let Some(skeleton) = Skeleton::of(function, kernel) else { continue };
            let values = skeleton.values();
            found.entry(skeleton.code).or_default().entry(values).or_default().push(index);
        }
        let groups: Vec<Vec<Vec<usize>>> =
            found.into_values().map(|group| group.into_values().collect()).collect();
        let by_memory: Vec<Vec<usize>> = groups.iter().flatten().cloned().collect();
        let by_code: Vec<Vec<usize>> = groups.iter().map(|group| group.concat()).collect();
        let [called, opened] = [by_memory, by_code].map(|classes| {
            let mut trial = function.clone();
            write(&mut trial, &program, &classes);
            cost::of_function_on(&trial, cx.target.core)
        });
        let groups = groups.into_iter().filter(|group| group.iter().map(Vec::len).sum::<usize>() > 1);
        let groups = groups.map(|group| Group::of(group, &apart, &called, &opened)).collect();
        Self { groups, apart: apart.total, constant_bytes: constant_bytes(function), program }
    }

    /// Kernels that share a function, for each function.
    fn choose(&self, worth: usize, budget: u64) -> Vec<Vec<usize>> {
        let cycles = self.apart.cycles as f64;
        let flash = self.constant_bytes as f64 + self.apart.code_bytes as f64;
        let even = cycles / flash.max(1.0);
        let mut cycles_per_byte = worth as f64 / 100.0 * even;
        let mut chosen = self.at(cycles_per_byte);
        for _ in 0..MAX_DOUBLINGS {
            if chosen.2 <= cycles * MAX_SLOWDOWN {
                break;
            }
            cycles_per_byte /= 2.0;
            chosen = self.at(cycles_per_byte);
        }
        let fits = |saved: f64| budget == 0 || flash - saved <= budget as f64;
        for _ in 0..MAX_DOUBLINGS {
            let (_, saved, _) = chosen;
            if fits(saved) {
                break;
            }
            cycles_per_byte = (cycles_per_byte * 2.0).max(even / 100.0);
            let next = self.at(cycles_per_byte);
            if next.2 > cycles * MAX_SLOWDOWN {
                break;
            }
            chosen = next;
        }
        chosen.0
    }

    /// The classes if a byte is worth so many cycles, bytes that they save, and cycles that they cost.
    fn at(&self, cycles_per_byte: f64) -> (Vec<Vec<usize>>, f64, f64) {
        let mut all = (Vec::new(), 0.0, 0.0);
        for group in &self.groups {
            let (classes, saved, cycles) = group.at(cycles_per_byte);
            all.0.extend(classes);
            all.1 += saved;
            all.2 += cycles;
        }
        all.0.sort();
        all
    }
}

impl Group {
    fn of(kernels: Vec<Vec<usize>>, apart: &Cost, called: &Cost, opened: &Cost) -> Self {
        let first = kernels[0][0];
        let more = |cost: &Cost, index: usize| {
            (cost.layers[index].cycles as f64 - apart.layers[index].cycles as f64).max(0.0)
        };
        let candidate = |index: usize| Candidate {
            index,
            call_cycles: more(called, index),
            number_cycles: more(opened, index),
        };
        // The code is counted at one of them.
        let own = kernels.iter().flatten().map(|&index| opened.layers[index].code_bytes).min();
        Self {
            bytes: apart.layers[first].code_bytes as f64 * SURE,
            own_bytes: own.unwrap_or(0) as f64,
            kernels: kernels.into_iter().map(|class| class.into_iter().map(candidate).collect()).collect(),
        }
    }

    /// Classes of several, bytes that they save, and cycles that they cost.
    fn at(&self, cycles_per_byte: f64) -> (Vec<Vec<usize>>, f64, f64) {
        let sum = |class: &[Candidate], of: fn(&Candidate) -> f64| class.iter().map(of).sum::<f64>();
        // Kernels with the same numbers give up the one function that they have.
        let gain = |class: &[Candidate]| {
            let bytes = self.bytes - self.own_bytes * class.len() as f64;
            bytes * cycles_per_byte - sum(class, |candidate| candidate.number_cycles)
        };
        let (mut together, mut apart): (Vec<_>, Vec<_>) =
            self.kernels.iter().partition(|class| gain(class) > 0.0);
        // One of them keeps it.
        if together.len() < 2
            || together.iter().map(|class| gain(class)).sum::<f64>() <= self.bytes * cycles_per_byte
        {
            apart.append(&mut together);
        }
        let mut all = (Vec::new(), 0.0, 0.0);
        if !together.is_empty() {
            let candidates: Vec<&Candidate> = together.iter().copied().flatten().collect();
            all.1 += self.bytes * (together.len() - 1) as f64 - self.own_bytes * candidates.len() as f64;
            all.2 += candidates.iter().map(|candidate| candidate.number_cycles).sum::<f64>();
            let mut indices: Vec<usize> = candidates.iter().map(|candidate| candidate.index).collect();
            indices.sort_unstable();
            all.0.push(indices);
        }
        for class in apart.into_iter().filter(|class| class.len() > 1) {
            let saved = (self.bytes - self.own_bytes) * (class.len() - 1) as f64 - self.own_bytes;
            if saved > 0.0 {
                all.0.push(class.iter().map(|candidate| candidate.index).collect());
                all.1 += saved;
                all.2 += sum(class, |candidate| candidate.call_cycles);
            }
        }
        all
    }
}

/// Gives the kernels of each class the name of a function.
fn write(function: &mut Function, program: &Program, classes: &[Vec<usize>]) {
    for class in classes {
        let first = class[0];
        let layer = program.head(function, first).layer.clone();
        let name: Arc<str> = format!("{}_{first:02}", layer.rsplit('.').next().unwrap_or("layer")).into();
        for &index in class {
            set_shared(function, program.kernels[index], Some(name.clone()));
        }
    }
}

fn set_shared(function: &mut Function, kernel: mcunet_ir::Op, name: Option<Arc<str>>) {
    if let OpKind::Loop(LoopOp::Kernel(head)) = &mut function.ops[kernel].kind {
        head.shared = name;
    }
}

//! The arenas that the caller gives: one, or one per memory region that the plan uses.

use super::names::{Names, identifier};
use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::memory::Place;
use mcunet_ir::loops::ops::Role;
use mcunet_ir::module::{Function, Op, OpKind};
use mcunet_passes::plan_memory::region_bytes;
use mcunet_passes::target::Memory;
use std::collections::HashSet;
use std::sync::Arc;

/// Alignment that every arena must have, in bytes.
pub const ARENA_ALIGN: usize = 8;

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arena {
    /// The region that it is meant for.
    pub region: Arc<str>,
    /// What the target says of it.
    pub memory: Option<Memory>,
    /// Bytes that it must have.
    pub bytes: usize,
    /// The macro that says so.
    pub bytes_macro: String,
    /// What its pointer is called in public functions and in the context. That of its size is the same with `_bytes`.
    pub public: String,
    /// What its pointer is called in the functions of layers, where nothing else begins so.
    pub pointer: String,
}

/// All of them, fastest first. There is at least one.
#[derive(Clone, Debug)]
pub struct Arenas(Vec<Arena>);

impl Arenas {
    /// Arenas of a planned function. `memories` is what the target says of the regions: of their speed, which decides the
    /// order, and of the names that it does not know, those come last.
    pub fn of(function: &Function, names: &Names, memories: &[Memory]) -> Self {
        let used = region_bytes(function).into_iter().filter(|&(_, bytes)| bytes > 0);
        let describe = |(region, bytes): (Arc<str>, usize)| {
            let position = memories.iter().position(|memory| *memory.name == *region);
            (position.map(|position| (memories[position].wait_cycles, position)), region, bytes)
        };
        let mut used: Vec<_> = used.map(describe).collect();
        used.sort_by_key(|(speed, region, _)| (speed.is_none(), *speed, region.clone()));
        let memory = |speed: Option<(u32, usize)>| speed.map(|(_, position)| memories[position].clone());
        if let [] | [_] = used[..] {
            let (speed, region, bytes) = used.pop().unwrap_or((None, "sram".into(), 0));
            return Self(vec![Arena {
                region,
                memory: memory(speed),
                bytes,
                bytes_macro: format!("{}_ARENA_BYTES", names.upper),
                public: "arena".to_owned(),
                pointer: "arena".to_owned(),
            }]);
        }
        let mut taken = HashSet::from(["ctx".to_owned()]);
        let arena = |(speed, region, bytes): (Option<(u32, usize)>, Arc<str>, usize)| {
            let public = unique(&identifier(&region.to_lowercase()), &mut taken);
            let bytes_macro = format!("{}_ARENA_{}_BYTES", names.upper, public.to_uppercase());
            let pointer = format!("arena_{public}");
            Arena { region, memory: memory(speed), bytes, bytes_macro, public, pointer }
        };
        Self(used.into_iter().map(arena).collect())
    }

    /// Whether there is more than one.
    pub fn are_several(&self) -> bool {
        self.0.len() > 1
    }

    /// The arenas in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arena> {
        self.0.iter()
    }

    /// Position of a region's arena. What takes no bytes may name a region without arena, and lies in any.
    pub fn position(&self, region: &str) -> usize {
        self.0.iter().position(|arena| *arena.region == *region).unwrap_or(0)
    }

    /// The arena that a buffer lies in.
    pub fn holding(&self, place: &Place) -> &Arena {
        &self.0[self.position(&place.region)]
    }

    /// Arenas of the buffers that kernels list: if there is but one, that one in any event.
    pub fn touched(&self, function: &Function, kernels: &[Op]) -> Vec<&Arena> {
        if !self.are_several() {
            return self.iter().collect();
        }
        let buffers = kernels.iter().flat_map(|&kernel| &function.ops[kernel].operands);
        let places = buffers.filter_map(|&buffer| match &function.ops[function.defining_op(buffer)?].kind {
            OpKind::Loop(LoopOp::Buffer(buffer)) => buffer.place.as_ref(),
            _ => None,
        });
        let touched: HashSet<usize> = places.map(|place| self.position(&place.region)).collect();
        self.0.iter().enumerate().filter(|(i, _)| touched.contains(i)).map(|(_, arena)| arena).collect()
    }

    /// Something said of every arena, with something between.
    pub fn join(&self, between: &str, say: impl Fn(&Arena) -> String) -> String {
        self.iter().map(say).collect::<Vec<_>>().join(between)
    }

    /// The function that prepares a context, without the semicolon.
    pub fn init_declaration(&self, prefix: &str) -> String {
        let arenas = self.join(", ", |arena| format!("void *{0}, size_t {0}_bytes", arena.public));
        format!("{prefix}_status {prefix}_init({prefix}_ctx *ctx, {arenas})")
    }

    /// Where in the context's arenas a port's buffer lies.
    pub fn port(&self, function: &Function, role: Role, index: usize) -> String {
        let ops = &function.blocks[function.body].ops;
        let place = ops.iter().find_map(|&op| match &function.ops[op].kind {
            OpKind::Loop(LoopOp::Buffer(buffer)) if buffer.role == role && buffer.index == index => {
                buffer.place.as_ref()
            }
            _ => None,
        });
        let arena = place.map_or(&self.0[0], |place| self.holding(place));
        format!("ctx->{} + {}", arena.public, place.map_or(0, Place::start))
    }
}

/// A name that is not taken, nor is the one of its size.
fn unique(name: &str, taken: &mut HashSet<String>) -> String {
    let mut found = name.to_owned();
    let mut number = 1;
    while [String::new(), "_bytes".to_owned()].iter().any(|end| taken.contains(&format!("{found}{end}"))) {
        number += 1;
        found = format!("{name}_{number}");
    }
    taken.extend([found.clone(), format!("{found}_bytes")]);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_regions_are_told_apart() {
        let mut taken = HashSet::from(["ctx".to_owned()]);
        let found = ["ctx", "a", "a_bytes", "a", "dtcm"].map(|name| unique(name, &mut taken));
        assert_eq!(found, ["ctx_2", "a", "a_bytes_2", "a_2", "dtcm"]);
    }
}

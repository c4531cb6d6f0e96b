//! The memory regions of a target: what of them the plan uses, and how often.

use super::Region;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::module::{Function, OpKind};
use mcunet_passes::analysis::traffic::traffic;
use mcunet_passes::plan_memory::region_bytes;
use mcunet_passes::target::Target;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The RAM regions of a target, fastest first, those that the target does not name but a planned function uses, and flash.
pub fn regions(function: Option<&Function>, target: &Target, constants: usize) -> Vec<Region> {
    let mut used = function.map(region_bytes).unwrap_or_default();
    let mut accesses = function.map(region_accesses).unwrap_or_default();
    let mut regions: Vec<Region> = target
        .sram_by_speed()
        .into_iter()
        .map(|memory| Region {
            name: memory.name.clone(),
            used_bytes: used.remove(memory.name.as_str()).unwrap_or(0),
            available_bytes: Some(memory.bytes),
            traffic: accesses.remove(memory.name.as_str()).or(Some(0)),
        })
        .collect();
    regions.extend(used.into_iter().map(|(name, used_bytes)| Region {
        traffic: accesses.remove(&name).or(Some(0)),
        name: name.to_string(),
        used_bytes,
        available_bytes: None,
    }));
    regions.push(Region {
        name: "flash".to_owned(),
        used_bytes: constants,
        available_bytes: Some(target.flash_bytes).filter(|&bytes| bytes > 0),
        traffic: None,
    });
    regions
}

/// Loads and stores of one invocation in every region.
fn region_accesses(function: &Function) -> BTreeMap<Arc<str>, u64> {
    let traffic = traffic(function);
    let mut accesses = BTreeMap::new();
    for &op in &function.blocks[function.body].ops {
        if let OpKind::Loop(LoopOp::Buffer(buffer)) = &function.ops[op].kind
            && let Some(place) = &buffer.place
        {
            let found = traffic.get(&function.ops[op].results[0]).map_or(0, |traffic| traffic.accesses());
            let sum = accesses.entry(place.region.clone()).or_insert(0u64);
            *sum = sum.saturating_add(found);
        }
    }
    accesses
}

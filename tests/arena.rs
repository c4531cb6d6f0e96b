//! What the arena may never exceed: the largest sum of tensors that live at one layer. Nor can it be below its lower bound.

use mcunet_passes::pipeline::Level;
use mcunet_passes::plan_memory::MemorySummary;
use mcunet_testing::compile::plan;
use mcunet_testing::corpus::{core_models, import_model, models, name};
use mcunet_testing::tools::assert_none_fail;
use std::path::Path;

fn check(folder: &Path) -> Result<(), String> {
    let module = import_model(folder)?;
    for level in [Level::O2, Level::Os] {
        let planned = plan(&module, level)?;
        let memory = MemorySummary::of(&planned.functions[0]);
        let (bound, arena, live) = (memory.lower_bound_bytes, memory.arena_bytes, memory.max_live_bytes);
        if bound > arena || arena > live {
            return Err(format!(
                "{}: expected {bound} <= {arena} <= {live} bytes at {level:?}",
                name(folder)
            ));
        }
    }
    Ok(())
}

#[test]
fn arenas_of_real_models_are_bounded() {
    let Some(root) = models() else { return };
    assert_none_fail(&core_models(&root), |model| check(model));
}

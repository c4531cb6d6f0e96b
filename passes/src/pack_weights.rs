//! Computes the constants that kernels read, in the order in which they read them.
//!
//! Lowering says *what* each kernel wants (`loop.pack` with a layout); this pass makes it so and leaves `loop.data`.
//! Equal results are stored once. Linear in the size of the weights.

use crate::pass::{Changed, Pass, PassContext};
use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::ops as l;
use mcunet_ir::module::{OpData, OpKind};
use mcunet_ir::tensor::Data;
use mcunet_ir::{Diagnostic, Diagnostics, Module};

crate::declare_pass! {
    /// Lays weights, biases and multipliers out in the order the kernels read them.
    ///
    /// Replaces every `loop.pack` by `loop.data`; data that no kernel reads any more is dropped. Fails if the module was
    /// read from a dump without weights.
    pub PackWeights = "pack-weights" {} requires Lowered ensures Lowered;
}

impl Pass for PackWeights {
    fn run(&self, module: &mut Module, cx: &PassContext<'_>) -> Result<Changed, Diagnostics> {
        let mut errors = Diagnostics::default();
        let mut packed = 0;
        let mut functions = std::mem::take(&mut module.functions);
        for function in &mut functions {
            for op in function.walk() {
                let result = function.ops[op].results.first().copied();
                let name = result.and_then(|value| function.values[value].name.clone());
                match pack(module, &function.ops[op], name.as_deref()) {
                    None => {}
                    Some(Ok(data)) => {
                        function.ops[op].kind = data.into();
                        packed += 1;
                    }
                    Some(Err(error)) => errors.push(error),
                }
            }
        }
        module.functions = functions;
        errors.into_result()?;
        module.retain_used_resources();
        cx.count("constants packed", packed);
        Ok((packed > 0).into())
    }
}

/// The `loop.data` that replaces `op`; `None` if it is no `loop.pack`.
fn pack(module: &mut Module, op: &OpData, name: Option<&str>) -> Option<Result<l::Data, Diagnostic>> {
    let OpKind::Loop(LoopOp::Pack(pack)) = &op.kind else { return None };
    let error = |message: String| Diagnostic::error(message).at(op.origin.clone());
    let mut sources = Vec::new();
    for source in &pack.sources {
        match module.bytes(source) {
            Some(bytes) => sources.push(Data::from_bytes(source.element, bytes)),
            None => {
                let message = format!("expected the data of '{}', got a module without weights", source.name);
                return Some(Err(error(message).help("dump the module with its weights: --print-weights")));
            }
        }
    }
    Some(pack.layout.evaluate(&sources).map_err(|message| error(format!("'loop.pack' op {message}"))).map(
        |data| {
            let name = name.or(pack.sources.first().map(|source| &*source.name)).unwrap_or("data");
            l::Data { value: module.add_resource(name, data.scalar(), data.to_bytes()) }
        },
    ))
}

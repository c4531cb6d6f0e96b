//! C99: freestanding, re-entrant, no malloc, nothing but `memcpy`, `memmove` and `memset` from a library.
//!
//! A kernel becomes a static function; its loops are printed as they are. Operations of the DSP extension go through
//! ACLE intrinsics or single instructions on Arm and through portable inline functions elsewhere, so that one file runs
//! on the target and on a host.

mod arenas;
mod assembly;
mod depthwise;
mod depthwise_blocks;
mod depthwise_pairs;
mod expression;
mod header;
mod kernel;
mod matmul;
mod names;
mod prelude;
mod project;
mod project_rows;
mod rows;
mod shared;
mod source;
mod streams;
mod weights;

use crate::{Artifact, Backend, EmitOptions};
use arenas::Arenas;
use mcunet_ir::verify::Verified;
use mcunet_ir::{Diagnostic, Diagnostics, Stage};
use names::Names;

/// The C back end.
#[derive(Clone, Copy, Debug, Default)]
pub struct C;

impl Backend for C {
    fn emit(&self, module: Verified<'_>, options: &EmitOptions) -> Result<Artifact, Diagnostics> {
        if module.stage != Stage::Planned {
            let found = module.stage.name();
            return Err(
                Diagnostic::error(format!("expected a planned module, got one of stage '{found}'")).into()
            );
        }
        let Some(function) = module.functions.first() else {
            return Err(Diagnostic::error("expected a module with a function, got an empty one").into());
        };
        let names = Names::new(&options.name, &module);
        let arenas = Arenas::of(function, &names, &options.memories);
        let name = &names.prefix;
        let mut files = vec![
            (format!("{name}.h"), header::header(function, &names, &arenas).into_bytes()),
            (format!("{name}.c"), source::source(function, &names, &arenas)?.into_bytes()),
            (format!("{name}_weights.h"), weights::header(&module, &names).into_bytes()),
            (format!("{name}_weights.c"), weights::source(&module, &names)?.into_bytes()),
        ];
        if options.project {
            files.extend(project::files(function, &names, &arenas, options));
        }
        Ok(Artifact { files })
    }
}

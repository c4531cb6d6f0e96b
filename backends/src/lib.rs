//! Back ends: each prints or executes lowered programs; none is a library of kernels.
//!
//! A back end takes a [`Verified`] module of stage *planned* and returns files; it does no I/O. Output is deterministic
//! to the byte and names nothing of the machine it was made on.

pub mod c;

use mcunet_ir::verify::Verified;
use mcunet_ir::{Diagnostics, Tensor};
use mcunet_passes::target::{Core, Memory};

/// Inputs of a model and the outputs that the reference interpreter computes from them.
#[derive(Clone, Debug)]
pub struct GoldenVector {
    /// One tensor per input.
    pub inputs: Vec<Tensor>,
    /// One tensor per output.
    pub outputs: Vec<Tensor>,
}

/// What to emit.
#[derive(Clone, Debug)]
pub struct EmitOptions {
    /// Name of the model; a C identifier is derived from it.
    pub name: String,
    /// Core that the generated build files name.
    pub core: Core,
    /// What the target says of its memory regions, for comments and for their order.
    pub memories: Vec<Memory>,
    /// Whether to add build files, test vectors and a bare-metal example.
    pub project: bool,
    /// Test vectors of the project.
    pub golden: Vec<GoldenVector>,
}

/// Files that a back end made, by path relative to the output folder.
#[derive(Clone, Debug, Default)]
pub struct Artifact {
    /// The files, in a fixed order.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Something that turns planned modules into files.
pub trait Backend {
    /// Emits the first function of a module.
    ///
    /// # Errors
    /// What the back end cannot express.
    fn emit(&self, module: Verified<'_>, options: &EmitOptions) -> Result<Artifact, Diagnostics>;
}

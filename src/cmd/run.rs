//! `mcunetc run`.

use crate::Io;
use crate::cli::{ExecutorArg, RunArgs};
use crate::files;
use crate::session::{self, Failure, usage};
use crate::tensors::{RandomTensors, given_inputs, port_type, to_npy};
use crate::watch::Watcher;
use mcunet_ir::interp::{Executor, Interpreter};
use mcunet_ir::module::Port;
use mcunet_ir::text::print_tensor;
use mcunet_ir::{Diagnostic, Module, Tensor};
use mcunet_passes::manager::Silent;
use mcunet_passes::pass::PassContext;
use std::path::Path;

/// Runs a model and writes its outputs.
pub fn run(args: &RunArgs, io: &mut Io<'_>) -> Result<(), Failure> {
    let mut module = session::load(&args.model, &args.model_args, io)?;
    let inputs = inputs(args, &module)?;
    if args.executor == ExecutorArg::Lowered {
        let (target, pipeline) = (session::target(&args.target)?, session::pipeline(&args.pipeline)?);
        let watcher = Watcher::new(args.pipeline.search_time, io.color);
        let cx = PassContext::new(&target).watched_by(&watcher);
        session::optimize(&mut module, &pipeline, &mut Silent, &cx)?;
    }
    let outputs =
        Interpreter::new(&module).run(&inputs).map_err(|error| Diagnostic::error(error.to_string()))?;
    if args.output == Path::new("-") {
        return super::print(io, &as_text(&module, &outputs));
    }
    let mut written = Vec::new();
    for (index, output) in outputs.iter().enumerate() {
        written.push(if args.npy {
            (format!("out{index}.npy"), to_npy(output)?)
        } else {
            (format!("out{index}.bin"), output.data.to_bytes())
        });
    }
    files::write_all(&args.output, &written)?;
    for ((file, _), output) in written.iter().zip(&outputs) {
        let path = args.output.join(file);
        super::print(
            io,
            &format!("{} {} {}\n", path.display(), output.ty.shape, output.ty.storage().name()),
        )?;
    }
    Ok(())
}

/// One line per output: its name, and its elements as a literal of the textual IR.
fn as_text(module: &Module, outputs: &[Tensor]) -> String {
    let ports = module.functions.first().map(|function| function.outputs.as_slice()).unwrap_or_default();
    let line = |(port, tensor): (&Port, &Tensor)| format!("{} = {}\n", port.name, print_tensor(tensor));
    ports.iter().zip(outputs).map(line).collect()
}

fn inputs(args: &RunArgs, module: &Module) -> Result<Vec<Tensor>, Failure> {
    let ports = module.functions.first().map(|function| function.inputs.as_slice()).unwrap_or_default();
    let mut random = args.seed.map(RandomTensors::new);
    let mut inputs = Vec::new();
    for (given, port) in given_inputs(&args.input, ports)?.into_iter().zip(ports) {
        let ty = port_type(port)?;
        let tensor = given.or_else(|| random.as_mut().map(|random| random.tensor(ty)));
        inputs.push(tensor.ok_or_else(|| {
            usage(format!(
                "expected a value for input '{}' ({} of {})",
                port.name,
                ty.shape,
                ty.storage().name()
            ))
            .help(format!("give --input {}=FILE (.npy or raw bytes), or --seed for random data", port.name))
        })?);
    }
    Ok(inputs)
}

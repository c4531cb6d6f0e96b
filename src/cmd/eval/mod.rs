//! `mcunetc eval`: accuracy over a data set, and the difference from a reference model.
//!
//! Samples are run on several threads and counted in their order, so that results are the same whatever ran first.

mod report;
mod run;
mod summary;

use crate::Io;
use crate::cli::{EvalArgs, ModelArgs, TaskArg};
use crate::data::{DataSet, pixels};
use crate::execute::Program;
use crate::session::{self, Failure, usage};
use crate::watch::Watcher;
use mcunet_ir::{Diagnostic, Module, TensorType};
use run::{Evaluation, Role};
use std::path::Path;
use summary::Summary;

/// Evaluates a model and prints what was found.
pub fn run(args: &EvalArgs, io: &mut Io<'_>) -> Result<(), Failure> {
    let how = ModelArgs { io_type: args.io_type, name: None };
    let module = session::load(&args.model, &how, io)?;
    let reference = args.reference.as_ref().map(|path| session::load(path, &how, io)).transpose()?;
    // A quantized reference may say what pixels mean to a float model.
    let hint = reference.as_ref().and_then(|reference| pixels::of_input(reference, 0));
    let data = DataSet::open(&args.data, &module)?.with_pixels(hint.as_ref());
    for note in data.notes() {
        super::progress(io, &format!("note: {note}\n"));
    }
    let role = role(args, &module, &data)?;
    if role == Role::Nothing && reference.is_none() {
        return Err(usage("expected labels or a reference to compare with, got neither")
            .help("give --labels FILE, a folder for each class, or --reference MODEL")
            .into());
    }
    let others = reference.as_ref().map(|reference| {
        check_outputs(&module, reference)?;
        data.for_module(reference)
    });
    let others = others.transpose()?;
    let watcher = Watcher::new(None, io.color);
    let names = Names::new(args);
    let program = Program::new(module, args.executor, data.len(), &watcher, io)?;
    let reference =
        reference.map(|module| Program::new(module, args.executor, data.len(), &watcher, io)).transpose()?;
    let evaluation =
        Evaluation { role, model: (&program, &data), reference: reference.as_ref().zip(others.as_ref()) };
    let jobs = args.jobs.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let outcomes = evaluation.run(jobs, &watcher)?;
    drop(watcher);
    let summary = Summary::new(&evaluation, &names, &outcomes);
    let text = if args.json { summary.to_json() } else { report::render(&summary) };
    super::print(io, &text)
}

/// What models are called in the report: as on the command line.
struct Names {
    model: String,
    reference: Option<String>,
}

impl Names {
    fn new(args: &EvalArgs) -> Self {
        let name = |path: &Path| path.display().to_string();
        Self { model: name(&args.model), reference: args.reference.as_deref().map(name) }
    }
}

/// What is measured of each sample, and whether the labels fit it.
fn role(args: &EvalArgs, module: &Module, data: &DataSet) -> Result<Role, Failure> {
    let types = |ports: &[mcunet_ir::module::Port]| -> Vec<TensorType> {
        ports.iter().filter_map(|port| port.ty.as_tensor().cloned()).collect()
    };
    let function = module.functions.first();
    let inputs = function.map(|function| types(&function.inputs)).unwrap_or_default();
    let outputs = function.map(|function| types(&function.outputs)).unwrap_or_default();
    let reconstructs = match (&inputs[..], &outputs[..]) {
        ([input], [output]) => input.shape == output.shape && input.elements() > 1,
        _ => false,
    };
    if args.task == TaskArg::Reconstruction && !reconstructs {
        let message =
            "expected a model of one input and one output of the same shape for --task=reconstruction";
        return Err(usage(message).into());
    }
    let labels = (0..data.len()).filter_map(|sample| Some((sample, data.label(sample)?)));
    let greatest = labels.max_by_key(|&(sample, label)| (label, std::cmp::Reverse(sample)));
    if reconstructs && args.task != TaskArg::Classification {
        if let Some((sample, label)) = greatest.filter(|&(_, label)| label > 1) {
            return Err(Diagnostic::error(format!(
                "expected labels 0 (normal) and 1 (anomalous) for a model that reconstructs its input, got {label} for '{}'",
                data.name(sample)
            ))
            .help("--task=classification takes the output for classes")
            .into());
        }
        return Ok(Role::Reconstruction);
    }
    let Some(output) = class_output(args, module)? else {
        return match greatest {
            None => Ok(Role::Nothing),
            Some(_) => {
                Err(usage(format!("expected to know which of {} outputs gives the class", outputs.len()))
                    .help("say --output=NAME or its position")
                    .into())
            }
        };
    };
    let classes = outputs.get(output).map_or(0, TensorType::elements);
    match greatest {
        None => Ok(if classes > 1 { Role::Agreement { output } } else { Role::Nothing }),
        Some(_) if classes < 2 => {
            let message = format!("expected an output of at least 2 classes, got {classes}");
            Err(Diagnostic::error(message).help("--output names another one").into())
        }
        Some((sample, label)) if label >= classes => Err(Diagnostic::error(format!(
            "expected classes from 0 to {}, as the model has {classes}, got {label} for '{}'",
            classes - 1,
            data.name(sample)
        ))
        .into()),
        Some(_) => Ok(Role::Classification { output, classes }),
    }
}

/// The output that gives the class; `None` if there are several and none is named.
fn class_output(args: &EvalArgs, module: &Module) -> Result<Option<usize>, Failure> {
    let ports = module.functions.first().map(|function| function.outputs.as_slice()).unwrap_or_default();
    let Some(name) = &args.output else { return Ok((ports.len() == 1).then_some(0)) };
    let index = ports.iter().position(|port| *port.name == **name).or_else(|| name.parse().ok());
    match index.filter(|&index| index < ports.len()) {
        Some(index) => Ok(Some(index)),
        None => {
            let known: Vec<String> =
                ports.iter().enumerate().map(|(i, port)| format!("{i} or '{}'", port.name)).collect();
            Err(usage(format!("the model has no output '{name}'"))
                .help(format!("its outputs are {}", known.join(", ")))
                .into())
        }
    }
}

/// A reference has as many outputs, with as many numbers each.
fn check_outputs(module: &Module, reference: &Module) -> Result<(), Failure> {
    let elements = |module: &Module| -> Vec<usize> {
        let outputs =
            module.functions.first().map(|function| function.outputs.as_slice()).unwrap_or_default();
        outputs.iter().filter_map(|port| Some(port.ty.as_tensor()?.elements())).collect()
    };
    let (own, other) = (elements(module), elements(reference));
    if own == other {
        return Ok(());
    }
    let list = |elements: &[usize]| elements.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let message = format!(
        "expected a reference with the model's outputs, of {} numbers, got {}",
        list(&own),
        list(&other)
    );
    Err(Diagnostic::error(message)
        .help("the reference is the same network in another form, such as float")
        .into())
}

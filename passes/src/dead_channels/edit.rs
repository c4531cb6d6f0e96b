//! Edits of a function: operations with other attributes and constants, tensors with fewer channels.

use super::demand::{Demand, Read};
use super::filter::{Filter, Layout};
use super::graph::{Graph, Node};
use super::links::{Link, Structure};
use crate::analysis::range::channel_count;
use mcunet_ir::module::{Function, Module, Op, OpKind, Value};
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::quant::Granularity;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Element;
use mcunet_ir::{Tensor, TensorType};
use std::collections::{HashMap, HashSet};

/// A change of one operation.
#[derive(Debug)]
pub struct Edit {
    /// The operation.
    pub op: Op,
    /// Its attributes, if they change.
    pub kind: Option<NnOp>,
    /// Operands that become other constants.
    pub constants: Vec<(usize, Tensor)>,
}

/// Changes of a function that only together keep it valid.
#[derive(Debug, Default)]
pub struct Edits {
    /// Of operations.
    pub ops: Vec<Edit>,
    /// Of tensors.
    pub types: Vec<(Value, TensorType)>,
}

impl Edits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.types.is_empty()
    }

    /// Changes the function.
    pub fn apply(self, module: &mut Module, function: &mut Function) {
        for (value, ty) in self.types {
            function.values[value].ty = ty.into();
        }
        for edit in self.ops {
            if let Some(kind) = edit.kind {
                function.ops[edit.op].kind = OpKind::Nn(kind);
            }
            for (operand, tensor) in edit.constants {
                replace_constant(module, function, edit.op, operand, tensor);
            }
        }
    }
}

/// Makes a constant the operand of an operation. It keeps the name of the one that it stands for.
pub fn replace_constant(
    module: &mut Module,
    function: &mut Function,
    op: Op,
    operand: usize,
    tensor: Tensor,
) {
    let old = function.ops[op].operands[operand];
    let resource = match function.defining_op(old).map(|op| &function.ops[op].kind) {
        Some(OpKind::Nn(NnOp::Const(constant))) => constant.value.name.to_string(),
        _ => "constant".to_owned(),
    };
    let value = module.add_resource(&resource, tensor.ty.storage(), tensor.data.to_bytes());
    let origin = function.ops[op].origin.clone();
    let kind = OpKind::Nn(n::Const { value }.into());
    let constant = function.create_op(kind, Vec::new(), vec![tensor.ty.into()], Vec::new(), origin);
    let result = function.ops[constant].results[0];
    function.values[result].name = function.values[old].name.clone();
    function.ops[op].operands[operand] = result;
    let ops = &mut function.blocks[function.body].ops;
    let position = ops.iter().position(|&other| other == op).unwrap_or(ops.len());
    ops.insert(position, constant);
}

/// The edits that leave out what `demand` says. If they `fold`, what constant channels contribute goes into biases.
pub fn edits(graph: &Graph<'_>, constants: &HashMap<Value, Tensor>, demand: &Demand, fold: bool) -> Edits {
    let editor = Editor { graph, constants, demand, fold };
    let types = graph.values.iter().filter_map(|&(value, ..)| {
        let (ty, kept) = (graph.ty(value)?, editor.kept(value)?);
        (kept.len() < channel_count(&ty.shape)).then(|| (value, narrowed(ty, kept.len())))
    });
    Edits { ops: graph.nodes.iter().filter_map(|node| editor.edit(node)).collect(), types: types.collect() }
}

/// The type with another number of channels.
fn narrowed(ty: &TensorType, channels: usize) -> TensorType {
    let mut shape = ty.shape.clone();
    if let Some(last) = shape.0.last_mut() {
        *last = channels;
    }
    ty.with_shape(shape)
}

struct Editor<'g, 'a> {
    graph: &'g Graph<'a>,
    constants: &'g HashMap<Value, Tensor>,
    demand: &'g Demand,
    fold: bool,
}

impl Editor<'_, '_> {
    /// Channels of a tensor that stay; `None` of constants.
    fn kept(&self, value: Value) -> Option<Vec<usize>> {
        let channels = self.graph.channels(value)?;
        Some(
            channels
                .enumerate()
                .filter(|&(_, channel)| !self.demand.removed[channel])
                .map(|(i, _)| i)
                .collect(),
        )
    }

    fn edit(&self, node: &Node<'_>) -> Option<Edit> {
        match &node.structure {
            Structure::Opaque => None,
            Structure::Dense(filter) | Structure::Depthwise(filter, _) => self.edit_filter(node.op, filter),
            Structure::Linked(links, _) => self.edit_linked(node.op, links),
        }
    }

    /// Leaves rows and columns of a filter out, adds what constant columns contribute to the bias, and clears the weights of
    /// constant outputs that stay.
    fn edit_filter(&self, op: Op, filter: &Filter<'_>) -> Option<Edit> {
        let data = &self.graph.function.ops[op];
        let input = data.operands[0];
        let (inputs, outputs) = (self.graph.channels(input), self.graph.channels(data.results[0])?);
        let is_kept = |channel: usize| {
            inputs.as_ref().is_none_or(|inputs| !self.demand.removed[inputs.start + channel])
        };
        let rows = self.kept(data.results[0])?;
        let columns = |o: usize| -> Vec<usize> {
            let column =
                |&column: &usize| filter.layout == Layout::Depthwise || is_kept(filter.channel(o, column));
            (0..filter.columns).filter(column).collect()
        };
        let loud = |o: usize| (0..filter.columns).any(|column| filter.reads(o, column));
        let silenced = |o: usize| filter.silent[o].filter(|_| self.fold && loud(o));
        let narrow = rows.len() < filter.outputs || columns(0).len() < filter.columns;
        if !narrow && !rows.iter().any(|&o| silenced(o).is_some()) {
            return None;
        }
        let mut weights = Vec::new();
        let mut bias = Vec::new();
        let taps = filter.taps.count();
        for &o in &rows {
            let is_read = self.demand.reads[outputs.start + o] > Read::No;
            let silence = silenced(o);
            bias.push(match silence {
                Some(bias) => bias,
                None if is_read => self.folded_bias(input, filter, o, &is_kept),
                None => filter.bias[o],
            });
            for tap in 0..taps {
                for column in columns(o) {
                    let weight = filter.weights[filter.at(o, tap, column)];
                    weights.push(if silence.is_some() { filter.weight_zero } else { weight });
                }
            }
        }
        if filter.layout == Layout::Depthwise {
            weights = transposed(&weights, rows.len(), taps);
        }
        let (old_filter, old_bias) = (self.graph.ty(data.operands[1])?, self.graph.ty(data.operands[2])?);
        let axis = if filter.layout == Layout::Depthwise { 3 } else { 0 };
        let mut shape = old_filter.shape.clone();
        shape.0[axis] = rows.len();
        if filter.layout == Layout::Dense {
            *shape.0.last_mut()? = columns(0).len();
        }
        let ty = TensorType { shape, element: picked(&old_filter.element, axis, &rows) };
        let bias_ty = old_bias.with_shape([rows.len()]);
        let constants = vec![(1, Tensor::new(ty, weights).ok()?), (2, Tensor::new(bias_ty, bias).ok()?)];
        Some(Edit { op, kind: None, constants })
    }

    /// The bias of an output with what the columns that go contribute.
    fn folded_bias(
        &self,
        input: Value,
        filter: &Filter<'_>,
        o: usize,
        is_kept: &impl Fn(usize) -> bool,
    ) -> i32 {
        if filter.layout == Layout::Depthwise || !self.fold {
            return filter.bias[o];
        }
        let mut bias = i64::from(filter.bias[o]);
        for column in (0..filter.columns).filter(|&column| filter.reads(o, column)) {
            let channel = filter.channel(o, column);
            if let Some(constant) = self.graph.ranges.constant(input, channel).filter(|_| !is_kept(channel)) {
                bias = bias.wrapping_add(filter.contribution(o, column, constant));
            }
        }
        // Accumulators wrap, and so does what is added to them.
        bias as i32
    }

    /// Leaves channels of constant operands out, and adapts attributes that count channels.
    fn edit_linked(&self, op: Op, links: &[Link]) -> Option<Edit> {
        let data = &self.graph.function.ops[op];
        let OpKind::Nn(kind) = &data.kind else { return None };
        let results: Vec<Vec<usize>> =
            data.results.iter().map(|&result| self.kept(result)).collect::<Option<_>>()?;
        let first: Vec<usize> = data
            .results
            .iter()
            .map(|&result| Some(self.graph.channels(result)?.start))
            .collect::<Option<_>>()?;
        let goes = |link: &&Link| self.demand.removed[first[link.result] + link.result_channel];
        let mut constants = Vec::new();
        for (operand, value) in data.operands.iter().enumerate() {
            let Some(tensor) = self.constants.get(value) else { continue };
            let gone = links.iter().filter(|link| link.operand == operand).filter(goes);
            let gone: HashSet<usize> = gone.map(|link| link.channel).collect();
            if !gone.is_empty() {
                constants.push((operand, without(tensor, &gone)?));
            }
        }
        let kind = Some(self.adapted(kind, op, &results)?).filter(|adapted| adapted != kind);
        (kind.is_some() || !constants.is_empty()).then_some(Edit { op, kind, constants })
    }

    fn adapted(&self, kind: &NnOp, op: Op, results: &[Vec<usize>]) -> Option<NnOp> {
        let data = &self.graph.function.ops[op];
        let below = |kept: &[usize], limit: usize| kept.iter().filter(|&&channel| channel < limit).count();
        let mut kind = kind.clone();
        match &mut kind {
            NnOp::Reshape(op) => *op.shape.last_mut()? = results[0].len(),
            NnOp::Slice(op) => {
                *op.size.last_mut()? = results[0].len();
                if let Some(kept) = self.kept(data.operands[0]) {
                    let begin = op.begin.last_mut()?;
                    *begin = below(&kept, *begin);
                }
            }
            NnOp::Split(op) if op.axis + 1 == self.graph.ty(data.operands[0])?.shape.rank() => {
                op.sizes = results.iter().map(Vec::len).collect();
            }
            NnOp::Insert(op) => {
                let begin = op.begin.last_mut()?;
                *begin = below(&results[0], *begin);
            }
            NnOp::Pad(op) => {
                let (low, high) = (op.low.last_mut()?, op.high.last_mut()?);
                let count = channel_count(&self.graph.ty(data.results[0])?.shape);
                let before = below(&results[0], *low);
                *high = results[0].len() - below(&results[0], count - *high);
                *low = before;
            }
            _ => {}
        }
        Some(kind)
    }
}

/// `[tap, output]` of `[output, tap]`.
fn transposed(weights: &[i8], outputs: usize, taps: usize) -> Vec<i8> {
    (0..taps).flat_map(|tap| (0..outputs).map(move |o| weights[o * taps + tap])).collect()
}

/// An element type that is quantized along `axis`, with only some of the channels.
fn picked(element: &Element, axis: usize, kept: &[usize]) -> Element {
    let Element::Quant(quant) = element else { return element.clone() };
    let mut quant = quant.as_ref().clone();
    if let Granularity::PerAxis { axis: along, channels } = &mut quant.granularity
        && *along == axis
    {
        *channels = kept.iter().filter_map(|&channel| channels.get(channel).copied()).collect();
    }
    Element::Quant(quant.into())
}

/// A tensor without some of its channels.
fn without(tensor: &Tensor, gone: &HashSet<usize>) -> Option<Tensor> {
    let count = channel_count(&tensor.ty.shape);
    let kept: Vec<usize> = (0..count).filter(|channel| !gone.contains(channel)).collect();
    let rows = tensor.data.len().checked_div(count)?;
    let indices = (0..rows).flat_map(|row| kept.iter().map(move |channel| row * count + channel));
    let data: Data = tensor.data.pick(indices);
    Tensor::new(narrowed(&tensor.ty, kept.len()), data).ok()
}

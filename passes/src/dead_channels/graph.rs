//! A function as its channels: who makes them, who reads them, and which of them belong together.

use super::filter::Filter;
use super::links::{Link, Structure, structure};
use crate::analysis::macs;
use crate::analysis::range::{MAX_CHANNELS, Ranges, channel_count};
use mcunet_ir::module::{Function, Op, OpKind, Value};
use mcunet_ir::nn::NnOp;
use mcunet_ir::{Tensor, TensorType};
use std::collections::HashMap;

/// A channel of a tensor that is no constant of the model.
pub type Channel = usize;

/// An operation with its structure.
#[derive(Debug)]
pub struct Node<'a> {
    /// The operation.
    pub op: Op,
    /// What it does with channels.
    pub structure: Structure<'a>,
}

/// All channels of a function, numbered.
#[derive(Debug)]
pub struct Graph<'a> {
    /// The function.
    pub function: &'a Function,
    /// What its channels can hold.
    pub ranges: &'a Ranges,
    /// Its operations in order, constants aside.
    pub nodes: Vec<Node<'a>>,
    /// Tensors that have channels, not too many, with the number of the first one and how many there are.
    pub values: Vec<(Value, Channel, usize)>,
    first: HashMap<Value, (Channel, usize)>,
    /// The least channel of each channel's class: of those that only go together.
    class: Vec<Channel>,
}

impl<'a> Graph<'a> {
    /// The graph of a function.
    ///
    /// Without `silence`, constant outputs of convolutions count as made of their inputs, as all others are.
    pub fn of(
        function: &'a Function,
        constants: &'a HashMap<Value, Tensor>,
        ranges: &'a Ranges,
        silence: bool,
    ) -> Self {
        let mut graph = Self {
            function,
            ranges,
            nodes: Vec::new(),
            values: Vec::new(),
            first: HashMap::new(),
            class: Vec::new(),
        };
        let block = &function.blocks[function.body];
        block.args.iter().for_each(|&arg| graph.add(arg));
        for &op in &block.ops {
            let data = &function.ops[op];
            if let OpKind::Nn(NnOp::Const(_)) = data.kind {
                continue;
            }
            data.results.iter().for_each(|&result| graph.add(result));
            let mut filter = Filter::of(function, op, constants, ranges);
            if let Some(filter) = filter.as_mut().filter(|_| !silence) {
                filter.silent.fill(None);
            }
            graph.nodes.push(Node { op, structure: structure(function, op, constants, filter) });
        }
        graph.join();
        graph
    }

    fn add(&mut self, value: Value) {
        let Some(ty) = self.function.ty(value).as_tensor() else { return };
        let (first, count) = (self.class.len(), channel_count(&ty.shape));
        if count > MAX_CHANNELS {
            return;
        }
        self.class.extend(first..first + count);
        self.first.insert(value, (first, count));
        self.values.push((value, first, count));
    }

    fn join(&mut self) {
        for node in &self.nodes {
            let (Structure::Depthwise(_, links) | Structure::Linked(links, _)) = &node.structure else {
                continue;
            };
            for link in links {
                let Some((a, b)) = ends(&self.first, self.function, node.op, link) else { continue };
                let (a, b) = (root(&mut self.class, a), root(&mut self.class, b));
                let (low, high) = (a.min(b), a.max(b));
                self.class[high] = low;
            }
        }
        for channel in 0..self.class.len() {
            let root = root(&mut self.class, channel);
            self.class[channel] = root;
        }
    }

    /// Number of channels.
    pub fn count(&self) -> usize {
        self.class.len()
    }

    /// How many channels are constant.
    pub fn constant_count(&self) -> u64 {
        let of_value = |&(value, _, count): &(Value, Channel, usize)| {
            (0..count).filter(|&index| self.ranges.constant(value, index).is_some()).count() as u64
        };
        self.values.iter().map(of_value).sum()
    }

    /// Multiply-accumulates that make constant channels.
    pub fn idle_macs(&self) -> u64 {
        let of_node = |node: &Node<'_>| match &node.structure {
            Structure::Dense(filter) | Structure::Depthwise(filter, _) => {
                let silent = filter.silent.iter().flatten().count() as u64;
                macs::of_op(self.function, node.op) / (filter.outputs as u64).max(1) * silent
            }
            _ => 0,
        };
        self.nodes.iter().map(of_node).sum()
    }

    /// The class of a channel, named by its least member.
    pub fn class(&self, channel: Channel) -> Channel {
        self.class[channel]
    }

    /// The channels of a tensor; `None` for constants, and where there are too many.
    pub fn channels(&self, value: Value) -> Option<std::ops::Range<Channel>> {
        self.first.get(&value).map(|&(first, count)| first..first + count)
    }

    /// Both ends of a link; `None` if the operand is a constant.
    pub fn ends(&self, op: Op, link: &Link) -> Option<(Channel, Channel)> {
        ends(&self.first, self.function, op, link)
    }

    /// Type of a tensor.
    pub fn ty(&self, value: Value) -> Option<&'a TensorType> {
        self.function.ty(value).as_tensor()
    }
}

fn ends(
    first: &HashMap<Value, (Channel, usize)>,
    function: &Function,
    op: Op,
    link: &Link,
) -> Option<(Channel, Channel)> {
    let data = &function.ops[op];
    let (operand, _) = first.get(&data.operands[link.operand])?;
    let (result, _) = first.get(&data.results[link.result])?;
    Some((operand + link.channel, result + link.result_channel))
}

fn root(class: &mut [Channel], mut channel: Channel) -> Channel {
    while class[channel] != channel {
        class[channel] = class[class[channel]];
        channel = class[channel];
    }
    channel
}

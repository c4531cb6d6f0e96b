//! Which channels can be left out.
//!
//! A class of channels can be left out if each of its members is read by nobody, or is a constant that all its readers can
//! fold into their biases. What is read depends in turn on what is left out: an operation without links (a convolution)
//! reads for the outputs that are read and not constant, through weights that are not zero; a linked one reads for
//! its results unless the class goes as a whole. So the search starts with every class left out, finds what is read, brings
//! back the classes of which a member has to stay, and repeats until nothing changes. Reads only grow and classes only
//! come back, so that it ends; what is left out then is sound, since each class was checked against all reads that are left.

use super::filter::Filter;
use super::graph::{Channel, Graph};
use super::links::Structure;
use mcunet_ir::module::Op;

/// How a channel is read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Read {
    /// Not at all: it may hold anything.
    No,
    /// In a way that needs no channel if it is a constant.
    Foldable,
    /// As it is.
    Whole,
}

/// What to count as a reason to leave channels out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reasons {
    /// They are constant.
    pub constant: bool,
    /// Nobody reads them.
    pub unread: bool,
}

/// Channels that can be left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Demand {
    /// Whether a channel is left out.
    pub removed: Vec<bool>,
    /// How it is read by what is left.
    pub reads: Vec<Read>,
}

impl Demand {
    /// How many channels are left out.
    pub fn removed_count(&self) -> u64 {
        self.removed.iter().filter(|&&removed| removed).count() as u64
    }

    /// Finds what can be left out of a function so that every tensor keeps a channel.
    pub fn of(graph: &Graph<'_>, reasons: Reasons) -> Self {
        let mut search = Search { graph, reasons, kept: vec![false; graph.count()] };
        loop {
            let demand = search.settle();
            // Tensors that would have no channel left keep their first.
            let removed = |&&(_, first, count): &&(_, Channel, usize)| {
                count > 0 && (first..first + count).all(|channel| demand.removed[channel])
            };
            let empty: Vec<Channel> =
                graph.values.iter().filter(removed).map(|&(_, first, _)| first).collect();
            // The first of them alone: through links it may serve the others.
            let Some(&first) = empty.first() else { return demand };
            search.kept[graph.class(first)] = true;
        }
    }
}

struct Search<'g, 'a> {
    graph: &'g Graph<'a>,
    reasons: Reasons,
    /// Classes that stay, by their names.
    kept: Vec<bool>,
}

impl Search<'_, '_> {
    fn settle(&mut self) -> Demand {
        loop {
            let reads = self.reads();
            let mut changed = false;
            for &(value, first, count) in &self.graph.values {
                for index in 0..count {
                    let channel = first + index;
                    let class = self.graph.class(channel);
                    let constant = self.graph.ranges.constant(value, index).is_some();
                    let goes = match reads[channel] {
                        Read::No => self.reasons.unread || (self.reasons.constant && constant),
                        Read::Foldable => self.reasons.constant && constant,
                        Read::Whole => false,
                    };
                    if !goes && !self.kept[class] {
                        self.kept[class] = true;
                        changed = true;
                    }
                }
            }
            if !changed {
                let removed = (0..self.graph.count()).map(|channel| !self.kept[self.graph.class(channel)]);
                return Demand { removed: removed.collect(), reads };
            }
        }
    }

    /// Reads of all channels, from the results of the function back to its inputs.
    fn reads(&self) -> Vec<Read> {
        let graph = self.graph;
        let mut reads = vec![Read::No; graph.count()];
        // What the caller hands over has the shape that he knows.
        for &arg in &graph.function.blocks[graph.function.body].args {
            graph.channels(arg).into_iter().flatten().for_each(|channel| reads[channel] = Read::Whole);
        }
        for node in graph.nodes.iter().rev() {
            let data = &graph.function.ops[node.op];
            match &node.structure {
                Structure::Opaque => {
                    data.operands.iter().for_each(|&value| self.read_whole(value, &mut reads));
                    data.results.iter().for_each(|&value| self.read_whole(value, &mut reads));
                }
                Structure::Dense(filter) => self.read_dense(node.op, filter, &mut reads),
                Structure::Depthwise(filter, links) => {
                    for link in links {
                        let o = link.result_channel;
                        let computes = filter.silent[o].is_none() && filter.reads(o, 0);
                        self.read_link(node.op, link, computes, &mut reads);
                    }
                }
                Structure::Linked(links, linked) => {
                    links.iter().for_each(|link| self.read_link(node.op, link, true, &mut reads));
                    let others = data.operands.iter().zip(linked).filter(|(_, linked)| !**linked);
                    others.for_each(|(&value, _)| self.read_whole(value, &mut reads));
                }
            }
        }
        reads
    }

    fn read_whole(&self, value: mcunet_ir::Value, reads: &mut [Read]) {
        self.graph.channels(value).into_iter().flatten().for_each(|channel| reads[channel] = Read::Whole);
    }

    fn read_link(&self, op: Op, link: &super::links::Link, computes: bool, reads: &mut [Read]) {
        let Some((operand, result)) = self.graph.ends(op, link) else { return };
        if computes && self.kept[self.graph.class(result)] && reads[result] > Read::No {
            reads[operand] = Read::Whole;
        }
    }

    fn read_dense(&self, op: Op, filter: &Filter<'_>, reads: &mut [Read]) {
        let data = &self.graph.function.ops[op];
        let input = data.operands[0];
        let (Some(from), Some(to)) = (self.graph.channels(input), self.graph.channels(data.results[0]))
        else {
            return;
        };
        for (o, result) in to.enumerate() {
            if reads[result] == Read::No || filter.silent[o].is_some() {
                continue;
            }
            for column in (0..filter.columns).filter(|&column| filter.reads(o, column)) {
                let channel = filter.channel(o, column);
                let constant = self.graph.ranges.constant(input, channel);
                let is_padding = constant == Some(filter.input_zero);
                let foldable = is_padding || !filter.reads_beside_padding(o, column);
                let read = if foldable { Read::Foldable } else { Read::Whole };
                let slot = &mut reads[from.start + channel];
                *slot = read.max(*slot);
            }
        }
    }
}

//! Channels of a tensor that always are equal, and their merging into one.
//!
//! Channels are numbered by what they are made of (value numbering): outputs of a convolution with equal weights, bias and
//! multiplier, equal channels seen through the same operation, and constants of one value have one number. A class of
//! channels can be merged into others if each member has a twin that stays, and if the weights of everything that reads it
//! still fit their type once those of twins are added up. That is exact under padding too, where a constant that is not the
//! zero point can't be folded into a bias.
//!
//! Source: Alpern, Wegman and Zadeck, "Detecting equality of variables in programs", POPL 1988.

use super::demand::{Demand, Read};
use super::filter::Layout;
use super::graph::{Channel, Graph};
use super::links::{Link, Structure};
use crate::analysis::range::channel_count;
use mcunet_ir::fixed_point::QuantizedMultiplier;
use mcunet_ir::module::{Op, Value};
use mcunet_ir::{Tensor, TensorType};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What a channel is made of.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    /// Something that no other channel is.
    Unique(Channel),
    /// A constant of a tensor.
    Constant(Value, i64),
    /// An output of a filter; with the number of the input channel, if it reads only one.
    Filtered(Op, Option<usize>, Vec<i8>, i32, QuantizedMultiplier),
    /// A channel of result number so of a linked operation.
    Linked(Op, usize, Vec<Source>),
}

/// What a link brings.
#[derive(PartialEq, Eq, Hash)]
struct Source {
    operand: usize,
    /// Its place among the channels that the operand's channel becomes, which differ from each other.
    place: usize,
    /// The number of the channel, or its elements if the operand is a constant.
    channel: Result<usize, Vec<u8>>,
}

/// Channels that are equal to others.
#[derive(Debug, Default)]
pub struct Twins {
    /// For each channel, an equal one of the same tensor that comes before it: the first.
    pub of: Vec<Option<Channel>>,
    /// Outputs whose weights equal those of another output of the same filter, whatever their bias and scale.
    pub equal_weights: usize,
}

impl Twins {
    /// Finds the twins of a function.
    pub fn of(graph: &Graph<'_>, constants: &HashMap<Value, Tensor>) -> Self {
        let mut keys: Vec<Key> = (0..graph.count()).map(Key::Unique).collect();
        let mut numbers: HashMap<Key, usize> = HashMap::new();
        let mut number = vec![0; graph.count()];
        let mut equal_weights = 0;
        let mut assign = |range: std::ops::Range<Channel>, keys: &mut Vec<Key>, number: &mut Vec<usize>| {
            for channel in range {
                let key = std::mem::replace(&mut keys[channel], Key::Unique(channel));
                let next = numbers.len();
                number[channel] = *numbers.entry(key).or_insert(next);
            }
        };
        for &arg in &graph.function.blocks[graph.function.body].args {
            graph.channels(arg).into_iter().for_each(|range| assign(range, &mut keys, &mut number));
        }
        for node in &graph.nodes {
            let data = &graph.function.ops[node.op];
            match &node.structure {
                Structure::Opaque => {}
                Structure::Dense(filter) | Structure::Depthwise(filter, _) => {
                    let input = graph.channels(data.operands[0]);
                    let mut rows = HashSet::new();
                    for (o, channel) in graph.channels(data.results[0]).into_iter().flatten().enumerate() {
                        let row = filter.row(o);
                        equal_weights += usize::from(!rows.insert(row.clone()));
                        let reads = input.as_ref().filter(|_| filter.layout == Layout::Depthwise);
                        let reads = reads.map(|input| number[input.start + filter.channel(o, 0)]);
                        keys[channel] =
                            Key::Filtered(node.op, reads, row, filter.bias[o], filter.multipliers[o]);
                    }
                }
                Structure::Linked(links, _) => {
                    linked_keys(graph, node.op, links, constants, &number, &mut keys)
                }
            }
            for &result in &data.results {
                let Some(range) = graph.channels(result) else { continue };
                for (index, channel) in range.clone().enumerate() {
                    if let Some(constant) = graph.ranges.constant(result, index) {
                        keys[channel] = Key::Constant(result, constant);
                    }
                }
                assign(range, &mut keys, &mut number);
            }
        }
        let mut of = vec![None; graph.count()];
        for &(_, first, count) in &graph.values {
            let mut seen: HashMap<usize, Channel> = HashMap::new();
            for channel in first..first + count {
                let twin = *seen.entry(number[channel]).or_insert(channel);
                of[channel] = Some(twin).filter(|&twin| twin != channel);
            }
        }
        Self { of, equal_weights }
    }

    /// Number of channels that equal others.
    pub fn count(&self) -> usize {
        self.of.iter().flatten().count()
    }

    /// Merges twins as far as weights allow: changes the filters of the graph, and says which channels go.
    pub fn merge(&self, graph: &mut Graph<'_>) -> Demand {
        let mut members: BTreeMap<Channel, Vec<Channel>> = BTreeMap::new();
        for channel in 0..graph.count() {
            members.entry(graph.class(channel)).or_default().push(channel);
        }
        members.retain(|_, members| members.iter().all(|&member| self.of[member].is_some()));
        self.readers(graph, &mut members);
        let mut removed = vec![false; graph.count()];
        for channels in members.into_values() {
            if self.add_columns(graph, &channels) {
                channels.into_iter().for_each(|channel| removed[channel] = true);
            }
        }
        Demand { removed, reads: vec![Read::Whole; graph.count()] }
    }

    /// Leaves only classes that all readers can do without.
    fn readers(&self, graph: &Graph<'_>, members: &mut BTreeMap<Channel, Vec<Channel>>) {
        let mut keep = |value: Value| {
            for channel in graph.channels(value).into_iter().flatten() {
                members.remove(&graph.class(channel));
            }
        };
        for node in &graph.nodes {
            let data = &graph.function.ops[node.op];
            match &node.structure {
                Structure::Opaque => data.operands.iter().chain(&data.results).for_each(|&value| keep(value)),
                Structure::Linked(_, linked) => {
                    let others = data.operands.iter().zip(linked).filter(|(_, linked)| !**linked);
                    others.for_each(|(&value, _)| keep(value));
                }
                Structure::Dense(_) | Structure::Depthwise(..) => {}
            }
        }
    }

    /// Adds the weights that read some channels to those that read their twins, if all sums can be stored.
    fn add_columns(&self, graph: &mut Graph<'_>, channels: &[Channel]) -> bool {
        let mut sums: Vec<(usize, Vec<(usize, i8)>)> = Vec::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            let Structure::Dense(filter) = &node.structure else { continue };
            let Some(input) = graph.channels(graph.function.ops[node.op].operands[0]) else { continue };
            let mut of_filter: BTreeMap<usize, i64> = BTreeMap::new();
            for &channel in channels.iter().filter(|channel| input.contains(channel)) {
                let Some(twin) = self.of[channel] else { return false };
                let (from, to) = (channel - input.start, twin - input.start);
                for o in 0..filter.outputs {
                    for tap in 0..filter.taps.count() {
                        for column in (from..filter.columns).step_by(filter.channels) {
                            let at = filter.at(o, tap, column + to - from);
                            let sum = of_filter.entry(at).or_insert_with(|| filter.weights[at].into());
                            *sum += filter.weight(o, tap, column);
                        }
                    }
                }
            }
            let (least, greatest) = filter.weight_range;
            let store = |(at, sum): (usize, i64)| {
                (least..=greatest).contains(&sum).then_some((at, i8::try_from(sum).ok()?))
            };
            match of_filter.into_iter().map(store).collect() {
                Some(stored) => sums.push((index, stored)),
                None => return false,
            }
        }
        for (index, stored) in sums {
            if let Structure::Dense(filter) = &mut graph.nodes[index].structure {
                stored.into_iter().for_each(|(at, weight)| filter.weights.to_mut()[at] = weight);
            }
        }
        true
    }
}

/// Keys of the results of a linked operation.
fn linked_keys(
    graph: &Graph<'_>,
    op: Op,
    links: &[Link],
    constants: &HashMap<Value, Tensor>,
    number: &[usize],
    keys: &mut [Key],
) {
    let data = &graph.function.ops[op];
    let mut places: HashMap<(usize, usize, usize), usize> = HashMap::new();
    let mut sources: BTreeMap<(usize, usize), Vec<Source>> = BTreeMap::new();
    for &Link { operand, channel, result, result_channel } in links {
        let value = data.operands[operand];
        let source = match (graph.channels(value), constants.get(&value)) {
            (Some(range), _) => Ok(number[range.start + channel]),
            (None, Some(tensor)) => Err(channel_bytes(tensor, channel)),
            (None, None) => return,
        };
        let place = places.entry((operand, channel, result)).or_insert(0);
        let source = Source { operand, place: *place, channel: source };
        sources.entry((result, result_channel)).or_default().push(source);
        *place += 1;
    }
    for ((result, channel), sources) in sources {
        if let Some(range) = graph.channels(data.results[result]) {
            keys[range.start + channel] = Key::Linked(op, result, sources);
        }
    }
}

/// All elements of a constant's channel.
fn channel_bytes(tensor: &Tensor, channel: usize) -> Vec<u8> {
    let ty: &TensorType = &tensor.ty;
    let count = channel_count(&ty.shape).max(1);
    tensor.data.pick((channel..tensor.data.len()).step_by(count)).to_bytes()
}

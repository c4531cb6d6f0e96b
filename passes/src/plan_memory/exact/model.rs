//! The problem as tables that the search reads at every node.

use crate::analysis::liveness::Interval;
use crate::plan_memory::problem::{Conflict, Item, Problem};
use std::collections::BTreeMap;

/// A range of distances that one item forbids another: from its offset to the other's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edge {
    /// The other item.
    pub with: usize,
    /// First forbidden distance.
    pub first: i64,
    /// Last forbidden distance.
    pub last: i64,
}

/// Bytes of an item that are in use in a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Live {
    /// The item.
    pub item: usize,
    /// Distance from its offset to the first byte in use.
    pub first_byte: i64,
    /// How many bytes are in use.
    pub bytes: i64,
}

/// A step at which no more can be in use than at the steps around it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// What is in use.
    pub live: Vec<Live>,
    /// Bytes that items may share there, at most.
    pub savings: i64,
}

impl Section {
    /// Bytes of everything in use.
    pub fn total(&self) -> i64 {
        self.live.iter().map(|live| live.bytes).sum()
    }
}

/// The tables.
#[derive(Debug)]
pub struct Model {
    /// Size of each item in bytes.
    pub bytes: Vec<i64>,
    /// Every offset of an item in a placement without gaps below is a multiple of this.
    pub align: Vec<i64>,
    /// First and last step of each item.
    pub spans: Vec<Interval>,
    /// What each item forbids the others, in the order of the others.
    pub edges: Vec<Vec<Edge>>,
    /// Whether an item that fits somewhere above its placed neighbours' offsets fits everywhere above that.
    pub plain: Vec<bool>,
    /// The heaviest sections, in the order of time.
    pub sections: Vec<Section>,
    /// For each item, the sections in which it is in use, and where.
    pub in_sections: Vec<Vec<(usize, Live)>>,
    /// All offsets and sizes are multiples of this.
    pub unit: i64,
}

/// Entries of all sections together, which bound the work at a node. The lightest sections are left out.
const MAX_ENTRIES: usize = 1 << 15;

impl Model {
    /// The tables of a problem.
    pub fn new(problem: &Problem) -> Self {
        let items = &problem.items;
        let edges: Vec<Vec<Edge>> = problem.conflicts.iter().map(|conflicts| edges_of(conflicts)).collect();
        let unit = unit(items, &edges);
        let sections = sections(items, &edges);
        let mut in_sections = vec![Vec::new(); items.len()];
        for (s, section) in sections.iter().enumerate() {
            for live in &section.live {
                in_sections[live.item].push((s, *live));
            }
        }
        Self {
            bytes: items.iter().map(|item| item.bytes as i64).collect(),
            align: items.iter().map(|item| unit.max(align_of(item))).collect(),
            spans: items.iter().map(Item::span).collect(),
            plain: edges.iter().map(|edges| is_plain(edges)).collect(),
            edges,
            sections,
            in_sections,
            unit,
        }
    }

    /// How many items there are.
    pub fn items(&self) -> usize {
        self.bytes.len()
    }

    /// No placement is smaller.
    pub fn lower_bound(&self) -> usize {
        let sections = self.sections.iter().map(|section| section.total() - section.savings);
        sections.chain(self.bytes.iter().copied()).max().map_or(0, |bytes| bytes.max(0) as usize)
    }
}

fn edges_of(conflicts: &[Conflict]) -> Vec<Edge> {
    let ranges = conflicts.iter().flat_map(|conflict| {
        let with = conflict.with;
        // Conflicts count from the other's offset to this one's.
        conflict.distances.iter().map(move |&[first, last]| Edge { with, first: -last, last: -first })
    });
    let mut edges: Vec<Edge> = ranges.collect();
    edges.sort_unstable_by_key(|edge| (edge.with, edge.first));
    edges
}

/// Whether each neighbour forbids one range, and that reaches down to the neighbour's own offset.
fn is_plain(edges: &[Edge]) -> bool {
    edges.iter().all(|edge| edge.last >= 0) && edges.windows(2).all(|pair| pair[0].with != pair[1].with)
}

/// What all offsets and sizes are multiples of. Items rest on 0 or at the end of a range from an item below, or are moved
/// on from there to a multiple of their alignment.
fn unit(items: &[Item], edges: &[Vec<Edge>]) -> i64 {
    let ends = edges.iter().flatten().map(|edge| edge.last + 1);
    let sizes = items.iter().map(|item| item.bytes as i64);
    let mut unit = sizes.chain(ends).fold(0, greatest_common_divisor).max(1);
    let aligns = items.iter().map(align_of);
    while let Some(align) = aligns.clone().find(|align| unit % align != 0 && align % unit != 0) {
        unit = greatest_common_divisor(unit, align);
    }
    unit
}

fn align_of(item: &Item) -> i64 {
    item.align.max(1) as i64
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.abs(), b.abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The sections with the most bytes in use, in the order of time.
fn sections(items: &[Item], edges: &[Vec<Edge>]) -> Vec<Section> {
    let mut steps = peaks(items);
    steps.sort_unstable_by_key(|&(step, bytes, _)| (std::cmp::Reverse(bytes), step));
    let mut entries = 0;
    steps.retain(|&(_, _, live)| {
        entries += live;
        entries <= MAX_ENTRIES
    });
    steps.sort_unstable();
    steps.iter().map(|&(step, _, _)| section(items, edges, step)).collect()
}

/// Steps after which something dies and before which something was born since the last death: there, more is in use than
/// around. With each, how many bytes and slots are in use.
fn peaks(items: &[Item]) -> Vec<(usize, i64, usize)> {
    // Bytes and slots that are born and that die, by step.
    let mut changes: BTreeMap<usize, [(i64, usize); 2]> = BTreeMap::new();
    for item in items {
        for (slot, lives) in item.slots.iter().enumerate() {
            let (first, end) = bytes_of(item, slot);
            for life in lives.iter().filter(|_| first < end) {
                for (change, step) in [(0, life[0]), (1, life[1] + 1)] {
                    let sum = &mut changes.entry(step).or_default()[change];
                    *sum = (sum.0 + end - first, sum.1 + 1);
                }
            }
        }
    }
    let (mut peaks, mut live, mut born) = (Vec::new(), (0i64, 0), false);
    for (step, [births, deaths]) in changes {
        if deaths.1 > 0 && born {
            peaks.push((step - 1, live.0, live.1));
            born = false;
        }
        born |= births.1 > 0;
        live = (live.0 + births.0 - deaths.0, live.1 + births.1 - deaths.1);
    }
    peaks
}

/// First byte of a slot and the one after its last.
fn bytes_of(item: &Item, slot: usize) -> (i64, i64) {
    let (first, last) = item.bytes_of(slot);
    (first, last + 1)
}

/// Bytes that are in use at a step, slot by slot.
fn in_use(item: &Item, step: usize) -> Vec<(i64, i64)> {
    let lives = |slot: &usize| item.slots[*slot].iter().any(|life| life[0] <= step && step <= life[1]);
    let slots = (0..item.slots.len()).filter(lives).map(|slot| bytes_of(item, slot));
    slots.filter(|(first, end)| first < end).collect()
}

fn section(items: &[Item], edges: &[Vec<Edge>], step: usize) -> Section {
    let in_use: Vec<(usize, Vec<(i64, i64)>)> = (0..items.len())
        .map(|item| (item, in_use(&items[item], step)))
        .filter(|(_, slots)| !slots.is_empty())
        .collect();
    let live: Vec<Live> = in_use
        .iter()
        .map(|(item, slots)| {
            let bytes = slots.iter().map(|(first, end)| end - first).sum();
            Live { item: *item, first_byte: slots[0].0, bytes }
        })
        .collect();
    let saved = |k: usize| {
        let (item, slots) = &in_use[k];
        let partners = (0..k).filter(|&l| may_share(&edges[*item], in_use[l].0, slots, &in_use[l].1));
        partners.map(|l| live[l].bytes).sum::<i64>().min(live[k].bytes)
    };
    let savings = (0..live.len()).map(saved).sum();
    Section { live, savings }
}

/// Whether there is a distance at which slots in use may share bytes. `edges` are those of the item with `slots`.
fn may_share(edges: &[Edge], with: usize, slots: &[(i64, i64)], others: &[(i64, i64)]) -> bool {
    let start = edges.partition_point(|edge| edge.with < with);
    let edges = edges[start..].iter().take_while(|edge| edge.with == with);
    let is_forbidden =
        |first: i64, last: i64| edges.clone().any(|edge| edge.first <= first && last <= edge.last);
    // At these distances from the one slot's item to the other's, the two slots share bytes.
    let meeting = |a: (i64, i64), b: (i64, i64)| (a.0 - b.1 + 1, a.1 - b.0 - 1);
    let hull = |slots: &[(i64, i64)]| (slots[0].0, slots[slots.len() - 1].1);
    let (first, last) = meeting(hull(slots), hull(others));
    if is_forbidden(first, last) {
        return false;
    }
    slots.iter().any(|&a| {
        others.iter().any(|&b| {
            let (first, last) = meeting(a, b);
            !is_forbidden(first, last)
        })
    })
}

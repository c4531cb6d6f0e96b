//! Products of one row of the window for a few outputs, whose sums stay in registers: which pixels are loaded, how they become
//! pairs, and which registers hold them.
//!
//! A word of pixels `x0 x1 x2 x3` is extended to the pairs `x0 x2` and `x1 x3`; those across two words are combined of halves, and a
//! multiplication may take a pair in either order. Pixels outside of the image are not multiplied: zero points have been
//! subtracted from the others, so that they would be zeros.
//!
//! There are several orders in which to load, extend and multiply, which need different numbers of registers: all are tried, and the
//! cheapest for which registers suffice is taken.

/// A half of a register.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Half {
    /// Bits 0 to 15.
    Low,
    /// Bits 16 to 31.
    High,
}

/// An instruction; registers are numbers of their own, from 0 on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Instruction {
    /// Loads the address of the row's pixels.
    Row {
        /// Register.
        to: usize,
        /// Whether this row's was loaded before.
        again: bool,
    },
    /// Loads four taps of the row.
    Taps {
        /// Register.
        to: usize,
        /// The first of them.
        column: usize,
    },
    /// Loads one tap, extended.
    Tap {
        /// Register.
        to: usize,
        /// Which.
        column: usize,
    },
    /// Loads four pixels.
    Pixels {
        /// Register.
        to: usize,
        /// That of the row's address.
        row: usize,
        /// Distance from the address.
        at: isize,
        /// By how much the address then goes on; only where there is no distance.
        advance: usize,
    },
    /// Lets the address go on.
    Step {
        /// Register.
        row: usize,
        /// By how many pixels.
        by: isize,
    },
    /// Stores the address for the next block.
    Save {
        /// Register.
        row: usize,
    },
    /// Extends bytes 0 and 2, or 1 and 3.
    Extend {
        /// Register.
        to: usize,
        /// That of the word.
        of: usize,
        /// Which bytes.
        odd: bool,
        /// Whether they are pixels, whose zero point is subtracted.
        pixels: bool,
    },
    /// Makes a pair of halves: in their order unless they are a high and a low one.
    Combine {
        /// Register.
        to: usize,
        /// Register and half.
        first: (usize, Half),
        /// Register and half.
        second: (usize, Half),
    },
    /// Adds to a sum.
    Multiply {
        /// Number of the sum.
        sum: usize,
        /// Register of pixels.
        pixels: usize,
        /// Register of taps.
        taps: usize,
        /// Which half of each is multiplied; both if `None`.
        halves: Option<(Half, Half)>,
        /// Whether both are, in opposite order.
        crossed: bool,
    },
}

use Instruction::{Combine, Extend, Multiply, Pixels, Row, Save, Step, Tap, Taps};

impl Instruction {
    /// Registers that it reads.
    fn uses(&self) -> [Option<usize>; 2] {
        match *self {
            Row { .. } | Taps { .. } | Tap { .. } => [None; 2],
            Pixels { row, .. } | Step { row, .. } | Save { row } => [Some(row), None],
            Extend { of, .. } => [Some(of), None],
            Combine { first, second, .. } => [Some(first.0), Some(second.0)],
            Multiply { pixels, taps, .. } => [Some(pixels), Some(taps)],
        }
    }

    /// The register that it writes for the first time.
    fn made(&self) -> Option<usize> {
        match *self {
            Row { to, .. } | Taps { to, .. } | Tap { to, .. } | Pixels { to, .. } => Some(to),
            Extend { to, .. } | Combine { to, .. } => Some(to),
            Step { .. } | Save { .. } | Multiply { .. } => None,
        }
    }

    /// Whether it is a load.
    pub fn is_load(&self) -> bool {
        matches!(self, Row { .. } | Taps { .. } | Tap { .. } | Pixels { .. })
    }

    /// The same with other registers; `made` becomes `to`.
    fn renamed(&self, of: &dyn Fn(usize) -> usize, new: usize) -> Self {
        match *self {
            Row { again, .. } => Row { to: new, again },
            Taps { column, .. } => Taps { to: new, column },
            Tap { column, .. } => Tap { to: new, column },
            Pixels { row, at, advance, .. } => Pixels { to: new, row: of(row), at, advance },
            Step { row, by } => Step { row: of(row), by },
            Save { row } => Save { row: of(row) },
            Extend { of: source, odd, pixels, .. } => Extend { to: new, of: of(source), odd, pixels },
            Combine { first, second, .. } => {
                Combine { to: new, first: (of(first.0), first.1), second: (of(second.0), second.1) }
            }
            Multiply { sum, pixels, taps, halves, crossed } => {
                Multiply { sum, pixels: of(pixels), taps: of(taps), halves, crossed }
            }
        }
    }
}

/// What a block is made from.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Windows {
    /// Where the outputs' windows begin, in pixels of the row.
    pub starts: Vec<isize>,
    /// Taps of a row.
    pub columns: usize,
    /// Pixels of the row.
    pub width: usize,
    /// From a row of taps to the next.
    pub pitch: usize,
    /// How often the block is repeated, each time `advance` pixels on.
    pub times: usize,
    /// Pixels from a repetition to the next.
    pub advance: usize,
    /// The pixel to which addresses of rows point; where the block is repeated, they point to its first word.
    pub position: isize,
    /// How far they go on after the block, if it is the last.
    pub step: isize,
}

/// The products of a row.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// Instructions, in order.
    pub instructions: Vec<Instruction>,
    /// Loads whose address is not a multiple of four, on average.
    pub unaligned: f64,
    /// The first pixel that is loaded.
    pub first: isize,
}

impl Plan {
    /// Loads after which something else follows.
    pub fn load_runs(&self) -> f64 {
        let list = &self.instructions;
        let ends = (0..list.len())
            .filter(|&at| list[at].is_load() && !list.get(at + 1).is_some_and(Instruction::is_load));
        ends.count() as f64
    }

    /// Whether the first load of taps may let their address go on: it begins where they do.
    pub fn moves_taps(&self) -> bool {
        let first = self.instructions.iter().find_map(|instruction| match instruction {
            Taps { column, .. } | Tap { column, .. } => Some(*column),
            _ => None,
        });
        first == Some(0)
    }

    /// Extensions and combinations that a multiplication follows which does not wait for them: some cores issue both at once.
    pub fn paired(&self) -> usize {
        (1..self.instructions.len()).filter(|&at| is_pair(&self.instructions, at)).count()
    }

    /// Cycles on a core that executes one instruction at a time.
    fn cycles(&self) -> f64 {
        let saves = self.instructions.iter().filter(|instruction| matches!(instruction, Save { .. })).count();
        self.instructions.len() as f64 + self.load_runs() + self.unaligned + 0.01 * saves as f64
    }
}

/// An order of instructions.
#[derive(Clone, Copy, Debug)]
struct Order {
    /// All taps are held at once, or else four at a time.
    together: bool,
    /// Pixels that were extended for some taps are held for the next.
    keep: bool,
    /// Words that are loaded one after the other.
    run: usize,
    /// Addresses of rows are loaded again rather than held.
    reload: bool,
    /// Halves are combined for a pair that is needed once.
    combine: bool,
    /// Words begin at multiples of four.
    aligned: bool,
    /// Products come after what the next ones need has begun.
    mixed: bool,
}

/// The cheapest plan for which so many registers suffice, beside those of sums.
pub fn plan(windows: &Windows, registers: usize) -> Option<Plan> {
    let both = [true, false];
    let mut best: Option<(f64, Order, Plan)> = None;
    for (together, keep) in [(true, true), (false, true), (false, false)] {
        for (run, reload) in [(usize::MAX, false), (2, false), (2, true), (1, false), (1, true)] {
            for (combine, aligned) in both.iter().flat_map(|&combine| both.map(|aligned| (combine, aligned)))
            {
                let order = Order { together, keep, run, reload, combine, aligned, mixed: false };
                let Some(found) = Planner::plan(windows, order, registers) else { continue };
                let cycles = found.cycles();
                if best.as_ref().is_none_or(|(least, ..)| cycles < *least) {
                    best = Some((cycles, order, found));
                }
            }
        }
    }
    let (_, order, found) = best?;
    let mixed = Planner::plan(windows, Order { mixed: true, ..order }, registers);
    let is_better = |mixed: &Plan| mixed.paired() > found.paired();
    Some(mixed.filter(is_better).unwrap_or(found))
}

/// Whether a multiplication stands there after an extension or combination that it does not wait for.
fn is_pair(list: &[Instruction], at: usize) -> bool {
    let Some(before) = at.checked_sub(1) else { return false };
    match (&list[before], &list[at]) {
        (Extend { .. } | Combine { .. }, Multiply { .. }) => !list[at].uses().contains(&list[before].made()),
        _ => false,
    }
}

/// Moves multiplications behind extensions and combinations. Loads stay where they are; sums may be added to in any order.
fn pair(list: &mut Vec<Instruction>) {
    let is_between =
        |instruction: &Instruction| matches!(instruction, Extend { .. } | Combine { .. } | Multiply { .. });
    for at in 0..list.len() {
        if !matches!(list[at], Extend { .. } | Combine { .. })
            || (at + 1 < list.len() && is_pair(list, at + 1))
        {
            continue;
        }
        let is_free =
            |list: &[Instruction], from: usize| matches!(list[from], Multiply { .. }) && !is_pair(list, from);
        // From before, if no register that it reads is written in between.
        let earlier = (0..at).rev().take_while(|&from| is_between(&list[from])).find(|&from| {
            let unchanged = list[from..=at]
                .iter()
                .all(|other| other.made().is_none_or(|made| !list[from].uses().contains(&Some(made))));
            is_free(list, from) && unchanged
        });
        if let Some(from) = earlier {
            let moved = list.remove(from);
            list.insert(at, moved);
            continue;
        }
        // From after, if it waits for nothing in between, whose registers it leaves alone.
        let later = (at + 1..list.len()).take_while(|&from| is_between(&list[from])).find(|&from| {
            let known = list[at..from]
                .iter()
                .all(|other| other.made().is_none_or(|made| !list[from].uses().contains(&Some(made))));
            is_free(list, from) && known
        });
        if let Some(from) = later {
            let moved = list.remove(from);
            list.insert(at + 1, moved);
        }
    }
}

/// A pair of pixels in a register, of which the second may be missing.
#[derive(Clone, Copy, Debug)]
struct Value {
    register: usize,
    low: isize,
    high: Option<isize>,
}

impl Value {
    fn half_with(&self, pixel: isize) -> Option<(usize, Half)> {
        if self.low == pixel {
            Some((self.register, Half::Low))
        } else {
            (self.high == Some(pixel)).then_some((self.register, Half::High))
        }
    }

    /// Whether it is the pair of a pixel and the one after the next, and whether in opposite order.
    fn pair_at(&self, pixel: isize) -> Option<bool> {
        let high = self.high?;
        match (self.low, high) {
            (low, high) if low == pixel && high == pixel + 2 => Some(false),
            (low, high) if low == pixel + 2 && high == pixel => Some(true),
            _ => None,
        }
    }
}

/// A product that is left to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Product {
    sum: usize,
    /// Its first pixel.
    pixel: isize,
    /// Its first tap; of the column after the next, too, if it is a pair.
    column: usize,
    is_pair: bool,
}

struct Planner<'w> {
    windows: &'w Windows,
    order: Order,
    instructions: Vec<Instruction>,
    next: usize,
    values: Vec<Value>,
    /// Registers of pairs of taps, by their first column.
    taps: Vec<(usize, usize)>,
    /// The address of the row, and the pixel to which it points.
    row: Option<(usize, isize)>,
    advanced: bool,
    loads_left: usize,
    waiting: std::collections::VecDeque<Instruction>,
    unaligned: f64,
    first: isize,
}

impl<'w> Planner<'w> {
    fn plan(windows: &'w Windows, order: Order, registers: usize) -> Option<Plan> {
        let mut planner = Planner {
            windows,
            order,
            instructions: Vec::new(),
            next: 0,
            values: Vec::new(),
            taps: Vec::new(),
            row: None,
            advanced: false,
            loads_left: 0,
            waiting: std::collections::VecDeque::new(),
            unaligned: 0.0,
            first: 0,
        };
        let groups = windows.columns.div_ceil(4);
        let stages: Vec<Vec<usize>> = match order.together {
            true => vec![(0..groups).collect()],
            false => (0..groups).map(|group| vec![group]).collect(),
        };
        let stages: Vec<(Vec<Product>, Vec<usize>)> = stages
            .into_iter()
            .map(|groups| (groups.iter().flat_map(|&group| planner.products(group)).collect(), groups))
            .filter(|(products, _): &(Vec<Product>, _)| !products.is_empty())
            .collect();
        let all: Vec<Product> = stages.iter().flat_map(|(products, _)| products.clone()).collect();
        let words = planner.words(&all)?;
        planner.first = *words.first()?;
        // How many words are loaded in all, so that addresses go on with the last.
        let mut seen = Vec::new();
        for (products, _) in &stages {
            if !order.keep {
                seen.clear();
            }
            let needed: Vec<isize> = planner.words_of(&words, products);
            planner.loads_left += needed.iter().filter(|word| !seen.contains(*word)).count();
            seen.extend(needed);
        }
        for (products, groups) in stages {
            planner.stage(&words, products, &groups)?;
        }
        planner.allocate(registers)
    }

    fn fresh(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    /// Products of four taps.
    fn products(&self, group: usize) -> Vec<Product> {
        let Windows { columns, width, .. } = *self.windows;
        let mut products = Vec::new();
        for (sum, &start) in self.windows.starts.iter().enumerate() {
            let inside = |column: usize| {
                let pixel = start + column as isize;
                column < columns && (0..width as isize).contains(&pixel)
            };
            for first in [4 * group, 4 * group + 1] {
                let product =
                    |column: usize, is_pair| Product { sum, pixel: start + column as isize, column, is_pair };
                match (inside(first), inside(first + 2)) {
                    (true, true) => products.push(product(first, true)),
                    (true, false) => products.push(product(first, false)),
                    (false, true) => products.push(product(first + 2, false)),
                    (false, false) => {}
                }
            }
        }
        products
    }

    /// First pixels of the words that have all that products take.
    fn words(&self, products: &[Product]) -> Option<Vec<isize>> {
        let pixels = products.iter().flat_map(|product| {
            let last = if product.is_pair { product.pixel + 2 } else { product.pixel };
            [product.pixel, last]
        });
        let (mut low, high) =
            pixels.fold((isize::MAX, 0), |(low, high), pixel| (low.min(pixel), high.max(pixel)));
        if self.order.aligned {
            low = low.div_euclid(4) * 4;
        }
        // Where a block is repeated, its last words lie inside, too.
        let repeated = ((self.windows.times - 1) * self.windows.advance) as isize;
        let limit = self.windows.width as isize - 4 - repeated;
        if limit < 0 || (self.windows.times > 1 && low > limit) {
            return None;
        }
        let mut words: Vec<isize> = Vec::new();
        let mut word = low;
        loop {
            words.push(word.min(limit));
            if word.min(limit) + 3 >= high {
                return Some(words);
            }
            if word > limit {
                return None;
            }
            word += 4;
        }
    }

    /// Those of the words that products take pixels of, of each the first that has it.
    fn words_of(&self, words: &[isize], products: &[Product]) -> Vec<isize> {
        let word_of = |pixel: isize| words.iter().copied().find(|&word| (word..word + 4).contains(&pixel));
        let needed = products.iter().flat_map(|product| {
            let second = if product.is_pair { product.pixel + 2 } else { product.pixel };
            [word_of(product.pixel), word_of(second)]
        });
        let needed: Vec<isize> = needed.flatten().collect();
        words.iter().copied().filter(|word| needed.contains(word)).collect()
    }

    /// Loads the row's address, unless it is there.
    fn address(&mut self) -> (usize, isize) {
        if let Some(row) = self.row {
            return row;
        }
        let again = self.instructions.iter().any(|instruction| matches!(instruction, Row { .. }));
        let to = self.fresh();
        self.instructions.push(Row { to, again });
        let went = if self.advanced { self.windows.advance as isize } else { 0 };
        let row = (to, self.windows.position + went);
        self.row = Some(row);
        row
    }

    /// Loads words, and lets addresses go on. Returns their registers.
    fn load(&mut self, words: &[isize]) -> Vec<usize> {
        let mut loaded = Vec::new();
        let Windows { times, advance, width, step, .. } = *self.windows;
        for &word in words {
            let (row, position) = self.address();
            let to = self.fresh();
            let goes_on = times > 1 && !self.advanced;
            let advance = if goes_on { advance } else { 0 };
            self.instructions.push(Pixels { to, row, at: word - position, advance });
            if goes_on {
                self.row = Some((row, position + advance as isize));
            }
            let odds = match width % 4 {
                0 => f64::from(u8::from(word % 4 != 0)),
                2 => 0.5,
                _ => 0.75,
            };
            self.unaligned += odds;
            self.loads_left = self.loads_left.saturating_sub(1);
            self.advanced |= goes_on;
            loaded.push(to);
        }
        if let Some((row, _)) = self.row {
            let has_saved = self.instructions.iter().any(|instruction| matches!(instruction, Save { .. }));
            if times > 1 && !has_saved {
                self.instructions.push(Save { row });
            }
            if step != 0 && self.loads_left == 0 {
                self.instructions.push(Step { row, by: step });
                self.instructions.push(Save { row });
            }
        }
        if self.order.reload {
            self.row = None;
        }
        loaded
    }

    /// All products of some groups of taps.
    fn stage(&mut self, words: &[isize], products: Vec<Product>, groups: &[usize]) -> Option<()> {
        if !self.order.keep {
            self.values.clear();
        }
        let mut left = products;
        let needed = self.words_of(words, &left);
        let known = self.values.clone();
        let is_known = |word: isize| known.iter().any(|value| value.low == word || value.low == word + 1);
        let needed: Vec<isize> = needed.into_iter().filter(|&word| !is_known(word)).collect();
        let first_run = needed.len().min(self.order.run);
        if first_run > 0 {
            self.address();
        }
        let fetched = self.fetch_taps(&left, groups);
        let mut loaded = self.load(&needed[..first_run]);
        self.extend_taps(&left, &fetched);
        self.multiply(&mut left);
        let mut at = 0;
        while at < needed.len() {
            if at >= loaded.len() {
                let end = needed.len().min(at + self.order.run.max(1));
                let more = self.load(&needed[at..end]);
                loaded.extend(more);
            }
            self.extend_word(needed[at], loaded[at], &left);
            at += 1;
            self.multiply(&mut left);
            self.combine(&mut left);
        }
        self.combine(&mut left);
        self.flush();
        left.is_empty().then_some(())
    }

    /// Loads the taps of groups. Returns groups and registers.
    fn fetch_taps(&mut self, products: &[Product], groups: &[usize]) -> Vec<(usize, usize)> {
        let mut fetched = Vec::new();
        for &group in groups {
            if !products.iter().any(|product| product.column / 4 == group) {
                continue;
            }
            let (to, column) = (self.fresh(), 4 * group);
            if column + 1 == self.windows.columns {
                self.instructions.push(Tap { to, column });
                self.taps.push((column, to));
            } else {
                self.instructions.push(Taps { to, column });
                let is_unaligned = !self.windows.pitch.is_multiple_of(4);
                self.unaligned += if is_unaligned { 0.75 } else { 0.0 };
                fetched.push((group, to));
            }
        }
        fetched
    }

    fn extend_taps(&mut self, products: &[Product], fetched: &[(usize, usize)]) {
        for &(group, of) in fetched {
            for odd in [true, false] {
                let column = 4 * group + usize::from(odd);
                let is_used = products
                    .iter()
                    .any(|product| product.column / 4 == group && product.column % 2 == column % 2);
                if is_used {
                    let to = self.fresh();
                    self.instructions.push(Extend { to, of, odd, pixels: false });
                    self.taps.push((column, to));
                }
            }
        }
    }

    fn extend_word(&mut self, word: isize, of: usize, left: &[Product]) {
        for odd in [false, true] {
            let low = word + isize::from(odd);
            let takes = |pixel: isize| pixel == low || pixel == low + 2;
            let is_needed = left.iter().any(|product| {
                let second = if product.is_pair { product.pixel + 2 } else { product.pixel };
                takes(product.pixel) || takes(second)
            });
            if is_needed {
                let register = self.fresh();
                self.instructions.push(Extend { to: register, of, odd, pixels: true });
                self.values.push(Value { register, low, high: Some(low + 2) });
                self.release(1);
            }
        }
    }

    /// Multiplies what is there.
    fn multiply(&mut self, left: &mut Vec<Product>) {
        let mut rest = Vec::new();
        for product in left.drain(..) {
            match self.product(&product) {
                Some(instruction) => self.waiting.push_back(instruction),
                None => rest.push(product),
            }
        }
        *left = rest;
        // In the order in which pixels were extended.
        self.waiting.make_contiguous().sort_by_key(|instruction| match instruction {
            Multiply { pixels, .. } => *pixels,
            _ => 0,
        });
        if !self.order.mixed {
            self.flush();
        }
    }

    fn release(&mut self, count: usize) {
        if self.order.mixed {
            for _ in 0..count {
                let next = self.waiting.pop_front();
                self.instructions.extend(next);
            }
        }
    }

    fn flush(&mut self) {
        self.instructions.extend(self.waiting.drain(..));
    }

    fn product(&self, product: &Product) -> Option<Instruction> {
        let Product { sum, pixel, column, is_pair } = *product;
        let first = column / 4 * 4 + column % 2;
        let &(_, taps) = self.taps.iter().rfind(|(of, _)| *of == first)?;
        if is_pair {
            let found =
                self.values.iter().rev().find_map(|value| Some((value.register, value.pair_at(pixel)?)));
            let (pixels, crossed) = found?;
            return Some(Multiply { sum, pixels, taps, halves: None, crossed });
        }
        let (pixels, half) = self.values.iter().rev().find_map(|value| value.half_with(pixel))?;
        let of_tap = if column == first { Half::Low } else { Half::High };
        Some(Multiply { sum, pixels, taps, halves: Some((half, of_tap)), crossed: false })
    }

    /// Makes pairs of halves for products that wait for them, or two products of one.
    fn combine(&mut self, left: &mut Vec<Product>) {
        let mut pairs: Vec<isize> =
            left.iter().filter(|product| product.is_pair).map(|product| product.pixel).collect();
        pairs.sort_unstable();
        pairs.dedup();
        for pixel in pairs {
            let of = |pixel: isize| self.values.iter().rev().find_map(|value| value.half_with(pixel));
            let Some((first, second)) = of(pixel).zip(of(pixel + 2)) else { continue };
            let uses = left.iter().filter(|product| product.is_pair && product.pixel == pixel).count();
            if uses == 1 && !self.order.combine {
                let single = |product: &Product, by: usize| Product {
                    pixel: product.pixel + by as isize,
                    column: product.column + by,
                    is_pair: false,
                    ..*product
                };
                let parts: Vec<Product> = left
                    .iter()
                    .flat_map(|product| match product.is_pair && product.pixel == pixel {
                        true => vec![single(product, 0), single(product, 2)],
                        false => vec![*product],
                    })
                    .collect();
                *left = parts;
            } else {
                let register = self.fresh();
                self.instructions.push(Combine { to: register, first, second });
                let crossed = (first.1, second.1) == (Half::High, Half::Low);
                let (low, high) = if crossed { (pixel + 2, pixel) } else { (pixel, pixel + 2) };
                self.values.push(Value { register, low, high: Some(high) });
                self.release(2);
            }
            self.multiply(left);
        }
    }

    /// Gives every register a place among so many.
    fn allocate(self, registers: usize) -> Option<Plan> {
        // Addresses go on once, after all loads from them.
        let is = |found: fn(&Instruction) -> bool| self.instructions.iter().rposition(found);
        let stepped = is(|instruction| matches!(instruction, Step { .. }));
        let loaded = is(|instruction| matches!(instruction, Pixels { .. }));
        let steps = self.instructions.iter().filter(|instruction| matches!(instruction, Step { .. })).count();
        if steps != usize::from(self.windows.step != 0) || (steps > 0 && stepped < loaded) {
            return None;
        }
        let mut last = vec![0; self.next];
        for (at, instruction) in self.instructions.iter().enumerate() {
            instruction.uses().iter().flatten().for_each(|&register| last[register] = at);
        }
        let mut places = vec![usize::MAX; self.next];
        let mut free: Vec<usize> = (0..registers).rev().collect();
        let mut instructions = Vec::with_capacity(self.instructions.len());
        for (at, instruction) in self.instructions.iter().enumerate() {
            let before = places.clone();
            let mut ended: Vec<usize> = instruction.uses().iter().flatten().copied().collect();
            ended.dedup();
            ended.retain(|&register| last[register] == at);
            free.extend(ended.iter().map(|&register| places[register]));
            let mut new = 0;
            if let Some(made) = instruction.made() {
                new = free.pop()?;
                places[made] = new;
                // What nothing reads is free again.
                if last[made] == 0 {
                    free.push(new);
                }
            }
            instructions.push(instruction.renamed(&|register| before[register], new));
        }
        pair(&mut instructions);
        Some(Plan { instructions, unaligned: self.unaligned, first: self.first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Registers of lanes and of addresses, of which the last is what was saved.
    #[derive(Clone, Copy, Default)]
    struct Machine {
        registers: [u32; 16],
        address: [isize; 16],
        sums: [i32; 8],
    }

    fn half(register: u32, half: Half) -> i32 {
        i32::from(if half == Half::Low { register as i16 } else { (register >> 16) as i16 })
    }

    fn lanes(low: i32, high: i32) -> u32 {
        u32::from(low as u16) | u32::from(high as u16) << 16
    }

    /// Runs a plan over a row of pixels, whose zero point is zero.
    fn run(plan: &Plan, windows: &Windows, taps: &[i8], pixels: &[i8]) -> Machine {
        let mut m = Machine::default();
        let mut saved = windows.position;
        let word = |bytes: &[i8], at: isize| {
            let byte = |number: isize| bytes.get((at + number) as usize).copied().unwrap_or(99) as u8;
            u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)])
        };
        for instruction in &plan.instructions {
            match *instruction {
                Row { to, .. } => m.address[to] = saved,
                Taps { to, column } => m.registers[to] = word(taps, column as isize),
                Tap { to, column } => m.registers[to] = i32::from(taps[column]) as u32,
                Pixels { to, row, at, advance } => {
                    let from = m.address[row] + at;
                    assert!(
                        from >= 0 && from + 4 <= windows.width as isize,
                        "inside of the row: {windows:?}"
                    );
                    assert!(advance == 0 || (at == 0 && to != row), "{windows:?}");
                    m.address[row] += advance as isize;
                    m.registers[to] = word(pixels, from);
                }
                Step { row, by } => m.address[row] += by,
                Save { row } => saved = m.address[row],
                Extend { to, of, odd, .. } => {
                    let bytes = m.registers[of].rotate_right(if odd { 8 } else { 0 }).to_le_bytes();
                    m.registers[to] = lanes(i32::from(bytes[0] as i8), i32::from(bytes[2] as i8));
                }
                Combine { to, first, second } => {
                    let [a, b] = [first, second].map(|(register, place)| half(m.registers[register], place));
                    let crossed = (first.1, second.1) == (Half::High, Half::Low);
                    m.registers[to] = if crossed { lanes(b, a) } else { lanes(a, b) };
                }
                Multiply { sum, pixels, taps, halves, crossed } => {
                    let [x, w] = [pixels, taps].map(|register| m.registers[register]);
                    let both = [Half::Low, Half::High];
                    let other = if crossed { [Half::High, Half::Low] } else { both };
                    m.sums[sum] += match halves {
                        Some((of_x, of_w)) => half(x, of_x) * half(w, of_w),
                        None => (0..2).map(|lane| half(x, both[lane]) * half(w, other[lane])).sum(),
                    };
                }
            }
        }
        m.address[15] = saved;
        m
    }

    #[test]
    fn every_tap_is_multiplied_once() {
        let mut plans = 0;
        for columns in 2..=7usize {
            let taps: Vec<i8> =
                (0..8).map(|tap| if tap < columns { (7 * tap % 11) as i8 - 5 } else { 77 }).collect();
            for (width, stride) in [4, 5, 7, 10, 15].into_iter().flat_map(|width| [(width, 1), (width, 2)]) {
                let pixels: Vec<i8> = (0..width).map(|place| (37 * place % 101) as i8 - 50).collect();
                for (outputs, first) in
                    [1, 3, 4, 6].into_iter().flat_map(|outputs| [(outputs, 0), (outputs, 1), (outputs, 3)])
                {
                    let starts: Vec<isize> = (0..outputs)
                        .map(|output| ((first + output) * stride) as isize - (columns / 2) as isize)
                        .collect();
                    let is_inside = |&start: &isize| start < width as isize && start + columns as isize > 0;
                    let all_inside = starts[0] >= 0
                        && starts[outputs - 1] + (columns + stride * outputs) as isize <= width as isize;
                    if !starts.iter().all(is_inside) {
                        continue;
                    }
                    for (times, step) in
                        [(1, 0), (1, 9), (2, 0)].into_iter().filter(|case| case.0 == 1 || all_inside)
                    {
                        let windows = Windows {
                            starts: starts.clone(),
                            columns,
                            width,
                            pitch: columns,
                            times,
                            advance: if times > 1 { stride * outputs } else { 0 },
                            position: 2,
                            step,
                        };
                        let Some(found) = plan(&windows, 12 - outputs) else { continue };
                        let windows =
                            Windows { position: if times > 1 { found.first } else { 2 }, ..windows };
                        let Some(found) = plan(&windows, 12 - outputs) else { continue };
                        plans += 1;
                        let machine = run(&found, &windows, &taps, &pixels);
                        for (sum, &start) in starts.iter().enumerate() {
                            let product = |column: usize| {
                                let pixel = usize::try_from(start + column as isize)
                                    .ok()
                                    .and_then(|at| pixels.get(at));
                                pixel.map_or(0, |&pixel| i32::from(pixel) * i32::from(taps[column]))
                            };
                            let expected: i32 = (0..columns).map(product).sum();
                            assert_eq!(machine.sums[sum], expected, "{windows:?}: {found:?}");
                        }
                        let moved =
                            windows.position + step + if times > 1 { windows.advance as isize } else { 0 };
                        assert_eq!(machine.address[15], moved, "{windows:?}: {found:?}");
                    }
                }
            }
        }
        assert!(plans > 300, "there are many plans, got {plans}");
    }
}

//! One order of loading, extending and multiplying, as instructions with registers.

use super::Instruction::{Combine, Extend, Multiply, Pixels, Row, Save, Step, Tap, Taps};
use super::{Half, Instruction, Plan, Windows, pair};

/// An order of instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    /// All taps are held at once, or else four at a time.
    pub together: bool,
    /// Pixels that were extended for some taps are held for the next.
    pub keep: bool,
    /// Words that are loaded one after the other.
    pub run: usize,
    /// Addresses of rows are loaded again rather than held.
    pub reload: bool,
    /// Halves are combined for a pair that is needed once.
    pub combine: bool,
    /// Words begin at multiples of four.
    pub aligned: bool,
    /// Products come after what the next ones need has begun.
    pub mixed: bool,
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

pub(super) struct Planner<'w> {
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
    /// The plan of an order, if so many registers suffice.
    pub fn plan(windows: &'w Windows, order: Order, registers: usize) -> Option<Plan> {
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

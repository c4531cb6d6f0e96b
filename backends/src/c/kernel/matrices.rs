//! Calls of the functions behind `loop.widen`, `loop.matmul` and `loop.depthwise`.

use super::KernelPrinter;
use crate::c::assembly::Routine;
use crate::c::expression::{Expression, Precedence};
use crate::c::shared::array;
use crate::c::{depthwise, matmul};
use mcunet_ir::loops::matmul::{GROUP, packed_words};
use mcunet_ir::loops::ops::{Depthwise, Matmul, Widen};
use mcunet_ir::loops::skeleton::NumberPlace;
use mcunet_ir::module::Op;
use mcunet_ir::types::Scalar;
use mcunet_passes::cost::matmul::Widening;

impl KernelPrinter<'_> {
    pub(super) fn widen(&mut self, op: Op, head: &Widen) {
        let data = &self.function.ops[op];
        let [source, from, first, end, target, to] = data.operands[..] else { return };
        let Widen { count, step, zero_point } = *head;
        let [from, first, end, to] = [from, first, end, to].map(|value| self.value(value));
        let (source, target) = (self.memory(source), self.memory(target));
        let count = self.number(NumberPlace::Attribute(op, "count"), count as i64);
        let zero_point = self.number(NumberPlace::Attribute(op, "zero_point"), zero_point.into());
        let is_whole = first.text == "0" && end.text == count.text;
        let helper = match (Widening::of(is_whole, step, count.text.parse().ok()), step) {
            (Widening::Part, _) => "widen_part",
            (Widening::Copied, 1) => "widen_next",
            (Widening::Copied, 2) => "widen_alternating",
            (Widening::Called, 1) => "widen_next_any",
            (Widening::Called, _) => "widen_alternating_any",
            (Widening::Copied, _) => "widen_rest",
        };
        self.used.insert(helper);
        let step =
            if matches!(helper, "widen_part" | "widen_rest") { format!("{step}, ") } else { String::new() };
        let source = match is_whole {
            true => format!("&{source}[{}], ", from.text),
            false => format!("{source}, {}, {}, {}, ", from.text, first.text, end.text),
        };
        self.line(&format!(
            "{helper}({source}&{target}[{}], {}, {step}{});",
            to.text, count.text, zero_point.text
        ));
    }

    /// A call for the groups of four rows, and one for the rest.
    pub(super) fn matmul(&mut self, op: Op, head: &Matmul) {
        let data = &self.function.ops[op];
        let [weights, inputs, from, output, offset] = data.operands[..] else { return };
        let narrow = self.memref(inputs).element == Scalar::I8;
        let [from, offset] = [from, offset].map(|offset| self.value(offset));
        let [weights, inputs, output] = [weights, inputs, output].map(|memory| self.memory(memory));
        let layers = self.of_layers(op, head);
        let mut done = vec![0; layers.len()];
        for form in matmul::Form::of(head, narrow) {
            let counts: Vec<usize> = layers
                .iter()
                .map(|layer| if form.rows() == GROUP { layer.rows / GROUP * GROUP } else { form.rows() })
                .collect();
            let shapes: Vec<Vec<i64>> =
                layers.iter().zip(&counts).map(|(layer, &rows)| shape(layer, rows, narrow)).collect();
            let shape = self.shape(&shapes);
            let of_all = |value: &dyn Fn(&Matmul, usize) -> usize| -> Vec<i64> {
                layers.iter().zip(&done).map(|(layer, &done)| value(layer, done) as i64).collect()
            };
            let first = of_all(&|layer, done| packed_words(done, layer.pairs, layer.short_bias));
            let skipped = of_all(&|layer, done| done * layer.row_step);
            let [first, skipped] = [first, skipped].map(|values| self.fields.number(&values, true));
            let (weights, to) =
                (offset_by(&weights, &first), offset_by(&offset.at(Precedence::Sum), &skipped));
            self.line(&format!(
                "{}({weights}, &{inputs}[{}], &{output}[{to}], {shape});",
                form.name(),
                from.text
            ));
            self.routines.insert(Routine::Matmul(form));
            done.iter_mut().zip(&counts).for_each(|(done, rows)| *done += rows);
        }
    }

    /// Addresses of the rows under the window, and a call.
    pub(super) fn depthwise(&mut self, op: Op, head: &Depthwise) {
        let data = &self.function.ops[op];
        let [weights, input, output, offset, first, end, starts @ ..] = &data.operands[..] else { return };
        let [offset, first, end] = [offset, first, end].map(|&value| self.value(value).text);
        let [weights, input, output] = [weights, input, output].map(|&memory| self.memory(memory));
        let starts: Vec<String> =
            starts.iter().map(|&start| format!("&{input}[{}]", self.value(start).text)).collect();
        let (rows, shape) = (self.fresh("rows"), self.fresh("shape"));
        let count = starts.len();
        self.line(&format!("const int8_t *const {rows}[{count}] = {{ {} }};", starts.join(", ")));
        let Depthwise { channels, width, columns, outputs, stride, before, padding, .. } = *head;
        let Depthwise { input_zero_point, pitch, .. } = *head;
        let Depthwise { channel_step, pixel_step, signed, zero_point, limits: results, .. } = *head;
        let odd = 2 * zero_point + 1;
        let sizes = [channels, width, outputs, channel_step, pixel_step].map(|size| size as i64);
        let numbers = sizes.into_iter().chain([padding, odd, input_zero_point].map(i64::from));
        let numbers: Vec<i64> = numbers.chain(limits(results)).collect();
        self.line(&format!("static const int32_t {shape}[{}] = {};", numbers.len(), array(&numbers)));
        let arguments = format!("{weights}, {rows}, &{output}[{offset}], {shape}, {first}, {end}");
        match depthwise::Form::of(head, count) {
            Some(form) => {
                self.line(&format!("{}({arguments});", form.name()));
                self.routines.insert(Routine::Depthwise(form));
            }
            None => {
                self.used.insert("depthwise_row");
                let window =
                    format!("{count}, {columns}, {pitch}, {stride}, {before}, {signed}, {}", results != FULL);
                self.line(&format!("depthwise_row({arguments}, {window});"));
            }
        }
    }

    /// What a product of matrices is in all layers that share this code.
    fn of_layers(&self, op: Op, head: &Matmul) -> Vec<Matmul> {
        let Some(class) = self.class else { return vec![head.clone()] };
        let of = |name: &'static str, position: usize, own: i64| {
            let numbers = class.numbers(NumberPlace::Attribute(op, name));
            numbers.and_then(|numbers| numbers.get(position).copied()).unwrap_or(own)
        };
        let layer = |position: usize| {
            // What was a size or fitted a field does so again.
            let size = |name, own: usize| of(name, position, own as i64) as usize;
            let number = |name, own: i32| of(name, position, own.into()) as i32;
            Matmul {
                rows: size("rows", head.rows),
                pairs: size("pairs", head.pairs),
                row_step: size("row_step", head.row_step),
                pixel_step: size("pixel_step", head.pixel_step),
                input_zero_point: number("input_zero_point", head.input_zero_point),
                zero_point: number("zero_point", head.zero_point),
                limits: [number("low", head.limits[0]), number("high", head.limits[1])],
                ..head.clone()
            }
        };
        (0..class.members.len()).map(layer).collect()
    }

    /// An array of what a product of matrices is told.
    fn shape(&mut self, of_layers: &[Vec<i64>]) -> String {
        let name = self.fresh("shape");
        if of_layers.windows(2).any(|pair| pair[0] != pair[1]) {
            return self.fields.array(&name, of_layers);
        }
        let numbers = of_layers.first().map_or(&[][..], Vec::as_slice);
        self.line(&format!("static const int32_t {name}[{}] = {};", numbers.len(), array(numbers)));
        name
    }
}

/// What `rows` rows of a product of matrices are told.
fn shape(head: &Matmul, rows: usize, narrow: bool) -> Vec<i64> {
    let Matmul { pairs, row_step, pixel_step, short_bias, .. } = *head;
    let Matmul { input_zero_point, zero_point, .. } = *head;
    let distance = if row_step == 1 { pixel_step } else { row_step };
    let sizes = [packed_words(rows, pairs, short_bias) * 4, pairs, distance].map(|size| size as i64);
    let [bytes, pairs, distance] = sizes;
    let odd = i64::from(2 * zero_point + 1);
    let common = [bytes, pairs, distance, odd];
    common.into_iter().chain(narrow.then_some(input_zero_point.into())).chain(limits(head.limits)).collect()
}

/// Limits of all int8 results.
const FULL: [i32; 2] = [-128, 127];

/// Limits of results, if there are.
fn limits(limits: [i32; 2]) -> impl Iterator<Item = i64> {
    limits.into_iter().map(i64::from).filter(move |_| limits != FULL)
}

/// A sum with a number, of which 0 goes without saying.
fn offset_by(text: &str, by: &Expression) -> String {
    if by.text == "0" { text.to_owned() } else { format!("{text} + {}", by.at(Precedence::Sum)) }
}

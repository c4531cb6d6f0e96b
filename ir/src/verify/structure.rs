//! Rules S1 to S5; see the parent module.

use super::Report;
use crate::attr::{Attr, ResourceRef};
use crate::define::{Trait, ValueSpec};
use crate::module::{Block, Function, Module, Op, Value};
use crate::text::type_name;
use std::collections::HashSet;

pub(super) fn check(module: &Module, function: &Function, report: &mut Report) {
    let mut checker = Checker { module, function, report, visible: HashSet::new() };
    checker.block(function.body, true);
}

struct Checker<'c> {
    module: &'c Module,
    function: &'c Function,
    report: &'c mut Report,
    /// Values that may be used at this point.
    visible: HashSet<Value>,
}

impl Checker<'_> {
    fn block(&mut self, block: Block, needs_terminator: bool) {
        let function = self.function;
        let data = &function.blocks[block];
        let mut defined: Vec<Value> = data.args.clone();
        self.visible.extend(&data.args);
        for &op in &data.ops {
            self.arity(op);
            self.constraints(op);
            self.dominance(op);
            self.resources(op);
            for &region in &function.ops[op].regions {
                self.block(region, true);
            }
            self.visible.extend(&function.ops[op].results);
            defined.extend(&function.ops[op].results);
        }
        self.terminator(block, needs_terminator);
        for value in defined {
            self.visible.remove(&value);
        }
    }

    /// S1.
    fn arity(&mut self, op: Op) {
        let data = &self.function.ops[op];
        let spec = data.kind.spec();
        for (what, specs, found) in
            [("operands", spec.operands, data.operands.len()), ("results", spec.results, data.results.len())]
        {
            let fixed = specs.iter().filter(|spec| !spec.variadic).count();
            let variadic = fixed < specs.len();
            if found < fixed || (found > fixed && !variadic) {
                let least = if variadic { "at least " } else { "" };
                self.report.at(self.function, op, format!("expected {least}{fixed} {what}, got {found}"));
            }
        }
        if data.regions.len() != spec.regions {
            let (expected, found) = (spec.regions, data.regions.len());
            self.report.at(self.function, op, format!("expected {expected} regions, got {found}"));
        }
    }

    /// S2.
    fn constraints(&mut self, op: Op) {
        let data = &self.function.ops[op];
        let spec = data.kind.spec();
        for (what, specs, values) in
            [("operand", spec.operands, &data.operands), ("result", spec.results, &data.results)]
        {
            for (index, &value) in values.iter().enumerate() {
                let Some(spec) = value_spec(specs, index) else { continue };
                let ty = self.function.ty(value);
                if !spec.constraint.accepts(ty) {
                    let (name, wanted) = (spec.name, spec.constraint.description());
                    let message = format!("expected {what} '{name}' to be {wanted}, got {}", type_name(ty));
                    self.report.at(self.function, op, message);
                }
            }
        }
    }

    /// S3.
    fn dominance(&mut self, op: Op) {
        for (index, operand) in self.function.ops[op].operands.iter().enumerate() {
            if !self.visible.contains(operand) {
                let message = format!(
                    "expected operand {index} to be defined before its use, got a later or foreign value"
                );
                self.report.at(self.function, op, message);
            }
        }
    }

    /// S4.
    fn terminator(&mut self, block: Block, needed: bool) {
        let function = self.function;
        let ops = &function.blocks[block].ops;
        for (index, &op) in ops.iter().enumerate() {
            if function.ops[op].kind.has(Trait::Terminator) && index + 1 != ops.len() {
                self.report.at(function, op, "expected to be the last op of its block, got ops after it");
            }
        }
        if needed && function.terminator(block).is_none() {
            let message = "expected every block to end with 'func.return' or 'loop.yield', got one without";
            match ops.last() {
                Some(&op) => self.report.at(function, op, message),
                None => self.report.function(function, message),
            }
        }
    }

    /// S5.
    fn resources(&mut self, op: Op) {
        for (_, attr) in self.function.ops[op].kind.attrs() {
            self.resource_refs(op, &attr);
        }
    }

    fn resource_refs(&mut self, op: Op, attr: &Attr) {
        match attr {
            Attr::Resource(reference) => self.resource(op, reference),
            Attr::Array(items) | Attr::Tuple(_, items) => {
                for item in items {
                    self.resource_refs(op, item);
                }
            }
            _ => {}
        }
    }

    fn resource(&mut self, op: Op, reference: &ResourceRef) {
        let name = &reference.name;
        let Some(resource) = self.module.resource(name) else {
            self.report.at(
                self.function,
                op,
                format!("expected a resource '{name}' in the module, got none"),
            );
            return;
        };
        let bytes = reference.count.checked_mul(reference.element.size_bytes());
        let fits = resource.element == reference.element
            && resource.count == reference.count
            && resource.bytes.as_ref().is_none_or(|data| Some(data.len()) == bytes);
        if !fits {
            let (count, element) = (reference.count, reference.element.name());
            let (found_count, found) = (resource.count, resource.element.name());
            let message = format!(
                "expected {count} elements of {element} in resource '{name}', got {found_count} of {found}"
            );
            self.report.at(self.function, op, message);
            return;
        }
        let range = resource.element.integer_range().filter(|_| resource.element.is_sub_byte());
        if let (Some((min, max)), Some(bytes)) = (range, &resource.bytes)
            && let Some(&byte) = bytes.iter().find(|&&byte| !(min..=max).contains(&i64::from(byte as i8)))
        {
            let (found, element) = (byte as i8, resource.element.name());
            let message = format!(
                "expected elements of {element} from {min} to {max} in resource '{name}', got {found}"
            );
            self.report.at(self.function, op, message);
        }
    }
}

fn value_spec(specs: &[ValueSpec], index: usize) -> Option<&ValueSpec> {
    specs.get(index).or_else(|| specs.last().filter(|spec| spec.variadic))
}

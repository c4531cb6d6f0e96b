//! Prints modules; see the parent module for the two spellings.

use super::literal;
use super::types::{print_attr, print_string, print_type};
use crate::attr::{Attr, ResourceRef};
use crate::diag::Origin;
use crate::module::{Block, Function, Module, Op, Port, Resource, Value};
use crate::types::Type;
use indexmap::IndexSet;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;

/// What to print, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PrintOptions {
    /// MLIR's generic form instead of the readable one.
    pub generic: bool,
    /// Where each op comes from.
    pub locations: bool,
    /// The data of resources, not only their names: of small ones as literals in place, of others at the end.
    pub weights: bool,
}

/// Types longer than this get a name at the top of the module.
const ALIAS_ABOVE_CHARS: usize = 100;

/// The text of a module.
pub fn print(module: &Module, options: &PrintOptions) -> String {
    let mut printer =
        Printer { module, options: *options, out: String::new(), indent: 0, aliases: HashMap::new() };
    printer.print_aliases();
    if options.generic {
        printer.print_generic_module()
    } else {
        printer.print_readable_module()
    }
    if options.weights {
        printer.print_resources();
    }
    printer.out
}

struct Printer<'m> {
    module: &'m Module,
    options: PrintOptions,
    out: String,
    indent: usize,
    aliases: HashMap<Type, String>,
}

/// Unique names of the values of a function.
struct Names {
    names: HashMap<Value, String>,
}

impl Names {
    fn of(function: &Function) -> Self {
        let mut names = Self { names: HashMap::new() };
        let mut taken = HashSet::new();
        let mut number = 0;
        names.visit(function, function.body, &mut taken, &mut number);
        names
    }

    fn visit(&mut self, function: &Function, block: Block, taken: &mut HashSet<String>, number: &mut usize) {
        for &argument in &function.blocks[block].args {
            self.assign(function, argument, taken, number);
        }
        for &op in &function.blocks[block].ops {
            for &result in &function.ops[op].results {
                self.assign(function, result, taken, number);
            }
            for &region in &function.ops[op].regions {
                self.visit(function, region, taken, number);
            }
        }
    }

    fn assign(&mut self, function: &Function, value: Value, taken: &mut HashSet<String>, number: &mut usize) {
        let name = match function.values[value].name.as_deref().and_then(sanitize) {
            Some(base) => {
                let mut name = base.clone();
                let mut copy = 0;
                while !taken.insert(name.clone()) {
                    copy += 1;
                    name = format!("{base}_{copy}");
                }
                name
            }
            None => {
                let name = number.to_string();
                *number += 1;
                name
            }
        };
        self.names.insert(value, name);
    }

    fn get(&self, value: Value) -> String {
        match self.names.get(&value) {
            Some(name) => format!("%{name}"),
            None => format!("%<<undefined {value:?}>>"),
        }
    }
}

/// A name as MLIR accepts it after `%`; `None` if nothing of it can be kept.
fn sanitize(name: &str) -> Option<String> {
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.' | '-') { c } else { '_' })
        .collect();
    match name.chars().next() {
        None => None,
        Some(c) if c.is_ascii_alphabetic() || c == '_' => Some(name),
        Some(_) => Some(format!("_{name}")),
    }
}

impl Printer<'_> {
    fn line(&mut self, text: &str) {
        for _ in 0..self.indent {
            self.out.push_str("  ");
        }
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn ty(&self, ty: &Type) -> String {
        self.aliases.get(ty).cloned().unwrap_or_else(|| print_type(ty))
    }

    /// Names long types, in the order in which they first occur.
    fn print_aliases(&mut self) {
        let module = self.module;
        for function in &module.functions {
            let ports = function.inputs.iter().chain(&function.outputs).map(|port| &port.ty);
            let mut types: Vec<&Type> = ports.collect();
            types.extend(function.blocks[function.body].args.iter().map(|&value| function.ty(value)));
            for op in function.walk() {
                types.extend(function.ops[op].results.iter().map(|&value| function.ty(value)));
            }
            for ty in types {
                let text = print_type(ty);
                if text.len() > ALIAS_ABOVE_CHARS && !self.aliases.contains_key(ty) {
                    let name = format!("!t{}", self.aliases.len());
                    self.line(&format!("{name} = {text}"));
                    self.aliases.insert(ty.clone(), name);
                }
            }
        }
    }

    fn print_readable_module(&mut self) {
        let (name, stage) = (print_string(&self.module.name), self.module.stage.name());
        self.line(&format!("module {name} stage \"{stage}\" {{"));
        self.indent += 1;
        for function in &self.module.functions {
            let names = Names::of(function);
            let (inputs, outputs) = (self.ports(&function.inputs), self.ports(&function.outputs));
            let symbol = print_string(&function.name);
            self.line(&format!("func {symbol} inputs [{inputs}] outputs [{outputs}] {{"));
            self.print_block(function, function.body, &names);
            self.line("}");
        }
        self.indent -= 1;
        self.line("}");
    }

    fn ports(&self, ports: &[Port]) -> String {
        let ports: Vec<String> = ports
            .iter()
            .map(|port| format!("{} : {}", print_string(&port.name), self.ty(&port.ty)))
            .collect();
        ports.join(", ")
    }

    fn print_generic_module(&mut self) {
        self.line("\"builtin.module\"() ({");
        self.indent += 1;
        for function in &self.module.functions {
            let names = Names::of(function);
            self.line("\"func.func\"() ({");
            self.print_block(function, function.body, &names);
            self.line(&format!("}}) {} : () -> ()", self.generic_function_attrs(function)));
        }
        self.indent -= 1;
        let (name, stage) = (print_string(&self.module.name), self.module.stage.name());
        let mut end = format!("}}) {{mcunetc.name = {name}, mcunetc.stage = \"{stage}\"}} : () -> ()");
        if self.options.locations {
            end.push_str(" loc(unknown)");
        }
        self.line(&end);
    }

    fn generic_function_attrs(&self, function: &Function) -> String {
        let types = |values: &[Value]| {
            let types: Vec<String> = values.iter().map(|&value| self.ty(function.ty(value))).collect();
            types.join(", ")
        };
        let returned = function
            .terminator(function.body)
            .map(|op| types(&function.ops[op].operands))
            .unwrap_or_default();
        let args = types(&function.blocks[function.body].args);
        let list = |ports: &[Port]| {
            let items: Vec<String> =
                ports.iter().map(|p| format!("[{}, {}]", print_string(&p.name), self.ty(&p.ty))).collect();
            items.join(", ")
        };
        format!(
            "{{function_type = ({args}) -> ({returned}), mcunetc.inputs = [{}], mcunetc.outputs = [{}], \
             sym_name = {}}}",
            list(&function.inputs),
            list(&function.outputs),
            print_string(&function.name)
        )
    }

    fn print_block(&mut self, function: &Function, block: Block, names: &Names) {
        let data = &function.blocks[block];
        if !data.args.is_empty() || (self.options.generic && data.ops.is_empty()) {
            let args: Vec<String> = data
                .args
                .iter()
                .map(|&value| format!("{}: {}", names.get(value), self.ty(function.ty(value))))
                .collect();
            let label = if self.options.generic { "^bb0" } else { "^" };
            let args = if args.is_empty() { String::new() } else { format!("({})", args.join(", ")) };
            self.line(&format!("{label}{args}:"));
        }
        self.indent += 1;
        for &op in &data.ops {
            if self.options.generic {
                self.print_generic_op(function, op, names);
            } else {
                self.print_readable_op(function, op, names);
            }
        }
        self.indent -= 1;
    }

    fn results(&self, function: &Function, op: Op, names: &Names) -> String {
        let results: Vec<String> = function.ops[op].results.iter().map(|&value| names.get(value)).collect();
        if results.is_empty() { String::new() } else { format!("{} = ", results.join(", ")) }
    }

    fn attrs(&self, attrs: &[(&'static str, Attr)]) -> String {
        if attrs.is_empty() {
            return String::new();
        }
        let attrs: Vec<String> =
            attrs.iter().map(|(name, attr)| format!("{name} = {}", self.attr(attr))).collect();
        format!(" {{{}}}", attrs.join(", "))
    }

    fn attr(&self, attr: &Attr) -> String {
        print_attr(attr, &|reference| self.resource(reference))
    }

    /// A reference to constant data by name, or the data itself if it is small and wanted.
    fn resource(&self, reference: &ResourceRef) -> String {
        let ResourceRef { name, element, count } = reference;
        let data = match self.module.resource(name).filter(|resource| self.is_literal(resource)) {
            Some(resource) => {
                let bytes = resource.bytes.as_deref().unwrap_or(&[]);
                format!("dense<[{}]>", literal::print_elements(*element, bytes))
            }
            None => format!("dense_resource<{name}>"),
        };
        format!("{data} : tensor<{count}x{}>", element.name())
    }

    fn is_literal(&self, resource: &Resource) -> bool {
        self.options.weights && resource.bytes.is_some() && resource.count <= literal::MAX_ELEMENTS
    }

    fn location(&self, origin: &Origin) -> String {
        if self.options.locations { format!(" loc({})", print_origin(origin)) } else { String::new() }
    }

    fn print_readable_op(&mut self, function: &Function, op: Op, names: &Names) {
        let data = &function.ops[op];
        let operands: Vec<String> = data.operands.iter().map(|&value| names.get(value)).collect();
        let mut text = format!("{}{}", self.results(function, op, names), data.kind.name());
        if !operands.is_empty() {
            let _ = write!(text, " {}", operands.join(", "));
        }
        text.push_str(&self.attrs(&data.kind.attrs()));
        let types: Vec<String> = data.results.iter().map(|&value| self.ty(function.ty(value))).collect();
        if !types.is_empty() {
            let _ = write!(text, " : {}", types.join(", "));
        }
        let location = self.location(&data.origin);
        for &region in &data.regions {
            text.push_str(" do {");
            self.line(&text);
            self.print_block(function, region, names);
            text = "}".to_owned();
        }
        self.line(&format!("{text}{location}"));
    }

    fn print_generic_op(&mut self, function: &Function, op: Op, names: &Names) {
        let data = &function.ops[op];
        let operands: Vec<String> = data.operands.iter().map(|&value| names.get(value)).collect();
        let mut text = self.generic_results(function, op, names);
        let _ = write!(text, "\"{}\"({})", data.kind.name(), operands.join(", "));
        for (i, &region) in data.regions.iter().enumerate() {
            text.push_str(if i == 0 { " ({" } else { ", {" });
            self.line(&text);
            self.print_block(function, region, names);
            text = "}".to_owned();
        }
        if !data.regions.is_empty() {
            text.push(')');
        }
        text.push_str(&self.attrs(&data.kind.attrs()));
        let types = |values: &[Value]| {
            let types: Vec<String> = values.iter().map(|&value| self.ty(function.ty(value))).collect();
            types.join(", ")
        };
        let _ = write!(text, " : ({}) -> ({})", types(&data.operands), types(&data.results));
        text.push_str(&self.location(&data.origin));
        self.line(&text);
    }

    /// Several results are separate names, which MLIR's grammar allows as well as `%a:2`.
    fn generic_results(&self, function: &Function, op: Op, names: &Names) -> String {
        self.results(function, op, names)
    }

    /// Names of the resources that ops refer to, each once: the order in which a parser meets them.
    fn resources_in_order_of_use(&self) -> Vec<Arc<str>> {
        let mut names = IndexSet::new();
        for function in &self.module.functions {
            for op in function.walk() {
                for (_, attr) in function.ops[op].kind.attrs() {
                    resource_names(&attr, &mut names);
                }
            }
        }
        names.into_iter().collect()
    }

    fn print_resources(&mut self) {
        let known: Vec<(Arc<str>, &Resource)> = self
            .resources_in_order_of_use()
            .into_iter()
            .filter_map(|name| self.module.resource(&name).map(|resource| (name, resource)))
            .filter(|(_, resource)| resource.bytes.is_some() && !self.is_literal(resource))
            .collect();
        if known.is_empty() {
            return;
        }
        self.line("{-#");
        self.line("  dialect_resources: {");
        self.line("    builtin: {");
        for (i, (name, resource)) in known.iter().enumerate() {
            let bytes = resource.bytes.as_deref().unwrap_or(&[]);
            // MLIR's blob begins with its alignment as a little-endian u32.
            let mut hex = format!("{:08X}", (resource.element.size_bytes() as u32).swap_bytes());
            for byte in bytes {
                let _ = write!(hex, "{byte:02X}");
            }
            let comma = if i + 1 == known.len() { "" } else { "," };
            self.line(&format!("      {name}: \"0x{hex}\"{comma}"));
        }
        self.line("    }");
        self.line("  }");
        self.line("#-}");
    }
}

fn resource_names(attr: &Attr, names: &mut IndexSet<Arc<str>>) {
    match attr {
        Attr::Resource(reference) => {
            names.insert(reference.name.clone());
        }
        Attr::Array(items) | Attr::Tuple(_, items) => {
            for item in items {
                resource_names(item, names);
            }
        }
        _ => {}
    }
}

/// MLIR's spelling of a location.
fn print_origin(origin: &Origin) -> String {
    match origin {
        Origin::Unknown => "unknown".to_owned(),
        Origin::Text { file, line, column } => format!("{}:{line}:{column}", print_string(file)),
        Origin::Model { file, operator, name } => {
            format!("{}({}:{operator}:0)", print_string(name), print_string(file))
        }
        Origin::Fused(parts) => {
            let parts: Vec<String> = parts.iter().map(print_origin).collect();
            format!("fused[{}]", parts.join(", "))
        }
    }
}

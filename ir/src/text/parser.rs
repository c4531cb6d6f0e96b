//! Reads modules in either spelling. Knows the grammar only; whether ops make sense is the verifier's business.
//!
//! After an error the parser goes on with the next line, so that several errors are reported at once; results of a
//! broken op count as defined, so that one mistake is reported once. Memory is bounded by the size of the text.

use super::cursor::{Cursor, ParseError, Step, is_word_char};
use super::literal;
use crate::attr::{Attr, AttrValue, ResourceRef};
use crate::diag::{Diagnostic, Diagnostics, Origin};
use crate::module::{Block, Function, Module, OpKind, Port, Resource, Stage, Value};
use crate::quant::{Affine, F32, Granularity, QuantType};
use crate::types::{Element, MemRefType, Packed, Scalar, Shape, TensorType, Type};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Nesting of regions, arrays and locations beyond which a text is refused.
const MAX_DEPTH: usize = 64;
/// Errors after which parsing stops.
const MAX_ERRORS: usize = 20;

/// Reads a module.
///
/// # Errors
/// Every syntax error (up to a limit), with its place.
pub fn parse(text: &str, file: &str) -> Result<Module, Diagnostics> {
    let mut parser = Parser {
        cursor: Cursor::new(text, file),
        module: Module::default(),
        errors: Diagnostics::default(),
        aliases: HashMap::new(),
        resources: Vec::new(),
        named: named_resources(text),
        result: None,
        depth: 0,
        resume: None,
    };
    if let Err(error) = parser.file() {
        parser.report(error);
    }
    if parser.errors.has_errors() {
        return Err(parser.errors);
    }
    parser.declare_resources();
    Ok(parser.module)
}

struct Parser<'t> {
    cursor: Cursor<'t>,
    module: Module,
    errors: Diagnostics,
    aliases: HashMap<String, Type>,
    /// References in order of first use; the data comes at the end of the text.
    resources: Vec<ResourceRef>,
    /// Names of resources anywhere in the text, which no literal may get.
    named: HashSet<String>,
    /// First result of the op being read, which literals are named after.
    result: Option<String>,
    depth: usize,
    /// Where parsing goes on after an op that was read but is wrong.
    resume: Option<usize>,
}

/// What a value name stands for.
type Scope = HashMap<String, Value>;

impl<'t> Parser<'t> {
    fn report(&mut self, error: ParseError) {
        let origin = self.cursor.origin(error.at);
        self.errors.push(Diagnostic::error(error.message).at(origin));
    }

    fn fail<T>(&self, at: usize, message: impl Into<String>) -> Step<T> {
        Err(ParseError { at, message: message.into() })
    }

    fn nested<T>(&mut self, step: impl FnOnce(&mut Self) -> Step<T>) -> Step<T> {
        if self.depth >= MAX_DEPTH {
            return self.fail(
                self.cursor.position,
                format!("expected at most {MAX_DEPTH} levels of nesting, got more"),
            );
        }
        self.depth += 1;
        let result = step(self);
        self.depth -= 1;
        result
    }

    fn list<T>(&mut self, end: &str, mut item: impl FnMut(&mut Self) -> Step<T>) -> Step<Vec<T>> {
        let mut items = Vec::new();
        if self.cursor.eat(end) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.cursor.eat(end) {
                return Ok(items);
            }
            if !self.cursor.eat(",") {
                return self.cursor.expected(&format!("',' or '{end}'"));
            }
        }
    }

    // ---- modules and functions

    fn file(&mut self) -> Step<()> {
        while self.cursor.peek() == Some('!') {
            self.alias()?;
        }
        if self.cursor.eat("module") {
            self.readable_module()?;
        } else if self.cursor.eat("\"builtin.module\"") {
            self.generic_module()?;
        } else {
            return self.cursor.expected("'module' or '\"builtin.module\"'");
        }
        if self.cursor.eat("{-#") {
            self.resource_section()?;
        }
        if self.cursor.at_end() { Ok(()) } else { self.cursor.expected("the end of the text") }
    }

    fn alias(&mut self) -> Step<()> {
        self.cursor.expect("!")?;
        let name = self.cursor.word("the name of a type")?.to_owned();
        self.cursor.expect("=")?;
        let ty = self.ty()?;
        self.aliases.insert(name, ty);
        Ok(())
    }

    fn stage(&mut self) -> Step<Stage> {
        self.cursor.skip_blanks();
        let at = self.cursor.position;
        let name = self.cursor.string()?;
        match Stage::ALL.into_iter().find(|stage| stage.name() == name) {
            Some(stage) => Ok(stage),
            None => {
                let known: Vec<&str> = Stage::ALL.iter().map(|stage| stage.name()).collect();
                self.fail(at, format!("expected a stage ({}), got '{name}'", known.join(", ")))
            }
        }
    }

    fn readable_module(&mut self) -> Step<()> {
        self.module.name = self.cursor.string()?.into();
        self.cursor.expect("stage")?;
        self.module.stage = self.stage()?;
        self.cursor.expect("{")?;
        while !self.cursor.eat("}") {
            self.cursor.expect("func")?;
            let mut function = Function::new(self.cursor.string()?);
            self.cursor.expect("inputs")?;
            self.cursor.expect("[")?;
            function.inputs = self.list("]", Self::readable_port)?;
            self.cursor.expect("outputs")?;
            self.cursor.expect("[")?;
            function.outputs = self.list("]", Self::readable_port)?;
            self.cursor.expect("{")?;
            let body = function.body;
            self.block(&mut function, body, &mut Scope::new())?;
            self.cursor.expect("}")?;
            self.module.functions.push(function);
        }
        Ok(())
    }

    fn readable_port(&mut self) -> Step<Port> {
        let name = self.cursor.string()?.into();
        self.cursor.expect(":")?;
        Ok(Port { name, ty: self.ty()? })
    }

    fn generic_module(&mut self) -> Step<()> {
        self.cursor.expect("(")?;
        self.cursor.expect(")")?;
        self.cursor.expect("(")?;
        self.cursor.expect("{")?;
        while !self.cursor.eat("}") {
            self.generic_function()?;
        }
        self.cursor.expect(")")?;
        self.cursor.expect("{")?;
        self.list("}", |parser| {
            let name = parser.attr_name()?;
            parser.cursor.expect("=")?;
            match name.as_str() {
                "mcunetc.name" => parser.module.name = parser.cursor.string()?.into(),
                "mcunetc.stage" => parser.module.stage = parser.stage()?,
                _ => drop(parser.attr()?),
            }
            Ok(())
        })?;
        self.function_type()?;
        self.location().map(|_| ())
    }

    fn generic_function(&mut self) -> Step<()> {
        self.cursor.expect("\"func.func\"")?;
        self.cursor.expect("(")?;
        self.cursor.expect(")")?;
        let mut function = Function::new("main");
        if self.cursor.eat("<") {
            self.cursor.expect("{")?;
            self.function_attrs(&mut function)?;
            self.cursor.expect(">")?;
        }
        self.cursor.expect("(")?;
        self.cursor.expect("{")?;
        let body = function.body;
        self.block(&mut function, body, &mut Scope::new())?;
        self.cursor.expect("}")?;
        self.cursor.expect(")")?;
        if self.cursor.eat("{") {
            self.function_attrs(&mut function)?;
        }
        self.function_type()?;
        self.location()?;
        self.module.functions.push(function);
        Ok(())
    }

    fn function_attrs(&mut self, function: &mut Function) -> Step<()> {
        self.list("}", |parser| {
            let name = parser.attr_name()?;
            parser.cursor.expect("=")?;
            match name.as_str() {
                "sym_name" => function.name = parser.cursor.string()?.into(),
                "function_type" => parser.arrow_type()?,
                "mcunetc.inputs" => function.inputs = parser.generic_ports()?,
                "mcunetc.outputs" => function.outputs = parser.generic_ports()?,
                _ => drop(parser.attr()?),
            }
            Ok(())
        })
        .map(|_| ())
    }

    fn generic_ports(&mut self) -> Step<Vec<Port>> {
        self.cursor.expect("[")?;
        self.list("]", |parser| {
            parser.cursor.expect("[")?;
            let name = parser.cursor.string()?.into();
            parser.cursor.expect(",")?;
            let ty = parser.ty()?;
            parser.cursor.expect("]")?;
            Ok(Port { name, ty })
        })
    }

    // ---- blocks and operations

    /// The arguments and operations of a block, up to its closing brace.
    fn block(&mut self, function: &mut Function, block: Block, scope: &mut Scope) -> Step<()> {
        if self.cursor.eat("^") {
            self.cursor.take_while(is_word_char);
            if self.cursor.eat("(") {
                self.list(")", |parser| {
                    let (name, at) = parser.value_name()?;
                    parser.cursor.expect(":")?;
                    let ty = parser.ty()?;
                    let value = function.add_argument(block, ty, kept_name(&name));
                    parser.define(scope, name, value, at)
                })?;
            }
            self.cursor.expect(":")?;
        }
        loop {
            match self.cursor.peek() {
                None | Some('}') => return Ok(()),
                Some(_) => {}
            }
            if let Err(error) = self.op(function, block, scope) {
                self.report(error);
                if self.errors.0.len() >= MAX_ERRORS {
                    return self.fail(self.cursor.position, "too many errors");
                }
                match self.resume.take() {
                    // The op was read whole, but for its location.
                    Some(position) => {
                        self.cursor.position = position;
                        if self.location().is_err() {
                            self.cursor.skip_line();
                        }
                    }
                    None => self.cursor.skip_line(),
                }
            }
        }
    }

    fn value_name(&mut self) -> Step<(String, usize)> {
        self.cursor.skip_blanks();
        let at = self.cursor.position;
        self.cursor.expect("%")?;
        Ok((self.cursor.word("the name of a value")?.to_owned(), at))
    }

    fn define(&mut self, scope: &mut Scope, name: String, value: Value, at: usize) -> Step<()> {
        if scope.contains_key(&name) {
            return self.fail(at, format!("expected a new name, got '%{name}' again"));
        }
        scope.insert(name, value);
        Ok(())
    }

    fn op(&mut self, function: &mut Function, block: Block, scope: &mut Scope) -> Step<()> {
        self.resume = None;
        let mut names = Vec::new();
        if self.cursor.peek() == Some('%') {
            loop {
                names.push(self.value_name()?);
                if !self.cursor.eat(",") {
                    break;
                }
            }
            self.cursor.expect("=")?;
        }
        self.result = names.first().map(|(name, _)| name.clone());
        let result = self.op_after_results(function, block, scope, &names);
        if result.is_err() {
            // One mistake is reported once: what the broken op would have defined counts as defined.
            let dummy = function.add_detached_value();
            for (name, _) in names {
                scope.entry(name).or_insert(dummy);
            }
        }
        result
    }

    fn op_after_results(
        &mut self,
        function: &mut Function,
        block: Block,
        scope: &mut Scope,
        names: &[(String, usize)],
    ) -> Step<()> {
        self.cursor.skip_blanks();
        let at = self.cursor.position;
        let generic = self.cursor.peek() == Some('"');
        let name = if generic { self.cursor.string()? } else { self.cursor.word("an operation")?.to_owned() };
        if !OpKind::all_specs().any(|spec| spec.name == name) {
            return self.fail(at, unknown_op(&name));
        }
        let operands = self.operands(scope, generic)?;
        let mut attrs = Vec::new();
        let mut regions = Vec::new();
        if generic {
            if self.cursor.eat("<") {
                self.cursor.expect("{")?;
                attrs = self.attr_dict()?;
                self.cursor.expect(">")?;
            }
            if self.cursor.eat("(") {
                regions = self.list(")", |parser| {
                    parser.cursor.expect("{")?;
                    parser.region(function, scope)
                })?;
            }
            if self.cursor.eat("{") {
                attrs.extend(self.attr_dict()?);
            }
        } else if self.cursor.eat("{") {
            attrs = self.attr_dict()?;
        }
        let types = if generic {
            self.function_type()?
        } else if self.cursor.eat(":") {
            self.type_list()?
        } else {
            Vec::new()
        };
        while !generic && self.cursor.eat("do") {
            self.cursor.expect("{")?;
            regions.push(self.region(function, scope)?);
        }
        self.resume = Some(self.cursor.position);
        let origin = self.location()?.unwrap_or_else(|| self.cursor.origin(at));
        if types.len() != names.len() {
            return self.fail(at, format!("expected {} result types, got {}", names.len(), types.len()));
        }
        let kind = self.kind(&name, &attrs, at)?;
        let op = function.create_op(kind, operands, types, regions, origin);
        function.blocks[block].ops.push(op);
        for (value, (name, at)) in function.ops[op].results.clone().into_iter().zip(names) {
            function.values[value].name = kept_name(name);
            self.define(scope, name.clone(), value, *at)?;
        }
        Ok(())
    }

    fn operands(&mut self, scope: &Scope, generic: bool) -> Step<Vec<Value>> {
        let operand = |parser: &mut Self| {
            let (name, at) = parser.value_name()?;
            match scope.get(&name) {
                Some(&value) => Ok(value),
                None => parser.fail(at, format!("expected a defined value, got '%{name}'")),
            }
        };
        if generic {
            self.cursor.expect("(")?;
            return self.list(")", operand);
        }
        let mut operands = Vec::new();
        while self.cursor.peek() == Some('%') {
            operands.push(operand(self)?);
            if !self.cursor.eat(",") {
                break;
            }
        }
        Ok(operands)
    }

    fn region(&mut self, function: &mut Function, scope: &mut Scope) -> Step<Block> {
        let block = function.create_block();
        self.nested(|parser| parser.block(function, block, scope))?;
        self.cursor.expect("}")?;
        Ok(block)
    }

    fn kind(&mut self, name: &str, attrs: &[(String, Attr)], at: usize) -> Step<OpKind> {
        match OpKind::from_text(name, attrs) {
            None => self.fail(at, unknown_op(name)),
            Some(Ok(kind)) => Ok(kind),
            Some(Err(errors)) => {
                let messages: Vec<String> =
                    errors.into_iter().map(|(attr, error)| format!("attribute '{attr}': {error}")).collect();
                self.fail(at, format!("'{name}' op {}", messages.join("; ")))
            }
        }
    }

    // ---- attributes

    fn attr_name(&mut self) -> Step<String> {
        if self.cursor.peek() == Some('"') {
            return self.cursor.string();
        }
        Ok(self.cursor.word("the name of an attribute")?.to_owned())
    }

    fn attr_dict(&mut self) -> Step<Vec<(String, Attr)>> {
        self.list("}", |parser| {
            let name = parser.attr_name()?;
            parser.cursor.expect("=")?;
            Ok((name, parser.attr()?))
        })
    }

    fn attr(&mut self) -> Step<Attr> {
        match self.cursor.peek() {
            Some('"') => Ok(Attr::Str(self.cursor.string()?.into())),
            Some('[') => {
                self.cursor.expect("[")?;
                Ok(Attr::Array(self.nested(|parser| parser.list("]", Self::attr))?))
            }
            Some('#') => {
                self.cursor.expect("#")?;
                let name = self.cursor.word("the name of an attribute")?.into();
                self.cursor.expect("<")?;
                Ok(Attr::Tuple(name, self.nested(|parser| parser.list(">", Self::attr))?))
            }
            Some(c) if c.is_ascii_digit() || c == '-' => self.number(),
            _ if self.cursor.eat("true") => Ok(Attr::Bool(true)),
            _ if self.cursor.eat("false") => Ok(Attr::Bool(false)),
            _ if self.cursor.eat("dense_resource") => self.resource_ref(),
            _ if self.cursor.eat("dense") => self.literal(),
            _ => self.cursor.expected("an attribute"),
        }
    }

    fn number(&mut self) -> Step<Attr> {
        let at = self.cursor.position;
        let literal = self.number_literal()?;
        let typed_float = self.cursor.looks_at(":") && {
            let before = self.cursor.clone();
            self.cursor.expect(":")?;
            let float = self.cursor.eat("f32");
            if !float && !self.cursor.eat("i64") {
                self.cursor = before;
            }
            float
        };
        if typed_float {
            return Ok(Attr::Float(self.float(literal, at)?));
        }
        match literal.parse() {
            Ok(value) => Ok(Attr::Int(value)),
            Err(_) => self.fail(at, format!("expected an integer or a float with ': f32', got '{literal}'")),
        }
    }

    /// The characters of a number, decimal or hexadecimal.
    fn number_literal(&mut self) -> Step<&'t str> {
        self.cursor.skip_blanks();
        // A sign may stand first or after an exponent's letter.
        let previous = std::cell::Cell::new('e');
        let literal = self.cursor.take_while(|c| {
            let previous = previous.replace(c);
            let sign = matches!(c, '-' | '+') && matches!(previous, 'e' | 'E');
            sign || c.is_ascii_hexdigit() || matches!(c, '.' | 'x')
        });
        if literal.is_empty() { self.cursor.expected("a number") } else { Ok(literal) }
    }

    fn float(&self, literal: &str, at: usize) -> Step<F32> {
        let value = match literal.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok().map(f32::from_bits),
            None => literal.parse::<f32>().ok(),
        };
        match value {
            Some(value) => Ok(F32(value)),
            None => self.fail(at, format!("expected a float, got '{literal}'")),
        }
    }

    fn integer<T: AttrValue>(&mut self) -> Step<T> {
        self.cursor.skip_blanks();
        let at = self.cursor.position;
        let digits = self.cursor.take_while(|c| c.is_ascii_digit() || c == '-');
        let value = digits.parse::<i64>().ok();
        match value.map(|value| T::from_attr(&Attr::Int(value))) {
            Some(Ok(value)) => Ok(value),
            _ => self.fail(at, format!("expected {}, got '{digits}'", T::description())),
        }
    }

    fn resource_ref(&mut self) -> Step<Attr> {
        self.cursor.expect("<")?;
        let name: Arc<str> = self.attr_name()?.into();
        self.cursor.expect(">")?;
        let (element, count) = self.resource_type()?;
        let at = self.cursor.position;
        let reference = ResourceRef { name, element, count };
        match self.resources.iter().find(|other| other.name == reference.name) {
            Some(other) if *other != reference => {
                return self
                    .fail(at, format!("expected one type for resource '{}', got two", reference.name));
            }
            Some(_) => {}
            None => self.resources.push(reference.clone()),
        }
        Ok(Attr::Resource(reference))
    }

    /// `: tensor<4xi8>`; element type and number of elements.
    fn resource_type(&mut self) -> Step<(Scalar, usize)> {
        self.cursor.expect(":")?;
        let at = self.cursor.position;
        match self.ty()?.as_tensor() {
            Some(TensorType { shape, element: Element::Plain(element) }) => Ok((*element, shape.elements())),
            _ => self
                .fail(at, "expected a tensor of plain numbers as the type of a resource, got another type"),
        }
    }

    /// `dense<[1, 2]> : tensor<2xi8>`: a resource with its data in place.
    fn literal(&mut self) -> Step<Attr> {
        self.cursor.expect("<")?;
        self.cursor.expect("[")?;
        let items = self.list("]", |parser| {
            parser.cursor.skip_blanks();
            let at = parser.cursor.position;
            let item = match parser.cursor.peek() {
                Some('t' | 'f') => parser.cursor.word("a number")?,
                _ => parser.number_literal()?,
            };
            Ok((item, at))
        })?;
        self.cursor.expect(">")?;
        let (element, count) = self.resource_type()?;
        if items.len() != count {
            return self
                .fail(self.cursor.position, format!("expected {count} elements, got {}", items.len()));
        }
        let mut bytes = Vec::new();
        for (item, at) in items {
            if literal::encode_element(element, item, &mut bytes).is_none() {
                return self.fail(at, format!("expected a value of {}, got '{item}'", element.name()));
            }
        }
        let reference = ResourceRef { name: self.literal_name().into(), element, count };
        let resource = Resource { element, count, bytes: Some(bytes.into()) };
        self.module.declare_resource(reference.name.clone(), resource);
        self.resources.push(reference.clone());
        Ok(Attr::Resource(reference))
    }

    /// A new name for a literal.
    fn literal_name(&mut self) -> String {
        let base = self.result.as_deref().filter(|name| kept_name(name).is_some()).unwrap_or("dense");
        let mut name = base.to_owned();
        let mut copy = 0;
        while !self.named.insert(name.clone()) {
            copy += 1;
            name = format!("{base}_{copy}");
        }
        name
    }

    // ---- types

    fn type_list(&mut self) -> Step<Vec<Type>> {
        let mut types = vec![self.ty()?];
        while self.cursor.eat(",") {
            types.push(self.ty()?);
        }
        Ok(types)
    }

    /// `: (T, T) -> (T)` or `-> T`; the result types.
    fn function_type(&mut self) -> Step<Vec<Type>> {
        self.cursor.expect(":")?;
        self.arrow_type_results()
    }

    fn arrow_type(&mut self) -> Step<()> {
        self.arrow_type_results().map(|_| ())
    }

    fn arrow_type_results(&mut self) -> Step<Vec<Type>> {
        self.cursor.expect("(")?;
        self.list(")", Self::ty)?;
        self.cursor.expect("->")?;
        if self.cursor.eat("(") { self.list(")", Self::ty) } else { Ok(vec![self.ty()?]) }
    }

    fn ty(&mut self) -> Step<Type> {
        self.cursor.skip_blanks();
        let at = self.cursor.position;
        if self.cursor.eat("!") {
            let name = self.cursor.word("the name of a type")?;
            return match self.aliases.get(name) {
                Some(ty) => Ok(ty.clone()),
                None => self.fail(at, format!("expected a named type, got '!{name}', which is not defined")),
            };
        }
        let word = self.cursor.word("a type")?;
        match word {
            "tensor" => {
                self.cursor.expect("<")?;
                let shape = self.shape()?;
                let element = self.element()?;
                self.cursor.expect(">")?;
                Ok(TensorType { shape, element }.into())
            }
            "memref" => {
                self.cursor.expect("<")?;
                let shape = self.shape()?;
                let element = self.scalar()?;
                self.cursor.expect(">")?;
                Ok(MemRefType { shape, element }.into())
            }
            "vector" => {
                self.cursor.expect("<")?;
                let lanes = self.cursor.take_while(|c| c != '>').to_owned();
                self.cursor.expect(">")?;
                match lanes.as_str() {
                    "2xi16" => Ok(Type::Packed(Packed::I16x2)),
                    "4xi8" => Ok(Type::Packed(Packed::I8x4)),
                    _ => {
                        self.fail(at, format!("expected vector<2xi16> or vector<4xi8>, got vector<{lanes}>"))
                    }
                }
            }
            _ => match Scalar::ALL.into_iter().find(|scalar| scalar.name() == word) {
                Some(scalar) => Ok(Type::Scalar(scalar)),
                None => self.fail(at, format!("expected a type, got '{word}'")),
            },
        }
    }

    /// `8x8x4x`, up to the element type.
    fn shape(&mut self) -> Step<Shape> {
        let mut dims = Vec::new();
        while self.cursor.peek().is_some_and(|c| c.is_ascii_digit()) {
            let at = self.cursor.position;
            let digits = self.cursor.take_while(|c| c.is_ascii_digit()).to_owned();
            match digits.parse() {
                Ok(dim) if dims.len() < 8 => dims.push(dim),
                Ok(_) => return self.fail(at, "expected at most 8 dimensions, got more"),
                Err(_) => return self.fail(at, format!("expected a dimension, got '{digits}'")),
            }
            let before = self.cursor.position;
            if !self.cursor.take_while(|c| c == 'x').eq("x") {
                self.cursor.position = before;
                return self.cursor.expected("'x'");
            }
        }
        Ok(Shape(dims))
    }

    fn scalar(&mut self) -> Step<Scalar> {
        let at = self.cursor.position;
        let name = self.cursor.word("an element type")?;
        match Scalar::ALL.into_iter().find(|scalar| scalar.name() == name) {
            Some(scalar) => Ok(scalar),
            None => self.fail(at, format!("expected an element type, got '{name}'")),
        }
    }

    fn element(&mut self) -> Step<Element> {
        if !self.cursor.eat("!quant.uniform") {
            return Ok(Element::Plain(self.scalar()?));
        }
        self.cursor.expect("<")?;
        let at = self.cursor.position;
        let name = self.cursor.word("a storage type")?.replace('u', "ui");
        let Some(storage) = Scalar::ALL.into_iter().find(|scalar| scalar.name() == name) else {
            return self.fail(at, format!("expected a storage type, got '{name}'"));
        };
        let Some((mut min, mut max)) = storage.integer_range() else {
            return self.fail(at, "expected an integer storage type, got f32");
        };
        if self.cursor.eat("<") {
            min = self.integer()?;
            self.cursor.expect(":")?;
            max = self.integer()?;
            self.cursor.expect(">")?;
        }
        self.cursor.expect(":")?;
        self.cursor.expect("f32")?;
        let granularity = if self.cursor.eat(":") {
            let axis = self.integer()?;
            self.cursor.expect(",")?;
            self.cursor.expect("{")?;
            Granularity::PerAxis { axis, channels: self.list("}", Self::affine)? }
        } else {
            self.cursor.expect(",")?;
            Granularity::PerTensor(self.affine()?)
        };
        self.cursor.expect(">")?;
        Ok(Element::Quant(Arc::new(QuantType { storage, min, max, granularity })))
    }

    fn affine(&mut self) -> Step<Affine> {
        self.cursor.skip_blanks();
        let at = self.cursor.position;
        let literal = self.number_literal()?.to_owned();
        let scale = self.float(&literal, at)?;
        let zero_point = if self.cursor.eat(":") { self.integer()? } else { 0 };
        Ok(Affine { scale, zero_point })
    }

    // ---- locations

    /// `loc(...)`, if it is there.
    fn location(&mut self) -> Step<Option<Origin>> {
        if !self.cursor.eat("loc") {
            return Ok(None);
        }
        self.cursor.expect("(")?;
        let origin = self.nested(Self::origin)?;
        self.cursor.expect(")")?;
        Ok(Some(origin))
    }

    fn origin(&mut self) -> Step<Origin> {
        if self.cursor.eat("unknown") {
            return Ok(Origin::Unknown);
        }
        if self.cursor.eat("fused") {
            self.cursor.expect("[")?;
            let parts = self.nested(|parser| parser.list("]", Self::origin))?;
            return Ok(Origin::Fused(parts.into()));
        }
        let first: Arc<str> = self.cursor.string()?.into();
        if self.cursor.eat("(") {
            let file = self.cursor.string()?.into();
            self.cursor.expect(":")?;
            let operator = self.integer()?;
            self.cursor.expect(":")?;
            self.integer::<u32>()?;
            self.cursor.expect(")")?;
            return Ok(Origin::Model { file, operator, name: first });
        }
        self.cursor.expect(":")?;
        let line = self.integer()?;
        self.cursor.expect(":")?;
        Ok(Origin::Text { file: first, line, column: self.integer()? })
    }

    // ---- resources

    /// `dialect_resources: { builtin: { name: "0x...", ... } } #-}`
    fn resource_section(&mut self) -> Step<()> {
        self.cursor.expect("dialect_resources")?;
        self.cursor.expect(":")?;
        self.cursor.expect("{")?;
        self.cursor.expect("builtin")?;
        self.cursor.expect(":")?;
        self.cursor.expect("{")?;
        self.list("}", |parser| {
            let name = parser.attr_name()?;
            parser.cursor.expect(":")?;
            parser.cursor.skip_blanks();
            let at = parser.cursor.position;
            let hex = parser.cursor.string()?;
            parser.resource(&name, &hex, at)
        })?;
        self.cursor.expect("}")?;
        self.cursor.expect("#-}")
    }

    fn resource(&mut self, name: &str, hex: &str, at: usize) -> Step<()> {
        let Some(reference) = self.resources.iter().find(|reference| &*reference.name == name).cloned()
        else {
            return self.fail(at, format!("expected the name of a resource that is used, got '{name}'"));
        };
        let Some(bytes) = hex.strip_prefix("0x").and_then(decode_hex).filter(|bytes| bytes.len() >= 4) else {
            return self.fail(at, "expected 0x, an alignment and data in hexadecimal digits, got other text");
        };
        if self.module.resource(name).is_some() {
            return self.fail(at, format!("expected the data of resource '{name}' once, got it again"));
        }
        let (found, size) = (bytes.len() - 4, reference.element.size_bytes());
        if reference.count.checked_mul(size) != Some(found) {
            let expected = reference.count.saturating_mul(size);
            return self.fail(at, format!("expected {expected} bytes for resource '{name}', got {found}"));
        }
        let resource =
            Resource { element: reference.element, count: reference.count, bytes: Some(bytes[4..].into()) };
        self.module.declare_resource(reference.name, resource);
        Ok(())
    }

    /// Declares resources whose data is not in the text, in order of use.
    fn declare_resources(&mut self) {
        let known: HashMap<Arc<str>, Resource> =
            self.module.resources().map(|(name, resource)| (name.clone(), resource.clone())).collect();
        let mut ordered = Module::new(self.module.name.clone());
        for (name, resource) in &known {
            if !self.resources.iter().any(|reference| reference.name == *name) {
                ordered.declare_resource(name.clone(), resource.clone());
            }
        }
        for reference in std::mem::take(&mut self.resources) {
            let absent = Resource { element: reference.element, count: reference.count, bytes: None };
            let resource = known.get(&reference.name).cloned().unwrap_or(absent);
            ordered.declare_resource(reference.name, resource);
        }
        ordered.stage = self.module.stage;
        ordered.functions = std::mem::take(&mut self.module.functions);
        self.module = ordered;
    }
}

/// The names between `dense_resource<` and `>`, comments aside.
fn named_resources(text: &str) -> HashSet<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let references = lines.flat_map(|line| line.split("dense_resource<").skip(1));
    let names = references.filter_map(|rest| rest.split('>').next());
    names.map(|name| name.trim().trim_matches('"').to_owned()).collect()
}

/// A name to keep: numbers are given anew by the printer.
fn kept_name(name: &str) -> Option<Arc<str>> {
    let numbered = name.chars().all(|c| c.is_ascii_digit());
    (!numbered).then(|| name.into())
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// The message for an unknown op, with the nearest known name.
fn unknown_op(name: &str) -> String {
    let nearest = OpKind::all_specs().map(|spec| spec.name).min_by_key(|known| edit_distance(name, known));
    match nearest.filter(|known| edit_distance(name, known) <= 3) {
        Some(known) => format!("unknown operation '{name}'; did you mean '{known}'?"),
        None => format!("unknown operation '{name}'"),
    }
}

/// Levenshtein's distance, over the first 64 bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b) = (&a.as_bytes()[..a.len().min(64)], &b.as_bytes()[..b.len().min(64)]);
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

//! Functions that several layers share, and what each of the layers gives them.
//!
//! The function is printed for the first of them. Where that names memory or a number that is another in one of the others, it
//! reads a field of a structure instead, of which each layer has one in flash. Fields are made as the function is printed:
//! numbers that are the same in all layers stay literals, equal ones share a field, and multiples of a field are computed.

use super::arenas::Arenas;
use super::expression::{Expression, Precedence};
use super::rows::RowTables;
use super::weights::int32_literal;
use mcunet_ir::Value;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::program::Program;
use mcunet_ir::loops::skeleton::{NumberPlace, Skeleton};
use mcunet_ir::module::{Function, Op, OpKind};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Largest factor between a number and a field that it is computed from.
const MAX_FACTOR: i64 = 8;

/// What the parameter with the fields is called.
pub const LAYER: &str = "layer";

/// Layers that share a function.
#[derive(Debug)]
pub struct Class {
    /// The function's name.
    pub name: String,
    /// The layers; the function is printed for the first.
    pub members: Vec<Member>,
}

/// A layer that shares a function.
#[derive(Debug)]
pub struct Member {
    /// Its number.
    pub index: usize,
    /// Its kernel.
    pub kernel: Op,
    skeleton: Skeleton,
}

/// What has to be the same for one function to do, beside the code: for each memory its arena, and its table of rows.
type Signature = Vec<(Option<usize>, Option<(&'static str, usize)>)>;

impl Class {
    /// The classes of a program that have several members, in the order of their first.
    pub fn all(function: &Function, program: &Program, arenas: &Arenas, tables: &RowTables) -> Vec<Self> {
        let mut groups: BTreeMap<(&str, Signature), Vec<Member>> = BTreeMap::new();
        for (index, &kernel) in program.kernels.iter().enumerate() {
            let Some(name) = &program.head(function, index).shared else { continue };
            let Some(skeleton) = Skeleton::of(function, kernel) else { continue };
            let signature = signature(function, &skeleton, arenas, tables);
            groups.entry((name, signature)).or_default().push(Member { index, kernel, skeleton });
        }
        let mut several: Vec<_> = groups.into_iter().filter(|(_, members)| members.len() > 1).collect();
        several.sort_by_key(|(_, members)| members[0].index);
        let mut taken: BTreeMap<String, usize> = BTreeMap::new();
        let mut class = |((name, _), members): ((&str, Signature), Vec<Member>)| {
            let name = format!("kernel_{}", super::names::identifier(name));
            let count = taken.entry(name.clone()).or_default();
            *count += 1;
            Self { name: if *count == 1 { name } else { format!("{name}_{count}") }, members }
        };
        several.into_iter().map(&mut class).collect()
    }

    /// Values of the number at a place of the first member, in all of them.
    pub fn numbers(&self, place: NumberPlace) -> Option<Vec<i64>> {
        let numbers = &self.members[0].skeleton.numbers;
        let position = numbers.iter().position(|number| number.place == place)?;
        Some(self.members.iter().map(|member| member.skeleton.numbers[position].value).collect())
    }

    /// What a memory of the first member is in all of them.
    pub fn memories(&self, memory: Value) -> Vec<Value> {
        let position = self.members[0].skeleton.memories.iter().position(|&other| other == memory);
        let of = |member: &Member| position.map_or(memory, |position| member.skeleton.memories[position]);
        self.members.iter().map(of).collect()
    }

    /// Numbers of the layers, as a list in words.
    pub fn layers(&self) -> String {
        let mut numbers: Vec<String> = self.members.iter().map(|member| member.index.to_string()).collect();
        let last = numbers.pop().unwrap_or_default();
        format!("{} and {last}", numbers.join(", "))
    }
}

fn signature(function: &Function, skeleton: &Skeleton, arenas: &Arenas, tables: &RowTables) -> Signature {
    let of = |&memory: &Value| {
        let kind = function.defining_op(memory).map(|op| &function.ops[op].kind);
        let arena = match kind {
            Some(OpKind::Loop(LoopOp::Buffer(buffer))) => {
                buffer.place.as_ref().map(|place| arenas.position(&place.region))
            }
            _ => None,
        };
        (arena, tables.get(memory).map(|table| (table.ty, table.factor)))
    };
    skeleton.memories.iter().map(of).collect()
}

/// What a function that is shared reads of a layer.
#[derive(Debug, Default)]
pub struct Fields {
    pointers: Vec<Field>,
    arrays: Vec<Field>,
    numbers: Vec<Vec<i64>>,
    /// Statements that read them.
    pub reads: String,
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    /// As it is declared in the structure.
    declaration: String,
    /// What it is in each layer.
    values: Vec<String>,
}

impl Fields {
    /// A number that is so much in each layer; `related` allows to compute it from another.
    pub fn number(&mut self, values: &[i64], related: bool) -> Expression {
        // What is left open is 32 bits wide.
        let literal = |value: i64| Expression::literal(int32_literal(value as i32));
        let Some(&first) = values.first() else { return literal(0) };
        if values.iter().all(|&value| value == first) {
            return literal(first);
        }
        for (position, field) in self.numbers.iter().enumerate() {
            let name = Expression::primary(format!("n{position}"));
            match factor(values, field) {
                Some(1) => return name,
                Some(factor) if related => {
                    return Expression::binary(&literal(factor), "*", &name, Precedence::Product);
                }
                _ => {}
            }
            let difference = first - field[0];
            let differs = |(value, field): (&i64, &i64)| value - field == difference;
            if related && difference.abs() <= MAX_FACTOR && values.iter().zip(field).all(differs) {
                return match difference < 0 {
                    true => Expression::binary(&name, "-", &literal(-difference), Precedence::Sum),
                    false => Expression::binary(&name, "+", &literal(difference), Precedence::Sum),
                };
            }
        }
        let name = format!("n{}", self.numbers.len());
        let _ = writeln!(self.reads, "    const int32_t {name} = {LAYER}->{name};");
        self.numbers.push(values.to_vec());
        Expression::primary(name)
    }

    /// A pointer to constants, by their names in each layer, as a variable called `name`.
    pub fn pointer(&mut self, ty: &str, name: &str, names: Vec<String>) {
        let _ = writeln!(self.reads, "    const {ty} *const {name} = {LAYER}->{name};");
        let declaration = format!("const {ty} *{name}");
        self.pointers.push(Field { name: name.to_owned(), declaration, values: names });
    }

    /// An array of numbers; the expression that it is.
    pub fn array(&mut self, name: &str, values: &[Vec<i64>]) -> String {
        let declaration = format!("int32_t {name}[{}]", values.first().map_or(0, Vec::len));
        let values = values.iter().map(|values| array(values)).collect();
        self.arrays.push(Field { name: name.to_owned(), declaration, values });
        format!("{LAYER}->{name}")
    }

    /// Whether layers give anything at all.
    pub fn any(&self) -> bool {
        !self.pointers.is_empty() || !self.arrays.is_empty() || !self.numbers.is_empty()
    }

    /// The structure's definition; wide fields come first, so that nothing is lost between them.
    pub fn definition(&self, class: &Class) -> String {
        let fields = self.in_order();
        let fields: String = fields.map(|field| format!("    {};\n", field.declaration)).collect();
        format!(
            "/* What layers {} differ in. */\ntypedef struct {{\n{fields}}} {};\n\n",
            class.layers(),
            Self::type_name(class)
        )
    }

    /// Name of the structure.
    pub fn type_name(class: &Class) -> String {
        format!("{}_{LAYER}", class.name)
    }

    /// The structure of a member, by its position in the class.
    pub fn values(&self, member: usize) -> String {
        let line = |field: Field| format!("        .{} = {},\n", field.name, field.values[member]);
        self.in_order().map(line).collect()
    }

    fn in_order(&self) -> impl Iterator<Item = Field> {
        let wide = self.pointers.iter().chain(&self.arrays).cloned();
        let fits = |values: &[i64]| values.iter().all(|&value| i16::try_from(value).is_ok());
        let number = |(position, values): (usize, &Vec<i64>)| {
            let ty = if fits(values) { "int16_t" } else { "int32_t" };
            let values = values.iter().map(|&value| int32_literal(value as i32)).collect();
            let name = format!("n{position}");
            Field { declaration: format!("{ty} {name}"), name, values }
        };
        let mut numbers: Vec<Field> = self.numbers.iter().enumerate().map(number).collect();
        numbers.sort_by_key(|field| field.declaration.starts_with("int16_t"));
        wide.chain(numbers).collect::<Vec<_>>().into_iter()
    }
}

/// By what all of `field` has to be multiplied to be `values`.
fn factor(values: &[i64], field: &[i64]) -> Option<i64> {
    let (&value, &unit) = values.iter().zip(field).find(|&(_, &unit)| unit != 0)?;
    let factor = value / unit;
    let is_multiple = values.iter().zip(field).all(|(&value, &unit)| value == factor * unit);
    (factor != 0 && factor.abs() <= MAX_FACTOR && is_multiple).then_some(factor)
}

/// An array as its initializer.
pub fn array(values: &[i64]) -> String {
    let values: Vec<String> = values.iter().map(i64::to_string).collect();
    format!("{{ {} }}", values.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_literals_fields_or_computed_from_fields() {
        let mut fields = Fields::default();
        let mut text = |values: &[i64], related: bool| fields.number(values, related).text;
        assert_eq!(text(&[7, 7], true), "7");
        assert_eq!(text(&[106, 57], true), "n0");
        assert_eq!(text(&[106, 57], false), "n0");
        assert_eq!(text(&[318, 171], true), "3 * n0");
        assert_eq!(text(&[105, 56], true), "n0 - 1");
        assert_eq!(text(&[-106, -57], true), "-1 * n0");
        // What is not to be computed, or is not the same multiple, has a field of its own.
        assert_eq!(text(&[318, 171], false), "n1");
        assert_eq!(text(&[212, 171], true), "n2");
        assert_eq!(text(&[0, 1000], true), "n3");
        assert!(fields.any() && fields.reads.contains("const int32_t n3 = layer->n3;"));
    }

    #[test]
    fn wide_fields_come_first() {
        let mut fields = Fields::default();
        fields.number(&[1, 2], true);
        fields.number(&[1, 70_000], true);
        fields.pointer("int8_t", "data0", vec!["a".to_owned(), "b".to_owned()]);
        let order: Vec<String> = fields.in_order().map(|field| field.declaration).collect();
        assert_eq!(order, ["const int8_t *data0", "int32_t n1", "int16_t n0"]);
        assert_eq!(fields.values(1), "        .data0 = b,\n        .n1 = 70000,\n        .n0 = 2,\n");
    }
}

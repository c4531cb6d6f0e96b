//! C expressions with their precedence, so that parentheses stand only where they are needed.

use mcunet_ir::Value;
use std::collections::BTreeSet;

/// Precedence of C operators, loosest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Precedence {
    /// `a ? b : c`
    Conditional,
    /// `a | b`, `a ^ b`, `a & b`, comparisons, shifts: always parenthesized as operands, since few know their order.
    Mixed,
    /// `a + b`, `a - b`
    Sum,
    /// `a * b`, `a / b`, `a % b`
    Product,
    /// `(type)a`, `-a`
    Unary,
    /// Names, literals, calls, subscripts.
    Primary,
}

/// An expression and the variables that change in it.
#[derive(Clone, Debug)]
pub struct Expression {
    /// The text.
    pub text: String,
    /// Its outermost operator.
    pub precedence: Precedence,
    /// Loop-carried variables that it reads.
    pub carried: BTreeSet<Value>,
}

impl Expression {
    /// A name, literal or call.
    pub fn primary(text: impl Into<String>) -> Self {
        Self { text: text.into(), precedence: Precedence::Primary, carried: BTreeSet::new() }
    }

    /// A literal; a negative one binds like a unary operator.
    pub fn literal(text: impl Into<String>) -> Self {
        let text = text.into();
        let precedence = if text.starts_with('-') { Precedence::Unary } else { Precedence::Primary };
        Self { text, precedence, carried: BTreeSet::new() }
    }

    /// The text as operand of an operator of the given precedence.
    pub fn at(&self, precedence: Precedence) -> String {
        if self.precedence >= precedence { self.text.clone() } else { format!("({})", self.text) }
    }

    /// `lhs operator rhs`; the right operand is parenthesized if it binds no tighter.
    pub fn binary(lhs: &Expression, operator: &str, rhs: &Expression, precedence: Precedence) -> Self {
        let (left, right) = match precedence {
            // Few know how shifts and bitwise operators bind; comparisons are clear.
            Precedence::Mixed if operator.contains(['<', '>', '=']) && !matches!(operator, "<<" | ">>") => {
                (lhs.at(Precedence::Sum), rhs.at(Precedence::Sum))
            }
            Precedence::Mixed => (lhs.at(Precedence::Unary), rhs.at(Precedence::Unary)),
            Precedence::Sum => {
                // Sums of sums need no parentheses but after a minus.
                let tight = operator == "-" || rhs.text.starts_with('-');
                let right = if tight { rhs.at(Precedence::Product) } else { rhs.at(Precedence::Sum) };
                (lhs.at(Precedence::Sum), if right.starts_with('-') { format!("({right})") } else { right })
            }
            _ => (lhs.at(precedence), rhs.at(Precedence::Unary)),
        };
        Self { text: format!("{left} {operator} {right}"), precedence, carried: union(&[lhs, rhs]) }
    }

    /// `function(arguments)`
    pub fn call(function: &str, arguments: &[&Expression]) -> Self {
        let list: Vec<&str> = arguments.iter().map(|argument| argument.text.as_str()).collect();
        Self {
            text: format!("{function}({})", list.join(", ")),
            precedence: Precedence::Primary,
            carried: union(arguments),
        }
    }

    /// `(type)operand`
    pub fn cast(ty: &str, operand: &Expression) -> Self {
        Self {
            text: format!("({ty}){}", operand.at(Precedence::Unary)),
            precedence: Precedence::Unary,
            carried: operand.carried.clone(),
        }
    }

    /// `condition ? then : otherwise`
    pub fn conditional(condition: &Expression, then: &Expression, otherwise: &Expression) -> Self {
        let [condition_text, then_text, otherwise_text] =
            [condition, then, otherwise].map(|part| part.at(Precedence::Mixed));
        Self {
            text: format!("{condition_text} ? {then_text} : {otherwise_text}"),
            precedence: Precedence::Conditional,
            carried: union(&[condition, then, otherwise]),
        }
    }

    /// `memory[offset]`
    pub fn subscript(memory: &str, offset: &Expression) -> Self {
        Self {
            text: format!("{memory}[{}]", offset.text),
            precedence: Precedence::Primary,
            carried: offset.carried.clone(),
        }
    }
}

fn union(parts: &[&Expression]) -> BTreeSet<Value> {
    parts.iter().flat_map(|part| part.carried.iter().copied()).collect()
}

//! The rules: data, one entry each, grouped in a file per family.
//!
//! A rule looks at one operation (its root) and at what is known to be equal to its operands, and returns values that are
//! equal to the root. It never removes anything, so that rules can't get in each other's way; extraction chooses at the end.
//! Each rule states why its right side equals its left side. Exact rules do so for every integer to the bit, and for
//! floats by the same operations in the same order; the others are *approximate* and apply only where the user names them.
//!
//! What a rule owes beside its entry: a case `lit-tests/fuse/NAME.mcir`, and a generator of left sides in
//! `testing/src/fusion`, on which the property test evaluates all nodes of all e-classes against each other.

pub(crate) mod clamp;
mod depthwise;
mod dequantize;
mod epilogue;
mod linear;
mod movement;
mod reduce;
pub mod table;
mod transpose;

use super::graph::Graph;
use super::language::OpNode;
use egg::Id;
use mcunet_ir::nn::NnOp;

/// Why the two sides of a rule are equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// To the bit.
    Exact(&'static str),
    /// Up to what is said here.
    Approximate(&'static str),
}

/// A rewrite rule.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Name, in kebab case.
    pub name: &'static str,
    /// Both sides in one line.
    pub summary: &'static str,
    /// When the rule applies, beyond the form of the left side.
    pub condition: &'static str,
    /// Why both sides are equal.
    pub proof: Proof,
    /// Whether an operation can be the root.
    pub roots: fn(&NnOp) -> bool,
    /// Values that are equal to the root.
    pub apply: fn(&mut Graph<'_>, &OpNode) -> Vec<Id>,
}

impl Rule {
    /// Whether the rule applies without being named.
    pub fn is_exact(&self) -> bool {
        matches!(self.proof, Proof::Exact(_))
    }
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All rules, family by family.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    let families: [&'static [Rule]; 9] = [
        table::RULES,
        clamp::RULES,
        reduce::RULES,
        transpose::RULES,
        movement::RULES,
        linear::RULES,
        depthwise::RULES,
        dequantize::RULES,
        epilogue::RULES,
    ];
    families.into_iter().flatten()
}

/// Whether a rule makes operations of which other passes know less than of what they stand for.
pub fn is_late(rule: &Rule) -> bool {
    epilogue::RULES.iter().any(|late| late.name == rule.name)
}

/// The rule of a name.
pub fn find(name: &str) -> Option<&'static Rule> {
    all().find(|rule| rule.name == name)
}

/// The rule table as Markdown, for `docs/fusion.md`.
pub fn reference() -> String {
    let mut out =
        String::from("| rule | what it does | when | why both sides are equal |\n|---|---|---|---|\n");
    for rule in all() {
        let proof = match rule.proof {
            Proof::Exact(reason) => format!("exact: {reason}"),
            Proof::Approximate(reason) => format!("**approximate**: {reason}"),
        };
        out.push_str(&format!("| `{}` | {} | {} | {proof} |\n", rule.name, rule.summary, rule.condition));
    }
    out
}

//! Inputs and outputs that are handed over row by row, by functions of the user.

use mcunet_ir::Op;
use mcunet_ir::loops::ops::Role;
use mcunet_ir::loops::program::{Streamed, received, received_by, sent, sent_by};
use mcunet_ir::module::Function;
use std::collections::BTreeMap;

/// What is handed over, by a whole model or by some of its kernels.
pub struct Streams {
    /// Inputs; one that is received several times counts as often.
    received: Vec<Streamed>,
    /// Outputs.
    sent: Vec<Streamed>,
}

impl Streams {
    /// What a model hands over.
    pub fn of(function: &Function) -> Self {
        Self { received: received(function), sent: sent(function) }
    }

    /// What some kernels hand over.
    pub fn of_kernels(function: &Function, kernels: &[Op]) -> Self {
        Self { received: received_by(function, kernels), sent: sent_by(function, kernels) }
    }

    /// Whether anything is handed over.
    pub fn any(&self) -> bool {
        self.reads() || self.writes()
    }

    /// Whether inputs are.
    pub fn reads(&self) -> bool {
        !self.received.is_empty()
    }

    /// Whether outputs are.
    pub fn writes(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Whether an input or output is, and so lies nowhere.
    pub fn has(&self, role: Role, index: usize) -> bool {
        self.port(role, index).is_some()
    }

    /// Its rows.
    pub fn port(&self, role: Role, index: usize) -> Option<&Streamed> {
        self.of_role(role).iter().find(|streamed| streamed.index == index)
    }

    /// All that are, by their number.
    pub fn ports(&self, role: Role) -> BTreeMap<usize, &Streamed> {
        self.of_role(role).iter().map(|streamed| (streamed.index, streamed)).collect()
    }

    /// How often an input is handed over.
    pub fn sweeps(&self, index: usize) -> usize {
        self.received.iter().filter(|received| received.index == index).count()
    }

    /// What is handed over as people read it, if anything is.
    pub fn port_name(&self, function: &Function) -> Option<String> {
        let of = |streamed: &[Streamed], what: &str, ports: &[mcunet_ir::module::Port]| {
            let port = ports.get(streamed.first()?.index)?;
            Some(format!("{what} '{}'", port.name))
        };
        let input = of(&self.received, "input", &function.inputs);
        input.or_else(|| of(&self.sent, "output", &function.outputs))
    }

    /// The user's functions.
    pub fn functions(&self) -> impl Iterator<Item = &'static str> + use<> {
        let named = [("read_rows", self.reads()), ("write_rows", self.writes())];
        named.into_iter().filter_map(|(name, given)| given.then_some(name))
    }

    /// Parameters for the user's functions and what is given to them.
    pub fn parameters(&self, prefix: &str) -> Vec<String> {
        let functions = self.functions().map(|name| format!("{prefix}_{name} {name}"));
        functions.chain(self.any().then(|| "void *user".to_owned())).collect()
    }

    /// The same where such a function is called.
    pub fn arguments(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.functions().chain(self.any().then_some("user"))
    }

    fn of_role(&self, role: Role) -> &[Streamed] {
        match role {
            Role::Input => &self.received,
            Role::Output => &self.sent,
            _ => &[],
        }
    }
}

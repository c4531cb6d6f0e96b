//! Networks that tests make: numbers, and layers side by side.

/// Numbers that look random, the same in every run.
pub struct Numbers(pub u32);

impl Numbers {
    /// The next, from `low` to `high`.
    pub fn next(&mut self, low: i32, high: i32) -> i32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        low + (self.0 >> 8) as i32 % (high - low + 1)
    }

    /// So many of them, as text.
    pub fn list(&mut self, count: usize, low: i32, high: i32) -> String {
        let numbers: Vec<String> = (0..count).map(|_| self.next(low, high).to_string()).collect();
        numbers.join(", ")
    }
}

/// Layers side by side, each with an input `x` and an output `y` of its own.
#[derive(Default)]
pub struct Layers {
    inputs: Vec<String>,
    arguments: Vec<String>,
    outputs: Vec<String>,
    results: Vec<String>,
    body: String,
}

impl Layers {
    /// Adds one that reads `%x{number}` and makes `%y{number}`, of these types.
    pub fn add(&mut self, number: usize, input: &str, output: &str, body: &str) {
        self.inputs.push(format!("\"x{number}\" : {input}"));
        self.arguments.push(format!("%x{number}: {input}"));
        self.outputs.push(format!("\"y{number}\" : {output}"));
        self.results.push(format!("%y{number}"));
        self.body.push_str(body);
    }

    /// The module's text.
    pub fn module(&self, name: &str) -> String {
        let Self { inputs, arguments, outputs, results, body } = self;
        let [inputs, arguments, outputs, results] =
            [inputs, arguments, outputs, results].map(|list| list.join(", "));
        format!(
            "module \"{name}\" stage \"imported\" {{\n  func \"main\" inputs [{inputs}] outputs [{outputs}] {{\n  ^({arguments}):\n\
             {body}    func.return {results}\n  }}\n}}\n"
        )
    }
}

//! The horizontal axis: steps of the program, stretched so that every layer has room for its name.
//!
//! Within a kernel or a cascade the axis is linear in steps. Each gets room for the names of its layers, and a share of
//! what is left that grows with its steps, so that short layers stay visible beside long ones.

use mcunet_ir::loops::program::{Part, Program};

/// Room for the name of a layer, in pixels.
const NAME_WIDTH: f64 = 11.0;

/// Share of the axis that names take at most.
const NAMES_SHARE: f64 = 0.75;

/// Where steps lie.
pub struct TimeAxis {
    /// First step and first pixel of every part, and the end of the last one.
    knots: Vec<(usize, f64)>,
}

impl TimeAxis {
    /// The axis of a program from pixel `left` on.
    pub fn new(program: &Program, left: f64, width: f64) -> Self {
        let layers = program.kernels.len().max(1) as f64;
        let steps = program.steps.len().max(1) as f64;
        let per_layer = NAME_WIDTH.min(width * NAMES_SHARE / layers);
        let per_step = (width - per_layer * layers) / steps;
        let mut knots = vec![(0, left)];
        let mut x = left;
        for part in &program.parts {
            x += per_layer * part.kernels.len() as f64 + per_step * part.steps.len() as f64;
            knots.push((part.steps.end, x));
        }
        if program.steps.is_empty() {
            knots.push((1, left + width));
        }
        Self { knots }
    }

    /// The pixel at which a step begins, which is where the one before ends.
    pub fn x(&self, step: usize) -> f64 {
        let next = self.knots.partition_point(|knot| knot.0 <= step).clamp(1, self.knots.len() - 1);
        let ((first, left), (end, right)) = (self.knots[next - 1], self.knots[next]);
        let share = (step.min(end) - first.min(step)) as f64 / (end - first).max(1) as f64;
        left + (right - left) * share
    }

    /// First and last pixel of a part.
    pub fn span(&self, part: &Part) -> [f64; 2] {
        [self.x(part.steps.start), self.x(part.steps.end)]
    }

    /// The pixel at which the name of a part's `index`th layer stands.
    pub fn name_x(&self, part: &Part, index: usize) -> f64 {
        let [left, right] = self.span(part);
        left + (right - left) * (index as f64 + 0.5) / part.kernels.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcunet_ir::arena::Handle;
    use mcunet_ir::loops::program::Step;
    use mcunet_ir::module::Op;

    #[test]
    fn steps_are_in_order_and_fill_the_axis() {
        let parts = [0..100, 100..101, 101..104];
        let parts = parts.into_iter().enumerate();
        let parts = parts.map(|(i, steps)| Part { cascade: None, kernels: i..i + 1, steps });
        let steps = vec![Step { kernel: 0, row: 0 }; 104];
        let kernels = (0..3).map(Op::new).collect();
        let program = Program { kernels, parts: parts.collect(), steps };
        let axis = TimeAxis::new(&program, 50.0, 1000.0);
        let xs: Vec<f64> = (0..=104).map(|step| axis.x(step)).collect();
        assert_eq!((xs[0], xs[104].round()), (50.0, 1050.0));
        assert!(xs.windows(2).all(|pair| pair[0] < pair[1]), "{xs:?}");
        assert!(axis.x(101) - axis.x(100) > NAME_WIDTH);
    }
}

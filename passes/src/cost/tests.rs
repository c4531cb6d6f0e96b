//! Rules of the walk, on programs of a few lines.

use super::{Isa, Timing, walk};
use crate::cost;
use crate::target::Core;
use mcunet_ir::Module;
use mcunet_ir::loops::program::Program;
use walk::{Calls, KernelMix};

/// A module of one kernel that makes `rows` rows.
fn module(rows: usize, body: &str) -> Module {
    let text = format!(
        r#"module "cost" stage "lowered" {{
  func "main" inputs ["x" : tensor<{rows}x1024xi8>] outputs ["y" : tensor<{rows}x1024xi8>] {{
    %x = loop.buffer {{role = "input", rows = {rows}}} : memref<{rows}x1024xi8>
    %y = loop.buffer {{role = "output", rows = {rows}}} : memref<{rows}x1024xi8>
    loop.kernel %y, %x {{layer = "test", rows = {rows}, writes = 1}} do {{
    ^(%row: i32):
      %zero = loop.const {{value = 0}} : i32
      %one = loop.const {{value = 1}} : i32
      %three = loop.const {{value = 3}} : i32
      %hundred = loop.const {{value = 100}} : i32
{body}
      loop.yield
    }}
    func.return
  }}
}}
"#
    );
    mcunet_ir::text::parse(&text, "cost.mcir").expect("a valid text")
}

fn isa() -> Isa {
    Timing::of(Core::CortexM4).isa
}

/// What a kernel of `rows` rows executes.
fn mix(rows: usize, body: &str) -> KernelMix {
    let module = module(rows, body);
    let function = &module.functions[0];
    let kernel = Program::of(function).kernels[0];
    walk::kernel(function, None, kernel, Calls { rows, per_row: false }, &isa())
}

#[test]
fn trips_of_nested_loops_multiply() {
    let body = "
      loop.for %zero, %hundred do {
      ^(%i: i32):
        loop.for %zero, %hundred {step = 3} do {
        ^(%j: i32):
          %at = loop.add %i, %j : i32
          %v = loop.load %x, %at : i32
          loop.store %v, %y, %at
          loop.yield
        }
        loop.yield
      }";
    let found = mix(4, body).executed;
    assert_eq!((found.ram_loads, found.ram_stores), (4.0 * 100.0 * 34.0, 4.0 * 100.0 * 34.0));
    // Each loop ends in a branch that is not taken once.
    assert_eq!(found.untaken, 4.0 * 100.0 + 4.0 + 1.0);
    assert_eq!(found.taken, 4.0 * 100.0 * 33.0 + 4.0 * 99.0 + 3.0);
}

#[test]
fn conditions_on_rows_and_counters_are_evaluated() {
    let body = "
      %first = loop.cmp %row, %one {predicate = \"lt\"} : i1
      loop.for %zero, %hundred do {
      ^(%i: i32):
        %edge = loop.cmp %i, %three {predicate = \"lt\"} : i1
        loop.if %edge do {
          loop.if %first do {
            %v = loop.load %x, %i : i32
            loop.store %v, %y, %i
            loop.yield
          } do {
            loop.yield
          }
          loop.yield
        } do {
          loop.store %zero, %y, %i
          loop.yield
        }
        loop.yield
      }";
    let found = mix(4, body).executed;
    // Of 4 rows the first, of 100 columns the first 3.
    assert_eq!((found.ram_loads, found.ram_stores), (3.0, 3.0 + 4.0 * 97.0));
}

#[test]
fn clipped_bounds_are_counted_exactly() {
    let body = "
      %before = loop.sub %row, %one : i32
      %from = loop.max %before, %zero : i32
      %end = loop.min %row, %three : i32
      loop.for %from, %end do {
      ^(%i: i32):
        %v = loop.load %x, %i : i32
        loop.store %v, %y, %i
        loop.yield
      }";
    // Rows 0 to 5: 0, 1, 1, 1, 0 and 0 trips: from row - 1 to the lesser of row and 3.
    assert_eq!(mix(6, body).executed.ram_loads, 3.0);
}

#[test]
fn data_decide_half_of_the_time() {
    let body = "
      %v = loop.load %x, %zero : i32
      %positive = loop.cmp %v, %zero {predicate = \"gt\"} : i1
      loop.if %positive do {
        loop.store %one, %y, %zero
        loop.yield
      } do {
        loop.yield
      }";
    assert_eq!(mix(8, body).executed.ram_stores, 4.0);
}

#[test]
fn short_loops_are_unrolled_and_long_ones_are_not() {
    let sum = |trips: usize| {
        format!(
            "
      %trips = loop.const {{value = {trips}}} : i32
      %sum = loop.for %zero, %trips, %zero : i32 do {{
      ^(%i: i32, %acc: i32):
        %v = loop.load %x, %i : i32
        %next = loop.add %acc, %v : i32
        loop.yield %next
      }}
      loop.store %sum, %y, %zero"
        )
    };
    let [short, long] = [16, 17].map(|trips| mix(1, &sum(trips)));
    assert_eq!((short.executed.ram_loads, short.executed.taken), (16.0, 0.0));
    assert_eq!(short.code.ram_loads, 16.0);
    assert_eq!((long.executed.ram_loads, long.executed.taken), (17.0, 16.0));
    assert_eq!(long.code.ram_loads, 1.0);
}

#[test]
fn what_does_not_vary_is_computed_once() {
    let body = |distance: &str| {
        format!(
            "
      loop.for %zero, %hundred do {{
      ^(%i: i32):
        %shifted = loop.shl %{distance}, %three : i32
        loop.store %shifted, %y, %i
        loop.yield
      }}"
        )
    };
    let [outside, inside] = ["row", "i"].map(|value| mix(2, &body(value)).executed.alu);
    // The counter is needed as a number, too, and then a pointer does not replace it.
    assert_eq!(inside - outside, 2.0 * 99.0 + 2.0 * 100.0);
}

#[test]
fn products_that_are_added_are_one_instruction() {
    let body = "
      %sum = loop.for %zero, %hundred, %zero : i32 do {
      ^(%i: i32, %acc: i32):
        %v = loop.load %x, %i : i32
        %product = loop.mul %v, %v : i32
        %next = loop.add %acc, %product : i32
        loop.yield %next
      }
      loop.store %sum, %y, %zero";
    let found = mix(1, body).executed;
    assert_eq!(found.multiplies, 100.0);
    // The end of the loop, and what stands outside of it.
    assert!(found.alu >= 100.0 && found.alu < 120.0, "{found:?}");
}

#[test]
fn cores_differ_and_estimates_do_not_change() {
    let module = module(
        2,
        "
      loop.for %zero, %hundred do {
      ^(%i: i32):
        %v = loop.load %x, %i : i32
        %w = loop.mul %v, %v : i32
        loop.store %w, %y, %i
        loop.yield
      }",
    );
    let on = |core: Core| cost::of_module_on(&module, core);
    assert_eq!(on(Core::CortexM4), on(Core::CortexM4));
    let [m0, m4, m7] = [Core::CortexM0plus, Core::CortexM4, Core::CortexM7].map(|core| on(core).total.cycles);
    assert!(m7 < m4 && m4 < m0, "{m7} {m4} {m0}");
    let cost = on(Core::CortexM4);
    assert_eq!(cost.layers.len(), 1);
    assert_eq!(cost.layers[0], cost.total);
}

#[test]
fn modules_that_are_not_lowered_cost_nothing() {
    let empty = Module::new("empty");
    assert_eq!(cost::of_module_on(&empty, Core::CortexM4), cost::Cost::default());
}

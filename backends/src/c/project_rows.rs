//! What the project's test does for inputs and outputs that are handed over row by row: it hands over rows of the vectors,
//! collects those of outputs, and checks that all come once and in order; and it refuses both.

use super::header::port_type;
use super::streams::Streams;
use super::weights::element_type;
use mcunet_ir::loops::ops::Role;
use mcunet_ir::module::Function;
use std::fmt::Write;

/// Functions of the test that hand over rows, and refuse to, and where it keeps outputs.
pub fn functions(streams: &Streams, function: &Function, upper: &str) -> String {
    let mut fields = String::new();
    if streams.reads() {
        let _ = writeln!(fields, "    int32_t next_row[{}];", function.inputs.len());
    }
    if streams.writes() {
        let _ = writeln!(fields, "    int32_t next_sent[{}];", function.outputs.len());
    }
    let mut out = format!(
        "/* Which vector is run, and how many rows of each input and output have come. */\n\
         typedef struct rows_of {{\n    int vector;\n{fields}}} rows_of;\n\n"
    );
    if streams.reads() {
        reader(&mut out, streams, upper);
    }
    if streams.writes() {
        writer(&mut out, streams, function, upper);
    }
    out
}

/// What the test does to see that the run ends when a function refuses, and to run a vector.
pub fn calls(streams: &Streams, prefix: &str, upper: &str) -> (String, String) {
    let (mut refused, mut invoke) = (String::new(), String::new());
    let given = |read: &str, write: &str| {
        let given = [(read, streams.reads()), (write, streams.writes())];
        let given = given.iter().filter(|(_, given)| *given).map(|(name, _)| *name);
        given.collect::<Vec<_>>().join(", ")
    };
    let _ = writeln!(invoke, "        rows_of rows = {{ .vector = vector }};");
    if streams.reads() {
        let given = given("read_nothing", "write_rows");
        let _ = writeln!(
            refused,
            "        rows_of unread = {{ .vector = vector }};\n        \
             failed |= {prefix}_invoke_rows(&ctx, {given}, &unread) != {upper}_ERROR_INPUT;"
        );
    }
    if streams.writes() {
        let given = given("read_rows", "write_nothing");
        let _ = writeln!(
            refused,
            "        rows_of unsent = {{ .vector = vector }};\n        \
             failed |= {prefix}_invoke_rows(&ctx, {given}, &unsent) != {upper}_ERROR_OUTPUT;"
        );
    }
    let given = given("read_rows", "write_rows");
    let _ = writeln!(invoke, "        failed |= {prefix}_invoke_rows(&ctx, {given}, &rows) != {upper}_OK;");
    for index in streams.ports(Role::Input).into_keys() {
        let input = format!("{upper}_INPUT_{index}");
        let _ =
            writeln!(invoke, "        failed |= rows.next_row[{index}] != {input}_ROWS * {input}_SWEEPS;");
    }
    for index in streams.ports(Role::Output).into_keys() {
        let _ = writeln!(invoke, "        failed |= rows.next_sent[{index}] != {upper}_OUTPUT_{index}_ROWS;");
    }
    (refused, invoke)
}

fn reader(out: &mut String, streams: &Streams, upper: &str) {
    out.push_str(
        "static int read_rows(void *user, int32_t input, int32_t first_row, int32_t rows, void *into)\n{\n    \
         rows_of *const of = user;\n    switch (input) {\n",
    );
    for index in streams.ports(Role::Input).into_keys() {
        let rows = format!("{upper}_INPUT_{index}_ROWS");
        let row_bytes = format!("{upper}_INPUT_{index}_ROW_BYTES");
        let _ = write!(
            out,
            "    case {index}:\n        if (first_row < 0 || first_row != of->next_row[{index}] % {rows}) {{\n            return 1;\n        }}\n        \
             of->next_row[{index}] += rows;\n        \
             memcpy(into, (const uint8_t *)test_input_{index}[of->vector] + (size_t)first_row * {row_bytes},\n               \
             (size_t)rows * {row_bytes});\n        return 0;\n"
        );
    }
    out.push_str(
        "    default:\n        return 1;\n    }\n}\n\n\
         static int read_nothing(void *user, int32_t input, int32_t first_row, int32_t rows, void *into)\n{\n    \
         (void)user;\n    (void)input;\n    (void)first_row;\n    (void)rows;\n    (void)into;\n    return 1;\n}\n\n",
    );
}

fn writer(out: &mut String, streams: &Streams, function: &Function, upper: &str) {
    for index in streams.ports(Role::Output).into_keys() {
        let element = element_type(port_type(&function.outputs[index]).storage());
        let _ = writeln!(out, "static {element} sent_output_{index}[{upper}_OUTPUT_{index}_ELEMENTS];");
    }
    out.push_str(
        "\nstatic int write_rows(void *user, int32_t output, int32_t first_row, int32_t rows, const void *from)\n{\n    \
         rows_of *const of = user;\n    switch (output) {\n",
    );
    for index in streams.ports(Role::Output).into_keys() {
        let row_bytes = format!("{upper}_OUTPUT_{index}_ROW_BYTES");
        let _ = write!(
            out,
            "    case {index}:\n        if (first_row != of->next_sent[{index}] || rows > {upper}_OUTPUT_{index}_ROWS - first_row) {{\n            return 1;\n        }}\n        \
             of->next_sent[{index}] += rows;\n        \
             memcpy((uint8_t *)sent_output_{index} + (size_t)first_row * {row_bytes}, from, (size_t)rows * {row_bytes});\n        \
             return 0;\n"
        );
    }
    out.push_str(
        "    default:\n        return 1;\n    }\n}\n\n\
         static int write_nothing(void *user, int32_t output, int32_t first_row, int32_t rows, const void *from)\n{\n    \
         (void)user;\n    (void)output;\n    (void)first_row;\n    (void)rows;\n    (void)from;\n    return 1;\n}\n\n",
    );
}

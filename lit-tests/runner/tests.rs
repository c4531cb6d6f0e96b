//! The runner's own tests: small cases, run by a stand-in for the compiler.

use std::path::Path;

use libtest_mimic::Trial;

use super::{Feature, Outcome, Suite, Verdict};

/// What a case must lead to.
enum Expected {
    Passed,
    Unsupported(&'static str),
    /// The report contains this.
    Failed(&'static str),
}

use Expected::{Failed, Passed, Unsupported};

const CASES: &[(&str, &str, Expected)] = &[
    ("run/passes", "// RUN: mcunetc cat < %s | FileCheck %s\nx\n// CHECK: x\n", Passed),
    (
        "run/check_fails",
        "// RUN: mcunetc say b | FileCheck %s\n// CHECK: a\n",
        Failed("CHECK: expected string not found"),
    ),
    ("run/missing", "// CHECK: a\n", Failed("expected a '// RUN:' line, got none")),
    ("run/in_prose", "// This RUN: is none\n", Failed("expected a '// RUN:' line, got none")),
    ("run/empty", "// RUN:\n", Failed("expected a command after 'RUN:' at line 1")),
    ("run/status", "// RUN: mcunetc fail oops\n", Failed("oops\nexpected success, got exit status 1")),
    (
        "run/status_in_pipe",
        "// RUN: mcunetc fail x | FileCheck --allow-empty %s\n// CHECK-NOT: a\n",
        Failed("got exit status 1"),
    ),
    (
        "run/second_line_counts",
        "// RUN: mcunetc say a\n// RUN: mcunetc fail b\n",
        Failed("RUN at line 2: mcunetc fail b"),
    ),
    ("run/continued", "// RUN: mcunetc say a \\\n// RUN:   | FileCheck %s\n// CHECK: a\n", Passed),
    (
        "run/continued_fails",
        "// RUN: mcunetc say a \\\n// RUN:   | FileCheck %s\n// CHECK: b\n",
        Failed("RUN at line 1"),
    ),
    ("run/continued_nowhere", "// RUN: mcunetc say a \\\n", Failed("after one that ends in '\\', got none")),
    ("run/hash_comment", "# RUN: mcunetc say a | FileCheck %s\n# CHECK: a\n", Passed),
    ("run/panic", "// RUN: not mcunetc panic\n", Failed("got a panic: told to")),
    (
        "run/unknown_command",
        "// RUN: cat %s\n",
        Failed("expected mcunetc, FileCheck, diff, absent, not, exits or mlir-opt, got 'cat'"),
    ),
    ("not/fails", "// RUN: not mcunetc fail oops 2>&1 | FileCheck %s\n// CHECK: oops\n", Passed),
    ("not/succeeds", "// RUN: not mcunetc say a\n", Failed("expected failure, got exit status 0")),
    ("not/without_command", "// RUN: not\n", Failed("expected a command before the end of the line")),
    ("exits/status", "// RUN: exits 1 mcunetc fail oops\n", Passed),
    (
        "exits/other_status",
        "// RUN: exits 2 mcunetc fail oops\n",
        Failed("expected exit status 2, got exit status 1"),
    ),
    (
        "exits/no_status",
        "// RUN: exits mcunetc fail oops\n",
        Failed("expected an exit status, got 'mcunetc'"),
    ),
    ("absent/is", "// RUN: absent %t\n", Passed),
    ("absent/is_not", "// RUN: mcunetc say a > %t && absent %t\n", Failed("expected no ")),
    ("absent/nothing", "// RUN: absent\n", Failed("expected paths after absent")),
    ("and/both", "// RUN: mcunetc say a > %t && FileCheck %s < %t\n// CHECK: a\n", Passed),
    ("and/first_fails", "// RUN: mcunetc fail x > %t && mcunetc panic\n", Failed("got exit status 1")),
    ("and/second_fails", "// RUN: mcunetc say a && mcunetc fail x\n", Failed("$ mcunetc fail x")),
    (
        "redirect/output_file",
        "// RUN: mcunetc say a >%t.1\n// RUN: FileCheck %s --input-file=%t.1\n// CHECK: a\n",
        Passed,
    ),
    (
        "redirect/error_file",
        "// RUN: not mcunetc fail a 2> %t\n// RUN: FileCheck %s < %t\n// CHECK: a\n",
        Passed,
    ),
    (
        "redirect/both_to_file",
        "// RUN: not mcunetc fail a > %t 2>&1\n// RUN: FileCheck %s < %t\n// CHECK: a\n",
        Passed,
    ),
    (
        "redirect/errors_apart",
        "// RUN: not mcunetc fail a | FileCheck %s\n// CHECK: a\n",
        Failed("expected some input, got none"),
    ),
    (
        "redirect/no_file",
        "// RUN: mcunetc say a >\n",
        Failed("expected a word after '>', got the end of the line"),
    ),
    ("redirect/missing_file", "// RUN: mcunetc cat < %t.none\n", Failed("expected a readable file, got '")),
    ("redirect/append", "// RUN: mcunetc say a >> %t\n", Failed("got '>>'")),
    ("redirect/temporary_is_fresh", "// RUN: not mcunetc exists %t\n// RUN: mcunetc say a > %t\n", Passed),
    (
        "substitute/paths",
        "// RUN: mcunetc say %S/x %% %s | FileCheck %s\n// CHECK: substitute/x % {{.*}}/paths.mcir{{$}}\n",
        Passed,
    ),
    (
        "substitute/unknown",
        "// RUN: mcunetc %tmp\n",
        Failed("expected one of %s, %S, %t, %mlir-opt, %models or %%, got '%tmp'"),
    ),
    ("substitute/in_quotes", "// RUN: mcunetc say '%s' | FileCheck %s\n// CHECK: in_quotes.mcir\n", Passed),
    (
        "quote/one_word",
        "// RUN: mcunetc count 'a b' \"c \\\" d\" e\\ f | FileCheck %s\n// CHECK: {{^}}3{{$}}\n",
        Passed,
    ),
    (
        "quote/operators",
        "// RUN: mcunetc say 'a|b>c&&$d;(e)' | FileCheck %s\n// CHECK{LITERAL}: a|b>c&&$d;(e)\n",
        Passed,
    ),
    ("quote/joins", "// RUN: mcunetc say a'b'\"c\" | FileCheck %s\n// CHECK: abc\n", Passed),
    ("quote/unfinished", "// RUN: mcunetc say 'a\n", Failed("expected a closing ', got the end of the line")),
    ("quote/variable", "// RUN: mcunetc say $HOME\n", Failed("or a quoted '$', got '$'")),
    (
        "pipe/nothing_after",
        "// RUN: mcunetc say a |\n",
        Failed("expected a command before the end of the line"),
    ),
    ("pipe/nothing_before", "// RUN: | FileCheck %s\n", Failed("expected a command before '|'")),
    ("pipe/or", "// RUN: mcunetc fail a || mcunetc say b\n", Failed("or a quoted '||', got '||'")),
    (
        "pipe/background",
        "// RUN: mcunetc say a & mcunetc say b\n",
        Failed("expected '&&' or a quoted '&', got '&'"),
    ),
    ("diff/same", "// RUN: mcunetc cat < %s | diff %s -\n", Passed),
    ("diff/differs", "// RUN: mcunetc say a | diff %s -\n", Failed("line 1 differs")),
    ("check/unknown_option", "// RUN: mcunetc say a | FileCheck %s --color\n", Failed("got '--color'")),
    ("check/no_directive", "// RUN: mcunetc say a | FileCheck %s\n", Failed("got none for 'CHECK:'")),
    (
        "check/stray",
        "// RUN: mcunetc say a | FileCheck %s\n// CHECK: a\n// CHECK-NXT: b\n",
        Failed("'CHECK-NXT' at line 3"),
    ),
    ("check/unused", "// RUN: mcunetc say a\n// CHECK: b\n", Failed("got 'CHECK' at line 2")),
    (
        "requires/present",
        "// REQUIRES: models\n// RUN: mcunetc say %models | FileCheck %s\n// CHECK: /some/models\n",
        Passed,
    ),
    ("requires/present_fails", "// REQUIRES: models\n// RUN: mcunetc fail a\n", Failed("got exit status 1")),
    (
        "requires/absent",
        "// REQUIRES: models, mlir-opt\n// RUN: mcunetc fail a\n",
        Unsupported("requires mlir-opt: not here"),
    ),
    (
        "requires/unknown",
        "// REQUIRES: modles\n// RUN: mcunetc say a\n",
        Failed("expected a feature among mlir-opt, models, got 'modles'"),
    ),
    (
        "requires/forgotten",
        "// RUN: mlir-opt %s\n",
        Failed("expected 'REQUIRES: mlir-opt' before mlir-opt is run: not here"),
    ),
    (
        "requires/forgotten_path",
        "// RUN: %mlir-opt %s\n",
        Failed("expected 'REQUIRES: mlir-opt' before %mlir-opt is used"),
    ),
    ("requires/other_keyword", "// XFAIL: *\n// RUN: mcunetc fail\n", Failed("got 'XFAIL:' at line 1")),
];

/// Stands in for the compiler. The first argument says what to do.
fn fake(arguments: &[String], stdin: &[u8]) -> Outcome {
    let (verb, rest) = arguments.split_first().expect("each case gives a verb");
    let said = || format!("{}\n", rest.join(" ")).into_bytes();
    match verb.as_str() {
        "cat" => Outcome { stdout: stdin.to_vec(), ..Outcome::default() },
        "say" => Outcome { stdout: said(), ..Outcome::default() },
        "count" => Outcome { stdout: format!("{}\n", rest.len()).into_bytes(), ..Outcome::default() },
        "fail" => Outcome { status: 1, stderr: said(), ..Outcome::default() },
        "exists" => Outcome {
            status: u8::from(!rest.iter().any(|path| Path::new(path).exists())),
            ..Outcome::default()
        },
        "panic" => panic!("told to"),
        other => panic!("expected a verb, got '{other}'"),
    }
}

/// Writes the case below `folder` and runs it twice, since leftovers of a run must not matter.
fn run(folder: &Path, name: &str, text: &str, expected: &Expected) -> Result<(), String> {
    let suite = Suite {
        root: folder.join("cases"),
        scratch: folder.join("scratch"),
        features: vec![
            Feature { name: "mlir-opt", path: Err("not here".to_owned()) },
            Feature { name: "models", path: Ok("/some/models".to_owned()) },
        ],
        mcunetc: fake,
    };
    let path = suite.root.join(format!("{name}.mcir"));
    let parent = path.parent().ok_or("expected a folder for the case, got none")?;
    std::fs::create_dir_all(parent)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| error.to_string())?;
    for _ in 0..2 {
        match (suite.run(&path), expected) {
            (Ok(Verdict::Passed), Passed) => {}
            (Ok(Verdict::Unsupported(reason)), Unsupported(wanted)) if reason == *wanted => {}
            (Err(report), Failed(fragment)) if report.contains(fragment) => {}
            (got, Passed) => return Err(format!("expected a pass, got {got:?}")),
            (got, Unsupported(wanted) | Failed(wanted)) => {
                return Err(format!("expected '{wanted}', got {got:?}"));
            }
        }
    }
    Ok(())
}

/// An external program gets its arguments and its input, and its status counts. Any file on the machine would do as a
/// program; the test executable itself is the one that is surely there.
fn external_programs_run() -> Result<(), String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let this = this.to_str().ok_or("expected a path in UTF-8")?;
    let words = |arguments: &[&str]| arguments.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let listed = super::execute::spawn(this, &words(&["--list", "filecheck/check/in_order"]), b"unread")?;
    if listed.status != 0 || listed.stdout != b"filecheck/check/in_order: test\n" {
        return Err(format!("expected one test in the list, got {listed:?}"));
    }
    let refused = super::execute::spawn(this, &words(&["--no-such-option"]), b"")?;
    if refused.status == 0 { Err(format!("expected a failure, got {refused:?}")) } else { Ok(()) }
}

/// All of them, named `runner/…`. They write below `scratch`.
pub fn trials(scratch: &Path) -> Vec<Trial> {
    let case = |(name, text, expected): &'static (&'static str, &'static str, Expected)| {
        let folder = scratch.join("runner-tests").join(name);
        Trial::test(format!("runner/{name}"), move || Ok(run(&folder, name, text, expected)?))
    };
    let external = Trial::test("runner/external_programs_run", || Ok(external_programs_run()?));
    CASES.iter().map(case).chain([external]).collect()
}

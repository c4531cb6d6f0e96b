//! The matcher's own tests: each directive and option, with input that it must accept and input that it must refuse.
//!
//! They are data, since a target with its own harness runs no `#[test]` functions.

use libtest_mimic::Trial;

use super::{Options, Text, check, stray_directives};

/// A check file, an input, and a fragment that the diagnostics must contain; no fragment, no diagnostics.
struct Case {
    name: &'static str,
    options: &'static [&'static str],
    checks: &'static str,
    input: &'static str,
    refused: Option<&'static str>,
}

const fn accepts(name: &'static str, checks: &'static str, input: &'static str) -> Case {
    Case { name, options: &[], checks, input, refused: None }
}

const fn refuses(
    name: &'static str,
    checks: &'static str,
    input: &'static str,
    fragment: &'static str,
) -> Case {
    Case { name, options: &[], checks, input, refused: Some(fragment) }
}

impl Case {
    const fn with(mut self, options: &'static [&'static str]) -> Self {
        self.options = options;
        self
    }

    fn run(&self) -> Result<(), String> {
        let checks = Text { name: "case.mcir", text: self.checks };
        let input = Text { name: "<stdin>", text: self.input };
        let outcome = options(self.options).and_then(|options| check(checks, input, &options));
        match (outcome, self.refused) {
            (Ok(()), None) => Ok(()),
            (Err(report), Some(fragment)) if report.contains(fragment) => Ok(()),
            (Ok(()), Some(fragment)) => Err(format!("expected diagnostics with '{fragment}', got none")),
            (Err(report), Some(fragment)) => {
                Err(format!("expected diagnostics with '{fragment}', got:\n{report}"))
            }
            (Err(report), None) => Err(format!("expected a match, got:\n{report}")),
        }
    }
}

fn options(arguments: &[&str]) -> Result<Options, String> {
    let arguments: Vec<String> = arguments.iter().copied().chain(["case.mcir"]).map(str::to_owned).collect();
    Options::parse(&arguments).map(|(options, _)| options)
}

const NOT_FOUND: &str = "expected string not found in input";

const CASES: &[Case] = &[
    accepts("check/in_order", "// CHECK: a\n// CHECK: b", "a\nx\nb\n"),
    refuses(
        "check/out_of_order",
        "// CHECK: b\n// CHECK: a",
        "a\nb\n",
        "case.mcir:2:11: error: CHECK: expected string",
    ),
    accepts("check/twice_on_a_line", "CHECK: a\nCHECK: b", "ab\n"),
    accepts("check/canonical_whitespace", "CHECK: a \t b", "a    b\n"),
    accepts("check/carriage_returns", "CHECK: a{{$}}\r\nCHECK-NEXT: b{{$}}\r\n", "a\r\nb\r\n"),
    accepts("check/without_break_at_end", "CHECK: a", "a"),
    refuses("check/no_text", "CHECK:   \n", "a\n", "expected text after 'CHECK:', got none"),
    refuses("check/undelimited_prefix", "XCHECK: a\nMY-CHECK: a", "a\n", "got none for 'CHECK:'"),
    refuses(
        "check/no_directive",
        "// nothing\n",
        "a\n",
        "expected a directive for each check prefix, got none",
    ),
    refuses("check/empty_input", "CHECK-NOT: a", "", "expected some input, got none"),
    accepts(
        "check/comments_are_no_directives",
        "// COM: CHECK: b\n// RUN: FileCheck CHECK: c\n// CHECK: a",
        "a\n",
    ),
    refuses("check/misspelt", "CHECK_NEXT: a", "a\n", "expected a directive, got '_NEXT' after 'CHECK'"),
    refuses("check/double_not", "CHECK-DAG-NOT: a", "a\n", "expected a directive, got '-DAG-NOT'"),
    accepts("literal/brackets", "CHECK{LITERAL}: [[1, 2]] {{x}}", "dense<[[1, 2]] {{x}}>\n"),
    refuses("literal/no_expression", "CHECK{LITERAL}: {{.*}}", "a\n", NOT_FOUND),
    accepts("literal/next", "CHECK: a\nCHECK-NEXT{LITERAL}: [[b]]", "a\n[[b]]\n"),
    refuses(
        "literal/unknown_modifier",
        "CHECK{REGEX}: a",
        "a\n",
        "expected the modifier '{LITERAL}', got '{REGEX}'",
    ),
    accepts("next/next_line", "CHECK: a\nCHECK-NEXT: b", "a\n  b\n"),
    refuses(
        "next/same_line",
        "CHECK: a\nCHECK-NEXT: b",
        "a b\n",
        "CHECK-NEXT: is on the same line as previous match",
    ),
    refuses(
        "next/later_line",
        "CHECK: a\nCHECK-NEXT: b",
        "a\nx\nb\n",
        "CHECK-NEXT: is not on the line after the previous",
    ),
    refuses("next/absent", "CHECK: a\nCHECK-NEXT: b", "a\nx\n", NOT_FOUND),
    refuses(
        "next/first",
        "CHECK-NEXT: a",
        "a\n",
        "expected a 'CHECK' before the first 'CHECK-NEXT', got none",
    ),
    accepts("next/empty_expression", "CHECK: a\nCHECK-NOT: x\nCHECK-NEXT: b", "a\nb\n"),
    accepts("same/same_line", "CHECK: a\nCHECK-SAME: b", "a b\n"),
    refuses(
        "same/next_line",
        "CHECK: a\nCHECK-SAME: b",
        "a\nb\n",
        "CHECK-SAME: is not on the same line as the previous",
    ),
    accepts("same/adjacent", "CHECK: a\nCHECK-SAME:{{^}}b", "ab b\n"),
    refuses("same/not_adjacent", "CHECK: a\nCHECK-SAME:{{^}}b", "a b\n", NOT_FOUND),
    refuses("same/first", "CHECK-SAME: a", "a\n", "before the first 'CHECK-SAME'"),
    accepts("not/absent_between", "CHECK: a\nCHECK-NOT: x\nCHECK: b", "x\na\nb\nx\n"),
    refuses(
        "not/present_between",
        "CHECK: a\nCHECK-NOT: x\nCHECK: b",
        "a\nx\nb\n",
        "<stdin>:2:1: note: found here",
    ),
    refuses("not/at_end", "CHECK: a\nCHECK-NOT: x", "a\nb\nx\n", "CHECK-NOT: excluded string found in input"),
    refuses("not/at_start", "CHECK-NOT: x\nCHECK: a", "x\na\n", "excluded string found"),
    accepts("not/alone", "CHECK-NOT: x", "a\n"),
    refuses("not/undefined_variable", "CHECK-NOT: a[[X]]", "b\n", "CHECK-NOT: undefined variable: X"),
    accepts("dag/any_order", "CHECK-DAG: a\nCHECK-DAG: b\nCHECK: c", "b\na\nc\n"),
    refuses(
        "dag/after_the_group",
        "CHECK-DAG: a\nCHECK-DAG: b\nCHECK: c",
        "c\nb\na\n",
        "case.mcir:3:8: error: CHECK: expected",
    ),
    refuses("dag/absent", "CHECK-DAG: a\nCHECK-DAG: b", "b\n", "CHECK-DAG: expected string not found"),
    accepts("dag/no_overlap", "CHECK-DAG: a\nCHECK-DAG: a", "a\na\n"),
    refuses("dag/overlap", "CHECK-DAG: a\nCHECK-DAG: a", "a\n", NOT_FOUND),
    accepts("dag/finds_room_before", "CHECK-DAG: bc\nCHECK-DAG: {{b|a}}", "a\nbc\n"),
    accepts("dag/not_divides_groups", "CHECK-DAG: a\nCHECK-NOT: x\nCHECK-DAG: b", "x\na\nb\nx\n"),
    refuses(
        "dag/not_between_groups",
        "CHECK-DAG: a\nCHECK-NOT: x\nCHECK-DAG: b",
        "a\nx\nb\n",
        "excluded string found",
    ),
    accepts(
        "dag/variable",
        "CHECK-DAG: %[[A:.*]] = a\nCHECK-DAG: use %[[A]]{{$}}",
        "%1 = b\n%2 = a\nuse %1\nuse %2\n",
    ),
    accepts("label/regions", "CHECK-LABEL: @f\nCHECK: a\nCHECK-LABEL: @g\nCHECK: b", "@f\na\n@g\nb\n"),
    refuses(
        "label/keeps_apart",
        "CHECK-LABEL: @f\nCHECK: b\nCHECK-LABEL: @g\nCHECK: b",
        "@f\na\n@g\nb\n",
        "case.mcir:2:8",
    ),
    refuses(
        "label/goes_on_after_failure",
        "CHECK-LABEL: @f\nCHECK: x\nCHECK-LABEL: @g\nCHECK: y",
        "@f\n@g\n",
        "case.mcir:4:8",
    ),
    refuses("label/absent", "CHECK-LABEL: @f", "@g\n", "CHECK-LABEL: expected string not found"),
    refuses(
        "label/not_before",
        "CHECK: a\nCHECK-NOT: x\nCHECK-LABEL: @f",
        "a\nx\n@f\n",
        "excluded string found",
    ),
    refuses("label/variables", "CHECK-LABEL: @[[F:.*]]", "@f\n", "expected no variables in 'CHECK-LABEL'"),
    accepts("empty/empty_line", "CHECK: a\nCHECK-EMPTY:\nCHECK-NEXT: b", "a\n\nb\n"),
    accepts("empty/several", "CHECK: a\nCHECK-EMPTY:\nCHECK-EMPTY:\nCHECK-NEXT: b", "a\n\n\nb\n"),
    accepts("empty/at_end", "CHECK: a\nCHECK-EMPTY:", "a\n"),
    refuses(
        "empty/later",
        "CHECK: a\nCHECK-EMPTY:",
        "a\nb\n\nc",
        "CHECK-EMPTY: is not on the line after the previous",
    ),
    refuses("empty/absent", "CHECK: a\nCHECK-EMPTY:", "a\nb", NOT_FOUND),
    refuses(
        "empty/with_text",
        "CHECK: a\nCHECK-EMPTY: x",
        "a\n\n",
        "expected no text after 'CHECK-EMPTY:', got 'x'",
    ),
    refuses("empty/first", "CHECK-EMPTY:", "\n", "before the first 'CHECK-EMPTY'"),
    accepts("count/exactly", "CHECK-COUNT-3: a\nCHECK-NOT: a", "a\naa\n"),
    refuses("count/too_few", "CHECK-COUNT-3: a", "a\na\n", "expected string not found in input (3 out of 3)"),
    refuses("count/too_many", "CHECK-COUNT-2: a\nCHECK-NOT: a", "aaa\n", "excluded string found"),
    refuses("count/zero", "CHECK-COUNT-0: a", "a\n", "expected a positive count, got '0'"),
    refuses("count/no_number", "CHECK-COUNT: a", "a\n", "expected a directive, got '-COUNT'"),
    accepts("regex/matches", "CHECK: a{{[0-9]+}}b", "a12b\n"),
    refuses("regex/matches_not", "CHECK: a{{[0-9]+}}b", "axb\n", NOT_FOUND),
    accepts("regex/alternatives_are_grouped", "CHECK: x{{a|b}}y", "xby\n"),
    accepts("regex/literal_text_is_escaped", "CHECK: a.b(*){{$}}", "axb\na.b(*)\n"),
    refuses("regex/dot_stays_on_line", "CHECK: a{{.*}}b", "a\nb\n", NOT_FOUND),
    refuses("regex/negated_set_stays_on_line", "CHECK: a{{[^x]*}}b", "a\nb\n", NOT_FOUND),
    refuses("regex/negated_class_stays_on_line", r"CHECK: a{{\W*}}b", "a\nb\n", NOT_FOUND),
    accepts("regex/space_crosses_lines", "CHECK: a{{[[:space:]]+}}b", "a\nb\n"),
    accepts("regex/bracket_in_set", "CHECK: a{{[^[]+}}[b{{[]x]}}", "a: [b]\n"),
    accepts("regex/line_ends", "CHECK: {{^}}a{{$}}", "xa\nax\na\n"),
    refuses(
        "regex/unfinished",
        "CHECK: a{{x",
        "a\n",
        "case.mcir:1:9: error: expected '}}' after '{{', got none",
    ),
    refuses("regex/invalid", "CHECK: a{{(}}", "a\n", "expected a regular expression, got '('"),
    accepts(
        "variable/across_directives",
        "CHECK: %[[Y:.*]] = a\nCHECK: use %[[Y]]{{$}}",
        "%7 = a\nuse %77\nuse %7\n",
    ),
    refuses(
        "variable/differs",
        "CHECK: %[[Y:.*]] = a\nCHECK: use %[[Y]]",
        "%7 = a\nuse %8\n",
        "with \"Y\" equal to \"7\"",
    ),
    accepts(
        "variable/same_directive",
        "CHECK: f(%[[X:.*]]: i8) -> %[[X]]{{$}}",
        "f(%1: i8) -> %2\nf(%3: i8) -> %3\n",
    ),
    refuses("variable/same_directive_differs", "CHECK: %[[X:[0-9]+]] %[[X]]", "%1 %2\n", NOT_FOUND),
    accepts("variable/redefined", "CHECK: [[X:[0-9]]]\nCHECK: [[X:[0-9]]]\nCHECK: v[[X]]", "1\n2\nv1\nv2\n"),
    accepts(
        "variable/value_is_escaped",
        "CHECK: = [[X:.*]]\nCHECK: use [[X]]{{$}}",
        "= a+\nuse aa\nuse a+\n",
    ),
    accepts("variable/nested_brackets", "CHECK: [[X:t<[0-9x]+>]]", "t<1x2>\n"),
    refuses("variable/undefined", "CHECK: [[X]]", "a\n", "CHECK: undefined variable: X"),
    refuses("variable/malformed", "CHECK: [[1X:a]]", "a\n", "expected a variable's name, got '1X'"),
    refuses("variable/unfinished", "CHECK: [[X:a]", "a\n", "expected ']]' after '[[', got none"),
    refuses(
        "variable/numeric",
        "CHECK: [[#N:]]",
        "1\n",
        "got the numeric block '[[#N:]]', which is not supported",
    ),
    accepts("variable/line_number", "\nCHECK: l[[@LINE]] m[[@LINE-1]] n[[#@LINE + 1]]", "l2 m1 n3\n"),
    refuses("variable/line_number_differs", "CHECK: l[[@LINE+1]]", "l1\n", NOT_FOUND),
    refuses(
        "variable/line_number_malformed",
        "CHECK: [[@LINE*2]]",
        "1\n",
        "expected '@LINE', '@LINE+n' or '@LINE-n'",
    ),
    accepts("variable/outlives_label", "CHECK: [[X:.]]\nCHECK-LABEL: f\nCHECK: [[X]]", "a\nf\na\n"),
    refuses(
        "scope/local_ends_at_label",
        "CHECK: [[X:.]]\nCHECK-LABEL: f\nCHECK: [[X]]",
        "a\nf\na\n",
        "undefined variable: X",
    )
    .with(&["--enable-var-scope"]),
    accepts("scope/global_outlives_label", "CHECK: [[$X:.]]\nCHECK-LABEL: f\nCHECK: [[$X]]", "a\nf\na\n")
        .with(&["--enable-var-scope"]),
    accepts("define/value", "CHECK: v [[X]]", "v 3\n").with(&["-DX=3"]),
    refuses("define/other_value", "CHECK: v [[X]]", "v 4\n", NOT_FOUND).with(&["-DX=3"]),
    refuses("define/malformed", "CHECK: a", "a\n", "expected '-DNAME=VALUE', got '-DX'").with(&["-DX"]),
    accepts("prefix/other", "CHECK: z\nFOO: a\nFOO-NEXT: b", "a\nb\n").with(&["--check-prefix=FOO"]),
    refuses("prefix/other_refuses", "CHECK: a\nFOO: b", "a\n", "FOO: expected string")
        .with(&["-check-prefix", "FOO"]),
    accepts("prefix/several", "A: a\nB-NEXT: b", "a\nb\n").with(&["--check-prefixes=A,B"]),
    accepts("prefix/longest", "CHECK: a\nCHECK-LONG: b", "a\nb\n")
        .with(&["--check-prefixes=CHECK,CHECK-LONG"]),
    refuses("prefix/unused", "A: a", "a\n", "got none for 'B:'").with(&["--check-prefixes=A,B"]),
    accepts("prefix/unused_allowed", "A: a", "a\n")
        .with(&["--check-prefixes=A,B", "--allow-unused-prefixes"]),
    refuses("prefix/all_unused", "x", "a\n", "got none for 'A:'")
        .with(&["--check-prefix=A", "--allow-unused-prefixes"]),
    refuses("prefix/malformed", "A: a", "a\n", "expected a check prefix").with(&["--check-prefix=1A"]),
    refuses("prefix/repeated", "A: a", "a\n", "expected check prefixes that differ")
        .with(&["--check-prefixes=A,A"]),
    refuses("strict/whitespace", "CHECK: a b", "a  b\n", NOT_FOUND).with(&["--strict-whitespace"]),
    accepts("strict/equal", "CHECK: a  b", "a  b\n").with(&["--strict-whitespace"]),
    accepts("full_lines/padded", "CHECK: a", "ab\n a \n").with(&["--match-full-lines"]),
    refuses("full_lines/partial", "CHECK: a", "ab\n", NOT_FOUND).with(&["--match-full-lines"]),
    refuses("full_lines/not_is_partial", "CHECK-NOT: a", "ab\n", "excluded").with(&["--match-full-lines"]),
    refuses("full_lines/strict", "CHECK:a", " a\n", NOT_FOUND)
        .with(&["--match-full-lines", "--strict-whitespace"]),
    accepts("full_lines/strict_equal", "CHECK: a", " a\n")
        .with(&["--match-full-lines", "--strict-whitespace"]),
    refuses(
        "implicit_not/between",
        "CHECK: a\nCHECK: b",
        "a\nwarning\nb\n",
        "command line:1:1: error: IMPLICIT-CHECK-NOT",
    )
    .with(&["--implicit-check-not=warning"]),
    refuses("implicit_not/at_end", "CHECK: a", "a\nw1\n", "excluded string")
        .with(&["--implicit-check-not", "w{{[0-9]}}"]),
    accepts("implicit_not/within_match", "CHECK: a warning b", "a warning b\n")
        .with(&["--implicit-check-not=warning"]),
    accepts("empty_input/allowed", "CHECK-NOT: a", "").with(&["--allow-empty"]),
    refuses("options/unknown", "CHECK: a", "a\n", "expected an option of FileCheck, got '--verbose'")
        .with(&["-verbose"]),
    refuses("options/flag_with_value", "CHECK: a", "a\n", "expected no value").with(&["--allow-empty=1"]),
    refuses("options/two_files", "CHECK: a", "a\n", "expected one check file, got 'x'").with(&["x"]),
];

/// The whole text of a diagnostic, with all its parts.
fn diagnostic_is_complete() -> Result<(), String> {
    let checks = Text { name: "case.mcir", text: "// CHECK: %[[Y:.*]] = conv\n// CHECK: relu %[[Y]], 6\n" };
    let input = Text { name: "<stdin>", text: "head\n%0 = conv\n%1 = add\nrelu %1, 6\n" };
    let expected = "\
case.mcir:2:11: error: CHECK: expected string not found in input
// CHECK: relu %[[Y]], 6
          ^
<stdin>:2:10: note: scanning from here
%0 = conv
         ^
<stdin>:2:10: note: with \"Y\" equal to \"0\"
%0 = conv
         ^
<stdin>:4:1: note: possible intended match here
relu %1, 6
^
input from line 1 on (scanning started at '>'):
     1 | head
>    2 | %0 = conv
     3 | %1 = add
     4 | relu %1, 6
";
    match check(checks, input, &options(&[])?) {
        Err(report) if report == expected => Ok(()),
        other => Err(format!("expected:\n{expected}got:\n{}", other.err().unwrap_or_default())),
    }
}

/// Words that resemble directives without being any are found; directives, comments and prose aren't.
fn strays_are_found() -> Result<(), String> {
    let text =
        "// CHECK-NXT: a\n// CHECK-NEXT: b\n// FOO: c\n// FOO : d\n// COM: CHECK-NO: e\n// a CHECK passes\n";
    let expect = |prefixes: &[&str], expected: &[(usize, &str)]| {
        let prefixes: Vec<String> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        let found = stray_directives(text, &prefixes);
        let same = found.iter().map(|(line, word)| (*line, word.as_str())).eq(expected.iter().copied());
        if same { Ok(()) } else { Err(format!("expected {expected:?}, got {found:?}")) }
    };
    expect(&["CHECK"], &[(1, "CHECK-NXT")])?;
    expect(&["FOO"], &[(1, "CHECK-NXT"), (2, "CHECK-NEXT"), (4, "FOO")])?;
    expect(&["CHECK-NXT", "CHECK"], &[])
}

/// All of them, named `filecheck/…`.
pub fn trials() -> Vec<Trial> {
    let cases = CASES.iter().map(|case| Trial::test(format!("filecheck/{}", case.name), || Ok(case.run()?)));
    let others = [
        Trial::test("filecheck/diagnostic_is_complete", || Ok(diagnostic_is_complete()?)),
        Trial::test("filecheck/strays_are_found", || Ok(strays_are_found()?)),
    ];
    cases.chain(others).collect()
}

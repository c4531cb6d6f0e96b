//! Runs pipelines: the compiler and FileCheck in process, `mlir-opt` as a process.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Stdio;

use super::{Outcome, Suite};
use crate::filecheck;
use crate::shell::{Command, Pipeline, Sink};

/// The feature whose path stands for the only external program.
const MLIR_OPT: &str = "mlir-opt";

impl Suite {
    /// Runs one pipeline. It fails when any of its commands does, or ends otherwise than `not` or `exits` before it say.
    ///
    /// # Errors
    /// Each command with its status and standard error.
    pub(super) fn execute(&self, pipeline: &Pipeline) -> Result<(), String> {
        let mut piped = Vec::new();
        let mut report = String::new();
        let mut failed = false;
        for command in &pipeline.commands {
            report.push_str(&format!("$ {command}\n"));
            let outcome =
                self.outcome(command, &piped).map_err(|error| format!("{report}error: {error}\n"))?;
            let (sent, shown) =
                distribute(command, &outcome).map_err(|error| format!("{report}error: {error}\n"))?;
            piped = sent;
            report.push_str(&String::from_utf8_lossy(&shown));
            if !report.ends_with('\n') {
                report.push('\n');
            }
            if !command.ending.accepts(outcome.status) {
                failed = true;
                let (expected, found) = (command.ending, outcome.status);
                report.push_str(&format!("expected {expected}, got exit status {found}\n"));
            }
        }
        if failed { Err(report) } else { Ok(()) }
    }

    fn outcome(&self, command: &Command, piped: &[u8]) -> Result<Outcome, String> {
        let file_input = command.stdin.as_ref().map(|path| read(path)).transpose()?;
        let stdin = file_input.as_deref().unwrap_or(piped);
        let (program, arguments) = command.words.split_first().ok_or("expected a command, got none")?;
        let external = self.features.iter().find(|feature| feature.name == MLIR_OPT);
        match (program.as_str(), external) {
            ("mcunetc", _) => self.compile(arguments, stdin),
            ("FileCheck", _) => file_check(arguments, stdin),
            ("diff", _) => diff(arguments, stdin),
            ("absent", _) => absent(arguments),
            (name, Some(feature)) if name == MLIR_OPT || feature.path.as_deref() == Ok(name) => {
                match &feature.path {
                    Ok(path) => spawn(path, arguments, stdin),
                    Err(reason) => {
                        Err(format!("expected 'REQUIRES: {MLIR_OPT}' before {MLIR_OPT} is run: {reason}"))
                    }
                }
            }
            _ => Err(format!(
                "expected mcunetc, FileCheck, diff, absent, not, exits or {MLIR_OPT}, got '{program}'"
            )),
        }
    }

    /// Runs the compiler. A panic fails the case even after `not`: input must never cause one.
    fn compile(&self, arguments: &[String], stdin: &[u8]) -> Result<Outcome, String> {
        catch_unwind(AssertUnwindSafe(|| (self.mcunetc)(arguments, stdin))).map_err(|payload| {
            let message = payload.downcast_ref::<&str>().copied();
            let message = message
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("no message");
            format!("expected an exit status, got a panic: {message}")
        })
    }
}

/// Sends a command's output where its redirections say. Returns what goes to the next command, and what is reported.
///
/// Standard output precedes standard error where both go the same way, since each was collected by itself.
fn distribute(command: &Command, outcome: &Outcome) -> Result<(Vec<u8>, Vec<u8>), String> {
    let mut piped = Vec::new();
    let mut shown = Vec::new();
    let mut files: Vec<(&str, Vec<u8>)> = Vec::new();
    for (sink, content, default) in
        [(&command.stdout, &outcome.stdout, true), (&command.stderr, &outcome.stderr, false)]
    {
        match sink {
            Sink::Default if !default => shown.extend_from_slice(content),
            Sink::Default | Sink::Pipe => piped.extend_from_slice(content),
            Sink::File(path) => match files.iter_mut().find(|(known, _)| known == path) {
                Some((_, collected)) => collected.extend_from_slice(content),
                None => files.push((path, content.clone())),
            },
        }
    }
    for (path, content) in files {
        std::fs::write(path, content).map_err(|error| format!("expected to write '{path}': {error}"))?;
    }
    Ok((piped, shown))
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("expected a readable file, got '{path}': {error}"))
}

fn utf8(name: &str, content: Vec<u8>) -> Result<String, String> {
    String::from_utf8(content).map_err(|error| format!("expected UTF-8 in {name}, got {error}"))
}

fn file_check(arguments: &[String], stdin: &[u8]) -> Result<Outcome, String> {
    let (options, check_file) = filecheck::Options::parse(arguments)?;
    let checks = utf8(&check_file, read(&check_file)?)?;
    let (input_name, input) = match &options.input_file {
        Some(path) => (path.as_str(), read(path)?),
        None => ("<stdin>", stdin.to_vec()),
    };
    let input = utf8(input_name, input)?;
    let checks = filecheck::Text { name: &check_file, text: &checks };
    let input = filecheck::Text { name: input_name, text: &input };
    Ok(match filecheck::check(checks, input, &options) {
        Ok(()) => Outcome::default(),
        Err(report) => Outcome { status: 1, stderr: report.into_bytes(), ..Outcome::default() },
    })
}

/// `diff A B`, where `-` is standard input: fails at the first line that differs. Bytes count, line breaks included.
fn diff(arguments: &[String], stdin: &[u8]) -> Result<Outcome, String> {
    let [left, right] = arguments else {
        return Err(format!("expected two files after diff, got {} arguments", arguments.len()));
    };
    let content = |path: &str| if path == "-" { Ok(stdin.to_vec()) } else { read(path) };
    let (left_content, right_content) = (content(left)?, content(right)?);
    if left_content == right_content {
        return Ok(Outcome::default());
    }
    let mut left_lines = left_content.split_inclusive(|byte| *byte == b'\n');
    let mut right_lines = right_content.split_inclusive(|byte| *byte == b'\n');
    let mut number = 0;
    let (left_line, right_line) = loop {
        number += 1;
        let pair = (left_lines.next(), right_lines.next());
        if pair.0 != pair.1 {
            break pair;
        }
    };
    let show = |line: Option<&[u8]>| {
        line.map_or("the end of the file".to_owned(), |line| format!("{:?}", String::from_utf8_lossy(line)))
    };
    let message =
        format!("line {number} differs\n{left}: {}\n{right}: {}\n", show(left_line), show(right_line));
    Ok(Outcome { status: 1, stderr: message.into_bytes(), ..Outcome::default() })
}

/// `absent PATH...`: fails if there is any of the files or folders.
fn absent(paths: &[String]) -> Result<Outcome, String> {
    if paths.is_empty() {
        return Err("expected paths after absent, got none".to_owned());
    }
    let present: Vec<&str> =
        paths.iter().map(String::as_str).filter(|path| std::path::Path::new(path).exists()).collect();
    if present.is_empty() {
        return Ok(Outcome::default());
    }
    let message = format!("expected no {}\n", present.join(", "));
    Ok(Outcome { status: 1, stderr: message.into_bytes(), ..Outcome::default() })
}

/// Runs a program. Its input is written by a thread, since it may write output before it has read everything.
pub(super) fn spawn(program: &str, arguments: &[String], stdin: &[u8]) -> Result<Outcome, String> {
    let cannot = |error: std::io::Error| format!("expected to run '{program}': {error}");
    let mut command = std::process::Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(cannot)?;
    let pipe = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that doesn't read its input closes the pipe; that isn't a failure of the test.
            pipe.map(|mut pipe| pipe.write_all(stdin))
        });
        child.wait_with_output()
    });
    let output = output.map_err(cannot)?;
    let status =
        output.status.code().ok_or_else(|| format!("expected '{program}' to exit, got {}", output.status))?;
    // Statuses beyond a byte exist on other systems; what counts is that they aren't zero.
    let status = u8::try_from(status).unwrap_or(u8::MAX);
    Ok(Outcome { status, stdout: output.stdout, stderr: output.stderr })
}

//! Holds directives against the input: LLVM's algorithm, which divides the input at `CHECK-LABEL`s, then walks forward.
//!
//! Invariant: a region is a byte range of the input, and each positive match starts the region of the next directive.

use std::ops::Range;

use super::directive::{CheckString, Directive, Kind};
use super::options::Options;
use super::pattern::{Found, Mismatch, Variables};
use super::report::{Location, excerpt, nearest_line};

/// The state of one comparison.
pub struct Matcher<'a> {
    input_name: &'a str,
    input: &'a str,
    enable_var_scope: bool,
    variables: Variables,
    /// Rendered diagnostics; empty as long as everything matches.
    report: String,
    /// The line of the input at which the first failed search started.
    failed_from: Option<usize>,
}

/// A failure was reported.
struct Reported;

type Step<T> = Result<T, Reported>;

impl<'a> Matcher<'a> {
    /// A matcher at the start of `input`, which is canonical already.
    pub fn new(input_name: &'a str, input: &'a str, options: &Options) -> Self {
        Self {
            input_name,
            input,
            enable_var_scope: options.enable_var_scope,
            variables: options.defines.iter().cloned().collect(),
            report: String::new(),
            failed_from: None,
        }
    }

    /// Checks all of `strings`. A failure ends its region only, so that each function of a test is reported.
    ///
    /// # Errors
    /// The rendered diagnostics.
    pub fn run(mut self, strings: &[CheckString]) -> Result<(), String> {
        let mut rest = 0..self.input.len();
        let mut from = 0;
        while from < strings.len() {
            // A region reaches to the end of the next label's match and is checked against that label once more, for
            // the sake of the CHECK-NOTs and CHECK-DAGs before it.
            let label = strings[from..].iter().position(|string| string.directive.kind == Kind::Label);
            let (to, region) = match label {
                None => (strings.len(), rest.clone()),
                Some(distance) => {
                    let label = &strings[from + distance].directive;
                    let Ok(found) = self.require(label, rest.clone(), None) else { break };
                    let end = rest.start + found.range.end;
                    (from + distance + 1, std::mem::replace(&mut rest, end..self.input.len()).start..end)
                }
            };
            if from > 0 && self.enable_var_scope {
                self.variables.retain(|name, _| name.starts_with('$'));
            }
            let mut region = region;
            for string in &strings[from..to] {
                match self.check_string(string, region.clone()) {
                    Ok(end) => region.start = end,
                    Err(Reported) => break,
                }
            }
            from = to;
        }
        if self.report.is_empty() {
            return Ok(());
        }
        self.report.push_str(&excerpt(self.input, self.failed_from.unwrap_or(1)));
        Err(self.report)
    }

    /// Matches one string within `region`; returns where its match ends.
    fn check_string(&mut self, string: &CheckString, region: Range<usize>) -> Step<usize> {
        let (start, nots) = self.check_unordered(&string.before, region.clone())?;
        let directive = &string.directive;
        let count = if let Kind::Count(count) = directive.kind { count } else { 1 };
        let mut first = None;
        let mut end = start;
        for round in 1..=count {
            let progress = (count > 1).then_some((round, count));
            let found = self.require(directive, end..region.end, progress)?;
            first.get_or_insert(end + found.range.start);
            end += found.range.end;
        }
        let skipped = start..first.unwrap_or(start);
        self.check_lines_between(directive, skipped.clone())?;
        self.check_absent(&nots, skipped)?;
        Ok(end)
    }

    /// Matches the `CHECK-DAG`s of `directives`, which `CHECK-NOT`s divide into groups. Returns where the last group
    /// ends, and the `CHECK-NOT`s after it.
    fn check_unordered<'d>(
        &mut self,
        directives: &'d [Directive],
        region: Range<usize>,
    ) -> Step<(usize, Vec<&'d Directive>)> {
        let mut start = region.start;
        let mut nots = Vec::new();
        for group in directives.chunk_by(|left, right| left.kind == right.kind) {
            if group.iter().all(|directive| directive.kind == Kind::Not) {
                nots.extend(group);
                continue;
            }
            let mut taken: Vec<Range<usize>> = Vec::new();
            for directive in group {
                let range = self.find_beside(directive, start..region.end, &taken)?;
                let place = taken.partition_point(|earlier| earlier.start < range.start);
                taken.insert(place, range);
            }
            let first = taken.first().map_or(start, |range| range.start);
            self.check_absent(&nots, start..first)?;
            nots.clear();
            start = taken.last().map_or(start, |range| range.end);
        }
        Ok((start, nots))
    }

    /// The first match of a `CHECK-DAG` that overlaps none of `taken`, which is sorted.
    fn find_beside(
        &mut self,
        directive: &Directive,
        region: Range<usize>,
        taken: &[Range<usize>],
    ) -> Step<Range<usize>> {
        let mut from = region.start;
        loop {
            let found = self.require(directive, from..region.end, None)?.range;
            let range = from + found.start..from + found.end;
            match taken.iter().find(|other| range.start < other.end && other.start < range.end) {
                Some(other) => from = other.end,
                None => return Ok(range),
            }
        }
    }

    /// Searches `region` for a positive directive and binds its variables. The range found is relative to the region.
    fn require(
        &mut self,
        directive: &Directive,
        region: Range<usize>,
        progress: Option<(usize, usize)>,
    ) -> Step<Found> {
        match directive.pattern.find(&self.input[region.clone()], &self.variables) {
            Ok(found) => {
                self.variables.extend(found.bindings.iter().cloned());
                Ok(found)
            }
            Err(mismatch) => {
                self.report_mismatch(directive, region, &mismatch, progress);
                Err(Reported)
            }
        }
    }

    /// Verifies that none of `nots` matches within `region`. All that do are reported.
    fn check_absent(&mut self, nots: &[&Directive], region: Range<usize>) -> Step<()> {
        let mut outcome = Ok(());
        for directive in nots {
            match directive.pattern.find(&self.input[region.clone()], &self.variables) {
                Err(Mismatch::Absent) => {}
                Err(mismatch) => {
                    self.report_mismatch(directive, region.clone(), &mismatch, None);
                    outcome = Err(Reported);
                }
                Ok(found) => {
                    self.error(directive, "excluded string found in input");
                    self.note(region.start + found.range.start, "found here");
                    self.note_substitutions(directive, region.start + found.range.start);
                    outcome = Err(Reported);
                }
            }
        }
        outcome
    }

    /// Verifies the number of line breaks in `skipped`, the text between the previous match and this one.
    fn check_lines_between(&mut self, directive: &Directive, skipped: Range<usize>) -> Step<()> {
        let breaks = self.input[skipped.clone()].matches('\n').count();
        let message = match directive.kind {
            Kind::Next | Kind::Empty if breaks == 0 => "is on the same line as previous match",
            Kind::Next | Kind::Empty if breaks > 1 => "is not on the line after the previous match",
            Kind::Same if breaks > 0 => "is not on the same line as the previous match",
            _ => return Ok(()),
        };
        self.error(directive, message);
        self.note(skipped.end, &format!("'{}' match was here", directive.name));
        self.note(skipped.start, "previous match ended here");
        if breaks > 1 && directive.kind != Kind::Same {
            let after_break =
                self.input[skipped.clone()].find('\n').map_or(skipped.start, |at| skipped.start + at + 1);
            self.note(after_break, "non-matching line after previous match is here");
        }
        Err(Reported)
    }

    fn report_mismatch(
        &mut self,
        directive: &Directive,
        region: Range<usize>,
        mismatch: &Mismatch,
        progress: Option<(usize, usize)>,
    ) {
        let message = match (mismatch, progress) {
            (Mismatch::Undefined(names), _) => format!("undefined variable: {}", names.join(", ")),
            (Mismatch::Engine(reason), _) => {
                format!("expected a regular expression that can be searched for: {reason}")
            }
            (Mismatch::Absent, None) => "expected string not found in input".to_owned(),
            (Mismatch::Absent, Some((round, count))) => {
                format!("expected string not found in input ({round} out of {count})")
            }
        };
        self.error(directive, &message);
        self.note(region.start, "scanning from here");
        self.note_substitutions(directive, region.start);
        let wanted = directive.pattern.example(&self.variables);
        if let (Mismatch::Absent, Some(at)) = (mismatch, nearest_line(&self.input[region.clone()], &wanted)) {
            self.note(region.start + at, "possible intended match here");
        }
    }

    fn error(&mut self, directive: &Directive, message: &str) {
        let rendered = directive.location.render("error", &format!("{}: {message}", directive.name));
        self.report.push_str(&rendered);
    }

    fn note(&mut self, offset: usize, message: &str) {
        let location = Location::new(self.input_name, self.input, offset);
        self.failed_from.get_or_insert(location.line());
        self.report.push_str(&location.render("note", message));
    }

    fn note_substitutions(&mut self, directive: &Directive, offset: usize) {
        let location = Location::new(self.input_name, self.input, offset);
        for (name, value) in directive.pattern.substitutions(&self.variables) {
            if let Some(value) = value {
                self.report
                    .push_str(&location.render("note", &format!("with \"{name}\" equal to \"{value}\"")));
            }
        }
    }
}

//! How a pass is declared: its head (name, options, documentation, stages) and its one method, `run`.
//!
//! ```text
//! declare_pass! {
//!     /// Removes operations whose results nobody uses.
//!     pub EliminateDeadCode = "eliminate-dead-code" {
//!         /// Give up after this many rounds.
//!         max_rounds: usize = 10,
//!     } requires Imported ensures Imported;
//! }
//! ```
//!
//! The head is all that the command line, `--help-passes` and `docs/passes.md` know of a pass. A pass contains only its
//! idea: verification, dumps, timing and diffs belong to the [`crate::manager`].

use crate::memo::Memo;
use crate::target::Target;
use crate::watch::{Impatient, Unwatched, Watch};
use mcunet_ir::{Diagnostics, Module, Stage};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Whether a pass changed the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Changed {
    /// The module is another one.
    Yes,
    /// The module is as it was.
    No,
}

impl From<bool> for Changed {
    fn from(changed: bool) -> Self {
        if changed { Changed::Yes } else { Changed::No }
    }
}

/// What a pass may ask for while it runs.
#[derive(Debug)]
pub struct PassContext<'a> {
    /// The device that is compiled for.
    pub target: &'a Target,
    /// Is told how far searches are, and ends them.
    pub watch: &'a dyn Watch,
    /// Has answers that are asked for more than once.
    pub memo: Rc<Memo>,
    rest: &'a [Box<dyn ConfiguredPass>],
    statistics: RefCell<BTreeMap<&'static str, u64>>,
}

impl<'a> PassContext<'a> {
    /// A context without statistics, in which searches are left alone.
    pub fn new(target: &'a Target) -> Self {
        Self { target, watch: &Unwatched, memo: Rc::default(), rest: &[], statistics: RefCell::default() }
    }

    /// Lets searches be watched.
    #[must_use]
    pub fn watched_by(self, watch: &'a dyn Watch) -> Self {
        Self { watch, ..self }
    }

    /// Shares what is remembered with other pipelines.
    #[must_use]
    pub fn remembering(self, memo: Rc<Memo>) -> Self {
        Self { memo, ..self }
    }

    /// The context of a pass that others follow.
    pub(crate) fn before<'b>(&'b self, rest: &'b [Box<dyn ConfiguredPass>]) -> PassContext<'b>
    where
        'a: 'b,
    {
        let memo = self.memo.clone();
        PassContext { target: self.target, watch: self.watch, memo, rest, statistics: RefCell::default() }
    }

    /// What the rest of the pipeline makes of a module for a target: the measure of what the running pass could do.
    ///
    /// # Errors
    /// Those of the passes; of [`mcunet_ir::diag::Category::Budget`] if the module does not fit the target.
    pub fn ahead(&self, mut module: Module, target: &Target) -> Result<Module, Diagnostics> {
        let watch = &Impatient(self.watch);
        for (index, pass) in self.rest.iter().enumerate() {
            let cx = PassContext { target, watch, ..self.before(&self.rest[index + 1..]) };
            pass.run(&mut module, &cx)?;
        }
        Ok(module)
    }

    /// The pass that makes kernels in the rest of the pipeline, with its options.
    pub fn lowering(&self) -> Option<&dyn ConfiguredPass> {
        let lowers = |pass: &&dyn ConfiguredPass| {
            (pass.head().requires, pass.head().ensures) == (Stage::Imported, Stage::Lowered)
        };
        self.rest.iter().map(|pass| &**pass).find(lowers)
    }

    /// Adds to a statistic of the running pass, shown by `--stats`.
    pub fn count(&self, statistic: &'static str, by: u64) {
        *self.statistics.borrow_mut().entry(statistic).or_insert(0) += by;
    }

    /// Takes the statistics gathered so far.
    pub fn take_statistics(&self) -> BTreeMap<&'static str, u64> {
        self.statistics.take()
    }
}

/// The idea of a pass.
pub trait Pass {
    /// Rewrites the module: valid IR in, valid IR out.
    ///
    /// # Errors
    /// Everything that keeps the pass from doing its duty; the module must not be used afterwards.
    fn run(&self, module: &mut Module, cx: &PassContext<'_>) -> Result<Changed, Diagnostics>;
}

/// A pass with its options, ready to run; implemented by `declare_pass!`.
pub trait ConfiguredPass: Pass + std::fmt::Debug {
    /// The pass's head.
    fn head(&self) -> &'static PassHead;
    /// Options that differ from their default, as they are written in a pipeline.
    fn options(&self) -> Vec<(&'static str, String)>;
}

impl std::fmt::Display for dyn ConfiguredPass + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.head().name)?;
        let options: Vec<String> = self
            .options()
            .into_iter()
            .map(|(name, value)| format!("{}={value}", name.replace('_', "-")))
            .collect();
        if options.is_empty() { Ok(()) } else { write!(f, "{{{}}}", options.join(",")) }
    }
}

/// One option of a pass.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Name with underscores; written with dashes in pipelines.
    pub name: &'static str,
    /// Doc comment.
    pub doc: &'static [&'static str],
    /// What it accepts.
    pub description: fn() -> String,
    /// Its default as it is written in a pipeline.
    pub default: fn() -> String,
}

/// What everybody but the pass itself needs to know of it.
#[derive(Clone, Copy)]
pub struct PassHead {
    /// Name in pipelines.
    pub name: &'static str,
    /// Doc comment; the first line is the summary.
    pub doc: &'static [&'static str],
    /// Options.
    pub options: &'static [OptionSpec],
    /// Stage that the module must have.
    pub requires: Stage,
    /// Stage that the module has afterwards.
    pub ensures: Stage,
    /// Configures the pass from `name=value` pairs, names with dashes.
    pub configure: Configure,
}

/// Builds a pass from the options of a pipeline, or says what is wrong with each.
pub type Configure = fn(&[(String, String)]) -> Result<Box<dyn ConfiguredPass>, Vec<String>>;

impl PassHead {
    /// First line of the documentation.
    pub fn summary(&self) -> &'static str {
        self.doc.first().copied().unwrap_or("").trim()
    }

    /// The Markdown section of the pass in `docs/passes.md`.
    pub fn reference(&self) -> String {
        let mut out = format!("## `{}`\n\n", self.name);
        for line in self.doc {
            out.push_str(line.trim());
            out.push('\n');
        }
        let (requires, ensures) = (self.requires.name(), self.ensures.name());
        out.push_str(&format!("\nStage: {requires} to {ensures}.\n"));
        if !self.options.is_empty() {
            out.push_str("\n| option | value | default | meaning |\n|---|---|---|---|\n");
        }
        for option in self.options {
            let doc: Vec<&str> = option.doc.iter().map(|line| line.trim()).collect();
            let name = option.name.replace('_', "-");
            let (value, default) = ((option.description)(), (option.default)());
            out.push_str(&format!("| `{name}` | {value} | `{default}` | {} |\n", doc.join(" ")));
        }
        out.push('\n');
        out
    }
}

impl std::fmt::Debug for PassHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PassHead").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A type that the value of an option can have.
pub trait OptionValue: Sized + PartialEq {
    /// What it accepts, for help and errors.
    fn description() -> String;
    /// Reads the text of a pipeline; `None` if it is not such a value.
    fn parse(text: &str) -> Option<Self>;
    /// Writes what `parse` reads.
    fn print(&self) -> String;
}

macro_rules! plain_options {
    ($($ty:ty => $description:literal),* $(,)?) => {$(
        impl OptionValue for $ty {
            fn description() -> String {
                $description.to_owned()
            }
            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }
            fn print(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
plain_options! {
    bool => "true or false",
    u32 => "a non-negative integer",
    u64 => "a non-negative integer",
    usize => "a non-negative integer",
}

/// Lets an option be one of a few words: `option_words! { Solver { BestFit = "best-fit", Exact = "exact" } }`.
#[macro_export]
macro_rules! option_words {
    ($ty:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $crate::pass::OptionValue for $ty {
            fn description() -> String {
                $crate::pass::one_of(&[$($word),+])
            }
            fn parse(text: &str) -> Option<Self> {
                match text {
                    $($word => Some($ty::$variant),)+
                    _ => None,
                }
            }
            fn print(&self) -> String {
                match self {
                    $($ty::$variant => $word.to_owned(),)+
                }
            }
        }
    };
}

/// Words as a choice: `a, b or c`.
pub fn one_of(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}

/// Reads one option for `declare_pass!`, recording an error instead of failing at the first.
pub fn read_option<T: OptionValue>(
    options: &[(String, String)],
    name: &'static str,
    default: T,
    errors: &mut Vec<String>,
) -> T {
    let dashed = name.replace('_', "-");
    let Some((_, text)) = options.iter().rev().find(|(key, _)| *key == dashed) else { return default };
    T::parse(text).unwrap_or_else(|| {
        errors.push(format!("expected {} for option '{dashed}', got '{text}'", T::description()));
        default
    })
}

/// Records options that the pass does not have.
pub fn report_unknown_options(options: &[(String, String)], specs: &[OptionSpec], errors: &mut Vec<String>) {
    for (name, _) in options {
        let known: Vec<String> = specs.iter().map(|spec| spec.name.replace('_', "-")).collect();
        if !known.contains(name) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            errors.push(format!("unknown option '{name}'; the pass has {known}"));
        }
    }
}

/// Declares the head of a pass; see the module documentation.
#[macro_export]
macro_rules! declare_pass {
    (
        $(#[doc = $doc:literal])*
        pub $Pass:ident = $name:literal {
            $($(#[doc = $odoc:literal])* $option:ident : $oty:ty = $odefault:expr),* $(,)?
        } requires $requires:ident ensures $ensures:ident;
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug)]
        pub struct $Pass { $($(#[doc = $odoc])* pub $option: $oty),* }

        impl Default for $Pass {
            fn default() -> Self {
                Self { $($option: $odefault),* }
            }
        }

        impl $Pass {
            /// The pass's head: its line in the registry.
            pub const HEAD: $crate::pass::PassHead = $crate::pass::PassHead {
                name: $name,
                doc: &[$($doc),*],
                options: &[$($crate::pass::OptionSpec {
                    name: stringify!($option),
                    doc: &[$($odoc),*],
                    description: <$oty as $crate::pass::OptionValue>::description,
                    default: || {
                        let default: $oty = $odefault;
                        $crate::pass::OptionValue::print(&default)
                    },
                }),*],
                requires: $crate::ir::Stage::$requires,
                ensures: $crate::ir::Stage::$ensures,
                configure: |options| {
                    #[allow(unused_mut)]
                    let mut errors = Vec::new();
                    let pass = $Pass {
                        $($option: $crate::pass::read_option(
                            options,
                            stringify!($option),
                            $odefault,
                            &mut errors,
                        )),*
                    };
                    $crate::pass::report_unknown_options(options, Self::HEAD.options, &mut errors);
                    if errors.is_empty() { Ok(Box::new(pass)) } else { Err(errors) }
                },
            };
        }

        impl $crate::pass::ConfiguredPass for $Pass {
            fn head(&self) -> &'static $crate::pass::PassHead {
                const HEAD: &$crate::pass::PassHead = &$Pass::HEAD;
                HEAD
            }
            fn options(&self) -> Vec<(&'static str, String)> {
                #[allow(unused_mut)]
                let mut options: Vec<(&'static str, String)> = Vec::new();
                $(
                    let default: $oty = $odefault;
                    if self.$option != default {
                        options.push((
                            stringify!($option),
                            $crate::pass::OptionValue::print(&self.$option),
                        ));
                    }
                )*
                options
            }
        }
    };
}

//! Pipelines as text: `canonicalize,plan-memory{solver=exact,align=8}`, parsed and printed back.
//!
//! The named pipelines are such texts too:
//! - `canonicalize` first: it removes what never has to run, so that everything after it sees fewer ops.
//! - `fuse` right after it: what is dead or constant needs no rules, and everything after it needs to know which ops there
//!   are.
//! - `eliminate-dead-channels` next: every later decision depends on how many channels tensors have. After `fuse`, whose
//!   operations know tighter intervals, and which folds constants into the parameters that are looked at here.
//! - `schedule` orders the ops that are left; everything after it keeps their order.
//! - `patch-split` computes parts of images one after the other where the memory is too small for whole ones.
//! - `cascade` decides what runs row by row; it needs to know every op that will run, and lowering needs to know it.
//! - `lower` turns each op into loops for the target's core.
//! - `pack-weights` lays constants out as the loops read them; it needs the loops, and nothing after it changes them.
//! - `plan-memory`: only now is it known which buffers exist and when they live.
//! - `share-kernels` last: everything before it may still change what kernels are, nothing after it does.

use crate::cascade::stream::{Handing, Streaming};
use crate::fuse::Approximations;
use crate::pass::{ConfiguredPass, OptionValue};
use crate::patch_split::Goal;
use crate::patch_split::space::Way;
use crate::registry::Registry;
use mcunet_ir::diag::{Category, Diagnostic, Diagnostics};

/// How much to optimize, and for what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Level {
    /// Reference lowering, layer by layer.
    O0,
    /// Fast and small: the default.
    #[default]
    O2,
    /// Flash first.
    Os,
}

impl Level {
    /// The pipeline of the level.
    pub fn pipeline(self) -> &'static str {
        match self {
            Level::O0 => {
                "canonicalize{fold-padding=false},lower{dsp=false},pack-weights,plan-memory{in-place=false}"
            }
            Level::O2 => {
                "canonicalize,fuse,eliminate-dead-channels,schedule,patch-split{layers=search},\
                 cascade,lower,pack-weights,plan-memory,share-kernels"
            }
            Level::Os => {
                "canonicalize,fuse,eliminate-dead-channels,schedule,patch-split{layers=search},cascade,lower{unroll=false},\
                 pack-weights,plan-memory,share-kernels{worth=1000}"
            }
        }
    }

    /// What the level runs before anything is split, which decides what numbers layers have; nothing if it never splits.
    pub fn before_splitting(self, rules: &Approximations) -> String {
        let pipeline = approximating(self.pipeline(), rules).unwrap_or_default();
        let items = split_items(&pipeline);
        let split = items.iter().position(|item| item.starts_with("patch-split")).unwrap_or(0);
        items[..split].join(",")
    }

    /// The pipeline with approximate rules; `None` if the level has no `fuse`.
    pub fn pipeline_approximating(self, rules: &Approximations) -> Option<String> {
        approximating(self.pipeline(), rules)
    }

    /// The pipeline with the given choices; `None` if the level runs layer by layer, which leaves nothing to choose.
    pub fn pipeline_with(self, choices: &Choices) -> Option<String> {
        approximating(&self.items_with(choices)?.0.join(","), &choices.approximate)
    }

    /// What the level runs after [`Self::before_splitting`], with the given choices; `None` if it never splits.
    pub fn from_splitting(self, choices: &Choices) -> Option<String> {
        let (items, split) = self.items_with(choices)?;
        Some(items[split..].join(","))
    }

    /// Passes with the given choices, and the position of the first that splits, or would.
    fn items_with(self, choices: &Choices) -> Option<(Vec<String>, usize)> {
        let mut items: Vec<String> = split_items(self.pipeline()).into_iter().map(str::to_owned).collect();
        let split = items.iter().position(|item| item.starts_with("patch-split"))?;
        let cascade = items.iter().position(|item| item == "cascade")?;
        let Handing { input, output } = choices.handing;
        let handing = match output {
            true => format!("stream-input={},stream-output=true", input.print()),
            false => format!("stream-input={}", input.print()),
        };
        items[cascade] = format!("cascade{{{handing}}}");
        if choices.small_code {
            set_options(&mut items, "lower", "unroll=false,narrow-weights=true")?;
            set_options(&mut items, "share-kernels", "worth=100000")?;
        }
        if !choices.scratch || choices.goal == Goal::Sram {
            set_options(&mut items, "lower", "use-scratch=false")?;
        }
        let goal = choices.goal.print();
        match &choices.way {
            None => items[split] = format!("patch-split{{layers=search,goal={goal},{handing}}}"),
            Some(way) if way.is_plain() => {
                items.remove(split);
            }
            Some(way) => items[split] = way.to_string(),
        }
        Some((items, split))
    }
}

/// Sets options of a pass among `items`; `None` if it is not among them.
fn set_options(items: &mut [String], pass: &str, options: &str) -> Option<()> {
    let is_it = |item: &String| item.split('{').next() == Some(pass);
    let item = items.iter_mut().find(|item| is_it(item))?;
    let given = item.split_once('{').and_then(|(_, rest)| rest.strip_suffix('}')).unwrap_or_default();
    let name = |option: &str| option.split('=').next().unwrap_or_default().to_owned();
    let kept = given
        .split(',')
        .filter(|given| !given.is_empty() && options.split(',').all(|option| name(option) != name(given)));
    let all: Vec<&str> = kept.chain(options.split(',')).collect();
    *item = format!("{pass}{{{}}}", all.join(","));
    Some(())
}

/// A pipeline whose `fuse` applies approximate rules as well; `None` if there are some and it has no `fuse`.
fn approximating(pipeline: &str, rules: &Approximations) -> Option<String> {
    if rules.0.is_empty() {
        return Some(pipeline.to_owned());
    }
    let mut items: Vec<String> = split_items(pipeline).into_iter().map(str::to_owned).collect();
    let fuse = items.iter().position(|item| item == "fuse")?;
    items[fuse] = format!("fuse{{approximate={}}}", rules.print());
    Some(items.join(","))
}

/// What can be chosen where layers run row by row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choices {
    /// What is handed over row by row.
    pub handing: Handing,
    /// What splits are searched for.
    pub goal: Goal,
    /// The way, if it isn't searched for.
    pub way: Option<Way>,
    /// Approximate rules of `fuse`.
    pub approximate: Approximations,
    /// Whether kernels may take working memory to be faster; never where bytes are the goal.
    pub scratch: bool,
    /// Whether flash is the goal, and code to be as small as it can.
    pub small_code: bool,
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            handing: Handing { input: Streaming::No, output: false },
            goal: Goal::Fit,
            way: None,
            approximate: Approximations::default(),
            scratch: true,
            small_code: false,
        }
    }
}

/// Passes with their options, in order.
#[derive(Debug, Default)]
pub struct Pipeline {
    /// The passes.
    pub passes: Vec<Box<dyn ConfiguredPass>>,
}

impl Pipeline {
    /// Reads a pipeline.
    ///
    /// # Errors
    /// Every unknown pass and wrong option.
    pub fn parse(text: &str, registry: &Registry) -> Result<Self, Diagnostics> {
        let mut errors = Diagnostics::default();
        let mut passes = Vec::new();
        for item in split_items(text) {
            match parse_item(item, registry) {
                Ok(pass) => passes.push(pass),
                Err(messages) => messages.into_iter().for_each(|message| errors.push(message)),
            }
        }
        errors.into_result()?;
        Ok(Self { passes })
    }
}

impl std::fmt::Display for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let items: Vec<String> = self.passes.iter().map(ToString::to_string).collect();
        f.write_str(&items.join(","))
    }
}

/// Splits at commas outside braces. Empty items vanish, so that a trailing comma does no harm.
fn split_items(text: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut depth, mut start) = (0usize, 0);
    for (i, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                items.push(text[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    items.push(text[start..].trim());
    items.retain(|item| !item.is_empty());
    items
}

fn parse_item(item: &str, registry: &Registry) -> Result<Box<dyn ConfiguredPass>, Vec<Diagnostic>> {
    let usage = |message: String| Diagnostic::error(message).category(Category::Usage);
    let (name, options) = match item.split_once('{') {
        None => (item, ""),
        Some((name, rest)) => match rest.strip_suffix('}') {
            Some(options) => (name.trim(), options),
            None => return Err(vec![usage(format!("expected '}}' at the end of '{item}'"))]),
        },
    };
    let Some(head) = registry.find(name) else {
        let known: Vec<&str> = registry.heads().iter().map(|head| head.name).collect();
        let error = usage(format!("unknown pass '{name}'"));
        return Err(vec![
            error.help(format!("passes are {}; --help-passes explains them", known.join(", "))),
        ]);
    };
    let mut pairs = Vec::new();
    let mut errors = Vec::new();
    for option in options.split(',').map(str::trim).filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some((key, value)) => pairs.push((key.trim().to_owned(), value.trim().to_owned())),
            None => {
                errors.push(usage(format!("expected NAME=VALUE as option of pass '{name}', got '{option}'")))
            }
        }
    }
    let configured = (head.configure)(&pairs);
    match configured {
        Ok(pass) if errors.is_empty() => Ok(pass),
        Ok(_) => Err(errors),
        Err(messages) => {
            errors.extend(messages.into_iter().map(|message| usage(format!("pass '{name}': {message}"))));
            Err(errors)
        }
    }
}

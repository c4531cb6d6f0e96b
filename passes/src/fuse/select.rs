//! Rules named in options: `merge-means+scale-into-weights`.

use super::rules;
use crate::pass::{OptionValue, one_of};

/// Names of approximate rules.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Approximations(pub Vec<String>);

/// Names of any rules.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RuleNames(pub Vec<String>);

fn names(text: &str, known: impl Fn(&rules::Rule) -> bool) -> Option<Vec<String>> {
    let names: Vec<&str> = text.split('+').filter(|name| !name.is_empty()).collect();
    let all = names.iter().all(|name| rules::find(name).is_some_and(&known));
    all.then(|| names.into_iter().map(str::to_owned).collect())
}

impl OptionValue for Approximations {
    fn description() -> String {
        let words: Vec<&str> = rules::all().filter(|rule| !rule.is_exact()).map(|rule| rule.name).collect();
        format!("{}, or several joined by +", one_of(&words))
    }

    fn parse(text: &str) -> Option<Self> {
        names(text, |rule| !rule.is_exact()).map(Self)
    }

    fn print(&self) -> String {
        self.0.join("+")
    }
}

impl OptionValue for RuleNames {
    fn description() -> String {
        "names of rules joined by +".to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        names(text, |_| true).map(Self)
    }

    fn print(&self) -> String {
        self.0.join("+")
    }
}

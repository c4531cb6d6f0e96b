//! Targets: what a device offers, as facts in a TOML file, each with its source.
//!
//! `passes/targets/*.toml` are embedded; a user's own file is read by the driver and given as text.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A processor core.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Core {
    CortexM0,
    CortexM0plus,
    CortexM3,
    CortexM4,
    CortexM7,
    CortexM23,
    CortexM33,
    CortexM55,
}

impl Core {
    /// All cores.
    pub const ALL: [Core; 8] = [
        Core::CortexM0,
        Core::CortexM0plus,
        Core::CortexM3,
        Core::CortexM4,
        Core::CortexM7,
        Core::CortexM23,
        Core::CortexM33,
        Core::CortexM55,
    ];

    /// The name that compilers use: `-mcpu=cortex-m4`.
    pub fn name(self) -> &'static str {
        match self {
            Core::CortexM0 => "cortex-m0",
            Core::CortexM0plus => "cortex-m0plus",
            Core::CortexM3 => "cortex-m3",
            Core::CortexM4 => "cortex-m4",
            Core::CortexM7 => "cortex-m7",
            Core::CortexM23 => "cortex-m23",
            Core::CortexM33 => "cortex-m33",
            Core::CortexM55 => "cortex-m55",
        }
    }

    /// The core called `name`.
    pub fn from_name(name: &str) -> Option<Core> {
        Core::ALL.into_iter().find(|core| core.name() == name)
    }

    /// Whether the core may issue two instructions at a time, in order, so that it matters which are neighbours.
    pub fn issues_two(self) -> bool {
        self == Core::CortexM7
    }

    /// Whether the core has the DSP extension. It is an option of the M33, present in every device known to us.
    pub fn has_dsp(self) -> bool {
        matches!(self, Core::CortexM4 | Core::CortexM7 | Core::CortexM33 | Core::CortexM55)
    }
}

/// A block of RAM.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Memory {
    /// Name of the region; names of a target's regions differ.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Cycles that the core waits for an access, on top of one to memory without wait states. Only what regions of one
    /// target cost against each other matters.
    #[serde(default)]
    pub wait_cycles: u32,
}

impl Memory {
    /// A region without wait states.
    pub fn new(name: impl Into<String>, bytes: u64) -> Self {
        Self { name: name.into(), bytes, wait_cycles: 0 }
    }

    /// What an access costs, in cycles.
    pub fn access_cycles(&self) -> u64 {
        1 + u64::from(self.wait_cycles)
    }
}

/// A device, or a bare core without limits.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Target {
    /// Name for `--target`.
    pub name: String,
    /// One line on what it is.
    pub summary: String,
    /// Processor core.
    pub core: Core,
    /// Clock in Hz; 0 if not fixed.
    #[serde(default)]
    pub clock_hz: u64,
    /// RAM regions; empty if not limited. Of those that are as fast, the first is filled first.
    #[serde(default)]
    pub sram: Vec<Memory>,
    /// Flash in bytes; 0 if not limited.
    #[serde(default)]
    pub flash_bytes: u64,
    /// Where the figures come from.
    #[serde(default)]
    pub sources: Vec<String>,
}

/// Texts of the embedded targets.
const EMBEDDED: &[&str] = &[
    include_str!("../targets/cortex-m0plus.toml"),
    include_str!("../targets/cortex-m3.toml"),
    include_str!("../targets/cortex-m4.toml"),
    include_str!("../targets/cortex-m7.toml"),
    include_str!("../targets/cortex-m33.toml"),
    include_str!("../targets/cortex-m55.toml"),
    include_str!("../targets/stm32f446.toml"),
    include_str!("../targets/stm32f746.toml"),
    include_str!("../targets/stm32l4r5.toml"),
    include_str!("../targets/stm32h743.toml"),
];

impl Target {
    /// Reads a target from TOML.
    ///
    /// # Errors
    /// What is wrong with the text, with line and column if it can't be read.
    pub fn from_toml(text: &str) -> Result<Target, String> {
        let target: Target = toml::from_str(text).map_err(|error| error.to_string())?;
        let names: BTreeSet<&str> = target.sram.iter().map(|memory| memory.name.as_str()).collect();
        if names.len() < target.sram.len() || names.contains("") {
            return Err("expected a name of its own for every sram region".to_owned());
        }
        Ok(target)
    }

    /// All embedded targets.
    pub fn embedded() -> Vec<Target> {
        EMBEDDED
            .iter()
            .map(|text| Target::from_toml(text).expect("embedded targets are read by a test"))
            .collect()
    }

    /// The embedded target called `name`.
    pub fn find(name: &str) -> Option<Target> {
        Target::embedded().into_iter().find(|target| target.name == name)
    }

    /// A bare core without limits.
    pub fn bare(core: Core) -> Target {
        Target {
            name: core.name().to_owned(),
            summary: String::new(),
            core,
            clock_hz: 0,
            sram: Vec::new(),
            flash_bytes: 0,
            sources: Vec::new(),
        }
    }

    /// Bytes of all RAM regions together; `None` if not limited.
    pub fn sram_bytes(&self) -> Option<u64> {
        let sum = self.sram.iter().fold(0u64, |sum, memory| sum.saturating_add(memory.bytes));
        (!self.sram.is_empty()).then_some(sum)
    }

    /// RAM regions, fastest first.
    pub fn sram_by_speed(&self) -> Vec<&Memory> {
        let mut regions: Vec<&Memory> = self.sram.iter().collect();
        regions.sort_by_key(|memory| memory.wait_cycles);
        regions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_targets_are_valid_and_distinct() {
        let targets = Target::embedded();
        let mut names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), EMBEDDED.len());
        assert!(targets.iter().all(|target| target.sram.is_empty() || !target.sources.is_empty()));
    }

    #[test]
    fn regions_are_sorted_by_speed_and_named_apart() {
        let text = |second: &str| {
            format!(
                "name = \"t\"\nsummary = \"\"\ncore = \"cortex-m7\"\n[[sram]]\nname = \"slow\"\nbytes = 2\n\
                 wait-cycles = 3\n[[sram]]\nname = \"{second}\"\nbytes = 1\n[[sram]]\nname = \"bank\"\nbytes = 4\n"
            )
        };
        let target = Target::from_toml(&text("tcm")).expect("a valid target");
        let names: Vec<&str> = target.sram_by_speed().iter().map(|memory| memory.name.as_str()).collect();
        assert_eq!(names, ["tcm", "bank", "slow"]);
        assert!(Target::from_toml(&text("slow")).is_err());
        assert!(Target::from_toml(&text("")).is_err());
    }
}

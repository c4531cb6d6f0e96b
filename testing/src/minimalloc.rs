//! The instances that MiniMalloc was measured with, and a check of placements that knows nothing of how they are made.
//!
//! Found through `MCUNETC_MINIMALLOC` (default `../shared/minimalloc` beside the workspace); who needs them says NOT CHECKED
//! where there are none. A file is named for its capacity, `A.1048576.csv`, and has a line `id,lower,upper,size` per
//! buffer, which lives from `lower` until before `upper`. Source: github.com/google/minimalloc, `benchmarks/challenging`.

use crate::corpus::workspace;
use mcunet_passes::plan_memory::problem::{Item, Problem};
use std::path::{Path, PathBuf};

/// Buffers that are known to fit into a capacity.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The name of the file up to the first dot.
    pub name: String,
    /// Bytes that there are.
    pub capacity: usize,
    /// The buffers.
    pub problem: Problem,
}

/// All instances by name; `None`, said aloud, where there are none.
///
/// # Panics
/// If a file can't be read or isn't of the form.
pub fn instances() -> Option<Vec<Instance>> {
    let folder = std::env::var_os("MCUNETC_MINIMALLOC")
        .map_or_else(|| workspace().join("../shared/minimalloc"), PathBuf::from);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!(
            "NOT CHECKED: no MiniMalloc instances; set MCUNETC_MINIMALLOC to the folder that holds them"
        );
        return None;
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "csv"));
    paths.sort();
    assert!(!paths.is_empty(), "expected .csv files in {}", folder.display());
    Some(paths.iter().map(|path| read(path)).collect())
}

fn read(path: &Path) -> Instance {
    let stem = path.file_stem().expect("a file name").to_string_lossy();
    let (name, capacity) =
        stem.split_once('.').unwrap_or_else(|| panic!("expected NAME.CAPACITY.csv, got {stem}"));
    let text = std::fs::read_to_string(path).expect("a readable instance");
    let mut lines = text.lines();
    assert_eq!(lines.next().map(str::trim), Some("id,lower,upper,size"), "the head of {}", path.display());
    let items = lines.map(|line| {
        let fields: Vec<usize> = line
            .split(',')
            .map(|field| {
                field.trim().parse().unwrap_or_else(|_| panic!("expected numbers in {stem}, got {line}"))
            })
            .collect();
        let &[_, lower, upper, size] = fields.as_slice() else {
            panic!("expected four columns in {stem}: {line}")
        };
        Item { bytes: size, align: 1, slot_bytes: size, slots: vec![vec![[lower, upper - 1]]] }
    });
    Instance {
        name: name.to_owned(),
        capacity: capacity.parse().unwrap_or_else(|_| panic!("expected a capacity in {stem}")),
        problem: Problem::new(items.collect(), |_, _| false),
    }
}

impl Instance {
    /// Panics unless every two buffers that live at once lie apart, below the capacity.
    ///
    /// # Panics
    /// See above.
    pub fn check(&self, offsets: &[usize]) {
        let items = &self.problem.items;
        assert_eq!(offsets.len(), items.len());
        for (i, a) in items.iter().enumerate() {
            assert!(
                offsets[i] + a.bytes <= self.capacity,
                "{}: buffer {i} ends above the capacity",
                self.name
            );
            for (j, b) in items[..i].iter().enumerate() {
                let (a_life, b_life) = (a.slots[0][0], b.slots[0][0]);
                let together = a_life[0] <= b_life[1] && b_life[0] <= a_life[1];
                let apart = offsets[i] + a.bytes <= offsets[j] || offsets[j] + b.bytes <= offsets[i];
                assert!(!together || apart, "{}: buffers {j} and {i} share bytes", self.name);
            }
        }
    }
}

//! `mcunetc targets`.

use crate::Io;
use crate::cli::TargetsArgs;
use crate::session::Failure;
use comfy_table::Table;
use mcunet_passes::target::Target;

/// Lists the embedded targets.
pub fn run(args: &TargetsArgs, io: &mut Io<'_>) -> Result<(), Failure> {
    let targets = Target::embedded();
    if args.json {
        // Serializing plain numbers and strings cannot fail.
        let json = serde_json::to_string_pretty(&targets).unwrap_or_default();
        return super::print(io, &format!("{json}\n"));
    }
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_header(["NAME", "CORE", "SUMMARY"]);
    for target in targets {
        table.add_row([target.name.as_str(), target.core.name(), &target.summary]);
    }
    super::print(io, &format!("{}\n", table.trim_fmt()))
}

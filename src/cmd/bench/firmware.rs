//! Builds the emitted C as firmware for a simulated core, and says what of the image is the model's.
//!
//! The program is the one of `--emit=project`: it fills the inputs with a test vector, invokes the model and compares the
//! outputs. A header that is included first puts the markers of the measured region around the call.

use super::On;
use super::tools::{run, text};
use crate::files;
use crate::session::Failure;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiler, on Debian in gcc-arm-none-eabi.
const CC: &str = "arm-none-eabi-gcc";

/// Runtime of the firmware, within the kit.
const RUNTIME: [&str; 2] = ["startup.S", "semihost.c"];

/// A linked image.
pub struct Firmware {
    /// The ELF file.
    pub elf: PathBuf,
    /// Bytes of each layer's code, by its index.
    pub layers: BTreeMap<usize, u64>,
    /// Bytes of the model's code in flash, with what it needs of the libraries for arithmetic.
    pub code_bytes: u64,
    /// Bytes of the model's constants.
    pub constant_bytes: u64,
}

/// Writes the project's files to `folder` and links them for a core. `prefix` is what the model's functions begin with.
pub fn build(
    on: On,
    project: &[(String, Vec<u8>)],
    prefix: &str,
    optimize: &str,
    kit: &Path,
    folder: &Path,
) -> Result<Firmware, Failure> {
    files::write_all(folder, project)?;
    files::write_file(&folder.join("measured.h"), measured(prefix).as_bytes())?;
    let runtime = kit.join("firmware");
    let mut objects = Vec::new();
    let model = [format!("{prefix}.c"), format!("{prefix}_weights.c")];
    for file in model.iter().map(String::as_str).chain(["main.c", "test_vectors.c", "host/console.c"]) {
        let object = folder.join(file.replace('/', "_")).with_extension("o");
        let mut command = compiler(on, optimize);
        command.arg("-I").arg(&runtime).arg("-I").arg(folder);
        if file == "main.c" {
            command.arg("-include").arg(folder.join("measured.h"));
        }
        run(command.arg("-c").arg(folder.join(file)).arg("-o").arg(&object))?;
        objects.push(object);
    }
    let (elf, map) = (folder.join("model.elf"), folder.join("model.map"));
    let mut link = compiler(on, optimize);
    link.args(["-nostartfiles", "-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments"]);
    link.arg(format!("-Wl,-Map={}", map.display()))
        .arg("-L")
        .arg(runtime.join("ld"))
        .args(["-T", on.script()]);
    link.args(&objects).args(RUNTIME.map(|file| runtime.join(file))).arg("-lm").arg("-o").arg(&elf);
    run(&mut link)?;
    let symbols = run(Command::new("arm-none-eabi-nm").args(["--print-size", "--radix=d"]).arg(&elf))?;
    let map = text(&files::read_file(&map)?);
    let sizes = Sizes::of(&map, prefix);
    Ok(Firmware {
        elf,
        layers: layers(&text(&symbols)),
        code_bytes: sizes.code,
        constant_bytes: sizes.constants,
    })
}

/// The compiler with what all calls have in common.
fn compiler(on: On, optimize: &str) -> Command {
    let mut command = Command::new(CC);
    command.args(on.flags()).arg(optimize);
    command.args(["-mthumb", "-std=gnu99", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections"]);
    command
}

/// A header that makes every call of the model the measured region; macros are not expanded within themselves.
fn measured(prefix: &str) -> String {
    let call = |name: &str| format!("#define {name}(...) (bench_begin(), measured({name}(__VA_ARGS__)))\n");
    let calls: String = ["invoke", "invoke_rows"].map(|verb| call(&format!("{prefix}_{verb}"))).concat();
    format!(
        "#include \"{prefix}.h\"\n#include \"bench_marker.h\"\n\n\
         static inline int measured(int status)\n{{\n    bench_end();\n    return status;\n}}\n\n{calls}"
    )
}

/// Sizes of functions called `layer_NN_...`, by their number, from what nm prints: address, size, type, name.
fn layers(symbols: &str) -> BTreeMap<usize, u64> {
    let layer = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, size, _, name] = fields[..] else { return None };
        let index = name.strip_prefix("layer_")?.split('_').next()?.parse().ok()?;
        Some((index, size.parse().ok()?))
    };
    symbols.lines().filter_map(layer).collect()
}

/// What of an image is the model's.
#[derive(Default, PartialEq, Eq, Debug)]
struct Sizes {
    code: u64,
    constants: u64,
}

impl Sizes {
    /// From the linker's map: a section's name, address, size and the file it is from; a long name has a line of its own.
    fn of(map: &str, prefix: &str) -> Self {
        let mut sizes = Sizes::default();
        let (model, weights) = (format!("/{prefix}.o"), format!("/{prefix}_weights.o"));
        let kept = map.split("Linker script and memory map").nth(1).unwrap_or_default();
        let mut name = "";
        for line in kept.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (section, size, file) = match fields[..] {
                [single] if single.starts_with('.') => {
                    name = single;
                    continue;
                }
                [address, size, file] if address.starts_with("0x") => (name, size, file),
                [section, address, size, file] if address.starts_with("0x") => (section, size, file),
                _ => continue,
            };
            let bytes = size.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
            let Some(bytes) = bytes else { continue };
            // The harness does no arithmetic that takes a library.
            let is_library = file.contains("libm.a(") || file.contains("libgcc.a(");
            let is_model = file.ends_with(&model) || file.ends_with(&weights) || is_library;
            match section {
                _ if !is_model => {}
                _ if section.starts_with(".text") => sizes.code += bytes,
                _ if section.starts_with(".rodata") || section.starts_with(".data") => {
                    sizes.constants += bytes
                }
                _ => {}
            }
        }
        sizes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_models_own() {
        let map = "Discarded input sections\n .text.f  0x0 0x10 /t/net.o\n\nLinker script and memory map\n\n\
                   .text 0x0 0x100\n .text.f 0x00000040 0x20 /t/net.o\n .text.a_long_name\n                0x60 0x8 /t/net.o\n \
                   .text.main 0x68 0x40 /t/main.o\n .rodata.w 0xa8 0x30 /t/net_weights.o\n .text 0xd8 0x4 /lib/libm.a(exp.o)\n \
                   .text 0xdc 0x4 /lib/libc.a(memcpy.o)\n .ARM.exidx 0xe0 0x8 /t/net.o\n";
        assert_eq!(Sizes::of(map, "net"), Sizes { code: 0x2c, constants: 0x30 });
    }

    #[test]
    fn layers_have_a_number() {
        let symbols =
            "00000064 00000020 t layer_03_conv2d\n00000084 00000002 T layer_cake\n00000090 T main\n";
        assert_eq!(layers(symbols), BTreeMap::from([(3, 20)]));
    }
}

//! The report and what a failed budget says: as snapshots where people read them, as data where programs do.

use std::ffi::OsString;
use std::path::Path;

/// Two convolutions' worth of rows in a cascade, with a name that no page can hold as it is.
const NETWORK: &str = r#"module "net" stage "imported" {
  func "main" inputs ["<im&ge>\"" : tensor<1x32x16x8x!quant.uniform<i8:f32, 0.5>>] outputs ["out" : tensor<1x15x7x24x!quant.uniform<i8:f32, 0.5>>] {
  ^(%x: tensor<1x32x16x8x!quant.uniform<i8:f32, 0.5>>):
    %wide = nn.concat %x, %x, %x {axis = 3} : tensor<1x32x16x24x!quant.uniform<i8:f32, 0.5>>
    %out = nn.max_pool2d %wide {kernel = [3, 3], stride = [2, 2]} : tensor<1x15x7x24x!quant.uniform<i8:f32, 0.5>>
    func.return %out
  }
}
"#;

/// Adds constants to a float vector.
const FLOATS: &str = r#"module "floats" stage "imported" {
  func "main" inputs ["x" : tensor<4xf32>] outputs ["y" : tensor<4xf32>] {
  ^(%x: tensor<4xf32>):
    %w = nn.const {value = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>} : tensor<4xf32>
    %y = nn.add %x, %w : tensor<4xf32>
    func.return %y
  }
}
"#;

/// Runs the compiler in process; its exit code and errors.
fn run(args: &[&str], input: &str) -> (u8, String) {
    let args: Vec<OsString> = args.iter().map(OsString::from).collect();
    let (mut stdin, mut stdout, mut stderr) = (input.as_bytes(), Vec::new(), Vec::new());
    let mut io = mcunetc::Io { stdin: &mut stdin, stdout: &mut stdout, stderr: &mut stderr, color: false };
    let status = mcunetc::run(&args, &mut io);
    assert_eq!(String::from_utf8_lossy(&stdout), "");
    (status, String::from_utf8(stderr).expect("errors are UTF-8"))
}

/// Files that the compiler writes for a model and options.
fn written(input: &str, options: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("a UTF-8 path");
    let (status, stderr) = run(&[&["-", "-o", path], options].concat(), input);
    assert_eq!(status, 0, "{stderr}");
    folder
}

fn read(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Parses markup as XML, which is stricter than HTML.
fn parse(text: &str) -> roxmltree::Document<'_> {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    roxmltree::Document::parse_with_options(text, options)
        .unwrap_or_else(|error| panic!("{error} in\n{text}"))
}

/// One tag a line, so that a change shows where it is.
fn lines(page: &str) -> String {
    page.replace('<', "\n<")
}

#[test]
fn a_page_is_well_formed_and_refers_to_nothing_outside() {
    let folder = written(NETWORK, &["--report=html"]);
    let page = read(folder.path(), "net_report.html");
    insta::assert_snapshot!("net_report.html", lines(&page));
    let document = parse(&page);
    let elements = || document.descendants().filter(roxmltree::Node::is_element);
    let ids: Vec<&str> = elements().filter_map(|element| element.attribute("id")).collect();
    for element in elements() {
        let name = element.tag_name().name();
        assert!(!["script", "link", "img", "iframe", "object"].contains(&name), "{name}");
        assert_eq!(element.attribute("src"), None);
        if let Some(target) = element.attribute("href") {
            assert!(target.strip_prefix('#').is_some_and(|id| ids.contains(&id)), "{target}");
        }
    }
    assert!(!page.contains("@import") && !page.contains("url("));
    assert!(document.descendants().any(|node| node.text() == Some("<im&ge>\"")));
}

#[test]
fn pages_hold_names_of_any_characters() {
    let model = NETWORK.replace("<im&ge>", "\u{1}<script>\u{ffff}");
    let folder = written(&model, &["--report=html", "--emit=svg"]);
    let page = read(folder.path(), "net_report.html");
    assert!(parse(&page).descendants().any(|node| node.text() == Some("\u{fffd}<script>\u{fffd}\"")));
    parse(&read(folder.path(), "net_memory.svg"));
}

#[test]
fn several_reports_lie_beside_the_output() {
    for options in [&["--report=json,html"][..], &["--report=html", "--report=json", "--report=html"]] {
        let folder = written(NETWORK, options);
        let mut files: Vec<String> = std::fs::read_dir(folder.path())
            .expect("the folder is there")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| name.contains("report"))
            .collect();
        files.sort();
        assert_eq!(files, ["net_report.html", "net_report.json"]);
    }
}

#[test]
fn figures_agree_with_each_other() {
    let folder = written(NETWORK, &["--report=json"]);
    let text = read(folder.path(), "net_report.json");
    insta::assert_snapshot!("net_report.json", text);
    let report: serde_json::Value = serde_json::from_str(&text).expect("the report is JSON");
    let bound = report["arena_lower_bound_bytes"].as_u64().expect("a bound");
    let arena = report["arena_bytes"].as_u64().expect("an arena");
    let peak = &report["peak"];
    let parts = peak["buffers"].as_array().expect("what lives at the peak");
    let sum: u64 = parts.iter().filter_map(|part| part["bytes"].as_u64()).sum();
    assert_eq!(sum - peak["in_place_bytes"].as_u64().expect("bytes in place"), bound);
    let timeline = report["timeline"].as_array().expect("a timeline");
    assert_eq!(timeline.iter().filter_map(|run| run[1].as_u64()).max(), Some(bound));
    let layers = report["layers"].as_array().expect("layers");
    assert_eq!(layers.iter().filter_map(|layer| layer["live_bytes"].as_u64()).max(), Some(bound));

    let next = &report["next_kilobyte"];
    assert_eq!(next["goal_bytes"].as_u64(), Some(bound - 1024));
    let worst =
        next["places"].as_array().expect("places").iter().filter_map(|at| at["excess_bytes"].as_u64());
    assert_eq!(worst.max(), Some(1024));
    for other in report["alternatives"].as_array().expect("alternatives") {
        let options: Vec<&str> = other["options"].as_str().expect("options").split(' ').collect();
        let folder = written(NETWORK, &[&options[..], &["--report=json"]].concat());
        let text = read(folder.path(), "net_report.json");
        let report: serde_json::Value = serde_json::from_str(&text).expect("the report is JSON");
        assert_eq!(report["arena_bytes"], other["arena_bytes"], "{options:?}");
        assert_eq!(report["mac_factor"], other["mac_factor"], "{options:?}");
        assert!(other["arena_bytes"].as_u64().expect("an arena") < arena);
    }
    assert_eq!(report["alternatives"][0]["options"], "--stream-input");
}

#[test]
fn diagnostics_of_sram() {
    let (status, stderr) = run(&["-", "--sram=4500", "--report=html,json", "-o", "never-written"], NETWORK);
    assert_eq!(status, 3);
    assert!(!Path::new("never-written").exists());
    insta::assert_snapshot!("budget_sram", stderr);
}

#[test]
fn diagnostics_of_flash_and_sram_together() {
    let (status, stderr) = run(&["-", "--flash=8", "--sram=8", "-o", "never-written"], FLOATS);
    assert_eq!(status, 3);
    insta::assert_snapshot!("budget_flash_and_sram", stderr);
}

#[test]
fn pages_need_a_plan_and_a_folder() {
    let (status, stderr) =
        run(&["-", "--emit=mcir", "--report=html", "--pass-pipeline=lower", "-o", "never-written"], NETWORK);
    assert_eq!(status, 2);
    assert!(stderr.contains("expected a planned module for a page, got one of stage 'lowered'"), "{stderr}");
    for place in ["-", "page.html"] {
        let (status, stderr) = run(&["-", "--emit=svg", "--report=html", "-o", place], NETWORK);
        assert_eq!(status, 2);
        assert!(stderr.contains("a report lies beside the output"), "{stderr}");
    }
    assert!(!Path::new("never-written").exists() && !Path::new("page.html").exists());
}

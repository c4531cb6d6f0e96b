//! `--pareto`: the arenas that a network can run in, and the multiply-accumulates and cycles that each takes.
//!
//! Every way of splitting that the search cannot rule out is compiled, so the figures are those of programs; cycles are what
//! the cost model says of them.

use super::alternatives::{self, Setup};
use crate::cli::CompileArgs;
use crate::report::Alternative;
use crate::report::layers::macs;
use crate::session::{self, Failure};
use mcunet_ir::Diagnostic;
use mcunet_passes::manager::Silent;
use mcunet_passes::pass::PassContext;
use mcunet_passes::patch_split::space::Way;
use mcunet_passes::patch_split::ways;
use mcunet_passes::pipeline::{Level, Pipeline};
use mcunet_passes::registry::Registry;
use mcunet_passes::watch::{Impatient, Watch};
use plotters::prelude::*;

/// Width and height of the plot in pixels.
const SIZE: (u32, u32) = (720, 420);

/// Programs that no other beats in both bytes and multiply-accumulates, from the fewest of the latter on.
pub struct Front {
    points: Vec<Point>,
}

struct Point {
    found: Alternative,
    /// The passes that make the network run so.
    passes: String,
}

/// Compiles what may be on the front.
///
/// # Errors
/// If the model can't be compiled, or the level runs layer by layer.
pub fn front(setup: &Setup<'_>, args: &CompileArgs) -> Result<Front, Failure> {
    let mut module = setup.file.import(&args.model_args)?;
    let imported_macs = macs(&module);
    let rules = session::approximations(&args.pipeline)?;
    let before = Level::from(args.pipeline.level).before_splitting(&rules);
    let before = Pipeline::parse(&before, &Registry::builtin())?;
    let watch = Impatient(setup.watcher);
    let cx = PassContext::new(&setup.target).watched_by(&watch);
    session::optimize(&mut module, &before, &mut Silent, &cx)?;
    let found = module
        .functions
        .first()
        .map(|function| ways(function, args.pipeline.handing(), &watch))
        .unwrap_or_default();
    // A split that adds nothing may still gain nothing, so the network as it is comes first.
    let split = found.into_iter().filter(|way| !way.is_plain());
    let ways: Vec<Way> = std::iter::once(Way::default()).chain(split).collect();
    let mut points: Vec<Point> = Vec::new();
    // Kernels with working memory are faster, and make an arena larger.
    let tried: Vec<(&Way, bool)> = ways.iter().flat_map(|way| [(way, true), (way, false)]).collect();
    for (index, &(way, scratch)) in tried.iter().enumerate() {
        setup.watcher.stage(format!("way {} of {} ", index + 1, tried.len()));
        let rest = session::pipeline_from_splitting(&args.pipeline, way, scratch)?;
        let found = alternatives::measure_module(String::new(), setup, module.clone(), &rest, imported_macs);
        let Some(mut found) = found else { continue };
        found.options = format!("--sram={}", found.arena_bytes);
        if points.last().is_none_or(|last| found.arena_bytes < last.found.arena_bytes) {
            let split = (!way.is_plain()).then(|| way.to_string());
            let slower = (!scratch).then(|| "lower{use-scratch=false}".to_owned());
            let passes: Vec<String> = split.into_iter().chain(slower).collect();
            let passes = if passes.is_empty() { "none".to_owned() } else { passes.join(",") };
            points.push(Point { found, passes });
        }
        if watch.is_over() {
            break;
        }
    }
    setup.watcher.stage(String::new());
    Ok(Front { points })
}

impl Front {
    /// The points as other ways to compile the model.
    pub fn alternatives(&self) -> impl Iterator<Item = Alternative> + '_ {
        self.points.iter().map(|point| point.found.clone())
    }

    /// The points as a table.
    pub fn table(&self) -> String {
        let mut out = String::from("  arena B  MAC factor        cycles  times  passes\n");
        for point in &self.points {
            let Point { found: Alternative { arena_bytes, mac_factor, cycles, .. }, passes } = point;
            let times = self.times(point);
            out += &format!("{arena_bytes:9}  {mac_factor:10.3}  {cycles:12}  {times:5.3}  {passes}\n");
        }
        out
    }

    /// Cycles of a point as a multiple of those of the first.
    fn times(&self, point: &Point) -> f64 {
        let first = self.points.first().map_or(0, |first| first.found.cycles);
        point.found.cycles as f64 / first.max(1) as f64
    }

    /// The points as a picture in SVG.
    ///
    /// # Errors
    /// If it can't be drawn.
    pub fn plot(&self, name: &str) -> Result<String, Failure> {
        let mut picture = String::new();
        self.draw(name, &mut picture)
            .map_err(|error| Diagnostic::error(format!("the plot of '{name}' can't be drawn: {error}")))?;
        Ok(picture)
    }

    fn draw(&self, name: &str, picture: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let along = |of: &dyn Fn(&Point) -> f64| -> Vec<(f64, f64)> {
            self.points.iter().map(|point| (of(point), point.found.arena_bytes as f64 / 1000.0)).collect()
        };
        let macs = along(&|point| point.found.mac_factor);
        let cycles = along(&|point| self.times(point));
        let points: Vec<(f64, f64)> = macs.iter().chain(&cycles).copied().collect();
        let greatest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
        let right = greatest(&mut points.iter().map(|point| point.0)).max(1.0);
        let top = greatest(&mut points.iter().map(|point| point.1)).max(1.0);
        let least = points.iter().fold(0.98, |least: f64, point| least.min(point.0 - 0.02));
        let area = SVGBackend::with_string(picture, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(format!("Arena of {name}"), ("sans-serif", 16))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(56)
            .build_cartesian_2d(least..right + (right - least) * 0.05 + 0.01, 0.0..top * 1.08)?;
        chart
            .configure_mesh()
            .x_desc(
                "multiply-accumulates, as a multiple of the model's; cycles, as one of the fastest program's",
            )
            .y_desc("arena, kB")
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (points, color, name) in [(macs, BLUE, "multiply-accumulates"), (cycles, RED, "cycles")] {
            // Between two points there is nothing: more memory than one takes is worth nothing before the next.
            let steps = points.windows(2).flat_map(|pair| [pair[0], (pair[1].0, pair[0].1)]);
            chart
                .draw_series(LineSeries::new(steps.chain(points.last().copied()), color))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
            chart.draw_series(points.iter().map(|&point| Circle::new(point, 4, color.filled())))?;
        }
        chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(TRANSPARENT).draw()?;
        area.present()?;
        Ok(())
    }
}

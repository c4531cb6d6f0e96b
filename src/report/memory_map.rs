//! The arena over time as a picture: what lies where, when; where the peak is and what fills it.
//!
//! To the right run the steps of the program, upward the bytes of the arena. Every buffer is drawn piece by
//! piece, so that rows that die one after the other look like stairs. Arenas of several memory regions lie one above the
//! other. Below are the layers, the bytes that live with the
//! top kilobyte marked, and a table of the peak. In the dark, viewers that know about it show it dark. The picture is a function of the planned module alone, to the byte.

mod blocks;
mod pieces;
mod shapes;
mod time_axis;

use super::layers::origin;
use super::memory::{Peak, place, schedule};
use super::next_kilobyte::SAVED_BYTES;
use super::words::{bytes, counted};
use mcunet_ir::loops::memory::Place;
use mcunet_ir::loops::ops::Role;
use mcunet_ir::loops::program::Part;
use mcunet_ir::module::Function;
use mcunet_passes::analysis::composition::{buffer_name, head, rows_held};
use mcunet_passes::analysis::liveness::{BufferLife, Liveness};
use mcunet_passes::plan_memory::region_bytes;
use pieces::{Piece, pieces};
use shapes::{Anchor, fitted, line, marked, rectangle, text, tooltip, turned};
use std::sync::Arc;
use svg::Document;
use svg::node::element::{Group, Path, Style, Text};
use time_axis::TimeAxis;

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 1184.0;
const MAP_TOP: f64 = 104.0;
const MAP_BOTTOM: f64 = 484.0;
const NAMES_BOTTOM: f64 = 600.0;
const LIVE_TOP: f64 = 622.0;
const LIVE_BOTTOM: f64 = 702.0;
/// Room that a turned name takes.
const NAME_HEIGHT: f64 = 9.5;
const TABLE_TOP: f64 = 772.0;
const TABLE_ROW: f64 = 17.0;
const TABLE_ROWS: usize = 12;

/// Room above the arena for the names of the peak and of the arena, as a share of the arena.
const HEADROOM: f64 = 0.13;

const PAPER: &str = "#fff";
const INK: &str = "#222";
const FAINT: &str = "#ccc";
const PEAK: &str = "#c0142c";
const BOUND: &str = "#1b5faa";
/// Of neighbours, to tell them apart.
const CASCADES: [&str; 2] = ["#eef1f6", "#e0e6f0"];
const INPUT: &str = "#6f9fd8";
const OUTPUT: &str = "#5fae7b";
const LIVE: &str = "#9db4cf";
const SCRATCH: &str = "#8c8c8c";
/// Colours of activations, in turn.
const ACTIVATIONS: [&str; 7] = ["#f2b872", "#b3d79b", "#d8a9d6", "#f0d76a", "#9fd5d1", "#e6a194", "#bcb6e4"];

/// Colours in the dark, of what does not lie on a colour of its own.
const DARK: [(&str, &str, &str); 8] = [
    ("fill", PAPER, "#16191d"),
    ("stroke", PAPER, "#16191d"),
    ("stroke", INK, "#e2e5ea"),
    ("stroke", FAINT, "#4a525d"),
    ("stroke", PEAK, "#ff6b7d"),
    ("fill", PEAK, "#ff6b7d"),
    ("stroke", BOUND, "#84b6f2"),
    ("fill", BOUND, "#84b6f2"),
];

/// Draws the memory of a planned function.
pub fn draw(model: &str, function: &Function) -> String {
    let map = MemoryMap::new(function);
    let picture = Document::new()
        .set("viewBox", (0, 0, WIDTH, map.height()))
        .set("width", WIDTH)
        .set("height", map.height())
        .set("font-family", "Helvetica, Arial, sans-serif")
        .set("font-size", 11)
        .set("fill", INK)
        .set("class", "map")
        .add(Style::new(dark()))
        .add(rectangle(0.0, 0.0, WIDTH, map.height(), PAPER))
        .add(map.title(model))
        .add(map.cascades())
        .add(map.byte_scale())
        .add(map.layers())
        .add(map.buffers())
        .add(map.limits())
        .add(map.live())
        .add(map.peak_mark())
        .add(map.table());
    format!("{picture}\n")
}

/// What an axis shows, to be read from the right.
fn axis_title(y: f64, title: &str) -> Text {
    let turn = format!("rotate(-90 16 {y})");
    text(16.0, y, title).set("text-anchor", Anchor::Middle.name()).set("transform", turn)
}

/// The style sheet with the colours in the dark.
fn dark() -> String {
    let bands = CASCADES.into_iter().zip(["#1e2530", "#28303d"]).map(|(light, dark)| ("fill", light, dark));
    let rules = DARK.into_iter().chain(bands);
    let rules = rules.map(|(what, light, dark)| format!(".map [{what}=\"{light}\"]{{{what}:{dark}}}"));
    let rules: String = rules.collect();
    format!("@media (prefers-color-scheme:dark){{.map{{fill:#e2e5ea}}{rules}}}")
}

struct MemoryMap<'f> {
    function: &'f Function,
    liveness: Liveness,
    /// Of every buffer.
    pieces: Vec<Vec<Piece>>,
    peak: Option<Peak>,
    axis: TimeAxis,
    /// All arenas, one above the other.
    arena: usize,
    /// Names of the memory regions, and where their arenas begin.
    regions: Vec<(Arc<str>, usize)>,
    bound: usize,
}

impl<'f> MemoryMap<'f> {
    fn new(function: &'f Function) -> Self {
        let liveness = Liveness::of(function);
        let mut arena = 0;
        let regions = region_bytes(function).into_iter().map(|(region, bytes)| {
            arena += bytes;
            (region, arena - bytes)
        });
        let regions: Vec<(Arc<str>, usize)> = regions.collect();
        let pieces = liveness.buffers.iter().map(|life| {
            let region = place(function, life).and_then(|place| region_of(&regions, place));
            pieces(function, life, region.map_or(0, |(_, base)| *base))
        });
        let pieces = pieces.collect();
        Self {
            function,
            peak: Peak::of(function, &liveness),
            axis: TimeAxis::new(&liveness.program, LEFT, RIGHT - LEFT),
            arena,
            regions,
            bound: liveness.lower_bound_bytes(),
            pieces,
            liveness,
        }
    }

    fn height(&self) -> f64 {
        let rows = self.peak.as_ref().map_or(0, |peak| peak.buffers.len().min(TABLE_ROWS + 1));
        TABLE_TOP + TABLE_ROW * (rows as f64 + 1.0)
    }

    /// Where a byte of the arena lies in the map.
    fn y(&self, byte: usize) -> f64 {
        let full = self.arena.max(1) as f64 * (1.0 + HEADROOM);
        MAP_BOTTOM - (MAP_BOTTOM - MAP_TOP) * byte as f64 / full
    }

    fn title(&self, model: &str) -> Group {
        let Self { arena, bound, .. } = self;
        let above = arena.saturating_sub(*bound);
        let distance = match above {
            0 => "which is the lower bound".to_owned(),
            _ => format!(
                "{} ({:.1} %) above the lower bound of {}",
                bytes(above),
                above as f64 * 100.0 / (*bound).max(1) as f64,
                bytes(*bound)
            ),
        };
        let [layers, steps] = [self.liveness.program.kernels.len(), self.liveness.program.steps.len()];
        let cascades = self.liveness.program.parts.iter().filter(|part| part.cascade.is_some()).count();
        let facts =
            [counted(layers, "layer"), counted(steps, "step"), counted(cascades, "cascade")].join(", ");
        let group = Group::new()
            .add(
                text(LEFT, 30.0, &format!("Memory of {}", fitted(model, 60.0 * 6.0, 6.0)))
                    .set("font-size", 18),
            )
            .add(
                text(LEFT, 52.0, &format!("Arena {}, {distance}; {facts}", bytes(*arena)))
                    .set("font-size", 13),
            );
        self.legend(group)
    }

    /// What colours and lines mean, in one row.
    fn legend(&self, mut group: Group) -> Group {
        let mut x = LEFT;
        let boxes = [("input", INPUT), ("output", OUTPUT), ("scratch", SCRATCH)];
        for (name, color) in boxes {
            group = group.add(rectangle(x, 67.0, 12.0, 12.0, color)).add(text(x + 17.0, 77.0, name));
            x += 80.0;
        }
        for (i, color) in ACTIVATIONS.iter().enumerate() {
            group = group.add(rectangle(x + 12.0 * i as f64, 67.0, 12.0, 12.0, color));
        }
        x += 12.0 * ACTIVATIONS.len() as f64;
        group = group.add(text(x + 5.0, 77.0, "activations"));
        x += 90.0;
        let lines = [("arena", INK, "6 3"), ("lower bound", BOUND, "2 3"), ("peak", PEAK, "none")];
        for (name, color, dashes) in lines {
            group = group.add(line([x, 73.0], [x + 26.0, 73.0], color).set("stroke-dasharray", dashes));
            group = group.add(text(x + 31.0, 77.0, name));
            x += 110.0;
        }
        group = group.add(rectangle(x, 67.0, 26.0, 12.0, CASCADES[0]));
        group = group.add(text(x + 31.0, 77.0, "cascade: layers run row by row in turns"));
        x += 245.0;
        let top = rectangle(x, 67.0, 26.0, 12.0, LIVE);
        let kilobyte = rectangle(x, 67.0, 26.0, 4.0, PEAK);
        group.add(top).add(kilobyte).add(text(x + 31.0, 77.0, "live, top kilobyte"))
    }

    /// Bands behind the layers that run in turns.
    fn cascades(&self) -> Group {
        let parts = self.liveness.program.parts.iter();
        let cascades = parts.filter(|part| part.cascade.is_some()).enumerate();
        cascades.fold(Group::new(), |group, (i, part)| {
            let [left, right] = self.axis.span(part);
            let schedule = schedule(self.function, part);
            let layers = format!("{}\u{2013}{}", part.kernels.start, part.kernels.end.saturating_sub(1));
            let about = format!("cascade of layers {layers}: {} steps, {schedule}", part.steps.len());
            let height = LIVE_BOTTOM - MAP_TOP + 12.0;
            let band = rectangle(left, MAP_TOP - 12.0, right - left, height, CASCADES[i % CASCADES.len()]);
            let names = [format!("cascade {layers}"), layers];
            let band = Group::new().add(band);
            let band = marked(&names, (left + right) / 2.0, MAP_TOP - 2.5, right - left, band);
            group.add(band.add(tooltip(&about)))
        })
    }

    /// Lines at round numbers of bytes.
    fn byte_scale(&self) -> Group {
        let title = axis_title((MAP_TOP + MAP_BOTTOM) / 2.0, "bytes of the arena");
        let step = (0..).map(|i| 1usize << i).find(|step| self.arena / step <= 8).unwrap_or(1);
        (0..=self.arena / step).map(|i| i * step).fold(Group::new().add(title), |group, byte| {
            let y = self.y(byte);
            let name = match byte {
                0 => "0".to_owned(),
                _ if byte % 1024 == 0 => format!("{} KiB", byte / 1024),
                _ => bytes(byte),
            };
            group
                .add(line([LEFT, y], [RIGHT, y], FAINT).set("stroke-width", 0.5))
                .add(text(LEFT - 6.0, y + 4.0, &name).set("text-anchor", Anchor::End.name()))
        })
    }

    /// Borders and names of layers.
    fn layers(&self) -> Group {
        let mut group = Group::new().set("font-size", NAME_HEIGHT);
        for part in &self.liveness.program.parts {
            let x = self.axis.x(part.steps.start);
            let top = if part.cascade.is_some() { MAP_TOP - 12.0 } else { MAP_TOP };
            group = group.add(line([x, top], [x, LIVE_BOTTOM], FAINT).set("stroke-width", 0.5));
        }
        for (part, kernel, x) in self.legible_names() {
            group = group.add(self.layer_name(part, kernel, x));
        }
        group.add(line([RIGHT, MAP_TOP], [RIGHT, LIVE_BOTTOM], FAINT).set("stroke-width", 0.5))
    }

    /// Layers whose names have room, with their places; the one of the peak always has.
    fn legible_names(&self) -> Vec<(&Part, usize, f64)> {
        let parts = self.liveness.program.parts.iter();
        let names: Vec<(&Part, usize, f64)> = parts
            .flat_map(|part| {
                let kernels = part.kernels.clone().enumerate();
                kernels.map(move |(index, kernel)| (part, kernel, self.axis.name_x(part, index)))
            })
            .collect();
        let peak_layer = self.peak.as_ref().map(|peak| peak.layer);
        let peak_x = names.iter().find(|name| Some(name.1) == peak_layer).map(|name| name.2);
        let mut last = f64::NEG_INFINITY;
        let fits = |&(_, kernel, x): &(&Part, usize, f64)| {
            let apart = x - last >= NAME_HEIGHT && peak_x.is_none_or(|peak| (x - peak).abs() >= NAME_HEIGHT);
            let fits = Some(kernel) == peak_layer || apart;
            if fits {
                last = x;
            }
            fits
        };
        names.into_iter().filter(fits).collect()
    }

    fn layer_name(&self, part: &Part, kernel: usize, x: f64) -> Group {
        let program = &self.liveness.program;
        let layer = program.head(self.function, kernel).layer.to_string();
        let from = origin(&self.function.ops[program.kernels[kernel]].origin);
        let about = format!(
            "layer {kernel}: {layer}\n{from}\nin steps {}\u{2013}{}",
            part.steps.start,
            part.steps.end.saturating_sub(1)
        );
        let short = layer.strip_prefix("nn.").unwrap_or(&layer);
        let name = fitted(&format!("{kernel} {short}"), NAMES_BOTTOM - MAP_BOTTOM - 8.0, 5.3);
        let at_peak = self.peak.as_ref().is_some_and(|peak| peak.layer == kernel);
        let name = turned(x + 3.5, MAP_BOTTOM + 6.0, &name);
        let name = if at_peak { name.set("fill", PEAK).set("font-weight", "bold") } else { name };
        Group::new().add(name).add(tooltip(&about))
    }

    fn buffers(&self) -> Group {
        let (mut shapes, mut names) = (Group::new().set("shape-rendering", "crispEdges"), Group::new());
        for (life, pieces) in self.liveness.buffers.iter().zip(&self.pieces) {
            let Some(place) = place(self.function, life).filter(|_| !pieces.is_empty()) else { continue };
            let bands = blocks::bands(pieces, |step| self.axis.x(step), |byte| self.y(byte));
            let shape = Path::new().set("d", blocks::path(&bands)).set("fill", self.color(life));
            shapes = shapes.add(shape.add(tooltip(&self.about(life, place))));
            if let Some([left, top, right, bottom]) = blocks::roomiest(&bands) {
                let whole = buffer_name(self.function, life);
                let name = fitted(whole, right - left - 4.0, 5.2);
                // Names often begin alike: a few letters say nothing.
                if bottom - top >= 11.0 && (name == whole || name.chars().count() >= 10) {
                    let middle = text((left + right) / 2.0, (top + bottom) / 2.0 + 3.0, &name);
                    names = names.add(middle.set("text-anchor", Anchor::Middle.name()));
                }
            }
        }
        Group::new().add(shapes).add(names.set("font-size", 9).set("fill", INK).set("pointer-events", "none"))
    }

    fn color(&self, life: &BufferLife) -> &'static str {
        match life.role {
            Role::Input => INPUT,
            Role::Output => OUTPUT,
            Role::Scratch => SCRATCH,
            Role::Activation => {
                let activations = self.liveness.buffers.iter().filter(|other| other.role == Role::Activation);
                let index = activations.take_while(|other| other.value != life.value).count();
                ACTIVATIONS[index % ACTIVATIONS.len()]
            }
        }
    }

    fn about(&self, life: &BufferLife, place: &Place) -> String {
        let [first, last] = life.span();
        let offset = place.start();
        let region = if self.regions.len() > 1 { format!(" of {}", place.region) } else { String::new() };
        let rows = match head(self.function, life) {
            Some(head) => format!("{} of {} rows", rows_held(self.function, life), head.rows),
            None => String::new(),
        };
        format!(
            "{}: {}, {} at byte {offset}{region}\n{rows} held, steps {first}\u{2013}{last}",
            buffer_name(self.function, life),
            life.role.name(),
            bytes(life.bytes)
        )
    }

    /// The arena and its lower bound, and where the arenas of several regions begin.
    fn limits(&self) -> Group {
        let border = |group: Group, (region, base): &(Arc<str>, usize)| {
            let y = self.y(*base);
            let name = text(LEFT + 4.0, y - 4.0, region).set("font-weight", "bold");
            let name = name.set("stroke", PAPER).set("stroke-width", 3).set("paint-order", "stroke");
            group.add(line([LEFT, y], [RIGHT, y], INK)).add(name)
        };
        let several = if self.regions.len() > 1 { &self.regions[..] } else { &[] };
        let borders = several.iter().fold(Group::new(), border);
        let [arena, bound] = [bytes(self.arena), bytes(self.bound)];
        let limits = match self.arena == self.bound {
            true => vec![(self.arena, INK, "6 3", format!("arena and lower bound {arena}"), -4.0)],
            false => vec![
                (self.arena, INK, "6 3", format!("arena {arena}"), -4.0),
                (self.bound, BOUND, "2 3", format!("lower bound {bound}"), 11.0),
            ],
        };
        limits.into_iter().fold(borders, |group, (byte, color, dashes, name, below)| {
            let y = self.y(byte);
            let name = text(RIGHT - 4.0, y + below, &name).set("text-anchor", Anchor::End.name());
            let name = name.set("stroke", PAPER).set("stroke-width", 3).set("paint-order", "stroke");
            let name = if color == INK { name } else { name.set("fill", color) };
            group.add(line([LEFT, y], [RIGHT, y], color).set("stroke-dasharray", dashes)).add(name)
        })
    }

    /// Bytes that live at every step, with the top kilobyte of them, and the numbers of steps.
    fn live(&self) -> Group {
        let least = self.liveness.least_bytes();
        let about = format!(
            "the top kilobyte: no arena is {} below the lower bound unless less lives here",
            bytes(SAVED_BYTES)
        );
        // Where no more than a kilobyte lives, there is none to save.
        let top = self.bound.checked_sub(SAVED_BYTES).filter(|&top| top > 0).unwrap_or(self.bound);
        let end = |y: f64, name: &str| text(LEFT - 6.0, y, name).set("text-anchor", Anchor::End.name());
        let group = Group::new()
            .add(self.live_area(&least, 0).set("fill", LIVE).add(tooltip("bytes that live")))
            .add(self.live_area(&least, top).set("fill", PEAK).add(tooltip(&about)))
            .add(line([LEFT, LIVE_TOP], [RIGHT, LIVE_TOP], INK).set("stroke-dasharray", "6 3"))
            .add(
                line([LEFT, self.live_y(self.bound)], [RIGHT, self.live_y(self.bound)], BOUND)
                    .set("stroke-dasharray", "2 3"),
            )
            .add(line([LEFT, LIVE_BOTTOM], [RIGHT, LIVE_BOTTOM], INK))
            .add(end(LIVE_TOP + 4.0, &bytes(self.arena)))
            .add(end(LIVE_BOTTOM + 4.0, "0"))
            .add(axis_title((LIVE_TOP + LIVE_BOTTOM) / 2.0, "bytes live"))
            .add(
                text((LEFT + RIGHT) / 2.0, LIVE_BOTTOM + 34.0, "steps: in each, a layer makes a row")
                    .set("text-anchor", Anchor::Middle.name()),
            );
        self.step_numbers(group)
    }

    /// Where bytes lie in the plot of those that live.
    fn live_y(&self, live: usize) -> f64 {
        LIVE_BOTTOM - (LIVE_BOTTOM - LIVE_TOP) * live as f64 / self.arena.max(1) as f64
    }

    /// The area between `from` bytes and those that live, where these are more.
    fn live_area(&self, live: &[usize], from: usize) -> Path {
        let floor = self.live_y(from);
        let mut path = format!("M{LEFT} {floor:.1}");
        let mut start = 0;
        for run in live.chunk_by(|a, b| a == b || (*a <= from && *b <= from)) {
            let end = start + run.len();
            path += &format!("V{:.1}H{:.1}", self.live_y(run[0].max(from)), self.axis.x(end));
            start = end;
        }
        path += &format!("V{floor:.1}z");
        Path::new().set("d", path)
    }

    fn step_numbers(&self, mut group: Group) -> Group {
        let mut free = LEFT;
        for part in &self.liveness.program.parts {
            let x = self.axis.x(part.steps.start);
            if x >= free && x < RIGHT - 20.0 {
                group = group.add(text(x, LIVE_BOTTOM + 18.0, &part.steps.start.to_string()));
                free = x + 40.0;
            }
        }
        group
    }

    fn peak_mark(&self) -> Group {
        let Some(peak) = &self.peak else { return Group::new() };
        let [left, right] = [self.axis.x(peak.step), self.axis.x(peak.step + 1)];
        let x = (left + right) / 2.0;
        let name = format!("peak {} at step {}", bytes(peak.bytes), peak.step);
        let (at, anchor) = if x < WIDTH / 2.0 { (x + 5.0, Anchor::Start) } else { (x - 5.0, Anchor::End) };
        let label = text(at, MAP_TOP + 16.0, &name).set("text-anchor", anchor.name());
        let group = Group::new().set("fill", PEAK).add(label.set("font-weight", "bold"));
        [[MAP_TOP, MAP_BOTTOM], [LIVE_TOP, LIVE_BOTTOM]].into_iter().fold(group, |group, [top, bottom]| {
            let step = rectangle(left, top, (right - left).max(1.0), bottom - top, PEAK);
            group
                .add(step.set("fill-opacity", 0.35).set("pointer-events", "none"))
                .add(line([x, top], [x, bottom], PEAK).set("pointer-events", "none"))
        })
    }

    /// What lives at the peak.
    fn table(&self) -> Group {
        let Some(peak) = &self.peak else { return Group::new() };
        let title = format!(
            "At the peak: {} live at step {}, layer {}, {}",
            bytes(peak.bytes),
            peak.step,
            peak.layer,
            peak.op
        );
        let from = fitted(&peak.origin, RIGHT - LEFT - 560.0, 5.8);
        let mut group = Group::new()
            .add(text(LEFT, TABLE_TOP - 12.0, &title).set("font-size", 13).set("fill", PEAK))
            .add(text(RIGHT, TABLE_TOP - 12.0, &from).set("text-anchor", Anchor::End.name()));
        for (i, (life, live)) in self.liveness.live_at(peak.step).into_iter().take(TABLE_ROWS).enumerate() {
            let y = TABLE_TOP + TABLE_ROW * i as f64;
            let rows = peak
                .buffers
                .get(i)
                .map_or(String::new(), |buffer| format!("{} of {} rows", buffer.rows_live, buffer.of_rows));
            let width = 560.0 * live as f64 / peak.bytes.max(1) as f64;
            group = group
                .add(text(LEFT, y + 11.0, &fitted(buffer_name(self.function, life), 290.0, 5.8)))
                .add(text(LEFT + 390.0, y + 11.0, &bytes(live)).set("text-anchor", Anchor::End.name()))
                .add(text(LEFT + 500.0, y + 11.0, &rows).set("text-anchor", Anchor::End.name()))
                .add(rectangle(LEFT + 516.0, y, width.clamp(1.0, 590.0), 13.0, self.color(life)));
        }
        match peak.buffers.len().checked_sub(TABLE_ROWS) {
            Some(more) if more > 0 => {
                let y = TABLE_TOP + TABLE_ROW * TABLE_ROWS as f64 + 11.0;
                group.add(text(LEFT, y, &format!("and {more} smaller ones")))
            }
            _ => group,
        }
    }
}

/// The region of a place, and where its arena begins.
fn region_of<'r>(regions: &'r [(Arc<str>, usize)], place: &Place) -> Option<&'r (Arc<str>, usize)> {
    regions.iter().find(|(region, _)| *region == place.region)
}

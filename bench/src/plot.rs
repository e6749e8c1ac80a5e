//! The figures of a scenario as an SVG: a bar for the median of each subject, and a line from minimum to maximum. The
//! file is [`shortened`], since people review its changes, too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::SegmentValue;
use plotters::prelude::*;

use super::machine::Machine;
use super::record::{Column, Figure, Figures, Samples};
use super::table::number;

const WIDTH: u32 = 900;
const HEAD: u32 = 70;
const FOOT: u32 = 24;
/// Height of a panel without its bars.
const FRAME: u32 = 90;
const BAR: u32 = 26;
const LABELS: u32 = 330;
const FONT: &str = "sans-serif";

/// A bar.
struct Row<'a> {
    label: String,
    column: Column,
    samples: &'a Samples,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the selected figures, each metric in its own panel.
pub(crate) fn draw(
    figures: &Figures,
    machine: &Machine,
    file: &Path,
    wanted: impl Fn(&Figure) -> bool,
) -> Result<()> {
    let mut panels: BTreeMap<String, Vec<Row<'_>>> = BTreeMap::new();
    for figure in figures.all.iter().filter(|figure| wanted(figure)) {
        let rows = panels.entry(figure.metric.title()).or_default();
        rows.extend(figure.columns.iter().map(|(column, samples)| Row {
            label: label(&figure.case, column.name()),
            column: *column,
            samples,
        }));
    }
    let mut height = HEAD + FOOT;
    for rows in panels.values() {
        height += panel_height(rows)?;
    }
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    paint(&root, figures, machine, &panels)?;
    drop(root);
    fs::write(file, shortened(&svg)).with_context(|| file.display().to_string())
}

/// The same drawing with a line for each element, and without default attributes.
fn shortened(svg: &str) -> String {
    let mut short = String::with_capacity(svg.len());
    for line in svg.lines() {
        let is_content = !line.starts_with('<');
        if is_content || line.starts_with("</") {
            short.push_str(line);
        } else {
            shorten(line, &mut short);
        }
        let opens_text = line.starts_with("<text") && !line.ends_with("</text>");
        if !opens_text && !is_content {
            short.push('\n');
        }
    }
    short
}

/// Appends an element, or its opening tag, without attributes that have their default.
fn shorten(element: &str, short: &mut String) {
    const DEFAULTS: [(&str, &str); 4] =
        [("opacity", "1"), ("stroke", "none"), ("stroke-width", "1"), ("text-anchor", "start")];
    let (name, mut rest) = element.split_once(' ').unwrap_or((element, ""));
    let is_drawing = name == "<svg";
    short.push_str(name);
    if is_drawing {
        // Inherited by all texts.
        let _ = write!(short, " font-family=\"{FONT}\"");
    }
    while let Some((attribute, value, behind)) = attribute(rest) {
        rest = behind;
        let is_default = DEFAULTS.contains(&(attribute, value))
            || attribute == "font-family"
            || name == "<text" && (attribute, value) == ("fill", "#000000");
        if !is_default {
            let value = match (attribute, value.parse::<f64>()) {
                ("font-size", Ok(size)) => format!("{size:.1}"),
                _ => value.trim_end().to_owned(),
            };
            let _ = write!(short, " {attribute}=\"{value}\"");
        }
    }
    short.push_str(rest);
}

/// The first attribute of a tag, its value, and the rest of the tag.
fn attribute(tag: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = tag.split_once("=\"").filter(|(name, _)| !name.contains('>'))?;
    let (value, rest) = rest.split_once('"')?;
    Some((name.trim_start(), value, rest))
}

fn label(case: &str, column: &str) -> String {
    if case.is_empty() { column.to_owned() } else { format!("{case}: {column}") }
}

fn panel_height(rows: &[Row<'_>]) -> Result<u32> {
    Ok(FRAME + BAR * u32::try_from(rows.len())?)
}

fn paint(
    root: &Area<'_>,
    figures: &Figures,
    machine: &Machine,
    panels: &BTreeMap<String, Vec<Row<'_>>>,
) -> Result<()> {
    root.fill(&WHITE).map_err(said)?;
    let (head, mut rest) = root.split_vertically(HEAD);
    text(&head, figures.name, (10, 12), 20)?;
    text(&head, figures.about, (10, 38), 13)?;
    for (title, rows) in panels {
        let (area, below) = rest.split_vertically(panel_height(rows)?);
        panel(&area, title, rows)?;
        rest = below;
    }
    text(&rest, &machine.to_string(), (10, 4), 10)?;
    root.present().map_err(said)
}

fn text(area: &Area<'_>, words: &str, at: (i32, i32), size: i32) -> Result<()> {
    area.draw(&Text::new(words.to_owned(), at, (FONT, size))).map_err(said)
}

fn panel(area: &Area<'_>, title: &str, rows: &[Row<'_>]) -> Result<()> {
    let most = rows.iter().map(|row| row.samples.maximum()).fold(0.0, f64::max);
    let least = rows.iter().map(|row| row.samples.minimum()).fold(0.0, f64::min);
    let width = if most > least { (most - least) * 1.2 } else { 1.0 };
    let last = rows.len().saturating_sub(1);
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 15))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(LABELS)
        .build_cartesian_2d(least..least + width, (0..last).into_segmented())
        .map_err(said)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&|value| number(*value))
        .y_labels(rows.len())
        .y_label_formatter(&|place| match place {
            // The topmost bar is the first.
            SegmentValue::CenterOf(place) => last
                .checked_sub(*place)
                .and_then(|place| rows.get(place))
                .map_or_else(String::new, |row| row.label.clone()),
            SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
        })
        .draw()
        .map_err(said)?;
    for (row, place) in rows.iter().zip((0..=last).rev()) {
        let (from, to) = (SegmentValue::Exact(place), SegmentValue::Exact(place + 1));
        let mut bar = Rectangle::new([(0.0, from), (row.samples.median(), to)], colour(row.column).filled());
        bar.set_margin(4, 4, 0, 0);
        chart.draw_series([bar]).map_err(said)?;
        let middle = SegmentValue::CenterOf(place);
        let ends = vec![(row.samples.minimum(), middle.clone()), (row.samples.maximum(), middle.clone())];
        chart.draw_series([PathElement::new(ends, BLACK)]).map_err(said)?;
        let figure = Text::new(
            number(row.samples.median()),
            (row.samples.maximum() + width * 0.01, middle),
            (FONT, 12),
        );
        chart.draw_series([figure]).map_err(said)?;
    }
    Ok(())
}

/// One colour for vrrpd in the kernel, one for vrrpd in user space, and one for the others.
const fn colour(column: Column) -> RGBColor {
    match column {
        Column::Native | Column::Generic | Column::Tcx => RGBColor(0x1f, 0x77, 0xb4),
        Column::Raw => RGBColor(0x7f, 0xb8, 0xe0),
        Column::PassAlone | Column::Keepalived | Column::NoProgram => RGBColor(0xb0, 0xb0, 0xb0),
    }
}

/// The library's errors borrow, so they are converted to text.
fn said(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_is_shortened_without_being_changed() {
        let svg = "<svg width=\"9\" xmlns=\"http://www.w3.org/2000/svg\">\n\
                   <rect x=\"0\" opacity=\"1\" fill=\"#FFFFFF\" stroke=\"none\"/>\n\
                   <text x=\"1\" text-anchor=\"start\" font-family=\"sans-serif\" font-size=\"12.096774\" fill=\"#000000\">\n\
                   p50 = &quot;3&quot;\n</text>\n\
                   <polyline fill=\"none\" opacity=\"0.2\" stroke-width=\"1\" points=\"1,2 3,4 \"/>\n</svg>\n";
        let short = "<svg font-family=\"sans-serif\" width=\"9\" xmlns=\"http://www.w3.org/2000/svg\">\n\
                     <rect x=\"0\" fill=\"#FFFFFF\"/>\n\
                     <text x=\"1\" font-size=\"12.1\">p50 = &quot;3&quot;</text>\n\
                     <polyline fill=\"none\" opacity=\"0.2\" points=\"1,2 3,4\"/>\n</svg>\n";
        assert_eq!(shortened(svg), short);
        assert_eq!(shortened(short), short);
    }

    #[test]
    fn the_committed_drawings_are_short() {
        let plots = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/plots");
        let mut seen = 0;
        for entry in fs::read_dir(plots).expect("the drawings are there") {
            let file = entry.expect("an entry").path();
            let svg = fs::read_to_string(&file).expect("text");
            assert!(
                shortened(&svg) == svg,
                "{}: `cargo xtask bench --plots` draws it shorter",
                file.display()
            );
            seen += 1;
        }
        assert!(seen > 0);
    }
}

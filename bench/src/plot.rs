//! The figures of a scenario as a drawing: a bar for the median of each subject, and a line from minimum to maximum.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::SegmentValue;
use plotters::prelude::*;

use super::machine::Machine;
use super::record::{Column, Figures, Samples};
use super::table::number;

const WIDTH: u32 = 900;
const HEAD: u32 = 70;
const FOOT: u32 = 24;
/// Of a panel, beside its bars.
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

/// Draws each metric in a panel of its own.
pub(crate) fn draw(figures: &Figures, machine: &Machine, file: &Path) -> Result<()> {
    let mut panels: BTreeMap<String, Vec<Row<'_>>> = BTreeMap::new();
    for figure in &figures.all {
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
    let root = SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    paint(&root, figures, machine, &panels).map_err(|error| anyhow!("{}: {error}", file.display()))
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

/// One colour for ours in the kernel, one for ours in user space, and one for all others.
const fn colour(column: Column) -> RGBColor {
    match column {
        Column::Native => RGBColor(0x1f, 0x77, 0xb4),
        Column::Raw => RGBColor(0x7f, 0xb8, 0xe0),
        Column::PassAlone | Column::Keepalived | Column::NoProgram => RGBColor(0xb0, 0xb0, 0xb0),
    }
}

/// The library's errors borrow what they are about.
fn said(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}

//! The figures of a scenario as a Markdown table for docs/performance.md.

use std::fmt::Write as _;

use super::record::{Column, Figure, Figures, Goal, Samples};

/// Mark of a figure that meets its goal.
const MET: &str = " ✓";
const MISSED: &str = " ✗";

/// The table, after a line that introduces it.
pub(crate) fn of(figures: Option<&Figures>) -> String {
    let Some(figures) = figures else { return String::new() };
    let mut columns: Vec<Column> =
        figures.all.iter().flat_map(|figure| &figure.columns).map(|(column, _)| *column).collect();
    columns.sort_unstable();
    columns.dedup();
    let names = columns.iter().map(|column| column.name());
    let head = ["case", "figure"].into_iter().chain(names).chain(["ratio", "goal"]);
    let mut rows: Vec<Vec<String>> = vec![head.map(str::to_owned).collect()];
    rows.extend(figures.all.iter().map(|figure| row(figure, &columns)));
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = format!("\n## {}\n\n{}\n\n", figures.name, figures.about);
    for (place, row) in rows.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} |", padded(row, &widths));
        if place == 0 {
            let rules: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
            let _ = writeln!(text, "|-{}-|", rules.join("-|-"));
        }
    }
    text
}

fn padded(row: &[String], widths: &[usize]) -> String {
    let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    cells.join(" | ")
}

/// A figure, with a cell for each column and the ratios to the reference, in order of columns.
fn row(figure: &Figure, columns: &[Column]) -> Vec<String> {
    let mut row = vec![figure.case.clone(), figure.metric.title()];
    row.extend(columns.iter().map(|column| {
        let Some(samples) = figure.of(*column) else { return String::new() };
        let mark = figure.met(*column).map_or("", |met| if met { MET } else { MISSED });
        cell(samples, figure.metric.goal) + mark
    }));
    let ratios = columns.iter().filter_map(|column| figure.ratio(*column));
    row.push(ratios.map(number).collect::<Vec<_>>().join(", "));
    row.push(figure.metric.goal.to_string());
    row
}

/// Median (minimum to maximum), and the 99th percentile if a goal needs it.
fn cell(samples: &Samples, goal: Goal) -> String {
    let median = number(samples.median());
    let (minimum, maximum) = (number(samples.minimum()), number(samples.maximum()));
    match goal {
        _ if minimum == maximum => median,
        Goal::Late { .. } => {
            format!("{median} ({minimum} to {maximum}, p99 {})", number(samples.p99()))
        }
        Goal::None
        | Goal::AtMost(_)
        | Goal::Never(_)
        | Goal::NotEarly
        | Goal::PartOf(_)
        | Goal::AtLeast(_) => {
            format!("{median} ({minimum} to {maximum})")
        }
    }
}

/// A number with two or three significant digits.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

//! The figures of a scenario as a table, in Markdown.

use std::fmt::Write as _;

use super::record::{Figure, Figures};

/// The table, with a line that says what it is about.
pub(crate) fn of(figures: Option<&Figures>) -> String {
    let Some(figures) = figures else { return String::new() };
    let mut text = format!("\n### {}\n{}\n\n", figures.name, figures.about);
    let mut rows = vec![
        ["case", "figure", "", "median", "min", "max", "p99", "ratio", "goal", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(figures.figures.iter().flat_map(rows_of));
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
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

/// A row for each subject; what is the same stands in the first.
fn rows_of(figure: &Figure) -> Vec<Vec<String>> {
    let goal = figure.metric.goal.to_string();
    let met = match figure.met() {
        None => "",
        Some(true) => "met",
        Some(false) => "missed",
    };
    let rows = figure.subjects.iter().enumerate().map(|(place, (subject, samples))| {
        let first = |text: &str| if place == 0 { text.to_owned() } else { String::new() };
        let ratio = figure.ratio(subject).map(|ratio| format!("{ratio:.4}")).unwrap_or_default();
        vec![
            first(&figure.case),
            first(&format!("{} ({})", figure.metric.name, figure.metric.unit)),
            (*subject).to_owned(),
            number(samples.median()),
            number(samples.minimum()),
            number(samples.maximum()),
            number(samples.p99()),
            ratio,
            first(&goal),
            first(met),
        ]
    });
    rows.collect()
}

/// Three digits that count.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

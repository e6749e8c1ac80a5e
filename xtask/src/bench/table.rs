//! The figures of a scenario as a table in Markdown, which docs/performance.md takes as it is.

use std::fmt::Write as _;

use super::record::{Figure, Figures, Goal, Samples};

/// The table, with a line that says what it is about.
pub(crate) fn of(figures: Option<&Figures>) -> String {
    let Some(figures) = figures else { return String::new() };
    let mut subjects = Vec::new();
    for (subject, _) in figures.all.iter().flat_map(|figure| &figure.subjects) {
        if !subjects.contains(subject) {
            subjects.push(*subject);
        }
    }
    let head = ["case", "figure"].into_iter().chain(subjects.iter().copied()).chain(["ratio", "goal", ""]);
    let mut rows: Vec<Vec<String>> = vec![head.map(str::to_owned).collect()];
    rows.extend(figures.all.iter().map(|figure| row(figure, &subjects)));
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

/// A figure, with a cell for each subject; the ratio is that of the subject that the goal is about.
fn row(figure: &Figure, subjects: &[&str]) -> Vec<String> {
    let unit = figure.metric.unit;
    let name = figure.metric.name;
    let mut row =
        vec![figure.case.clone(), if unit.is_empty() { name.to_owned() } else { format!("{name} ({unit})") }];
    row.extend(subjects.iter().map(|subject| {
        let known = figure.subjects.iter().find(|(name, _)| name == subject);
        known.map_or_else(String::new, |(_, samples)| cell(samples, figure.metric.goal))
    }));
    let ratio = figure.subjects.first().and_then(|(name, _)| figure.ratio(name));
    row.push(ratio.map(number).unwrap_or_default());
    row.push(figure.metric.goal.to_string());
    row.push(match figure.met() {
        None => String::new(),
        Some(met) => if met { "met" } else { "missed" }.to_owned(),
    });
    row
}

/// Median (minimum to maximum), and how late one of a hundred is where a goal asks for it.
fn cell(samples: &Samples, goal: Goal) -> String {
    let median = number(samples.median());
    let (minimum, maximum) = (number(samples.minimum()), number(samples.maximum()));
    match goal {
        _ if minimum == maximum => median,
        Goal::Tail { .. } => {
            format!("{median} ({minimum} to {maximum}, p99 {})", number(samples.p99()))
        }
        Goal::None | Goal::AtMost(_) | Goal::Never(_) | Goal::PartOf(_) | Goal::Within(_) => {
            format!("{median} ({minimum} to {maximum})")
        }
    }
}

/// Two or three digits that count.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

//! The figures, and whether each meets its goal.

use std::fmt;
use std::time::Instant;

use serde_json::{Value, json};

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Column {
    /// vrrpd with native XDP.
    Native,
    /// vrrpd with generic XDP.
    Generic,
    /// vrrpd with tcx.
    Tcx,
    /// vrrpd with raw sockets.
    Raw,
    /// A program of two instructions instead of ours.
    PassAlone,
    Keepalived,
    NoProgram,
}

/// A measured quantity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) goal: Goal,
    /// The columns with a goal.
    judged: &'static [Column],
}

/// The goal of a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// No goal.
    None,
    /// The median is at most this.
    AtMost(f64),
    /// No sample is more than this.
    Never(f64),
    /// Milliseconds after a deadline: none is negative.
    NotEarly,
    /// Milliseconds after a deadline: maximum of the median and of the 99th percentile; none is negative.
    Late { median: f64, p99: f64 },
    /// Maximum of the median relative to the reference.
    PartOf(f64),
    /// The median is at least this.
    AtLeast(f64),
}

/// By up to this many milliseconds a capture on a third machine can show something too early: both the frame that a
/// deadline counts from and the measured frame are stamped there, each after its own path.
const SEEN_EARLY: f64 = 0.25;

/// All figures.
#[derive(Debug, Default)]
pub(crate) struct Record(Vec<Figures>);

/// The figures of a scenario.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) all: Vec<Figure>,
}

/// A metric in one case, with samples for each column.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) case: String,
    pub(crate) metric: Metric,
    pub(crate) columns: Vec<(Column, Samples)>,
}

/// Sorted samples.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Column {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Native => "vrrpd --xdp",
            Self::Generic => "vrrpd --xdp=generic",
            Self::Tcx => "vrrpd",
            Self::Raw => "vrrpd --datapath=raw",
            Self::PassAlone => "XDP_PASS alone",
            Self::Keepalived => "keepalived",
            Self::NoProgram => "no program",
        }
    }

    /// Whether the others are compared with it.
    const fn is_reference(self) -> bool {
        matches!(self, Self::Keepalived | Self::NoProgram)
    }
}

impl Metric {
    /// A metric without a goal.
    pub(crate) const fn told(name: &'static str, unit: &'static str) -> Self {
        Self { name, unit, goal: Goal::None, judged: &[] }
    }

    /// A metric with a goal for vrrpd with every data path.
    pub(crate) const fn judged(name: &'static str, unit: &'static str, goal: Goal) -> Self {
        Self { name, unit, goal, judged: &[Column::Native, Column::Generic, Column::Tcx, Column::Raw] }
    }

    /// A metric with a goal for vrrpd with adverts handled in the kernel, which raw sockets cannot meet.
    pub(crate) const fn judged_in_kernel(name: &'static str, unit: &'static str, goal: Goal) -> Self {
        Self { name, unit, goal, judged: &[Column::Native, Column::Tcx] }
    }

    /// Text for people.
    pub(crate) fn title(&self) -> String {
        if self.unit.is_empty() { self.name.to_owned() } else { format!("{} ({})", self.name, self.unit) }
    }
}

impl Record {
    /// Starts a scenario; further samples belong to it.
    pub(crate) fn begin(&mut self, name: &'static str, about: &'static str) {
        self.0.push(Figures { name, about, all: Vec::new() });
    }

    /// Adds a sample.
    pub(crate) fn add(&mut self, case: &str, metric: Metric, column: Column, sample: f64) {
        let Some(Figures { all: figures, .. }) = self.0.last_mut() else { return };
        let known =
            figures.iter().position(|figure| figure.case == case && figure.metric.name == metric.name);
        let place = known.unwrap_or_else(|| {
            figures.push(Figure { case: case.to_owned(), metric, columns: Vec::new() });
            figures.len() - 1
        });
        let columns = &mut figures[place].columns;
        let place = columns.binary_search_by_key(&column, |(known, _)| *known).unwrap_or_else(|place| {
            columns.insert(place, (column, Samples::default()));
            place
        });
        columns[place].1.add(sample);
    }

    /// The last scenario started.
    pub(crate) fn last(&self) -> Option<&Figures> {
        self.0.last()
    }

    pub(crate) fn scenarios(&self) -> &[Figures] {
        &self.0
    }

    /// Each figure that misses its goal, in words.
    pub(crate) fn missed(&self) -> Vec<String> {
        let of_scenario = |figures: &Figures| -> Vec<String> {
            let in_words = |figure: &Figure, column: Column| {
                let place = if figure.case.is_empty() { String::new() } else { format!(" {},", figure.case) };
                format!("{}:{place} {} of {}", figures.name, figure.metric.title(), column.name())
            };
            let missed = |figure: &Figure| -> Vec<String> {
                let columns = figure.columns.iter().map(|(column, _)| *column);
                let columns = columns.filter(|column| figure.met(*column) == Some(false));
                columns.map(|column| in_words(figure, column)).collect()
            };
            figures.all.iter().flat_map(missed).collect()
        };
        self.0.iter().flat_map(of_scenario).collect()
    }

    pub(crate) fn to_json(&self) -> Value {
        let figure = |figure: &Figure| {
            let subjects: Vec<_> = figure
                .columns
                .iter()
                .map(|(column, samples)| {
                    json!({
                        "subject": column.name(), "median": samples.median(), "minimum": samples.minimum(),
                        "maximum": samples.maximum(), "p99": samples.p99(), "samples": samples.0,
                        "ratio": figure.ratio(*column), "met": figure.met(*column),
                    })
                })
                .collect();
            json!({
                "case": figure.case, "metric": figure.metric.name, "unit": figure.metric.unit,
                "goal": figure.metric.goal.to_string(), "subjects": subjects,
            })
        };
        let scenario = |scenario: &Figures| {
            let figures: Vec<_> = scenario.all.iter().map(figure).collect();
            json!({ "name": scenario.name, "about": scenario.about, "figures": figures })
        };
        self.0.iter().map(scenario).collect()
    }
}

impl Figure {
    pub(crate) fn of(&self, column: Column) -> Option<&Samples> {
        self.columns.iter().find(|(known, _)| *known == column).map(|(_, samples)| samples)
    }

    /// The median of a column relative to the reference; `None` for the reference itself, and if there is none or it is
    /// 0.
    pub(crate) fn ratio(&self, column: Column) -> Option<f64> {
        let (_, reference) = self.columns.iter().find(|(column, _)| column.is_reference())?;
        if column.is_reference() || reference.median() == 0.0 {
            return None;
        }
        Some(self.of(column)?.median() / reference.median())
    }

    /// Whether a column meets the goal; `None` without one.
    pub(crate) fn met(&self, column: Column) -> Option<bool> {
        let samples = self.of(column).filter(|_| self.metric.judged.contains(&column))?;
        // NaN, if something could not be computed, compares as false.
        match self.metric.goal {
            Goal::None => None,
            Goal::AtMost(most) => Some(samples.median() <= most),
            Goal::Never(more) => Some(samples.maximum() <= more),
            Goal::NotEarly => Some(samples.minimum() >= -SEEN_EARLY),
            Goal::Late { median, p99 } => {
                Some(samples.minimum() >= -SEEN_EARLY && samples.median() <= median && samples.p99() <= p99)
            }
            Goal::PartOf(part) => self.ratio(column).map(|ratio| ratio <= part),
            Goal::AtLeast(least) => Some(samples.median() >= least),
        }
    }
}

impl Samples {
    fn add(&mut self, sample: f64) {
        let place = self.0.partition_point(|known| *known <= sample);
        self.0.insert(place, sample);
    }

    pub(crate) fn median(&self) -> f64 {
        self.at(50)
    }

    pub(crate) fn minimum(&self) -> f64 {
        self.0.first().copied().unwrap_or_default()
    }

    pub(crate) fn maximum(&self) -> f64 {
        self.0.last().copied().unwrap_or_default()
    }

    /// The 99th percentile; with fewer than a hundred samples the maximum.
    pub(crate) fn p99(&self) -> f64 {
        self.at(99)
    }

    /// A percentile.
    fn at(&self, share: usize) -> f64 {
        let place = (self.0.len() * share).div_ceil(100).saturating_sub(1);
        self.0.get(place).copied().unwrap_or_default()
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::Never(more) => write!(f, "never above {more}"),
            Self::NotEarly => write!(f, "not early"),
            Self::Late { median, p99 } => write!(f, "≤ {median}, p99 ≤ {p99}, none early"),
            Self::PartOf(part) => write!(f, "ratio ≤ {part}"),
            Self::AtLeast(least) => write!(f, "≥ {least}"),
        }
    }
}

/// A count as a sample.
#[expect(clippy::cast_precision_loss, reason = "what is counted here is far below 2^52")]
pub(crate) fn count(number: u64) -> f64 {
    number as f64
}

/// Milliseconds between two times; negative if `at` is earlier, so that early events are visible.
pub(crate) fn millis_from(due: Instant, at: Instant) -> f64 {
    let late = at.saturating_duration_since(due).as_secs_f64();
    let early = due.saturating_duration_since(at).as_secs_f64();
    (late - early) * 1e3
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn figure(metric: Metric, samples: &[(Column, f64)]) -> Figure {
        let mut record = Record::default();
        record.begin("scenario", "about");
        for (column, sample) in samples {
            record.add("", metric, *column, *sample);
        }
        record.0.pop().and_then(|mut figures| figures.all.pop()).expect("one was added")
    }

    #[test]
    fn each_vrrpd_column_is_judged_in_any_order() {
        let metric = Metric::judged("CPU", "ms", Goal::PartOf(0.5));
        let figure = figure(metric, &[(Column::Raw, 9.0), (Column::Keepalived, 10.0), (Column::Native, 1.0)]);
        assert_eq!(figure.met(Column::Native), Some(true));
        assert_eq!(figure.met(Column::Raw), Some(false));
        assert_eq!(figure.met(Column::Keepalived), None);
    }

    #[test]
    fn a_goal_for_the_kernel_does_not_judge_raw_sockets() {
        let metric = Metric::judged_in_kernel("wake-ups", "a second", Goal::AtMost(2.0));
        let figure = figure(metric, &[(Column::Raw, 100.0), (Column::Native, 0.0)]);
        assert_eq!((figure.met(Column::Native), figure.met(Column::Raw)), (Some(true), None));
    }

    #[test]
    fn ours_are_not_compared_with_each_other() {
        let figure = figure(Metric::told("start", "s"), &[(Column::Raw, 1.0), (Column::Native, 4.0)]);
        assert_eq!((figure.ratio(Column::Native), figure.ratio(Column::Raw)), (None, None));
    }

    #[test]
    fn an_early_event_is_not_a_good_figure() {
        let metric = Metric::judged("late", "ms", Goal::Late { median: 1.0, p99: 3.0 });
        let met = |sample| figure(metric, &[(Column::Raw, 0.4), (Column::Raw, sample)]).met(Column::Raw);
        assert_eq!(
            (met(0.5), met(-0.1), met(-5.0), met(5.0)),
            (Some(true), Some(true), Some(false), Some(false))
        );
        let due = Instant::now();
        let early = due.checked_sub(Duration::from_millis(5)).expect("the machine has run so long");
        assert!((millis_from(due, early) + 5.0).abs() < 1e-6);
    }
}

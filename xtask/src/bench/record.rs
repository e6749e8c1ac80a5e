//! The figures, as they come.

use serde_json::{Value, json};

/// Something that is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) goal: Goal,
}

/// What a figure of ours is to be. It is judged by the first subject that was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// Told, not judged.
    None,
    /// The median is no more than this.
    AtMost(f64),
    /// No sample is more than this.
    Never(f64),
    /// The median, and 99 of 100 samples.
    Tail { median: f64, p99: f64 },
    /// The median, as a part of the other subject's.
    PartOf(f64),
    /// The median is within this part of the other subject's, above or below.
    Within(f64),
}

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

/// A metric in one case, for each subject.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) case: String,
    pub(crate) metric: Metric,
    pub(crate) subjects: Vec<(&'static str, Samples)>,
}

/// What was measured of one subject, in order of size.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Record {
    /// What is added from now on belongs to this scenario.
    pub(crate) fn begin(&mut self, name: &'static str, about: &'static str) {
        self.0.push(Figures { name, about, all: Vec::new() });
    }

    /// Adds a sample.
    pub(crate) fn add(&mut self, case: &str, metric: Metric, subject: &'static str, sample: f64) {
        let Some(Figures { all: figures, .. }) = self.0.last_mut() else { return };
        let known =
            figures.iter().position(|figure| figure.case == case && figure.metric.name == metric.name);
        let place = known.unwrap_or_else(|| {
            figures.push(Figure { case: case.to_owned(), metric, subjects: Vec::new() });
            figures.len() - 1
        });
        let subjects = &mut figures[place].subjects;
        let known = subjects.iter().position(|(name, _)| *name == subject);
        let place = known.unwrap_or_else(|| {
            subjects.push((subject, Samples::default()));
            subjects.len() - 1
        });
        subjects[place].1.add(sample);
    }

    /// The scenario begun last.
    pub(crate) fn last(&self) -> Option<&Figures> {
        self.0.last()
    }

    pub(crate) fn scenarios(&self) -> &[Figures] {
        &self.0
    }

    pub(crate) fn to_json(&self) -> Value {
        let figure = |figure: &Figure| {
            let subjects: Vec<_> = figure
                .subjects
                .iter()
                .map(|(name, samples)| {
                    json!({
                        "subject": name, "median": samples.median(), "minimum": samples.minimum(),
                        "maximum": samples.maximum(), "p99": samples.p99(), "samples": samples.0,
                        "ratio": figure.ratio(name),
                    })
                })
                .collect();
            json!({
                "case": figure.case, "metric": figure.metric.name, "unit": figure.metric.unit,
                "goal": figure.metric.goal.to_string(), "met": figure.met(), "subjects": subjects,
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
    /// What the others are compared with: the subject that was measured last.
    pub(crate) fn reference(&self) -> Option<(&'static str, f64)> {
        let (name, samples) = self.subjects.last().filter(|_| self.subjects.len() > 1)?;
        Some((name, samples.median()))
    }

    /// A subject's median as a part of the reference's; `None` for the reference itself, or where that is 0.
    pub(crate) fn ratio(&self, subject: &str) -> Option<f64> {
        let (reference, of) = self.reference().filter(|(name, of)| *name != subject && *of != 0.0)?;
        debug_assert_ne!(reference, subject);
        let (_, samples) = self.subjects.iter().find(|(name, _)| *name == subject)?;
        Some(samples.median() / of)
    }

    /// Whether the goal is met; `None` where there is none.
    pub(crate) fn met(&self) -> Option<bool> {
        let (name, samples) = self.subjects.first()?;
        match self.metric.goal {
            Goal::None => None,
            Goal::AtMost(most) => Some(samples.median() <= most),
            Goal::Never(more) => Some(samples.maximum() <= more),
            Goal::Tail { median, p99 } => Some(samples.median() <= median && samples.p99() <= p99),
            Goal::PartOf(part) => self.ratio(name).map(|ratio| ratio <= part),
            Goal::Within(part) => self.ratio(name).map(|ratio| (ratio - 1.0).abs() <= part),
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

    /// 99 of 100 are no more than this; of fewer than a hundred the greatest.
    pub(crate) fn p99(&self) -> f64 {
        self.at(99)
    }

    /// The least value that this share of a hundred does not exceed.
    fn at(&self, share: usize) -> f64 {
        let place = (self.0.len() * share).div_ceil(100).saturating_sub(1);
        self.0.get(place).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::Never(more) => write!(f, "never above {more}"),
            Self::Tail { median, p99 } => write!(f, "≤ {median}, p99 ≤ {p99}"),
            Self::PartOf(part) => write!(f, "ratio ≤ {part}"),
            Self::Within(part) => write!(f, "ratio 1 ± {part}"),
        }
    }
}

/// A count as a sample.
#[expect(clippy::cast_precision_loss, reason = "what is counted here is far below 2^52")]
pub(crate) fn count(number: u64) -> f64 {
    number as f64
}

//! Layout of the live view: plain characters and the eight basic colours, from 80 columns.

use std::env;
use std::time::{Duration, SystemTime};

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row as TableRow, Table, TableState, Wrap};
use vrrpd::render;
use vrrpd::report::{RouterReport, TransitionReport};

use super::model::{Model, Row};

/// Minimum number of lines for the selected router, and how many of them show its transitions.
const DETAILS: u16 = 12;
const TRANSITIONS: usize = 3;
/// Columns from which names and addresses get more room.
const WIDE: u16 = 110;

/// Colours, or none (<https://no-color.org>).
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    colour: bool,
}

impl Theme {
    pub(super) fn from_environment() -> Self {
        Self::new(env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    pub(super) const fn new(colour: bool) -> Self {
        Self { colour }
    }

    fn of(self, state: &str) -> Style {
        let (colour, style) = match state {
            "MASTER" => (Color::Green, Style::new().add_modifier(Modifier::BOLD)),
            "BACKUP" => return Style::new(),
            "FAULT" => (Color::Red, Style::new().add_modifier(Modifier::BOLD)),
            _ => (Color::Yellow, Style::new()),
        };
        if self.colour { style.fg(colour) } else { style }
    }
}

/// Draws the view.
pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model, theme: Theme, now: SystemTime) {
    let area = frame.area();
    let count = u16::try_from(model.rows().len()).unwrap_or(u16::MAX);
    // The title, the table head, the name of the selected router and the last line.
    let free = area.height.saturating_sub(4);
    let details = if free > DETAILS + 3 { DETAILS.max(free.saturating_sub(count)) } else { 0 };
    let [title, table, chosen, detail, last] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(u16::from(details > 0)),
        Constraint::Length(details),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_table(frame, model, theme, now, table);
    // After the table, which determines the visible routers.
    frame.render_widget(Line::from(headline(model)).style(Modifier::REVERSED), title);
    if details > 0
        && let Some((name, row)) = model.rows().nth(model.selected())
    {
        frame.render_widget(Line::from(name).style(Modifier::REVERSED), chosen);
        let lines = Paragraph::new(detail_of(row, theme, usize::from(details)));
        frame.render_widget(lines.wrap(Wrap { trim: false }), detail);
    }
    frame.render_widget(last_line(model, theme), last);
}

fn headline(model: &Model) -> String {
    let states: Vec<_> = model.rows().map(|(_, row)| state(row)).collect();
    let count = |wanted: &str| states.iter().filter(|state| **state == wanted).count();
    let mut known = Vec::from(["MASTER", "BACKUP", "FAULT"].map(|state| format!("{} {state}", count(state))));
    if count("silent") > 0 {
        known.push(format!("{} silent", count("silent")));
    }
    let routers = if states.len() == 1 { "router" } else { "routers" };
    let shown = if states.len() > model.page {
        format!(" ({} to {})", model.offset + 1, (model.offset + model.page).min(states.len()))
    } else {
        String::new()
    };
    format!("{} virtual {routers} {}{shown}: {}", states.len(), model.scope(), known.join(", "))
}

fn draw_table(frame: &mut Frame<'_>, model: &mut Model, theme: Theme, now: SystemTime, area: Rect) {
    model.page = usize::from(area.height.saturating_sub(1));
    // After the terminal has grown, no line is empty while there are routers above.
    let last = model.rows().len().saturating_sub(model.page);
    model.offset = model.offset.min(last);
    let (names, addresses) = if area.width < WIDE { (15, 15) } else { (24, 28) };
    let widths = [names, 6, 7, 4, addresses, 6, 4, 7, 7].map(Constraint::Length);
    let head = ["router", "state", "since", "prio", "master", "heard", "grp", "path", "rejects"];
    let rows = model.rows().map(|(name, row)| {
        let report = row.report.as_ref();
        let of = |what: &dyn Fn(&RouterReport) -> String| report.map_or(String::new(), what);
        let (master, heard) = master(row);
        TableRow::new([
            Span::raw(name),
            Span::styled(state(row), theme.of(state(row))),
            Span::raw(of(&|router| since(router, now))),
            Span::raw(of(&|router| router.effective_priority.to_string())),
            Span::raw(master),
            Span::raw(heard),
            Span::raw(of(&group)),
            Span::raw(of(&|router| router.datapath.trim_start_matches("xdp-").to_owned())),
            Span::raw(of(&|router| rejects(router).map(|(_, count)| count).sum::<u64>().to_string())),
        ])
    });
    let table = Table::new(rows, widths)
        .header(TableRow::new(head).style(Modifier::BOLD))
        .row_highlight_style(Modifier::REVERSED)
        .highlight_symbol(">")
        .column_spacing(1);
    let mut position = TableState::new().with_offset(model.offset).with_selected(model.selected());
    frame.render_stateful_widget(table, area, &mut position);
    model.offset = position.offset();
}

/// The state of the router, if known.
fn state(row: &Row) -> &'static str {
    if row.trouble.is_some() {
        return "silent";
    }
    match row.report.as_ref().map(|router| router.state.as_str()) {
        Some("master") => "MASTER",
        Some("backup") => "BACKUP",
        Some("fault") => "FAULT",
        Some(_) => "INIT",
        None => "silent",
    }
}

/// Address of the master and age of its last advert; the kernel has the newest value.
fn master(row: &Row) -> (String, String) {
    let is = |state: &str| row.report.as_ref().is_some_and(|router| router.state == state);
    let reported = row.report.as_ref().filter(|_| row.trouble.is_none());
    let kernel = row
        .kernel
        .as_ref()
        .filter(|kernel| kernel.role == "backup")
        .and_then(|kernel| kernel.master.as_ref());
    if row.trouble.is_none() && is("master") {
        ("this router".to_owned(), "-".to_owned())
    } else if row.trouble.is_none() && !is("backup") {
        ("-".to_owned(), "-".to_owned())
    } else if let Some(heard) = kernel {
        (heard.address.clone(), short(Duration::from_nanos(heard.last_advert_age_ns)))
    } else if let Some(heard) = reported.and_then(|router| router.master.as_ref()) {
        (heard.address.clone(), short(Duration::from_nanos(heard.last_advert_age_ns)))
    } else {
        ("-".to_owned(), "-".to_owned())
    }
}

fn since(router: &RouterReport, now: SystemTime) -> String {
    let since = humantime::parse_rfc3339(&router.since).unwrap_or(now);
    short(Duration::from_secs(now.duration_since(since).unwrap_or_default().as_secs()))
}

fn group(router: &RouterReport) -> String {
    router.group.as_ref().map_or("-".to_owned(), |group| {
        let ready = if group.ready { "" } else { "!" };
        format!("{}/{}{ready}", group.members, group.size)
    })
}

/// Discarded adverts for this router, by reason.
fn rejects(router: &RouterReport) -> impl Iterator<Item = (&str, u64)> {
    let of_others = |reason: &str| reason == "not_ours";
    let rejected =
        router.counters.rejected.iter().filter(move |(reason, count)| !of_others(reason) && **count > 0);
    rejected.map(|(reason, count)| (reason.as_str(), *count))
}

/// The details of the selected router that fit into `height` lines: transitions, newest first, then other values.
fn detail_of(row: &Row, theme: Theme, height: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(trouble) = &row.trouble {
        let last = if row.report.is_some() { "; last known state" } else { "" };
        lines.push(Line::styled(format!("  {trouble}{last}"), theme.of("silent")));
    }
    let Some(router) = &row.report else {
        lines.extend(
            row.kernel
                .as_ref()
                .map(|kernel| Line::from(format!("  kernel     {}", render::in_kernel(kernel)))),
        );
        return lines;
    };
    let router = RouterReport { kernel: row.kernel.clone(), ..router.clone() };
    let mut text = render::details(&router);
    if rejects(&router).next().is_some() {
        let rejects: Vec<_> = rejects(&router).map(|(reason, count)| format!("{reason}={count}")).collect();
        text.insert_str(0, &format!("  rejects    {}\n", rejects.join(" ")));
    }
    let room = height.saturating_sub(lines.len() + text.lines().count()).max(TRANSITIONS);
    lines.extend(router.history.iter().rev().take(room).map(|transition| transition_line(transition, theme)));
    lines.extend(text.lines().map(|line| Line::from(line.to_owned())));
    lines
}

fn transition_line(transition: &TransitionReport, theme: Theme) -> Line<'static> {
    let to = transition.to.to_uppercase();
    let style = theme.of(&to);
    let cause = transition
        .cause
        .as_ref()
        .map_or(String::new(), |cause| format!(", {} ({})", cause.address, cause.priority));
    Line::from(vec![
        Span::raw(format!("  {}  {} -> ", transition.time, transition.from.to_uppercase())),
        Span::styled(to, style),
        Span::raw(format!("  {}{cause}", transition.reason)),
    ])
}

fn last_line(model: &Model, theme: Theme) -> Line<'static> {
    if let Some(question) = model.question() {
        return Line::from(question).style(Modifier::BOLD);
    }
    model.remark().map_or_else(
        || Line::from("q quit   up/down select   b backup   m master"),
        |remark| Line::styled(remark, theme.of("silent")),
    )
}

/// A time span in at most seven characters.
pub(super) fn short(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 if span.is_zero() => "0s".to_owned(),
        0 => format!("{}ms", span.as_millis()),
        1..60 if span.subsec_nanos() > 0 => format!("{:.1}s", span.as_secs_f64()),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

//! The summary as a page to print: one HTML file with its plots inside, which loads nothing and runs nothing.
//!
//! Every text from outside goes through [`escaped`]. The page's own policy (CSP) allows its one style sheet by its hash,
//! and nothing else.

use std::fmt::Write;

use super::plot::{self, Curves};
use super::summary::{NOTE, angles};
use crate::base::clock::{MonoNs, Utc};
use crate::motion::exercise::{Exercise, Repetition, Rest};
use crate::motion::session::{Ended, PersonSummary, Summary};
use crate::output::repetition::KINDS;

/// Rows of a person's table of repetitions: with the plots they fill a page of A4. The JSON has all.
const ROWS_MAX: usize = 15;

/// People with a part of their own.
const PARTS_MAX: usize = 4;

const STYLE: &str = "@page{size:A4;margin:12mm}\
    :root{color-scheme:light}\
    body{font:13px/1.3 system-ui,sans-serif;color:#222;background:#fff;max-width:186mm;margin:8mm auto;padding:0 4mm}\
    h1{font-size:22px;margin:0 0 2px}h2{font-size:16px;margin:10px 0 4px;border-top:1px solid #bbb;padding-top:8px}\
    p{margin:4px 0}.about,.legend,footer{color:#444}\
    .cut{border:1px solid #222;padding:4px 8px}\
    dl{display:flex;flex-wrap:wrap;gap:6px;margin:6px 0}dl div{border:1px solid #bbb;padding:4px 8px;flex:1 1 30mm}\
    dt{font-size:11px;color:#444}dd{margin:0;font-size:17px}dd small{font-size:11px;color:#444;display:block}\
    figure{margin:4px 0;break-inside:avoid}figcaption{font-size:11px}\
    .legend svg{margin:0 3px 0 10px}\
    table{border-collapse:collapse;width:100%;font-size:11px;line-height:1.2}\
    th,td{text-align:right;padding:2px 4px;border-bottom:1px solid #ddd}\
    th{font-weight:600;border-bottom:1px solid #666}tr{break-inside:avoid}\
    th:nth-child(2),td:nth-child(2){text-align:left}\
    footer{margin-top:8px;border-top:1px solid #bbb;padding-top:5px;font-size:11px}\
    @media print{body{margin:0;padding:0;max-width:none}}";

/// SHA-256 of [`STYLE`] in base64, as a policy has it.
const STYLE_HASH: &str = "SwhyniEncrNtduVIbhlAm+5o15QtDxIIZW+XqcZNZAs=";

/// Renders a summary; arguments as [`super::Rendered::of`] takes them.
pub(super) fn page(summary: &Summary, source: &str, started_unix_ns: Option<u64>) -> String {
    let exercise = &summary.plan.exercise;
    let mut html = String::with_capacity(64 * 1024);
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{STYLE_HASH}'\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>{} session</title><style>{STYLE}</style></head><body><h1>{}</h1>",
        escaped(&words(&exercise.name)),
        escaped(&words(&exercise.name))
    );
    about(&mut html, summary, source, started_unix_ns);
    let (did, only_seen): (Vec<_>, Vec<_>) = summary
        .people
        .iter()
        .partition(|one| one.whole + one.partials > 0);
    // Where no person did a repetition, the angles of the one who was seen longest tell why.
    let shown: Vec<&PersonSummary> = if did.is_empty() {
        only_seen.iter().take(1).copied().collect()
    } else {
        did.iter().take(PARTS_MAX).copied().collect()
    };
    if shown.is_empty() {
        html.push_str("<p>No person was in view.</p>");
    }
    for one in &shown {
        person(&mut html, one, summary);
    }
    not_shown(&mut html, summary, summary.people.len() - shown.len());
    let _ = write!(
        html,
        "<footer>{NOTE} Values after ± are standard deviations. Made by poised {}.</footer></body></html>",
        env!("CARGO_PKG_VERSION")
    );
    html
}

/// What is not on the page: `others` people of the summary, and what the summary does not list either.
fn not_shown(html: &mut String, summary: &Summary, others: usize) {
    let more = others as u64 + summary.people_left_out;
    let listed = match (others, summary.people_left_out) {
        (0, _) => String::new(),
        (_, 0) => " The JSON summary lists them.".to_owned(),
        (some, _) => format!(" The JSON summary lists {some} of them."),
    };
    if more > 0 {
        let _ = write!(
            html,
            "<p class=\"about\">Also in view: {more} more.{listed}</p>"
        );
    }
    let repetitions = summary.repetitions_left_out;
    if repetitions > 0 {
        let _ = write!(
            html,
            "<p class=\"cut\">Repetitions not listed, for lack of room: {repetitions}.</p>"
        );
    }
}

/// What the session was: label, time, camera, how it ended.
fn about(html: &mut String, summary: &Summary, source: &str, started_unix_ns: Option<u64>) {
    let label = &summary.plan.label;
    if !label.is_empty() {
        let _ = write!(html, "<p><bdi>{}</bdi></p>", escaped(label));
    }
    html.push_str("<p class=\"about\">");
    if let Some(unix_ns) = started_unix_ns {
        let text = Utc::of(unix_ns / 1_000_000_000).to_string();
        let text = text.replace('T', " ").replace('Z', " UTC");
        let _ = write!(html, "Started {text} · ");
    }
    let _ = write!(
        html,
        "{} · camera <bdi>{}</bdi></p>",
        length(summary.duration.as_secs_f64()),
        escaped(source)
    );
    let cut = match summary.ended {
        Ended::Stopped | Ended::RecordingOver => return,
        Ended::Cut => format!(
            "It was not stopped: it ended by itself at the longest time of {}.",
            length(summary.plan.longest.as_secs_f64())
        ),
        Ended::Shutdown => "It ended early: the program was shut down.".to_owned(),
        Ended::Unfinished => "Not the whole film: it was interrupted, broke off, or was limited to a number of frames."
            .to_owned(),
    };
    let _ = write!(html, "<p class=\"cut\">{cut}</p>");
}

/// A person's part.
fn person(html: &mut String, one: &PersonSummary, summary: &Summary) {
    let exercise = &summary.plan.exercise;
    let signal = escaped(&words(&exercise.signal));
    let _ = write!(html, "<h2>Person {}</h2>", one.person);
    figures(html, one, exercise);
    let sides = angles(exercise).len();
    let title = format!("{signal} (degrees)");
    let thresholds = thresholds(exercise);
    html.push_str("<figure>");
    html.push_str(&plot::curves(&Curves {
        samples: &one.samples,
        sides,
        repetitions: &one.repetitions,
        started: summary.started,
        length_s: summary.duration.as_secs_f32(),
        thresholds,
        title: &title,
    }));
    html.push_str("<figcaption class=\"legend\">");
    if sides == 2 {
        let _ = write!(
            html,
            "{}left {}right ",
            plot::key(0, false),
            plot::key(1, false)
        );
    }
    let _ = write!(
        html,
        "{}completed joints; bands: ± one standard deviation; ● whole, ○ partial repetition; dotted: where rest ends and \
         where a repetition is whole</figcaption></figure>",
        plot::key(0, true)
    );
    if one.repetitions.is_empty() {
        html.push_str("<p>No repetition was counted.</p>");
        return;
    }
    let [_, far] = thresholds;
    html.push_str("<figure>");
    html.push_str(&plot::depths(&one.repetitions, far));
    html.push_str("<figcaption class=\"legend\">Depth of each repetition, ± one standard deviation</figcaption></figure>");
    table(html, &one.repetitions, summary.started);
}

/// The thresholds of an exercise: where rest ends, and where a repetition is whole.
fn thresholds(exercise: &Exercise) -> [(f32, &'static str); 2] {
    let (near, far) = match exercise.rest {
        Rest::Low => (exercise.low_deg, exercise.high_deg),
        Rest::High => (exercise.high_deg, exercise.low_deg),
    };
    [(near, "rest"), (far, "whole")]
}

/// The few numbers of a person.
fn figures(html: &mut String, one: &PersonSummary, exercise: &Exercise) {
    html.push_str("<dl>");
    let mut figure = |title: &str, value: &str, note: &str| {
        let _ = write!(
            html,
            "<div><dt>{title}</dt><dd>{value}<small>{note}</small></dd></div>"
        );
    };
    let partial = match one.partials {
        0 => String::new(),
        partials => format!("and {partials} partial"),
    };
    figure("Repetitions", &one.whole.to_string(), &partial);
    match one.depth {
        Some(depth) => figure(
            "Depth",
            &format!("{:.0}° ± {:.0}°", depth.mean_deg, depth.sigma_deg),
            &format!(
                "mean; from {:.0}° to {:.0}°",
                depth.least_deg, depth.most_deg
            ),
        ),
        None => figure("Depth", "–", "no whole repetition"),
    }
    let range = |range: Option<[f32; 2]>| match range {
        Some([least, most]) => (
            format!("{least:.0}° to {most:.0}°"),
            "of motion: 5th to 95th percentile",
        ),
        None => ("–".to_owned(), "too few measured angles"),
    };
    let [left, right] = one.range_deg.map(range);
    let both = exercise.signals[0] != exercise.signals[1];
    if both {
        figure("Range, left", &left.0, left.1);
        figure("Range, right", &right.0, right.1);
        match one.difference {
            Some(found) => figure(
                "Left less right",
                &format!("{}° ± {:.0}°", signed(found.deg), found.sigma_deg),
                &format!("in {} of {} repetitions", found.repetitions, one.whole),
            ),
            None => figure("Left less right", "–", "sides not equally well seen"),
        }
    } else {
        figure("Range", &left.0, left.1);
    }
    html.push_str("</dl>");
}

/// A whole number with its sign; nothing is neither more nor less.
fn signed(degrees: f32) -> String {
    let whole = degrees.round();
    if whole == 0.0 {
        "0".to_owned()
    } else {
        format!("{whole:+.0}")
    }
}

/// The repetitions, as many as fit on the page.
fn table(html: &mut String, repetitions: &[Repetition], started: MonoNs) {
    html.push_str(
        "<table><thead><tr><th>No.</th><th>Kind</th><th>Start (s)</th><th>Took (s)</th><th>Depth (°)</th>\
         <th>Out (°/s)</th><th>Back (°/s)</th><th>Left less right (°)</th><th>Completed (%)</th></tr></thead><tbody>",
    );
    let dash = || "–".to_owned();
    let speed = |speed: Option<f32>| speed.map_or_else(dash, |speed| format!("{speed:.0}"));
    for (number, found) in repetitions.iter().enumerate().take(ROWS_MAX) {
        let difference = found
            .difference_deg
            .map_or_else(dash, |[difference, sigma]| {
                format!("{} ± {sigma:.0}", signed(difference))
            });
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{:.1}</td><td>{:.1}</td><td>{:.0} ± {:.0}</td><td>{}</td><td>{}</td>\
             <td>{difference}</td><td>{:.0}</td></tr>",
            number + 1,
            KINDS[usize::from(found.partial)],
            found.start.since(started).as_secs_f64(),
            found.end.since(found.start).as_secs_f64(),
            found.depth_deg,
            found.depth_sigma_deg,
            speed(found.out_deg_s),
            speed(found.back_deg_s),
            1e2 * found.completed_share
        );
    }
    html.push_str("</tbody></table>");
    let more = repetitions.len().saturating_sub(ROWS_MAX);
    if more > 0 {
        let _ = write!(
            html,
            "<p class=\"about\">And {more} more in the JSON summary.</p>"
        );
    }
}

/// A time span to read.
fn length(seconds: f64) -> String {
    if seconds < 120.0 {
        return format!("{seconds:.0} seconds");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "half an hour, and not negative"
    )]
    let whole = seconds.round() as u64;
    match whole % 60 {
        0 => format!("{} minutes", whole / 60),
        rest => format!("{} minutes {rest} seconds", whole / 60),
    }
}

/// A name of a configuration as words: `sit_to_stand` is `Sit to stand`.
fn words(name: &str) -> String {
    let plain = name.replace('_', " ");
    let mut letters = plain.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// A text from outside as it may be in an element or an attribute. Control characters become the replacement
/// character.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter if letter.is_control() => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests;

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::*;
use crate::motion::angles::Angle;
use crate::motion::exercise::ExerciseConfig;
use crate::motion::session::{Depth, Plan, Sample};
use crate::output::session::Rendered;
use crate::pose::JointState;

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let group = three
            .iter()
            .fold(0, |all, byte| (all << 8) | u32::from(*byte));
        let group = group << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = (group >> (18 - 6 * place)) & 63;
            out.push(if place > three.len() {
                '='
            } else {
                LETTERS[letter as usize] as char
            });
        }
    }
    out
}

#[test]
fn the_policy_allows_the_style_sheet_that_the_page_has() {
    assert_eq!(base64(b"light w"), "bGlnaHQgdw==");
    assert_eq!(STYLE_HASH, base64(&Sha256::digest(STYLE)));
}

const BEGUN: MonoNs = MonoNs(50_000_000_000);

fn angle(deg: f32) -> Angle {
    Angle {
        deg,
        sigma_deg: 4.0,
        state: JointState::Measured,
    }
}

fn repetition(number: u32, at_s: u64) -> Repetition {
    let at = |s: u64| BEGUN.plus(Duration::from_secs(s));
    Repetition {
        person: 3,
        count: number,
        partials: 0,
        partial: false,
        start: at(at_s),
        peak: at(at_s + 1),
        end: at(at_s + 2),
        depth_deg: 100.0,
        depth_sigma_deg: 4.0,
        out_deg_s: Some(60.0),
        back_deg_s: None,
        difference_deg: Some([-3.0, 5.0]),
        completed_share: 0.25,
        range_deg: [Some([5.0, 101.0]), None],
    }
}

/// A session of a person with so many repetitions.
fn summary(name: &str, repetitions: u32) -> Summary {
    let config = ExerciseConfig {
        name: Some(name.into()),
        file: None,
    };
    let samples = (0..u64::from(repetitions) * 30).map(|tenth| Sample {
        time: BEGUN.plus(Duration::from_millis(100 * tenth)),
        angles: [angle(50.0), angle(40.0)],
    });
    let each = (1..=repetitions).map(|number| repetition(number, 3 * u64::from(number) - 3));
    Summary {
        plan: Plan {
            exercise: config.open().unwrap().unwrap(),
            person: None,
            label: "room 3".into(),
            longest: Duration::from_mins(15),
        },
        started: BEGUN,
        ended: Ended::Stopped,
        duration: Duration::from_secs(3 * u64::from(repetitions)),
        frames: 900,
        missed: 0,
        people: vec![PersonSummary {
            person: 3,
            seen: [Duration::ZERO, Duration::from_secs(30)],
            frames: 900,
            measured: 900,
            whole: repetitions,
            partials: 0,
            depth: Some(Depth {
                mean_deg: 100.0,
                sigma_deg: 4.0,
                least_deg: 98.0,
                most_deg: 103.0,
            }),
            range_deg: [Some([5.0, 101.0]), None],
            difference: None,
            repetitions: each.collect(),
            samples: samples.collect(),
        }],
        people_left_out: 0,
        repetitions_left_out: 0,
    }
}

/// Every place in which a page could load or run something, or leave its element.
fn harmless(html: &str) {
    let lower = html.to_lowercase();
    for word in [
        "<script",
        "<img",
        "<iframe",
        "<object",
        "<link",
        "<base",
        "<a ",
        "<form",
        "javascript:",
        "@import",
        "url(",
        "xlink",
        "onload",
        "onerror=",
        " style=",
    ] {
        assert!(!lower.contains(word), "{word}");
    }
    // The one address is the name of SVG, which is no place to load from.
    let addresses = lower.matches("://").count();
    assert_eq!(
        addresses,
        lower
            .matches("xmlns=\"http://www.w3.org/2000/svg\"")
            .count()
    );
}

/// Whether tags close in the order in which they open.
fn is_nested(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    for part in html.split('<').skip(1) {
        let tag = part.split('>').next().unwrap();
        let name = tag.split(' ').next().unwrap().trim_end_matches('/');
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !(tag.ends_with('/') || ["!doctype", "meta"].contains(&name)) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_page_says_what_was_done_in_units_and_as_no_medical_device() {
    let mut summary = summary("squat", 10);
    summary.people[0].repetitions[4].partial = true;
    let html = page(&summary, "front", Some(1_790_005_000_123_456_789));
    harmless(&html);
    is_nested(&html);
    for part in [
        "<h1>Squat</h1>",
        "room 3",
        "2026-09-21 15:36:40 UTC",
        "30 seconds",
        "Knee flexion (degrees)",
        "Time (s)",
        "<dd>10<small>",
        "5° to 101°",
        "too few measured angles",
        "sides not equally well seen",
        "<td>-3 ± 5</td>",
        "Not a medical device.",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    assert_eq!(
        html.matches("fill=\"#fff\"").count(),
        2,
        "one partial, in both plots"
    );
    assert!(!html.contains("It was not stopped"));
    summary.ended = Ended::Cut;
    let html = page(&summary, "front", None);
    assert!(
        html.contains("ended by itself at the longest time of 15 minutes"),
        "{html}"
    );
    assert!(!html.contains("Started"));
    summary.ended = Ended::Unfinished;
    let Rendered { json, html } = Rendered::of(&summary, "film.mp4", None);
    assert!(
        html.contains("<p class=\"cut\">Not the whole film:"),
        "{html}"
    );
    assert!(json.contains("\"ended\":\"unfinished\""), "{json}");
    summary.ended = Ended::RecordingOver;
    assert!(!page(&summary, "film.mp4", None).contains("Not the whole film"));
}

#[test]
fn hostile_texts_stay_texts() {
    let mut summary = summary("squat", 2);
    let hostile = "</bdi><script>alert(1)</script>\"'&\u{202e}";
    summary.plan.label = hostile.into();
    summary.plan.exercise.name = "<img src=x onerror=alert(1)>".into();
    let Rendered { json, html } = Rendered::of(&summary, "a</title><iframe>\u{1b}[2J", Some(0));
    let visible = html.replace("onerror=alert(1)&gt;", "");
    harmless(&visible);
    is_nested(&html);
    assert!(html.contains("&lt;/bdi&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
    assert!(!html.contains('\u{1b}'));
    let read: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(read["label"], hostile);
    assert!(!json.contains('\u{1b}'));
}

#[test]
fn the_longest_session_is_bounded_and_an_empty_one_is_a_page_too() {
    let mut long = summary("squat", 600);
    let html = page(&long, "front", None);
    is_nested(&html);
    assert!(html.contains("30 minutes") && html.contains("Time (min:s)"));
    assert!(html.contains("And 585 more in the JSON summary."));
    assert!(html.len() < 300_000, "{}", html.len());
    let one = long.people[0].clone();
    long.people = vec![one; 8];
    let Rendered { json, html } = Rendered::of(&long, "front", None);
    assert!(
        html.len() < 1_000_000 && html.contains("Also in view: 4 more"),
        "{}",
        html.len()
    );
    assert!(json.len() < 8_000_000, "{}", json.len());

    let mut empty = summary("squat", 0);
    empty.people.clear();
    let html = page(&empty, "front", None);
    is_nested(&html);
    assert!(html.contains("No person was in view."));
}

#[test]
fn what_is_not_listed_is_told_and_not_looked_for_in_the_json() {
    let mut summary = summary("squat", 2);
    let html = page(&summary, "front", None);
    assert!(!html.contains("Also in view") && !html.contains("not listed"));
    summary.people_left_out = 3;
    summary.repetitions_left_out = 5;
    let html = page(&summary, "front", None);
    is_nested(&html);
    assert!(html.contains("Also in view: 3 more.</p>"), "{html}");
    assert!(html.contains("Repetitions not listed, for lack of room: 5."));
    let one = summary.people[0].clone();
    summary.people = vec![one; PARTS_MAX + 2];
    let html = page(&summary, "front", None);
    assert!(
        html.contains("Also in view: 5 more. The JSON summary lists 2 of them.</p>"),
        "{html}"
    );
    summary.people_left_out = 0;
    let html = page(&summary, "front", None);
    assert!(html.contains("Also in view: 2 more. The JSON summary lists them.</p>"));
}

#[test]
fn the_json_has_the_figures_the_repetitions_and_the_samples() {
    let summary = summary("squat", 2);
    let rendered = Rendered::of(&summary, "front", Some(1_790_005_000_123_456_789));
    let read: serde_json::Value = serde_json::from_str(&rendered.json).unwrap();
    assert_eq!(read["schema"], "session_summary/v1");
    assert_eq!(read["started"], "2026-09-21T15:36:40Z");
    assert_eq!(read["exercise"]["name"], "squat");
    assert_eq!(
        (&read["ended"], &read["label"]),
        (&"stopped".into(), &"room 3".into())
    );
    let one = &read["people"][0];
    assert_eq!((&one["whole"], &one["partial"]), (&2.into(), &0.into()));
    assert_eq!(one["range_left_deg"], serde_json::json!([5.0, 101.0]));
    assert_eq!(one["range_right_deg"], serde_json::Value::Null);
    assert_eq!(one["repetitions"][1]["start_s"], 3.0);
    assert_eq!(one["repetitions"][1]["difference_sigma_deg"], 5.0);
    let samples = &one["samples"];
    assert_eq!(samples["time_s"][59], 5.9);
    assert_eq!(samples["angles"][1]["name"], "right_knee_flexion");
    assert_eq!(samples["angles"][1]["deg"][0], 40.0);
    assert_eq!(samples["angles"][0]["state"][0], 1);
}

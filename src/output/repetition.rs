//! `repetition/v1`: a repetition of an exercise, when it ends.

use super::health::Out;
use super::wire::Stamp;
use crate::motion::exercise::Repetition;

/// Value of `schema` in a repetition message.
pub const REPETITION_SCHEMA: &str = "repetition/v1";

/// Words for a repetition: whole or partial.
pub const KINDS: [&str; 2] = ["whole", "partial"];

/// A repetition message.
pub fn repetition(stamp: &Stamp<'_>, exercise: &str, found: &Repetition) -> Vec<u8> {
    let mut out = Out::message(REPETITION_SCHEMA, 24);
    out.stamp(stamp);
    out.key("exercise").text(exercise);
    out.key("person").uint(found.person.into());
    out.key("count").uint(found.count.into());
    out.key("partials").uint(found.partials.into());
    out.key("kind").text(KINDS[usize::from(found.partial)]);
    out.key("start_ns").uint(found.start.0);
    out.key("peak_ns").uint(found.peak.0);
    out.key("end_ns").uint(found.end.0);
    out.key("duration_s")
        .float(found.end.since(found.start).as_secs_f64());
    let [difference, sigma] = match found.difference_deg {
        Some([difference, sigma]) => [Some(difference), Some(sigma)],
        None => [None; 2],
    };
    for (key, number) in [
        ("depth_deg", Some(found.depth_deg)),
        ("depth_sigma_deg", Some(found.depth_sigma_deg)),
        ("out_deg_s", found.out_deg_s),
        ("back_deg_s", found.back_deg_s),
        ("difference_deg", difference),
        ("difference_sigma_deg", sigma),
        ("completed_share", Some(found.completed_share)),
    ] {
        out.key(key).float(number.map(f64::from));
    }
    for (key, range) in ["range_left_deg", "range_right_deg"]
        .into_iter()
        .zip(found.range_deg)
    {
        out.key(key);
        match range {
            None => drop(out.float(None)),
            Some([least, most]) => {
                out.list(2).float(f64::from(least)).float(f64::from(most));
            }
        }
    }
    out.done()
}

//! `adaptation/v1`: how learning on the device stands, once a second where something learns.

use super::health::Out;
use super::wire::Stamp;
use crate::adapt::{Method, Report};

/// Value of `schema` in an adaptation message.
pub const ADAPTATION_SCHEMA: &str = "adaptation/v1";

/// An adaptation message. `untold` counts people that the adapter had no room for.
pub fn adaptation(stamp: &Stamp<'_>, method: Method, report: &Report, untold: u64) -> Vec<u8> {
    let mut out = Out::message(ADAPTATION_SCHEMA, 21);
    out.stamp(stamp);
    out.key("method").text(method.name());
    out.key("mode").text(report.mode.name());
    out.key("generation").uint(report.generation.into());
    out.key("steps").uint(report.steps);
    out.key("echoes").uint(report.synthetic_views);
    out.key("clips").map(2);
    for (name, clips) in ["learned_from", "held_back"].into_iter().zip(report.clips) {
        out.key(name).uint(clips as u64);
    }
    out.key("passed_over").uint(report.passed_over);
    // The sum is what version 1 began with; the two are different things.
    out.key("let_go")
        .uint(report.dropped.saturating_add(untold));
    out.key("steps_dropped").uint(report.dropped);
    out.key("people_dropped").uint(untold);
    out.key("noise").float(f64::from(report.noise));
    out.key("decisions").map(3);
    for (name, count) in ["kept", "rest", "refused"]
        .into_iter()
        .zip(report.decisions)
    {
        out.key(name).uint(count);
    }
    out.key("softened").uint(report.softened);
    out.key("rolled_back").uint(report.rolled_back);
    out.key("newest");
    match report.finding {
        None => out.float(None),
        Some(found) => {
            out.map(5);
            out.key("verdict").text(found.verdict.name());
            out.key("factory_mm")
                .float(1e3 * f64::from(found.factory_m));
            out.key("learned_mm")
                .float(1e3 * f64::from(found.candidate_m));
            out.key("bones").float(f64::from(found.bones));
            out.key("way_mm").float(1e3 * f64::from(found.way_m))
        }
    };
    out.done()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::MonoNs;
    use crate::output::json::to_json;
    use crate::output::wire::CLOCK_MONOTONIC;

    #[test]
    fn steps_and_people_are_counted_apart() {
        let stamp = Stamp {
            sequence: 0,
            camera: "front",
            clock: CLOCK_MONOTONIC,
            publish: MonoNs(1_000_000_000),
            unix_offset_ns: 0,
        };
        let report = Report {
            dropped: 5,
            ..Report::default()
        };
        let message = to_json(&adaptation(&stamp, Method::Semantic, &report, 3)).unwrap();
        let counts = ["steps_dropped", "people_dropped", "let_go"].map(|key| &message[key]);
        assert_eq!(
            counts,
            [5_u64, 3, 8],
            "and their sum, as readers of the first version know it"
        );
    }
}

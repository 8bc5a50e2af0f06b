//! Exercise sessions stay off the heap between their start and their end: newcomers, repetitions and people who leave.

use std::time::Duration;

use crate::common::heap;
use crate::common::samples::{bent, squatting};
use poised::base::clock::MonoNs;
use poised::motion::exercise::ExerciseConfig;
use poised::motion::session::{Collector, Ended, Plan};
use poised::pose::PersonPose;

/// Frames a second.
const RATE: u32 = 30;

#[test]
fn a_session_under_way_stays_off_the_heap() {
    let config = ExerciseConfig {
        name: Some("squat".into()),
        file: None,
    };
    let plan = Plan {
        exercise: config.open().unwrap().unwrap(),
        person: None,
        label: String::new(),
        longest: Duration::from_mins(2),
    };
    let begun = MonoNs(1_000_000_000);
    let mut collector = Collector::new(plan, begun);
    let mut people = heapless::Vec::<PersonPose, 2>::new();
    // Longer than the longest time, with a passer-by every second beside the one who squats.
    for frame in 0..150 * RATE {
        people.clear();
        assert!(people.push(bent(1, squatting(frame))).is_ok());
        assert!(people.push(bent(100 + frame / RATE, 0.1)).is_ok());
        let time = begun.plus(Duration::from_secs(1) / RATE * frame);
        let calls = heap::heap_calls(|| collector.add(time, &people, None));
        assert_eq!(calls, 0, "frame {frame}");
    }
    let summary = collector.finish(begun.plus(Duration::from_mins(2)), Ended::Cut, 0);
    let one = &summary.people[0];
    assert!(one.person == 1 && one.whole > 35, "{}", one.whole);
    assert!(one.samples.len() > 1_100 && summary.people_left_out > 100);
}

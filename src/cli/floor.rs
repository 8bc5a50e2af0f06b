//! People on the floor in a recording: `poised replay --floor`.

use serde::Serialize;

use poised::base::clock::MonoNs;
use poised::motion::floor::{FloorEvent, FloorWatch};
use poised::output::health::Event;
use poised::pose::PoseSample;

use super::report::round;

/// Events that a report keeps at most, the first ones: more than happen in days.
const EVENTS_MAX: usize = 10_000;

/// Watches the floor of a recording.
pub struct FloorReplay {
    watch: FloorWatch,
    first: Option<MonoNs>,
    found: FloorReport,
}

/// What happened on the floor.
#[derive(Debug, Default, Serialize)]
pub struct FloorReport {
    /// People reported on the floor.
    pub people: u32,
    /// Each event, in order.
    pub each: Vec<FloorRow>,
    /// Events that found no room there.
    pub left_out: u64,
}

/// One event.
#[derive(Debug, Serialize)]
pub struct FloorRow {
    /// Seconds since the first frame.
    pub time_s: f64,
    /// `person_on_floor`, `person_off_floor` or `person_on_floor_lost`.
    pub event: &'static str,
    /// Its number, the same for all of one person's.
    pub number: u32,
    /// The person.
    pub person: u32,
    /// How likely the person is on the floor, 0 to 1.
    pub probability: f64,
    /// Metres along the floor before the camera, and to its left.
    pub place_m: [f64; 2],
    /// Seconds for which the person has been there.
    pub for_s: f64,
    /// The same in words, as the daemon's message has it.
    #[serde(skip)]
    words: String,
}

impl FloorReplay {
    pub fn new(watch: FloorWatch) -> Self {
        Self {
            watch,
            first: None,
            found: FloorReport::default(),
        }
    }

    /// Takes in one frame's poses.
    pub fn add(&mut self, sample: &PoseSample) {
        let first = *self.first.get_or_insert(sample.capture);
        let found = &mut self.found;
        self.watch
            .add(sample.capture, &sample.people, &mut |event| {
                found.take(event, first);
            });
    }

    /// What happened.
    pub fn finish(self) -> FloorReport {
        self.found
    }
}

impl FloorReport {
    fn take(&mut self, event: &FloorEvent, first: MonoNs) {
        self.people = self.people.max(event.number);
        if self.each.len() == EVENTS_MAX {
            self.left_out += 1;
            return;
        }
        self.each.push(FloorRow {
            time_s: round(event.time.since(first).as_secs_f64()),
            event: Event::from(event.change).name(),
            number: event.number,
            person: event.person,
            probability: round(event.probability.into()),
            place_m: event.place_m.to_array().map(|metres| round(metres.into())),
            for_s: round(event.time.since(event.since).as_secs_f64()),
            words: event.to_string(),
        });
    }

    /// Prints a table to read.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn print(&self) -> anyhow::Result<()> {
        say!("{} people reported on the floor", self.people)?;
        for row in &self.each {
            say!("{:7.1} s {}: {}", row.time_s, row.event, row.words)?;
        }
        Ok(())
    }
}

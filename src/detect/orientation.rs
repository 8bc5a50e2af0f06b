//! Whether people would be seen better in turned frames: a camera that hangs upside down or on its side.
//!
//! Networks see people who stand best. In frames that are upside down they find them worse, and place joints as if they
//! stood. So the person detector now and then looks at its own input turned, and the scores of the best boxes are
//! compared. Of the films and photographs this was tried on, frames that were upside down gained 0.10 to 0.44, and
//! frames the right way up lost 0.01 to 0.75. Only a person detector with a square input is asked: no network that looks
//! at whole frames by itself.

use std::time::Duration;

use heapless::Vec;

use crate::base::clock::MonoNs;
use crate::pose::BoxPx;

/// Time between two looks until the first answer, and after it or where no one was in view: a look costs as much as a run
/// of the person detector.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(15);

/// Looks in each direction that make an answer. Gains vary by 0.15 from look to look, so their mean is known to 0.035.
const LOOKS: u32 = 20;

/// A box with at least this score is of someone in view. Looks count from then on until none of three, one in each
/// direction, shows anyone.
const SCORE_MIN: f32 = 0.3;

/// Least mean gain of the direction that is told.
const GAIN_MIN: f32 = 0.08;

/// Places where people were found that it takes to say that the camera hangs on its side: those who lie still, even two
/// or three of them, are also seen better on their feet.
const PLACES_MIN: usize = 4;

/// Boxes that overlap less than this are of two places.
const SAME_PLACE: f32 = 0.3;

/// Quarter turns, clockwise.
const TURNS: [usize; 3] = [1, 2, 3];

/// What looks in one direction have shown.
#[derive(Debug, Default)]
struct Direction {
    looks: u32,
    gain: f32,
    /// Where people were found, up to as many as it takes.
    places: Vec<BoxPx, PLACES_MIN>,
}

impl Direction {
    #[expect(clippy::cast_precision_loss, reason = "tens of looks")]
    fn mean_gain(&self) -> f32 {
        self.gain / self.looks as f32
    }
}

/// Compares frames with turned ones.
#[derive(Debug, Default)]
pub(super) struct Orientation {
    directions: [Direction; TURNS.len()],
    next: usize,
    looked: Option<MonoNs>,
    /// Looks that count still if they show no one.
    peopled: usize,
    answered: bool,
    better_turned: usize,
}

impl Orientation {
    /// How many quarter turns clockwise the detector's input is to be turned by for a look at `now`, if one is due.
    /// `straight` is the best score in the frame as it is.
    pub(super) fn due(&mut self, now: MonoNs, straight: f32) -> Option<usize> {
        // The first frame may be the only one, a photograph.
        let then = *self.looked.get_or_insert(now);
        let soon = !self.answered && (self.peopled > 0 || straight >= SCORE_MIN);
        let pause = if soon { SOON } else { LATER };
        (now.since(then) >= pause).then(|| TURNS[self.next])
    }

    /// Takes the best score of the frame as it is, and the best score and its box in the input that was turned as
    /// [`Orientation::due`] said.
    pub(super) fn take(&mut self, now: MonoNs, straight: f32, turned: Option<(f32, BoxPx)>) {
        self.looked = Some(now);
        let (score, bounds) = turned.map_or((0.0, None), |(score, bounds)| (score, Some(bounds)));
        let direction = &mut self.directions[self.next];
        self.next = (self.next + 1) % TURNS.len();
        if straight.max(score) >= SCORE_MIN {
            self.peopled = TURNS.len();
        } else if self.peopled == 0 {
            return;
        } else {
            self.peopled -= 1;
        }
        direction.looks += 1;
        direction.gain += score - straight;
        if let Some(bounds) = bounds
            && direction
                .places
                .iter()
                .all(|place| place.iou(&bounds) < SAME_PLACE)
        {
            // More than it takes need not be known.
            let _ = direction.places.push(bounds);
        }
        if self.directions.iter().all(|seen| seen.looks >= LOOKS) {
            self.answer();
        }
    }

    fn answer(&mut self) {
        let gains = self.directions.iter().zip(TURNS);
        let best = gains.max_by(|(a, _), (b, _)| a.mean_gain().total_cmp(&b.mean_gain()));
        self.better_turned = match best {
            Some((seen, turns)) if seen.mean_gain() >= GAIN_MIN => {
                if turns == 2 || seen.places.is_full() {
                    turns
                } else {
                    // Of people who stayed where they were nothing follows.
                    self.better_turned
                }
            }
            _ => 0,
        };
        self.answered = true;
        self.directions = Default::default();
    }

    /// By how many quarter turns clockwise frames would have to be turned for people to be seen better; 0 where they
    /// are the right way up, or that is not known.
    pub(super) const fn better_turned(&self) -> usize {
        self.better_turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(at: f32) -> BoxPx {
        BoxPx {
            left: at,
            top: 0.0,
            right: at + 10.0,
            bottom: 30.0,
        }
    }

    /// Looks at a scene for so many seconds: the score of the frame as it is, and of turned ones.
    fn look(orientation: &mut Orientation, seconds: u64, scores: [f32; 4], places: usize) -> u32 {
        let from = orientation.looked.map_or(0, |then| then.0);
        let mut looks = 0;
        for second in 1..=seconds {
            let now = MonoNs(from + second * 1_000_000_000);
            if let Some(turns) = orientation.due(now, scores[0]) {
                #[expect(clippy::cast_precision_loss, reason = "a few")]
                let at = 20.0 * (looks as usize / TURNS.len() % places) as f32;
                let turned = (scores[turns] > 0.0).then(|| (scores[turns], place(at)));
                orientation.take(now, scores[0], turned);
                looks += 1;
            }
        }
        looks
    }

    #[test]
    fn a_camera_that_hangs_upside_down_is_told_in_a_minute() {
        let mut orientation = Orientation::default();
        look(&mut orientation, 59, [0.4, 0.4, 0.6, 0.4], 1);
        assert_eq!(orientation.better_turned(), 0);
        look(&mut orientation, 2, [0.4, 0.4, 0.6, 0.4], 1);
        assert_eq!(orientation.better_turned(), 2);
        // From then on a look costs next to nothing, and a camera that was turned the right way up is seen.
        assert_eq!(look(&mut orientation, 900, [0.7, 0.4, 0.3, 0.4], 1), 60);
        assert_eq!(orientation.better_turned(), 0);
    }

    #[test]
    fn the_right_way_up_is_not_told_and_neither_is_a_small_gain() {
        for scores in [
            [0.7, 0.3, 0.4, 0.2],
            [0.5, 0.5, 0.55, 0.5],
            [0.7, 0.0, 0.0, 0.0],
        ] {
            let mut orientation = Orientation::default();
            look(&mut orientation, 100, scores, 1);
            assert!(orientation.answered, "{scores:?}");
            assert_eq!(orientation.better_turned(), 0, "{scores:?}");
        }
    }

    #[test]
    fn people_who_lie_still_do_not_turn_the_camera_and_people_who_walk_do() {
        let scores = [0.4, 0.4, 0.5, 0.7];
        for (places, turns) in [(1, 0), (3, 0), (4, 3)] {
            let mut orientation = Orientation::default();
            look(&mut orientation, 100, scores, places);
            assert!(orientation.answered);
            assert_eq!(orientation.better_turned(), turns, "{places}");
        }
    }

    #[test]
    fn an_empty_room_is_looked_at_rarely_and_says_nothing() {
        let mut orientation = Orientation::default();
        assert_eq!(look(&mut orientation, 900, [0.0; 4], 1), 59);
        assert!(!orientation.answered);
        // Of people who are seen only in turned frames, the next look comes soon.
        let mut orientation = Orientation::default();
        look(&mut orientation, 900, [0.0, 0.0, 0.5, 0.4], 1);
        assert_eq!(orientation.better_turned(), 2);
    }
}

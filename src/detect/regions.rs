//! Where people are expected: boxes from the person detector and from the last frame's keypoints.

use std::time::Duration;

use glam::Vec2;
use heapless::Vec;

use super::decode::Placed;
use crate::base::clock::MonoNs;
use crate::base::limits::PEOPLE_MAX;
use crate::pose::{BoxPx, Keypoint};
use crate::skeleton::KEYPOINTS;

/// A keypoint takes part in a box where its place is at least this sure. Hidden
/// joints count too: the box is meant to hold the whole person.
const PLACE_GATE: f32 = 0.3;

/// COCO keypoints end at the ears, wrists and ankles; a person's box goes on by
/// this share of the keypoints' longer side, on each side.
const MARGIN: f32 = 0.1;

/// The weight of the person detector's box against the one from keypoints when both see
/// the same person: the person detector steadies, keypoints are sharper.
const DETECTOR_WEIGHT: f32 = 0.5;

/// A person detector box that overlaps a tracked box more than this is the same person.
const SAME_PERSON_IOU: f32 = 0.4;

/// A person detector box that overlaps a tracked box more than this, but less than
/// [`SAME_PERSON_IOU`], tells where the person really is: keypoints that ran away
/// make a box that lies half beside the person. It is also near enough to where
/// a person was lost.
const ASTRAY_IOU: f32 = 0.1;

/// How fast each side of a person's box may move outward, in its longer side a second: arms are raised in a few
/// frames, while keypoints that run away would double the box in two.
const GROWTH_PER_S: f32 = 6.0;

/// Least and most that each side may move outward from one look to the next, as shares of the box's longer side: what
/// a camera of 30 Hz gives, and three times as much where frames were left out.
const GROWTH: (f32, f32) = (0.2, 0.6);

/// Most that a person moves on from one look to the next, as a share of the box's longer side. A jump of half a person
/// is a new crop, not a movement.
const STEP_MAX: f32 = 0.25;

/// People go on as they moved for no longer than this between two frames, seconds; after a longer pause no one knows.
const AHEAD_S_MAX: f32 = 0.3;

/// Missed detections tolerated before a person has to be well
/// visible to be followed on. It misses people who lie or are half hidden.
const UNCONFIRMED_MAX: u8 = 1;

/// Frames for which a place where a person was lost is remembered: longer than from one run of a shed person detector
/// to the next, which is counted in frames.
const LOST_FRAMES: u8 = 40;

/// Time for which the person network is not run again on a place where it saw no one: a person who is hardly visible
/// waits so long. Longer than from one run of the person detector to the next with a camera of 30 Hz, so that of many
/// such places each has its turn.
const EMPTY_FOR: Duration = Duration::from_millis(500);

/// A person detector box that overlaps an empty place by more than this is about the same thing.
const SAME_PLACE_IOU: f32 = 0.7;

/// A person who leans by more than this, radians, is turned upright in the crop, and one who was turned stays so
/// until [`UPRIGHT_AGAIN`]. Person networks are trained on people who lean less, and image features say where joints
/// are in a crop that is not turned.
const TURN_FROM: f32 = 0.6;

/// See [`TURN_FROM`].
const UPRIGHT_AGAIN: f32 = 0.4;

/// A trunk that is shorter than this share of the box's longer side points towards the camera: its direction in the
/// image says nothing.
const TRUNK_MIN: f32 = 0.12;

/// A person whose box from keypoints overlaps the box that was looked at by less than this is looked for again by
/// the person detector.
const AGREE_IOU: f32 = 0.4;

/// Inferences after which a person waits for a turn as all others do: until then the tracker may not have
/// given an id.
const FAMILIAR: u8 = 3;

/// How sure it is that a person is in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// A newcomer in a box that the person detector is not sure of.
    Doubted,
    /// A newcomer in such a box where a person was lost a moment ago.
    Believed,
    /// The person detector was sure.
    Confirmed,
}

/// A place to look at in the next frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// The person's box in this frame, moved on since the person was looked at ([`Region::move_on`]).
    pub bounds: BoxPx,
    /// The person detector's score, 1 for a person who is followed.
    pub score: f32,
    /// Movement of the box's centre, pixels a second.
    pub velocity: Vec2,
    /// Centre of the box when the person was last looked at, pixels.
    pub centre: Vec2,
    /// Time since the person was last looked at, seconds.
    pub since_s: f32,
    /// Looks of the person detector in a row that passed over this person.
    pub unconfirmed: u8,
    /// How sure it is that there is a person.
    pub belief: Belief,
    /// Frames in a row in which this person was not looked at ([`in_turn`]).
    pub waited: u8,
    /// Frames in which this person was looked at, up to [`FAMILIAR`].
    pub inferences: u8,
    /// Where the person is as seen along the trunk, where the crop is to be turned.
    pub turned: Option<TurnedBox>,
}

/// A box that leans with the person in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TurnedBox {
    /// How far it leans, radians clockwise from upright.
    pub lean: f32,
    /// Its centre, pixels of the frame.
    pub centre: Vec2,
    /// Half its width and height, pixels of the frame.
    pub half: Vec2,
}

impl TurnedBox {
    /// The axis-parallel box of a person who leans by `lean`, seen along the trunk: along it a person fills the box's
    /// diagonal; across it, an ellipse in the box is nearer than its corners.
    fn of(bounds: &BoxPx, lean: f32) -> Self {
        let (sin, cos) = lean.sin_cos();
        let (x, y) = (0.5 * bounds.width(), 0.5 * bounds.height());
        Self {
            lean,
            centre: bounds.centre().into(),
            half: Vec2::new((x * cos).hypot(y * sin), (x * sin).abs() + (y * cos).abs()),
        }
    }

    /// Corners, pixels of the frame.
    pub fn corners(&self) -> [Vec2; 4] {
        let turn = Vec2::from_angle(self.lean);
        [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
            .map(|(x, y)| self.centre + turn.rotate(Vec2::new(x * self.half.x, y * self.half.y)))
    }
}

/// Regions of one frame.
pub type Regions = Vec<Region, PEOPLE_MAX>;

/// The box of a person from placed keypoints, with margin; `None` if fewer
/// than two are placed.
pub fn box_of(placed: &[Placed; KEYPOINTS]) -> Option<BoxPx> {
    let mut keypoints = [Keypoint::default(); KEYPOINTS];
    for (keypoint, placed) in keypoints.iter_mut().zip(placed) {
        *keypoint = placed.keypoint;
        keypoint.visibility = placed.keypoint.visibility.max(placed.place);
    }
    let tight = BoxPx::around(&keypoints, PLACE_GATE)?;
    Some(grown(&tight, MARGIN * tight.width().max(tight.height())))
}

/// The box of a person from placed keypoints as seen along the trunk: from the middle of the hips to that of the
/// shoulders. `None` if one of them is not placed, or the trunk points towards the camera.
pub fn turned_box_of(placed: &[Placed; KEYPOINTS]) -> Option<TurnedBox> {
    const TRUNK: [usize; 4] = [5, 6, 11, 12];
    if TRUNK.iter().any(|&k| placed[k].place < PLACE_GATE) {
        return None;
    }
    let at = |k: usize| Vec2::new(placed[k].keypoint.x_px, placed[k].keypoint.y_px);
    let trunk = 0.5 * (at(5) + at(6) - at(11) - at(12));
    let bounds = box_of(placed)?;
    if trunk.length() <= TRUNK_MIN * bounds.width().max(bounds.height()) {
        return None;
    }
    let lean = trunk.x.atan2(-trunk.y);
    let back = Vec2::from_angle(-lean);
    let (mut least, mut most) = (Vec2::INFINITY, Vec2::NEG_INFINITY);
    for (k, placed) in placed.iter().enumerate() {
        if placed.place.max(placed.keypoint.visibility) >= PLACE_GATE {
            let upright = back.rotate(at(k));
            (least, most) = (least.min(upright), most.max(upright));
        }
    }
    let size = most - least;
    Some(TurnedBox {
        lean,
        centre: Vec2::from_angle(lean).rotate(0.5 * (least + most)),
        half: 0.5 * size + MARGIN * size.max_element(),
    })
}

fn grown(bounds: &BoxPx, by: f32) -> BoxPx {
    BoxPx {
        left: bounds.left - by,
        top: bounds.top - by,
        right: bounds.right + by,
        bottom: bounds.bottom + by,
    }
}

impl Region {
    /// A box that no person was seen in yet. `lean` as [`join`] has it.
    pub fn new(bounds: &BoxPx, score: f32, belief: Belief, lean: Option<f32>) -> Self {
        Self {
            bounds: *bounds,
            score,
            velocity: Vec2::ZERO,
            centre: bounds.centre().into(),
            since_s: 0.0,
            unconfirmed: 0,
            belief,
            waited: 0,
            inferences: 0,
            turned: lean.map(|lean| TurnedBox::of(bounds, lean)),
        }
    }

    /// The region of a person who was seen in it. `turned` as [`turned_box_of`] gives it.
    pub fn after(bounds: &BoxPx, turned: Option<TurnedBox>, before: &Region) -> Self {
        let growth = (GROWTH_PER_S * before.since_s).clamp(GROWTH.0, GROWTH.1);
        let room = grown(
            &before.expected(),
            growth * before.bounds.width().max(before.bounds.height()),
        );
        let bounds = &BoxPx {
            left: bounds.left.max(room.left),
            top: bounds.top.max(room.top),
            right: bounds.right.min(room.right),
            bottom: bounds.bottom.min(room.bottom),
        };
        let centre = Vec2::from(bounds.centre());
        let most = Vec2::splat(STEP_MAX * bounds.width().max(bounds.height()));
        let velocity = if before.since_s > 0.0 {
            (centre - before.centre).clamp(-most, most) / before.since_s
        } else {
            Vec2::ZERO
        };
        Self {
            bounds: *bounds,
            score: 1.0,
            velocity,
            centre,
            since_s: 0.0,
            unconfirmed: before.unconfirmed,
            belief: before.belief,
            waited: 0,
            inferences: FAMILIAR.min(before.inferences + 1),
            turned: turned.filter(|turned| turned.lean.abs() > before.turns_from()),
        }
    }

    /// Another frame was taken `span` later: the person has moved on.
    pub fn move_on(&mut self, span: Duration) {
        let span_s = span.as_secs_f32().min(AHEAD_S_MAX);
        let by = span_s * self.velocity;
        self.bounds = BoxPx {
            left: self.bounds.left + by.x,
            top: self.bounds.top + by.y,
            right: self.bounds.right + by.x,
            bottom: self.bounds.bottom + by.y,
        };
        if let Some(turned) = &mut self.turned {
            turned.centre += by;
        }
        self.since_s += span.as_secs_f32();
    }

    /// From which lean on the crop is turned, radians.
    fn turns_from(&self) -> f32 {
        if self.turned.is_none() {
            TURN_FROM
        } else {
            UPRIGHT_AGAIN
        }
    }

    /// Whether keypoints found here make a box that belongs to this region.
    pub fn agrees_with(&self, bounds: &BoxPx) -> bool {
        self.expected().iou(bounds) >= AGREE_IOU
    }

    /// The person detector sees a person here, and is `sure` of it or not.
    fn confirm(&mut self, sure: bool) {
        self.unconfirmed = 0;
        if sure {
            self.belief = Belief::Confirmed;
        }
    }

    /// Whether the person has to be well visible to be followed on.
    pub fn is_in_question(&self) -> bool {
        self.unconfirmed > UNCONFIRMED_MAX || self.belief == Belief::Doubted
    }

    /// Whether no person was ever seen in it, and none was lost there a moment ago.
    pub fn is_new(&self) -> bool {
        self.inferences == 0 && self.belief != Belief::Believed
    }

    /// The region of a person who has to wait for another frame.
    pub fn left_waiting(&self) -> Self {
        Self {
            waited: self.waited.saturating_add(1),
            ..*self
        }
    }

    /// Where to look for this person now: the box, grown by half of the movement, since people also stop.
    pub fn expected(&self) -> BoxPx {
        let by = 0.5 * self.since_s.min(AHEAD_S_MAX) * self.velocity.abs();
        BoxPx {
            left: self.bounds.left - by.x,
            top: self.bounds.top - by.y,
            right: self.bounds.right + by.x,
            bottom: self.bounds.bottom + by.y,
        }
    }
}

/// Places in which the person network saw no one a moment ago, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Where a person was lost from sight, and how many frames ago.
    lost: Vec<(BoxPx, u8), PEOPLE_MAX>,
    /// Boxes of the person detector without a person in them, and when that was found out.
    empty: Vec<(BoxPx, MonoNs), PEOPLE_MAX>,
}

impl Places {
    /// Another frame is there, taken at `now`.
    pub fn age(&mut self, now: MonoNs) {
        for (_, frames) in &mut self.lost {
            *frames += 1;
        }
        self.lost.retain(|(_, frames)| *frames < LOST_FRAMES);
        self.empty.retain(|(_, then)| now.since(*then) < EMPTY_FOR);
    }

    /// No one was seen in a region, in a frame taken at `now`. A person of whom the person detector was never sure
    /// leaves nothing behind: furniture would vouch for itself.
    pub fn seen_empty(&mut self, region: &Region, now: MonoNs) {
        if region.is_new() {
            push(&mut self.empty, (region.bounds, now));
        } else if region.inferences > 0 && region.belief == Belief::Confirmed {
            push(&mut self.lost, (region.expected(), 0));
        }
    }

    /// Forgets all places.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn was_lost_near(&self, bounds: &BoxPx) -> bool {
        self.lost
            .iter()
            .any(|(lost, _)| lost.iou(bounds) > ASTRAY_IOU)
    }

    fn was_empty(&self, bounds: &BoxPx) -> bool {
        self.empty
            .iter()
            .any(|(empty, _)| empty.iou(bounds) > SAME_PLACE_IOU)
    }
}

/// Appends to a list that loses its first entry when it is full.
fn push<T>(list: &mut Vec<T, PEOPLE_MAX>, item: T) {
    if list.is_full() {
        list.remove(0);
    }
    let _ = list.push(item);
}

/// Whose turn it is, where only `inferences` of the regions can be looked at: who is new, then who has waited longest.
pub fn in_turn(regions: &Regions, inferences: usize) -> [bool; PEOPLE_MAX] {
    let mut order: Vec<usize, PEOPLE_MAX> = (0..regions.len()).collect();
    order.sort_unstable_by_key(|&place| {
        let region = &regions[place];
        (
            region.inferences == FAMILIAR,
            u8::MAX - region.waited,
            place,
        )
    });
    let mut turn = [false; PEOPLE_MAX];
    for &place in order.iter().take(inferences) {
        turn[place] = true;
    }
    turn
}

/// Leaves only the first `max` newcomers of whom the person detector is not sure, and everybody else.
pub fn postpone_doubted(regions: &mut Regions, max: usize) {
    let mut doubted = 0;
    regions.retain(|region| {
        let counts = region.inferences == 0 && region.belief == Belief::Doubted;
        doubted += usize::from(counts);
        !counts || doubted <= max
    });
}

/// Joins what the person detector found to the people followed: a box on a followed person steadies that person's
/// region; a box half beside a person whom no box lies on sets that region right, if the person detector is sure of
/// it (`score_sure`); any other becomes a region of its own, unless `places` knows it as empty, doubted where the
/// person detector is not sure and no person was lost there a moment ago. `lean_at` says how far a person who stands
/// in a box leans in the image, where the crop is to be turned.
pub fn join(
    regions: &mut Regions,
    places: &Places,
    found: impl Iterator<Item = (BoxPx, f32)>,
    score_sure: f32,
    lean_at: impl Fn(&BoxPx) -> Option<f32>,
) {
    let followed = regions.len();
    for region in regions.iter_mut() {
        region.unconfirmed = region.unconfirmed.saturating_add(1);
    }
    let mut left: Vec<(BoxPx, f32), PEOPLE_MAX> = Vec::new();
    for (bounds, score) in found {
        if let Some((iou, region)) = nearest(&mut regions[..followed], &bounds, |_| true)
            && iou > SAME_PERSON_IOU
        {
            region.bounds = between(&region.bounds, &bounds, DETECTOR_WEIGHT);
            region.confirm(score >= score_sure);
        } else {
            // Full: the person detector gives the best first.
            let _ = left.push((bounds, score));
        }
    }
    for (bounds, score) in left {
        let astray = |region: &Region| region.unconfirmed > 0 && score >= score_sure;
        if let Some((iou, region)) = nearest(&mut regions[..followed], &bounds, astray)
            && iou > ASTRAY_IOU
        {
            region.bounds = bounds;
            region.turned = region
                .turned
                .map(|turned| TurnedBox::of(&bounds, turned.lean));
            region.velocity = Vec2::ZERO;
            region.centre = bounds.centre().into();
            region.confirm(score >= score_sure);
        } else {
            let was_lost = places.was_lost_near(&bounds);
            if !was_lost && places.was_empty(&bounds) {
                continue;
            }
            let belief = if score >= score_sure {
                Belief::Confirmed
            } else if was_lost {
                Belief::Believed
            } else {
                Belief::Doubted
            };
            let fresh = Region::new(&bounds, score, belief, lean_at(&bounds));
            // Full: the people already followed come first.
            let _ = regions.push(fresh);
        }
    }
}

/// The region that overlaps a box most, of those wanted, and by how much.
fn nearest<'a>(
    regions: &'a mut [Region],
    bounds: &BoxPx,
    wanted: impl Fn(&Region) -> bool,
) -> Option<(f32, &'a mut Region)> {
    regions
        .iter_mut()
        .filter(|region| wanted(region))
        .map(|region| (region.bounds.iou(bounds), region))
        .max_by(|a, b| a.0.total_cmp(&b.0))
}

fn between(a: &BoxPx, b: &BoxPx, share: f32) -> BoxPx {
    let mix = |a: f32, b: f32| a + (b - a) * share;
    BoxPx {
        left: mix(a.left, b.left),
        top: mix(a.top, b.top),
        right: mix(a.right, b.right),
        bottom: mix(a.bottom, b.bottom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Time between two frames: a number of seconds that makes round numbers of pixels.
    const FRAME: Duration = Duration::from_millis(40);

    fn bounds(left: f32, top: f32, width: f32, height: f32) -> BoxPx {
        BoxPx {
            left,
            top,
            right: left + width,
            bottom: top + height,
        }
    }

    fn person(x: f32, y: f32, confidence: f32) -> [Placed; KEYPOINTS] {
        let mut placed = [Placed::default(); KEYPOINTS];
        for (k, placed) in (0_u8..).zip(&mut placed) {
            placed.keypoint = Keypoint::new(
                x + f32::from(k % 4) * 20.0,
                y + f32::from(k) * 10.0,
                confidence,
            );
            placed.place = 0.9;
        }
        placed
    }

    #[test]
    fn hidden_joints_count_for_the_box_and_unplaced_ones_do_not() {
        let mut placed = person(100.0, 100.0, 0.0);
        placed[16].place = 0.1; // was lowest, at y = 260
        let around = box_of(&placed).unwrap();
        // x 100 to 160, y 100 to 250; margin 15.
        assert_eq!(around, bounds(85.0, 85.0, 90.0, 180.0));
        assert_eq!(box_of(&[Placed::default(); KEYPOINTS]), None);
    }

    #[test]
    fn a_region_goes_on_with_the_movement() {
        let mut before = followed(bounds(100.0, 50.0, 40.0, 100.0));
        before.move_on(FRAME);
        let mut region = Region::after(&bounds(110.0, 50.0, 40.0, 100.0), None, &before);
        assert_eq!(region.velocity, Vec2::new(250.0, 0.0));
        assert_eq!(region.expected(), bounds(110.0, 50.0, 40.0, 100.0));
        region.move_on(FRAME);
        assert_eq!(region.expected(), bounds(115.0, 50.0, 50.0, 100.0));
        let jump = Region::after(&bounds(400.0, 50.0, 40.0, 100.0), None, &before);
        assert_eq!(jump.velocity, Vec2::new(0.25 * 100.0 / 0.04, 0.0));
    }

    #[test]
    fn a_person_is_followed_through_frames_that_were_left_out() {
        // Walks 800 pixels a second, four widths; two frames in three are left out now and then.
        let at = |span: Duration| bounds(100.0 + 800.0 * span.as_secs_f32(), 50.0, 200.0, 500.0);
        let mut region = followed(at(Duration::ZERO));
        let mut now = Duration::ZERO;
        for look in 0..30_u32 {
            let span = if look % 4 == 3 { 3 * FRAME } else { FRAME };
            now += span;
            region.move_on(span);
            let overlap = region.bounds.iou(&at(now));
            assert!(look == 0 || overlap > 0.98, "{look}: {overlap}");
            region = Region::after(&at(now), None, &region);
        }
        // After a pause it is looked for where a third of a second would have led, and its speed is over all of it.
        let pause = Duration::from_secs(1);
        let before = region.bounds.left;
        region.move_on(pause);
        assert!((region.bounds.left - before - 800.0 * AHEAD_S_MAX).abs() < 1.0);
        let slow = Region::after(&at(now + FRAME), None, &region);
        assert!((slow.velocity.x - 800.0 * 0.04).abs() < 1.0, "{slow:?}");
    }

    #[test]
    fn a_box_from_the_detector_alone_is_no_movement() {
        let found = bounds(100.0, 50.0, 40.0, 100.0);
        let fresh = Region::new(&found, 0.9, Belief::Confirmed, None);
        let seen = Region::after(&bounds(108.0, 50.0, 40.0, 100.0), None, &fresh);
        assert_eq!(seen.velocity, Vec2::ZERO);
    }

    #[test]
    fn the_detector_steadies_tracked_people_and_adds_new_ones() {
        let mut regions = Regions::new();
        regions
            .push(followed(bounds(100.0, 100.0, 100.0, 200.0)))
            .unwrap();
        let found = [
            (bounds(110.0, 100.0, 100.0, 220.0), 0.9),
            (bounds(400.0, 100.0, 80.0, 200.0), 0.6),
        ];
        join_upright(&mut regions, &Places::default(), found.into_iter());
        assert_eq!(regions.len(), 2);
        assert_eq!(regions[0].bounds, bounds(105.0, 100.0, 100.0, 210.0));
        assert_eq!(regions[0].velocity, Vec2::ZERO);
        assert_eq!(regions[1].bounds, found[1].0);
        // Two found boxes never merge into each other, and eight is the end.
        let many = (0_u8..12).map(|i| (bounds(f32::from(i) * 300.0, 900.0, 80.0, 200.0), 0.5));
        join_upright(&mut regions, &Places::default(), many);
        assert_eq!(regions.len(), PEOPLE_MAX);
    }

    #[test]
    fn furniture_is_in_question_until_the_detector_is_sure_and_a_seen_person_stays_confirmed() {
        let table = bounds(100.0, 100.0, 100.0, 200.0);
        let no_one = Places::default();
        let mut regions = Regions::new();
        for _ in 0..3 {
            join_upright(&mut regions, &no_one, std::iter::once((table, 0.41)));
            assert!(regions[0].is_in_question());
        }
        join_upright(&mut regions, &no_one, std::iter::once((table, 0.8)));
        assert!(!regions[0].is_in_question());
        // Passed over for longer than a byte counts, then found again by half.
        for _ in 0..300 {
            join_upright(&mut regions, &no_one, std::iter::empty());
        }
        assert!(regions[0].is_in_question());
        join_upright(&mut regions, &no_one, std::iter::once((table, 0.41)));
        assert_eq!(regions.len(), 1);
        assert!(!regions[0].is_in_question());
    }

    #[test]
    fn who_was_lost_a_moment_ago_is_believed_where_they_were() {
        let place = bounds(100.0, 100.0, 100.0, 200.0);
        let person = followed(place);
        let mut places = Places::default();
        places.seen_empty(&person, MonoNs(0));
        let found = |places: &Places, at: BoxPx| {
            let mut regions = Regions::new();
            join_upright(&mut regions, places, std::iter::once((at, 0.41)));
            regions[0].belief
        };
        let beside = bounds(120.0, 100.0, 100.0, 200.0);
        assert_eq!(found(&places, beside), Belief::Believed);
        let elsewhere = bounds(400.0, 100.0, 100.0, 200.0);
        assert_eq!(found(&places, elsewhere), Belief::Doubted);
        for _ in 0..LOST_FRAMES {
            places.age(MonoNs(0));
        }
        assert_eq!(found(&places, place), Belief::Doubted);
        // Whom the person detector was never sure of does not vouch for the next; nor is ten too many.
        for belief in [Belief::Believed, Belief::Confirmed] {
            for _ in 0..10 {
                places.seen_empty(&Region { belief, ..person }, MonoNs(0));
            }
            let vouched = found(&places, place) == Belief::Believed;
            assert_eq!(vouched, belief == Belief::Confirmed);
        }
    }

    #[test]
    fn a_place_where_nobody_was_is_left_alone_for_a_while() {
        let coat = bounds(100.0, 100.0, 100.0, 200.0);
        let look = |places: &Places, at: BoxPx| {
            let mut regions = Regions::new();
            join_upright(&mut regions, places, std::iter::once((at, 0.8)));
            regions
        };
        let mut places = Places::default();
        let newcomer = look(&places, coat)[0];
        places.seen_empty(&newcomer, MonoNs(0));
        for frame in 0..15 {
            places.age(MonoNs(frame * 33_000_000));
            assert!(look(&places, bounds(104.0, 100.0, 100.0, 200.0)).is_empty());
            // A person who walks past it has another box.
            assert_eq!(look(&places, bounds(140.0, 100.0, 100.0, 200.0)).len(), 1);
        }
        let now = MonoNs(510_000_000);
        places.age(now);
        assert_eq!(look(&places, coat).len(), 1);
        // A person who was lost in front of it is looked for all the same.
        places.seen_empty(&newcomer, now);
        places.seen_empty(&followed(coat), now);
        assert_eq!(look(&places, coat)[0].belief, Belief::Confirmed);
    }

    fn join_upright(
        regions: &mut Regions,
        places: &Places,
        found: impl Iterator<Item = (BoxPx, f32)>,
    ) {
        join(regions, places, found, 0.5, |_| None);
    }

    fn followed(bounds: BoxPx) -> Region {
        Region {
            score: 1.0,
            inferences: FAMILIAR,
            ..Region::new(&bounds, 1.0, Belief::Confirmed, None)
        }
    }

    #[test]
    fn each_person_has_a_turn_and_new_people_come_first() {
        let mut regions: Regions = (0_u8..7)
            .map(|i| followed(bounds(f32::from(i) * 200.0, 50.0, 80.0, 200.0)))
            .collect();
        regions[6].inferences = 0;
        let mut looked = [0; PEOPLE_MAX];
        for _ in 0..6 {
            let turn = in_turn(&regions, 3);
            assert_eq!(turn.iter().filter(|turn| **turn).count(), 3);
            for (place, turn) in turn.into_iter().enumerate().take(7) {
                let region = regions[place];
                regions[place] = if turn {
                    looked[place] += 1;
                    Region::after(&region.bounds.clone(), None, &region)
                } else {
                    region.left_waiting()
                };
            }
            assert!(regions.iter().all(|region| region.waited <= 2));
        }
        assert_eq!(looked[..7], [3, 3, 2, 2, 2, 2, 4]);
        // With room for all no one waits.
        assert_eq!(in_turn(&regions, PEOPLE_MAX)[..7], [true; 7]);
    }

    #[test]
    fn of_doubted_newcomers_only_some_stay_and_everybody_else() {
        let mut regions: Regions = (0_u8..6)
            .map(|i| followed(bounds(f32::from(i) * 200.0, 50.0, 80.0, 200.0)))
            .collect();
        for place in [0, 1, 3, 4] {
            regions[place].inferences = 0;
            regions[place].belief = Belief::Doubted;
        }
        regions[4].belief = Belief::Confirmed;
        let all = regions.clone();
        postpone_doubted(&mut regions, 2);
        assert_eq!(regions[..], [all[0], all[1], all[2], all[4], all[5]]);
    }

    #[test]
    fn a_waiting_person_is_expected_where_the_movement_leads() {
        let mut still = followed(bounds(100.0, 50.0, 40.0, 100.0));
        still.move_on(FRAME);
        let moving = Region::after(&bounds(104.0, 50.0, 40.0, 100.0), None, &still);
        assert_eq!(moving.velocity, Vec2::new(100.0, 0.0));
        let mut waited = moving;
        for _ in 0..3 {
            waited = waited.left_waiting();
            waited.move_on(FRAME);
        }
        assert_eq!(waited.expected(), bounds(110.0, 50.0, 52.0, 100.0));
        // Three frames later it is seen twelve pixels on: as fast as before.
        let after = Region::after(&bounds(116.0, 50.0, 40.0, 100.0), None, &waited);
        assert_eq!((after.velocity, after.waited), (Vec2::new(100.0, 0.0), 0));
    }

    #[test]
    fn a_box_half_beside_an_unclaimed_person_corrects_the_region() {
        let mut regions = Regions::new();
        // Keypoints ran away to the right and below.
        regions
            .push(followed(bounds(120.0, 120.0, 160.0, 300.0)))
            .unwrap();
        let person = bounds(100.0, 100.0, 100.0, 200.0);
        join_upright(
            &mut regions,
            &Places::default(),
            std::iter::once((person, 0.8)),
        );
        assert_eq!(regions.len(), 1);
        assert_eq!(regions[0].bounds, person);
        assert_eq!(regions[0].unconfirmed, 0);
        // A box that may be furniture's does not pull anybody over.
        regions[0] = followed(bounds(120.0, 120.0, 160.0, 300.0));
        join_upright(
            &mut regions,
            &Places::default(),
            std::iter::once((person, 0.45)),
        );
        assert_eq!(regions.len(), 2);
        assert_eq!(regions[0].bounds, bounds(120.0, 120.0, 160.0, 300.0));
        assert_eq!(regions[1].belief, Belief::Doubted);
    }

    #[test]
    fn a_neighbour_who_overlaps_does_not_take_the_region_of_another() {
        let mut regions = Regions::new();
        let first = bounds(100.0, 100.0, 100.0, 200.0);
        let second = bounds(160.0, 100.0, 100.0, 200.0);
        regions.push(followed(first)).unwrap();
        join_upright(
            &mut regions,
            &Places::default(),
            [(first, 0.9), (second, 0.8)].into_iter(),
        );
        assert_eq!(regions.len(), 2);
        assert_eq!(regions[0].bounds, first);
        assert_eq!(regions[1].bounds, second);
    }

    #[test]
    fn a_missed_person_is_counted() {
        let mut regions = Regions::new();
        regions
            .push(followed(bounds(100.0, 100.0, 100.0, 200.0)))
            .unwrap();
        join_upright(&mut regions, &Places::default(), std::iter::empty());
        join_upright(&mut regions, &Places::default(), std::iter::empty());
        assert_eq!(regions[0].unconfirmed, 2);
    }

    #[test]
    fn a_box_grows_by_no_more_than_arms_can() {
        let before = followed(bounds(100.0, 100.0, 100.0, 200.0));
        let after = Region::after(&bounds(0.0, 0.0, 600.0, 800.0), None, &before);
        assert_eq!(after.bounds, bounds(60.0, 60.0, 180.0, 280.0));
    }

    /// A person of 200 pixels whose trunk points along `lean`.
    fn leaning(lean: f32, trunk_px: f32) -> [Placed; KEYPOINTS] {
        let mut placed = person(300.0, 300.0, 0.9);
        let up = trunk_px * Vec2::new(lean.sin(), -lean.cos());
        for (k, at) in [(5, up), (6, up), (11, Vec2::ZERO), (12, Vec2::ZERO)] {
            (placed[k].keypoint.x_px, placed[k].keypoint.y_px) = (300.0 + at.x, 400.0 + at.y);
        }
        placed
    }

    #[test]
    fn the_lean_is_the_trunks_direction_where_the_trunk_is_seen() {
        for lean in [0.0_f32, 0.7, -1.5, 3.0] {
            let found = turned_box_of(&leaning(lean, 60.0)).unwrap();
            assert!((found.lean - lean).abs() < 1e-4, "{found:?} {lean}");
        }
        assert_eq!(
            turned_box_of(&leaning(1.0, 5.0)),
            None,
            "towards the camera"
        );
        let mut hidden = leaning(1.0, 60.0);
        hidden[11].place = 0.1;
        assert_eq!(turned_box_of(&hidden), None);
    }

    #[test]
    fn a_turned_box_is_the_upright_one_turned() {
        let upright = person(0.0, 0.0, 0.9);
        let mut stands = upright;
        // Hips below the shoulders.
        for (k, (x, y)) in [
            (5, (30.0, 50.0)),
            (6, (10.0, 50.0)),
            (11, (25.0, 110.0)),
            (12, (15.0, 110.0)),
        ] {
            (stands[k].keypoint.x_px, stands[k].keypoint.y_px) = (x, y);
        }
        let own = turned_box_of(&stands).unwrap();
        assert!(own.lean.abs() < 1e-5);
        let mut lies = stands;
        for placed in &mut lies {
            let at = Vec2::new(placed.keypoint.x_px, placed.keypoint.y_px);
            let turned = Vec2::from_angle(1.2).rotate(at);
            (placed.keypoint.x_px, placed.keypoint.y_px) = turned.into();
        }
        let found = turned_box_of(&lies).unwrap();
        assert!((found.lean - 1.2).abs() < 1e-4);
        assert!((found.half - own.half).length() < 1e-2, "{found:?} {own:?}");
        let centre = Vec2::from_angle(1.2).rotate(own.centre);
        assert!((found.centre - centre).length() < 1e-2);
        // Its corners hold every keypoint.
        let corners = found.corners();
        let up = (corners[0] - corners[3]).normalize();
        assert!(up.angle_to(Vec2::new(1.2_f32.sin(), -1.2_f32.cos())).abs() < 1e-4);
    }

    #[test]
    fn a_crop_is_turned_late_and_back_later() {
        let at = bounds(100.0, 100.0, 100.0, 200.0);
        let mut region = followed(at);
        let leans = |lean| Some(TurnedBox::of(&at, lean));
        let steps = [0.3, 0.5, 0.7, 0.5, 0.3, 0.5].map(|part| {
            // In parts of what turns it, between that and what turns it back.
            region = Region::after(&at, leans(part / 0.6 * TURN_FROM), &region);
            region.turned.is_some()
        });
        assert_eq!(steps, [false, false, true, true, false, false]);
        // A trunk that is not seen says nothing: upright.
        let turned = Region {
            turned: leans(1.2),
            ..region
        };
        assert_eq!(Region::after(&at, None, &turned).turned, None);
    }
}

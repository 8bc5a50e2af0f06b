//! A frame to its people: regions, inference, and which detections to accept.
//!
//! Top-down: the person detector runs on the whole frame on the first frame, whenever
//! a person was lost, while no person is in view (ten times a second in a room that
//! has been empty for a while), and every [`PeopleSettings::finder_every_frames`]; in between
//! each person's box comes from the keypoints of the frame before. Each box is cut out and goes through
//! the person network. A `YOLO-pose` network reads whole frames and needs no person detector.

use std::path::Path;
use std::time::Duration;

use glam::Vec2;
use heapless::Vec;
use serde::Deserialize;

use super::crop::{Crop, corners_of, flat, perspective};
use super::decode::{Found, FoundBox, Placed, best_half};
use super::merge::merge;
use super::orientation::Orientation;
use super::preprocess::{LensGrid, Letterbox, Preprocess};
use super::regions::{
    Belief, Places, Region, Regions, TurnedBox, box_of, in_turn, join, postpone_doubted,
    turned_box_of,
};
use super::vision::VisionNet;
use crate::base::clock::MonoNs;
use crate::base::config::{ConfigError, check};
use crate::base::limits::{IMAGE_FEATURES, PEOPLE_MAX};
use crate::camera::Calibration;
use crate::camera::rotate::rotation_facing;
use crate::engine::Engine;
use crate::engine::models::{Decoder, Description, Kind, ModelError};
use crate::engine::network::InferError;
use crate::frame::Frame;
use crate::pose::similarity;
use crate::pose::{BoxPx, Detection, Keypoint, People};
use crate::skeleton::KEYPOINTS;

/// Frames between two runs of the person detector while everybody is followed: a
/// newcomer waits at most a third of a second at 30 Hz, and the person detector costs a
/// tenth of its time per frame.
pub const DETECTOR_EVERY: u32 = 10;

/// How many times less often the person detector runs when its runs are shed: a newcomer waits a second at 30 Hz.
const SHED_FACTOR: u32 = 3;

/// Two detections whose keypoints are more alike than this are one person.
const SAME_POSE: f32 = 0.7;

/// A person whom the person detector misses repeatedly, and a newcomer of whom it is
/// not sure, has to be this well visible ([`Detection::score`]) to be followed on.
const SURE: f32 = 0.7;

/// Two detections whose boxes overlap more than this are one person.
const SAME_BOX: f32 = 0.85;

/// A camera that hangs askew by more than this, radians, at the place of a newcomer has the first crop turned.
const ASKEW_FROM: f32 = 0.6;

/// Where the vertical appears shorter than this share of its length, it has no direction in the image.
const UP_MIN: f32 = 0.3;

/// Frames between two runs of the person detector that were asked for because keypoints and box disagree: a person whom
/// both see differently all the time would make it run in every frame.
const AGAIN_EVERY: u32 = 3;

/// Newcomers of whom the person detector is not sure that the person network runs on in one frame; the others wait for
/// the detector's next run. In a room full of things that look like people, one frame would otherwise take as long as
/// eight people do.
const DOUBTED_PER_FRAME: usize = 2;

/// Looks at a newcomer, at most: where the detector's box holds much beside the person, the crop closes in on the person
/// from look to look.
const LOOKS_MAX: usize = 4;

/// A box of keypoints that overlaps the box that was looked at by more than this is the same: another look would see the
/// same crop.
const SAME_CROP: f32 = 0.8;

/// Least chance that a newcomer is a person for another look: half of the things that look like people have but one.
const LOOK_AGAIN: f32 = 0.05;

/// A room in which no one was seen for this long is taken to be empty, and the person detector no longer runs on every
/// frame: people who are lost from view come back sooner.
const EMPTY_AFTER: Duration = Duration::from_secs(2);

/// Time between two runs of the person detector in an empty room: a person who comes in is seen a tenth of a second later,
/// and with a camera of 30 Hz two thirds of the processor time are saved.
const EMPTY_EVERY: Duration = Duration::from_millis(100);

/// A box of which less than this is in the frame, in pixels of its shorter side, holds no person.
const SIDE_PX_MIN: f32 = 4.0;

/// `[people]`: people to detect and which detections to accept.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct PeopleSettings {
    /// Most people in one frame, 1 to 8. Each costs one run of the person network.
    pub people_max: usize,
    /// Frames between two runs of the person detector, 1 to 1000. Default: `DETECTOR_EVERY`.
    pub finder_every_frames: u32,
    /// A person whose keypoints have a lower mean visibility is dropped, 0 to 1.
    /// Default 0.15: a person of whom a quarter is well visible stays.
    pub confidence_min: f32,
    /// Whether the person network also sees each crop in a mirror. Default: `normal`.
    pub quality: Quality,
}

/// How much work goes into the keypoints of one person.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Quality {
    /// One run of the person network.
    #[default]
    Normal,
    /// A second run on the mirrored crop, and the mean of both: twice the time of the person network.
    High,
}

impl Default for PeopleSettings {
    fn default() -> Self {
        Self {
            people_max: PEOPLE_MAX,
            finder_every_frames: DETECTOR_EVERY,
            confidence_min: 0.15,
            quality: Quality::Normal,
        }
    }
}

impl PeopleSettings {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check("people.people_max", self.people_max, 1, PEOPLE_MAX)?;
        check(
            "people.finder_every_frames",
            self.finder_every_frames,
            1,
            1000,
        )?;
        check("people.confidence_min", self.confidence_min, 0.0, 1.0)
    }
}

/// What has just been done, for a caller that keeps the time of each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lap {
    /// The whole frame was scaled into a network's input.
    FramePreprocess,
    /// The person detector (or `YOLO-pose`) ran.
    FrameNetwork,
    /// A person was cut out.
    PersonPreprocess,
    /// The person network ran.
    PersonNetwork,
    /// Outputs became keypoints or boxes.
    Decode,
}

/// What is left out of frames on a machine that cannot keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shed {
    /// Whether the person detector runs a third as often.
    pub detector: bool,
    /// Most runs of the person network in one frame; the others wait for their turn.
    pub inferences: usize,
}

/// Nothing is left out.
impl Default for Shed {
    fn default() -> Self {
        Self {
            detector: false,
            inferences: PEOPLE_MAX,
        }
    }
}

/// What one frame came to, beside the people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether the person detector ran on this frame.
    pub detector_ran: bool,
    /// Boxes the person network ran on.
    pub regions: usize,
    /// Boxes dropped: no person in it, the same person twice, or outside the lens.
    pub dropped: usize,
    /// Boxes whose turn comes in a later frame ([`Shed::inferences`]).
    pub waiting: usize,
    /// By how many quarter turns clockwise frames would have to be turned for people to be seen better; 0 where they
    /// are the right way up, or that is not known.
    pub better_turned: usize,
}

/// What finds the people of frames: [`PeopleNet`], or what a test puts in its place.
pub trait Detect {
    /// As [`PeopleNet::step_timed`].
    ///
    /// # Errors
    ///
    /// As [`PeopleNet::step`].
    fn step_timed(
        &mut self,
        frame: &Frame,
        camera: &Calibration,
        people: &mut People,
        lap: &mut dyn FnMut(Lap),
    ) -> Result<Seen, InferError>;

    /// As [`PeopleNet::shed`].
    fn shed(&mut self, shed: Shed);

    /// As [`PeopleNet::reset`].
    fn reset(&mut self);
}

impl Detect for PeopleNet {
    fn step_timed(
        &mut self,
        frame: &Frame,
        camera: &Calibration,
        people: &mut People,
        lap: &mut dyn FnMut(Lap),
    ) -> Result<Seen, InferError> {
        Self::step_timed(self, frame, camera, people, lap)
    }

    fn shed(&mut self, shed: Shed) {
        Self::shed(self, shed);
    }

    fn reset(&mut self) {
        Self::reset(self);
    }
}

/// A frame to its people. Owns its networks, buffers and what it remembers of
/// the frame before; nothing is allocated after construction.
#[derive(Debug)]
pub struct PeopleNet {
    detector: Option<VisionNet>,
    person: VisionNet,
    settings: PeopleSettings,
    shed: Shed,
    preprocess: Preprocess,
    grid: LensGrid,
    /// People of the frame before, where the next frame is to be searched for them.
    followed: Regions,
    places: Places,
    /// Size of the frame before.
    size_px: (u32, u32),
    /// How many were followed when the person detector last looked or a frame was last complete.
    expected: usize,
    frames_since_detector: u32,
    /// When the last frame was taken on which the person detector ran.
    detector_ran: Option<MonoNs>,
    /// When the last frame was taken, of which the people followed are.
    last_frame: Option<MonoNs>,
    /// When a person was last in view, or the first frame was taken.
    last_person: Option<MonoNs>,
    /// Whether the keypoints of a person made another box than was looked at.
    disagreed: bool,
    orientation: Orientation,
    boxes: Vec<FoundBox, PEOPLE_MAX>,
    found: Vec<Found, PEOPLE_MAX>,
}

impl PeopleNet {
    /// Opens model folders: the network for keypoints, and the person detector it needs
    /// unless it looks at whole frames itself.
    ///
    /// Without a person detector a top-down network looks at the whole frame until it
    /// sees a person, and follows only that person.
    ///
    /// # Errors
    ///
    /// What does not fit; see [`ModelError`].
    pub fn open(
        engine: &Engine,
        person: &Path,
        detector: Option<&Path>,
        settings: PeopleSettings,
    ) -> Result<Self, ModelError> {
        // The kinds are checked before the networks are loaded, which takes longer.
        let wrong = |folder: &Path, kind: Kind, want: &str| ModelError::Misfit {
            path: folder.to_owned(),
            what: format!("kind is {}, wanted {want}", kind.name()),
        };
        let kind = Description::read(person)?.kind;
        if !matches!(kind, Kind::Person | Kind::Keypoints) {
            return Err(wrong(person, kind, "person or keypoints"));
        }
        if let Some(folder) = detector {
            let kind = Description::read(folder)?.kind;
            if kind != Kind::PersonDetector {
                return Err(wrong(folder, kind, "finder"));
            }
        }
        let open = |folder| VisionNet::open(engine, folder);
        let detector = detector.map(open).transpose()?;
        Ok(Self::new(open(person)?, detector, settings))
    }

    /// Puts loaded networks together.
    pub fn new(person: VisionNet, detector: Option<VisionNet>, settings: PeopleSettings) -> Self {
        let (width, height) = person.size();
        let width_max = detector.as_ref().map_or(width, |f| f.size().0.max(width));
        Self {
            preprocess: Preprocess::new(width_max),
            grid: LensGrid::new(width, height),
            detector,
            person,
            settings,
            shed: Shed::default(),
            followed: Regions::new(),
            places: Places::default(),
            size_px: (0, 0),
            expected: 0,
            frames_since_detector: u32::MAX,
            detector_ran: None,
            last_frame: None,
            last_person: None,
            disagreed: false,
            orientation: Orientation::default(),
            boxes: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Name of the engine that runs the person network.
    pub fn engine(&self) -> &'static str {
        self.person.engine()
    }

    /// From now on leaves this out.
    pub fn shed(&mut self, shed: Shed) {
        self.shed = shed;
    }

    /// Forgets all people, as after a camera was reopened.
    pub fn reset(&mut self) {
        self.followed.clear();
        self.places.clear();
        self.expected = 0;
        self.frames_since_detector = u32::MAX;
        self.detector_ran = None;
        self.last_frame = None;
        self.last_person = None;
        self.disagreed = false;
        self.orientation = Orientation::default();
    }

    /// Tells that a person is in this box of a frame of this size, so that the next
    /// frame is searched there: for callers who know where people are.
    pub fn expect_at(&mut self, bounds: &BoxPx, size_px: (u32, u32)) {
        if self.size_px != size_px {
            self.reset();
            self.size_px = size_px;
        }
        join(
            &mut self.followed,
            &Places::default(),
            std::iter::once((*bounds, 1.0)),
            0.0,
            |_| None,
        );
    }

    /// Finds the people of a frame.
    ///
    /// # Errors
    ///
    /// See [`InferError`]; `people` is then empty and the people of the frame
    /// before are looked for again in the next.
    pub fn step(
        &mut self,
        frame: &Frame,
        camera: &Calibration,
        people: &mut People,
    ) -> Result<Seen, InferError> {
        self.step_timed(frame, camera, people, &mut |_| ())
    }

    /// As [`PeopleNet::step`], telling `lap` after each part what was done, so
    /// that the caller can keep the time.
    ///
    /// # Errors
    ///
    /// As [`PeopleNet::step`].
    pub fn step_timed(
        &mut self,
        frame: &Frame,
        camera: &Calibration,
        people: &mut People,
        lap: &mut dyn FnMut(Lap),
    ) -> Result<Seen, InferError> {
        people.clear();
        let size_px = (frame.meta.width_px, frame.meta.height_px);
        if self.size_px != size_px {
            // Boxes of another image size mean nothing here.
            self.reset();
            self.size_px = size_px;
        }
        let seen = if matches!(self.person.decoder(), Decoder::YoloPose { .. }) {
            self.whole_frame(frame, people, lap)
        } else {
            self.top_down(frame, camera, people, lap)
        };
        if seen.is_err() {
            people.clear();
        }
        seen
    }

    fn whole_frame(
        &mut self,
        frame: &Frame,
        people: &mut People,
        lap: &mut dyn FnMut(Lap),
    ) -> Result<Seen, InferError> {
        let fit = run_on_whole(&mut self.preprocess, &mut self.person, frame, lap)?;
        self.person.decode_people(&mut self.found)?;
        for found in self.found.iter().take(self.settings.people_max) {
            let mut keypoints = found.keypoints.map(|placed| placed.keypoint);
            for keypoint in &mut keypoints {
                (keypoint.x_px, keypoint.y_px) = fit.to_source(keypoint.x_px, keypoint.y_px);
            }
            let visibility = keypoints.iter().map(|k| k.visibility).sum::<f32>() / MEAN_OF;
            let bounds = inside(&to_source(&fit, &found.person.bounds), frame);
            let Some(bounds) = bounds.filter(|_| visibility >= self.settings.confidence_min) else {
                continue;
            };
            // There is room: both hold PEOPLE_MAX.
            let _ = people.push(Detection {
                score: found.person.score,
                bounds,
                keypoints,
                features: None,
            });
        }
        lap(Lap::Decode);
        Ok(Seen {
            detector_ran: false,
            regions: self.found.len(),
            dropped: self.found.len() - people.len(),
            waiting: 0,
            better_turned: 0,
        })
    }

    fn top_down(
        &mut self,
        frame: &Frame,
        camera: &Calibration,
        people: &mut People,
        lap: &mut dyn FnMut(Lap),
    ) -> Result<Seen, InferError> {
        let mut regions = self.followed.clone();
        let span = self
            .last_frame
            .map_or(Duration::ZERO, |last| frame.meta.capture.since(last));
        for region in &mut regions {
            region.move_on(span);
        }
        self.places.age(frame.meta.capture);
        let detector_ran = self.find(frame, camera, &mut regions, lap)?;
        self.disagreed &= !detector_ran;
        regions.truncate(self.settings.people_max);
        let mut next = Regions::new();
        // The first frame may be the only one, a photograph.
        if self.last_person.is_some() {
            postpone_doubted(&mut regions, DOUBTED_PER_FRAME);
        }
        let turn = in_turn(&regions, self.shed.inferences);
        let mut waiting = 0;
        for (region, turn) in regions.iter().zip(turn) {
            if !turn {
                waiting += 1;
                let _ = next.push(region.left_waiting());
                continue;
            }
            let Some((mut person, looked_at, turned)) = self.infer(frame, camera, region, lap)?
            else {
                self.places.seen_empty(region, frame.meta.capture);
                lap(Lap::Decode);
                continue;
            };
            self.disagreed |= !looked_at.agrees_with(&person.bounds);
            // The next crop follows the joints that are guessed beyond the image's border; the box of a person ends there.
            let reach = person.bounds;
            person.bounds = inside(&reach, frame).unwrap_or(reach);
            if !people.iter().any(|other| is_same(other, &person)) {
                // There is room: there are at most PEOPLE_MAX regions.
                let mut after = Region::after(&reach, turned, &looked_at);
                if region.is_new() && self.person.tells_presence() {
                    after.belief = Belief::Confirmed;
                }
                let _ = next.push(after);
                let _ = people.push(person);
            }
            lap(Lap::Decode);
        }
        // After the person detector has run, the tracked people are all the people.
        self.expected = if detector_ran {
            next.len()
        } else {
            self.expected.max(next.len())
        };
        if !people.is_empty() || self.last_person.is_none() {
            self.last_person = Some(frame.meta.capture);
        }
        self.followed = next;
        self.last_frame = Some(frame.meta.capture);
        Ok(Seen {
            detector_ran,
            regions: regions.len(),
            dropped: regions.len() - waiting - people.len(),
            waiting,
            better_turned: self.orientation.better_turned(),
        })
    }

    /// Runs the person detector when it is due, and merges its boxes with the regions.
    fn find(
        &mut self,
        frame: &Frame,
        camera: &Calibration,
        regions: &mut Regions,
        lap: &mut dyn FnMut(Lap),
    ) -> Result<bool, InferError> {
        let lost = regions.len() < self.expected;
        let astray = self.disagreed && self.frames_since_detector >= AGAIN_EVERY - 1;
        let factor = if self.shed.detector { SHED_FACTOR } else { 1 };
        let due = self.frames_since_detector >= factor * self.settings.finder_every_frames - 1;
        self.frames_since_detector = self.frames_since_detector.saturating_add(1);
        let empty = regions.is_empty() && !self.rests(frame.meta.capture);
        if !(empty || lost || astray || due) {
            return Ok(false);
        }
        let Some(detector) = &mut self.detector else {
            if regions.is_empty() {
                let all = std::iter::once((whole(frame), 1.0));
                // Looked at in every frame: no other place will be found.
                join(regions, &Places::default(), all, 0.0, |bounds| {
                    standing(bounds, camera)
                });
            }
            return Ok(false);
        };
        let fit = run_on_whole(&mut self.preprocess, detector, frame, lap)?;
        detector.decode_boxes(&mut self.boxes)?;
        let found = self.boxes.iter();
        join(
            regions,
            &self.places,
            found.map(|found| (to_source(&fit, &found.bounds), found.score)),
            detector.score_sure(),
            |bounds| standing(bounds, camera),
        );
        lap(Lap::Decode);
        let straight = best_score(&self.boxes);
        if !self.shed.detector
            && detector.image_mut().is_square()
            && let Some(turns) = self.orientation.due(frame.meta.capture, straight)
        {
            detector.image_mut().turn(turns);
            detector.run()?;
            lap(Lap::FrameNetwork);
            detector.decode_boxes(&mut self.boxes)?;
            let best = self.boxes.first().map(|best| (best.score, best.bounds));
            self.orientation.take(frame.meta.capture, straight, best);
            lap(Lap::Decode);
        }
        self.frames_since_detector = 0;
        self.detector_ran = Some(frame.meta.capture);
        Ok(true)
    }

    /// Whether the person detector may pass over a frame without people taken at `now`.
    fn rests(&self, now: MonoNs) -> bool {
        let within = |then: Option<MonoNs>, span| then.is_some_and(|then| now.since(then) < span);
        !within(self.last_person, EMPTY_AFTER) && within(self.detector_ran, EMPTY_EVERY)
    }

    /// The person in a region, the region that was looked at last, and the person's box along the trunk; `None` if no
    /// person is.
    ///
    /// A newcomer is looked at again until the box of the keypoints is the one that was looked at: the detector's box
    /// holds a person badly as a rule, and what the person network says of a crop that fits tells people from things
    /// better.
    fn infer(
        &mut self,
        frame: &Frame,
        camera: &Calibration,
        region: &Region,
        lap: &mut dyn FnMut(Lap),
    ) -> Result<Option<(Detection, Region, Option<TurnedBox>)>, InferError> {
        let Some(mut look) = self.look(frame, camera, region, lap)? else {
            return Ok(None);
        };
        // A person seen from the side shows half of the joints: what the best
        // half says is the better measure of whether a person is there.
        let score = |look: &Look| best_half(look.placed.map(|placed| placed.keypoint.visibility));
        let newcomer = region.is_new() && self.person.tells_presence();
        let mut near = *region;
        let believed = if newcomer {
            for _ in 1..LOOKS_MAX {
                if self.presence(region, &look) < LOOK_AGAIN {
                    return Ok(None);
                }
                lap(Lap::Decode);
                near = Region {
                    // Of one frame: the tracker has not seen the person yet.
                    inferences: region.inferences,
                    ..Region::after(&look.bounds, look.turned, &near)
                };
                let Some(again) = self.look(frame, camera, &near, lap)? else {
                    return Ok(None);
                };
                look = again;
                if near.bounds.iou(&look.bounds) >= SAME_CROP {
                    break;
                }
            }
            self.presence(region, &look) >= 0.5
        } else {
            !region.is_in_question() || score(&look) >= SURE
        };
        if !believed {
            return Ok(None);
        }
        let detection = Detection {
            score: score(&look),
            bounds: look.bounds,
            keypoints: look.placed.map(|placed| placed.keypoint),
            features: look.features,
        };
        Ok(Some((detection, near, look.turned)))
    }

    /// The chance that a newcomer in a region is a person, after a look there; 0 of a network that does not tell.
    fn presence(&self, region: &Region, look: &Look) -> f32 {
        let chance = self.person.presence(region.score, &look.placed);
        chance.unwrap_or_default()
    }

    /// Runs the person network on one region; `None` where it is outside the frame, or too little is seen in it.
    fn look(
        &mut self,
        frame: &Frame,
        camera: &Calibration,
        region: &Region,
        lap: &mut dyn FnMut(Lap),
    ) -> Result<Option<Look>, InferError> {
        let Some(bounds) = inside(&region.expected(), frame) else {
            return Ok(None);
        };
        let size = self.person.size();
        let (corners, lean) = match region.turned {
            Some(turned) => (turned.corners(), turned.lean),
            None => (corners_of(&bounds), 0.0),
        };
        let crop = match self.person.kind() {
            Kind::Person => perspective(&corners, lean, camera, size),
            _ => flat(&corners, lean, size),
        };
        let Some(crop) = crop else {
            return Ok(None);
        };
        let mut placed = self.keypoints(frame, camera, crop, lap)?;
        // Image features tell where joints are in a crop that is not turned, and of the crop as it is, not of its
        // mirror.
        let features = self.person.features().filter(|_| region.turned.is_none());
        if self.settings.quality == Quality::High {
            lap(Lap::Decode);
            let mirrored = self.keypoints(frame, camera, crop.mirrored(size), lap)?;
            merge(&mut placed, &mirrored);
        }
        let visibility = placed.iter().map(|p| p.keypoint.visibility).sum::<f32>() / MEAN_OF;
        if visibility < self.settings.confidence_min {
            return Ok(None);
        }
        Ok(box_of(&placed).map(|bounds| Look {
            placed,
            bounds,
            turned: turned_box_of(&placed),
            features,
        }))
    }

    /// Keypoints, in the frame, of one run of the person network on a crop.
    fn keypoints(
        &mut self,
        frame: &Frame,
        camera: &Calibration,
        crop: Crop,
        lap: &mut dyn FnMut(Lap),
    ) -> Result<[Placed; KEYPOINTS], InferError> {
        let mapping = crop.mapping(camera, &mut self.grid);
        self.preprocess
            .warp(frame, &mapping, self.person.image_mut())?;
        lap(Lap::PersonPreprocess);
        self.person.run()?;
        lap(Lap::PersonNetwork);
        let mut placed = [Placed::default(); KEYPOINTS];
        self.person.decode_person(&mut placed)?;
        to_frame(&mut placed, crop, camera);
        Ok(placed)
    }
}

/// The score of the best box, which is the first; 0 without one.
fn best_score(boxes: &[FoundBox]) -> f32 {
    boxes.first().map_or(0.0, |best| best.score)
}

/// How far a person who stands in a box leans in the image, radians clockwise from upright, where the
/// camera's mount says that it hangs askew.
fn standing(bounds: &BoxPx, camera: &Calibration) -> Option<f32> {
    let (x, y) = bounds.centre();
    let (mount, ray) = camera.mount().zip(camera.ray(x, y))?;
    let up = rotation_facing(ray) * mount.up();
    let lean = up.x.atan2(-up.y);
    // Straight above or below, up points along the line of observation.
    (up.truncate().length() > UP_MIN && lean.abs() > ASKEW_FROM).then_some(lean)
}

/// Runs a network on the whole frame; gives how the frame lies in its input.
fn run_on_whole(
    preprocess: &mut Preprocess,
    network: &mut VisionNet,
    frame: &Frame,
    lap: &mut dyn FnMut(Lap),
) -> Result<Letterbox, InferError> {
    let fit = preprocess.letterbox(frame, network.image_mut())?;
    lap(Lap::FramePreprocess);
    network.run()?;
    lap(Lap::FrameNetwork);
    Ok(fit)
}

#[expect(clippy::cast_precision_loss, reason = "17")]
const MEAN_OF: f32 = KEYPOINTS as f32;

/// What one run of the person network on a region says.
struct Look {
    placed: [Placed; KEYPOINTS],
    /// The box of the keypoints, pixels of the frame.
    bounds: BoxPx,
    /// The same along the trunk.
    turned: Option<TurnedBox>,
    /// Image features, of a crop that is not turned.
    features: Option<[f32; IMAGE_FEATURES]>,
}

/// Whether two detections of one frame are one person.
fn is_same(a: &Detection, b: &Detection) -> bool {
    similarity::between(a, b) > SAME_POSE || a.bounds.iou(&b.bounds) > SAME_BOX
}

/// Crop pixels to frame pixels; a keypoint whose place no lens reaches loses its confidence.
fn to_frame(placed: &mut [Placed; KEYPOINTS], crop: Crop, camera: &Calibration) {
    for placed in placed {
        let keypoint = &mut placed.keypoint;
        if let Some((x, y)) = crop.to_frame(keypoint.x_px, keypoint.y_px, camera)
            && Vec2::new(x, y).is_finite()
        {
            (keypoint.x_px, keypoint.y_px) = (x, y);
        } else {
            *placed = Placed {
                keypoint: Keypoint::default(),
                place: 0.0,
            };
        }
    }
}

fn to_source(fit: &Letterbox, bounds: &BoxPx) -> BoxPx {
    let (left, top) = fit.to_source(bounds.left, bounds.top);
    let (right, bottom) = fit.to_source(bounds.right, bounds.bottom);
    BoxPx {
        left,
        top,
        right,
        bottom,
    }
}

/// The part of a box that lies in the frame; person networks are trained on
/// boxes that end where the image ends.
fn inside(bounds: &BoxPx, frame: &Frame) -> Option<BoxPx> {
    let whole = whole(frame);
    let part = BoxPx {
        left: bounds.left.max(whole.left),
        top: bounds.top.max(whole.top),
        right: bounds.right.min(whole.right),
        bottom: bounds.bottom.min(whole.bottom),
    };
    (part.width().min(part.height()) >= SIDE_PX_MIN).then_some(part)
}

#[expect(clippy::cast_precision_loss, reason = "sides are at most 1920")]
fn whole(frame: &Frame) -> BoxPx {
    BoxPx {
        left: 0.0,
        top: 0.0,
        right: frame.meta.width_px as f32 - 1.0,
        bottom: frame.meta.height_px as f32 - 1.0,
    }
}

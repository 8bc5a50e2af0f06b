use glam::Vec3;

use super::*;
use crate::pose::{BoxPx, HeadTag, JointState, Keypoint, Size, SizeSource};
use crate::skeleton::{JOINTS, KEYPOINTS};

const FRAME_NS: u64 = 33_333_333;

fn mount() -> Mount {
    Mount {
        height_m: 2.2,
        down_deg: 20.0,
        roll_deg: 1.0,
    }
}

/// A person whose pelvis, thorax and head are at these places of the floor: metres before the camera, to its left, up.
fn person(id: u32, [pelvis, thorax, head]: [[f32; 3]; 3]) -> PersonPose {
    let mount = mount();
    let back = mount.to_floor().inverse();
    let camera = |at: [f32; 3]| back * (Vec3::from(at) - Vec3::Z * mount.height_m);
    let mut joints = [camera(pelvis); JOINTS];
    joints[8] = camera(thorax);
    joints[10] = camera(head);
    PersonPose {
        id,
        score: 1.0,
        bounds: BoxPx::default(),
        root_camera_m: joints[0],
        root_sigma_m: 0.15,
        joints_camera_m: joints,
        sigmas_m: [0.04; JOINTS],
        states: [JointState::Measured; JOINTS],
        keypoints: [Keypoint::new(300.0, 400.0, 0.9); KEYPOINTS],
        size: Size {
            factor: 1.0,
            sigma: 0.04,
            source: SizeSource::Floor,
        },
        action: None,
        head: HeadTag::default(),
    }
}

fn standing(id: u32) -> PersonPose {
    person(id, [[3.0, 0.5, 0.95], [3.0, 0.5, 1.45], [3.0, 0.5, 1.65]])
}

fn lying(id: u32) -> PersonPose {
    person(id, [[3.0, 0.5, 0.15], [3.3, 0.9, 0.2], [3.4, 1.1, 0.2]])
}

fn sitting(id: u32) -> PersonPose {
    person(id, [[3.0, 0.5, 0.12], [3.1, 0.5, 0.6], [3.1, 0.5, 0.8]])
}

/// A watch, its time, and what it said.
struct Room {
    watch: FloorWatch,
    time: MonoNs,
    events: std::vec::Vec<FloorEvent>,
}

impl Room {
    fn new(config: &FloorConfig) -> Self {
        Self {
            watch: FloorWatch::new(config, &mount()),
            time: MonoNs(1_000_000_000),
            events: std::vec::Vec::new(),
        }
    }

    fn shows(&mut self, people: &[PersonPose], seconds: u64) -> &mut Self {
        for _ in 0..30 * seconds {
            self.time = MonoNs(self.time.0 + FRAME_NS);
            let events = &mut self.events;
            self.watch
                .add(self.time, people, &mut |event| events.push(*event));
        }
        self
    }

    fn shows_one(&mut self, person: &PersonPose) {
        self.time = MonoNs(self.time.0 + FRAME_NS);
        let events = &mut self.events;
        let people = std::slice::from_ref(person);
        self.watch
            .add(self.time, people, &mut |event| events.push(*event));
    }

    fn changes(&self) -> std::vec::Vec<(FloorChange, u32, u32)> {
        self.events
            .iter()
            .map(|event| (event.change, event.number, event.person))
            .collect()
    }
}

use FloorChange::{Lost, Off, On};

#[test]
fn a_person_who_lies_down_is_reported_once_after_the_time_and_ends_when_up() {
    let mut room = Room::new(&FloorConfig::default());
    room.shows(&[standing(7)], 5);
    let down = room.time;
    room.shows(&[lying(7)], 4);
    assert_eq!(room.changes(), []);
    room.shows(&[lying(7)], 60);
    assert_eq!(room.changes(), [(On, 1, 7)]);
    let event = room.events[0];
    let delay = event.time.since(down).as_secs_f32();
    assert!((5.0..9.0).contains(&delay), "{delay}");
    assert!(event.probability > 0.9, "{event:?}");
    assert!(
        event.place_m.distance(Vec2::new(3.15, 0.7)) < 0.05,
        "{event:?}"
    );
    let text = event.to_string();
    assert!(
        text.starts_with("event 1: person 7, probability "),
        "{text}"
    );
    assert!(text.contains("m to the left of the camera"), "{text}");
    let up = room.time;
    room.shows(&[standing(7)], 10);
    assert_eq!(room.changes(), [(On, 1, 7), (Off, 1, 7)]);
    let delay = room.events[1].time.since(up).as_secs_f32();
    assert!((2.0..5.0).contains(&delay), "{delay}");
}

#[test]
fn sitting_on_the_floor_and_short_looks_under_furniture_are_not_reported() {
    let mut room = Room::new(&FloorConfig::default());
    room.shows(&[standing(1)], 3).shows(&[sitting(1)], 120);
    for _ in 0..10 {
        room.shows(&[lying(1)], 4).shows(&[standing(1)], 4);
    }
    assert_eq!(room.changes(), []);
}

#[test]
fn completed_joints_raise_nothing_and_end_nothing() {
    let hidden = |mut pose: PersonPose| {
        pose.states[0] = JointState::Completed;
        pose.states[8] = JointState::Completed;
        pose
    };
    let mut room = Room::new(&FloorConfig::default());
    room.shows(&[hidden(lying(1))], 60);
    assert_eq!(room.changes(), []);
    room.shows(&[lying(1)], 20)
        .shows(&[hidden(standing(1))], 60);
    assert_eq!(room.changes(), [(On, 1, 1)]);
}

#[test]
fn without_hips_thorax_and_head_are_enough() {
    let mut pose = lying(1);
    pose.states[0] = JointState::Absent;
    let mut room = Room::new(&FloorConfig::default());
    room.shows(&[standing(1)], 3).shows(&[pose], 15);
    assert_eq!(room.changes(), [(On, 1, 1)]);
}

#[test]
fn a_person_lost_on_the_floor_is_told_and_another_id_goes_on_with_the_event() {
    let mut room = Room::new(&FloorConfig::default());
    room.shows(&[standing(1)], 3).shows(&[lying(1)], 15);
    // Another id after a second: the same event, and nothing to tell.
    room.shows(&[], 1).shows(&[lying(2)], 20);
    assert_eq!(room.changes(), [(On, 1, 1)]);
    room.shows(&[], 9);
    assert_eq!(room.changes(), [(On, 1, 1)]);
    room.shows(&[], 3);
    assert_eq!(room.changes(), [(On, 1, 1), (Lost, 1, 2)]);
    // A person who comes to help ends nothing; the one who lies is found again, and helped up.
    room.shows(&[standing(3)], 20);
    assert_eq!(room.changes().len(), 2);
    room.shows(&[standing(3), lying(4)], 5);
    room.shows(&[standing(3), standing(4)], 10);
    assert_eq!(
        room.changes(),
        [(On, 1, 1), (Lost, 1, 2), (On, 1, 4), (Off, 1, 4)]
    );
}

/// A person of this size, against an adult, whom the floor has told.
fn of_size(mut pose: PersonPose, factor: f32) -> PersonPose {
    pose.size.factor = factor;
    pose
}

#[test]
fn a_child_who_was_seen_standing_is_not_taken_from_a_sofa_to_the_floor() {
    let standing = person(1, [[3.0, 0.5, 0.68], [3.0, 0.5, 1.04], [3.0, 0.5, 1.19]]);
    let sofa = person(1, [[3.0, 0.5, 0.6], [3.3, 0.7, 0.66], [3.4, 0.8, 0.66]]);
    let floor = person(1, [[3.0, 0.5, 0.1], [3.3, 0.7, 0.16], [3.4, 0.8, 0.16]]);
    let mut room = Room::new(&FloorConfig::default());
    room.shows(&[of_size(standing, 0.72)], 5);
    room.shows(&[of_size(sofa, 0.72)], 60);
    assert_eq!(room.changes(), []);
    room.shows(&[of_size(floor, 0.72)], 20);
    assert_eq!(room.changes(), [(On, 1, 1)]);
}

#[test]
fn a_person_who_lies_elsewhere_is_another_event() {
    let mut room = Room::new(&FloorConfig::default());
    room.shows(&[standing(1)], 3).shows(&[lying(1)], 15);
    room.shows(&[], 2);
    let far = person(2, [[3.0, -1.2, 0.15], [3.3, -0.8, 0.2], [3.4, -0.6, 0.2]]);
    room.shows(&[far], 15);
    assert_eq!(room.changes(), [(On, 1, 1), (On, 2, 2), (Lost, 1, 1)]);
}

#[test]
fn ten_minutes_after_the_person_was_seen_an_event_is_forgotten() {
    let mut room = Room::new(&FloorConfig::default());
    room.shows(&[standing(1)], 3).shows(&[lying(1)], 15);
    room.shows(&[], 9 * 60);
    assert_eq!(room.watch.reported(), 1);
    room.shows(&[], 61);
    assert_eq!(room.watch.reported(), 0);
    assert_eq!(room.changes(), [(On, 1, 1), (Lost, 1, 1)]);
}

#[test]
fn without_frames_a_person_on_the_floor_is_told_to_be_lost() {
    let mut room = Room::new(&FloorConfig::default());
    room.shows(&[standing(1)], 3).shows(&[lying(1)], 15);
    let now = room.time.plus(Duration::from_secs(11));
    let events = &mut room.events;
    room.watch.leave(now, &mut |event| events.push(*event));
    assert_eq!(room.changes(), [(On, 1, 1), (Lost, 1, 1)]);
}

#[test]
fn ids_that_are_exchanged_with_a_helper_do_not_end_the_event() {
    let mut room = Room::new(&FloorConfig::default());
    room.shows(&[standing(1)], 3).shows(&[lying(1)], 15);
    room.shows(&[lying(1), standing(2)], 5);
    room.shows(&[standing(1), lying(2)], 30);
    assert_eq!(room.changes(), [(On, 1, 1)]);
    room.shows(&[standing(1), standing(2)], 10);
    assert_eq!(room.changes(), [(On, 1, 1), (Off, 1, 2)]);
}

#[test]
fn who_lies_in_a_region_that_is_ignored_is_not_reported_and_moving_there_ends_the_event() {
    let sofa = vec![
        [250.0, 350.0],
        [350.0, 350.0],
        [350.0, 450.0],
        [250.0, 450.0],
    ];
    let config = FloorConfig {
        ignore: vec![sofa],
        ..FloorConfig::default()
    };
    config.validate().unwrap();
    config.check_image((640, 480)).unwrap();
    let mut room = Room::new(&config);
    room.shows(&[lying(1)], 60);
    assert_eq!(room.changes(), []);
    let mut beside = lying(1);
    for keypoint in &mut beside.keypoints {
        keypoint.x_px = 360.0;
    }
    room.shows(&[beside], 15);
    assert_eq!(room.changes(), [(On, 1, 1)]);
    room.shows(&[lying(1)], 5);
    assert_eq!(room.changes(), [(On, 1, 1), (Off, 1, 1)]);
}

#[test]
fn feet_on_a_sofa_do_not_put_the_sofa_on_the_floor() {
    // Lying 0.45 m above the floor, made larger by the feet until it seems to be on the floor.
    let mut pose = lying(1);
    let factor = 1.25;
    pose.size.factor = factor;
    let evidence = Ground::of(&mount()).evidence(&pose, Some(1.0)).unwrap();
    assert!(evidence.height_m[0] > 0.5, "{evidence:?}");
    let mut room = Room::new(&FloorConfig::default());
    room.shows(&[standing(1)], 3).shows(&[pose], 60);
    assert_eq!(room.changes(), []);
}

#[test]
fn two_people_side_by_side_whose_turns_alternate_are_two_events() {
    let mut room = Room::new(&FloorConfig::default());
    let mut other = lying(2);
    for joint in &mut other.joints_camera_m {
        joint.x += 0.6;
    }
    for _ in 0..400 {
        for person in [lying(1), other.clone()] {
            room.shows_one(&person);
        }
    }
    let mut changes = room.changes();
    changes.sort_by_key(|change| change.2);
    assert_eq!(
        changes
            .iter()
            .map(|c| (c.0, c.2))
            .collect::<std::vec::Vec<_>>(),
        [(On, 1), (On, 2)]
    );
}

#[test]
fn a_body_raised_on_its_arms_again_and_again_is_not_lying() {
    let mut room = Room::new(&FloorConfig::default());
    for frame in 0..1800_u16 {
        let up = 0.5 + 0.5 * (f32::from(frame) / 30.0 * std::f32::consts::PI).cos();
        let mut pose = person(
            1,
            [
                [3.0, 0.5, 0.12 + 0.2 * up],
                [3.0, 1.0, 0.15 + 0.32 * up],
                [3.0, 1.2, 0.3],
            ],
        );
        // Toes stay on the floor.
        pose.joints_camera_m[3] = person(1, [[3.0, -0.4, 0.08]; 3]).joints_camera_m[0];
        room.shows_one(&pose);
    }
    assert_eq!(room.changes(), []);
}

#[test]
fn a_number_that_is_none_is_no_evidence() {
    let ground = Ground::of(&mount());
    let mut pose = lying(1);
    assert!(ground.evidence(&pose, None).is_some());
    pose.sigmas_m[8] = f32::NAN;
    assert_eq!(ground.evidence(&pose, None), None);
    let mut pose = lying(1);
    pose.joints_camera_m[0].x = f32::INFINITY;
    assert_eq!(ground.evidence(&pose, None), None);
    let mut pose = lying(1);
    pose.size.factor = 0.0;
    assert_eq!(ground.evidence(&pose, None), None);
}

#[test]
fn a_crowd_on_the_floor_stays_within_bounds() {
    let mut room = Room::new(&FloorConfig::default());
    for id in 0..60 {
        room.shows(&[lying(4 * id), lying(4 * id + 1)], 7);
    }
    assert!(room.watch.people.len() <= TRACKS_MAX);
    assert!(room.watch.cases.len() <= PEOPLE_MAX);
}

#[test]
fn the_watch_needs_a_mount_and_regions_within_the_image() {
    use crate::camera::Calibration;
    let mut config = FloorConfig {
        events: true,
        ignore: vec![vec![[0.0, 0.0], [700.0, 0.0], [0.0, 90.0]]],
        ..FloorConfig::default()
    };
    let lens = Calibration::assumed(640, 480);
    let error = config.watch(&lens).unwrap_err().to_string();
    assert!(
        error.starts_with("floor.events = true needs a calibration with a [mount]"),
        "{error}"
    );
    assert!(error.contains("poised calibrate mount"), "{error}");
    let lens = lens.with_mount(mount()).unwrap();
    let error = config.watch(&lens).unwrap_err().to_string();
    assert!(error.contains("region 1, corner [700, 0]"), "{error}");
    config.ignore.clear();
    assert!(config.watch(&lens).unwrap().is_some());
    config.events = false;
    assert!(config.watch(&lens).unwrap().is_none());
}

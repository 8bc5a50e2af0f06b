//! People in space, seen from the side and from above, on a grid of metres.

use glam::Vec3;

use super::{COMPLETED, Canvas, GRID, MEASURED, WORDS, colour_of, text};
use crate::pose::{JointState, PersonPose};
use crate::skeleton::{JOINTS, PARENTS};

/// From where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// From the right of the camera: depth runs to the right, down is down.
    Side,
    /// From above: depth runs upward, right is right.
    Above,
}

/// Part of the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub left: f32,
    pub top: f32,
    pub width: f32,
    pub height: f32,
}

/// Colour of the grid's numbers.
const NUMBERS: [u8; 3] = [130, 140, 152];

/// Room left around people, metres.
const MARGIN_M: f32 = 0.3;

/// Smallest width shown, metres: a person with raised arms.
const SPAN_M_MIN: f32 = 2.6;

/// Colour of the camera's mark.
pub(super) const CAMERA: [u8; 3] = [120, 150, 200];

/// Smallest scale at which the camera is still shown beside the people, pixels a
/// metre; when they are farther away, people alone fill the view.
const CAMERA_PX_PER_M_MIN: f32 = 60.0;

/// Camera frame to the plane of a view: right and down, metres.
fn plane(kind: Kind, joint: Vec3) -> (f32, f32) {
    match kind {
        Kind::Side => (joint.z, joint.y),
        Kind::Above => (joint.x, -joint.z),
    }
}

/// Draws the people in an area.
pub(super) fn view(
    canvas: &mut Canvas,
    kind: Kind,
    area: &Area,
    words: u8,
    people: &[&PersonPose],
) {
    canvas.line(
        (area.left, area.top),
        (area.left + area.width, area.top),
        1.0,
        GRID,
        1.0,
        false,
    );
    let title = match kind {
        Kind::Side => "side, metres",
        Kind::Above => "above, metres",
    };
    let with_camera = Scale::around(kind, area, people, true);
    let shows_camera = with_camera.px_per_m >= CAMERA_PX_PER_M_MIN;
    let scale = if shows_camera {
        with_camera
    } else {
        Scale::around(kind, area, people, false)
    };
    scale.grid(canvas, kind, words);
    if shows_camera {
        camera(canvas, kind, &scale);
    }
    for person in people {
        skeleton(canvas, kind, &scale, person);
    }
    let at = (area.left + 8.0, area.top + 8.0);
    text::write(canvas, at, words, WORDS, Some(super::BACKGROUND), title);
}

/// The camera: a pyramid opening along the depth, its tip at the origin.
fn camera(canvas: &mut Canvas, kind: Kind, scale: &Scale) {
    let tip = scale.pixel((0.0, 0.0));
    let (length, half) = (22.0, 11.0);
    let corners = match kind {
        Kind::Side => [(length, -half), (length, half)],
        Kind::Above => [(-half, -length), (half, -length)],
    }
    .map(|(x, y)| (tip.0 + x, tip.1 + y));
    for (from, to) in [
        (tip, corners[0]),
        (tip, corners[1]),
        (corners[0], corners[1]),
    ] {
        canvas.line(from, to, 2.0, CAMERA, 1.0, false);
    }
    canvas.dot(tip, 3.5, CAMERA, 1.0);
}

fn skeleton(canvas: &mut Canvas, kind: Kind, scale: &Scale, person: &PersonPose) {
    let colour = colour_of(person.id);
    let at = |joint: usize| scale.pixel(plane(kind, person.joints_camera_m[joint]));
    let state = |joint: usize| person.states[joint];
    for (joint, &parent) in PARENTS.iter().enumerate().skip(1) {
        if state(joint) == JointState::Absent || state(parent) == JointState::Absent {
            continue;
        }
        let inferred =
            state(joint) == JointState::Completed || state(parent) == JointState::Completed;
        canvas.line(at(parent), at(joint), 2.5, colour, 0.9, inferred);
    }
    for joint in 0..JOINTS {
        match state(joint) {
            JointState::Absent => {}
            JointState::Measured => canvas.dot(at(joint), 2.6, MEASURED, 1.0),
            JointState::Completed => canvas.ring(at(joint), 3.2, COMPLETED),
        }
    }
}

/// Metres of a view to pixels of the image.
struct Scale {
    area: Area,
    centre_m: (f32, f32),
    px_per_m: f32,
}

impl Scale {
    /// Shows all people, and the camera if wanted, with room around them.
    fn around(kind: Kind, area: &Area, people: &[&PersonPose], camera: bool) -> Self {
        let mut low = (f32::INFINITY, f32::INFINITY);
        let mut high = (f32::NEG_INFINITY, f32::NEG_INFINITY);
        if camera {
            (low, high) = ((0.0, 0.0), (0.0, 0.0));
        }
        for person in people {
            for joint in 0..JOINTS {
                if person.states[joint] != JointState::Absent {
                    let (x, y) = plane(kind, person.joints_camera_m[joint]);
                    low = (low.0.min(x), low.1.min(y));
                    high = (high.0.max(x), high.1.max(y));
                }
            }
        }
        if low.0 > high.0 {
            (low, high) = ((0.0, 0.0), (0.0, 0.0));
        }
        let span = |low: f32, high: f32| (high - low + 2.0 * MARGIN_M).max(SPAN_M_MIN);
        let px_per_m = (area.width / span(low.0, high.0)).min(area.height / span(low.1, high.1));
        Self {
            area: *area,
            centre_m: (0.5 * (low.0 + high.0), 0.5 * (low.1 + high.1)),
            px_per_m,
        }
    }

    fn pixel(&self, (x, y): (f32, f32)) -> (f32, f32) {
        let area = &self.area;
        (
            area.left + 0.5 * area.width + (x - self.centre_m.0) * self.px_per_m,
            area.top + 0.5 * area.height + (y - self.centre_m.1) * self.px_per_m,
        )
    }

    /// Lines at whole metres; those across the depth carry its number.
    fn grid(&self, canvas: &mut Canvas, kind: Kind, words: u8) {
        let area = &self.area;
        let size = f32::from(words);
        let number = |canvas: &mut Canvas, at: (f32, f32), metres: f32| {
            let inside = at.0 + 8.0 * size <= area.left + area.width
                && at.1 + 8.0 * size <= area.top + area.height;
            if metres > 0.5 && inside {
                let metres = format!("{metres:.0}");
                text::write(canvas, at, words, NUMBERS, None, &metres);
            }
        };
        let half_x = 0.5 * area.width / self.px_per_m;
        let half_y = 0.5 * area.height / self.px_per_m;
        let mut x = (self.centre_m.0 - half_x).ceil();
        while x <= self.centre_m.0 + half_x {
            let column = self.pixel((x, 0.0)).0;
            let (top, bottom) = (area.top, area.top + area.height);
            canvas.line((column, top), (column, bottom), 1.0, GRID, 0.8, false);
            if kind == Kind::Side {
                number(canvas, (column + 3.0, bottom - 11.0 * size), x);
            }
            x += 1.0;
        }
        let mut y = (self.centre_m.1 - half_y).ceil();
        while y <= self.centre_m.1 + half_y {
            let row = self.pixel((0.0, y)).1;
            let (left, right) = (area.left, area.left + area.width);
            canvas.line((left, row), (right, row), 1.0, GRID, 0.8, false);
            if kind == Kind::Above {
                number(canvas, (right - 11.0 * size, row + 3.0), -y);
            }
            y += 1.0;
        }
    }
}

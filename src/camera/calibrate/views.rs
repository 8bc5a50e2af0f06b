//! Which pictures are worth keeping: sharp, of one size, and unlike those that are kept already; and what is missing.

use std::fmt;

use glam::DVec2;

use super::board::{Finder, NotFound};
use super::fit::{Corner, find_pose};
use super::homography::{homography, mapped};
use super::lens::Optics;
use super::picture::Picture;
use crate::camera::Calibration;

/// Views kept at most. Forty tilted views fill a picture several times over; the fit of sixty takes a second.
pub const VIEWS_MAX: usize = 60;

/// Edges wider than this are blurred, in pixels: sharp pictures have 1.5 to 3, and at 6 the place of a corner depends on
/// how the board moved.
pub const BLUR_PX_MAX: f64 = 6.0;

/// Two views are alike where no corner of the board moved further than this part of the picture's diagonal: they say the
/// same twice, and a film would count one place a hundred times.
pub const ALIKE_REL: f64 = 0.04;

/// A board is tilted from this angle on, in degrees: below it, nearer and larger look the same.
pub const TILT_DEG: f64 = 20.0;

/// Fields of the picture along each side, by which coverage is told.
pub const FIELDS: usize = 3;

/// The fields of the picture, row by row.
const FIELD_NAMES: [&str; FIELDS * FIELDS] = [
    "top left",
    "top",
    "top right",
    "left",
    "middle",
    "right",
    "bottom left",
    "bottom",
    "bottom right",
];

/// Corners in a field from which on it is covered: fewer may be outliers.
pub const FIELD_CORNERS_MIN: usize = 8;

/// Views of a lens after which a camera is asked for no more, once nothing is missing.
pub const VIEWS_ENOUGH: usize = 18;

/// Pictures of a board on the floor that are kept: averaging more gains less than the floor is uneven.
const FLOOR_VIEWS: usize = 10;

/// A view that is kept.
#[derive(Clone, Debug)]
pub struct View {
    /// Its file, or the number of its frame.
    pub name: String,
    /// The corners that were found; pixels of the camera's own images, before they were reduced.
    pub corners: Vec<Corner>,
    /// How wide its edges are, pixels.
    pub blur_px: f64,
    /// Where the four outer corners of the board would be, as parts of the diagonal.
    outline: [DVec2; 4],
    /// How the board is turned about the vertical and the horizontal axis of the picture, degrees; estimated with an
    /// assumed lens.
    tilt_deg: (f64, f64),
}

impl View {
    /// Where the four outer corners of the board are in an image of that size, pixels: they may lie outside.
    pub fn outline_px(&self, size_px: (u32, u32)) -> [DVec2; 4] {
        let diagonal = f64::hypot(size_px.0.into(), size_px.1.into());
        self.outline.map(|corner| corner * diagonal)
    }
}

/// Why a picture is not kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Refused {
    /// The board is not seen, or not well enough.
    NotFound(NotFound),
    /// Its edges are blurred.
    Blurred {
        /// How wide they are, pixels.
        width_px: f64,
    },
    /// It shows what another view shows.
    Alike {
        /// The other view.
        other: String,
    },
    /// It has another size than the views before.
    Size {
        /// Its own.
        own: (u32, u32),
        /// Theirs.
        want: (u32, u32),
    },
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoBoard => write!(f, "no board is seen"),
            Self::NoMarkers => write!(
                f,
                "squares are seen, but not the markers of this board: check --board, --columns, --rows and --dictionary"
            ),
            Self::Part { seen, of } => write!(
                f,
                "{seen} of {of} inner corners are seen: a chessboard must be in view as a whole (a ChArUco board need not)"
            ),
            Self::OtherSize { columns, rows } => write!(
                f,
                "a chessboard of {columns} x {rows} squares is seen: give --columns {columns} --rows {rows} (squares, \
                 not inner corners), or show the whole board"
            ),
            Self::FewCorners { seen } => write!(
                f,
                "{seen} corners are seen, at least {} are needed: show more of the board, or hold it nearer",
                super::board::CORNERS_MIN
            ),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(why) => why.fmt(f),
            Self::Blurred { width_px } => write!(
                f,
                "blurred: edges are {width_px:.1} pixels wide, at most {BLUR_PX_MAX} are accepted; hold the board still, \
                 focus, or add light"
            ),
            Self::Alike { other } => write!(f, "like {other}: move or tilt the board"),
            Self::Size { own, want } => write!(
                f,
                "{}x{} pixels, the views before have {}x{}: a calibration is for one size",
                own.0, own.1, want.0, want.1
            ),
        }
    }
}

/// The views that are kept of what is offered.
#[derive(Debug)]
pub struct Views {
    finder: Finder,
    /// Of a board that lies still: views may be alike.
    of_floor: bool,
    size_px: Option<(u32, u32)>,
    kept: Vec<View>,
    refused: Vec<(Refused, usize)>,
}

impl Views {
    /// Of a board; none yet.
    pub const fn new(finder: Finder) -> Self {
        Self {
            finder,
            of_floor: false,
            size_px: None,
            kept: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Of a board that lies on the floor, for [`super::mount::measure`]: views may be alike.
    pub const fn of_floor(finder: Finder) -> Self {
        let mut views = Self::new(finder);
        views.of_floor = true;
        views
    }

    /// Whether they are of a board on the floor.
    pub const fn are_of_floor(&self) -> bool {
        self.of_floor
    }

    /// Whether a camera need not show more.
    pub fn are_enough(&self) -> bool {
        if self.of_floor {
            return self.kept.len() >= FLOOR_VIEWS;
        }
        self.kept.len() >= VIEWS_ENOUGH && self.missing().is_nothing()
    }

    /// The board.
    pub const fn finder(&self) -> &Finder {
        &self.finder
    }

    /// The views that are kept.
    pub fn kept(&self) -> &[View] {
        &self.kept
    }

    /// Columns and rows of the camera's images, once a view was offered.
    pub const fn size_px(&self) -> Option<(u32, u32)> {
        self.size_px
    }

    /// Why pictures were refused, the first of each kind, and how many.
    pub fn refused(&self) -> &[(Refused, usize)] {
        &self.refused
    }

    /// Looks at a picture. `native_px` is the size of the camera's own image, before it was reduced to this picture.
    ///
    /// # Errors
    ///
    /// Why it is not kept.
    pub fn offer(
        &mut self,
        name: &str,
        picture: Picture<'_>,
        native_px: (u32, u32),
    ) -> Result<&View, Refused> {
        match self.judged(name, picture, native_px) {
            Ok(view) => {
                self.kept.push(view);
                if self.kept.len() > VIEWS_MAX {
                    self.drop_one_of_the_most_alike();
                }
                Ok(&self.kept[self.kept.len() - 1])
            }
            Err(why) => {
                self.count(&why);
                Err(why)
            }
        }
    }

    fn judged(
        &mut self,
        name: &str,
        picture: Picture<'_>,
        native_px: (u32, u32),
    ) -> Result<View, Refused> {
        if let Some(want) = self.size_px
            && want != native_px
        {
            return Err(Refused::Size {
                own: native_px,
                want,
            });
        }
        let mut corners = self.finder.find(picture).map_err(Refused::NotFound)?;
        let side_m = self.finder.board().square_mm() * 1e-3;
        let blur_px = picture.blur_px(&corners, side_m);
        if blur_px > BLUR_PX_MAX {
            return Err(Refused::Blurred { width_px: blur_px });
        }
        to_native(&mut corners, picture, native_px);
        let (outline, tilt_deg) = self
            .outlined(&corners, native_px)
            .ok_or(Refused::NotFound(NotFound::NoBoard))?;
        let is_alike = |view: &&View| apart(&view.outline, &outline) < ALIKE_REL;
        if !self.of_floor
            && let Some(other) = self.kept.iter().find(is_alike)
        {
            return Err(Refused::Alike {
                other: other.name.clone(),
            });
        }
        self.size_px = Some(native_px);
        Ok(View {
            name: name.to_owned(),
            corners,
            blur_px,
            outline,
            tilt_deg,
        })
    }

    /// The outline of a board and its tilt.
    fn outlined(
        &self,
        corners: &[Corner],
        size_px: (u32, u32),
    ) -> Option<([DVec2; 4], (f64, f64))> {
        let diagonal = f64::hypot(size_px.0.into(), size_px.1.into());
        let pairs: Vec<_> = corners.iter().map(|c| (c.board_m, c.pixel)).collect();
        let h = homography(&pairs)?;
        let size = self.finder.board().size_m();
        let mut outline = [DVec2::ZERO; 4];
        for (at, part) in [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
            .into_iter()
            .enumerate()
        {
            outline[at] = mapped(&h, size * DVec2::new(part.0, part.1))? / diagonal;
        }
        let assumed = Calibration::assumed(size_px.0, size_px.1);
        let optics = Optics::new(assumed.intrinsics(), assumed.distortion());
        let normal = find_pose(&optics, corners)?
            .pose
            .rotation
            .matrix()
            .column(2)
            .into_owned();
        let tilt = |part: f64| part.atan2(normal.z).to_degrees();
        Some((outline, (tilt(normal.x), tilt(normal.y))))
    }

    /// Of the two views that are most alike, the more blurred one goes.
    fn drop_one_of_the_most_alike(&mut self) {
        let mut closest = (f64::INFINITY, 0);
        for (at, view) in self.kept.iter().enumerate() {
            for (before, other) in self.kept[..at].iter().enumerate() {
                let distance = apart(&view.outline, &other.outline);
                if distance < closest.0 {
                    let worse = if view.blur_px > other.blur_px {
                        at
                    } else {
                        before
                    };
                    closest = (distance, worse);
                }
            }
        }
        self.kept.remove(closest.1);
    }

    fn count(&mut self, why: &Refused) {
        let kind = std::mem::discriminant(why);
        let same = |known: &Refused| match (known, why) {
            (Refused::NotFound(known), Refused::NotFound(why)) => {
                std::mem::discriminant(known) == std::mem::discriminant(why)
            }
            _ => std::mem::discriminant(known) == kind,
        };
        match self.refused.iter_mut().find(|(known, _)| same(known)) {
            Some((_, number)) => *number += 1,
            None => self.refused.push((why.clone(), 1)),
        }
    }

    /// Corners of all views that are kept in each ninth of the picture, row by row.
    pub fn coverage(&self) -> [usize; FIELDS * FIELDS] {
        let mut corners = [0; FIELDS * FIELDS];
        if let Some(size_px) = self.size_px {
            for corner in self.kept.iter().flat_map(|view| &view.corners) {
                corners[field(corner.pixel, size_px)] += 1;
            }
        }
        corners
    }

    /// What the views that are kept do not show yet.
    pub fn missing(&self) -> Missing {
        let corners = self.coverage();
        let is_open = |at: &usize| corners[*at] < FIELD_CORNERS_MIN;
        let tilted =
            |part: fn(&View) -> f64| !self.kept.iter().any(|view| part(view).abs() >= TILT_DEG);
        Missing {
            fields: (0..FIELDS * FIELDS)
                .filter(is_open)
                .map(|at| FIELD_NAMES[at])
                .collect(),
            about_vertical: tilted(|view| view.tilt_deg.0),
            about_horizontal: tilted(|view| view.tilt_deg.1),
        }
    }
}

/// The field of the picture that a pixel is in.
fn field(pixel: DVec2, size_px: (u32, u32)) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "held within the fields"
    )]
    let along = |at: f64, side: u32| {
        let part = (at + 0.5) / f64::from(side);
        (part * FIELDS as f64).clamp(0.0, (FIELDS - 1) as f64) as usize
    };
    along(pixel.y, size_px.1) * FIELDS + along(pixel.x, size_px.0)
}

/// From the pixels of a reduced picture to those of the camera's own image: the outer edges of both are the same.
pub(super) fn to_native(corners: &mut [Corner], picture: Picture<'_>, native_px: (u32, u32)) {
    #[expect(clippy::cast_precision_loss, reason = "sides of images")]
    let scale = DVec2::new(
        f64::from(native_px.0) / picture.width as f64,
        f64::from(native_px.1) / picture.height as f64,
    );
    for corner in corners {
        corner.pixel = (corner.pixel + 0.5) * scale - 0.5;
    }
}

/// How far apart two outlines are: the corner that moved most.
fn apart(a: &[DVec2; 4], b: &[DVec2; 4]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (*a - *b).length())
        .fold(0.0, f64::max)
}

/// What is still missing for a good calibration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Parts of the picture without corners.
    pub fields: Vec<&'static str>,
    /// No view is turned about its vertical axis.
    pub about_vertical: bool,
    /// No view is turned about its horizontal axis.
    pub about_horizontal: bool,
}

impl Missing {
    /// Whether nothing is.
    pub const fn is_nothing(&self) -> bool {
        self.fields.is_empty() && !self.about_vertical && !self.about_horizontal
    }

    /// Whether no view is tilted about one of the axes.
    pub const fn tilt(&self) -> bool {
        self.about_vertical || self.about_horizontal
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.fields.is_empty() {
            parts.push(format!("no corners yet: {}", self.fields.join(", ")));
        }
        if self.about_vertical {
            parts.push(format!(
                "tilt missing: one side nearer, by {TILT_DEG} degrees or more"
            ));
        }
        if self.about_horizontal {
            parts.push(format!(
                "tilt missing: the top or the bottom nearer, by {TILT_DEG} degrees or more"
            ));
        }
        if parts.is_empty() {
            return write!(f, "the picture is covered, and the board was tilted");
        }
        write!(f, "{}", parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::calibrate::Board;
    use crate::camera::calibrate::BoardKind;

    fn empty() -> Views {
        Views::new(Finder::new(Board::default_of(BoardKind::Charuco)))
    }

    fn view(name: &str, at: DVec2, tilt_deg: (f64, f64), blur_px: f64) -> View {
        View {
            name: name.to_owned(),
            corners: vec![
                Corner {
                    board_m: DVec2::ZERO,
                    pixel: at
                };
                FIELD_CORNERS_MIN
            ],
            blur_px,
            outline: [at / 800.0; 4],
            tilt_deg,
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut views = empty();
        assert_eq!(views.missing().fields.len(), 9);
        views.size_px = Some((640, 480));
        views
            .kept
            .push(view("a", DVec2::new(10.0, 10.0), (25.0, 3.0), 2.0));
        views
            .kept
            .push(view("b", DVec2::new(630.0, 470.0), (0.0, 0.0), 2.0));
        let missing = views.missing();
        assert_eq!(missing.fields.len(), 7);
        assert!(!missing.fields.contains(&"top left") && !missing.fields.contains(&"bottom right"));
        assert!(!missing.about_vertical && missing.about_horizontal);
        let words = missing.to_string();
        assert!(
            words.contains("top, top right, left") && words.contains("the bottom nearer"),
            "{words}"
        );
    }

    #[test]
    fn where_there_are_too_many_views_the_blurred_one_of_two_alike_goes() {
        let mut views = empty();
        views.size_px = Some((640, 480));
        for (name, x, blur) in [("a", 0.0, 2.0), ("b", 100.0, 3.0), ("c", 140.0, 2.0)] {
            views
                .kept
                .push(view(name, DVec2::new(x, 0.0), (0.0, 0.0), blur));
        }
        views.drop_one_of_the_most_alike();
        let names: Vec<&str> = views.kept.iter().map(|view| view.name.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
    }

    #[test]
    fn a_picture_without_a_board_and_one_of_another_size_are_refused() {
        let mut views = empty();
        let grey = vec![90; 200 * 100];
        let picture = Picture {
            width: 200,
            height: 100,
            grey: &grey,
        };
        let why = views.offer("a.png", picture, (200, 100)).unwrap_err();
        assert_eq!(why, Refused::NotFound(NotFound::NoBoard));
        views.size_px = Some((640, 480));
        let why = views.offer("a.png", picture, (200, 100)).unwrap_err();
        assert!(
            why.to_string()
                .contains("200x100 pixels, the views before have 640x480")
        );
        let _ = views.offer("b.png", picture, (200, 100));
        assert_eq!(views.refused().len(), 2);
        assert_eq!(views.refused()[1].1, 2);
    }

    #[test]
    fn the_outer_edges_of_a_reduced_picture_are_those_of_the_image() {
        let picture = Picture {
            width: 100,
            height: 50,
            grey: &[],
        };
        let mut corners = [-0.5, 99.5].map(|x| Corner {
            board_m: DVec2::ZERO,
            pixel: DVec2::new(x, 49.5),
        });
        to_native(&mut corners, picture, (400, 200));
        assert_eq!(corners[0].pixel, DVec2::new(-0.5, 199.5));
        assert_eq!(corners[1].pixel, DVec2::new(399.5, 199.5));
    }
}

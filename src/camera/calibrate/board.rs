//! The board: what is printed and held before the camera, and where its corners are in a picture.

use std::fmt;

use calib_targets_charuco::{
    CharucoBoardSpec, CharucoDetectError, CharucoDetector, CharucoParams, Dictionary,
    GrayImageView, builtins, resolve_dictionary,
};
use calib_targets_chessboard::{
    ChessboardDetection, ChessboardDetector, ChessboardParams, default_chess_config, detect_corners,
};
use glam::DVec2;

use super::fit::Corner;
use super::picture::Picture;
use super::refine::refine;

/// Squares along a side, at least: fewer leave too few inner corners for a pose.
pub const SQUARES_MIN: u32 = 4;

/// Squares along a side, at most: those of a wall covered with a board; more are too small to be seen in one picture.
pub const SQUARES_MAX: u32 = 40;

/// Side of a square, millimetres: from a board under a microscope to a painted floor.
pub const SQUARE_MM: (f64, f64) = (1.0, 1000.0);

/// Side of a marker as a part of its square: smaller ones cannot be read, larger ones hide the corners.
pub const MARKER_REL: (f64, f64) = (0.3, 0.9);

/// Marker in a square where nothing else is said: a whole number of millimetres in squares of 25.
pub const MARKER_REL_DEFAULT: f64 = 0.72;

/// Dictionary of markers where nothing else is said: few large cells, and enough for a board of 10 x 10 squares.
pub const DICTIONARY_DEFAULT: &str = "DICT_4X4_50";

/// Corners of a view at least: a pose takes four, the rest tell a good view from a wrong one.
pub const CORNERS_MIN: usize = 12;

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoardKind {
    /// A chessboard with a marker in each white square, by which its squares are told apart: it may be cut off in the
    /// picture. `OpenCV`'s layout since 4.6: the first square is black.
    Charuco,
    /// A chessboard: it must be in view as a whole.
    Chessboard,
}

/// Why a board cannot be one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BoardError {
    /// A number out of its range.
    #[error("{option} {value}: must be from {min} to {max}")]
    Range {
        /// The option.
        option: &'static str,
        /// What was given.
        value: f64,
        /// Smallest value accepted.
        min: f64,
        /// Largest value accepted.
        max: f64,
    },
    /// No such dictionary.
    #[error(
        "--dictionary {name}: no such dictionary; known are DICT_4X4_50 to DICT_7X7_1000 and DICT_APRILTAG_36h11"
    )]
    Dictionary {
        /// What was given.
        name: String,
    },
    /// More markers than the dictionary has.
    #[error(
        "a board of {columns} x {rows} squares has {needed} markers, {name} has {available}; give a larger --dictionary"
    )]
    Markers {
        /// Its columns.
        columns: u32,
        /// Its rows.
        rows: u32,
        /// Markers on it.
        needed: u32,
        /// The dictionary.
        name: &'static str,
        /// Markers in it.
        available: usize,
    },
    /// It is larger than the paper.
    #[error(
        "the board is {width_mm} x {height_mm} mm, {paper} holds {:.0} x {:.0} mm; give --square {fits_mm:.1} or less",
        .most_mm.0,
        .most_mm.1
    )]
    Paper {
        /// Its width.
        width_mm: f64,
        /// Its height.
        height_mm: f64,
        /// The paper's name.
        paper: &'static str,
        /// What fits on it.
        most_mm: (f64, f64),
        /// The largest square with which it fits.
        fits_mm: f64,
    },
}

/// A board: its squares and their size.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    kind: BoardKind,
    columns: u32,
    rows: u32,
    square_mm: f64,
    marker_mm: f64,
    dictionary: Dictionary,
}

impl Board {
    /// A board of `columns` x `rows` squares (not inner corners) with sides of `square_mm`, markers of `marker_mm`.
    ///
    /// # Errors
    ///
    /// Names the option whose value is out of range.
    pub fn new(
        kind: BoardKind,
        (columns, rows): (u32, u32),
        square_mm: f64,
        marker_mm: Option<f64>,
        dictionary: Option<&str>,
    ) -> Result<Self, BoardError> {
        let squares = (f64::from(SQUARES_MIN), f64::from(SQUARES_MAX));
        within("--columns", columns.into(), squares)?;
        within("--rows", rows.into(), squares)?;
        within("--square", square_mm, SQUARE_MM)?;
        let marker_mm = marker_mm.unwrap_or(square_mm * MARKER_REL_DEFAULT);
        let markers = (MARKER_REL.0 * square_mm, MARKER_REL.1 * square_mm);
        within("--marker", marker_mm, markers)?;
        let name = dictionary.unwrap_or(DICTIONARY_DEFAULT);
        let dictionary = resolve_dictionary(name).ok_or_else(|| BoardError::Dictionary {
            name: name.to_owned(),
        })?;
        let board = Self {
            kind,
            columns,
            rows,
            square_mm,
            marker_mm,
            dictionary,
        };
        let (needed, available) = (columns * rows / 2, dictionary.codes().len());
        if kind == BoardKind::Charuco && needed as usize > available {
            return Err(BoardError::Markers {
                columns,
                rows,
                needed,
                name: dictionary.name(),
                available,
            });
        }
        Ok(board)
    }

    /// The board that `--print` makes and that is looked for where nothing else is said: 10 x 7 squares of 25 mm, which
    /// A4 and letter hold.
    pub fn default_of(kind: BoardKind) -> Self {
        Self {
            kind,
            columns: 10,
            rows: 7,
            square_mm: 25.0,
            marker_mm: 18.0,
            dictionary: builtins::DICT_4X4_50,
        }
    }

    /// What is printed.
    pub const fn kind(&self) -> BoardKind {
        self.kind
    }

    /// Columns and rows of squares.
    pub const fn squares(&self) -> (u32, u32) {
        (self.columns, self.rows)
    }

    /// Side of a square, millimetres.
    pub const fn square_mm(&self) -> f64 {
        self.square_mm
    }

    /// Side of a marker, millimetres.
    pub const fn marker_mm(&self) -> f64 {
        self.marker_mm
    }

    /// Corners between four squares.
    pub const fn inner_corners(&self) -> usize {
        (self.columns as usize - 1) * (self.rows as usize - 1)
    }

    /// Width and height, metres.
    pub fn size_m(&self) -> DVec2 {
        DVec2::new(self.columns.into(), self.rows.into()) * self.square_mm * 1e-3
    }

    /// Whether a point of the board, in millimetres from its first corner, is black. Outside it is white.
    pub fn is_black(&self, x_mm: f64, y_mm: f64) -> bool {
        let (x, y) = (x_mm / self.square_mm, y_mm / self.square_mm);
        let inside = x >= 0.0 && y >= 0.0 && x < self.columns.into() && y < self.rows.into();
        if !inside {
            return false;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and at most SQUARES_MAX"
        )]
        let (column, row) = (x as u32, y as u32);
        if (column + row) % 2 == 0 {
            return true;
        }
        if self.kind == BoardKind::Chessboard {
            return false;
        }
        let margin = 0.5 * (self.square_mm - self.marker_mm);
        let in_marker = |at: f64| (at.fract() * self.square_mm - margin) / self.marker_mm;
        self.marker_is_black(self.marker_at(column, row), in_marker(x), in_marker(y))
    }

    /// Cells along a marker's side, its ring included.
    pub(super) fn marker_cells(&self) -> u32 {
        // Seven bits at most.
        u32::try_from(self.dictionary.marker_size()).unwrap_or(u32::MAX - 2) + 2
    }

    /// Number of the marker in a white square: row by row.
    const fn marker_at(&self, column: u32, row: u32) -> usize {
        // White squares of the rows above, and of this row before it.
        let above = row * self.columns / 2;
        (above + column / 2) as usize
    }

    /// Whether a marker is black at this part of its side; outside it is white. One ring of cells around it is black.
    fn marker_is_black(&self, id: usize, x: f64, y: f64) -> bool {
        if !(0.0..1.0).contains(&x) || !(0.0..1.0).contains(&y) {
            return false;
        }
        let bits = self.dictionary.marker_size();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "from 0 to the cells of a marker's side, nine at most"
        )]
        let cell = |at: f64| (at * (bits + 2) as f64) as usize;
        let (column, row) = (cell(x), cell(y));
        if column == 0 || row == 0 || column > bits || row > bits {
            return true;
        }
        self.dictionary.codes()[id] >> ((row - 1) * bits + column - 1) & 1 == 1
    }
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (columns, rows, square) = (self.columns, self.rows, self.square_mm);
        match self.kind {
            BoardKind::Charuco => write!(
                f,
                "ChArUco board of {columns} x {rows} squares of {square} mm, markers of {} mm from {}",
                self.marker_mm,
                self.dictionary.name()
            ),
            BoardKind::Chessboard => {
                write!(f, "chessboard of {columns} x {rows} squares of {square} mm")
            }
        }
    }
}

/// Checks that a number is within a range; NaN never is.
fn within(option: &'static str, value: f64, (min, max): (f64, f64)) -> Result<(), BoardError> {
    // A marker given as 0.9 times its square is in range whatever rounding does.
    let slack = 1e-9 * max;
    if value >= min - slack && value <= max + slack {
        return Ok(());
    }
    Err(BoardError::Range {
        option,
        value,
        min,
        max,
    })
}

/// Why a picture shows no board that can be used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NotFound {
    /// No squares at all.
    NoBoard,
    /// Squares, but not the markers that the board has there.
    NoMarkers,
    /// A part of a chessboard.
    Part {
        /// Inner corners seen.
        seen: usize,
        /// Inner corners of the board.
        of: usize,
    },
    /// A chessboard of another size.
    OtherSize {
        /// Its columns of squares.
        columns: u32,
        /// Its rows of squares.
        rows: u32,
    },
    /// Too few corners of a `ChArUco` board.
    FewCorners {
        /// Corners seen.
        seen: usize,
    },
}

/// Looks for one board in pictures. Made once: it holds the tables of the detector.
pub struct Finder {
    board: Board,
    charuco: Option<CharucoDetector>,
}

impl Finder {
    /// Of this board.
    ///
    /// # Panics
    ///
    /// Never: [`Board::new`] checks all that the detector does.
    pub fn new(board: Board) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "a ratio")]
        let marker_rel = (board.marker_mm / board.square_mm) as f32;
        let charuco = (board.kind == BoardKind::Charuco).then(|| {
            // In squares: the caller gets metres in double precision.
            let spec =
                CharucoBoardSpec::new(board.rows, board.columns, 1.0, marker_rel, board.dictionary);
            CharucoDetector::new(CharucoParams::for_board(spec))
                .expect("Board::new checks all that the detector does")
        });
        Self { board, charuco }
    }

    /// The board that is looked for.
    pub const fn board(&self) -> &Board {
        &self.board
    }

    /// The inner corners of the board in a picture: pixels, centres at whole numbers, with their places on the board.
    ///
    /// # Errors
    ///
    /// [`NotFound`] says what is seen instead.
    pub fn find(&self, picture: Picture<'_>) -> Result<Vec<Corner>, NotFound> {
        let view = GrayImageView {
            width: picture.width,
            height: picture.height,
            data: picture.grey,
        };
        let mut corners = match &self.charuco {
            Some(detector) => self.charuco_corners(detector, &view)?,
            None => self.chessboard_corners(&view)?,
        };
        refine(&picture, &mut corners);
        Ok(corners)
    }

    fn charuco_corners(
        &self,
        detector: &CharucoDetector,
        view: &GrayImageView<'_>,
    ) -> Result<Vec<Corner>, NotFound> {
        let detection = detector.detect(view).map_err(|error| match error {
            CharucoDetectError::ChessboardNotDetected => NotFound::NoBoard,
            _ => NotFound::NoMarkers,
        })?;
        let seen = detection.corners.len();
        if seen < CORNERS_MIN {
            return Err(NotFound::FewCorners { seen });
        }
        Ok(detection
            .corners
            .iter()
            .map(|corner| Corner {
                board_m: DVec2::new(
                    corner.target_position.x.into(),
                    corner.target_position.y.into(),
                ) * (self.board.square_mm * 1e-3),
                pixel: DVec2::new(corner.position.x.into(), corner.position.y.into()),
            })
            .collect())
    }

    fn chessboard_corners(&self, view: &GrayImageView<'_>) -> Result<Vec<Corner>, NotFound> {
        let corners = detect_corners(view, &default_chess_config());
        let detector = ChessboardDetector::new(ChessboardParams::default())
            .expect("the detector takes its own default parameters");
        let detection = detector.detect(&corners).ok_or(NotFound::NoBoard)?;
        self.as_printed(&detection)
    }

    /// The corners of a chessboard with their places as the board is printed: the detector counts from any of its
    /// corners. Which of the two ends is the first cannot be told, and does not matter to the lens.
    fn as_printed(&self, detection: &ChessboardDetection) -> Result<Vec<Corner>, NotFound> {
        let (wide, high) = (self.board.columns - 1, self.board.rows - 1);
        let grid = || detection.corners.iter().map(|c| (c.grid.u, c.grid.v));
        let most = |values: &mut dyn Iterator<Item = i32>| {
            u32::try_from(values.max().unwrap_or_default()).unwrap_or_default() + 1
        };
        let (u, v) = (
            most(&mut grid().map(|g| g.0)),
            most(&mut grid().map(|g| g.1)),
        );
        let seen = detection.corners.len();
        let is_whole = seen == u as usize * v as usize;
        let fits = (u, v) == (wide, high) || (v, u) == (wide, high);
        if !fits && (is_whole || u.max(v) > wide.max(high)) && u > 2 && v > 2 {
            return Err(NotFound::OtherSize {
                columns: u.max(v) + 1,
                rows: u.min(v) + 1,
            });
        }
        let of = self.board.inner_corners();
        if !fits || !is_whole {
            return Err(NotFound::Part { seen, of });
        }
        let turn = (u, v) != (wide, high);
        let mirrored = is_mirrored(detection);
        let side = self.board.square_mm * 1e-3;
        Ok(detection
            .corners
            .iter()
            .map(|corner| {
                let (mut x, mut y) = (f64::from(corner.grid.u), f64::from(corner.grid.v));
                if turn {
                    // Exchanging the two mirrors, too.
                    (x, y) = (y, x);
                }
                if turn != mirrored {
                    x = f64::from(wide) - 1.0 - x;
                }
                Corner {
                    board_m: DVec2::new(x + 1.0, y + 1.0) * side,
                    pixel: DVec2::new(corner.position.x.into(), corner.position.y.into()),
                }
            })
            .collect())
    }
}

/// Whether the detector's columns and rows turn the other way round than the image's.
fn is_mirrored(detection: &ChessboardDetection) -> bool {
    let at = |u: i32, v: i32| {
        detection
            .corners
            .iter()
            .find(|corner| (corner.grid.u, corner.grid.v) == (u, v))
            .map(|c| DVec2::new(c.position.x.into(), c.position.y.into()))
    };
    match (at(0, 0), at(1, 0), at(0, 1)) {
        (Some(origin), Some(u), Some(v)) => (u - origin).perp_dot(v - origin) < 0.0,
        _ => false,
    }
}

impl fmt::Debug for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finder")
            .field("board", &self.board)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_board_is_refused_by_name_value_and_range() {
        let board = |squares, square, marker, dictionary| {
            Board::new(BoardKind::Charuco, squares, square, marker, dictionary)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            board((2, 7), 25.0, None, None),
            "--columns 2: must be from 4 to 40"
        );
        assert!(board((10, 50), 25.0, None, None).contains("--rows 50"));
        assert!(board((10, 7), 0.0, None, None).contains("--square 0"));
        assert!(board((10, 7), f64::NAN, None, None).contains("--square NaN"));
        assert!(board((10, 7), 25.0, Some(24.0), None).contains("from 7.5 to 22.5"));
        assert!(board((10, 7), 25.0, None, Some("DICT_9")).contains("DICT_9"));
        assert!(board((12, 10), 25.0, None, None).contains("60 markers, DICT_4X4_50 has 50"));
        assert!(Board::new(BoardKind::Chessboard, (12, 10), 25.0, None, None).is_ok());
    }

    #[test]
    fn the_first_square_is_black_and_markers_have_a_black_ring() {
        let board = Board::default_of(BoardKind::Charuco);
        assert!(board.is_black(1.0, 1.0) && !board.is_black(26.0, 1.0));
        assert!(!board.is_black(-1.0, 1.0) && !board.is_black(1.0, 176.0));
        // The ring of the marker in the second square begins 3.5 mm inside it.
        assert!(board.is_black(25.0 + 4.0, 12.0) && !board.is_black(25.0 + 3.0, 12.0));
        let chess = Board::default_of(BoardKind::Chessboard);
        assert!(!chess.is_black(25.0 + 4.0, 12.0));
    }

    #[test]
    fn markers_are_counted_row_by_row() {
        for (columns, rows) in [(10, 7), (9, 6), (7, 5)] {
            let board = Board {
                columns,
                rows,
                ..Board::default_of(BoardKind::Charuco)
            };
            let mut next = 0;
            for row in 0..rows {
                for column in 0..columns {
                    if (column + row) % 2 == 1 {
                        assert_eq!(
                            board.marker_at(column, row),
                            next,
                            "{columns} {column} {row}"
                        );
                        next += 1;
                    }
                }
            }
        }
    }
}

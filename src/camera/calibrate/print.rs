//! The board as a file to print, true to size: SVG, or PNG with its resolution in it.

use std::fmt::Write;

use font8x8::UnicodeFonts;

use super::board::{Board, BoardError, BoardKind};

/// Margin that printers leave white, millimetres.
const MARGIN_MM: f64 = 5.0;

/// Resolution of the PNG: 24 pixels to a millimetre, 609.6 to the inch, so that squares of whole millimetres are exact.
const PX_PER_MM: u32 = 24;

/// Room below the board for the line to check and the words, millimetres.
const FOOT_MM: f64 = 11.0;

/// Length of the line by which a print is checked, millimetres.
const RULER_MM: f64 = 100.0;

/// Paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paper {
    /// 210 x 297 mm.
    A4,
    /// 8.5 x 11 inches.
    Letter,
}

impl Paper {
    const fn name(self) -> &'static str {
        match self {
            Self::A4 => "A4",
            Self::Letter => "letter",
        }
    }

    /// Shorter and longer side, millimetres.
    const fn sides_mm(self) -> (f64, f64) {
        match self {
            Self::A4 => (210.0, 297.0),
            Self::Letter => (215.9, 279.4),
        }
    }
}

/// A board in its place on a sheet.
#[derive(Clone, Copy, Debug)]
pub struct Sheet {
    board: Board,
    width_mm: f64,
    height_mm: f64,
    /// The board's first corner.
    left_mm: f64,
    top_mm: f64,
}

impl Sheet {
    /// Puts a board into the middle of a sheet, upright or across.
    ///
    /// # Errors
    ///
    /// [`BoardError::Paper`] where it does not fit, with the size of square that does.
    pub fn new(board: Board, paper: Paper) -> Result<Self, BoardError> {
        let (columns, rows) = board.squares();
        let (columns, rows) = (f64::from(columns), f64::from(rows));
        let (width, height) = (columns * board.square_mm(), rows * board.square_mm());
        let (shorter, longer) = paper.sides_mm();
        let (sheet_width, sheet_height) = if width > height {
            (longer, shorter)
        } else {
            (shorter, longer)
        };
        let most = (
            sheet_width - 2.0 * MARGIN_MM,
            sheet_height - 2.0 * MARGIN_MM - FOOT_MM,
        );
        if width > most.0 || height > most.1 {
            return Err(BoardError::Paper {
                width_mm: width,
                height_mm: height,
                paper: paper.name(),
                most_mm: most,
                // Rounded down to what the message shows.
                fits_mm: (10.0 * f64::min(most.0 / columns, most.1 / rows)).floor() / 10.0,
            });
        }
        Ok(Self {
            board,
            width_mm: sheet_width,
            height_mm: sheet_height,
            left_mm: 0.5 * (sheet_width - width),
            top_mm: MARGIN_MM + 0.5 * (most.1 - height),
        })
    }

    /// The options by which this board is looked for.
    fn words(&self) -> String {
        let (columns, rows) = self.board.squares();
        let square = self.board.square_mm();
        match self.board.kind() {
            BoardKind::Charuco => format!(
                "poised calibrate --columns {columns} --rows {rows} --square {square} --marker {}",
                self.board.marker_mm()
            ),
            BoardKind::Chessboard => format!(
                "poised calibrate --board chessboard --columns {columns} --rows {rows} --square {square}"
            ),
        }
    }

    /// Where the line to check begins.
    fn ruler_mm(&self) -> (f64, f64) {
        (self.left_mm, self.height_mm - MARGIN_MM - 4.0)
    }

    /// The sheet as SVG.
    pub fn svg(&self) -> String {
        let (width, height) = (self.width_mm, self.height_mm);
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}mm\" height=\"{height}mm\" \
             viewBox=\"0 0 {width} {height}\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n\
             <path shape-rendering=\"crispEdges\" fill=\"black\" d=\""
        );
        for (x, y, side) in self.black_cells() {
            // Writing into a String cannot fail.
            let _ = write!(text, "M{x:.4} {y:.4}h{side:.4}v{side:.4}h-{side:.4}z");
        }
        let (x, y) = self.ruler_mm();
        let _ = write!(
            text,
            "\"/>\n<path fill=\"none\" stroke=\"black\" stroke-width=\"0.2\" d=\"M{x:.4} {:.4}v2m0 -1h{RULER_MM}m0 -1v2\"/>\n\
             <text x=\"{x:.4}\" y=\"{:.4}\" font-family=\"sans-serif\" font-size=\"2.6\">this line is 100 mm long: \
             print at 100 %, without fitting to the page. {}</text>\n</svg>\n",
            y - 1.0,
            y + 3.4,
            self.words()
        );
        text
    }

    /// The black squares and cells of markers: left, top, side, millimetres on the sheet.
    fn black_cells(&self) -> Vec<(f64, f64, f64)> {
        let (columns, rows) = self.board.squares();
        let (square, marker) = (self.board.square_mm(), self.board.marker_mm());
        let mut cells = Vec::new();
        for row in 0..rows {
            for column in 0..columns {
                let (x, y) = (f64::from(column) * square, f64::from(row) * square);
                if (column + row) % 2 == 0 {
                    cells.push((self.left_mm + x, self.top_mm + y, square));
                    continue;
                }
                if self.board.kind() == BoardKind::Chessboard {
                    continue;
                }
                let parts = self.board.marker_cells();
                let (side, margin) = (marker / f64::from(parts), 0.5 * (square - marker));
                for down in 0..parts {
                    for right in 0..parts {
                        let (x, y) = (
                            x + margin + f64::from(right) * side,
                            y + margin + f64::from(down) * side,
                        );
                        if self.board.is_black(x + 0.5 * side, y + 0.5 * side) {
                            cells.push((self.left_mm + x, self.top_mm + y, side));
                        }
                    }
                }
            }
        }
        cells
    }

    /// The sheet as PNG, with its resolution.
    ///
    /// # Errors
    ///
    /// The encoder fails, which it does not for an image in memory.
    pub fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let scale = f64::from(PX_PER_MM);
        let px = |mm: f64| (mm * scale).round().max(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "millimetres of a sheet of paper"
        )]
        let whole = |mm: f64| px(mm) as usize;
        let mut canvas = Canvas::new(whole(self.width_mm), whole(self.height_mm));
        for (x, y, side) in self.black_cells() {
            // Both edges are rounded, so that cells side by side meet.
            canvas.fill((whole(x), whole(y)), (whole(x + side), whole(y + side)));
        }
        let (x, y) = self.ruler_mm();
        let thin = 0.1;
        canvas.fill(
            (whole(x), whole(y - thin)),
            (whole(x + RULER_MM), whole(y + thin)),
        );
        for end in [x, x + RULER_MM] {
            canvas.fill(
                (whole(end - thin), whole(y - 1.0)),
                (whole(end + thin), whole(y + 1.0)),
            );
        }
        let words = format!("this line is 100 mm long: print at 100 %. {}", self.words());
        canvas.text((whole(x), whole(y + 1.6)), &words, 5);
        canvas.encode()
    }
}

/// A sheet of black and white pixels.
struct Canvas {
    width: usize,
    height: usize,
    /// A byte a pixel, 1 is white.
    pixels: Vec<u8>,
}

impl Canvas {
    fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            pixels: vec![1; width * height],
        }
    }

    /// Blackens a rectangle, up to but without its right and lower edge.
    fn fill(&mut self, (left, top): (usize, usize), (right, bottom): (usize, usize)) {
        for row in top..bottom.min(self.height) {
            let line = &mut self.pixels[row * self.width..][..self.width];
            line[left.min(self.width)..right.min(self.width)].fill(0);
        }
    }

    /// Writes a line in squares of `size` pixels.
    fn text(&mut self, (left, top): (usize, usize), words: &str, size: usize) {
        for (at, glyph) in words
            .chars()
            .filter_map(|c| font8x8::BASIC_FONTS.get(c))
            .enumerate()
        {
            for (row, bits) in glyph.iter().enumerate() {
                for column in (0..8).filter(|column| bits >> column & 1 == 1) {
                    let (x, y) = (left + (8 * at + column) * size, top + row * size);
                    self.fill((x, y), (x + size, y + size));
                }
            }
        }
    }

    fn encode(&self) -> Result<Vec<u8>, png::EncodingError> {
        let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, side(self.width), side(self.height));
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::One);
        encoder.set_pixel_dims(Some(png::PixelDimensions {
            xppu: PX_PER_MM * 1000,
            yppu: PX_PER_MM * 1000,
            unit: png::Unit::Meter,
        }));
        let mut packed = Vec::with_capacity(self.height * self.width.div_ceil(8));
        for line in self.pixels.chunks(self.width) {
            packed.extend(line.chunks(8).map(|eight| {
                let bits = eight.iter().enumerate();
                bits.fold(0, |byte, (at, pixel)| byte | pixel << (7 - at))
            }));
        }
        encoder.write_header()?.write_image_data(&packed)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_boards_fit_both_papers_and_larger_ones_are_told_what_fits() {
        for kind in [BoardKind::Charuco, BoardKind::Chessboard] {
            for paper in [Paper::A4, Paper::Letter] {
                assert!(Sheet::new(Board::default_of(kind), paper).is_ok());
            }
        }
        let large = Board::new(BoardKind::Chessboard, (10, 7), 30.0, None, None).unwrap();
        let error = Sheet::new(large, Paper::A4).unwrap_err().to_string();
        assert!(error.contains("300 x 210 mm, A4 holds"), "{error}");
        let fits: f64 = error.split("--square ").nth(1).unwrap()[..4]
            .parse()
            .unwrap();
        let fitting = Board::new(BoardKind::Chessboard, (10, 7), fits, None, None).unwrap();
        assert!(Sheet::new(fitting, Paper::A4).is_ok(), "{fits}");
    }

    #[test]
    fn the_svg_is_in_millimetres_and_the_png_knows_its_resolution() {
        let sheet = Sheet::new(Board::default_of(BoardKind::Charuco), Paper::A4).unwrap();
        let svg = sheet.svg();
        assert!(svg.contains("width=\"297mm\" height=\"210mm\" viewBox=\"0 0 297 210\""));
        assert!(
            svg.contains("M23.5000 12.0000h25.0000v25.0000"),
            "{}",
            &svg[..400]
        );
        assert!(svg.contains("--columns 10 --rows 7 --square 25 --marker 18"));
        let png = sheet.png().unwrap();
        let mut reader = png::Decoder::new(&png[..]).read_info().unwrap();
        let info = reader.info();
        assert_eq!((info.width, info.height), (7128, 5040));
        assert_eq!(info.pixel_dims.unwrap().xppu, 24_000);
        let mut pixels = vec![0; reader.output_buffer_size()];
        reader.next_frame(&mut pixels).unwrap();
        let is_white = |x_mm: f64, y_mm: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a place on the sheet"
            )]
            let (x, y) = ((x_mm * 24.0) as usize, (y_mm * 24.0) as usize);
            pixels[y * 7128_usize.div_ceil(8) + x / 8] >> (7 - x % 8) & 1 == 1
        };
        let board = Board::default_of(BoardKind::Charuco);
        for (x, y) in [
            (1.0, 1.0),
            (30.0, 12.0),
            (34.0, 9.0),
            (249.9, 174.9),
            (-1.0, 20.0),
            (40.0, 10.0),
        ] {
            assert_eq!(
                is_white(23.5 + x, 12.0 + y),
                !board.is_black(x, y),
                "{x} {y}"
            );
        }
    }
}

//! Small words in an 8x8 font.

use font8x8::{BASIC_FONTS, UnicodeFonts};

use super::Canvas;

/// Pixels of a character's cell at size 1.
const CELL: usize = 8;

/// Writes `words` with the upper left corner `at`; each dot is `size` pixels.
/// What the font does not hold is written as a question mark.
pub(super) fn write(
    canvas: &mut Canvas,
    at: (f32, f32),
    size: u8,
    colour: [u8; 3],
    ground: Option<[u8; 3]>,
    words: &str,
) {
    let dot = f32::from(size);
    if let Some(ground) = ground {
        let width = dot * (CELL * words.chars().count()) as f32;
        let block = (width + 4.0, dot * CELL as f32 + 4.0);
        canvas.block((at.0 - 2.0, at.1 - 2.0), block, ground, 0.85);
    }
    for (place, character) in words.chars().enumerate() {
        let rows = BASIC_FONTS
            .get(character)
            .or_else(|| BASIC_FONTS.get('?'))
            .unwrap_or_default();
        for (y, row) in rows.into_iter().enumerate() {
            for x in (0..CELL).filter(|x| row >> x & 1 == 1) {
                let left = at.0 + dot * (place * CELL + x) as f32;
                let top = at.1 + dot * y as f32;
                canvas.block((left, top), (dot, dot), colour, 1.0);
            }
        }
    }
}

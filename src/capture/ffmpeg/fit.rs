//! From a decoded image to one that we take: square pixels, within our bounds, and of one size however often the
//! film changes it.

use crate::base::limits::{IMAGE_PX_MAX, IMAGE_SIDE_PX_MAX};

/// A width and height this close to the ones wanted are those, in columns: rounding, not another shape.
const SAME_SHAPE_PX: f64 = 1.5;

/// Kept from rounding down what is a whole number but for the arithmetic.
const WHOLE: f64 = 0.01;

/// The size that an image of `size` pixels, each `aspect` times as wide as high, is handed over in.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "sides of pictures; casts saturate"
)]
pub(in crate::capture) fn fitting_size(size: (u32, u32), aspect: f64) -> (u32, u32) {
    // No pixel is lost: the shorter way is stretched.
    let width = f64::from(size.0) * aspect.max(1.0);
    let height = f64::from(size.1) * (1.0 / aspect).max(1.0);
    let by_side = f64::from(IMAGE_SIDE_PX_MAX) / width.max(height);
    let by_area = (IMAGE_PX_MAX as f64 / (width * height)).sqrt();
    let factor = by_side.min(by_area).min(1.0);
    let whole = |side: f64| (side * factor + WHOLE).floor() as u32;
    (whole(width), whole(height))
}

/// The filters that do so. With `size`, images of another shape are put into it between black bars; without, they
/// have the size of [`fitting_size`].
pub(super) fn filter(size: Option<(u32, u32)>) -> String {
    const ENDS: &str = "showinfo=checksum=0";
    if let Some((width, height)) = size {
        let same = format!("lt(abs({height}*dar-{width}),{SAME_SHAPE_PX})");
        return format!(
            "{ENDS},scale=w='if({same},{width},max(1,trunc(min({width},{height}*dar))))'\
             :h='if({same},{height},max(1,trunc(min({height},{width}/dar))))',\
             format=rgb24,pad={width}:{height}:(ow-iw)/2:(oh-ih)/2,setsar=1,{ENDS}"
        );
    }
    let (across, down) = ("iw*max(1,sar)", "ih*max(1,1/sar)");
    let factor = format!(
        "min(1,min({IMAGE_SIDE_PX_MAX}/max(ld(0),ld(1)),sqrt({IMAGE_PX_MAX}/(ld(0)*ld(1)))))"
    );
    let floored =
        |number| format!("st(0,{across});st(1,{down});floor(ld({number})*{factor}+{WHOLE})");
    format!(
        "{ENDS},scale=w='{}':h='{}',format=rgb24,setsar=1,{ENDS}",
        floored(0),
        floored(1)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_within_the_bounds_stay_and_larger_ones_keep_their_shape_to_a_pixel() {
        for (size, aspect, want) in [
            ((640, 480), 1.0, (640, 480)),
            ((1920, 1080), 1.0, (1920, 1080)),
            ((3840, 2160), 1.0, (1920, 1080)),
            ((2704, 1520), 1.0, (1920, 1079)),
            ((4096, 2160), 1.0, (1920, 1012)),
            ((1920, 1920), 1.0, (1445, 1445)),
            ((720, 576), 64.0 / 45.0, (1024, 576)),
            ((320, 480), 0.5, (320, 960)),
        ] {
            assert_eq!(fitting_size(size, aspect), want, "{size:?}");
        }
    }
}

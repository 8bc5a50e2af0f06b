//! Reading single pixels of each frame format.
//!
//! YUYV and NV12 are taken as BT.601 with limited range (Y 16 to 235, U and V
//! 16 to 240), which is what V4L2 defines as the default of `Y'CbCr` formats and
//! what ffmpeg gives for video files that do not say otherwise. MJPG, which has
//! full range, is decoded to RGB before it gets here. Grey is full range.

use std::marker::PhantomData;

/// A frame's bytes, read in one format.
pub struct Image<'a, F> {
    bytes: &'a [u8],
    width: usize,
    height: usize,
    format: PhantomData<F>,
}

impl<'a, F: Format> Image<'a, F> {
    /// Rows without padding; there are as many bytes as the format needs.
    pub const fn new(bytes: &'a [u8], width: usize, height: usize) -> Self {
        Self {
            bytes,
            width,
            height,
            format: PhantomData,
        }
    }

    /// Image width, pixels.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Image height, pixels.
    pub const fn height(&self) -> usize {
        self.height
    }

    /// The format's own three values of a pixel; the caller keeps x and y inside.
    #[inline]
    pub fn at(&self, x: usize, y: usize) -> [f32; 3] {
        F::at(self, x, y)
    }

    /// Those of a pixel, its right neighbour, and the two below.
    #[inline]
    pub fn square_at(&self, x: usize, y: usize) -> [[f32; 3]; 4] {
        F::square_at(self, x, y)
    }
}

/// How a format keeps a pixel. Unless it says otherwise, its values are RGB.
pub trait Format: Sized {
    /// The three values of a pixel inside the image.
    fn at(image: &Image<'_, Self>, x: usize, y: usize) -> [f32; 3];

    /// Those of four pixels: see [`Image::square_at`].
    #[inline]
    fn square_at(image: &Image<'_, Self>, x: usize, y: usize) -> [[f32; 3]; 4] {
        [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)].map(|(x, y)| Self::at(image, x, y))
    }

    /// Turns the format's values (or a weighted mean of them) into RGB, 0 to 255.
    #[inline]
    fn rgb(values: [f32; 3]) -> [f32; 3] {
        values
    }

    /// RGB turned into the format's values, for mixing a fill colour in.
    fn from_rgb(rgb: [f32; 3]) -> [f32; 3] {
        rgb
    }
}

/// BT.601, limited range.
#[inline]
pub fn yuv_to_rgb([y, u, v]: [f32; 3]) -> [f32; 3] {
    let y = 1.164_383_6 * (y - 16.0);
    let (u, v) = (u - 128.0, v - 128.0);
    [
        (y + 1.596_026_8 * v).clamp(0.0, 255.0),
        (y - 0.391_762_3 * u - 0.812_967_6 * v).clamp(0.0, 255.0),
        (y + 2.017_232_2 * u).clamp(0.0, 255.0),
    ]
}

/// The inverse of [`yuv_to_rgb`].
pub fn rgb_to_yuv([r, g, b]: [f32; 3]) -> [f32; 3] {
    let y = 0.299 * r + 0.587 * g + 0.114 * b;
    [
        16.0 + y * (219.0 / 255.0),
        128.0 + (b - y) * (112.0 / 255.0 / 0.886),
        128.0 + (r - y) * (112.0 / 255.0 / 0.701),
    ]
}

/// Red, green, blue.
pub struct Rgb24;

impl Format for Rgb24 {
    #[inline]
    fn at(image: &Image<'_, Self>, x: usize, y: usize) -> [f32; 3] {
        let at = (y * image.width + x) * 3;
        let pixel = &image.bytes[at..at + 3];
        [
            f32::from(pixel[0]),
            f32::from(pixel[1]),
            f32::from(pixel[2]),
        ]
    }
    #[inline]
    fn square_at(image: &Image<'_, Self>, x: usize, y: usize) -> [[f32; 3]; 4] {
        let at = (y * image.width + x) * 3;
        let top = &image.bytes[at..][..6];
        let bottom = &image.bytes[at + image.width * 3..][..6];
        let pixel = |row: &[u8], at: usize| [row[at], row[at + 1], row[at + 2]].map(f32::from);
        [
            pixel(top, 0),
            pixel(top, 3),
            pixel(bottom, 0),
            pixel(bottom, 3),
        ]
    }
}

/// Brightness, for all three values.
pub struct Grey;

impl Format for Grey {
    #[inline]
    fn at(image: &Image<'_, Self>, x: usize, y: usize) -> [f32; 3] {
        [f32::from(image.bytes[y * image.width + x]); 3]
    }
}

/// Y0 U Y1 V.
pub struct Yuyv;

impl Format for Yuyv {
    #[inline]
    fn at(image: &Image<'_, Self>, x: usize, y: usize) -> [f32; 3] {
        let pair = (y * image.width + (x & !1)) * 2;
        let pair = &image.bytes[pair..pair + 4];
        [
            f32::from(pair[(x & 1) * 2]),
            f32::from(pair[1]),
            f32::from(pair[3]),
        ]
    }
    #[inline]
    fn rgb(values: [f32; 3]) -> [f32; 3] {
        yuv_to_rgb(values)
    }
    fn from_rgb(rgb: [f32; 3]) -> [f32; 3] {
        rgb_to_yuv(rgb)
    }
}

/// A plane of Y, then U V at half size.
pub struct Nv12;

impl Format for Nv12 {
    #[inline]
    fn at(image: &Image<'_, Self>, x: usize, y: usize) -> [f32; 3] {
        let uv = image.width * (image.height + y / 2) + (x & !1);
        let uv = &image.bytes[uv..uv + 2];
        [
            f32::from(image.bytes[y * image.width + x]),
            f32::from(uv[0]),
            f32::from(uv[1]),
        ]
    }
    #[inline]
    fn rgb(values: [f32; 3]) -> [f32; 3] {
        yuv_to_rgb(values)
    }
    fn from_rgb(rgb: [f32; 3]) -> [f32; 3] {
        rgb_to_yuv(rgb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: [f32; 3], b: [f32; 3]) -> bool {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.6)
    }

    /// The values of ITU-R BT.601 for black, white and the primaries at full
    /// amplitude, rounded to bytes.
    #[test]
    fn colours_are_those_of_bt601() {
        for (yuv, rgb) in [
            ([16.0, 128.0, 128.0], [0.0, 0.0, 0.0]),
            ([235.0, 128.0, 128.0], [255.0, 255.0, 255.0]),
            ([81.5, 90.2, 240.0], [255.0, 0.0, 0.0]),
            ([144.6, 53.8, 34.2], [0.0, 255.0, 0.0]),
            ([41.0, 240.0, 109.8], [0.0, 0.0, 255.0]),
        ] {
            assert!(near(yuv_to_rgb(yuv), rgb), "{yuv:?} {:?}", yuv_to_rgb(yuv));
            assert!(near(rgb_to_yuv(rgb), yuv), "{rgb:?} {:?}", rgb_to_yuv(rgb));
        }
    }

    #[test]
    fn each_format_reads_the_pixel_asked_for() {
        let yuyv = Image::<Yuyv>::new(
            &[10, 1, 11, 2, 12, 3, 13, 4, 20, 5, 21, 6, 22, 7, 23, 8],
            4,
            2,
        );
        assert!(near(yuyv.at(1, 0), [11.0, 1.0, 2.0]));
        assert!(near(yuyv.at(2, 1), [22.0, 7.0, 8.0]));
        let nv12 = Image::<Nv12>::new(&[10, 11, 12, 13, 20, 21, 22, 23, 1, 2, 3, 4], 4, 2);
        assert!(near(nv12.at(1, 1), [21.0, 1.0, 2.0]));
        assert!(near(nv12.at(2, 0), [12.0, 3.0, 4.0]));
        let rgb = Image::<Rgb24>::new(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], 2, 2);
        assert!(near(rgb.at(1, 1), [10.0, 11.0, 12.0]));
        let square = [rgb.at(0, 0), rgb.at(1, 0), rgb.at(0, 1), rgb.at(1, 1)];
        assert_eq!(rgb.square_at(0, 0), square);
        let square = [yuyv.at(1, 0), yuyv.at(2, 0), yuyv.at(1, 1), yuyv.at(2, 1)];
        assert_eq!(yuyv.square_at(1, 0), square);
    }
}

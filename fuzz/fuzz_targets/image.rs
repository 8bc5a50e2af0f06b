//! Whatever a camera or a folder calls a JPEG or a PNG; and one that decodes has
//! as many bytes as its size asks for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use poised::capture::convert::{jpeg_into, jpeg_size};
use poised::capture::files::png_into;

fuzz_target!(|bytes: &[u8]| {
    let mut out = Vec::new();
    if let Ok((width_px, height_px)) = jpeg_size(bytes)
        && width_px * height_px <= 1 << 20
        && jpeg_into(bytes, width_px, height_px, &mut out).is_ok()
    {
        assert_eq!(out.len(), (width_px * height_px * 3) as usize);
    }
    if png_into(bytes, 64, 64, &mut out).is_ok() {
        assert_eq!(out.len(), 64 * 64 * 3);
    }
});

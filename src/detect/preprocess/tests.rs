use super::*;
use crate::base::clock::MonoNs;
use crate::frame::FrameMeta;

fn scale_shift(scale: f32, x: f32, y: f32) -> Homography {
    Homography::affine(scale * glam::Mat2::IDENTITY, glam::Vec2::new(x, y))
}

fn image(layout: Layout, fill: u8) -> ImageTensor {
    ImageTensor {
        layout,
        colour: Colour::Rgb,
        mean: [0.0; 3],
        std: [1.0; 3],
        fill,
    }
}

/// A frame whose pixel (x, y) is `rgb(x, y)`, in any format (YUV formats by the
/// inverse of the conversion, with the colour of each block's first pixel).
fn frame(
    format: PixelFormat,
    (width, height): (usize, usize),
    rgb: impl Fn(usize, usize) -> [f32; 3],
) -> Frame {
    let mut bytes = Vec::new();
    match format {
        PixelFormat::Rgb24 => {
            for y in 0..height {
                for x in 0..width {
                    bytes.extend(rgb(x, y).map(to_byte));
                }
            }
        }
        PixelFormat::Grey => {
            for y in 0..height {
                for x in 0..width {
                    bytes.push(to_byte(rgb(x, y)[0]));
                }
            }
        }
        PixelFormat::Yuyv => {
            for y in 0..height {
                for x in (0..width).step_by(2) {
                    let a = pixels::rgb_to_yuv(rgb(x, y)).map(to_byte);
                    let b = pixels::rgb_to_yuv(rgb(x + 1, y)).map(to_byte);
                    bytes.extend([a[0], a[1], b[0], a[2]]);
                }
            }
        }
        PixelFormat::Nv12 => {
            for y in 0..height {
                for x in 0..width {
                    bytes.push(to_byte(pixels::rgb_to_yuv(rgb(x, y))[0]));
                }
            }
            for y in (0..height).step_by(2) {
                for x in (0..width).step_by(2) {
                    let yuv = pixels::rgb_to_yuv(rgb(x, y)).map(to_byte);
                    bytes.extend([yuv[1], yuv[2]]);
                }
            }
        }
    }
    Frame {
        meta: FrameMeta {
            sequence: 3,
            capture: MonoNs(0),
            width_px: u32::try_from(width).unwrap(),
            height_px: u32::try_from(height).unwrap(),
            format,
        },
        bytes,
    }
}

fn floats(buffer: &ImageBuffer) -> &[f32] {
    match buffer.input() {
        Input::F32(values) => values,
        Input::U8(_) => panic!("not f32"),
    }
}

const ALL: [PixelFormat; 4] = [
    PixelFormat::Rgb24,
    PixelFormat::Yuyv,
    PixelFormat::Nv12,
    PixelFormat::Grey,
];

/// A ramp is reproduced by bilinear taps at any place.
#[test]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn a_ramp_stays_a_ramp_in_every_format() {
    for format in ALL {
        let source = frame(format, (96, 80), |x, y| {
            [(30 + x + y) as f32; 3] // grey, so that colour blocks do not matter
        });
        let mut out = ImageBuffer::new(&image(Layout::Nchw, 0), Element::F32, 16, 16);
        let mut preprocess = Preprocess::new(16);
        let map = Mapping::Homography(scale_shift(0.7, 10.25, 20.5));
        preprocess.warp(&source, &map, &mut out).unwrap();
        let values = floats(&out);
        for y in 0..16 {
            for x in 0..16 {
                let want = 30.0 + (0.7 * x as f32 + 10.25) + (0.7 * y as f32 + 20.5);
                for channel in 0..3 {
                    let got = values[channel * 256 + y * 16 + x];
                    // Limited range has 219 steps for 255: half a step is 0.6.
                    assert!((got - want).abs() < 0.7, "{format:?} {x} {y}: {got} {want}");
                }
            }
        }
    }
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn perspective_divides() {
    let source = frame(PixelFormat::Rgb24, (128, 64), |x, y| {
        [x as f32, y as f32, 7.0]
    });
    let mut out = ImageBuffer::new(&image(Layout::Nhwc, 0), Element::F32, 20, 20);
    let matrix = Homography([2.0, 0.0, 4.0, 0.0, 2.0, 6.0, 0.01, 0.02, 1.5]);
    Preprocess::new(20)
        .warp(&source, &Mapping::Homography(matrix), &mut out)
        .unwrap();
    for (x, y) in [(0, 0), (7, 3), (19, 19)] {
        let w = 0.01 * x as f32 + 0.02 * y as f32 + 1.5;
        let want = [(2.0 * x as f32 + 4.0) / w, (2.0 * y as f32 + 6.0) / w, 7.0];
        let at = (y * 20 + x) * 3;
        for k in 0..3 {
            let got = floats(&out)[at + k];
            assert!((got - want[k]).abs() < 1e-3, "({x}, {y}): {got} {want:?}");
        }
    }
}

#[test]
fn outside_the_frame_is_fill_and_the_edge_blends_into_it() {
    let source = frame(PixelFormat::Rgb24, (64, 64), |_, _| [200.0; 3]);
    let mut out = ImageBuffer::new(&image(Layout::Nchw, 100), Element::F32, 16, 16);
    let map = Mapping::Homography(scale_shift(1.0, -2.5, 0.0));
    Preprocess::new(16).warp(&source, &map, &mut out).unwrap();
    let row = &floats(&out)[..5];
    // x = -2.5, -1.5 outside; -0.5 half in; 0.5, 1.5 inside.
    for (got, want) in row.iter().zip([100.0, 100.0, 150.0, 200.0, 200.0]) {
        assert!((got - want).abs() < 1e-3, "{row:?}");
    }
    let behind = Mapping::Homography(Homography([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0]));
    Preprocess::new(16)
        .warp(&source, &behind, &mut out)
        .unwrap();
    assert!(floats(&out).iter().all(|v| (v - 100.0).abs() < 1e-3));
}

/// Stripes one pixel wide become grey, not other stripes.
#[test]
fn shrinking_does_not_alias() {
    for format in [PixelFormat::Rgb24, PixelFormat::Nv12, PixelFormat::Grey] {
        let source = frame(format, (512, 512), |x, _| {
            [if x % 2 == 0 { 0.0 } else { 200.0 }; 3]
        });
        let mut out = ImageBuffer::new(&image(Layout::Nchw, 0), Element::F32, 128, 128);
        let mut preprocess = Preprocess::new(128);
        preprocess.letterbox(&source, &mut out).unwrap();
        let all_near =
            |out: &ImageBuffer, by: f32| floats(out).iter().all(|value| (value - 100.0).abs() < by);
        assert!(all_near(&out, 1.0), "{format:?} letterbox");
        let map = Mapping::Homography(scale_shift(3.9, 1.5, 1.5));
        preprocess.warp(&source, &map, &mut out).unwrap();
        assert!(all_near(&out, 51.0), "{format:?} warp");
    }
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn a_letterbox_is_the_area_average_with_padding() {
    // 100 x 80 into 40 x 40: scale 2.5, 32 rows, 4 rows of padding above and below.
    let rgb = |x: usize, y: usize| {
        [
            (x * 2) as f32,
            (y * 2) as f32,
            ((x * 37 + y * 11) % 251) as f32,
        ]
    };
    let source = frame(PixelFormat::Rgb24, (100, 80), rgb);
    let mut out = ImageBuffer::new(&image(Layout::Nchw, 114), Element::F32, 40, 40);
    let fit = Preprocess::new(40).letterbox(&source, &mut out).unwrap();
    assert_eq!((fit.left, fit.top, fit.width, fit.height), (0, 4, 40, 32));
    let values = floats(&out);
    let at = |channel: usize, x: usize, y: usize| values[channel * 1600 + y * 40 + x];
    assert!((at(0, 20, 3) - 114.0).abs() < 1e-6);
    assert!((at(0, 20, 36) - 114.0).abs() < 1e-6);
    // Pixel (1, 0) of the content covers columns 2.5 to 5 and rows 0 to 2.5.
    for channel in 0..3 {
        let mut sum = 0.0;
        for (y, wy) in [(0, 1.0), (1, 1.0), (2, 0.5)] {
            for (x, wx) in [(2, 0.5), (3, 1.0), (4, 1.0)] {
                sum += wx * wy * rgb(x, y)[channel];
            }
        }
        let want = sum / 6.25;
        let got = at(channel, 1, 4);
        assert!((got - want).abs() < 0.6, "{channel}: {got} {want}");
    }
    // A ramp keeps its values where the mapping says they are.
    for (x, y) in [(0, 4), (13, 20), (39, 35)] {
        let (sx, sy) = fit.to_source(x as f32, y as f32);
        assert!((at(0, x, y) - 2.0 * sx).abs() < 0.6);
        assert!((at(1, x, y) - 2.0 * sy).abs() < 0.6);
    }
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn formats_agree_in_a_letterbox_larger_and_smaller() {
    for side in [48, 256] {
        let mut outs = Vec::new();
        for format in [PixelFormat::Rgb24, PixelFormat::Yuyv, PixelFormat::Nv12] {
            let source = frame(format, (128, 96), |x, y| {
                [(60 + x) as f32, (40 + y) as f32, 90.0]
            });
            let mut out = ImageBuffer::new(&image(Layout::Nchw, 114), Element::F32, side, side);
            Preprocess::new(side).letterbox(&source, &mut out).unwrap();
            outs.push(floats(&out).to_vec());
        }
        for other in &outs[1..] {
            let worst = outs[0]
                .iter()
                .zip(other)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(worst < 3.5, "side {side}: {worst}");
        }
    }
}

#[test]
fn order_range_and_type_are_what_the_network_wants() {
    let source = frame(PixelFormat::Rgb24, (64, 64), |_, _| [10.0, 20.0, 30.0]);
    let map = Mapping::Homography(scale_shift(1.0, 4.0, 4.0));
    let mut spec = image(Layout::Nchw, 0);
    spec.colour = Colour::Bgr;
    spec.mean = [1.0, 2.0, 3.0]; // of blue, green, red
    spec.std = [2.0, 4.0, 8.0];
    let mut out = ImageBuffer::new(&spec, Element::F32, 16, 16);
    Preprocess::new(16).warp(&source, &map, &mut out).unwrap();
    let values = floats(&out);
    for (plane, want) in [(30.0 - 1.0) / 2.0, (20.0 - 2.0) / 4.0, (10.0 - 3.0) / 8.0]
        .iter()
        .enumerate()
    {
        assert!((values[plane * 256 + 17] - want).abs() < 1e-5);
    }
    let mut bytes = ImageBuffer::new(&image(Layout::Nhwc, 0), Element::U8, 16, 16);
    Preprocess::new(16).warp(&source, &map, &mut bytes).unwrap();
    let Input::U8(values) = bytes.input() else {
        panic!("not bytes")
    };
    assert_eq!(values[..6], [10, 20, 30, 10, 20, 30]);
    assert_eq!(values.len(), 16 * 16 * 3);
}

#[test]
fn a_square_image_is_turned_clockwise_in_either_layout() {
    for (layout, element) in [
        (Layout::Nchw, Element::F32),
        (Layout::Nhwc, Element::F32),
        (Layout::Nhwc, Element::U8),
    ] {
        for side in [16, 15] {
            // Left and top are told apart by colour.
            let pixel = |row: usize, column: usize| {
                [row, column, row + 2 * column].map(|v| f32::from(u8::try_from(v).unwrap()))
            };
            let filled = |place: &dyn Fn(usize, usize) -> (usize, usize)| {
                let mut out = ImageBuffer::new(&image(layout, 0), element, side, side);
                for row in 0..side {
                    let rgb: Vec<_> = (0..side)
                        .map(|column| place(row, column))
                        .map(|(row, column)| pixel(row, column))
                        .collect();
                    out.put_row(row, &rgb);
                }
                out
            };
            let last = side - 1;
            let turned: [&dyn Fn(usize, usize) -> (usize, usize); 4] = [
                &|row, column| (row, column),
                &|row, column| (last - column, row),
                &|row, column| (last - row, last - column),
                &|row, column| (column, last - row),
            ];
            for (quarters, place) in turned.into_iter().enumerate() {
                let mut got = filled(turned[0]);
                got.turn(quarters);
                let want = filled(place);
                match (got.input(), want.input()) {
                    (Input::F32(got), Input::F32(want)) => assert_eq!(got, want, "{quarters}"),
                    (Input::U8(got), Input::U8(want)) => assert_eq!(got, want, "{quarters}"),
                    _ => unreachable!("of one kind"),
                }
            }
        }
    }
}

#[test]
fn a_lens_grid_follows_a_bent_mapping() {
    let bend = |x: f32, y: f32| {
        let (u, v) = ((x - 72.0) / 100.0, (y - 96.0) / 100.0);
        let bent = 1.0 - 0.1 * (u * u + v * v);
        (300.0 + 250.0 * u * bent, 200.0 + 250.0 * v * bent)
    };
    let mut grid = LensGrid::new(144, 192);
    grid.fill(|x, y| Some(bend(x, y)));
    let mapping = Mapping::Lens(&grid);
    let mut worst = 0.0_f32;
    for y in 0_u8..192 {
        for x in 0_u8..144 {
            let (x, y) = (f32::from(x), f32::from(y));
            let (want, got) = (bend(x, y), mapping.apply(x, y));
            worst = worst.max((want.0 - got.0).hypot(want.1 - got.1));
        }
    }
    assert!(worst < 0.2, "{worst} px");
    // Nodes without a source make the patches around them empty, not wild.
    grid.fill(|x, y| (x > 60.0).then(|| bend(x, y)));
    assert!(Mapping::Lens(&grid).apply(20.0, 20.0).0.is_nan());
}

#[test]
fn a_frame_that_lies_about_its_size_is_refused() {
    let mut source = frame(PixelFormat::Yuyv, (64, 64), |_, _| [10.0; 3]);
    source.bytes.pop();
    let mut out = ImageBuffer::new(&image(Layout::Nchw, 0), Element::F32, 16, 16);
    let mut preprocess = Preprocess::new(16);
    let error = preprocess.letterbox(&source, &mut out).unwrap_err();
    assert_eq!(
        error,
        InferError::Frame {
            sequence: 3,
            got: 8191,
            want: 8192
        }
    );
    source.bytes.push(0);
    source.meta.width_px = 63;
    source.meta.height_px = 65;
    let map = Mapping::Homography(scale_shift(1.0, 0.0, 0.0));
    assert!(
        preprocess.warp(&source, &map, &mut out).is_err(),
        "too small"
    );
    source.meta.width_px = 65;
    assert!(preprocess.warp(&source, &map, &mut out).is_err(), "odd");
    source.meta.width_px = 4000;
    source.meta.height_px = 1;
    assert!(
        preprocess.warp(&source, &map, &mut out).is_err(),
        "too wide"
    );
}

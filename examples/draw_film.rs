//! Writes what the synthetic camera of `poised demo` sees, frame by frame, as raw RGB:
//! `draw_film FILE FRAMES WIDTH HEIGHT`.

use std::fs::File;
use std::io::{BufWriter, Write};

use poised::synthetic::{Scene, SyntheticConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, frames, width, height] = arguments.as_slice() else {
        return Err("wanted: FILE FRAMES WIDTH HEIGHT".into());
    };
    let config = SyntheticConfig {
        width_px: width.parse()?,
        height_px: height.parse()?,
        ..SyntheticConfig::default()
    };
    let mut scene = Scene::new(&config)?;
    let mut rgb = vec![0; scene.image_bytes()];
    let mut file = BufWriter::new(File::create(file)?);
    for frame in 0..frames.parse::<u32>()? {
        scene.render_into(f64::from(frame) / f64::from(config.rate_hz), &mut rgb);
        file.write_all(&rgb)?;
    }
    Ok(file.flush()?)
}

//! What a video's header says of it, read by `ffprobe`: rate, size and shape of its pixels. How many frames there
//! are it says too, but videos that were cut, or whose sound is longer, have fewer, so that is not asked.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use super::super::open::{GoesOn, OpenError};
use super::child::ask;
use super::fit::fitting_size;

/// What the header says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Probe {
    /// Mean frame rate in hertz; 0 where unknown.
    pub(super) rate_hz: f32,
    /// Columns and rows as shown, where known: turned, with square pixels and within our bounds.
    pub(super) size_px: Option<(u32, u32)>,
}

#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    streams: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    #[serde(default)]
    width: u32,
    #[serde(default)]
    height: u32,
    #[serde(default)]
    avg_frame_rate: String,
    #[serde(default)]
    sample_aspect_ratio: String,
    #[serde(default)]
    side_data_list: Vec<SideData>,
    #[serde(default)]
    tags: Tags,
}

#[derive(Deserialize)]
struct SideData {
    /// Degrees; newer versions of ffprobe say it here.
    rotation: Option<f64>,
}

#[derive(Default, Deserialize)]
struct Tags {
    /// Degrees; older versions say it here.
    rotate: Option<String>,
}

impl Stream {
    fn lies_on_its_side(&self) -> bool {
        let told = self.side_data_list.iter().find_map(|data| data.rotation);
        let told = told.or_else(|| self.tags.rotate.as_ref()?.parse().ok());
        told.is_some_and(|degrees| (degrees / 90.0).round().rem_euclid(2.0) > 0.5)
    }
}

impl Probe {
    /// Reads the header of a file.
    pub(super) fn of_file(
        path: &Path,
        program: &str,
        goes_on: &mut GoesOn<'_>,
    ) -> Result<Self, OpenError> {
        let mut input = std::ffi::OsString::from("file:");
        input.push(path);
        let mut command = Command::new(program);
        command
            .args(["-v", "error", "-protocol_whitelist", "file,pipe"])
            .args(["-select_streams", "V:0", "-of", "json", "-show_entries"])
            .arg(
                "stream=width,height,avg_frame_rate,sample_aspect_ratio:\
                 stream_side_data=rotation:stream_tags=rotate",
            )
            .arg("-i")
            .arg(input);
        let answer = ask(program, command, goes_on)?;
        let refused = |message: &str| OpenError::NotAVideo {
            name: path.display().to_string(),
            message: message.to_owned(),
        };
        if !answer.success {
            let said = String::from_utf8_lossy(&answer.errors);
            return Err(refused(last_line(&said)));
        }
        Self::from_json(&answer.output).ok_or_else(|| refused("it holds no picture stream"))
    }

    fn from_json(json: &[u8]) -> Option<Self> {
        let report: Report = serde_json::from_slice(json).ok()?;
        let stream = report.streams.first()?;
        let aspect = ratio(&stream.sample_aspect_ratio, ':').unwrap_or(1.0);
        let (size, aspect) = if stream.lies_on_its_side() {
            ((stream.height, stream.width), 1.0 / aspect)
        } else {
            ((stream.width, stream.height), aspect)
        };
        #[expect(clippy::cast_possible_truncation, reason = "rates are small numbers")]
        let rate_hz = ratio(&stream.avg_frame_rate, '/').unwrap_or(0.0) as f32;
        Some(Self {
            rate_hz,
            size_px: (size.0 > 0 && size.1 > 0).then(|| fitting_size(size, aspect)),
        })
    }
}

/// `a/b` as a positive number.
fn ratio(text: &str, between: char) -> Option<f64> {
    let (above, below) = text.split_once(between)?;
    let ratio = above.parse::<f64>().ok()? / below.parse::<f64>().ok()?;
    (ratio.is_finite() && ratio > 0.0).then_some(ratio)
}

/// The last line that says something, without the file's name before it.
fn last_line(text: &str) -> &str {
    let line = text
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("no reason given");
    line.rsplit_once(": ").map_or(line, |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &str) -> Probe {
        Probe::from_json(format!("{{\"streams\":[{{{stream}}}]}}").as_bytes()).unwrap()
    }

    #[test]
    fn a_header_is_read() {
        let probe = read(r#""width":720,"height":1280,"avg_frame_rate":"30000/1001""#);
        assert!((probe.rate_hz - 29.97).abs() < 0.01);
        assert_eq!(probe.size_px, Some((720, 1280)));
    }

    #[test]
    fn what_a_header_leaves_out_is_unknown() {
        assert_eq!(read(r#""avg_frame_rate":"0/0""#), Probe::default());
        assert_eq!(Probe::from_json(br#"{"streams":[]}"#), None);
    }

    #[test]
    fn pixels_that_are_not_square_and_pictures_on_their_side_are_taken_into_account() {
        let size = |more: &str| read(&format!(r#""width":720,"height":576,{more}"#)).size_px;
        assert_eq!(size(r#""sample_aspect_ratio":"64:45""#), Some((1024, 576)));
        assert_eq!(size(r#""sample_aspect_ratio":"0:1""#), Some((720, 576)));
        let turned = r#""side_data_list":[{},{"rotation":-90}]"#;
        assert_eq!(size(turned), Some((576, 720)));
        assert_eq!(size(r#""tags":{"rotate":"270"}"#), Some((576, 720)));
        assert_eq!(size(r#""tags":{"rotate":"180"}"#), Some((720, 576)));
        let both = format!(r#"{turned},"sample_aspect_ratio":"64:45""#);
        assert_eq!(size(&both), Some((576, 1024)));
    }

    #[test]
    fn the_reason_is_the_end_of_the_last_line() {
        assert_eq!(
            last_line("x\nfile:a b.mp4: Invalid data found\n\n"),
            "Invalid data found"
        );
        assert_eq!(last_line(""), "no reason given");
    }
}

//! What a video's header says of it, read by `ffprobe`: rate, number of frames,
//! duration. It is a promise to hold the decoded frames against.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::super::open::OpenError;
use super::child::not_started;
use crate::limits::{IMAGE_PX_MAX, IMAGE_SIDE_PX_MAX};

/// The header's words.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Probe {
    /// Mean frame rate in hertz; 0 where unknown.
    pub(super) rate_hz: f32,
    /// Number of frames, where it is stated.
    pub(super) frames: Option<u32>,
    /// Duration in seconds, where it is stated.
    pub(super) duration_s: Option<f64>,
    /// Columns and rows as stored, before any rotation.
    size: (u32, u32),
}

#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    streams: Vec<Stream>,
    #[serde(default)]
    format: Format,
}

#[derive(Deserialize)]
struct Stream {
    #[serde(default)]
    width: u32,
    #[serde(default)]
    height: u32,
    #[serde(default)]
    avg_frame_rate: String,
    nb_frames: Option<String>,
    duration: Option<String>,
}

#[derive(Default, Deserialize)]
struct Format {
    duration: Option<String>,
}

impl Probe {
    /// Reads the header of a file.
    pub(super) fn of_file(path: &Path, program: &str) -> Result<Self, OpenError> {
        let mut input = std::ffi::OsString::from("file:");
        input.push(path);
        let output = Command::new(program)
            .args(["-v", "error", "-protocol_whitelist", "file,pipe"])
            .args(["-select_streams", "V:0", "-of", "json", "-show_entries"])
            .arg("stream=width,height,avg_frame_rate,nb_frames,duration:format=duration")
            .arg("-i")
            .arg(input)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| not_started(program, error))?;
        let refused = |message: &str| OpenError::NotAVideo {
            name: path.display().to_string(),
            message: message.to_owned(),
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(refused(last_line(&said)));
        }
        Self::from_json(&output.stdout).ok_or_else(|| refused("it holds no picture stream"))
    }

    fn from_json(json: &[u8]) -> Option<Self> {
        let report: Report = serde_json::from_slice(json).ok()?;
        let stream = report.streams.first()?;
        let seconds = |text: &Option<String>| {
            let seconds: f64 = text.as_ref()?.parse().ok()?;
            (seconds.is_finite() && seconds > 0.0).then_some(seconds)
        };
        Some(Self {
            rate_hz: rate(&stream.avg_frame_rate).unwrap_or(0.0),
            frames: stream
                .nb_frames
                .as_ref()
                .and_then(|text| text.parse().ok())
                .filter(|&frames| frames > 0),
            duration_s: seconds(&stream.duration).or_else(|| seconds(&report.format.duration)),
            size: (stream.width, stream.height),
        })
    }

    /// Factor by which pictures have to shrink to fit our bounds; `None` if they fit.
    pub(super) fn shrink(&self) -> Option<f64> {
        let (width, height) = (f64::from(self.size.0), f64::from(self.size.1));
        if width < 1.0 || height < 1.0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a few million")]
        let by_area = (IMAGE_PX_MAX as f64 / (width * height)).sqrt();
        let factor = by_area.min(f64::from(IMAGE_SIDE_PX_MAX) / width.max(height));
        (factor < 1.0).then_some(factor)
    }
}

/// `a/b` as a number.
fn rate(text: &str) -> Option<f32> {
    let (frames, seconds) = text.split_once('/')?;
    let rate: f32 = frames.parse::<f32>().ok()? / seconds.parse::<f32>().ok()?;
    (rate.is_finite() && rate > 0.0).then_some(rate)
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

    #[test]
    fn a_header_is_read() {
        let json = br#"{"streams":[{"width":720,"height":1280,"avg_frame_rate":"30000/1001",
            "nb_frames":"65","duration":"13.0"}],"format":{"duration":"13.5"}}"#;
        let probe = Probe::from_json(json).unwrap();
        assert!((probe.rate_hz - 29.97).abs() < 0.01);
        assert_eq!((probe.frames, probe.duration_s), (Some(65), Some(13.0)));
        assert_eq!(probe.shrink(), None);
    }

    #[test]
    fn what_a_header_leaves_out_is_unknown() {
        let json = br#"{"streams":[{"avg_frame_rate":"0/0"}],"format":{"duration":"N/A"}}"#;
        let probe = Probe::from_json(json).unwrap();
        assert_eq!(probe, Probe::default());
        assert_eq!(Probe::from_json(br#"{"streams":[]}"#), None);
    }

    #[test]
    fn a_picture_too_large_shrinks_to_the_bounds() {
        let large = Probe {
            size: (3840, 2160),
            ..Probe::default()
        };
        assert_eq!(large.shrink(), Some(0.5));
        let square = Probe {
            size: (1920, 1920),
            ..Probe::default()
        };
        assert!(square.shrink().unwrap() < 0.76);
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

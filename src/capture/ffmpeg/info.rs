//! The lines ffmpeg writes: one for each frame from its `showinfo` filter,
//! and what it has to complain about.
//!
//! ```text
//! [Parsed_showinfo_0 @ 0x5571] [info] config in time_base: 1/10240, frame_rate: 5/1
//! [Parsed_showinfo_0 @ 0x5571] [info] n:   3 pts:   6144 pts_time:0.6 ... s:720x1280 i:P ...
//! [mov,mp4 @ 0x5570] [error] moov atom not found
//! ```

use std::collections::VecDeque;
use std::io::{self, Read};

/// Longest line kept; what is longer is a dump of metadata.
const LINE_BYTES_MAX: usize = 4096;

/// Longest complaint kept, in characters: one line of a log.
const ERROR_CHARS_MAX: usize = 200;

/// What is known of a frame before its bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameInfo {
    /// Presentation time in nanoseconds, where the video states one.
    pub(super) time_ns: Option<i64>,
    /// Columns.
    pub(super) width_px: u32,
    /// Rows.
    pub(super) height_px: u32,
}

/// Cuts what comes into lines and keeps what is of use.
#[derive(Debug, Default)]
pub(super) struct InfoLines {
    line: Vec<u8>,
    frames: VecDeque<FrameInfo>,
    /// Seconds a unit of time, as a fraction.
    time_base: (i64, i64),
    rate_hz: f32,
    error: Option<String>,
}

impl InfoLines {
    /// The line of the frame whose bytes come next.
    pub(super) fn front(&self) -> Option<FrameInfo> {
        self.frames.front().copied()
    }

    /// Takes that line away.
    pub(super) fn pop(&mut self) -> Option<FrameInfo> {
        self.frames.pop_front()
    }

    /// The frame rate stated, 0 if none is.
    pub(super) const fn rate_hz(&self) -> f32 {
        self.rate_hz
    }

    /// The first complaint, which is nearest to the cause.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Reads once what is there; false at the end.
    pub(super) fn read_from(&mut self, pipe: &mut impl Read) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        let got = pipe.read(&mut buffer)?;
        self.feed(&buffer[..got]);
        Ok(got > 0)
    }

    fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' || byte == b'\r' {
                let line = std::mem::take(&mut self.line);
                self.take_line(&String::from_utf8_lossy(&line));
                self.line = line;
                self.line.clear();
            } else if self.line.len() < LINE_BYTES_MAX {
                self.line.push(byte);
            }
        }
    }

    fn take_line(&mut self, line: &str) {
        if line.starts_with("[Parsed_showinfo") {
            if let Some((_, config)) = line.split_once("config in time_base:") {
                self.take_config(config);
            } else if let Some(info) = parse_frame(line, self.time_base) {
                self.frames.push_back(info);
            }
        } else if self.error.is_none()
            && let Some(error) = complaint(line)
        {
            self.error = Some(error.chars().take(ERROR_CHARS_MAX).collect());
        }
    }

    fn take_config(&mut self, config: &str) {
        let (base, rate) = config.split_once(", frame_rate:").unwrap_or((config, ""));
        if let Some(base) = fraction(base) {
            self.time_base = base;
        }
        if let Some((frames, seconds)) = fraction(rate) {
            #[expect(clippy::cast_precision_loss, reason = "small numbers in practice")]
            let rate_hz = frames as f32 / seconds as f32;
            self.rate_hz = rate_hz;
        }
    }
}

/// Text of a line that complains: `[error]` or `[fatal]`, without the place in
/// memory before it.
fn complaint(line: &str) -> Option<&str> {
    let text = ["[error] ", "[fatal] ", "[panic] "]
        .iter()
        .find_map(|mark| line.split_once(mark))?
        .1
        .trim();
    (!text.is_empty()).then_some(text)
}

/// `a/b` with a positive `b`.
fn fraction(text: &str) -> Option<(i64, i64)> {
    let (above, below) = text.trim().split_once('/')?;
    let fraction = (above.parse().ok()?, below.parse().ok()?);
    (fraction.0 > 0 && fraction.1 > 0).then_some(fraction)
}

/// The word after `key`, blanks between them or not.
fn after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_once(key)?.1.split_whitespace().next()
}

fn parse_frame(line: &str, time_base: (i64, i64)) -> Option<FrameInfo> {
    // `pts_time` has six digits only, which is 10 ms after half an hour; so the
    // exact number and its unit are used.
    let units: Option<i64> = after(line, " pts:")?.parse().ok();
    let (width, height) = after(line, " s:")?.split_once('x')?;
    let time_ns = units.filter(|_| time_base.1 > 0).and_then(|units| {
        let ns =
            i128::from(units) * 1_000_000_000 * i128::from(time_base.0) / i128::from(time_base.1);
        i64::try_from(ns).ok()
    });
    Some(FrameInfo {
        time_ns,
        width_px: width.parse().ok()?,
        height_px: height.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str =
        "[Parsed_showinfo_0 @ 0x55] [info] config in time_base: 1/10240, frame_rate: 30000/1001\n";
    const FRAME: &str = "[Parsed_showinfo_0 @ 0x55] [info] n:   3 pts:   6144 pts_time:0.6     \
        pos:    45170 fmt:yuv420p sar:0/1 s:720x1280 i:P iskey:0 type:P \n";

    fn fed(text: &str) -> InfoLines {
        let mut lines = InfoLines::default();
        // In odd pieces, as pipes deliver.
        for piece in text.as_bytes().chunks(7) {
            lines.feed(piece);
        }
        lines
    }

    #[test]
    fn a_frame_line_gives_time_and_size() {
        let mut lines = fed(&format!("{CONFIG}{FRAME}"));
        assert_eq!(
            lines.pop(),
            Some(FrameInfo {
                time_ns: Some(600_000_000),
                width_px: 720,
                height_px: 1280
            })
        );
        assert_eq!(lines.pop(), None);
        assert!((lines.rate_hz() - 29.97).abs() < 0.01);
    }

    #[test]
    fn a_frame_without_a_time_has_none() {
        let line = FRAME.replace("pts:   6144 pts_time:0.6", "pts:NOPTS pts_time:NOPTS");
        let mut lines = fed(&format!("{CONFIG}{line}"));
        assert_eq!(lines.pop().unwrap().time_ns, None);
    }

    #[test]
    fn hours_into_a_recording_times_are_exact() {
        let line = FRAME.replace("pts:   6144", "pts:204800001");
        let mut lines = fed(&format!("{CONFIG}{line}"));
        assert_eq!(lines.pop().unwrap().time_ns, Some(20_000_000_097_656));
    }

    #[test]
    fn side_data_and_colour_lines_are_no_frames() {
        let lines = fed(&format!(
            "{CONFIG}[Parsed_showinfo_0 @ 0x55] [info]   side data - User Data Unregistered:\n\
             [Parsed_showinfo_0 @ 0x55] [info] color_range:unknown color_space:unknown\n{}\n",
            "x".repeat(100_000)
        ));
        assert_eq!(lines.front(), None);
    }

    #[test]
    fn the_first_complaint_is_kept_and_cut_to_a_line() {
        let lines = fed(&format!(
            "[info] Input #0\n[mov,mp4 @ 0x1] [error] moov atom not found\n[fatal] {}\n",
            "y".repeat(1000)
        ));
        assert_eq!(lines.error(), Some("moov atom not found"));
        let lines = fed(&format!("[fatal] {}\n", "y".repeat(1000)));
        assert_eq!(lines.error().unwrap().len(), ERROR_CHARS_MAX);
    }
}

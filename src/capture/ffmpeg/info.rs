//! The lines ffmpeg writes: two for each frame from its `showinfo` filters, the first as the frame is decoded, the
//! second as it is handed over; and its complaints.
//!
//! ```text
//! [Parsed_showinfo_0 @ 0x5571] [info] config in time_base: 1/10240, frame_rate: 5/1
//! [Parsed_showinfo_0 @ 0x5571] [info] n:   3 pts:   6144 pts_time:0.6 ... s:1440x2560 i:P ...
//! [Parsed_showinfo_2 @ 0x5572] [info] n:   3 pts:   6144 pts_time:0.6 ... s:720x1280 i:P ...
//! [mov,mp4 @ 0x5570] [error] moov atom not found
//! ```

use std::collections::VecDeque;
use std::io::{self, Read};

use super::super::address::Address;

/// Longest line kept; what is longer is a dump of metadata.
const LINE_BYTES_MAX: usize = 4096;

/// Longest complaint kept, in characters: one line of a log.
const ERROR_CHARS_MAX: usize = 200;

/// Frames that a decoder may still hold when the container complains: those of a decoder with many threads.
const FRAMES_IN_DECODER_MAX: u32 = 64;

/// What containers complain about where a file is cut. A decoder's complaints are not among them: a video that was cut
/// on purpose, between two whole images, has those at its start.
const CUT_MARKS: [&str; 4] = [
    "partial file",
    "ended prematurely",
    "Packet corrupt",
    "Truncat",
];

/// What is known of a frame before its bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameInfo {
    /// Presentation time in nanoseconds, where the video states one.
    pub(super) time_ns: Option<i64>,
    /// Image width, pixels.
    pub(super) width_px: u32,
    /// Image height, pixels.
    pub(super) height_px: u32,
    /// Columns and rows as decoded.
    pub(super) source_px: (u32, u32),
}

/// Cuts what comes into lines and keeps what is of use.
#[derive(Debug, Default)]
pub(super) struct InfoLines {
    line: Vec<u8>,
    frames: VecDeque<FrameInfo>,
    /// Sizes of frames that are decoded and not yet handed over.
    sources: VecDeque<(u32, u32)>,
    /// Frames so far, and how many there were at the last complaint about a cut.
    count: u32,
    cut_at: Option<u32>,
    address: Option<Address>,
    /// Seconds a unit of time, as a fraction.
    time_base: (i64, i64),
    rate_hz: f32,
    error: Option<String>,
}

impl InfoLines {
    /// Lines about this address, of which nothing secret is kept.
    pub(super) fn about(address: Address) -> Self {
        Self {
            address: Some(address),
            ..Self::default()
        }
    }

    /// The line of the frame whose bytes come next.
    pub(super) fn front(&self) -> Option<FrameInfo> {
        self.frames.front().copied()
    }

    /// Takes that line away.
    pub(super) fn pop(&mut self) -> Option<FrameInfo> {
        self.frames.pop_front()
    }

    /// Frames whose lines have come so far.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// The frame rate stated, 0 if none is.
    pub(super) const fn rate_hz(&self) -> f32 {
        self.rate_hz
    }

    /// The first complaint, which is nearest to the cause.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Leaves out what was said so far: it opened all the same.
    pub(super) fn forget_error(&mut self) {
        self.error = None;
    }

    /// Whether the container complained, at the frames that came last, that it is cut.
    pub(super) fn is_cut(&self) -> bool {
        self.cut_at
            .is_some_and(|at| self.count - at <= FRAMES_IN_DECODER_MAX)
    }

    /// Reads once; false at the end.
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
        if let Some(filter) = line.strip_prefix("[Parsed_showinfo_") {
            if let Some((_, config)) = line.split_once("config in time_base:") {
                self.take_config(config);
            } else if let Some((time_ns, size)) = parse_frame(line, self.time_base) {
                self.take_frame(filter.starts_with("0 "), time_ns, size);
            }
            return;
        }
        let is_transport = line.starts_with("[mpegts") || line.starts_with("[mpeg ");
        if !is_transport && CUT_MARKS.iter().any(|mark| line.contains(mark)) {
            self.cut_at = Some(self.count);
        }
        if self.error.is_none()
            && let Some(error) = complaint(line)
        {
            let clean = match &self.address {
                Some(address) => address.clean(error),
                None => error.to_owned(),
            };
            self.error = Some(clean.chars().take(ERROR_CHARS_MAX).collect());
        }
    }

    fn take_frame(&mut self, decoded: bool, time_ns: Option<i64>, size: (u32, u32)) {
        if decoded {
            self.sources.push_back(size);
            return;
        }
        self.count = self.count.saturating_add(1);
        self.frames.push_back(FrameInfo {
            time_ns,
            width_px: size.0,
            height_px: size.1,
            source_px: self.sources.pop_front().unwrap_or(size),
        });
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

/// Time, where there is one, and size.
fn parse_frame(line: &str, time_base: (i64, i64)) -> Option<(Option<i64>, (u32, u32))> {
    // `pts_time` has six digits only, which is 10 ms after half an hour; so the
    // exact number and its unit are used.
    let units: Option<i64> = after(line, " pts:")?.parse().ok();
    let (width, height) = after(line, " s:")?.split_once('x')?;
    let time_ns = units.filter(|_| time_base.1 > 0).and_then(|units| {
        let ns = (i128::from(units) * 1_000_000_000).checked_mul(time_base.0.into())?;
        i64::try_from(ns / i128::from(time_base.1)).ok()
    });
    Some((time_ns, (width.parse().ok()?, height.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str =
        "[Parsed_showinfo_0 @ 0x55] [info] config in time_base: 1/10240, frame_rate: 30000/1001\n";
    const FRAME: &str = "[Parsed_showinfo_2 @ 0x55] [info] n:   3 pts:   6144 pts_time:0.6     \
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
        let decoded = FRAME
            .replace("showinfo_2", "showinfo_0")
            .replace("720x1280", "1440x2560");
        let mut lines = fed(&format!("{CONFIG}{decoded}{FRAME}"));
        assert_eq!(
            lines.pop(),
            Some(FrameInfo {
                time_ns: Some(600_000_000),
                width_px: 720,
                height_px: 1280,
                source_px: (1440, 2560),
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
    fn a_time_that_no_clock_has_is_none() {
        let config = CONFIG.replace("1/10240", "9223372036854775807/1");
        let line = FRAME.replace("pts:   6144", "pts:9223372036854775807");
        let mut lines = fed(&format!("{config}{line}"));
        assert_eq!(lines.pop().unwrap().time_ns, None);
    }

    /// Lines as ffmpeg writes them, changed at random: a version that comes later writes others.
    #[test]
    fn whatever_ffmpeg_writes_is_no_crash() {
        const WORDS: [&str; 10] = [
            "9223372036854775807",
            "-9223372036854775808",
            "4294967295",
            "-1",
            "NOPTS",
            "/",
            " s:",
            "\n",
            "[error] ",
            "partial file",
        ];
        let decoded = FRAME.replace("showinfo_2", "showinfo_0");
        let text = format!(
            "{CONFIG}{decoded}{FRAME}[mov,mp4 @ 0x1] [error] moov atom not found\n{decoded}{FRAME}"
        );
        for seed in 0..500 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut bytes = text.clone().into_bytes();
            for _ in 0..rng.u8(1..20) {
                let at = rng.usize(..=bytes.len());
                let end = (at + rng.usize(..20)).min(bytes.len());
                match rng.u8(..4) {
                    0 => drop(bytes.drain(at..end)),
                    1 => drop(bytes.splice(at..end, [rng.u8(..)])),
                    2 => drop(bytes.splice(at..end, rng.choice(WORDS).unwrap().bytes())),
                    // A line without an end.
                    _ => drop(bytes.splice(at..at, vec![b'7'; rng.usize(..2 * LINE_BYTES_MAX)])),
                }
            }
            let mut lines = InfoLines::default();
            for piece in bytes.chunks(rng.usize(1..200)) {
                lines.feed(piece);
                assert!(lines.line.len() <= LINE_BYTES_MAX, "seed {seed}");
            }
            let error = lines.error().unwrap_or_default();
            assert!(error.chars().count() <= ERROR_CHARS_MAX, "seed {seed}");
            assert!(lines.cut_at.is_none_or(|at| at <= lines.count()));
        }
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
    fn a_container_that_complains_near_the_end_is_cut_and_a_decoder_that_does_is_not() {
        let frames = |count| FRAME.repeat(count);
        for (line, after, is_cut) in [
            (
                "[mov,mp4 @ 0x1] [error] stream 0, offset 0x4bb8: partial file",
                3,
                true,
            ),
            (
                "[matroska,webm @ 0x1] [error] File ended prematurely",
                60,
                true,
            ),
            (
                "[avi @ 0x1] [warning] Packet corrupt (stream = 0, dts = 24).",
                0,
                true,
            ),
            (
                "[flv @ 0x1] [warning] Packet corrupt (stream = 0, dts = 500).",
                0,
                true,
            ),
            (
                "[mov,mp4 @ 0x1] [error] stream 0, offset 0x4bb8: partial file",
                65,
                false,
            ),
            (
                "[mpegts @ 0x1] [warning] Packet corrupt (stream = 0, dts = 24).",
                0,
                false,
            ),
            (
                "[h264 @ 0x1] [error] error while decoding MB 6 10, bytestream -4",
                0,
                false,
            ),
        ] {
            let lines = fed(&format!("{CONFIG}{}{line}\n{}", frames(5), frames(after)));
            assert_eq!(lines.is_cut(), is_cut, "{line}");
        }
    }

    #[test]
    fn a_complaint_about_an_address_is_kept_without_its_password() {
        let address = Address::parse("rtsp://kim:geheim@host/live?pwd=offen").unwrap();
        let mut lines = InfoLines::about(address);
        lines.feed(
            b"[concat @ 0x1] [error] Impossible to open 'rtsp://kim:geheim@host/live?pwd=offen'\n",
        );
        assert_eq!(
            lines.error(),
            Some("Impossible to open 'rtsp://host/live?pwd=***'")
        );
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

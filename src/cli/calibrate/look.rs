//! Pictures from any source into views, with words on what was made of them.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use poised::base::clock::MonoNs;
use poised::camera::calibrate::{Picture, Refused, Views, grey_into};
use poised::capture::files::ImageFolder;
use poised::capture::v4l2::{V4l2Camera, V4l2Config};
use poised::capture::{Camera, FOLDER_RATE_HZ, Source, SourceKind, StreamOptions};
use poised::counters::Counters;
use poised::error::StartError;
use poised::frame::Frame;

use super::guide::Guide;
use crate::cli::exit::Interrupted;
use crate::cli::replay::{Step, interruptible, next_unless};

/// Frames of a film or a camera that are looked at are so far apart: a hand moves a board by a few centimetres.
const LOOK_EACH: Duration = Duration::from_millis(200);

/// Longest time that a camera is looked at: an arm tires sooner.
const LIVE_MAX: Duration = Duration::from_mins(10);

/// A size as it is given: `1280x720`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub width_px: u32,
    pub height_px: u32,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sides = text.split_once(['x', 'X']);
        let parsed =
            sides.and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
        let (width_px, height_px) = parsed.ok_or("give columns and rows, as in 1280x720")?;
        Ok(Self {
            width_px,
            height_px,
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width_px, self.height_px)
    }
}

/// Looks at sources, one after the other.
pub struct Looking<'a> {
    size: Size,
    views: &'a mut Views,
    stop: Arc<AtomicBool>,
    grey: Vec<u8>,
    pictures: usize,
    guide: Option<Guide>,
}

impl<'a> Looking<'a> {
    /// Into these views; `size` is asked of cameras.
    pub fn new(size: Size, views: &'a mut Views) -> anyhow::Result<Self> {
        Ok(Self {
            size,
            views,
            stop: interruptible()?,
            grey: Vec::new(),
            pictures: 0,
            guide: None,
        })
    }

    /// Shows what is missing there as well.
    pub fn guided_by(&mut self, guide: Guide) {
        self.guide = Some(guide);
    }

    /// Pictures that were looked at.
    pub const fn pictures(&self) -> usize {
        self.pictures
    }

    /// Looks at one source until it ends, or, with a camera, until nothing is missing or Ctrl-C is pressed.
    ///
    /// # Errors
    ///
    /// It does not open, breaks off, or the command is interrupted.
    pub fn at(&mut self, source: &OsStr) -> anyhow::Result<()> {
        let opened = Source::of(source).map_err(StartError::from)?;
        match &opened {
            Source::Pictures(path) => self.at_pictures(path),
            Source::Device(path) => {
                let camera = V4l2Camera::open(&V4l2Config {
                    device: Some(path.clone()),
                    width_px: self.size.width_px,
                    height_px: self.size.height_px,
                    ..V4l2Config::default()
                })
                .map_err(StartError::from)?;
                self.at_film(Box::new(camera))
            }
            other => {
                let camera = other.open(&StreamOptions::default(), &mut || true);
                self.at_film(camera.map_err(StartError::from)?)
            }
        }
    }

    fn at_pictures(&mut self, path: &Path) -> anyhow::Result<()> {
        let folder = ImageFolder::open(path, FOLDER_RATE_HZ).map_err(StartError::from)?;
        let mut folder = folder.each_in_its_size();
        let mut frame = Frame::with_room(folder.mode().width_px, folder.mode().height_px);
        loop {
            match next_unless(&mut folder, &mut frame, &Counters::default(), &self.stop)? {
                Step::Frame => {}
                Step::End => return Ok(()),
                Step::Stopped => return Err(Interrupted.into()),
            }
            let file = folder.file(frame.meta.sequence as usize).unwrap_or(path);
            let name = file
                .file_name()
                .unwrap_or(file.as_os_str())
                .to_string_lossy();
            let native_px = folder.native_px();
            let outcome = self.offer(&name, &frame, native_px);
            self.say(&name, &outcome)?;
        }
    }

    fn at_film(&mut self, mut camera: Box<dyn Camera>) -> anyhow::Result<()> {
        let mode = camera.mode().clone();
        let is_live = camera.kind() != SourceKind::Recording;
        let native_px = camera.native_px();
        if is_live {
            say!(
                "{}: {}x{}; {}; Ctrl-C when it is enough",
                mode.name,
                native_px.0,
                native_px.1,
                if self.views.are_of_floor() {
                    "leave the board on the floor"
                } else {
                    "move the board through the whole picture, near and far, tilted"
                }
            )?;
        }
        let mut frame = Frame::with_room(mode.width_px, mode.height_px);
        let mut told = None;
        let mut times: Option<(MonoNs, MonoNs)> = None;
        loop {
            match next_unless(&mut camera, &mut frame, &Counters::default(), &self.stop)? {
                Step::Frame => {}
                Step::Stopped if is_live => return Ok(()),
                Step::Stopped => return Err(Interrupted.into()),
                Step::End => return Ok(()),
            }
            let now = frame.meta.capture;
            let (first, last) = times.unwrap_or((now, MonoNs(0)));
            if times.is_some() && now.since(last) < LOOK_EACH {
                continue;
            }
            times = Some((first, now));
            let name = format!("{:.1} s", now.since(first).as_secs_f64());
            let outcome = self.offer(&name, &frame, native_px);
            // One reason is told once, not five times a second.
            let kind = outcome.as_ref().err().map(std::mem::discriminant);
            if kind.is_none() || kind != told {
                self.say(&name, &outcome)?;
            }
            told = kind;
            if matches!(outcome, Err(Refused::Size { .. })) {
                return Ok(());
            }
            let may_stop = is_live || self.views.are_of_floor();
            if may_stop && (self.views.are_enough() || now.since(first) > LIVE_MAX) {
                return Ok(());
            }
        }
    }

    /// Offers a frame to the views.
    fn offer(&mut self, name: &str, frame: &Frame, native_px: (u32, u32)) -> Result<(), Refused> {
        let (width, height) = grey_into(frame, &mut self.grey);
        self.pictures += 1;
        let picture = Picture {
            width,
            height,
            grey: &self.grey,
        };
        let outcome = self.views.offer(name, picture, native_px).map(|_| ());
        if let Some(guide) = &self.guide {
            guide.show(self.views, &outcome);
        }
        outcome
    }

    fn say(&self, name: &str, outcome: &Result<(), Refused>) -> anyhow::Result<()> {
        match outcome {
            Ok(()) => {
                let kept = self.views.kept();
                let (number, corners) =
                    (kept.len(), kept.last().map_or(0, |view| view.corners.len()));
                if self.views.are_of_floor() {
                    say!("{name}: {corners} corners")?;
                } else {
                    say!(
                        "{name}: view {number}, {corners} corners; {}",
                        self.views.missing()
                    )?;
                }
            }
            Err(why) => say!("{name}: {why}")?,
        }
        Ok(())
    }
}

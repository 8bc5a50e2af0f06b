//! Which video node is the camera: by path, by name or by place, and again after it was unplugged.
//!
//! A number as in `/dev/video0` is assigned again each time a camera appears. So a camera
//! that streamed once is known by what it is ([`Identity`]), and only a node with the
//! same identity is taken for it later, under whatever number it comes back.

use std::fs;
use std::path::{Path, PathBuf};

use super::open::OpenError;
use super::v4l2::V4l2Config;
use crate::base::limits::VIDEO_NODES_MAX;
use crate::sys::v4l2::{CAP_STREAMING, CAP_VIDEO_CAPTURE, Device};

/// What a camera is, whatever its node is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it calls itself.
    pub card: String,
    /// Where it is plugged in: `usb-0000:00:14.0-2`, `platform:vivid-000`.
    pub bus: String,
    /// Its serial number, where it has one.
    pub serial: Option<String>,
}

/// A node that captures video.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// `/dev/videoN`.
    pub node: PathBuf,
    /// Which camera it is.
    pub identity: Identity,
}

/// How alike two identities are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// Another camera.
    Other,
    /// The same model in another place; the same one only if no other is of that model.
    Model,
    /// Certainly the same: its serial number, or its place.
    Same,
}

fn likeness(known: &Identity, found: &Identity) -> Likeness {
    if known.card != found.card {
        return Likeness::Other;
    }
    match (&known.serial, &found.serial) {
        // Makers that give all their cameras one number are known by the place instead.
        (Some(one), Some(other)) if one != other => Likeness::Other,
        _ if known.bus == found.bus => Likeness::Same,
        _ => Likeness::Model,
    }
}

/// The nodes that capture video, in the order of their numbers. Those that may not be opened are left out.
pub fn cameras() -> Vec<Found> {
    nodes()
        .into_iter()
        .filter_map(|node| {
            let identity = identify(&node)?;
            Some(Found { node, identity })
        })
        .collect()
}

/// `/dev/video*` in the order of their numbers, whatever they are, at most [`VIDEO_NODES_MAX`].
pub fn nodes() -> Vec<PathBuf> {
    let mut numbers: Vec<u32> = fs::read_dir("/dev")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            name.to_str()?.strip_prefix("video")?.parse().ok()
        })
        .collect();
    numbers.sort_unstable();
    numbers.truncate(VIDEO_NODES_MAX);
    let path = |number| PathBuf::from(format!("/dev/video{number}"));
    numbers.into_iter().map(path).collect()
}

/// What is behind a node; `None` if it cannot be opened or captures no video.
pub fn identify(node: &Path) -> Option<Identity> {
    let capability = Device::open(node).ok()?.capability().ok()?;
    let needed = CAP_VIDEO_CAPTURE | CAP_STREAMING;
    (capability.bits & needed == needed).then(|| Identity {
        card: capability.card,
        bus: capability.bus,
        serial: serial(Path::new("/sys/class/video4linux"), node),
    })
}

/// The serial number of a USB camera: a file beside its interfaces.
fn serial(class: &Path, node: &Path) -> Option<String> {
    let node = fs::canonicalize(node).unwrap_or_else(|_| node.to_owned());
    let device = class.join(node.file_name()?).join("device");
    let text = fs::read_to_string(device.join("../serial")).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The node of the camera that the configuration means, or of the one that is `known` from before.
///
/// # Errors
///
/// It is not there, or cannot be told from another one.
pub fn find(config: &V4l2Config, known: Option<&Identity>) -> Result<PathBuf, OpenError> {
    if config.card.is_some() || config.bus.is_some() {
        let means = |found: &Found| {
            let identity = &found.identity;
            let is =
                |wanted: &Option<String>, got: &str| wanted.as_deref().is_none_or(|w| w == got);
            is(&config.card, &identity.card) && is(&config.bus, &identity.bus)
        };
        return among(&cameras(), means, known).map_err(|found| OpenError::NoSuchCamera {
            wanted: config.name(),
            found,
        });
    }
    let node = config.device();
    let Some(known) = known else {
        return Ok(node.to_owned());
    };
    let stable = fs::symlink_metadata(node).is_ok_and(|metadata| metadata.is_symlink());
    let there = identify(node);
    if stable && there.is_some() {
        return Ok(node.to_owned());
    }
    if there.is_some_and(|there| likeness(known, &there) == Likeness::Same) {
        return Ok(node.to_owned());
    }
    among(&cameras(), |_| true, Some(known)).map_err(|found| OpenError::NoSuchCamera {
        wanted: format!("{} ({} at {})", config.name(), known.card, known.bus),
        found,
    })
}

/// The one among `cameras` that is meant; else what there is, in words.
fn among(
    cameras: &[Found],
    is_meant: impl Fn(&Found) -> bool,
    known: Option<&Identity>,
) -> Result<PathBuf, String> {
    let candidates: Vec<&Found> = cameras.iter().filter(|found| is_meant(found)).collect();
    let chosen = match known {
        None => only(&candidates),
        Some(known) => {
            let alike = |least| {
                let alike = candidates.iter().copied();
                let alike = alike.filter(|found| likeness(known, &found.identity) >= least);
                alike.collect::<Vec<_>>()
            };
            only(&alike(Likeness::Same)).or_else(|| only(&alike(Likeness::Model)))
        }
    };
    chosen.map(|found| found.node.clone()).ok_or_else(|| {
        let list = if candidates.is_empty() {
            cameras.iter().collect()
        } else {
            candidates
        };
        let words: Vec<String> = list
            .iter()
            .map(|Found { node, identity }| {
                format!(
                    "{} is {} at {}",
                    node.display(),
                    identity.card,
                    identity.bus
                )
            })
            .collect();
        if words.is_empty() {
            "there is no camera".to_owned()
        } else {
            words.join(", ")
        }
    })
}

/// The camera, where there is one only. A camera may have several nodes in one place; then the first.
fn only<'a>(found: &[&'a Found]) -> Option<&'a Found> {
    let (first, rest) = found.split_first()?;
    rest.iter()
        .all(|other| other.identity == first.identity)
        .then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(number: u32, card: &str, bus: &str, serial: Option<&str>) -> Found {
        Found {
            node: PathBuf::from(format!("/dev/video{number}")),
            identity: Identity {
                card: card.to_owned(),
                bus: bus.to_owned(),
                serial: serial.map(str::to_owned),
            },
        }
    }

    fn chosen(cameras: &[Found], known: Option<&Found>) -> Result<String, String> {
        let known = known.map(|found| &found.identity);
        among(cameras, |_| true, known).map(|node| node.display().to_string())
    }

    #[test]
    fn a_camera_is_known_again_under_another_number() {
        let before = camera(0, "HD Webcam", "usb-1", None);
        let now = [
            camera(1, "Infrared", "usb-2", None),
            camera(2, "HD Webcam", "usb-1", None),
        ];
        assert_eq!(chosen(&now, Some(&before)).unwrap(), "/dev/video2");
    }

    #[test]
    fn another_camera_under_the_old_number_is_not_taken_for_it() {
        let before = camera(0, "HD Webcam", "usb-1", None);
        let now = [camera(0, "Infrared", "usb-1", None)];
        assert_eq!(
            chosen(&now, Some(&before)).unwrap_err(),
            "/dev/video0 is Infrared at usb-1"
        );
        assert_eq!(
            chosen(&[], Some(&before)).unwrap_err(),
            "there is no camera"
        );
    }

    #[test]
    fn in_another_socket_it_is_known_by_its_number_or_by_being_the_only_one() {
        let before = camera(0, "HD Webcam", "usb-1", None);
        let moved = camera(0, "HD Webcam", "usb-3", None);
        let twin = camera(1, "HD Webcam", "usb-4", None);
        assert_eq!(
            chosen(std::slice::from_ref(&moved), Some(&before)).unwrap(),
            "/dev/video0"
        );
        assert!(chosen(&[moved, twin], Some(&before)).is_err());

        let before = camera(0, "HD Webcam", "usb-1", Some("A"));
        let moved = camera(0, "HD Webcam", "usb-3", Some("A"));
        let twin = camera(1, "HD Webcam", "usb-1", Some("B"));
        assert_eq!(
            chosen(&[moved, twin], Some(&before)).unwrap(),
            "/dev/video0"
        );
    }

    #[test]
    fn two_of_one_name_are_not_guessed_between_and_two_nodes_of_one_camera_are() {
        let one = camera(0, "HD Webcam", "usb-1", None);
        let same = camera(1, "HD Webcam", "usb-1", None);
        let other = camera(2, "HD Webcam", "usb-2", None);
        assert_eq!(chosen(&[one.clone(), same], None).unwrap(), "/dev/video0");
        assert_eq!(
            chosen(&[one, other], None).unwrap_err(),
            "/dev/video0 is HD Webcam at usb-1, /dev/video2 is HD Webcam at usb-2"
        );
    }

    #[test]
    fn the_serial_number_stands_beside_the_interface() {
        let class = tempfile::tempdir().unwrap();
        let interface = class.path().join("usb/1-2/1-2:1.0");
        fs::create_dir_all(&interface).unwrap();
        fs::write(class.path().join("usb/1-2/serial"), "SN0042\n").unwrap();
        let node = class.path().join("video7");
        fs::create_dir(&node).unwrap();
        std::os::unix::fs::symlink(&interface, node.join("device")).unwrap();
        let found = serial(class.path(), Path::new("/dev/video7"));
        assert_eq!(found.as_deref(), Some("SN0042"));
        assert_eq!(serial(class.path(), Path::new("/dev/video8")), None);
    }
}

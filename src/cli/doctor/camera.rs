//! Video nodes: whether they open, which camera it is, which modes it has, whether the configured one is there.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use poised::camera::{ASSUMED_FOV_DEG, Calibration, CalibrationConfig};
use poised::capture::find::{find, nodes};
use poised::capture::v4l2::{V4l2Config, V4l2Format};
use poised::daemon::settings::CameraConfig;
use poised::sys::v4l2::{CAP_VIDEO_CAPTURE, Device, Interval};

use super::Finding;

const PART: &str = "camera";

/// Every node, and the camera that is configured.
pub fn findings(config: &CameraConfig) -> Vec<Finding> {
    let nodes = nodes();
    let mut findings: Vec<Finding> = nodes.iter().filter_map(|node| check(node)).collect();
    if nodes.is_empty() {
        findings.push(Finding::missing(
            PART,
            "no /dev/video* on this machine",
            "plug in a camera; `poised demo` needs none",
        ));
    }
    if config.synthetic.is_none() && config.source.is_none() && !nodes.is_empty() {
        findings.push(configured(&config.v4l2.clone().unwrap_or_default()));
    }
    findings
}

/// The calibration that is configured, or that there is none.
pub fn lens(config: &CalibrationConfig) -> Finding {
    const PART: &str = "lens";
    let Some(file) = &config.file else {
        return Finding {
            fix: Some(
                "poised calibrate --print board.svg, then poised calibrate --help".to_owned(),
            ),
            ..Finding::good(
                PART,
                format_args!(
                    "no calibration: a lens of {ASSUMED_FOV_DEG} degrees is assumed, distances are wrong by as much as it is"
                ),
            )
        };
    };
    match Calibration::read(file) {
        Ok(lens) => {
            let mount = match lens.mount() {
                Some(mount) => format!("{} m above the floor", mount.height_m),
                None => "no [mount], so sizes are estimated: poised calibrate mount".to_owned(),
            };
            Finding::good(PART, format_args!("{}: {lens}; {mount}", file.display()))
        }
        Err(error) => Finding::broken(
            PART,
            poised::capture::thread::words(&error),
            "fix the file, or measure the lens again: poised calibrate",
        ),
    }
}

/// One node; `None` for one that gives no images, such as that of a camera's metadata.
fn check(node: &Path) -> Option<Finding> {
    let device = match Device::open(node) {
        Ok(device) => device,
        Err(error) => return Some(shut(node, &error)),
    };
    let capability = match device.capability() {
        Ok(capability) => capability,
        Err(error) => {
            return Some(Finding::missing(
                PART,
                format_args!("{} does not answer: {error}", node.display()),
                "unplug the camera and plug it in again",
            ));
        }
    };
    if capability.bits & CAP_VIDEO_CAPTURE == 0 {
        return None;
    }
    let name = format!(
        "{}: card {:?}, bus {:?}",
        node.display(),
        capability.card,
        capability.bus
    );
    let modes = modes(&device);
    if modes.is_empty() {
        let offered: Vec<String> = device
            .formats()
            .iter()
            .map(|fourcc| String::from_utf8_lossy(fourcc).into_owned())
            .collect();
        return Some(Finding::missing(
            PART,
            format_args!(
                "{name}: offers {}, none of which is read",
                offered.join(" ")
            ),
            "use a camera with YUYV, UYVY, NV12, GREY or MJPG",
        ));
    }
    let links = links(Path::new("/dev/v4l/by-id"), node);
    Some(Finding::good(
        PART,
        format_args!("{name}{links}; {}", modes.join(", ")),
    ))
}

/// A node that may not be opened, or not now.
fn shut(node: &Path, error: &io::Error) -> Finding {
    let what = format!("{}: {error}", node.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied => Finding::missing(
            PART,
            what,
            "add the user to the group video (sudo usermod -aG video USER) and log in again",
        ),
        io::ErrorKind::ResourceBusy => {
            Finding::missing(PART, what, "stop the program that holds it (fuser -v NODE)")
        }
        _ => Finding::missing(PART, what, "unplug the camera and plug it in again"),
    }
}

/// `YUYV 640x480@30 1280x720@10` for each format that is read.
fn modes(device: &Device) -> Vec<String> {
    /// Sizes shown of each format.
    const SIZES_SHOWN: usize = 8;
    let offered = device.formats();
    V4l2Config::default()
        .formats
        .into_iter()
        .map(V4l2Format::fourcc)
        .filter(|fourcc| offered.contains(fourcc))
        .map(|fourcc| {
            let mut words = String::from_utf8_lossy(&fourcc).into_owned();
            for size in device.sizes(fourcc).iter().take(SIZES_SHOWN) {
                let rate = device.shortest_interval(*size).map(Interval::rate_hz);
                let rate = rate.map_or_else(String::new, |rate_hz| format!("@{rate_hz:.0}"));
                // Writing to a string cannot fail.
                let _ = write!(words, " {}x{}{rate}", size.width_px, size.height_px);
            }
            words
        })
        .collect()
}

/// The names of a node that stay the same.
fn links(folder: &Path, node: &Path) -> String {
    let links: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|link| fs::canonicalize(link).is_ok_and(|target| target == node))
        .map(|link: PathBuf| format!(" = {}", link.display()))
        .collect();
    links.concat()
}

/// The camera that the configuration means.
fn configured(config: &V4l2Config) -> Finding {
    match find(config, None) {
        Ok(node) if node.exists() => Finding::good(
            PART,
            format_args!("configured: {}, now {}", config.name(), node.display()),
        ),
        Ok(node) => Finding::missing(
            PART,
            format_args!("configured: {}: no such node", node.display()),
            "plug it in, or name another one under [camera.v4l2]: the daemon waits for it",
        ),
        Err(error) => Finding::missing(
            PART,
            format_args!("configured: {error}"),
            "plug it in, or name another one under [camera.v4l2]: the daemon waits for it",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_another_group_gets_the_fix_for_that() {
        let finding = shut(
            Path::new("/dev/video0"),
            &io::Error::from_raw_os_error(libc::EACCES),
        );
        assert!(
            finding.to_string().contains("usermod -aG video"),
            "{finding}"
        );
        let finding = shut(
            Path::new("/dev/video0"),
            &io::Error::from_raw_os_error(libc::EBUSY),
        );
        assert!(finding.to_string().contains("fuser"), "{finding}");
    }

    #[test]
    fn without_a_calibration_the_command_that_makes_one_is_named() {
        let finding = lens(&CalibrationConfig::default()).to_string();
        assert!(finding.contains("-> poised calibrate --print"), "{finding}");
        let file = Some(PathBuf::from("/nowhere/front.toml"));
        let config = CalibrationConfig {
            file,
            ..CalibrationConfig::default()
        };
        let finding = lens(&config);
        assert!(
            finding.to_string().contains("/nowhere/front.toml"),
            "{finding}"
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("front.toml");
        fs::write(&file, Calibration::assumed(640, 480).to_toml()).unwrap();
        let config = CalibrationConfig {
            file: Some(file),
            ..CalibrationConfig::default()
        };
        let finding = lens(&config).to_string();
        assert!(
            finding.starts_with("good") && finding.contains("calibrate mount"),
            "{finding}"
        );
    }

    #[test]
    fn links_to_a_node_are_shown_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let node = folder.join("video0");
        fs::write(&node, "").unwrap();
        let by_id = folder.join("by-id");
        fs::create_dir(&by_id).unwrap();
        std::os::unix::fs::symlink("../video0", by_id.join("usb-Maker_HD-index0")).unwrap();
        let words = links(&by_id, &node);
        assert!(words.ends_with("by-id/usb-Maker_HD-index0"), "{words}");
        assert_eq!(links(&by_id, Path::new("/dev/video7")), "");
    }
}

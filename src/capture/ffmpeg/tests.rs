//! Against the real program, on clips made by it; skipped where it is not installed.

use super::*;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const WAIT: Duration = Duration::from_secs(20);

/// Makes a clip with ffmpeg's test picture; `None`, said aloud, without ffmpeg.
fn clip(folder: &Path, name: &str, arguments: &[&str]) -> Option<PathBuf> {
    let path = folder.join(name);
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-nostdin"])
        .args(arguments)
        .arg(&path)
        .status();
    match made {
        Ok(status) if status.success() => Some(path),
        Ok(status) => panic!("ffmpeg could not make {name}: {status}"),
        Err(error) => {
            println!("skipped: ffmpeg is not installed ({error})");
            None
        }
    }
}

fn source(rate: u32, seconds: u32) -> String {
    format!("testsrc=size=128x96:rate={rate}:duration={seconds}")
}

/// Reads to the end: capture times in milliseconds, and how it ended.
fn read_all(camera: &mut FfmpegCamera) -> (Vec<u64>, Result<Next, CaptureError>) {
    let mut frame = Frame::with_room(camera.mode().width_px, camera.mode().height_px);
    let mut times = Vec::new();
    loop {
        match camera.next_into(&mut frame, WAIT) {
            Ok(Next::Frame) => {
                let bytes =
                    PixelFormat::Rgb24.image_bytes(frame.meta.width_px, frame.meta.height_px);
                assert_eq!(frame.bytes.len(), bytes);
                times.push(frame.meta.capture.0 / 1_000_000);
            }
            end => return (times, end),
        }
    }
}

#[test]
fn a_clip_gives_every_frame_with_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let Some(path) = clip(
        folder.path(),
        "a.mp4",
        &["-f", "lavfi", "-i", &source(25, 2)],
    ) else {
        return;
    };
    let mut camera = FfmpegCamera::open_file(&path).unwrap();
    assert_eq!((camera.mode().width_px, camera.mode().height_px), (128, 96));
    assert!((camera.mode().rate_hz - 25.0).abs() < 0.01);
    let (times, end) = read_all(&mut camera);
    assert_eq!(end, Ok(Next::End));
    let want: Vec<u64> = (0..50).map(|frame| frame * 40).collect();
    assert_eq!(times, want);
}

#[test]
fn a_clip_of_varying_rate_keeps_its_times() {
    let folder = tempfile::tempdir().unwrap();
    // Every frame of the first second, then every fifth.
    let select = "select='lt(t,1)+not(mod(n,5))'";
    let input = source(20, 3);
    let arguments = [
        "-f",
        "lavfi",
        "-i",
        &input,
        "-vf",
        select,
        "-fps_mode",
        "vfr",
    ];
    let Some(path) = clip(folder.path(), "vfr.mp4", &arguments) else {
        return;
    };
    let (times, end) = read_all(&mut FfmpegCamera::open_file(&path).unwrap());
    assert_eq!(end, Ok(Next::End));
    let want: Vec<u64> = (0..20)
        .map(|frame| frame * 50)
        .chain((4..12).map(|n| n * 250))
        .collect();
    assert_eq!(times, want);
}

#[test]
fn a_rotated_clip_comes_upright() {
    let folder = tempfile::tempdir().unwrap();
    let Some(flat) = clip(
        folder.path(),
        "flat.mp4",
        &["-f", "lavfi", "-i", &source(10, 1)],
    ) else {
        return;
    };
    let flat = flat.display().to_string();
    let arguments = ["-display_rotation", "90", "-i", &flat, "-c", "copy"];
    let old = ["-i", &flat, "-c", "copy", "-metadata:s:v:0", "rotate=90"];
    // The way to write a rotation changed with version 6.
    let made = Command::new("ffmpeg")
        .args(["-hide_banner", "-h", "full"])
        .output()
        .unwrap();
    let new = String::from_utf8_lossy(&made.stdout).contains("-display_rotation");
    let path = clip(
        folder.path(),
        "turned.mp4",
        if new { &arguments[..] } else { &old },
    )
    .unwrap();
    let camera = FfmpegCamera::open_file(&path).unwrap();
    assert_eq!((camera.mode().width_px, camera.mode().height_px), (96, 128));
}

#[test]
fn a_video_cut_short_says_how_many_frames_it_owed() {
    let folder = tempfile::tempdir().unwrap();
    let input = source(25, 4);
    // The index in front, so that the cut takes pictures and leaves the promise.
    let arguments = ["-f", "lavfi", "-i", &input, "-movflags", "+faststart"];
    let Some(path) = clip(folder.path(), "whole.mp4", &arguments) else {
        return;
    };
    let bytes = fs::read(&path).unwrap();
    let cut = folder.path().join("cut.mp4");
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let mut camera = FfmpegCamera::open_file(&cut).unwrap();
    let (times, end) = read_all(&mut camera);
    let frames = u32::try_from(times.len()).unwrap();
    assert!((1..98).contains(&frames), "{frames} frames");
    assert_eq!(
        end,
        Err(CaptureError::Truncated {
            frames,
            promised: 100
        })
    );
    let complaint = camera.complaint().unwrap();
    let want = format!("cut.mp4: ended after {frames} of 100 frames");
    assert!(complaint.contains(&want), "{complaint}");
    let mut frame = Frame::with_room(128, 96);
    assert_eq!(camera.next_into(&mut frame, WAIT), Ok(Next::End));
}

#[test]
fn a_video_that_changes_size_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let Some(first) = clip(
        folder.path(),
        "a.mpg",
        &["-f", "lavfi", "-i", &source(25, 1)],
    ) else {
        return;
    };
    let other = "testsrc=size=160x128:rate=25:duration=1";
    let second = clip(folder.path(), "b.mpg", &["-f", "lavfi", "-i", other]).unwrap();
    let both = folder.path().join("both.mpg");
    fs::write(
        &both,
        [fs::read(first).unwrap(), fs::read(second).unwrap()].concat(),
    )
    .unwrap();
    let mut camera = FfmpegCamera::open_file(&both).unwrap();
    let (times, end) = read_all(&mut camera);
    assert!(times.len() >= 20, "{} frames", times.len());
    assert!(
        matches!(
            end,
            Err(CaptureError::Resized {
                width_px: 160,
                height_px: 128,
                ..
            })
        ),
        "{end:?}"
    );
    let complaint = camera.complaint().unwrap();
    assert!(
        complaint.contains("160x128 pixels, but the video began with 128x96"),
        "{complaint}"
    );
}

#[test]
fn what_is_no_video_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let Some(sound) = clip(
        folder.path(),
        "s.wav",
        &["-f", "lavfi", "-i", "sine=duration=1"],
    ) else {
        return;
    };
    let message = FfmpegCamera::open_file(&sound).unwrap_err().to_string();
    assert!(
        message.ends_with("s.wav: not a video that ffmpeg can read (it holds no picture stream)"),
        "{message}"
    );

    let text = folder.path().join("words.mp4");
    fs::write(&text, "these are words").unwrap();
    let message = FfmpegCamera::open_file(&text).unwrap_err().to_string();
    assert!(
        message.contains("words.mp4: not a video that ffmpeg can read ("),
        "{message}"
    );
    assert!(!message.contains('\n'));
}

#[test]
fn a_video_whose_pictures_are_rubbish_gives_no_frame() {
    let folder = tempfile::tempdir().unwrap();
    let input = source(25, 1);
    let arguments = ["-f", "lavfi", "-i", &input, "-movflags", "+faststart"];
    let Some(path) = clip(folder.path(), "w.mp4", &arguments) else {
        return;
    };
    let mut bytes = fs::read(&path).unwrap();
    let data = bytes.windows(4).position(|four| four == b"mdat").unwrap() + 4;
    bytes[data..].fill(0x5A);
    fs::write(&path, bytes).unwrap();
    let message = FfmpegCamera::open_file(&path).unwrap_err().to_string();
    assert!(message.contains("w.mp4: "), "{message}");
    assert!(
        message.contains("gave no frame, though its header speaks of 25"),
        "{message}"
    );
}

#[test]
fn without_the_programs_the_message_says_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.mp4");
    fs::write(&file, "x").unwrap();
    let programs = Programs {
        ffmpeg: "/nowhere/ffmpeg".to_owned(),
        ffprobe: "/nowhere/ffprobe".to_owned(),
    };
    for error in [
        FfmpegCamera::open_file_with(&file, &programs).unwrap_err(),
        FfmpegCamera::open_stream_with("rtsp://localhost/x", &programs).unwrap_err(),
    ] {
        let message = error.to_string();
        assert!(message.starts_with("/nowhere/ff"), "{message}");
        assert!(message.contains("is missing") && message.contains("apt-get install ffmpeg"));
    }
}

#[test]
fn a_stream_nobody_serves_is_refused_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    if clip(
        folder.path(),
        "a.mp4",
        &["-f", "lavfi", "-i", &source(10, 1)],
    )
    .is_none()
    {
        return;
    }
    // Port 9 of this machine: nobody listens.
    let error = FfmpegCamera::open_stream("rtsp://kim:secret@127.0.0.1:9/x").unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("rtsp://127.0.0.1:9/x: "), "{message}");
    assert!(!message.contains("secret"), "{message}");
}

#[test]
fn a_live_stream_is_stamped_with_the_machines_clock() {
    // ffmpeg's own transport stream over TCP takes the same way as RTSP from the
    // first byte on; the end-to-end tests have an RTSP camera.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let server = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i"])
        .args([
            "testsrc=size=128x96:rate=10:duration=30",
            "-g",
            "5",
            "-f",
            "mpegts",
        ])
        .arg(format!("tcp://127.0.0.1:{port}?listen=1"))
        .spawn();
    let mut server = match server {
        Ok(server) => server,
        Err(error) => {
            println!("skipped: ffmpeg is not installed ({error})");
            return;
        }
    };
    let address = format!("tcp://127.0.0.1:{port}");
    let clock = Clock::live();
    let opened = (0..50).find_map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        FfmpegCamera::start_stream(&address, &[], &Programs::default()).ok()
    });
    let mut camera = opened.expect("the stream is served on this machine");
    let mut frame = Frame::with_room(128, 96);
    let mut last = MonoNs(0);
    for sequence in 0..15 {
        assert_eq!(camera.next_into(&mut frame, WAIT), Ok(Next::Frame));
        let now = clock.now();
        assert_eq!(frame.meta.sequence, sequence);
        assert!(frame.meta.capture <= now);
        assert!(frame.meta.capture > last, "frame {sequence}");
        assert!(now.since(frame.meta.capture) < Duration::from_secs(20));
        last = frame.meta.capture;
    }
    server.kill().unwrap();
    server.wait().unwrap();
    // What is on its way still comes; then the stream has failed, not ended.
    let end = loop {
        match camera.next_into(&mut frame, WAIT) {
            Ok(Next::Frame) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Err(CaptureError::Decoder { .. })), "{end:?}");
    assert_eq!(
        end.unwrap_err().severity(),
        crate::capture::Severity::Reopen
    );
}

#[test]
fn nothing_is_left_of_the_child_when_the_camera_goes() {
    let folder = tempfile::tempdir().unwrap();
    let Some(path) = clip(
        folder.path(),
        "a.mp4",
        &["-f", "lavfi", "-i", &source(25, 8)],
    ) else {
        return;
    };
    let camera = FfmpegCamera::open_file(&path).unwrap();
    let process = PathBuf::from(format!("/proc/{}", camera.child.id()));
    assert!(process.exists());
    drop(camera);
    assert!(!process.exists(), "neither running nor a zombie");
}

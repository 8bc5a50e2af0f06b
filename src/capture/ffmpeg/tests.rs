//! Against the real program, on clips made by it; skipped where it is not installed.

use super::*;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::base::clock::MonoNs;

const WAIT: Duration = Duration::from_secs(20);

/// Makes a clip with ffmpeg's test image; `None`, said aloud, without ffmpeg.
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
fn a_film_that_is_cut_off_breaks_off_whatever_its_container() {
    let folder = tempfile::tempdir().unwrap();
    let input = source(25, 8);
    for (name, more) in [
        ("front.mp4", &["-movflags", "+faststart"][..]),
        ("pieces.mp4", &["-movflags", "frag_keyframe+empty_moov"]),
        ("a.mkv", &[]),
        ("a.webm", &["-c:v", "libvpx", "-deadline", "realtime"]),
        ("a.avi", &["-c:v", "mpeg4"]),
    ] {
        let arguments = [&["-f", "lavfi", "-i", &input][..], more].concat();
        let Some(path) = clip(folder.path(), name, &arguments) else {
            return;
        };
        let (whole, end) = read_all(&mut FfmpegCamera::open_file(&path).unwrap());
        assert_eq!((whole.len(), end), (200, Ok(Next::End)), "{name}");
        let bytes = fs::read(&path).unwrap();
        // In the middle of an image, whatever the sizes of images are.
        let at = bytes.len() / 2 + bytes.len() / 37;
        fs::write(&path, &bytes[..at]).unwrap();
        let mut camera = FfmpegCamera::open_file(&path).unwrap();
        let (times, end) = read_all(&mut camera);
        let frames = u32::try_from(times.len()).unwrap();
        assert!((1..190).contains(&frames), "{name}: {frames} frames");
        assert_eq!(end, Err(CaptureError::Truncated { frames }), "{name}");
        let complaint = camera.complaint().unwrap();
        let want = format!("{name}: breaks off after {frames} frames");
        assert!(complaint.contains(&want), "{complaint}");
        let mut frame = Frame::with_room(128, 96);
        assert_eq!(camera.next_into(&mut frame, WAIT), Ok(Next::End));
    }
}

#[test]
fn fewer_frames_than_the_header_speaks_of_are_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let input = source(25, 6);
    let Some(long) = clip(
        folder.path(),
        "long.mp4",
        &["-f", "lavfi", "-i", &input, "-g", "150"],
    ) else {
        return;
    };
    let long = long.display().to_string();
    // Cut without encoding again: all frames are in the file, an edit list hides those before the cut.
    let cut = ["-ss", "4", "-i", &long, "-c", "copy"];
    let sound = [
        "-i",
        &long,
        "-f",
        "lavfi",
        "-i",
        "sine=duration=30",
        "-c:v",
        "copy",
    ];
    let rare = [
        "-i",
        &long,
        "-vf",
        "select='lt(t,1)+gte(t,5.9)'",
        "-fps_mode",
        "vfr",
    ];
    for (name, arguments, frames) in [
        ("cut.mp4", &cut[..], 50),
        ("cut.mov", &cut[..], 50),
        ("sound.mkv", &sound[..], 150),
        ("sound.mp4", &sound[..], 150),
        ("rare.mkv", &rare[..], 27),
    ] {
        let path = clip(folder.path(), name, arguments).unwrap();
        let (times, end) = read_all(&mut FfmpegCamera::open_file(&path).unwrap());
        assert_eq!(end, Ok(Next::End), "{name}");
        assert!(times.len().abs_diff(frames) <= 3, "{name}: {}", times.len());
    }
}

#[test]
fn a_film_whose_times_start_again_gives_all_its_frames_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let input = source(25, 2);
    let Some(path) = clip(
        folder.path(),
        "a.mpg",
        &["-f", "lavfi", "-i", &input, "-c:v", "mpeg1video"],
    ) else {
        return;
    };
    let twice = folder.path().join("twice.mpg");
    fs::write(&twice, fs::read(&path).unwrap().repeat(2)).unwrap();
    let (times, end) = read_all(&mut FfmpegCamera::open_file(&twice).unwrap());
    assert_eq!(end, Ok(Next::End));
    assert!(times.len() >= 98, "{} frames", times.len());
    assert!(
        times.is_sorted() && *times.last().unwrap() < 5_000,
        "{times:?}"
    );
}

#[test]
fn a_film_that_changes_size_goes_on_in_its_first_size() {
    let folder = tempfile::tempdir().unwrap();
    let Some(first) = clip(
        folder.path(),
        "a.mpg",
        &["-f", "lavfi", "-i", &source(25, 1)],
    ) else {
        return;
    };
    // White, so that what is not image is told from it.
    let other = "color=white:size=96x160:rate=25:duration=1";
    let second = clip(folder.path(), "b.mpg", &["-f", "lavfi", "-i", other]).unwrap();
    let both = folder.path().join("both.mpg");
    fs::write(
        &both,
        [fs::read(first).unwrap(), fs::read(second).unwrap()].concat(),
    )
    .unwrap();
    let mut camera = FfmpegCamera::open_file(&both).unwrap();
    let mut frame = Frame::with_room(128, 96);
    let mut frames = 0;
    while camera.next_into(&mut frame, WAIT) == Ok(Next::Frame) {
        assert_eq!((frame.meta.width_px, frame.meta.height_px), (128, 96));
        frames += 1;
    }
    assert!(frames >= 48, "{frames} frames");
    // 96 x 160 in 128 x 96 is 57 columns wide, in the middle.
    let at = |column: usize| frame.bytes[(48 * 128 + column) * 3];
    assert!(at(64) > 240 && at(40) > 240 && at(88) > 240, "the picture");
    assert!(at(5) < 16 && at(122) < 16, "bars beside it");
}

#[test]
fn pixels_that_are_not_square_are_made_so() {
    let folder = tempfile::tempdir().unwrap();
    let input = source(10, 1);
    for (name, aspect, size) in [
        ("wide.mp4", "setsar=2", (256, 96)),
        ("tall.mkv", "setsar=1/2", (128, 192)),
        ("pal.mp4", "setsar=64/45", (182, 96)),
    ] {
        let arguments = ["-f", "lavfi", "-i", &input, "-vf", aspect];
        let Some(path) = clip(folder.path(), name, &arguments) else {
            return;
        };
        let mut camera = FfmpegCamera::open_file(&path).unwrap();
        let mode = camera.mode();
        assert_eq!((mode.width_px, mode.height_px), size, "{name}");
        assert_eq!(read_all(&mut camera).0.len(), 10);
    }
}

#[test]
fn large_films_are_reduced_in_their_shape() {
    let folder = tempfile::tempdir().unwrap();
    for (source_size, size) in [("2704x1520", (1920, 1079)), ("1080x2400", (864, 1920))] {
        let input = format!("testsrc=size={source_size}:rate=2:duration=1");
        let arguments = ["-f", "lavfi", "-i", &input, "-preset", "ultrafast"];
        let Some(path) = clip(folder.path(), "large.mp4", &arguments) else {
            return;
        };
        let mut camera = FfmpegCamera::open_file(&path).unwrap();
        let mode = camera.mode();
        assert_eq!((mode.width_px, mode.height_px), size);
        assert_eq!(read_all(&mut camera).1, Ok(Next::End));
    }
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
    assert!(message.contains("contains no frame ("), "{message}");
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
        FfmpegCamera::open_file_with(&file, &programs, &mut || true).unwrap_err(),
        FfmpegCamera::open_stream_with(
            &Address::parse("rtsp://localhost/x").unwrap(),
            &StreamOptions::default(),
            &programs,
            &mut || true,
        )
        .unwrap_err(),
    ] {
        let message = error.to_string();
        assert!(message.starts_with("/nowhere/ff"), "{message}");
        assert!(message.contains("is missing") && message.contains("apt-get install ffmpeg"));
    }
}

/// How ffmpeg of this version is run on a network camera.
fn job_of(address: &str, version: &str) -> Job {
    let address = Address::parse(address).unwrap();
    stream_job(&address, &StreamOptions::default(), Version::parse(version))
}

const OLD: &str = "ffmpeg version 4.4.2";
const NEW: &str = "ffmpeg version 5.0";

#[test]
fn a_network_camera_may_have_only_the_network_opened() {
    for address in [
        "rtsp://camera/live",
        "http://camera/video",
        "http://camera/film.mp4",
        "https://camera/live.m3u8",
    ] {
        for version in [OLD, NEW] {
            let before = job_of(address, version).before;
            let is_list = |word: &OsString| word == "-protocol_whitelist";
            assert_eq!(before.iter().filter(|word| is_list(word)).count(), 1);
            let at = before.iter().position(is_list).unwrap() + 1;
            let allowed: Vec<&str> = before[at].to_str().unwrap().split(',').collect();
            assert!(allowed.contains(&"tcp"), "{address}: {allowed:?}");
            for local in ["file", "concat", "subfile", "fd", "unix"] {
                assert!(!allowed.contains(&local), "{address}: {allowed:?}");
            }
        }
    }
}

#[test]
fn from_version_5_on_the_password_is_not_among_the_arguments() {
    for address in ["rtsp://kim:secret@camera/live", "http://kim:secret@camera/"] {
        let job = job_of(address, NEW);
        let Input::Script(script) = &job.input else {
            panic!("{:?}", job.input);
        };
        assert!(script.contains(&format!("file '{address}'\n")), "{script}");
        let shown = |word: &OsString| word.to_string_lossy().contains("secret");
        assert!(!job.before.iter().any(shown), "{:?}", job.before);
        // Older ones cannot be told the rest on standard input.
        assert!(matches!(job_of(address, OLD).input, Input::Named(_)));
    }
}

#[test]
fn a_stream_that_is_not_served_is_refused_without_its_password() {
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
    // Port 9 of this machine: no program listens.
    let address = Address::parse("rtsp://kim:secret@127.0.0.1:9/x").unwrap();
    let error = FfmpegCamera::open_stream(&address).unwrap_err();
    assert!(error.may_pass());
    let message = error.to_string();
    assert!(message.starts_with("rtsp://127.0.0.1:9/x: "), "{message}");
    assert!(!message.contains("secret"), "{message}");
}

#[test]
fn a_live_stream_is_stamped_with_the_machines_clock() {
    // The end-to-end tests have an RTSP camera.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let server = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i"])
        .args([
            "testsrc=size=128x96:rate=10:duration=30",
            "-q:v",
            "5",
            "-f",
            "mpjpeg",
            "-listen",
            "1",
        ])
        .arg(format!("http://127.0.0.1:{port}/video"))
        .spawn();
    let mut server = match server {
        Ok(server) => server,
        Err(error) => {
            println!("skipped: ffmpeg is not installed ({error})");
            return;
        }
    };
    let address = Address::parse(&format!("http://kim:geheim@127.0.0.1:{port}/video")).unwrap();
    let clock = Clock::live();
    let opened = (0..50).find_map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        FfmpegCamera::open_stream(&address).ok()
    });
    let mut camera = opened.expect("the stream is served on this machine");
    assert_eq!(camera.kind(), SourceKind::Stream);
    let arguments = fs::read(format!("/proc/{}/cmdline", camera.child.id())).unwrap();
    let arguments = String::from_utf8_lossy(&arguments);
    assert!(arguments.contains("pipe:0"), "{arguments}");
    assert!(!arguments.contains("geheim"), "{arguments}");
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
fn an_opening_is_given_up_when_asked_to() {
    // A camera that takes the connection and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap();
    let address = Address::parse(&format!("rtsp://{host}/live")).unwrap();
    let clock = Clock::live();
    let deadline = clock.now().plus(Duration::from_secs(1));
    let opened = FfmpegCamera::open_stream_with(
        &address,
        &StreamOptions::default(),
        &Programs::default(),
        &mut || clock.now() < deadline,
    );
    match opened {
        Err(OpenError::NoProgram { .. }) => println!("skipped: ffmpeg is not installed"),
        Err(OpenError::Stopped) => {
            let late = clock.now().since(deadline);
            assert!(late < Duration::from_millis(500), "{late:?}");
        }
        other => panic!("{other:?}"),
    }
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

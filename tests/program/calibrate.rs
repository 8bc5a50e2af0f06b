//! `poised calibrate` on drawn boards: whether a lens and a mount come back, and what is refused in which words.

#![expect(clippy::cast_precision_loss, reason = "sides of images")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use glam::DVec2;

use crate::common::boards::{Artist, Place, places, write_png};
use crate::common::daemon::poised;
use poised::camera::calibrate::{
    Board, BoardKind, Finder, LensModel, Outcome, Picture, Report, Verdict, Views, calibrate, check,
};
use poised::camera::{Calibration, Distortion, Intrinsics, Mount, Origin};

const SIZE: (u32, u32) = (800, 600);

/// A lens of 71 degrees that bends as web cameras do.
fn planar() -> Calibration {
    lens(
        560.0,
        Distortion::PlumbBob {
            k1: -0.24,
            k2: 0.08,
            p1: 6e-4,
            p2: -4e-4,
            k3: 0.0,
        },
    )
}

/// A fisheye of 137 degrees across.
fn fisheye() -> Calibration {
    lens(
        330.0,
        Distortion::Equidistant {
            k1: 0.03,
            k2: -0.01,
            k3: 0.004,
            k4: -0.001,
        },
    )
}

fn lens(focal: f64, distortion: Distortion) -> Calibration {
    let k = Intrinsics {
        fx_px: focal,
        fy_px: focal - 2.0,
        cx_px: 407.0,
        cy_px: 296.0,
    };
    Calibration::new(SIZE, k, distortion, Origin::Assumed).unwrap()
}

/// Views of a board that is drawn under a lens.
fn drawn_views(
    camera: &Calibration,
    board: &Board,
    number: usize,
    distance_m: f64,
    seed: u64,
) -> Views {
    let artist = Artist::new(camera);
    let mut views = Views::new(Finder::new(*board));
    for (at, place) in places(camera, board, number, distance_m, seed)
        .iter()
        .enumerate()
    {
        let grey = artist.draw(board, place, 2.0, seed + at as u64);
        let picture = Picture {
            width: SIZE.0 as usize,
            height: SIZE.1 as usize,
            grey: &grey,
        };
        // Some are not found: the board is drawn wherever the grid of places has it.
        let _ = views.offer(&format!("{at}"), picture, SIZE);
    }
    views
}

/// The parameters of a lens in the order of a report.
fn truth(camera: &Calibration) -> Vec<f64> {
    let k = camera.intrinsics();
    let mut all = vec![k.fx_px, k.fy_px, k.cx_px, k.cy_px];
    match camera.distortion() {
        Distortion::PlumbBob { k1, k2, p1, p2, k3 } => all.extend([k1, k2, p1, p2, k3]),
        Distortion::Equidistant { k1, k2, k3, k4 } => all.extend([k1, k2, k3, k4]),
        other => panic!("{other}"),
    }
    all
}

/// Checks that a lens came back, by its sigmas and by limits of its own; prints what is off.
fn is_found(report: &Report, want: &Calibration, limit_px: f64) {
    assert!(report.verdict == Verdict::Good, "{:?}", report.reasons);
    for (parameter, want) in report.parameters.iter().zip(truth(want)) {
        let off = parameter.value - want;
        if parameter.sigma > 0.0 {
            assert!(
                off.abs() < 3.0 * parameter.sigma,
                "{parameter:?} is not {want}"
            );
        }
    }
    // Coefficients lean on one another: what counts is where a ray lands.
    let mut most = 0.0_f32;
    for y in (0..SIZE.1).step_by(25) {
        for x in (0..SIZE.0).step_by(25) {
            let Some(ray) = want.ray(x as f32, y as f32) else {
                continue;
            };
            let found = report.calibration.pixel(ray);
            most = most.max((found - glam::Vec2::new(x as f32, y as f32)).length());
        }
    }
    assert!(f64::from(most) < limit_px, "a ray is off by {most} px");
    assert!(report.residual_px < 0.25, "{}", report.residual_px);
    assert!(
        report.held_out_px.unwrap() < 0.3,
        "{:?}",
        report.held_out_px
    );
}

#[test]
fn a_lens_comes_back_from_drawn_charuco_boards_and_a_refocused_one_is_noticed() {
    let camera = planar();
    let board = Board::default_of(BoardKind::Charuco);
    let views = drawn_views(&camera, &board, 18, 0.32, 7);
    let report = calibrate(&views, LensModel::PlumbBob, "drawn", None).unwrap();
    is_found(&report, &camera, 1.0);

    is_noticed(&views, &camera, &report);
}

/// The lens that the views are of still fits; one that is 1 % longer or shorter does not.
fn is_noticed(views: &Views, camera: &Calibration, report: &Report) {
    let same = check(views, camera, report);
    assert_eq!(same.outcome, Outcome::Fits, "{same:?}");
    for by in [0.99, 1.01] {
        let mut k = camera.intrinsics();
        (k.fx_px, k.fy_px) = (by * k.fx_px, by * k.fy_px);
        let old = Calibration::new(SIZE, k, camera.distortion(), Origin::Assumed).unwrap();
        let checked = check(views, &old, report);
        assert_eq!(checked.outcome, Outcome::Changed, "{checked:?}");
        assert!(
            (checked.focal_change - (1.0 / by - 1.0)).abs() < 2e-3,
            "{checked:?}"
        );
    }
}

#[test]
fn a_fisheye_comes_back_from_drawn_boards() {
    let camera = fisheye();
    let board = Board::default_of(BoardKind::Charuco);
    let views = drawn_views(&camera, &board, 18, 0.22, 11);
    let report = calibrate(&views, LensModel::Equidistant, "drawn", None).unwrap();
    is_found(&report, &camera, 1.5);
    is_noticed(&views, &camera, &report);
}

#[test]
fn a_lens_comes_back_from_drawn_chessboards() {
    let camera = planar();
    let board = Board::default_of(BoardKind::Chessboard);
    let views = drawn_views(&camera, &board, 18, 0.45, 5);
    let report = calibrate(&views, LensModel::PlumbBob, "drawn", None).unwrap();
    is_found(&report, &camera, 1.5);
}

/// A folder of drawn pictures.
fn folder(board: &Board, number: usize, distance_m: f64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let camera = planar();
    let artist = Artist::new(&camera);
    std::fs::create_dir(folder.path().join("views")).unwrap();
    for (at, place) in places(&camera, board, number, distance_m, 3)
        .iter()
        .enumerate()
    {
        let grey = artist.draw(board, place, 2.0, at as u64);
        write_png(&folder.path().join(format!("views/{at}.png")), SIZE, &grey);
    }
    folder
}

fn run(arguments: &[&str]) -> Output {
    poised(&[&["calibrate"], arguments].concat())
        .output()
        .unwrap()
}

fn words(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_folder_becomes_files_that_are_read_back_and_never_overwritten() {
    let board = Board::default_of(BoardKind::Charuco);
    let folder = folder(&board, 14, 0.32);
    let at = |name: &str| folder.path().join(name);
    let (views, out, ros) = (at("views"), at("front.toml"), at("front.yaml"));
    let arguments = [
        text(&views),
        "--name",
        "front",
        "--out",
        text(&out),
        "--ros",
        text(&ros),
    ];
    let done = run(&arguments);
    let said = words(&done);
    assert!(done.status.success(), "{said}");
    assert!(
        said.contains("verdict: good") && said.contains("held out: 0."),
        "{said}"
    );
    let (toml, yaml) = (
        Calibration::read(&out).unwrap(),
        Calibration::read(&ros).unwrap(),
    );
    assert_eq!(toml.size_px(), SIZE);
    assert_eq!(toml.intrinsics(), yaml.intrinsics());
    assert_eq!(toml.distortion(), yaml.distortion());
    assert!((toml.intrinsics().fx_px - 560.0).abs() < 1.5, "{toml}");

    let again = run(&arguments);
    assert_eq!(again.status.code(), Some(73), "{}", words(&again));
    assert!(words(&again).contains("front.toml: exists"));

    let same = run(&[text(&views), "--check", text(&out)]);
    assert!(
        same.status.success() && words(&same).contains("still fits"),
        "{}",
        words(&same)
    );
    let changed = at("changed.toml");
    let fx = toml.intrinsics().fx_px;
    let moved = toml.to_toml().replace(
        &format!("fx_px = {fx:?}"),
        &format!("fx_px = {:?}", 1.01 * fx),
    );
    std::fs::write(&changed, moved).unwrap();
    let other = run(&[text(&views), "--check", text(&changed)]);
    assert_eq!(other.status.code(), Some(66), "{}", words(&other));
    assert!(words(&other).contains("DOES NOT FIT"), "{}", words(&other));
}

#[test]
fn a_chessboard_of_another_size_or_half_in_view_is_refused_with_words() {
    let board = Board::new(BoardKind::Chessboard, (9, 6), 25.0, None, None).unwrap();
    let folder = folder(&board, 3, 0.45);
    let views = folder.path().join("views");
    let wrong = run(&[text(&views), "--board", "chessboard"]);
    assert_eq!(wrong.status.code(), Some(66));
    let said = words(&wrong);
    assert!(
        said.contains("a chessboard of 9 x 6 squares is seen: give --columns 9 --rows 6"),
        "{said}"
    );
    assert!(
        said.contains("usable views: 0; at least 6 are needed"),
        "{said}"
    );

    // A third of it beyond the edge of the picture.
    let camera = planar();
    let place = Place::at(
        &camera,
        &board,
        DVec2::new(740.0, 300.0),
        0.3,
        [0.2, 0.1, 0.05],
    );
    let grey = Artist::new(&camera).draw(&board, &place, 2.0, 1);
    let picture = folder.path().join("half.png");
    write_png(&picture, SIZE, &grey);
    let part = run(&[
        text(&picture),
        "--board",
        "chessboard",
        "--columns",
        "9",
        "--rows",
        "6",
    ]);
    let said = words(&part);
    let refused = said
        .contains("of 40 inner corners are seen: a chessboard must be in view as a whole")
        || said.contains("or show the whole board");
    assert!(part.status.code() == Some(66) && refused, "{said}");
}

#[test]
fn wrong_arguments_and_pictures_of_another_size_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (arguments, code, words_wanted) in [
        (vec![], 64, "no source"),
        (
            vec!["a", "--columns", "2"],
            64,
            "--columns 2: must be from 4 to 40",
        ),
        (
            vec!["a", "--out", "a.yaml"],
            64,
            "--out: the file must end in .toml",
        ),
        (vec!["--print", "a.pdf"], 64, ".svg or .png"),
        (vec!["--print", "a.svg", "--square", "40"], 64, "A4 holds"),
        (vec!["/nowhere"], 69, "/nowhere: no such"),
    ] {
        let output = run(&arguments);
        let said = words(&output);
        assert!(
            output.status.code() == Some(code) && said.contains(words_wanted),
            "{arguments:?}: {said}"
        );
    }
    // One view, and an empty picture of another size.
    let board = Board::default_of(BoardKind::Charuco);
    let camera = planar();
    let place = places(&camera, &board, 1, 0.32, 3)[0];
    write_png(
        &at("1.png"),
        SIZE,
        &Artist::new(&camera).draw(&board, &place, 2.0, 1),
    );
    write_png(&at("2.png"), (640, 480), &vec![90; 640 * 480]);
    let output = run(&[text(folder.path())]);
    let said = words(&output);
    assert!(
        said.contains("2.png: 640x480 pixels, the views before have 800x600"),
        "{said}"
    );
    assert!(said.contains("usable views: 1;"), "{said}");
}

#[test]
fn the_board_is_printed_true_to_size_and_found_in_its_own_picture() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (svg, png) = (at("board.svg"), at("board.png"));
    assert!(run(&["--print", text(&svg)]).status.success());
    let drawn = std::fs::read_to_string(&svg).unwrap();
    assert!(drawn.contains("width=\"297mm\" height=\"210mm\""));
    let again = run(&["--print", text(&svg)]);
    assert_eq!(again.status.code(), Some(73), "{}", words(&again));
    assert!(
        run(&["--print", text(&png), "--board", "chessboard"])
            .status
            .success()
    );
    // The sheet as a picture: one view of the whole board.
    let seen = run(&[text(&png), "--board", "chessboard"]);
    assert!(
        words(&seen).contains("view 1, 54 corners"),
        "{}",
        words(&seen)
    );
}

#[test]
fn what_is_still_missing_is_shown_on_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let camera = planar();
    let board = Board::new(BoardKind::Charuco, (10, 7), 25.0, None, None).unwrap();
    let artist = Artist::new(&camera);
    for (at, place) in places(&camera, &board, 12, 0.55, 3).iter().enumerate() {
        let grey = artist.draw(&board, place, 2.0, at as u64);
        write_png(&folder.path().join(format!("{at:02}.png")), SIZE, &grey);
    }
    let mut child = poised(&["calibrate", text(folder.path()), "--web", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = || lines.next().unwrap().unwrap();
    let url = std::iter::repeat_with(&mut line)
        .find_map(|line| line.strip_prefix("guidance: http://").map(str::to_owned))
        .unwrap();
    let host = url.trim_end_matches('/');
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET /live HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    // To the end of the command, which reads pictures meanwhile.
    let told = BufReader::new(stream).lines();
    let told: Vec<serde_json::Value> = told
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .filter(|message: &serde_json::Value| message["schema"] == "guidance/v1")
        .collect();
    let said: String = lines.map_while(Result::ok).collect();
    assert!(child.wait().unwrap().success(), "{said}");
    let last = told.last().expect("guidance was told");
    let views = last["views"].as_u64().unwrap();
    assert!(said.contains(&format!("view {views},")), "{last} {said}");
    assert!(!said.contains(&format!("view {},", views + 1)), "{last}");
    let of = |key: &str| last[key].as_array().unwrap().clone();
    assert_eq!(of("outlines").len() as u64, views);
    assert_eq!(last["image_px"], serde_json::json!([800, 600]));
    let corners: u64 = of("fields").iter().map(|n| n.as_u64().unwrap()).sum();
    assert!(corners >= 10 * views, "{last}");
    assert!(!last["said"].as_str().unwrap().is_empty());
}

#[test]
fn a_page_for_other_devices_has_a_token_and_a_foreign_address_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = text(folder.path());
    let wide = run(&[at, "--web", "0.0.0.0:0"]);
    let said = words(&wide);
    let token = said.split("#token=").nth(1).unwrap_or_default();
    let token: String = token.chars().take_while(char::is_ascii_hexdigit).collect();
    assert_eq!(token.len(), 32, "{said}");
    let foreign = run(&[at, "--web", "192.0.2.1:8080"]);
    assert_eq!(foreign.status.code(), Some(69), "{}", words(&foreign));
    assert!(words(&foreign).contains("192.0.2.1:8080"));
}

/// Where a board lies on the floor, ahead of a camera that hangs like this.
fn on_floor(mount: &Mount, ahead_m: f64) -> Place {
    let to_camera = mount.to_floor().inverse().as_dquat();
    let x = to_camera * glam::DVec3::new(0.2, -1.0, 0.0).normalize();
    let up = to_camera * glam::DVec3::Z;
    let into = -up;
    Place {
        rotation: glam::DMat3::from_cols(x, into.cross(x), into),
        translation: to_camera * glam::DVec3::new(ahead_m, 0.4, -f64::from(mount.height_m)),
    }
}

#[test]
fn a_mount_comes_back_from_a_board_on_the_floor() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    let camera = planar();
    std::fs::write(at("lens.toml"), camera.to_toml()).unwrap();
    let want = Mount {
        height_m: 1.8,
        down_deg: 50.0,
        roll_deg: -4.0,
    };
    let board = Board::new(BoardKind::Charuco, (10, 7), 100.0, None, None).unwrap();
    let grey = Artist::new(&camera).draw(&board, &on_floor(&want, 1.85), 2.0, 1);
    write_png(&at("floor.png"), SIZE, &grey);
    let (picture, lens, out) = (at("floor.png"), at("lens.toml"), at("mounted.toml"));
    let arguments = [
        "mount",
        text(&picture),
        "--camera",
        text(&lens),
        "--square",
        "100",
        "--out",
        text(&out),
    ];
    let done = run(&arguments);
    let said = words(&done);
    assert!(done.status.success(), "{said}");
    let got = *Calibration::read(&out).unwrap().mount().unwrap();
    assert!((got.height_m - 1.8).abs() < 0.02, "{got:?}");
    assert!((got.down_deg - 50.0).abs() < 0.3, "{got:?}");
    assert!((got.roll_deg + 4.0).abs() < 0.3, "{got:?}");
    assert!(said.contains("[mount]\nheight_m = 1."), "{said}");
    assert_eq!(run(&arguments).status.code(), Some(73));
    // No board.
    write_png(&at("empty.png"), SIZE, &vec![90; 800 * 600]);
    let empty = at("empty.png");
    let none = run(&["mount", text(&empty), "--camera", text(&lens)]);
    assert_eq!(none.status.code(), Some(66), "{}", words(&none));
    assert!(
        words(&none).contains("no board is seen"),
        "{}",
        words(&none)
    );
}

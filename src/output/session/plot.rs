//! Plots as inline SVG. All looks are attributes, so that a page without its style sheet shows them as well.

use std::fmt::Write;

use crate::base::clock::MonoNs;
use crate::motion::exercise::Repetition;
use crate::motion::session::Sample;
use crate::pose::JointState;

/// Width of a plot in its own units, which are about a quarter of a millimetre on A4.
const WIDTH: f32 = 720.0;

/// Room around the axes: left, top, right, bottom.
const MARGINS: [f32; 4] = [58.0, 12.0, 44.0, 44.0];

/// Points of a curve at most: two a unit of width, so that a printer has no more to draw than can be seen.
const POINTS_MAX: usize = 1_400;

/// A curve breaks where samples are farther apart, seconds, and farther than [`GAP_SAMPLES`] of them usually are.
const GAP_S: f32 = 0.55;

/// Samples that may be missing within a curve: frames of a slow camera come when they come.
const GAP_SAMPLES: usize = 4;

/// A band is given so much room beyond its curve, degrees: one that is wider tells little and is cut off.
const BAND_DEG_MAX: f32 = 20.0;

/// Room on both sides of the threshold of whole repetitions, degrees.
const ROOM_DEG: f32 = 6.0;

/// Numbers of repetitions are written beside their marks up to so many; marks of more are small.
const NUMBERED_MAX: usize = 40;

/// Colours of the left and the right side, told apart in grey and by people who confuse red and green (Okabe and Ito).
pub(super) const COLOURS: [&str; 2] = ["#0072b2", "#d55e00"];

/// Dashes of the sides.
const DASHES: [&str; 2] = ["none", "7 3"];

const GREY: &str = "#666";
const GRID: &str = "#ddd";

/// A part of a plane and where it is drawn.
#[derive(Clone, Copy, Debug)]
struct Axes {
    x: [f32; 2],
    y: [f32; 2],
    height: f32,
}

impl Axes {
    fn x(&self, value: f32) -> f32 {
        let [left, _, right, _] = MARGINS;
        let share = (value - self.x[0]) / (self.x[1] - self.x[0]);
        left + share * (WIDTH - left - right)
    }

    fn y(&self, value: f32) -> f32 {
        let [_, top, _, bottom] = MARGINS;
        let share = (value - self.y[0]) / (self.y[1] - self.y[0]);
        self.height - bottom - share * (self.height - top - bottom)
    }

    /// Opens the drawing: its frame, the grid of `y` in degrees, and the axes' titles.
    fn open(&self, svg: &mut String, about: &str, titles: [&str; 2]) {
        let ([left, top, right, bottom], height) = (MARGINS, self.height);
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"100%\" role=\"img\" \
             aria-label=\"{about}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">"
        );
        for value in ticks(self.y, 6, &[5.0, 10.0, 20.0, 30.0, 45.0, 90.0]) {
            let y = self.y(value);
            let _ = write!(
                svg,
                "<line x1=\"{left}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{GRID}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value:.0}</text>",
                WIDTH - right,
                left - 6.0,
                y + 4.0
            );
        }
        let (middle_x, middle_y) = (
            f32::midpoint(left, WIDTH - right),
            f32::midpoint(top, height - bottom),
        );
        let [x_title, y_title] = titles;
        let _ = write!(
            svg,
            "<line x1=\"{left}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{GREY}\"/>\
             <line x1=\"{left}\" x2=\"{left}\" y1=\"{top}\" y2=\"{:.1}\" stroke=\"{GREY}\"/>\
             <text x=\"{middle_x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{x_title}</text>\
             <text transform=\"translate(14 {middle_y:.1}) rotate(-90)\" text-anchor=\"middle\">{y_title}</text>",
            WIDTH - right,
            height - bottom,
            height - bottom,
            height - bottom,
            height - 6.0
        );
    }

    /// A mark and a text below the horizontal axis.
    fn x_tick(&self, svg: &mut String, value: f32, text: &str) {
        let (x, y) = (self.x(value), self.height - MARGINS[3]);
        let _ = write!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{y:.1}\" y2=\"{:.1}\" stroke=\"{GREY}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
            y + 4.0,
            y + 17.0
        );
    }

    /// A threshold, with its meaning right of the axes.
    fn threshold(&self, svg: &mut String, deg: f32, text: &str) {
        let (y, [left, _, right, _]) = (self.y(deg), MARGINS);
        let _ = write!(
            svg,
            "<line x1=\"{left}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{GREY}\" stroke-dasharray=\"2 3\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"11\">{text}</text>",
            WIDTH - right,
            WIDTH - right + 5.0,
            y + 4.0
        );
    }

    /// The mark of a repetition: filled where it is whole.
    fn mark(&self, svg: &mut String, x: f32, found: &Repetition, of: usize) {
        let radius = if of <= NUMBERED_MAX { 3.5 } else { 1.8 };
        let fill = if found.partial { "#fff" } else { "#222" };
        let (x, y) = (self.x(x), self.y(found.depth_deg));
        let _ = write!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{fill}\" stroke=\"#222\"/>"
        );
    }
}

/// Round values within `ends`: at most `most` of them where `steps` has one that large.
#[expect(clippy::cast_precision_loss, reason = "a few ticks")]
fn ticks(ends: [f32; 2], most: usize, steps: &[f32]) -> Vec<f32> {
    let span = ends[1] - ends[0];
    let fits = |step: &&f32| span / **step <= most as f32;
    let step = *steps.iter().find(fits).or(steps.last()).unwrap_or(&span);
    let first = (ends[0] / step).ceil();
    (0_u16..=u16::MAX)
        .map(|tick| (first + f32::from(tick)) * step)
        .take_while(|value| *value <= ends[1] + 1e-3 * step)
        .collect()
}

/// `m:ss`, or seconds where `short`.
fn clock(seconds: f32, short: bool) -> String {
    if short {
        return format!("{seconds:.0}");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "half an hour, and not negative"
    )]
    let whole = seconds.round().max(0.0) as u32;
    format!("{}:{:02}", whole / 60, whole % 60)
}

/// The least and the most of `values`, outwards to tens of degrees, and never nothing between them.
fn degrees(values: impl Iterator<Item = f32>) -> [f32; 2] {
    let ends = values.fold(None, |ends: Option<[f32; 2]>, value| {
        let [least, most] = ends.unwrap_or([value; 2]);
        Some([least.min(value), most.max(value)])
    });
    let [least, most] = ends.unwrap_or([0.0, 90.0]);
    let least = (least / 10.0).floor() * 10.0;
    // Room for the numbers above marks.
    let most = ((most + 4.0) / 10.0).ceil() * 10.0;
    [least, most.max(least + 10.0)]
}

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    s: f32,
    deg: f32,
    sigma_deg: f32,
    completed: bool,
}

/// Samples that two points of a curve stand for; 1 where each has a point of its own.
const fn stretch(samples: usize) -> usize {
    if samples <= POINTS_MAX {
        1
    } else {
        samples.div_ceil(POINTS_MAX / 2)
    }
}

/// How far apart two points of a curve may be, seconds: by what samples are usually apart, whatever times a person was
/// not seen.
fn gap_s(samples: &[Sample]) -> f32 {
    let apart = samples
        .windows(2)
        .map(|two| two[1].time.since(two[0].time).as_secs_f32());
    let mut apart: Vec<f32> = apart.collect();
    let middle = apart.len() / 2;
    if apart.is_empty() {
        return GAP_S;
    }
    let (_, median_s, _) = apart.select_nth_unstable_by(middle, f32::total_cmp);
    // From the start of a stretch to the end of the next one.
    let most = GAP_SAMPLES.max(2 * stretch(samples.len()));
    #[expect(clippy::cast_precision_loss, reason = "samples of a stretch")]
    let usual_s = *median_s * most as f32;
    GAP_S.max(usual_s)
}

/// The points of a side, `None` where it is absent: at most about [`POINTS_MAX`], of a long session the lowest and the
/// highest of each stretch, in their order.
fn points(samples: &[Sample], side: usize, started: MonoNs) -> Vec<Option<Point>> {
    let point = |sample: &Sample| {
        let angle = &sample.angles[side];
        angle.known().map(|deg| Point {
            s: sample.time.since(started).as_secs_f32(),
            deg,
            sigma_deg: angle.sigma_deg,
            completed: angle.state == JointState::Completed,
        })
    };
    let stretch = stretch(samples.len());
    if stretch == 1 {
        return samples.iter().map(point).collect();
    }
    let mut points = Vec::with_capacity(POINTS_MAX);
    for stretch in samples.chunks(stretch) {
        let by_deg = |a: &Point, b: &Point| a.deg.total_cmp(&b.deg);
        let known = || stretch.iter().filter_map(point);
        let ends = [known().min_by(by_deg), known().max_by(by_deg)];
        let [Some(least), Some(most)] = ends else {
            points.push(None);
            continue;
        };
        let (first, second) = if least.s <= most.s {
            (least, most)
        } else {
            (most, least)
        };
        points.push(Some(first));
        points.extend((second != first).then_some(Some(second)));
    }
    points
}

/// The runs of points without gaps longer than `gap_s`, each of one state; a run of another state begins where the one
/// before ends.
fn runs(points: &[Option<Point>], gap_s: f32) -> Vec<Vec<Point>> {
    let mut runs: Vec<Vec<Point>> = Vec::new();
    let mut before: Option<Point> = None;
    for point in points {
        let Some(point) = *point else {
            before = None;
            continue;
        };
        let joined = before.filter(|before| point.s - before.s <= gap_s);
        match (joined, runs.last_mut()) {
            (Some(before), Some(run)) if before.completed == point.completed => run.push(point),
            (Some(before), _) => runs.push(vec![before, point]),
            (None, _) => runs.push(vec![point]),
        }
        before = Some(point);
    }
    runs
}

/// What a plot of angles shows.
pub(super) struct Curves<'a> {
    pub samples: &'a [Sample],
    /// How many sides there are: 1 for an angle without sides.
    pub sides: usize,
    pub repetitions: &'a [Repetition],
    pub started: MonoNs,
    /// Length of the session, seconds.
    pub length_s: f32,
    /// The thresholds of the exercise, degrees, with what they mean.
    pub thresholds: [(f32, &'static str); 2],
    /// Title of the vertical axis, escaped.
    pub title: &'a str,
}

/// The angles over time, with their standard deviations as bands, and the repetitions.
pub(super) fn curves(curves: &Curves<'_>) -> String {
    let Curves {
        samples,
        sides,
        repetitions,
        started,
        length_s,
        thresholds,
        title,
    } = *curves;
    let known = samples.iter().flat_map(|sample| &sample.angles[..sides]);
    let known = known.filter_map(|angle| {
        let band_deg = angle.sigma_deg.min(BAND_DEG_MAX);
        let deg = angle.known()?;
        Some([deg - band_deg, deg + band_deg])
    });
    let ends = known.flatten().chain(thresholds.map(|(deg, _)| deg));
    let axes = Axes {
        x: [0.0, length_s.max(1.0)],
        y: degrees(ends),
        height: 225.0,
    };
    let short = length_s <= 120.0;
    let mut svg = String::new();
    let unit = if short { "Time (s)" } else { "Time (min:s)" };
    axes.open(&mut svg, "Angles over time", [unit, title]);
    let steps = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 180.0, 300.0];
    for second in ticks(axes.x, 12, &steps) {
        axes.x_tick(&mut svg, second, &clock(second, short));
    }
    for (deg, text) in thresholds {
        axes.threshold(&mut svg, deg, text);
    }
    let gap_s = gap_s(samples);
    for side in 0..sides {
        let runs = runs(&points(samples, side, started), gap_s);
        side_of(&mut svg, &axes, &runs, side);
    }
    for (number, found) in repetitions.iter().enumerate() {
        let at_s = found.peak.since(started).as_secs_f32();
        axes.mark(&mut svg, at_s, found, repetitions.len());
        if repetitions.len() <= NUMBERED_MAX {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"11\" text-anchor=\"middle\">{}</text>",
                axes.x(at_s),
                axes.y(found.depth_deg) - 7.0,
                number + 1
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

/// The curve of a side and its band.
fn side_of(svg: &mut String, axes: &Axes, runs: &[Vec<Point>], side: usize) {
    let (mut band, mut lines) = (String::new(), [String::new(), String::new()]);
    let place = |path: &mut String, letter: char, s: f32, deg: f32| {
        let deg = deg.clamp(axes.y[0], axes.y[1]);
        let _ = write!(path, "{letter}{:.1} {:.1}", axes.x(s), axes.y(deg));
    };
    for run in runs {
        let letters = || std::iter::once('M').chain(std::iter::repeat('L'));
        let completed = run.last().is_some_and(|point| point.completed);
        let line = &mut lines[usize::from(completed)];
        for (letter, point) in letters().zip(run) {
            place(line, letter, point.s, point.deg);
            place(&mut band, letter, point.s, point.deg + point.sigma_deg);
        }
        for point in run.iter().rev() {
            place(&mut band, 'L', point.s, point.deg - point.sigma_deg);
        }
        band.push('Z');
    }
    let colour = COLOURS[side];
    let _ = write!(
        svg,
        "<path fill=\"{colour}\" fill-opacity=\"0.13\" d=\"{band}\"/>"
    );
    for (line, completed) in lines.iter().zip([false, true]) {
        let (width, dash) = stroke(side, completed);
        let _ = write!(
            svg,
            "<path fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-linejoin=\"round\" \
             stroke-dasharray=\"{dash}\" d=\"{line}\"/>"
        );
    }
}

/// Width and dashes of a side's line.
const fn stroke(side: usize, completed: bool) -> (&'static str, &'static str) {
    if completed {
        ("1.2", "1 3")
    } else {
        ("1.6", DASHES[side])
    }
}

/// The depth of each repetition with its standard deviation, and the threshold that makes it a whole one.
pub(super) fn depths(repetitions: &[Repetition], far: (f32, &'static str)) -> String {
    let ends = repetitions.iter().flat_map(|found| {
        [
            found.depth_deg - found.depth_sigma_deg,
            found.depth_deg + found.depth_sigma_deg,
        ]
    });
    let count = u16::try_from(repetitions.len()).unwrap_or(u16::MAX);
    let axes = Axes {
        x: [0.0, f32::from(count) + 1.0],
        y: degrees(ends.chain([far.0 - ROOM_DEG, far.0 + ROOM_DEG])),
        height: 155.0,
    };
    let mut svg = String::new();
    axes.open(
        &mut svg,
        "Depth of each repetition",
        ["Repetition", "Depth (degrees)"],
    );
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];
    for number in ticks([1.0, f32::from(count)], 20, &steps) {
        axes.x_tick(&mut svg, number, &format!("{number:.0}"));
    }
    axes.threshold(&mut svg, far.0, far.1);
    for (number, found) in (1..=count).zip(repetitions) {
        let number = f32::from(number);
        let x = axes.x(number);
        let (top, bottom) = (
            axes.y(found.depth_deg + found.depth_sigma_deg),
            axes.y(found.depth_deg - found.depth_sigma_deg),
        );
        let _ = write!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\" stroke=\"{GREY}\"/>"
        );
        axes.mark(&mut svg, number, found, repetitions.len());
    }
    svg.push_str("</svg>");
    svg
}

/// A short line as a legend has it: of a side, or of completed joints.
pub(super) fn key(side: usize, completed: bool) -> String {
    let (width, dash) = stroke(side, completed);
    let colour = if completed { GREY } else { COLOURS[side] };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"28\" height=\"8\"><line x1=\"1\" x2=\"27\" y1=\"4\" y2=\"4\" \
         stroke=\"{colour}\" stroke-width=\"{width}\" stroke-dasharray=\"{dash}\"/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::angles::Angle;

    fn near(found: &[f32], want: &[f32]) {
        let same = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-3;
        let fits = found.len() == want.len() && found.iter().zip(want).all(same);
        assert!(fits, "{found:?}, not {want:?}");
    }

    #[test]
    fn ticks_are_round_and_few() {
        let steps = [1.0, 2.0, 5.0, 10.0];
        near(
            &ticks([0.0, 10.0], 6, &steps),
            &[0.0, 2.0, 4.0, 6.0, 8.0, 10.0],
        );
        near(&ticks([-7.0, 12.0], 6, &steps), &[-5.0, 0.0, 5.0, 10.0]);
        assert_eq!(ticks([0.0, 1000.0], 6, &steps).len(), 101);
        near(&ticks([1.0, 1.0], 6, &steps), &[1.0]);
        near(&degrees([3.0, 88.0].into_iter()), &[0.0, 100.0]);
        near(&degrees([-3.0].into_iter()), &[-10.0, 10.0]);
        near(&degrees(std::iter::empty()), &[0.0, 100.0]);
        assert_eq!(
            (clock(7.0, true), clock(127.0, false)),
            ("7".into(), "2:07".into())
        );
    }

    fn samples(count: u64, angle: impl Fn(u64) -> Angle) -> Vec<Sample> {
        let sample = |at| Sample {
            time: MonoNs(100_000_000 * at),
            angles: [angle(at); 2],
        };
        (0..count).map(sample).collect()
    }

    fn measured(deg: f32) -> Angle {
        Angle {
            deg,
            sigma_deg: 1.0,
            state: JointState::Measured,
        }
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    fn a_long_curve_keeps_its_extremes_in_their_order_and_is_bounded() {
        let samples = samples(18_000, |at| match at {
            7_777 => measured(200.0),
            9_999 => measured(-200.0),
            15_000..16_000 => Angle::default(),
            _ => Angle {
                // The worst for a drawing: another state each time.
                state: [JointState::Measured, JointState::Completed][usize::from(at % 2 == 0)],
                ..measured((at as f32 * 0.2).sin() * 50.0)
            },
        });
        let points = points(&samples, 0, MonoNs(0));
        assert!(points.len() <= POINTS_MAX, "{}", points.len());
        let known: Vec<Point> = points.iter().flatten().copied().collect();
        assert!(known.is_sorted_by(|a, b| a.s < b.s));
        for deg in [200.0, -200.0] {
            assert!(known.iter().any(|point| (point.deg - deg).abs() < 1e-3));
        }
        let all = runs(&points, gap_s(&samples));
        let gaps = all
            .windows(2)
            .filter(|two| two[1][0].s - two[0].last().unwrap().s > 50.0);
        assert_eq!(gaps.count(), 1);
        let mut svg = String::new();
        let axes = Axes {
            x: [0.0, 1_800.0],
            y: [-60.0, 60.0],
            height: 250.0,
        };
        side_of(&mut svg, &axes, &all, 0);
        assert!(svg.len() < 100_000, "{}", svg.len());
    }

    #[test]
    fn a_curve_breaks_where_a_person_was_not_seen_however_long_that_was() {
        let seen = |spans_s: &[[u64; 2]]| -> Vec<f32> {
            let at = |s: u64| s * 10;
            let is_seen = |tenth: u64| {
                spans_s
                    .iter()
                    .any(|[a, b]| (at(*a)..at(*b)).contains(&tenth))
            };
            let mut found = samples(18_000, |_| measured(10.0));
            // No samples at all, as of a person who is not in view.
            found.retain(|sample| is_seen(sample.time.0 / 100_000_000));
            let runs = runs(&points(&found, 0, MonoNs(0)), gap_s(&found));
            runs.iter().map(|run| run[0].s).collect()
        };
        near(&seen(&[[0, 2], [5, 7], [70, 72]]), &[0.0, 5.0, 70.0]);
        // The same where points stand for stretches of samples.
        near(
            &seen(&[[0, 102], [105, 207], [1_700, 1_710]]),
            &[0.0, 105.0, 1_700.0],
        );
        // A slow camera's curve is whole.
        let mut slow = samples(100, |_| measured(10.0));
        slow.retain(|sample| sample.time.0 % 300_000_000 == 0);
        assert_eq!(runs(&points(&slow, 0, MonoNs(0)), gap_s(&slow)).len(), 1);
        assert!(runs(&[], gap_s(&[])).is_empty());
    }

    #[test]
    fn a_curve_breaks_at_gaps_and_changes_its_dashes_with_the_state() {
        let angles = samples(40, |at| match at {
            10..20 => Angle {
                state: JointState::Completed,
                ..measured(10.0)
            },
            30..33 => Angle::default(),
            _ => measured(10.0),
        });
        let runs = runs(&points(&angles, 1, MonoNs(0)), gap_s(&angles));
        let lengths: Vec<usize> = runs.iter().map(Vec::len).collect();
        assert_eq!(lengths, [10, 11, 11, 7]);
        assert!(runs[1].last().unwrap().completed && !runs[2].last().unwrap().completed);
        near(&[runs[2][0].s, runs[3][0].s], &[1.9, 3.3]);
    }
}

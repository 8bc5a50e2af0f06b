//! What is counted, in the text format of Prometheus: `/metrics` of the web view.
//!
//! Names follow Prometheus' rules (base units, `_total` for what only grows). Labels take their values from lists that
//! are fixed when this is compiled, and from the camera's name: never from people, actions or peers, so that the number
//! of series is bounded. Every series is there from the start, 0 where nothing has happened yet.

use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::adapt::Report;
use crate::base::clock::MonoNs;
use crate::capture::thread::CameraState;
use crate::counters::{Counters, DropReason, FrameFault, MqttFault, RecordFault, RosTopic, Timed};
use crate::sys::rt::{process_cpu_ns, resident_bytes};

/// The format's name and version, for `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of the buckets of `poised_latency_seconds`: from a fast GPU to a machine that cannot keep up.
const LATENCY_BOUNDS_S: [f64; 10] = [0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0];

/// What the figures are of.
#[derive(Clone, Copy, Debug)]
pub struct Figures<'a> {
    /// The camera's name.
    pub camera: &'a str,
    /// What runs the networks.
    pub engine: &'a str,
    /// What all threads count.
    pub counters: &'a Counters,
    /// How learning stands.
    pub adaptation: &'a Report,
    /// A camera that gives no frame for this long is down.
    pub silent_after: Duration,
    /// When the daemon started.
    pub started: MonoNs,
    /// The same as Unix time, seconds.
    pub started_unix_s: f64,
    /// Now.
    pub now: MonoNs,
}

/// Text in which metrics are written.
pub(super) struct Page(String);

impl Page {
    /// Begins a metric: what it is and of which kind.
    pub(super) fn metric(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    /// One series. `labels` are names with values, which are escaped here.
    pub(super) fn series(&mut self, name: &str, labels: &[(&str, &str)], value: impl fmt::Display) {
        if labels.is_empty() {
            return self.line(format_args!("{name} {value}"));
        }
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, text)| format!("{label}=\"{}\"", escaped(text)))
            .collect();
        self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing into a `String` cannot fail.
        let written = writeln!(self.0, "{line}");
        debug_assert!(written.is_ok());
    }

    pub(super) fn done(self) -> String {
        self.0
    }
}

/// A label's value as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// Writes all metrics of the daemon.
pub(super) fn page(figures: &Figures<'_>) -> Page {
    let mut page = Page(String::with_capacity(8 * 1024));
    let up = is_up(figures);
    daemon(&mut page, figures);
    frames(&mut page, figures, up);
    times(&mut page, figures, up);
    adaptation(&mut page, figures);
    ros(&mut page, figures);
    foxglove(&mut page, figures);
    mqtt(&mut page, figures);
    record(&mut page, figures);
    process(&mut page, figures);
    page
}

/// Whether frames come from the camera.
fn is_up(figures: &Figures<'_>) -> bool {
    let capture = &figures.counters.capture;
    let last_ns = capture
        .last_frame_ns
        .load(std::sync::atomic::Ordering::Relaxed);
    let quiet = figures.now.since(MonoNs(last_ns));
    capture.state() == CameraState::Running && quiet < figures.silent_after
}

fn daemon(page: &mut Page, figures: &Figures<'_>) {
    let name = "poised_build_info";
    page.metric(name, "gauge", "Version and engine of this daemon.");
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("engine", figures.engine),
    ];
    page.series(name, &labels, 1);
    let name = "poised_peers";
    page.metric(name, "gauge", "Zenoh sessions connected with.");
    page.series(name, &[], figures.counters.peers());
}

fn frames(page: &mut Page, figures: &Figures<'_>, up: bool) {
    let (counters, camera) = (figures.counters, ("camera", figures.camera));
    let name = "poised_camera_up";
    page.metric(name, "gauge", "Whether frames come from the camera.");
    page.series(name, &[camera], u8::from(up));

    let name = "poised_frames_total";
    page.metric(name, "counter", "Frames by the stage they reached.");
    for (stage, frames) in [
        ("captured", counters.captured()),
        ("estimated", counters.estimated.get()),
        ("published", counters.published.get()),
    ] {
        page.series(name, &[camera, ("stage", stage)], frames);
    }

    let of_people = |reason: &DropReason| matches!(reason, DropReason::Unfit | DropReason::NoPose);
    let name = "poised_frames_dropped_total";
    page.metric(name, "counter", "Frames that went no further, by reason.");
    for reason in DropReason::ALL
        .into_iter()
        .filter(|reason| !of_people(reason))
    {
        let labels = [camera, ("reason", reason.name())];
        page.series(name, &labels, counters.drops(reason));
    }
    let name = "poised_people_dropped_total";
    let help = "People of a frame who have no pose, or are left out, by reason.";
    page.metric(name, "counter", help);
    for reason in DropReason::ALL.into_iter().filter(of_people) {
        let labels = [camera, ("reason", reason.name())];
        page.series(name, &labels, counters.drops(reason));
    }
    let name = "poised_frame_faults_total";
    page.metric(name, "counter", "Frames whose network failed, by fault.");
    for fault in FrameFault::ALL {
        let labels = [camera, ("fault", fault.name())];
        page.series(name, &labels, counters.frame_faults(fault));
    }

    let name = "poised_people";
    let help = "People in the newest pose; 0 while no frames come.";
    page.metric(name, "gauge", help);
    page.series(name, &[camera], if up { counters.people() } else { 0 });
}

fn times(page: &mut Page, figures: &Figures<'_>, up: bool) {
    let (counters, camera) = (figures.counters, ("camera", figures.camera));
    let name = "poised_latency_seconds";
    let help = "From capture to the message being handed over.";
    page.metric(name, "histogram", help);
    let latency = counters.latency.read();
    let bucket = format!("{name}_bucket");
    for bound_s in LATENCY_BOUNDS_S {
        let labels = [camera, ("le", &bound_s.to_string())];
        page.series(&bucket, &labels, latency.count_within(bound_s));
    }
    page.series(&bucket, &[camera, ("le", "+Inf")], latency.count());
    let sum_s = latency.total_ms() * 1e-3;
    page.series(&format!("{name}_sum"), &[camera], sum_s);
    page.series(&format!("{name}_count"), &[camera], latency.count());

    let name = "poised_late_total";
    let help = "Poses older than publish.late_after_ms when published.";
    page.metric(name, "counter", help);
    page.series(name, &[camera], counters.late.get());

    let name = "poised_pose_age_seconds";
    let help =
        "Since the frame of the newest pose was taken; since the start where there is none yet.";
    page.metric(name, "gauge", help);
    let newest = counters.newest_capture().unwrap_or(figures.started);
    page.series(name, &[camera], figures.now.since(newest).as_secs_f64());

    let name = "poised_stage_seconds_total";
    let help = "Time spent in each part of the way from frame to message.";
    page.metric(name, "counter", help);
    for part in Timed::ALL {
        let seconds = counters.timed(part).read().total_ms() * 1e-3;
        page.series(name, &[camera, ("stage", part.name())], seconds);
    }

    let name = "poised_load_ratio";
    let help = "Time that a frame takes, of the time between two frames of the camera; 0 while no frames come.";
    page.metric(name, "gauge", help);
    let (_, busy) = counters.load();
    page.series(name, &[camera], if up { busy } else { 0.0 });
}

fn adaptation(page: &mut Page, figures: &Figures<'_>) {
    let name = "poised_adaptation_decisions_total";
    let help = "Decisions of the guard about what was learned, by outcome.";
    page.metric(name, "counter", help);
    let report = figures.adaptation;
    let [kept, rest, refused] = report.decisions;
    for (outcome, count) in [
        ("kept", kept),
        ("rest", rest),
        ("refused", refused),
        ("rolled_back", report.rolled_back),
    ] {
        let labels = [("camera", figures.camera), ("outcome", outcome)];
        page.series(name, &labels, count);
    }
}

/// The outlet for ROS 2, where there is one.
fn ros(page: &mut Page, figures: &Figures<'_>) {
    use std::sync::atomic::Ordering::Relaxed;
    let (ros, camera) = (&figures.counters.ros, ("camera", figures.camera));
    if !ros.on.load(Relaxed) {
        return;
    }
    let name = "poised_ros_connected";
    page.metric(name, "gauge", "Whether the router of ROS 2 is connected.");
    page.series(name, &[camera], u8::from(ros.connected.load(Relaxed)));
    let name = "poised_ros_messages_total";
    page.metric(name, "counter", "ROS 2 messages sent, by topic.");
    for topic in RosTopic::ALL {
        let labels = [camera, ("topic", topic.name())];
        page.series(name, &labels, ros.sent[topic as usize].get());
    }
    page.series(name, &[camera, ("topic", "humans")], ros.humans.get());
    let name = "poised_ros_listening";
    page.metric(name, "gauge", "Whether a ROS 2 topic has subscribers.");
    for topic in RosTopic::ALL {
        let listening = ros.listening[topic as usize].load(Relaxed);
        let labels = [camera, ("topic", topic.name())];
        page.series(name, &labels, u8::from(listening));
    }
    let name = "poised_ros_dropped_total";
    let help = "Poses and messages that did not leave for ROS 2, by reason.";
    page.metric(name, "counter", help);
    for (reason, count) in [
        ("replaced", &ros.replaced),
        ("no_session", &ros.no_session),
        ("not_sent", &ros.not_sent),
    ] {
        page.series(name, &[camera, ("reason", reason)], count.get());
    }
    let name = "poised_ros_unanswered_total";
    let help = "Tries to reach the router of ROS 2 that failed.";
    page.metric(name, "counter", help);
    page.series(name, &[camera], ros.unanswered.get());
}

/// The outlet for Foxglove, where there is one.
fn foxglove(page: &mut Page, figures: &Figures<'_>) {
    use std::sync::atomic::Ordering::Relaxed;
    let (foxglove, camera) = (&figures.counters.foxglove, ("camera", figures.camera));
    if !foxglove.on.load(Relaxed) {
        return;
    }
    let name = "poised_foxglove_viewers";
    page.metric(name, "gauge", "Foxglove viewers that are connected.");
    page.series(name, &[camera], foxglove.viewers.load(Relaxed));
    let name = "poised_foxglove_messages_total";
    page.metric(name, "counter", "Messages sent to Foxglove viewers.");
    page.series(name, &[camera], foxglove.sent.get());
    let name = "poised_foxglove_dropped_total";
    let help = "Messages that Foxglove viewers did not get since a newer one had come, by reason.";
    page.metric(name, "counter", help);
    for (reason, count) in [
        ("replaced", &foxglove.replaced),
        ("slow_viewer", &foxglove.skipped),
    ] {
        page.series(name, &[camera, ("reason", reason)], count.get());
    }
    let name = "poised_foxglove_refused_total";
    page.metric(name, "counter", "Foxglove viewers that were not let in.");
    page.series(name, &[camera], foxglove.refused.get());
}

/// The outlet for MQTT, where there is one.
fn mqtt(page: &mut Page, figures: &Figures<'_>) {
    use std::sync::atomic::Ordering::Relaxed;
    let (mqtt, camera) = (&figures.counters.mqtt, ("camera", figures.camera));
    if !mqtt.on.load(Relaxed) {
        return;
    }
    let name = "poised_mqtt_connected";
    page.metric(name, "gauge", "Whether the MQTT broker is connected.");
    page.series(name, &[camera], u8::from(mqtt.connected.load(Relaxed)));
    for (name, help, count) in [
        (
            "poised_mqtt_connections_total",
            "Connections that the MQTT broker accepted.",
            &mqtt.connections,
        ),
        (
            "poised_mqtt_states_total",
            "States published over MQTT.",
            &mqtt.states,
        ),
        (
            "poised_mqtt_dropped_total",
            "Messages that the MQTT client had no room for.",
            &mqtt.not_sent,
        ),
    ] {
        page.metric(name, "counter", help);
        page.series(name, &[camera], count.get());
    }
    let name = "poised_mqtt_failures_total";
    let help = "Connections with the MQTT broker that failed or ended, by reason.";
    page.metric(name, "counter", help);
    for fault in MqttFault::ALL {
        let labels = [camera, ("reason", fault.name())];
        page.series(name, &labels, mqtt.failures[fault as usize].get());
    }
}

/// Recordings, where there are any.
fn record(page: &mut Page, figures: &Figures<'_>) {
    use std::sync::atomic::Ordering::Relaxed;
    let (record, camera) = (&figures.counters.record, ("camera", figures.camera));
    if !record.on.load(Relaxed) {
        return;
    }
    let name = "poised_record_writing";
    page.metric(name, "gauge", "Whether a recording is being written.");
    page.series(name, &[camera], u8::from(record.writing.load(Relaxed)));
    let name = "poised_record_poses_total";
    page.metric(name, "counter", "Poses recorded.");
    page.series(name, &[camera], record.poses.get());
    let name = "poised_record_dropped_total";
    let help = "Messages that were not recorded, by reason.";
    page.metric(name, "counter", help);
    for (reason, count) in [
        ("queue_full", &record.dropped),
        ("not_written", &record.not_written),
    ] {
        page.series(name, &[camera, ("reason", reason)], count.get());
    }
    let name = "poised_record_failures_total";
    page.metric(name, "counter", "Failures of recording, by reason.");
    for fault in RecordFault::ALL {
        let labels = [camera, ("reason", fault.name())];
        page.series(name, &labels, record.failures[fault as usize].get());
    }
    let name = "poised_record_files_total";
    page.metric(
        name,
        "counter",
        "Files of recordings, by what became of them.",
    );
    for (outcome, count) in [
        ("finished", &record.files),
        ("removed", &record.removed),
        ("repaired", &record.repaired),
    ] {
        page.series(name, &[camera, ("outcome", outcome)], count.get());
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bytes and nanoseconds are far below 2^53"
)]
fn process(page: &mut Page, figures: &Figures<'_>) {
    let name = "process_resident_memory_bytes";
    page.metric(name, "gauge", "Resident memory.");
    page.series(name, &[], resident_bytes().unwrap_or(0));
    let name = "process_cpu_seconds_total";
    page.metric(name, "counter", "Processor time of all threads.");
    page.series(name, &[], process_cpu_ns() as f64 * 1e-9);
    let name = "process_start_time_seconds";
    page.metric(name, "gauge", "Start of the process, Unix time.");
    page.series(name, &[], figures.started_unix_s);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(camera: &str, counters: &Counters) -> String {
        let figures = Figures {
            camera,
            engine: "tract",
            counters,
            adaptation: &Report::default(),
            silent_after: Duration::from_secs(2),
            started: MonoNs(1),
            started_unix_s: 1_790_000_000.0,
            now: MonoNs(5_000_000_001),
        };
        page(&figures).done()
    }

    #[test]
    fn all_is_there_and_zero_before_there_is_a_camera() {
        let text = text("front", &Counters::default());
        for line in [
            "poised_camera_up{camera=\"front\"} 0",
            "poised_people{camera=\"front\"} 0",
            "poised_frames_total{camera=\"front\",stage=\"published\"} 0",
            "poised_latency_seconds_bucket{camera=\"front\",le=\"+Inf\"} 0",
            "poised_latency_seconds_sum{camera=\"front\"} 0",
            "poised_pose_age_seconds{camera=\"front\"} 5",
            "poised_adaptation_decisions_total{camera=\"front\",outcome=\"kept\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn people_are_nought_once_the_camera_is_gone() {
        let counters = Counters::default();
        counters.set_newest(MonoNs(1), 3);
        counters.capture.set_state(CameraState::Lost);
        assert!(text("front", &counters).contains("poised_people{camera=\"front\"} 0\n"));
        counters.capture.set_state(CameraState::Running);
        let last = &counters.capture.last_frame_ns;
        last.store(4_900_000_000, std::sync::atomic::Ordering::Relaxed);
        assert!(text("front", &counters).contains("poised_people{camera=\"front\"} 3\n"));
        last.store(2_900_000_000, std::sync::atomic::Ordering::Relaxed);
        assert!(text("front", &counters).contains("poised_camera_up{camera=\"front\"} 0\n"));
    }

    #[test]
    fn buckets_are_cumulative_and_end_with_the_count() {
        let counters = Counters::default();
        for ms in [1, 7, 15, 400, 5_000] {
            counters.latency.add(Duration::from_millis(ms));
        }
        let text = text("front", &counters);
        let counts: Vec<u64> = text
            .lines()
            .filter(|line| line.starts_with("poised_latency_seconds_bucket"))
            .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(counts, [1, 2, 3, 3, 3, 3, 3, 3, 4, 4, 5]);
    }

    #[test]
    fn figures_of_recording_are_there_only_where_there_is_one() {
        let counters = Counters::default();
        assert!(!text("front", &counters).contains("poised_record"));
        counters
            .record
            .on
            .store(true, std::sync::atomic::Ordering::Relaxed);
        counters.record.failures[RecordFault::Full as usize].add(2);
        counters.record.not_written.add(60);
        let text = text("front", &counters);
        for line in [
            "poised_record_writing{camera=\"front\"} 0",
            "poised_record_dropped_total{camera=\"front\",reason=\"not_written\"} 60",
            "poised_record_failures_total{camera=\"front\",reason=\"full\"} 2",
            "poised_record_files_total{camera=\"front\",outcome=\"repaired\"} 0",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn figures_of_mqtt_are_there_only_with_its_outlet() {
        let counters = Counters::default();
        assert!(!text("front", &counters).contains("poised_mqtt"));
        counters
            .mqtt
            .on
            .store(true, std::sync::atomic::Ordering::Relaxed);
        counters.mqtt.failures[MqttFault::Credentials as usize].add(3);
        counters.mqtt.states.add(7);
        let text = text("front", &counters);
        for line in [
            "poised_mqtt_connected{camera=\"front\"} 0",
            "poised_mqtt_states_total{camera=\"front\"} 7",
            "poised_mqtt_failures_total{camera=\"front\",reason=\"credentials\"} 3",
            "poised_mqtt_failures_total{camera=\"front\",reason=\"tls\"} 0",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn figures_of_ros_2_are_there_only_with_its_outlet() {
        let counters = Counters::default();
        assert!(!text("front", &counters).contains("poised_ros"));
        let relaxed = std::sync::atomic::Ordering::Relaxed;
        counters.ros.on.store(true, relaxed);
        counters.ros.sent[RosTopic::Markers as usize].add(7);
        counters.ros.listening[RosTopic::Joints as usize].store(true, relaxed);
        counters.ros.no_session.add(2);
        let text = text("front", &counters);
        for line in [
            "poised_ros_connected{camera=\"front\"} 0",
            "poised_ros_messages_total{camera=\"front\",topic=\"markers\"} 7",
            "poised_ros_messages_total{camera=\"front\",topic=\"joints\"} 0",
            "poised_ros_listening{camera=\"front\",topic=\"joints\"} 1",
            "poised_ros_dropped_total{camera=\"front\",reason=\"no_session\"} 2",
            "poised_ros_unanswered_total{camera=\"front\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn a_name_with_quotes_stays_one_label() {
        let text = text("a\"b\\c", &Counters::default());
        assert!(text.contains(r#"{camera="a\"b\\c"}"#), "{text}");
    }
}

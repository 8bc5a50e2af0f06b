//! The machine: clock, memory, disk, heat, and on a Jetson its software and power mode.

use std::path::{Path, PathBuf};
use std::process::Command;

use poised::output::ArchiveConfig;
use poised::sys::rt;

use super::Finding;

/// Everything about the machine that `root` (`/`) is the root of.
pub fn findings(root: &Path) -> Vec<Finding> {
    let mut findings = vec![
        clock(&root.join("sys/devices/system/clocksource/clocksource0/current_clocksource")),
        wall_time(rt::wall_clock_is_disciplined()),
        memory(&root.join("proc/meminfo")),
        disk(&state_directory()),
        heat(&root.join("sys/class/thermal")),
    ];
    findings.extend(jetson(root));
    findings
}

/// Whether the kernel takes its time from a counter that does not drift with power states.
fn clock(source: &Path) -> Finding {
    match std::fs::read_to_string(source) {
        Ok(name) if matches!(name.trim(), "tsc" | "arch_sys_counter" | "kvm-clock") => {
            Finding::good("clock", format_args!("source {}", name.trim()))
        }
        Ok(name) => Finding::missing(
            "clock",
            format_args!("source {}: slow to read", name.trim()),
            "see the kernel's log for why the processor's counter was refused",
        ),
        Err(error) => Finding::missing(
            "clock",
            format_args!("{}: {error}", source.display()),
            "mount /sys",
        ),
    }
}

/// Whether the wall clock is synchronised: an unsynchronised clock steps when it is set.
fn wall_time(disciplined: Option<bool>) -> Finding {
    match disciplined {
        Some(true) => Finding::good("clock", "wall time is kept by NTP: no steps to expect"),
        Some(false) => Finding::missing(
            "clock",
            "the wall clock is not synchronised and may step; poses keep their order (monotonic clock), unix_ns may jump",
            "enable systemd-timesyncd or chrony (timedatectl set-ntp true)",
        ),
        None => Finding::missing(
            "clock",
            "the kernel does not say whether wall time is kept",
            "nothing to do where unix_ns is not used",
        ),
    }
}

/// Memory that is free for use.
fn memory(meminfo: &Path) -> Finding {
    /// Resident memory of the daemon with the CPU engine, with room to spare, in megabytes.
    const NEEDED_MB: u64 = 300;
    let available_mb = std::fs::read_to_string(meminfo).ok().and_then(|text| {
        let line = text
            .lines()
            .find(|line| line.starts_with("MemAvailable:"))?;
        let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kilobytes / 1000)
    });
    match available_mb {
        Some(mb) if mb >= NEEDED_MB => Finding::good("memory", format_args!("{mb} MB available")),
        Some(mb) => Finding::missing(
            "memory",
            format_args!("{mb} MB available, {NEEDED_MB} MB wanted"),
            "stop another program",
        ),
        None => Finding::missing(
            "memory",
            format_args!("{} says nothing", meminfo.display()),
            "mount /proc",
        ),
    }
}

/// Where the daemon keeps what it learns: that of its service, or of where it is run.
fn state_directory() -> PathBuf {
    let service = PathBuf::from("/var/lib/poised");
    std::env::var_os("STATE_DIRECTORY").map_or_else(
        || {
            if service.is_dir() {
                service
            } else {
                PathBuf::from(".")
            }
        },
        PathBuf::from,
    )
}

/// Room for recordings, where there are to be any.
pub fn record(config: &ArchiveConfig) -> Option<Finding> {
    const PART: &str = "record";
    let folder = config.folder.as_ref()?;
    // One that is missing is made on the disk of what it is in.
    let there = folder.ancestors().find(|folder| folder.is_dir());
    let free = there.map_or(Ok(0), rt::free_bytes);
    let shown = folder.display();
    Some(match free.map(|bytes| bytes / 1_000_000) {
        Err(error) => Finding::missing(PART, format_args!("{shown}: {error}"), "see to the disk"),
        Ok(free_mb) if free_mb <= config.free_mb => Finding::missing(
            PART,
            format_args!(
                "{shown}: {free_mb} MB are free, {} are to stay so",
                config.free_mb
            ),
            "make room, or lower [record] free_mb",
        ),
        Ok(free_mb) if free_mb < config.free_mb + config.keep_mb => Finding::good(
            PART,
            format_args!(
                "{shown}: {free_mb} MB are free, so recordings stay below the {} MB of keep_mb",
                config.keep_mb
            ),
        ),
        Ok(free_mb) => Finding::good(PART, format_args!("{shown}: {free_mb} MB are free")),
    })
}

/// Room on the disk for what is learned and for the log.
fn disk(folder: &Path) -> Finding {
    /// Heads, dictionaries and a little log, in megabytes.
    const NEEDED_MB: u64 = 200;
    match rt::free_bytes(folder) {
        Ok(bytes) if bytes / 1_000_000 >= NEEDED_MB => Finding::good(
            "disk",
            format_args!("{}: {} MB free", folder.display(), bytes / 1_000_000),
        ),
        Ok(bytes) => Finding::missing(
            "disk",
            format_args!(
                "{}: {} MB free, {NEEDED_MB} MB wanted",
                folder.display(),
                bytes / 1_000_000
            ),
            "make room, or let the journal keep less (journalctl --vacuum-size=100M)",
        ),
        Err(error) => Finding::missing(
            "disk",
            format_args!("{}: {error}", folder.display()),
            "make the folder, or start the service, which makes it",
        ),
    }
}

/// The hottest place of the machine.
fn heat(class: &Path) -> Finding {
    /// Above this, processors of small machines begin to slow down, in degrees Celsius.
    const HOT_C: f64 = 85.0;
    let zones = std::fs::read_dir(class).into_iter().flatten().flatten();
    let hottest = zones
        .filter_map(|zone| {
            let read = |name: &str| std::fs::read_to_string(zone.path().join(name)).ok();
            let millidegrees: f64 = read("temp")?.trim().parse().ok()?;
            Some((millidegrees * 1e-3, read("type")?.trim().to_owned()))
        })
        .max_by(|one, other| one.0.total_cmp(&other.0));
    match hottest {
        Some((celsius, zone)) if celsius >= HOT_C => Finding::missing(
            "heat",
            format_args!("{zone}: {celsius:.0} °C, the processor slows down"),
            "clear the fan, or choose a lower power mode",
        ),
        Some((celsius, zone)) => Finding::good("heat", format_args!("{zone}: {celsius:.0} °C")),
        None => Finding::good("heat", "no temperature sensor"),
    }
}

/// On a Jetson: release of its software, power mode.
fn jetson(root: &Path) -> Vec<Finding> {
    let Ok(text) = std::fs::read_to_string(root.join("etc/nv_tegra_release")) else {
        return Vec::new();
    };
    let mut findings = vec![match release(&text) {
        Some((major, revision)) if major >= 36 => Finding::good(
            "jetson",
            format_args!("L4T {major}.{revision} (JetPack {})", jetpack(major)),
        ),
        Some((major, revision)) => Finding::missing(
            "jetson",
            format_args!("L4T {major}.{revision}: older than JetPack 6"),
            "install JetPack 6 or later",
        ),
        None => Finding::missing(
            "jetson",
            "/etc/nv_tegra_release does not name its release",
            "install JetPack again",
        ),
    }];
    let mode = Command::new("nvpmodel").arg("-q").output();
    findings.push(match mode {
        Ok(output) if output.status.success() => {
            power_mode(&String::from_utf8_lossy(&output.stdout))
        }
        _ => Finding::missing(
            "power",
            "nvpmodel does not answer",
            "run the doctor with sudo, or install nvidia-l4t-nvpmodel",
        ),
    });
    findings
}

/// Major release and revision from `# R36 (release), REVISION: 4.3, ...`.
fn release(text: &str) -> Option<(u32, String)> {
    let major = text.split('R').nth(1)?;
    let major: String = major.chars().take_while(char::is_ascii_digit).collect();
    let revision = text.split("REVISION:").nth(1)?.trim_start();
    let revision = revision.split([',', ' ', '\n']).next()?;
    Some((major.parse().ok()?, revision.to_owned()))
}

const fn jetpack(l4t: u32) -> &'static str {
    match l4t {
        36 => "6",
        38 | 39 => "7",
        _ => "unknown to this version",
    }
}

/// The mode from `NV Power Mode: 15W`.
fn power_mode(text: &str) -> Finding {
    let mode = text
        .lines()
        .find_map(|line| line.strip_prefix("NV Power Mode:"))
        .map_or("unknown", str::trim);
    if mode.starts_with("MAXN") {
        Finding::good("power", format_args!("mode {mode}"))
    } else {
        Finding::missing(
            "power",
            format_args!("mode {mode}: not the fastest"),
            "sudo nvpmodel -m 0, where heat and supply allow it",
        )
    }
}

/// Version of NVIDIA's inference libraries under `root`, from the name of the file.
pub fn tensorrt(root: &Path) -> Option<String> {
    let folders = [
        "usr/lib/aarch64-linux-gnu",
        "usr/lib/x86_64-linux-gnu",
        "usr/local/lib",
        "usr/local/tensorrt/lib",
    ];
    let names = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(root.join(folder)).ok())
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix("libnvinfer.so.")?.to_owned();
            Some(version)
        });
    // The longest name is the file itself: libnvinfer.so.10 is a link to libnvinfer.so.10.3.0.
    names.max_by_key(String::len)
}

#[cfg(test)]
mod tests {
    use super::super::Standing;
    use super::*;

    fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_slow_clock_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let finding = clock(&written(folder.path(), "source", "hpet\n"));
        assert_eq!(finding.standing, Standing::Missing);
        assert!(finding.to_string().contains("hpet"));
        let finding = clock(&written(folder.path(), "source", "tsc\n"));
        assert_eq!(finding.standing, Standing::Good);
    }

    #[test]
    fn an_unsynchronised_wall_clock_may_step() {
        assert_eq!(wall_time(Some(true)).standing, Standing::Good);
        assert_eq!(wall_time(Some(false)).standing, Standing::Missing);
    }

    #[test]
    fn too_little_memory_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let text = "MemTotal: 900000 kB\nMemAvailable: 120000 kB\n";
        let finding = memory(&written(folder.path(), "meminfo", text));
        assert_eq!(finding.standing, Standing::Missing);
    }

    #[test]
    fn room_for_recordings_is_looked_at_where_there_are_to_be_any() {
        assert!(record(&ArchiveConfig::default()).is_none());
        let with = |folder: &str, free_mb, keep_mb| {
            let config = ArchiveConfig {
                folder: Some(folder.into()),
                free_mb,
                keep_mb,
                ..ArchiveConfig::default()
            };
            record(&config).unwrap()
        };
        assert_eq!(with("/nowhere/at/all", 0, 4).standing, Standing::Good);
        let full = with("/nowhere/at/all", 100_000_000, 4);
        assert_eq!(full.standing, Standing::Missing);
        assert!(full.to_string().contains("free_mb"), "{full}");
        let most = with("/", 0, 100_000_000).to_string();
        assert!(most.contains("stay below the 100000000 MB"), "{most}");
    }

    #[test]
    fn the_disk_of_a_folder_has_room_and_a_folder_that_is_not_there_is_said() {
        assert_eq!(disk(Path::new("/nowhere")).standing, Standing::Missing);
        assert!(rt::free_bytes(Path::new("/")).unwrap() > 0);
    }

    #[test]
    fn the_hottest_zone_counts() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(heat(folder.path()).standing, Standing::Good);
        for (zone, kind, temp) in [("a", "cpu-thermal", "91500"), ("b", "gpu-thermal", "40000")] {
            written(folder.path(), &format!("{zone}/type"), kind);
            written(folder.path(), &format!("{zone}/temp"), temp);
        }
        let finding = heat(folder.path());
        assert_eq!(finding.standing, Standing::Missing);
        assert!(finding.what.contains("cpu-thermal: 92 °C"), "{finding}");
    }

    #[test]
    fn a_jetson_tells_its_release_and_its_power_mode() {
        let line =
            "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n";
        assert_eq!(release(line), Some((36, "4.3".to_owned())));
        assert_eq!(release("nothing"), None);
        let folder = tempfile::tempdir().unwrap();
        assert!(jetson(folder.path()).is_empty());
        written(
            folder.path(),
            "etc/nv_tegra_release",
            &line.replace("36", "35"),
        );
        assert_eq!(jetson(folder.path())[0].standing, Standing::Missing);
        assert_eq!(
            power_mode("NV Power Mode: MAXN\n0\n").standing,
            Standing::Good
        );
        let slow = power_mode("NV Power Mode: 15W\n2\n");
        assert!(slow.to_string().contains("15W"), "{slow}");
    }

    #[test]
    fn tensorrt_is_known_by_its_library() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(tensorrt(folder.path()), None);
        for name in [
            "libnvinfer.so.10",
            "libnvinfer.so.10.3.0",
            "libnvinfer_plugin.so.10.3.0",
        ] {
            written(
                folder.path(),
                &format!("usr/lib/aarch64-linux-gnu/{name}"),
                "",
            );
        }
        assert_eq!(tensorrt(folder.path()).as_deref(), Some("10.3.0"));
    }
}

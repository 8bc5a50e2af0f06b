//! The log: plain lines on a terminal, priority prefixes under systemd.

use std::io::Write;

use log::{Level, LevelFilter};

/// Starts the log. `RUST_LOG` overrides `level`.
///
/// Under systemd (`JOURNAL_STREAM` is set) each line begins with its priority
/// as `<3>` to `<7>`, which the journal understands; time and name are the
/// journal's business there.
pub fn start(level: LevelFilter) {
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    // Zenoh's orchestrator warns of peers that are not there yet, which is nothing to worry about.
    let filter = env_logger::Env::default().default_filter_or(match level {
        LevelFilter::Info => {
            "info,zenoh=warn,zenoh::net::runtime::orchestrator=error,tract_core=warn"
        }
        LevelFilter::Debug => "info,poised=debug",
        _ => "debug,poised=trace",
    });
    env_logger::Builder::from_env(filter)
        .format(move |out, record| {
            if journal {
                writeln!(
                    out,
                    "<{}>{}: {}",
                    priority(record.level()),
                    place(record.target()),
                    record.args()
                )
            } else {
                writeln!(
                    out,
                    "{:<5} {}: {}",
                    record.level(),
                    place(record.target()),
                    record.args()
                )
            }
        })
        .init();
}

/// The module without the crate's name, which every line would repeat.
fn place(target: &str) -> &str {
    target.strip_prefix("poised::").unwrap_or(target)
}

/// The priority of syslog(3) for a level.
const fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_name_is_not_repeated() {
        assert_eq!(place("poised::capture::thread"), "capture::thread");
        assert_eq!(place("zenoh::net"), "zenoh::net");
    }

    #[test]
    fn an_error_is_more_urgent_than_a_warning() {
        assert!(priority(Level::Error) < priority(Level::Warn));
    }
}

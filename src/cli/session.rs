//! A film or recording as one session: `poised replay --session`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use poised::base::clock::MonoNs;
use poised::base::secret::redacted;
use poised::motion::exercise::Exercise;
use poised::motion::session::{Collector, Ended, MINUTES_MAX, Plan};
use poised::output::session::Rendered;
use poised::pose::PoseSample;

use super::output::failed;

/// Collects a session of everybody in view, and writes it.
pub struct SessionFiles {
    /// Until the first frame, which is the start.
    plan: Option<Plan>,
    collector: Option<Collector>,
    page: PathBuf,
    source: String,
    newest: MonoNs,
}

/// Where the JSON of a page is.
pub fn summary_of(page: &Path) -> PathBuf {
    page.with_extension("json")
}

impl SessionFiles {
    /// Of `exercise` in `source`, to be written to `page` and beside it.
    pub fn new(exercise: Exercise, page: &Path, source: &str) -> Self {
        // The name alone: folders are the machine's business. Of an address no password.
        let name = Path::new(source).file_name();
        let name = name.map_or_else(|| source.to_owned(), |name| name.to_string_lossy().into());
        let source = if source.contains("://") {
            redacted(source)
        } else {
            name
        };
        Self {
            plan: Some(Plan {
                exercise,
                person: None,
                label: String::new(),
                longest: Duration::from_secs(60 * u64::from(MINUTES_MAX)),
            }),
            collector: None,
            page: page.to_owned(),
            source,
            newest: MonoNs(0),
        }
    }

    /// Takes in one frame's poses.
    pub fn add(&mut self, sample: &PoseSample) {
        if let Some(plan) = self.plan.take() {
            self.collector = Some(Collector::new(plan, sample.capture));
        }
        if let Some(collector) = &mut self.collector {
            collector.add(sample.capture, &sample.people, sample.up_camera);
            self.newest = self.newest.max(sample.capture);
        }
    }

    /// Writes both files; `whole` is whether the source was played to its end. Without any frame there is nothing to
    /// write.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn finish(self, whole: bool) -> anyhow::Result<()> {
        let Some(collector) = self.collector else {
            return Ok(());
        };
        let ended = if collector.is_over(self.newest) {
            log::warn!("--session: longer than {MINUTES_MAX} minutes, the rest is not in it");
            Ended::Cut
        } else if whole {
            Ended::RecordingOver
        } else {
            Ended::Unfinished
        };
        let rendered = Rendered::of(&collector.finish(self.newest, ended, 0), &self.source, None);
        let json = summary_of(&self.page);
        for (path, text) in [(&self.page, &rendered.html), (&json, &rendered.json)] {
            std::fs::write(path, text).map_err(|error| failed("--session", path, error))?;
        }
        Ok(())
    }
}

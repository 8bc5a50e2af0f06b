//! `--web`: guidance on the page of the web view, for one who moves a board and does not see the terminal.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use poised::base::clock::Clock;
use poised::camera::calibrate::{FIELD_CORNERS_MIN, Refused, VIEWS_ENOUGH, Views};
use poised::counters::Counters;
use poised::engine::EngineStatus;
use poised::error::StartError;
use poised::output::web::{About, Token, Web, WebConfig};

use crate::cli::exit::UsageError;

/// What the page is told: `guidance/v1`, in `docs/guide/web.md`.
#[derive(Serialize)]
struct Guidance<'a> {
    schema: &'static str,
    source: &'a str,
    /// Columns and rows of the camera's images.
    image_px: [u32; 2],
    views: usize,
    views_wanted: usize,
    /// Corners in each ninth of the picture, row by row, and from how many on it is covered.
    fields: &'a [usize],
    field_corners_wanted: usize,
    /// Whether a view is turned about the vertical axis, and one about the horizontal.
    tilted: [bool; 2],
    /// The board in each view, its four outer corners in pixels; the newest last.
    outlines: Vec<[[f64; 2]; 4]>,
    /// Whether the newest picture is kept, and what is said of it.
    kept: bool,
    said: &'a str,
    /// What is still missing, in words.
    missing: &'a str,
    done: bool,
}

/// A page that shows what is missing.
pub struct Guide {
    web: Web,
    source: String,
}

impl Guide {
    /// Serves at this address; beyond this machine only with a token, which is made here and is part of the address
    /// that is printed.
    ///
    /// # Errors
    ///
    /// The address is taken or of another machine, or standard output is closed.
    pub fn open(listen: SocketAddr, source: &str) -> anyhow::Result<Self> {
        let token = if listen.ip().is_loopback() {
            None
        } else {
            Some(new_token()?)
        };
        let config = WebConfig {
            listen: Some(listen),
            token: token.as_deref().map(Token::from),
            ..WebConfig::default()
        };
        let about = About {
            camera: source.to_owned(),
            engine: Arc::new(EngineStatus::default()),
            counters: Arc::new(Counters::default()),
            clock: Arc::new(Clock::live()),
            silent_after: Duration::from_secs(3),
        };
        let web = Web::open(&config, about)
            .map_err(StartError::from)
            .with_context(|| format!("--web {listen}"))?;
        let web = web.ok_or(UsageError("--web: an address is needed"))?;
        let fragment = token.map_or_else(String::new, |token| format!("#token={token}"));
        say!("guidance: {}{fragment}", web.url())?;
        if listen.ip().is_unspecified() {
            say!("from another device, with the address of this machine in place of localhost")?;
        }
        let source = source.to_owned();
        Ok(Self { web, source })
    }

    /// Shows the views as they are after a picture.
    pub fn show(&self, views: &Views, outcome: &Result<(), Refused>) {
        let size_px = views.size_px().unwrap_or_default();
        let missing = views.missing();
        let outlines = views.kept().iter().map(|view| {
            let corners = view.outline_px(size_px);
            corners.map(|corner| corner.to_array().map(|side| (side * 10.0).round() / 10.0))
        });
        let said = match outcome {
            Ok(()) => format!("view {} is kept", views.kept().len()),
            Err(why) => why.to_string(),
        };
        let guidance = Guidance {
            schema: "guidance/v1",
            source: &self.source,
            image_px: size_px.into(),
            views: views.kept().len(),
            views_wanted: VIEWS_ENOUGH,
            fields: &views.coverage(),
            field_corners_wanted: FIELD_CORNERS_MIN,
            tilted: [!missing.about_vertical, !missing.about_horizontal],
            outlines: outlines.collect(),
            kept: outcome.is_ok(),
            said: &said,
            missing: &missing.to_string(),
            done: views.are_enough(),
        };
        match serde_json::to_string(&guidance) {
            Ok(json) => self.web.guide(json),
            Err(error) => log::debug!("guidance: {error}"),
        }
    }
}

/// A token that is not to be guessed.
fn new_token() -> anyhow::Result<String> {
    let mut bytes = [0; size_of::<u128>()];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

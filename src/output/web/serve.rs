//! The web thread: accepts connections, answers requests, turns messages into JSON for those who listen.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::About;
use super::board::{Board, Link, Part, Rare, Seen};
use super::config::WebConfig;
use super::guard::{Guard, Refusal};
use super::stream::{Patient, TokioTimer};
use crate::adapt::Report;
use crate::base::clock::{MonoNs, Seldom};
use crate::output::health;
use crate::output::json::to_text;
use crate::output::metrics::{self, Figures};

/// Connections at once: eight readers, five for each page that is being loaded, a scrape, and some to spare.
const CONNECTIONS_MAX: usize = 32;

/// Readers of the event stream at once. Each costs about a percent of a core with eight people in view.
const READERS_MAX: usize = 8;

/// Longest head of a request, in bytes; a browser's has about 700.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Most lines of a head; a browser sends about 20.
const HEADERS_MAX: usize = 64;

/// Longest time from a connection to a whole request.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);

/// A stream without messages gets a comment so often, so that one whose reader is gone is found out.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Longest wait for readers at the end, so that they hear of it.
const GOODBYE: Duration = Duration::from_millis(300);

/// Pause where the system gives no connection, as when it has no file numbers left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What strangers do is logged at most so often.
const SAID_EVERY: Duration = Duration::from_mins(1);

/// The page: no scripts, styles or images from elsewhere, no frames, no forms.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What every answer says.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CSP),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (header::CACHE_CONTROL, "no-store"),
];

/// The files of the page: path, type, bytes.
const FILES: [(&str, &str, &str); 4] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("page/index.html"),
    ),
    (
        "/view.js",
        "text/javascript; charset=utf-8",
        include_str!("page/view.js"),
    ),
    (
        "/poised.js",
        "text/javascript; charset=utf-8",
        include_str!("../../../clients/js/poised.js"),
    ),
    (
        "/view.css",
        "text/css; charset=utf-8",
        include_str!("page/view.css"),
    ),
];

/// All that answers are made of.
pub(super) struct Site {
    about: About,
    guard: Guard,
    link: Arc<Link>,
    board: watch::Sender<Board>,
    /// The first message of every stream.
    names: Bytes,
    /// The newest that was told.
    report: Mutex<Report>,
    started: MonoNs,
    started_unix_ns: u64,
    said: Seldom,
}

impl Site {
    pub(super) fn new(
        config: &WebConfig,
        about: About,
        listen: SocketAddr,
        link: Arc<Link>,
        started: MonoNs,
        unix_ns: u64,
    ) -> Self {
        let names = to_text(&health::names()).unwrap_or_default();
        let names = Part::new(1, "names", &names).text;
        Self {
            about,
            guard: Guard::new(config, listen),
            link,
            board: watch::Sender::new(Board::default()),
            names,
            report: Mutex::default(),
            started,
            started_unix_ns: unix_ns,
            said: Seldom::new(SAID_EVERY),
        }
    }

    /// Counts a refusal, and logs one now and then.
    fn refuse(&self, why: Refusal) {
        self.link.refuse(why);
        if self.said.lets_through(self.about.clock.now()) {
            log::info!("web: refused: {}; more are in /metrics", why.name());
        }
    }

    /// The figures, with those of the web view itself.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 microseconds")]
    fn metrics(&self) -> String {
        let report = *self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let about = &self.about;
        let mut page = metrics::page(&Figures {
            camera: &about.camera,
            engine: about.engine.in_use(),
            counters: &about.counters,
            adaptation: &report,
            silent_after: about.silent_after,
            started: self.started,
            started_unix_s: (self.started_unix_ns / 1_000_000) as f64 * 1e-3,
            now: about.clock.now(),
        });
        let link = &self.link;
        let name = "poised_web_readers";
        page.metric(name, "gauge", "Readers of the event stream.");
        page.series(name, &[], link.readers.load(Ordering::Relaxed));
        let name = "poised_web_poses_skipped_total";
        let help = "Poses that a reader did not get, since a newer one had come.";
        page.metric(name, "counter", help);
        page.series(name, &[], link.skipped.load(Ordering::Relaxed));
        let name = "poised_web_messages_dropped_total";
        let help = "Health, adaptation and events that the web thread had no room for.";
        page.metric(name, "counter", help);
        page.series(name, &[], link.dropped.load(Ordering::Relaxed));
        let name = "poised_web_refused_total";
        page.metric(name, "counter", "Requests and readers refused, by reason.");
        for why in Refusal::ALL {
            page.series(name, &[("reason", why.name())], link.refused(why));
        }
        page.done()
    }
}

const fn connections(link: &Link) -> &AtomicUsize {
    &link.connections
}

const fn readers(link: &Link) -> &AtomicUsize {
    &link.readers
}

/// Counts one more until it is dropped.
struct Place {
    link: Arc<Link>,
    of: fn(&Link) -> &AtomicUsize,
}

impl Place {
    /// A place, where there are fewer than `most`.
    fn take(link: &Arc<Link>, of: fn(&Link) -> &AtomicUsize, most: usize) -> Option<Self> {
        let more = |taken: usize| (taken < most).then_some(taken + 1);
        let place = of(link).fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        place.ok().map(|_| Self {
            link: Arc::clone(link),
            of,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        (self.of)(&self.link).fetch_sub(1, Ordering::AcqRel);
    }
}

/// The body of an answer.
pub(super) enum Answer {
    Whole(Option<Bytes>),
    Stream(mpsc::Receiver<Bytes>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take()),
            Self::Stream(parts) => parts.poll_recv(context),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// Serves until it is told to stop.
pub(super) async fn run(site: Site, listener: TcpListener, rare: mpsc::Receiver<Rare>) {
    let site = Arc::new(site);
    {
        let mut stop = pin!(site.link.stop.notified());
        let mut accepting = pin!(accept(&site, &listener));
        let mut pumping = pin!(pump(&site, rare));
        std::future::poll_fn(|context| {
            // Neither of the two ends by itself.
            let _ = accepting.as_mut().poll(context);
            let _ = pumping.as_mut().poll(context);
            stop.as_mut().poll(context)
        })
        .await;
    }
    drop(listener);
    site.board.send_modify(|board| board.closing = true);
    let gone = async {
        while site.link.connections.load(Ordering::Acquire) > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    // Those that do not take the end are left.
    let _ = timeout(GOODBYE, gone).await;
}

async fn accept(site: &Arc<Site>, listener: &TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match Place::take(&site.link, connections, CONNECTIONS_MAX) {
                Some(place) => {
                    let site = Arc::clone(site);
                    tokio::spawn(async move {
                        connection(&site, stream).await;
                        drop(place);
                    });
                }
                None => turn_away(site, &stream),
            },
            Err(error) => {
                log::debug!("web: no connection: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers a connection for which there is no room, without reading anything.
fn turn_away(site: &Site, stream: &TcpStream) {
    site.refuse(Refusal::Connections);
    let (status, text) = Refusal::Connections.answer();
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 {status} Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{text}"
    );
    // One that does not take even this is closed all the same.
    let _ = stream.try_write(answer.as_bytes());
}

/// One connection: one request and its answer.
async fn connection(site: &Arc<Site>, stream: TcpStream) {
    // Poses are small and urgent.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let answer = answer(site, &request);
        async { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer)
        .header_read_timeout(REQUEST_WITHIN)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(Patient::new(stream), service)
        .await;
    if let Err(error) = served {
        if error.is_timeout() {
            site.refuse(Refusal::SlowRequest);
        } else if error.is_parse() {
            site.refuse(Refusal::Malformed);
        } else if is_stalled(&error) {
            site.refuse(Refusal::SlowReader);
        }
        // The others have gone away by themselves.
        log::debug!("web: {error}");
    }
}

/// Whether a reader took nothing for too long.
fn is_stalled(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    let source = source.and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
}

/// The answer to a request.
fn answer(site: &Arc<Site>, request: &Request<Incoming>) -> Response<Answer> {
    let made = site
        .guard
        .check(request.method(), request.uri(), request.headers())
        .and_then(|()| resource(site, request));
    made.unwrap_or_else(|why| {
        site.refuse(why);
        let (status, text) = why.answer();
        let mut response = response("text/plain; charset=utf-8", whole(text));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
        let headers = response.headers_mut();
        match why {
            Refusal::Token => headers.insert(header::WWW_AUTHENTICATE, text_value("Bearer")),
            Refusal::Method => headers.insert(header::ALLOW, text_value("GET, HEAD")),
            _ => None,
        };
        response
    })
}

/// What is asked for. The page itself holds nothing, so it needs no token.
fn resource(site: &Arc<Site>, request: &Request<Incoming>) -> Result<Response<Answer>, Refusal> {
    let path = request.uri().path();
    if let Some((_, kind, text)) = FILES.iter().find(|(file, ..)| *file == path) {
        return Ok(response(kind, whole(*text)));
    }
    match path {
        "/metrics" => {
            site.guard.check_token(request.headers())?;
            let body = whole(site.metrics());
            Ok(response(metrics::CONTENT_TYPE, body))
        }
        "/live" => {
            site.guard.check_token(request.headers())?;
            live(site, request.method() == Method::HEAD)
        }
        _ => Err(Refusal::NotFound),
    }
}

fn whole(bytes: impl Into<Bytes>) -> Answer {
    Answer::Whole(Some(bytes.into()))
}

fn text_value(text: &'static str) -> HeaderValue {
    HeaderValue::from_static(text)
}

fn response(kind: &'static str, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, text_value(kind));
    for (name, value) in HEADERS {
        headers.insert(name, text_value(value));
    }
    response
}

/// The stream of events, for one more reader.
fn live(site: &Arc<Site>, head_only: bool) -> Result<Response<Answer>, Refusal> {
    let kind = "text/event-stream";
    if head_only {
        return Ok(response(kind, Answer::Whole(None)));
    }
    let place = Place::take(&site.link, readers, READERS_MAX).ok_or(Refusal::Readers)?;
    // One: what waits here is old when it leaves.
    let (into, parts) = mpsc::channel(1);
    let site = Arc::clone(site);
    tokio::spawn(async move {
        feed(&site, into).await;
        drop(place);
    });
    Ok(response(kind, Answer::Stream(parts)))
}

/// Gives a reader what it has not seen, as fast as it takes it, until it goes away.
async fn feed(site: &Site, into: mpsc::Sender<Bytes>) {
    let mut board = site.board.subscribe();
    if into.send(site.names.clone()).await.is_err() {
        return;
    }
    // A pose of before, since the web thread is not woken while there are no readers.
    site.link.wake.notify_one();
    let mut seen = Seen::default();
    loop {
        // First the room, then what is newest by now.
        let Ok(room) = into.reserve().await else {
            return;
        };
        let next = {
            let board = board.borrow_and_update();
            let next = seen.next(&board);
            if next.is_none() && board.closing {
                return;
            }
            next
        };
        match next {
            Some((text, skipped)) => {
                site.link.skipped.fetch_add(skipped, Ordering::Relaxed);
                room.send(text);
            }
            None => match timeout(HEARTBEAT, board.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => room.send(Bytes::from_static(b":\n\n")),
            },
        }
    }
}

/// Turns messages into JSON: rare ones as they come, the newest pose while there are readers.
async fn pump(site: &Site, mut rare: mpsc::Receiver<Rare>) {
    let mut counts = [0; 3];
    loop {
        let mut waking = pin!(site.link.wake.notified());
        let message = std::future::poll_fn(|context| {
            if let Poll::Ready(message) = rare.poll_recv(context) {
                return Poll::Ready(message);
            }
            waking.as_mut().poll(context).map(|()| None)
        })
        .await;
        match message {
            Some(message) => put_rare(site, message, &mut counts),
            // The other side is gone, and so is this thread in a moment.
            None if rare.is_closed() => std::future::pending().await,
            None => {
                if let Some((number, bytes)) = site.link.pose.take() {
                    put(site, "pose", number, &bytes, |board| &mut board.pose);
                }
            }
        }
    }
}

fn put_rare(site: &Site, message: Rare, [healths, reports, guidances]: &mut [u64; 3]) {
    match message {
        Rare::Event(bytes) => put_each(site, "event", &bytes),
        Rare::Repetition(bytes) => put_each(site, "repetition", &bytes),
        Rare::Health(bytes) => {
            *healths += 1;
            put(site, "health", *healths, &bytes, |board| &mut board.health);
        }
        Rare::Adaptation(report, bytes) => {
            *reports += 1;
            *site.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
            put(site, "adaptation", *reports, &bytes, |board| {
                &mut board.adaptation
            });
        }
        Rare::Guidance(json) => {
            *guidances += 1;
            let part = Part::new(*guidances, "guidance", &json);
            site.board.send_modify(|board| board.guidance = part);
        }
    }
}

/// Puts a message on the board of which a reader gets each, and not only the newest.
fn put_each(site: &Site, name: &str, bytes: &[u8]) {
    match to_text(bytes) {
        Ok(json) => site.board.send_modify(|board| board.add(name, &json)),
        Err(error) => log::debug!("web: {name}: {error}"),
    }
}

fn put(site: &Site, name: &str, number: u64, bytes: &[u8], of: fn(&mut Board) -> &mut Part) {
    match to_text(bytes) {
        Ok(json) => {
            let part = Part::new(number, name, &json);
            site.board.send_modify(|board| *of(board) = part);
        }
        Err(error) => log::debug!("web: {name}: {error}"),
    }
}

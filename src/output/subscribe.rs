//! A subscriber for poses: what `watch` and `demo` use, and what any reader in Rust may.

use std::time::Duration;

use zenoh::pubsub::Subscriber;
use zenoh::{Session, Wait};

use super::read::{PoseMessage, decode};
use super::wire::WireError;
use super::zenoh::{ROOT, Role, SessionError, ZenohConfig, connections, open};

/// Longest wait for the answer to a question.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Poses of every camera of every device of every site.
pub fn all_poses() -> String {
    format!("{ROOT}/*/*/*/poses")
}

/// What came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// The key it came under.
    pub key: String,
    /// The message, or why it is none.
    pub message: Result<PoseMessage, WireError>,
}

/// A running subscription; it ends when this is dropped.
pub struct Subscription {
    // Ends before the session does.
    _subscriber: Subscriber<()>,
    session: Session,
}

impl Subscription {
    /// Opens a session as [`ZenohConfig::for_subscriber`] has it and calls
    /// `on_message`, on a thread of Zenoh's, for each message under `keys`.
    ///
    /// A publisher that is not there yet is waited for in the background.
    ///
    /// # Errors
    ///
    /// The configuration or `keys` is not accepted, or a client's router does not answer.
    pub fn open(
        config: &ZenohConfig,
        keys: &str,
        on_message: impl Fn(Received) + Send + Sync + 'static,
    ) -> Result<Self, SessionError> {
        Self::raw(config, keys, move |key, bytes| {
            on_message(Received {
                key: key.to_owned(),
                message: decode(bytes),
            });
        })
    }

    /// As [`Self::open`], for messages of any kind: calls `on_message` with key and bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn raw(
        config: &ZenohConfig,
        keys: &str,
        on_message: impl Fn(&str, &[u8]) + Send + Sync + 'static,
    ) -> Result<Self, SessionError> {
        let session = open(&config.for_subscriber(), Role::Subscriber)?.session;
        let subscriber = session
            .declare_subscriber(keys.to_owned())
            .callback(move |sample| {
                on_message(sample.key_expr().as_str(), &sample.payload().to_bytes());
            })
            .wait()
            .map_err(|source| SessionError::Declare {
                key: keys.to_owned(),
                source: source.into(),
            })?;
        Ok(Self {
            _subscriber: subscriber,
            session,
        })
    }

    /// Asks for what a publisher tells when asked (`/calibration`, `/config`, ..): the first answer, or
    /// `None` if none comes in time.
    ///
    /// # Errors
    ///
    /// The session is closed or `key` is none.
    pub fn ask(&self, key: &str) -> Result<Option<Vec<u8>>, SessionError> {
        let replies = self
            .session
            .get(key)
            .timeout(ANSWER_WITHIN)
            .wait()
            .map_err(|source| SessionError::Declare {
                key: key.to_owned(),
                source: source.into(),
            })?;
        let answer = |reply: zenoh::query::Reply| {
            let sample = reply.into_result().ok()?;
            Some(sample.payload().to_bytes().into_owned())
        };
        Ok(replies.into_iter().find_map(answer))
    }

    /// Sessions connected with; 0 while none answers.
    pub fn connections(&self) -> usize {
        connections(&self.session)
    }
}

//! Where messages go.

use super::names::Others;
use super::outlet::Outlet;
use super::zenoh::SessionError;
use crate::base::clock::MonoNs;

/// Takes the publisher's messages: a camera's place on Zenoh ([`Outlet`]), or what a test puts there. Nothing here
/// waits for a peer.
pub trait Transport {
    /// Sends a pose message, and keeps it for `/last`.
    ///
    /// # Errors
    ///
    /// The message does not leave.
    fn put_pose(&self, bytes: &[u8]) -> Result<(), SessionError>;

    /// Sends an event.
    ///
    /// # Errors
    ///
    /// The message does not leave.
    fn put_event(&self, bytes: Vec<u8>) -> Result<(), SessionError>;

    /// Sends a health message.
    ///
    /// # Errors
    ///
    /// The message does not leave.
    fn put_health(&self, bytes: Vec<u8>) -> Result<(), SessionError>;

    /// Sends an adaptation message.
    ///
    /// # Errors
    ///
    /// The message does not leave.
    fn put_adaptation(&self, bytes: Vec<u8>) -> Result<(), SessionError>;

    /// Sends a repetition of an exercise.
    ///
    /// # Errors
    ///
    /// The message does not leave.
    fn put_repetition(&self, bytes: Vec<u8>) -> Result<(), SessionError>;

    /// Looks after the session, about once a second.
    fn poll(&mut self, now: MonoNs);

    /// Sessions connected with.
    fn peers(&self) -> usize;

    /// Sessions of other daemons under our name.
    fn others(&self) -> &Others;

    /// Answers `/calibration` with this from now on.
    fn set_calibration(&self, toml: &str);

    /// Ends the session in order, so that what was put still leaves.
    fn close(self);
}

impl Transport for Outlet {
    fn put_pose(&self, bytes: &[u8]) -> Result<(), SessionError> {
        Self::put_pose(self, bytes)
    }
    fn put_event(&self, bytes: Vec<u8>) -> Result<(), SessionError> {
        Self::put_event(self, bytes)
    }
    fn put_health(&self, bytes: Vec<u8>) -> Result<(), SessionError> {
        Self::put_health(self, bytes)
    }
    fn put_adaptation(&self, bytes: Vec<u8>) -> Result<(), SessionError> {
        Self::put_adaptation(self, bytes)
    }
    fn put_repetition(&self, bytes: Vec<u8>) -> Result<(), SessionError> {
        Self::put_repetition(self, bytes)
    }
    fn poll(&mut self, now: MonoNs) {
        Self::poll(self, now);
    }
    fn peers(&self) -> usize {
        Self::peers(self)
    }
    fn others(&self) -> &Others {
        Self::others(self)
    }
    fn set_calibration(&self, toml: &str) {
        Self::set_calibration(self, toml);
    }
    fn close(self) {
        Self::close(self);
    }
}

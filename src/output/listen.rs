//! How outlets that are servers listen.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;

/// Connections that may wait to be accepted: a page needs four at once.
const BACKLOG: u32 = 32;

/// Bytes the system keeps for a reader who takes nothing, after its own doubling: a few poses, so that a slow reader
/// soon finds newer ones. Without this it would keep megabytes of old poses.
const SEND_BUFFER_BYTES: u32 = 16 * 1024;

/// Listens on an address. What is accepted has small buffers.
///
/// # Errors
///
/// The address is of another machine, or taken.
pub(super) fn bind(runtime: &Runtime, listen: SocketAddr) -> io::Result<TcpListener> {
    let _inside = runtime.enter();
    let socket = match listen {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A daemon that is started again finds its port free.
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)
}

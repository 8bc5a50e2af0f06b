"""A network camera on the loopback: RTSP (RFC 2326) with a password, one H.264 stream (RFC 6184) in the same TCP
connection. It can be off, fall silent while connections stay, and hang up. Standard library only.

The Rust tests have their own, which encodes with ffmpeg: in an emulated machine that would take the processor.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import re
import socket
import struct
import threading
import time
from pathlib import Path

USER, PASSWORD = "kim", "h4mster"
RATE_HZ = 5
CLOCK_HZ = 90_000
# Its parameter sets come before each whole picture.
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
    "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track0\r\n"
)
ACCESS_UNIT_DELIMITER = 9


def pictures(film: bytes) -> list[list[bytes]]:
    """The NAL units of each picture of an H.264 byte stream in which each picture begins with a delimiter."""
    units = [unit.rstrip(b"\0") for unit in re.split(b"\0\0\1", film)[1:]]
    found: list[list[bytes]] = []
    for unit in units:
        if unit[0] & 31 == ACCESS_UNIT_DELIMITER:
            found.append([])
        elif found:
            found[-1].append(unit)
    return found


class NetworkCamera:
    def __init__(self, film: Path, port: int) -> None:
        self.pictures = pictures(film.read_bytes())
        self.port = port
        self.listener: socket.socket | None = None
        self.clients: set[socket.socket] = set()
        self.speaks = threading.Event()
        self.speaks.set()

    def on(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port), reuse_port=True)
        threading.Thread(target=self._serve, args=[self.listener], daemon=True).start()

    def off(self) -> None:
        """Hangs up, and takes no more calls."""
        assert self.listener is not None
        # Closing alone does not wake the thread that accepts.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for client in list(self.clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._client, args=[client], daemon=True).start()

    def _client(self, client: socket.socket) -> None:
        self.clients.add(client)
        # The other side may hang up at any time, and so may this one.
        with contextlib.suppress(OSError), client:
            self._talk(client)
        self.clients.discard(client)

    def _talk(self, client: socket.socket) -> None:
        words = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        reader = client.makefile("rb")
        while True:
            request = list(itertools.takewhile(bool, (line.decode().strip() for line in reader)))
            if not request:
                return
            self.speaks.wait()
            method = request[0].split()[0]
            status, more = "200 OK", "Session: 7\r\n\r\n"
            if method == "OPTIONS":
                more = "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n"
            elif f"Authorization: Basic {words}" not in request:
                status, more = "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"\r\n\r\n'
            elif method == "DESCRIBE":
                more = f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n\r\n{SDP}"
            elif method == "SETUP":
                more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n" + more
            number = next((line for line in request if line.startswith("CSeq:")), "CSeq: 0")
            client.sendall(f"RTSP/1.0 {status}\r\n{number}\r\n{more}".encode())
            if method == "PLAY":
                self._play(client)
            if method in ("PLAY", "TEARDOWN"):
                return

    def _play(self, client: socket.socket) -> None:
        packets = itertools.count()
        for number, units in enumerate(itertools.cycle(self.pictures)):
            self.speaks.wait()
            for unit in units:
                # One packet a unit: in a TCP connection it may be as long as 64 kB.
                last = unit is units[-1]
                stamp = number * CLOCK_HZ // RATE_HZ & 0xFFFFFFFF
                header = struct.pack(">BBHII", 0x80, 96 | last << 7, next(packets) & 0xFFFF, stamp, 1)
                client.sendall(struct.pack(">cBH", b"$", 0, len(header) + len(unit)) + header + unit)
            time.sleep(1 / RATE_HZ)

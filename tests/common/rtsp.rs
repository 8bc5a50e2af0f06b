//! A network camera on the loopback: RTSP with a password, one H.264 stream in
//! the same TCP connection or over UDP, made by ffmpeg at the pace of a camera.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// What the camera shows, once for each who asks; then it hangs up.
pub struct Film {
    pub width_px: u32,
    pub height_px: u32,
    pub rate_hz: u32,
    /// RGB, frame after frame.
    pub rgb: Vec<u8>,
}

/// What a camera does that others do not.
#[derive(Clone, Copy, Default)]
pub struct Manner {
    /// Refuses to send over TCP.
    pub udp_only: bool,
    /// Stays connected when its film is over, and sends nothing more.
    pub freezes: bool,
}

/// `kim:secret`, as the header carries it.
const KIM: &str = "Authorization: Basic a2ltOnNlY3JldA==";

/// The stream as `DESCRIBE` tells it. Its parameter sets come before each whole picture.
const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track0\r\n";

/// Serves until the test's process ends; gives host and port.
pub fn serve(film: Film) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    serve_on(listener, film, Manner::default());
    host
}

/// Serves on a port of your choice; says each time when the film has been sent.
pub fn serve_on(listener: TcpListener, film: Film, manner: Manner) -> Receiver<()> {
    let film = Arc::new(film);
    let (sent, tell) = channel();
    std::thread::Builder::new()
        .name("rtsp".into())
        .spawn(move || {
            for client in listener.incoming() {
                let (film, sent) = (Arc::clone(&film), sent.clone());
                // A client may hang up at any time; the next one is served all the same.
                let talks = std::thread::Builder::new()
                    .spawn(move || talk(&client.unwrap(), &film, manner, &sent));
                talks.unwrap();
            }
        })
        .unwrap();
    tell
}

/// Where packets go.
enum Transport {
    /// Into the connection.
    Interleaved,
    /// From this socket to these ports, those of pictures and of reports.
    Udp(UdpSocket, [SocketAddr; 2]),
}

impl Transport {
    /// The transport that a `Transport:` header asks for, and the answer; `None` where it is refused.
    fn of(
        transport: &str,
        client: &TcpStream,
        manner: Manner,
    ) -> std::io::Result<Option<(Self, String)>> {
        if transport.contains("TCP") {
            let answer = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n".to_owned();
            return Ok((!manner.udp_only).then_some((Self::Interleaved, answer)));
        }
        let ports = transport.split("client_port=").nth(1).unwrap_or_default();
        let mut ports = ports.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let (Some(Ok(first)), Some(Ok(second))) = (ports.next(), ports.next()) else {
            return Ok(None);
        };
        let ip = client.peer_addr()?.ip();
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let own: u16 = socket.local_addr()?.port();
        let answer = format!(
            "Transport: RTP/AVP;unicast;client_port={first}-{second};server_port={own}-{}\r\n",
            own + 1
        );
        let to = [(ip, first).into(), (ip, second).into()];
        Ok(Some((Self::Udp(socket, to), answer)))
    }

    fn send(&self, mut client: &TcpStream, packet: &[u8]) -> std::io::Result<()> {
        // Sender reports come to the same port; their types tell them.
        let is_report = (200..=204).contains(&packet[1]);
        match self {
            Self::Interleaved => {
                let [high, low] = u16::try_from(packet.len()).unwrap().to_be_bytes();
                client.write_all(&[b'$', u8::from(is_report), high, low])?;
                client.write_all(packet)
            }
            Self::Udp(socket, to) => socket
                .send_to(packet, to[usize::from(is_report)])
                .map(|_| ()),
        }
    }
}

/// Answers requests up to `PLAY`, then plays.
fn talk(
    client: &TcpStream,
    film: &Arc<Film>,
    manner: Manner,
    sent: &Sender<()>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(client);
    let mut transport = Transport::Interleaved;
    loop {
        let mut request = Vec::new();
        for line in reader.by_ref().lines() {
            match line? {
                line if line.is_empty() => break,
                line => request.push(line),
            }
        }
        let Some((method, _)) = request.first().and_then(|line| line.split_once(' ')) else {
            return Ok(());
        };
        let number = request.iter().find(|line| line.starts_with("CSeq:"));
        let (status, more) = match method {
            "OPTIONS" => (
                "200 OK",
                "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n".into(),
            ),
            _ if !request.iter().any(|line| line == KIM) => {
                let ask = "WWW-Authenticate: Basic realm=\"camera\"\r\n\r\n";
                ("401 Unauthorized", ask.into())
            }
            "DESCRIBE" => {
                let length = SDP.len();
                let head = format!("Content-Type: application/sdp\r\nContent-Length: {length}\r\n");
                ("200 OK", head + "\r\n" + SDP)
            }
            "SETUP" => {
                let asked = request.iter().find(|line| line.starts_with("Transport:"));
                match Transport::of(asked.map_or("", String::as_str), client, manner)? {
                    Some((taken, answer)) => {
                        transport = taken;
                        ("200 OK", answer + "Session: 7\r\n\r\n")
                    }
                    None => ("461 Unsupported Transport", "\r\n".to_owned()),
                }
            }
            _ => ("200 OK", "Session: 7\r\n\r\n".to_owned()),
        };
        let number = number.map_or("CSeq: 0", String::as_str);
        write!(&*client, "RTSP/1.0 {status}\r\n{number}\r\n{more}")?;
        match method {
            "PLAY" => {
                play(client, film, &transport)?;
                let _ = sent.send(());
                if manner.freezes {
                    // Until the client hangs up.
                    std::io::copy(&mut reader, &mut std::io::sink())?;
                }
                return Ok(());
            }
            "TEARDOWN" => return Ok(()),
            _ => {}
        }
    }
}

/// An encoder that ends with its viewer.
struct Encoder(Child);

impl Drop for Encoder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Carries the encoder's packets over.
fn play(client: &TcpStream, film: &Arc<Film>, transport: &Transport) -> std::io::Result<()> {
    let packets = UdpSocket::bind("127.0.0.1:0")?;
    packets.set_read_timeout(Some(Duration::from_millis(200)))?;
    let port = packets.local_addr()?.port();
    let size = format!("{}x{}", film.width_px, film.height_px);
    let child = Command::new("ffmpeg")
        .args(["-v", "error", "-re", "-f", "rawvideo", "-pix_fmt", "rgb24"])
        .args(["-s", &size, "-r", &film.rate_hz.to_string(), "-i", "pipe:0"])
        .args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-tune",
            "zerolatency",
        ])
        .args(["-pix_fmt", "yuv420p", "-crf", "18", "-g", "10", "-f", "rtp"])
        .arg(format!(
            "rtp://127.0.0.1:{port}?rtcpport={port}&pkt_size=1200"
        ))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let mut encoder = Encoder(child);
    let mut input = encoder.0.stdin.take().unwrap();
    let film = Arc::clone(film);
    let feeder = std::thread::Builder::new().name("film".into());
    // Ends with the film or the encoder.
    feeder.spawn(move || input.write_all(&film.rgb))?;
    let mut packet = [0; 2048];
    loop {
        match packets.recv(&mut packet) {
            Ok(length) => transport.send(client, &packet[..length])?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if encoder.0.try_wait()?.is_some() {
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
    }
}

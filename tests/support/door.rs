//! A client that sends what it is told, byte for byte, and shows all of what comes back.

use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::response::Response;
use super::wire::{Head, Wire, latin1, within};

/// One listener of Pylon, as a client finds it.
#[derive(Clone)]
pub(crate) struct Door {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<TlsConnector>,
    pub(super) from: Option<IpAddr>,
}

impl Door {
    pub(super) fn new(address: SocketAddr, tls: Option<TlsConnector>) -> Door {
        Door { address, tls, from: None }
    }

    /// `127.0.0.1:port`: what the Host header says unless a test says otherwise.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:port`, or `https` where it is so.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// The same listener for a client of another address.
    pub(crate) fn from(&self, client: &str) -> Door {
        Door { from: Some(client.parse().unwrap()), ..self.clone() }
    }

    pub(crate) async fn connect(&self) -> Connection {
        within("a connection", self.try_connect()).await.unwrap()
    }

    /// `Err` when nobody listens, or TLS does not come about.
    pub(super) async fn try_connect(&self) -> std::io::Result<Connection> {
        let stream = match self.from {
            None => TcpStream::connect(self.address).await?,
            Some(client) => {
                let socket = TcpSocket::new_v4()?;
                socket.bind(SocketAddr::new(client, 0))?;
                socket.connect(self.address).await?
            }
        };
        stream.set_nodelay(true)?;
        let wire = match &self.tls {
            None => Wire::new(stream),
            Some(tls) => Wire::new(tls.connect(ServerName::from(self.address.ip()), stream).await?),
        };
        Ok(Connection { door: self.clone(), wire })
    }

    /// A GET on a connection of its own.
    pub(crate) async fn get(&self, target: &str) -> Response {
        self.request("GET", target).send().await
    }

    pub(crate) fn request(&self, method: &str, target: &str) -> Request {
        Request {
            door: self.clone(),
            line: format!("{method} {target} HTTP/1.1"),
            method: method.to_owned(),
            host: Some(self.host()),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Sends these bytes on a connection of its own, and reads one response as if to a GET.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> Response {
        let mut connection = self.connect().await;
        connection.send(bytes).await;
        connection.response("GET").await
    }
}

/// A request in the making.
pub(crate) struct Request {
    door: Door,
    line: String,
    method: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Request {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn host(mut self, host: &str) -> Request {
        self.host = Some(host.to_owned());
        self
    }

    /// Leaves the Host header out.
    pub(crate) fn without_host(mut self) -> Request {
        self.host = None;
        self
    }

    /// Speaks HTTP/1.0.
    pub(crate) fn http10(mut self) -> Request {
        self.line = self.line.replace(" HTTP/1.1", " HTTP/1.0");
        self
    }

    /// Sends a body with its length.
    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Request {
        self.body = body.as_ref().to_vec();
        let length = self.body.len().to_string();
        self.header("Content-Length", length)
    }

    /// Sends a body in chunks of this size.
    pub(crate) fn chunked(mut self, body: impl AsRef<[u8]>, size: usize) -> Request {
        for chunk in body.as_ref().chunks(size) {
            self.body.extend(format!("{:x}\r\n", chunk.len()).bytes());
            self.body.extend(chunk);
            self.body.extend(b"\r\n");
        }
        self.body.extend(b"0\r\n\r\n");
        self.header("Transfer-Encoding", "chunked")
    }

    /// The bytes that go out.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{}\r\n", self.line);
        let host = self.host.iter().map(|host| ("Host".to_owned(), host.clone()));
        for (name, value) in host.chain(self.headers.iter().cloned()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }

    /// Sends it on a connection of its own and reads the response.
    pub(crate) async fn send(self) -> Response {
        let mut connection = self.door.connect().await;
        connection.send(self.bytes()).await;
        connection.response(&self.method).await
    }

    /// Sends it and hands out the connection, for a test that reads the response step by step.
    pub(crate) async fn open(self) -> Connection {
        let mut connection = self.door.connect().await;
        connection.send(self.bytes()).await;
        connection
    }
}

/// One connection to Pylon.
pub(crate) struct Connection {
    door: Door,
    pub(super) wire: Wire,
}

impl Connection {
    /// Sends bytes; that Pylon no longer takes them shows in its response.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within("Pylon to take what is sent", self.wire.send(bytes)).await;
    }

    /// The next head, informational ones included.
    pub(crate) async fn head(&mut self) -> Head {
        within("a response head", self.wire.head()).await.unwrap()
    }

    /// Exactly this many bytes.
    pub(crate) async fn exactly(&mut self, count: usize) -> Vec<u8> {
        within("bytes from Pylon", self.wire.exactly(count)).await.unwrap()
    }

    /// Bytes as they come, until `mark` has come.
    pub(crate) async fn until(&mut self, mark: &str) -> String {
        let mut text = String::new();
        within(mark, async {
            while !text.contains(mark) {
                text.push_str(&latin1(&self.wire.some().await.unwrap()));
            }
        })
        .await;
        text
    }

    /// One whole response to a request of this method.
    pub(crate) async fn response(&mut self, method: &str) -> Response {
        let reading = async {
            let mut informational = Vec::new();
            loop {
                let head = self.wire.head().await.unwrap_or_else(|gone| panic!("no response, but {gone:?}"));
                let status: u16 = head.word(1).parse().unwrap_or_else(|_| panic!("no status in {:?}", head.start));
                if status < 200 && status != 101 {
                    informational.push(status);
                    continue;
                }
                let mut body = Vec::new();
                let framing = head.response_framing(method, status);
                let end = self.wire.body(framing, |part| body.extend_from_slice(part)).await;
                let version = head.word(0).to_owned();
                return Response { version, status, headers: head.headers, informational, body, end };
            }
        };
        within("a response", reading).await
    }

    /// One turn of a client that keeps its connection for as long as Pylon does, and comes back when Pylon says
    /// that it closes it.
    pub(crate) async fn ask(&mut self, request: Request) -> Response {
        self.send(request.bytes()).await;
        let response = self.response(&request.method).await;
        if response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            assert_eq!(self.closed().await, None, "{response:?}");
            *self = self.door.connect().await;
        }
        response
    }

    /// Waits for Pylon to end the connection; `Some` holds what came instead.
    pub(crate) async fn closed(&mut self) -> Option<Vec<u8>> {
        within("Pylon to close", self.wire.some()).await.ok()
    }

    /// Ends the client's sending direction.
    pub(crate) async fn finish_sending(&mut self) {
        self.wire.finish_sending().await;
    }
}

//! An upstream that remembers exactly what it received and answers as scripted.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};

use super::endpoint::{EMPTY_HASH, Endpoint, Seen};
use super::reply::{Reply, reply};
use super::wire::{End, Gone, Head, Wire};

type Script = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// An upstream that is being described; [`Upstream::start`] brings it up.
pub(crate) struct Upstream {
    name: &'static str,
    address: IpAddr,
    port: u16,
    scripts: Vec<(String, Script)>,
    otherwise: Script,
    says_continue: bool,
    reads_body: bool,
}

impl Upstream {
    /// An upstream that answers 200 with its name, in a body that no route rewrites.
    pub(crate) fn named(name: &'static str) -> Upstream {
        let otherwise = reply(200).body("application/octet-stream", name);
        Upstream {
            name,
            address: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            scripts: Vec::new(),
            otherwise: Arc::new(move |_| otherwise.clone()),
            says_continue: true,
            reads_body: true,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Answers requests for exactly this path, with any query.
    pub(crate) fn at(self, path: &str, reply: Reply) -> Upstream {
        self.at_with(path, move |_| reply.clone())
    }

    /// Answers requests for exactly this path from what they say.
    pub(crate) fn at_with(mut self, path: &str, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Upstream {
        self.scripts.push((path.to_owned(), Arc::new(script)));
        self
    }

    /// Answers everything else.
    pub(crate) fn otherwise(mut self, reply: Reply) -> Upstream {
        self.otherwise = Arc::new(move |_| reply.clone());
        self
    }

    /// Answers everything else from what it says.
    pub(crate) fn otherwise_with(mut self, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Upstream {
        self.otherwise = Arc::new(script);
        self
    }

    /// Listens on this address instead of 127.0.0.1.
    pub(crate) fn on(mut self, address: &str) -> Upstream {
        self.address = address.parse().unwrap();
        self
    }

    /// Listens on this port instead of one that is free.
    pub(crate) fn on_port(mut self, port: u16) -> Upstream {
        self.port = port;
        self
    }

    /// Does not know `Expect: 100-continue`, and waits for the body.
    pub(crate) fn never_says_continue(mut self) -> Upstream {
        self.says_continue = false;
        self
    }

    /// Answers before it has read the body, and never reads it.
    pub(crate) fn ignores_body(mut self) -> Upstream {
        self.reads_body = false;
        self
    }

    /// Brings it up, for as long as the test runs.
    pub(crate) async fn start(self) -> Endpoint {
        self.try_start().await.unwrap()
    }

    /// Brings it up where the machine may lack the address or the right to it.
    pub(crate) async fn try_start(self) -> std::io::Result<Endpoint> {
        let listener = TcpListener::bind((self.address, self.port)).await?;
        let endpoint = Endpoint::new(self.name, listener.local_addr()?);
        let seen = endpoint.memory();
        let upstream = Arc::new(self);
        tokio::spawn(async move {
            for connection in 1.. {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                tokio::spawn(serve(stream, Arc::clone(&upstream), Arc::clone(&seen), connection));
            }
        });
        Ok(endpoint)
    }

    fn script_for(&self, seen: &Seen) -> Reply {
        let path = seen.target.split('?').next().unwrap_or_default();
        let found = self.scripts.iter().find(|(at, _)| at == path);
        found.map_or(&self.otherwise, |(_, script)| script)(seen)
    }
}

async fn serve(stream: TcpStream, upstream: Arc<Upstream>, seen: Arc<Mutex<Vec<Seen>>>, connection: usize) {
    let _ = stream.set_nodelay(true);
    let mut wire = Wire::new(stream);
    while let Ok(head) = wire.head().await {
        let index = remember(&seen, &head, connection);
        if answer(&mut wire, &upstream, &seen, index, &head).await.is_err() {
            return;
        }
    }
}

async fn answer(
    wire: &mut Wire,
    upstream: &Upstream,
    seen: &Mutex<Vec<Seen>>,
    index: usize,
    head: &Head,
) -> Result<(), Gone> {
    if upstream.reads_body {
        if upstream.says_continue && head.headers.get("expect").is_some() {
            wire.send("HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let end = wire
            .body(head.request_framing(), |part| {
                seen.lock().unwrap()[index].record(part);
            })
            .await;
        seen.lock().unwrap()[index].end = Some(end);
        if end == End::Broken {
            return Err(Gone::Reset);
        }
    }
    let request = seen.lock().unwrap()[index].clone();
    upstream.script_for(&request).play(wire, &request.method).await?;
    if upstream.reads_body { Ok(()) } else { Err(Gone::Closed) }
}

fn remember(seen: &Mutex<Vec<Seen>>, head: &Head, connection: usize) -> usize {
    let (method, rest) = head.start.split_once(' ').unwrap_or((&head.start, ""));
    let (target, version) = rest.rsplit_once(' ').unwrap_or((rest, ""));
    let mut seen = seen.lock().unwrap();
    seen.push(Seen {
        method: method.to_owned(),
        target: target.to_owned(),
        version: version.to_owned(),
        headers: head.headers.clone(),
        body: Vec::new(),
        body_length: 0,
        body_hash: EMPTY_HASH,
        end: None,
        connection,
    });
    seen.len() - 1
}

//! Somebody who watches the gate, as Prometheus does: one request, one answer, plain HTTP.

use std::{collections::BTreeSet, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// What a watcher was told.
#[derive(Debug, Clone)]
pub struct Told {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Asks for a path.
pub async fn ask(watched: SocketAddr, path: &str) -> Told {
    ask_as(watched, "127.0.0.1", &format!("GET {path} HTTP/1.1\r\nHost: x\r\n")).await.unwrap()
}

/// Sends a head, to which its end is added, from this address; `None` if the connection is closed without an
/// answer.
pub async fn ask_as(watched: SocketAddr, source: &str, head: &str) -> Option<Told> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
    let mut stream = socket.connect(watched).await.unwrap();
    // It may be closed already.
    let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await;
    answer(&mut stream).await
}

/// What comes until the end.
pub async fn answer(stream: &mut TcpStream) -> Option<Told> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().unwrap();
    Some(Told { status, head: head.to_owned(), body: body.to_owned() })
}

impl Told {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The value of a series, labels included: `pvegate_refused_total{reason="address"}`; 0 for one that is not
    /// there.
    pub fn value(&self, series: &str) -> f64 {
        let line = self.body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// All series, without their values.
    pub fn series(&self) -> BTreeSet<&str> {
        let lines = self.body.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap().0).collect()
    }

    /// The names of all series, without labels.
    pub fn names(&self) -> BTreeSet<&str> {
        self.series().into_iter().map(|series| series.split('{').next().unwrap()).collect()
    }
}

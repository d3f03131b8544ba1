//! A program that speaks HTTP/1.1 to the gate: cookies are kept, redirects are not followed.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{client::conn::http1, ext::ReasonPhrase};
use hyper_util::rt::TokioIo;
use pvegate::{
    time::ManualClock,
    tls::{self, Fingerprint, Trust},
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use pvegate::time::{Clock as _, SystemClock, Timestamp};

use super::{START, TestGate};

/// A client. A clone shares nothing with it but the cookies it had.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    host: String,
    source: Option<IpAddr>,
    /// Written before TLS, as a proxy does.
    introduction: Vec<u8>,
    authority: String,
    tls: TlsConnector,
    cookies: Vec<(String, String)>,
    fields: HeaderMap,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub reason: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn location(&self) -> Option<&str> {
        self.field("location")
    }
}

impl Client {
    pub fn new(gate: &TestGate) -> Self {
        Self {
            address: gate.address,
            host: gate.authority().split(':').next().unwrap().to_owned(),
            source: None,
            introduction: Vec::new(),
            authority: gate.authority(),
            tls: TlsConnector::from(Arc::new(trusting_at(&gate.ca_pem, gate.began))),
            cookies: Vec::new(),
            fields: HeaderMap::new(),
        }
    }

    /// To a gate in another process, which goes by the machine's own time. `url` is its origin.
    pub fn of_process(address: SocketAddr, url: &str, ca_pem: &str) -> Self {
        let authority = url.strip_prefix("https://").unwrap().to_owned();
        let host = authority.split(':').next().unwrap().to_owned();
        let tls = TlsConnector::from(Arc::new(trusting_at(ca_pem, SystemClock.now())));
        Self {
            address,
            host,
            authority,
            tls,
            source: None,
            introduction: Vec::new(),
            cookies: Vec::new(),
            fields: HeaderMap::new(),
        }
    }

    /// Connects from this address: any of 127.0.0.0/8, each of which is a source of its own to the gate.
    pub fn from(mut self, source: &str) -> Self {
        self.source = Some(source.parse().unwrap());
        self
    }

    /// Begins every connection with these bytes, before TLS.
    pub fn introduced_by(mut self, introduction: impl Into<Vec<u8>>) -> Self {
        self.introduction = introduction.into();
        self
    }

    /// Connects to another address, where a proxy listens.
    pub fn through(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Talks to another gate on the same store, with the cookies it has.
    pub fn at(mut self, gate: &TestGate) -> Self {
        let there = Self::new(gate);
        (self.address, self.authority, self.tls) = (there.address, there.authority, there.tls);
        self
    }

    /// Every request from here on carries this field.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        self
    }

    /// Without cookies.
    pub fn without_cookies(mut self) -> Self {
        self.cookies.clear();
        self
    }

    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// All of them, as one Cookie field has them.
    pub fn cookies(&self) -> String {
        let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    /// A field that every request carries.
    pub fn carried(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn set_cookie(&mut self, name: &str, value: &str) {
        self.cookies.retain(|(n, _)| n != name);
        self.cookies.push((name.to_owned(), value.to_owned()));
    }

    /// `https://gate.test:PORT`
    pub fn origin(&self) -> String {
        format!("https://{}", self.authority)
    }

    pub async fn get(&mut self, target: &str) -> Reply {
        self.send(Method::GET, target, Bytes::new()).await
    }

    /// As a browser asks for a page.
    pub async fn navigate(&mut self, target: &str) -> Reply {
        let mut browser = self.clone().with("sec-fetch-mode", "navigate").with("sec-fetch-dest", "document");
        browser.fields.insert(header::ACCEPT, HeaderValue::from_static("text/html,*/*;q=0.8"));
        let reply = browser.get(target).await;
        self.cookies = browser.cookies;
        reply
    }

    /// As a browser sends a form of our own page.
    pub async fn post_form(&mut self, target: &str, fields: &[(&str, &str)]) -> Reply {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut browser = self.clone().with("origin", &self.origin()).with("sec-fetch-site", "same-origin");
        browser.fields.insert(header::ACCEPT, HeaderValue::from_static("text/html,*/*;q=0.8"));
        browser
            .fields
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let reply = browser.send(Method::POST, target, body.into()).await;
        self.cookies = browser.cookies;
        reply
    }

    /// As the script of our own page sends JSON.
    pub async fn post_json(&mut self, target: &str, value: &serde_json::Value) -> Reply {
        self.post_as_script(target, "application/json", value.to_string()).await
    }

    /// As the script of our own page sends anything.
    pub async fn post_as_script(
        &mut self,
        target: &str,
        media_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Reply {
        let mut browser = self.clone().with("origin", &self.origin()).with("sec-fetch-site", "same-origin");
        browser.fields.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        browser.fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        let reply = browser.send(Method::POST, target, body.into()).await;
        self.cookies = browser.cookies;
        reply
    }

    /// Anything as the script of a page sends it, on a connection of its own.
    pub async fn send_as_page(&mut self, method: Method, target: &str, body: Bytes) -> Reply {
        let mut connection = self.connect().await;
        self.send_as_page_on(&mut connection, method, target, body).await
    }

    pub async fn send_as_page_on(
        &mut self,
        connection: &mut http1::SendRequest<Full<Bytes>>,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Reply {
        let mut page = self.clone().with("origin", &self.origin()).with("sec-fetch-site", "same-origin");
        page.send_on(connection, method, target, body).await
    }

    /// One request on a connection of its own.
    pub async fn send(&mut self, method: Method, target: &str, body: Bytes) -> Reply {
        let mut connection = self.connect().await;
        self.send_on(&mut connection, method, target, body).await
    }

    /// A connection for several requests.
    pub async fn connect(&self) -> http1::SendRequest<Full<Bytes>> {
        let (sender, connection) = http1::handshake(TokioIo::new(self.tls_stream().await)).await.unwrap();
        tokio::spawn(async move {
            let _ = connection.await;
        });
        sender
    }

    /// The bare TLS stream, for those who write bytes themselves.
    pub async fn tls_stream(&self) -> TlsStream<TcpStream> {
        self.try_tls_stream().await.unwrap()
    }

    /// The bare TLS stream, or how it was refused.
    pub async fn try_tls_stream(&self) -> io::Result<TlsStream<TcpStream>> {
        let mut tcp = self.tcp_stream().await;
        tcp.write_all(&self.introduction).await?;
        self.tls.connect(ServerName::try_from(self.host.clone()).unwrap(), tcp).await
    }

    /// The connection alone.
    pub async fn tcp_stream(&self) -> TcpStream {
        match self.source {
            None => TcpStream::connect(self.address).await.unwrap(),
            Some(source) => {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind((source, 0).into()).unwrap();
                socket.connect(self.address).await.unwrap()
            }
        }
    }

    /// With a handshake that asks for another name and takes the gate's certificate all the same.
    pub async fn tls_stream_for(&self, name: &str) -> TlsStream<TcpStream> {
        let usual = self.tls_stream().await;
        let leaf = usual.get_ref().1.peer_certificates().unwrap().first().unwrap();
        let trust = Trust::Fingerprint(Fingerprint::of(leaf));
        let config = tls::upstream_config(&trust, Arc::new(ManualClock::at(START))).unwrap();
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(config).connect(name, tcp).await.unwrap()
    }

    pub async fn send_on(
        &mut self,
        connection: &mut http1::SendRequest<Full<Bytes>>,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Reply {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().unwrap();
        *request.headers_mut() = self.fields();
        connection.ready().await.unwrap();
        let response = connection.send_request(request).await.unwrap();
        let reason = response.extensions().get::<ReasonPhrase>();
        let reason = reason.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
        let (head, body) = response.into_parts();
        for cookie in head.headers.get_all(header::SET_COOKIE) {
            self.keep(cookie.to_str().unwrap());
        }
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: head.status, reason, headers: head.headers, body }
    }

    /// Opens a console, as noVNC and xterm.js do. `Err` is the answer that was no 101.
    pub async fn console(&self, target: &str) -> Result<Console, Reply> {
        let mut request =
            http::Request::builder().method("GET").uri(format!("wss://{}{target}", self.authority));
        for (name, value) in &self.fields() {
            request = request.header(name, value);
        }
        let request = request
            .header("origin", self.origin())
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", tokio_tungstenite::tungstenite::handshake::client::generate_key())
            .header("sec-websocket-protocol", "binary")
            .body(())
            .unwrap();
        match tokio_tungstenite::client_async(request, self.tls_stream().await).await {
            Ok((stream, _)) => Ok(Console(stream)),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
                let (head, body) = response.into_parts();
                Err(Reply {
                    status: head.status,
                    reason: None,
                    headers: head.headers,
                    body: body.unwrap_or_default().into(),
                })
            }
            Err(error) => panic!("no console: {error}"),
        }
    }

    /// A request's head for those who write bytes themselves: with the fields that this client sends,
    /// the origin, and `more` lines, each with its CR LF.
    pub fn head(&self, method: &str, target: &str, more: &str) -> String {
        let mut head = format!("{method} {target} HTTP/1.1\r\norigin: {}\r\n", self.origin());
        for (name, value) in &self.fields() {
            head += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
        head + more + "\r\n"
    }

    fn fields(&self) -> HeaderMap {
        let mut fields = self.fields.clone();
        if !fields.contains_key(header::HOST) {
            fields.insert(header::HOST, self.authority.parse().unwrap());
        }
        if !self.cookies.is_empty() {
            fields.insert(header::COOKIE, self.cookies().parse().unwrap());
        }
        fields
    }

    fn keep(&mut self, set_cookie: &str) {
        let (pair, attributes) = set_cookie.split_once(';').unwrap_or((set_cookie, ""));
        let (name, value) = pair.split_once('=').unwrap();
        if attributes.contains("Max-Age=0") {
            self.cookies.retain(|(n, _)| n != name);
        } else {
            self.set_cookie(name, value);
        }
    }
}

/// An open console.
pub struct Console(WebSocketStream<TlsStream<TcpStream>>);

impl Console {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// The next data; `None` when the console has ended.
    ///
    /// # Panics
    ///
    /// After twenty seconds without either.
    pub async fn receive(&mut self) -> Option<Vec<u8>> {
        let next = timeout(Duration::from_secs(20), self.next()).await;
        next.unwrap_or_else(|_| panic!("the console neither said anything nor ended"))
    }

    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Binary(bytes))) => return Some(bytes.to_vec()),
                Some(Ok(Message::Text(text))) => return Some(text.as_bytes().to_vec()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// Sends and waits for the echo.
    pub async fn echo(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.send(bytes).await;
        self.receive().await
    }
}

/// TLS that trusts one authority, at the time at which tests begin.
pub fn trusting(ca_pem: &str) -> ClientConfig {
    trusting_at(ca_pem, START)
}

fn trusting_at(ca_pem: &str, now: Timestamp) -> ClientConfig {
    #[derive(Debug)]
    struct At(Timestamp);
    impl rustls::time_provider::TimeProvider for At {
        fn current_time(&self) -> Option<UnixTime> {
            let secs = u64::try_from(self.0.secs()).unwrap();
            Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(secs)))
        }
    }
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_details(provider, Arc::new(At(now)))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

//! What is served where: the API below `/api2`, the pages beside it, and who may call what.
//!
//! The order of the checks is pveproxy's: method, transfer encoding, target, authentication, CSRF, and only
//! then type and length of a body.

use std::{
    net::IpAddr,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::{
    End, Settings, Shared,
    head::{Format, Head, Place, Target, place},
    multipart::{Form, Malformed, boundary},
    on_demand,
    reply::{Caching, Reply, parse_http_date},
    seen::{Checksum, SeenUpload},
    server::{Answer, MAX_CALL_BODY, Plan, Stream},
    ticket::{COOKIE, TOKEN, extract},
    websocket::{self, Backend},
};

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const STYLE: &str = include_str!("page.css");

/// Decides from the head of a request what to do; beside it the user for the access log.
pub(super) fn plan(shared: &Shared, head: &Head, peer: IpAddr) -> (Plan, Option<String>) {
    let refuse = |code, reason: &str| (Plan::Answer(Answer::reply(Reply::empty(code, reason))), None);
    let method = head.method.as_str();
    if !matches!(method, "GET" | "POST" | "PUT" | "DELETE") {
        return refuse(501, &format!("method '{method}' not available"));
    }
    if let Some(coding) = head.text("transfer-encoding") {
        let reason = match coding.to_ascii_lowercase().as_str() {
            "chunked" => "chunked transfer encoding not supported".to_owned(),
            _ => format!("Unknown transfer encoding '{coding}'"),
        };
        let reply = Reply { body: reason.clone().into_bytes(), ..Reply::empty(501, &reason) };
        return (Plan::Answer(Answer::reply(reply)), None);
    }
    let Some(target) = Target::parse(&head.target) else { return refuse(400, "bad request") };
    let length = head.content_length().unwrap_or(0);
    let unexpected = length > 0 && !matches!(method, "POST" | "PUT");
    match place(&target.path) {
        Place::NoSuchUri => refuse(501, "no such uri"),
        Place::Page if unexpected => refuse(501, &format!("Unexpected content for method '{method}'")),
        Place::Page => {
            let plan = on_demand::plan(head, &target)
                .unwrap_or_else(|| Plan::Discard(Answer::reply(page(shared, head, &target))));
            (plan, None)
        }
        Place::Api(format, path) => match authenticate(shared, head, &path) {
            Err(refusal) => {
                let mut reply = Reply::empty(refusal.code, &refusal.message);
                reply.delayed = true;
                (Plan::Answer(Answer::reply(reply)), None)
            }
            Ok(who) => {
                let user = who.logged();
                if unexpected {
                    return (refuse(501, &format!("Unexpected content for method '{method}'")).0, user);
                }
                let call = Call {
                    method: head.method.clone(),
                    path,
                    format,
                    who,
                    query: target.query,
                    peer,
                    is_json: false,
                };
                (plan_call(call, head, length), user)
            }
        },
    }
}

/// The rest of [`plan`], once somebody may call.
fn plan_call(mut call: Call, head: &Head, length: u64) -> Plan {
    let refuse = |code, reason: &str| Plan::Answer(Answer::reply(Reply::empty(code, reason)));
    if head.text("upgrade").is_some() && call.method == "GET" && call.path.ends_with("websocket") {
        return match websocket::accept(head) {
            Ok(accept) => {
                Plan::Call(Call { who: Who::Upgrading(Box::new(call.who.clone()), accept), ..call })
            }
            Err(error) => refuse(500, &error.to_string()),
        };
    }
    let content_type = head.text("content-type").unwrap_or_default();
    if is_upload(&call.method, &call.path) {
        return match boundary(&content_type) {
            Some(boundary) if length > 0 => Plan::Upload(call, boundary),
            Some(_) => refuse(501, "upload without content length header not supported"),
            None => refuse(506, &format!("upload 'Content-Type '{content_type}' not implemented")),
        };
    }
    if length > MAX_CALL_BODY {
        return refuse(501, "for data too large");
    }
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "" | "application/x-www-form-urlencoded" => {}
        "application/json" => call.is_json = true,
        _ if length == 0 => {}
        _ => return refuse(506, &format!("upload 'Content-Type '{content_type}' not implemented")),
    }
    Plan::Call(call)
}

/// The client's address for the access log.
///
/// The configured field counts if it holds one address, or one network, of which the first address is meant.
/// A mapped IPv4 address is written as pveproxy writes it, in hexadecimal.
pub(super) fn client_address(head: &Head, peer: IpAddr, settings: &Settings) -> String {
    let believed = |networks: &Option<Vec<IpNet>>| {
        networks.as_ref().is_none_or(|networks| networks.iter().any(|net| net.contains(&peer)))
    };
    settings
        .real_ip_field
        .as_ref()
        .filter(|_| believed(&settings.real_ip_allow_from))
        .and_then(|name| head.text(name))
        .and_then(|value| {
            let address = value.parse::<IpNet>().map(|net| net.network()).or_else(|_| value.parse()).ok()?;
            Some(match address {
                IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
                    let [.., high, low] = v6.segments();
                    format!("::ffff:{high:x}:{low:x}")
                }
                other => other.to_string(),
            })
        })
        .unwrap_or_else(|| peer.to_string())
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Who {
    /// A call that needs no authentication.
    Anybody,
    /// By ticket.
    User(String),
    /// By API token: `user@realm!id`.
    Token(String),
    /// Somebody whose WebSocket handshake, the bytes of its 101, is in order.
    Upgrading(Box<Who>, Vec<u8>),
}

impl Who {
    fn logged(&self) -> Option<String> {
        match self {
            Self::Anybody => None,
            Self::User(name) | Self::Token(name) => Some(name.clone()),
            Self::Upgrading(who, _) => who.logged(),
        }
    }
}

/// A refusal of a call.
#[derive(Debug, Clone)]
struct Refusal {
    code: u16,
    message: String,
    errors: Map<String, Value>,
}

impl Refusal {
    fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), errors: Map::new() }
    }

    fn missing(name: &str) -> Self {
        let mut refusal = Self::new(400, "Parameter verification failed.");
        refusal.errors.insert(name.to_owned(), json!("property is missing and it is not optional"));
        refusal
    }
}

fn is_open(method: &str, path: &str) -> bool {
    matches!(
        (method, path),
        ("GET", "/access/domains" | "/access/ticket")
            | (
                "POST",
                "/access/ticket" | "/access/vncticket" | "/access/openid/login" | "/access/openid/auth-url"
            )
    )
}

fn is_upload(method: &str, path: &str) -> bool {
    let segments: Vec<&str> = path.split('/').collect();
    method == "POST" && matches!(segments.as_slice(), ["", "nodes", _, "storage", _, "upload"])
}

/// Cookie first, then a ticket in Authorization, then an API token.
fn authenticate(shared: &Shared, head: &Head, path: &str) -> Result<Who, Refusal> {
    let (cookie, authorization) = (head.field("cookie"), head.field("authorization"));
    let value = |field: &Option<Vec<u8>>, name| {
        field.as_ref().and_then(|field| extract(field, name)).filter(|value| !value.is_empty())
    };
    let ticket = value(&cookie, COOKIE).or_else(|| value(&authorization, COOKIE));
    let token = if ticket.is_none() { value(&authorization, TOKEN) } else { None };
    let token_id = token.as_ref().and_then(|token| {
        let known = |(id, secret): &&(String, String)| token.split_once('=') == Some((id, secret));
        shared.settings.tokens.iter().find(known).map(|(id, _)| id.clone())
    });
    if is_open(&head.method, path) {
        return match token_id {
            Some(_) if path == "/access/ticket" => Err(Refusal::new(
                403,
                format!(
                    "Permission check failed (URI '{path}' not available with API token, need proper ticket."
                ),
            )),
            _ => Ok(Who::Anybody),
        };
    }
    let now = shared.now();
    match (ticket, token) {
        (Some(ticket), _) => {
            let Some(user) = shared.signer.ticket_user(&ticket, now) else {
                shared.seen.journal("pveproxy[1001]: authentication failure; invalid ticket".to_owned());
                return Err(Refusal::new(401, "Authentication failed!"));
            };
            let csrf = head.text("csrfpreventiontoken").unwrap_or_default();
            let is_exempt = head.method == "GET" || is_upload(&head.method, path);
            if !is_exempt && !shared.signer.is_csrf(&csrf, &user, now) {
                return Err(Refusal::new(401, "Permission denied - invalid csrf token"));
            }
            Ok(Who::User(user))
        }
        (None, Some(_)) => token_id.map(Who::Token).ok_or_else(|| {
            shared.seen.journal("pveproxy[1001]: authentication failure; invalid API token".to_owned());
            Refusal::new(401, "Authentication failed!")
        }),
        (None, None) => Err(Refusal::new(401, "No ticket")),
    }
}

/// A call whose head was accepted.
pub(super) struct Call {
    method: String,
    path: String,
    format: Format,
    who: Who,
    query: Vec<(String, String)>,
    peer: IpAddr,
    is_json: bool,
}

/// What a call is answered with when it is not data.
enum Outcome {
    Data(Value),
    Answer(Answer),
}

impl Call {
    /// Answers it, now that its body is there.
    pub(super) fn answer(self, shared: &Shared, body: &[u8]) -> Answer {
        let parameters = match self.parameters(body) {
            Ok(parameters) => parameters,
            Err(refusal) => return Answer::reply(self.render(Err(refusal))),
        };
        match self.carry_out(shared, &parameters) {
            Ok(Outcome::Answer(answer)) => answer,
            Ok(Outcome::Data(data)) => Answer::reply(self.render(Ok(data))),
            Err(refusal) => Answer::reply(self.render(Err(refusal))),
        }
    }

    /// Answers an upload that arrived whole.
    pub(super) fn uploaded(self, shared: &Shared, form: Result<Form, Malformed>) -> Answer {
        let file =
            form.and_then(|form| form.file.clone().map(|file| (form, file)).ok_or(Malformed::Truncated));
        let (form, file) = match file {
            Ok(parts) => parts,
            Err(malformed) => {
                shared.seen.note(|seen| seen.aborted_uploads += 1);
                return Answer::reply(Reply::empty(501, &malformed.to_string()));
            }
        };
        let checksum = match (form.fields.get("checksum"), form.fields.get("checksum-algorithm")) {
            (Some(wanted), Some(algorithm)) if algorithm == "sha256" => {
                let found = data_encoding::HEXLOWER.encode(&file.sha256);
                if found.eq_ignore_ascii_case(wanted) { Checksum::Matches } else { Checksum::Differs }
            }
            (Some(_), _) => Checksum::NotChecked,
            (None, _) => Checksum::None,
        };
        shared.seen.upload(SeenUpload {
            filename: file.name,
            content: form.fields.get("content").cloned().unwrap_or_default(),
            bytes: file.bytes,
            sha256: file.sha256,
            checksum,
        });
        let upid = self.upid(shared, "imgcopy");
        Answer::reply(Reply { closes: true, ..self.render(Ok(upid)) })
    }

    /// Parameters of body and query; those of the query win.
    fn parameters(&self, body: &[u8]) -> Result<Map<String, Value>, Refusal> {
        let mut parameters = Map::new();
        if self.is_json && !body.is_empty() {
            match serde_json::from_slice(body) {
                Ok(Value::Object(object)) => parameters = object,
                _ => return Err(Refusal::new(400, "malformed JSON")),
            }
        } else {
            let pairs = form_urlencoded::parse(body).into_owned();
            parameters.extend(pairs.map(|(name, value)| (name, Value::String(value))));
        }
        let query = self.query.iter().cloned();
        parameters.extend(query.map(|(name, value)| (name, Value::String(value))));
        Ok(parameters)
    }

    fn carry_out(&self, shared: &Shared, parameters: &Map<String, Value>) -> Result<Outcome, Refusal> {
        let segments: Vec<&str> = self.path.split('/').skip(1).collect();
        let text = |name: &str| parameters.get(name).and_then(Value::as_str);
        let data = match (self.method.as_str(), segments.as_slice()) {
            ("POST", ["access", "ticket"]) => return self.sign_in(shared, parameters),
            ("POST", ["access", "vncticket"]) => {
                return Err(Refusal::new(401, "permission denied - invalid PVEVNC ticket"));
            }
            ("POST", ["access", "openid", _]) => {
                return Err(Refusal::new(500, "realm has no openid in this stand-in"));
            }
            ("GET", ["access", "ticket"]) => Value::Null,
            ("GET", ["access", "domains"]) => json!([
                { "realm": "pam", "type": "pam", "comment": "Linux PAM standard authentication" },
                { "realm": "pve", "type": "pve", "comment": "Proxmox VE authentication server" },
            ]),
            ("GET", ["version"]) => json!({ "version": "9.2.11", "release": "9.2", "repoid": "57a4d1fb" }),
            ("GET", ["cluster", "resources"]) => json!([
                { "id": "node/demo", "type": "node", "node": "demo", "status": "online", "uptime": 86_400 },
                { "id": "qemu/100", "type": "qemu", "node": "demo", "vmid": 100, "name": "first", "status": "running" },
                { "id": "lxc/101", "type": "lxc", "node": "demo", "vmid": 101, "name": "second", "status": "stopped" },
                { "id": "storage/demo/local", "type": "storage", "node": "demo", "storage": "local", "status": "available" },
            ]),
            ("GET", ["nodes"]) => json!([{ "node": "demo", "type": "node", "status": "online" }]),
            ("GET", ["nodes", _, "tasks", upid, "status"]) => {
                json!({ "upid": upid, "status": "stopped", "exitstatus": "OK" })
            }
            ("GET", ["nodes", _, "tasks", upid, "log"]) => {
                if text("download") == Some("1") {
                    let log = format!("log of {upid}\n{}TASK OK\n", "copying\n".repeat(400));
                    return Ok(Outcome::Answer(Answer::reply(Reply::ok("text/plain", log))));
                }
                json!([{ "n": 1, "t": "TASK OK" }])
            }
            ("GET", ["nodes", _, "storage", _, "file-restore", "download"]) => {
                return Ok(Outcome::Answer(Answer::Stream(Stream {
                    head: Reply::ok("application/octet-stream", ""),
                    head_delay: Duration::ZERO,
                    length: None,
                    send: 100_000,
                    chunk: 16_384,
                    every: Duration::ZERO,
                    end: Some(End::Fin),
                })));
            }
            ("GET", [.., "vncwebsocket" | "mtunnelwebsocket"]) => {
                return self.open_tunnel(shared, parameters);
            }
            ("POST", [.., "termproxy" | "vncshell" | "vncproxy" | "mtunnel"]) => {
                self.open_console(shared, parameters)
            }
            ("GET", [""] | ["access" | "cluster" | "nodes" | "storage" | "pools", ..]) => json!([]),
            (_, ["nodes", _, kind @ ("qemu" | "lxc" | "storage"), ..]) => self.upid(shared, kind),
            (_, ["nodes", _, ..]) => self.upid(shared, "srvreload"),
            (_, ["access" | "cluster" | "storage" | "pools", _, ..]) => Value::Null,
            (method, _) => {
                return Err(Refusal::new(501, format!("Method '{method} {}' not implemented", self.path)));
            }
        };
        Ok(Outcome::Data(data))
    }

    fn sign_in(&self, shared: &Shared, parameters: &Map<String, Value>) -> Result<Outcome, Refusal> {
        let text = |name: &str| parameters.get(name).and_then(Value::as_str);
        let mut name = text("username").ok_or_else(|| Refusal::missing("username"))?.to_owned();
        let password = text("password").ok_or_else(|| Refusal::missing("password"))?;
        if let (false, Some(realm)) = (name.contains('@'), text("realm")) {
            name = format!("{name}@{realm}");
        }
        let now = shared.now();
        let user = shared.settings.users.iter().find(|user| user.name == name);
        let step = user.and_then(|user| match text("tfa-challenge") {
            Some(challenge) => (shared.signer.is_challenge(challenge, &name, now)
                && user.second_factor.iter().any(|answer| answer == password))
            .then_some(Step::Done),
            // The web interface renews its ticket with the ticket as the password.
            None if shared.signer.ticket_user(password, now).as_ref() == Some(&name) => Some(Step::Done),
            None if user.password != password => None,
            None if user.second_factor.is_empty() => Some(Step::Done),
            None => Some(Step::SecondFactor),
        });
        let Some(step) = step else {
            shared.seen.journal(format!(
                "pvedaemon[1002]: authentication failure; rhost={} user={name} msg=invalid credentials",
                self.peer
            ));
            return Err(Refusal::new(401, "authentication failure"));
        };
        shared.seen.journal(format!("pvedaemon[1002]: <root@pam> successful auth for user '{name}'"));
        let csrf = shared.signer.csrf(&name, now);
        let data = match step {
            Step::SecondFactor => json!({
                "username": name, "NeedTFA": 1, "CSRFPreventionToken": csrf,
                "ticket": shared.signer.challenge(&name, now),
            }),
            Step::Done => json!({
                "username": name, "CSRFPreventionToken": csrf, "clustername": "stand-in",
                "ticket": shared.signer.ticket(&name, now),
                "cap": {
                    "access": { "User.Modify": 1 }, "dc": { "Sys.Audit": 1 }, "nodes": { "Sys.Console": 1 },
                    "storage": { "Datastore.AllocateTemplate": 1 }, "vms": { "VM.Console": 1 },
                },
            }),
        };
        if let (Format::Html, Step::Done) = (self.format, step) {
            let mut reply = Reply::empty(301, "Moved");
            let ticket = shared.signer.ticket(&name, now);
            let ticket: String = form_urlencoded::byte_serialize(ticket.as_bytes()).collect();
            reply.fields.push(("Location", "/api2/html".to_owned()));
            reply.fields.push(("Set-Cookie", format!("{COOKIE}={ticket}; path=/; secure; SameSite=Lax;")));
            return Ok(Outcome::Answer(Answer::reply(reply)));
        }
        Ok(Outcome::Data(data))
    }

    /// Puts a backend on the next port and hands out a ticket for it.
    fn open_console(&self, shared: &Shared, parameters: &Map<String, Value>) -> Value {
        let text = |name: &str| parameters.get(name).and_then(Value::as_str);
        let number = |name: &str| text(name).and_then(|value| value.parse().ok());
        let default = match shared.settings.console {
            Some(address) => Backend::Port(address),
            None if self.path.ends_with("/termproxy") => Backend::Terminal,
            None => Backend::Echo,
        };
        let backend =
            Backend::from_parameters(text("standin-mode"), number("standin-bytes"), number("standin-ms"))
                .unwrap_or(default);
        let port = shared.consoles().open(backend);
        let user = self.who.logged().unwrap_or_default();
        let ticket = shared.signer.console(&user, self.console_path(), port, shared.now());
        json!({ "port": port, "ticket": ticket, "user": user, "upid": self.upid(shared, "vncshell") })
    }

    fn open_tunnel(&self, shared: &Shared, parameters: &Map<String, Value>) -> Result<Outcome, Refusal> {
        let text = |name: &str| parameters.get(name).and_then(Value::as_str);
        let ticket_name = if self.path.ends_with("/vncwebsocket") { "vncticket" } else { "ticket" };
        let ticket = text(ticket_name).ok_or_else(|| Refusal::missing(ticket_name))?;
        let port = text("port").and_then(|port| port.parse().ok()).filter(|port| (5900..6000).contains(port));
        let port: u16 = port.ok_or_else(|| Refusal::missing("port"))?;
        let user = self.who.logged().unwrap_or_default();
        if !shared.signer.is_console(ticket, &user, self.console_path(), port, shared.now()) {
            return Err(Refusal::new(401, "permission denied - invalid PVEVNC ticket"));
        }
        let backend = shared.consoles().at(port);
        Ok(match &self.who {
            Who::Upgrading(_, accept) => Outcome::Answer(Answer::Tunnel(accept.clone(), backend)),
            Who::Anybody | Who::User(_) | Who::Token(_) => Outcome::Data(json!({ "port": port })),
        })
    }

    /// What a console ticket is bound to: the path without its last segment.
    fn console_path(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(path, _)| path)
    }

    fn upid(&self, shared: &Shared, kind: &str) -> Value {
        let (time, user) = (shared.now().secs(), self.who.logged().unwrap_or_default());
        Value::String(format!("UPID:demo:000003EA:00001F40:{time:08X}:{kind}::{user}:"))
    }

    fn render(&self, outcome: Result<Value, Refusal>) -> Reply {
        let (mut code, mut reason, mut content) = (200, "OK".to_owned(), Map::new());
        let is_extjs = matches!(self.format, Format::Extjs | Format::Htmljs);
        let mut delayed = false;
        let is_success = outcome.is_ok();
        match outcome {
            Ok(data) => drop(content.insert("data".to_owned(), data)),
            Err(refusal) => {
                delayed = refusal.code == 401;
                content.insert("data".to_owned(), Value::Null);
                content.insert("message".to_owned(), Value::String(format!("{}\n", refusal.message)));
                if !refusal.errors.is_empty() {
                    content.insert("errors".to_owned(), Value::Object(refusal.errors));
                }
                if is_extjs {
                    content.insert("status".to_owned(), Value::String(refusal.code.to_string()));
                } else {
                    (code, reason) = (refusal.code, refusal.message);
                }
            }
        }
        if is_extjs {
            content.insert("success".to_owned(), json!(u8::from(is_success)));
        }
        let text = Value::Object(content).to_string();
        let (content_type, body) = match self.format {
            Format::Json | Format::Extjs => ("application/json;charset=UTF-8", text),
            Format::Htmljs => ("text/html;charset=UTF-8", escape(&text)),
            Format::Html => {
                ("text/html;charset=UTF-8", format!("<!DOCTYPE html><pre>{}</pre>\n", escape(&text)))
            }
            Format::Png => ("image/png", String::new()),
            Format::Spiceconfig => ("application/x-virt-viewer;charset=UTF-8", "[virt-viewer]\n".to_owned()),
        };
        Reply { code, reason: reason.into_bytes(), delayed, ..Reply::ok(content_type, body) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    SecondFactor,
    Done,
}

/// The index, or a file.
fn page(shared: &Shared, head: &Head, target: &Target) -> Reply {
    let file = |content_type: &'static str, content: &str| {
        let since = head.text("if-modified-since").and_then(|date| parse_http_date(&date));
        let mut reply = match since {
            Some(since) if shared.started.secs() <= since => Reply::empty(304, "NOT MODIFIED"),
            _ => Reply::ok(content_type, content),
        };
        reply.caching = Caching::File(shared.started);
        reply
    };
    match target.path.as_str() {
        "/" => {
            let now = shared.now();
            let ticket = head.field("cookie").and_then(|cookie| extract(&cookie, COOKIE));
            let user = ticket.and_then(|ticket| shared.signer.ticket_user(&ticket, now));
            let csrf = user.as_ref().map(|user| shared.signer.csrf(user, now));
            let page = PAGE
                .replace("{{user}}", &escape(&user.unwrap_or_default()))
                .replace("{{csrf}}", &escape(&csrf.unwrap_or_default()));
            Reply::ok("text/html; charset=UTF-8", page)
        }
        "/pve2/js/stand-in.js" => file("application/javascript", SCRIPT),
        "/pve2/css/stand-in.css" => file("text/css", STYLE),
        path => match file_in(&shared.settings.dirs, path) {
            Some((content_type, content)) => file(content_type, &content),
            None => Reply::empty(500, &format!("no such file '{}'", path.replace(['\r', '\n'], " "))),
        },
    }
}

/// A file of [`Settings::dirs`] and its type.
fn file_in(dirs: &[(String, PathBuf)], path: &str) -> Option<(&'static str, String)> {
    let (dir, name) =
        dirs.iter().find_map(|(prefix, dir)| Some((dir, path.strip_prefix(prefix.as_str())?)))?;
    if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let content_type = match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=UTF-8",
        "css" => "text/css",
        "js" | "mjs" => "application/javascript",
        _ => return None,
    };
    Some((content_type, std::fs::read_to_string(dir.join(name)).ok()?))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

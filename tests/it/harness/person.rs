//! Somebody with a phone.

use std::time::Duration;

use pvegate::{
    gate::ceremony::{
        invite::Token,
        totp::{Secret, step_at},
    },
    names,
    time::Clock,
};

use super::{Client, Console, Reply, TestGate};

/// Somebody who has an authenticator app, and a browser with cookies.
pub struct Person {
    pub name: String,
    pub client: Client,
    pub phone: Secret,
    /// Recovery codes, as the page showed them; empty where none were made.
    pub codes: Vec<String>,
}

impl Person {
    /// Invites somebody, who enrols and is signed in then.
    pub async fn enrol(gate: &TestGate, name: &str) -> Self {
        let token = gate.invite(name);
        let (person, reply) = Self::take_up(gate, name, &token).await;
        assert_eq!(reply.status, 303, "{}", reply.text());
        assert!(person.session_cookie().is_some());
        person
    }

    /// Takes up an invitation in this browser, and is signed in then.
    pub async fn enrol_with(client: Client, gate: &TestGate, name: &str, token: &Token) -> Self {
        let opened = Self::open(client, name, &token.link(&gate.config.gate.public_url)).await;
        let (mut person, state) = opened.unwrap_or_else(|page| panic!("{}", page.text()));
        let code = person.code(gate);
        let reply = person.finish(&state, &code).await;
        assert_eq!(reply.status, 303, "{}", reply.text());
        person
    }

    /// Takes up an invitation, whatever comes of it.
    pub async fn take_up(gate: &TestGate, name: &str, token: &Token) -> (Self, Reply) {
        match Self::scan(gate, name, token).await {
            Ok((mut person, state)) => {
                let code = person.code(gate);
                let reply = person.finish(&state, &code).await;
                (person, reply)
            }
            Err(reply) => {
                let (client, phone) = (gate.client(), Secret::random());
                (Self { name: name.to_owned(), client, phone, codes: Vec::new() }, *reply)
            }
        }
    }

    /// Opens an invitation and scans the QR code; with it the state that the form carries. `Err`: there
    /// was none.
    pub async fn scan(gate: &TestGate, name: &str, token: &Token) -> Result<(Self, String), Box<Reply>> {
        Self::open(gate.client(), name, &token.link(&gate.config.gate.public_url)).await
    }

    /// The same, with a link and a gate in any process.
    pub async fn open(mut client: Client, name: &str, link: &str) -> Result<(Self, String), Box<Reply>> {
        let code = link.split_once('#').unwrap().1.to_owned();
        let mut page = client.post_form("/_gate/enrol", &[("token", &code)]).await;
        // A passkey is offered first.
        if let (None, Some(state)) = (scan(&page.text()), state_of(&page.text())) {
            page = client.post_form("/_gate/enrol", &[("state", &state), ("method", "totp")]).await;
        }
        match scan(&page.text()) {
            Some((phone, state)) => {
                Ok((Self { name: name.to_owned(), client, phone, codes: Vec::new() }, state))
            }
            None => Err(Box::new(page)),
        }
    }

    /// Sends the enrolment's form with a code, and types a recovery code back where some are shown.
    pub async fn finish(&mut self, state: &str, code: &str) -> Reply {
        let fields = [("state", state), ("name", "Phone"), ("code", code)];
        let reply = self.client.post_form("/_gate/enrol", &fields).await;
        let codes = printed_codes(&reply.text());
        let Some(first) = codes.first().cloned() else { return reply };
        self.codes = codes;
        let state = state_of(&reply.text()).unwrap();
        let fields = [("state", state.as_str()), ("typed", &first)];
        self.client.post_form("/_gate/enrol", &fields).await
    }

    /// What the phone shows.
    pub fn code(&self, gate: &TestGate) -> String {
        self.phone.code(step_at(gate.clock.now()))
    }

    /// Moves the clock by a step, so that the phone shows a fresh code.
    pub fn wait_for_next_code(&self, gate: &TestGate) -> String {
        gate.clock.advance(Duration::from_secs(30));
        self.code(gate)
    }

    /// Signs in with a fresh code, in the browser that this person has.
    pub async fn sign_in(&mut self, gate: &TestGate) -> Reply {
        let code = self.wait_for_next_code(gate);
        self.sign_in_with(&code).await
    }

    pub async fn sign_in_with(&mut self, code: &str) -> Reply {
        let name = self.name.clone();
        self.client.post_form("/_gate/sign-in", &[("user", &name), ("code", code)]).await
    }

    pub async fn sign_out(&mut self) -> Reply {
        self.client.post_form("/_gate/sign-out", &[]).await
    }

    pub fn session_cookie(&self) -> Option<&str> {
        self.client.cookie(names::SESSION_COOKIE)
    }

    /// Signs in to the stand-in as Proxmox VE's own interface does.
    pub async fn sign_in_to_pve(&mut self) {
        let fields = [("username", "root@pam"), ("password", "proxmox"), ("realm", "pam")];
        let reply = self.client.post_form("/api2/json/access/ticket", &fields).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let data = &reply.json()["data"];
        let ticket = data["ticket"].as_str().unwrap();
        let ticket = percent_encoding::utf8_percent_encode(ticket, percent_encoding::NON_ALPHANUMERIC);
        self.client.set_cookie("PVEAuthCookie", &ticket.to_string());
        let csrf = data["CSRFPreventionToken"].as_str().unwrap().to_owned();
        self.client = self.client.clone().with("csrfpreventiontoken", &csrf);
    }

    /// Opens a console of the stand-in that echoes; signs in to it first where needed.
    pub async fn console(&mut self) -> Console {
        let target = self.console_target("echo").await;
        match self.client.console(&target).await {
            Ok(console) => console,
            Err(reply) => panic!("no console: {} {}", reply.status, reply.text()),
        }
    }

    /// Asks the stand-in for a console of this mode, and gives the target of its WebSocket.
    pub async fn console_target(&mut self, mode: &str) -> String {
        if self.client.cookie("PVEAuthCookie").is_none() {
            self.sign_in_to_pve().await;
        }
        let reply = self.client.post_form("/api2/json/nodes/demo/termproxy", &[("standin-mode", mode)]).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        console_target(&reply.json()["data"])
    }
}

/// The target of the WebSocket that a console call's answer stands for.
pub fn console_target(data: &serde_json::Value) -> String {
    let port =
        data["port"].as_u64().map_or_else(|| data["port"].as_str().unwrap().to_owned(), |p| p.to_string());
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("port", &port)
        .append_pair("vncticket", data["ticket"].as_str().unwrap())
        .finish();
    format!("/api2/json/nodes/demo/vncwebsocket?{query}")
}

/// The secret and the sealed state on the page with the QR code, as a phone's camera would read it.
pub fn scan(page: &str) -> Option<(Secret, String)> {
    let secret = page.split_once("secret=")?.1.split(['&', '"']).next()?;
    let state = state_of(page)?;
    let bytes = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).ok()?;
    Some((Secret::from_bytes(&bytes)?, state))
}

/// The sealed state that a form of the enrolment carries.
pub fn state_of(page: &str) -> Option<String> {
    let state = page.split_once("name=\"state\" value=\"")?.1.split('"').next()?;
    Some(state.to_owned())
}

/// The recovery codes on a page.
pub fn printed_codes(page: &str) -> Vec<String> {
    let is_code = |text: &&str| {
        text.len() == 19 && text.split('-').count() == 4 && text.split('-').all(|group| group.len() == 4)
    };
    page.split(['<', '>', '"', ' ', '\n']).filter(is_code).map(str::to_owned).collect()
}

//! Answers of an upstream that has gone wrong, or turned bad.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

use super::{
    AT_ONCE,
    far_side::FarSide,
    rows::{Words, expand},
};
use crate::harness::{Client, TestGate, Wire};

const ANSWERS: &str = include_str!("answers.txt");

struct Row {
    outcome: &'static str,
    method: &'static str,
    name: &'static str,
    bytes: Vec<u8>,
    ends: bool,
}

fn rows() -> Vec<Row> {
    let lines = ANSWERS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let [outcome, method, name, bytes] =
                line.splitn(4, " | ").collect::<Vec<_>>().try_into().unwrap_or_else(|_| panic!("{line}"));
            let ends = bytes.ends_with("{end}");
            let bytes = expand(bytes.trim_end_matches("{end}"), &Words::new());
            Row { outcome, method, name, bytes, ends }
        })
        .collect()
}

impl Row {
    async fn run(&self, number: usize, client: &Client) -> Result<(), String> {
        let mut wire = Wire::open(client).await;
        let (method, more) = match self.method {
            "UP" => ("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
            method => (method, ""),
        };
        wire.send(client.head(method, &format!("/row/{number}"), more).as_bytes()).await;
        if self.outcome == "cut" {
            let head = wire.head().await.ok_or("no head")?;
            let (body, _) = wire.rest().await;
            let ended = body.ends_with(b"0\r\n\r\n") || body.len() == 5;
            let evil = body.windows(4).any(|four| four == b"EVIL");
            if !head.starts_with("HTTP/1.1 200 ") || ended || evil {
                return Err(format!("{head}{}", body.escape_ascii()));
            }
            wire = Wire::open(client).await;
        } else {
            let answer = wire.answer(method).await.ok_or("no answer")?;
            let (status, body) = self.outcome.split_once(' ').unwrap_or((self.outcome, ""));
            let ours = answer.values("x-frame-options") == ["DENY"];
            let as_told = answer.status.to_string() == status
                && if status == "502" { ours } else { !ours && answer.text() == body };
            let all = format!("{} {} {:?} {}", answer.status, answer.reason, answer.fields, answer.text());
            if !as_told || all.contains("EVIL") {
                return Err(all);
            }
            if answer.closes {
                wire = Wire::open(client).await;
            }
        }
        wire.send(client.head("GET", "/next", "").as_bytes()).await;
        let next = wire.answer("GET").await.ok_or("no answer to the next one")?;
        match (next.status, next.text().as_str()) {
            (200, "next") => Ok(()),
            other => Err(format!("to the next one: {other:?}")),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_none_is_told_as_such_and_poisons_nothing() {
    let rows = Arc::new(rows());
    let answers = rows.clone();
    let far = FarSide::start(move |request| match request.target.strip_prefix("/row/") {
        Some(number) => {
            let row = &answers[number.parse::<usize>().unwrap()];
            (row.bytes.clone(), row.ends)
        }
        None => (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext".to_vec(), false),
    })
    .await;
    let gate = TestGate::before(far.address, &far.pin).start().await;
    let alice = gate.person("alice").await;

    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for number in 0..rows.len() {
        let (rows, permits, client) = (rows.clone(), permits.clone(), alice.client.clone());
        running.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let row = &rows[number];
            let ran = timeout(Duration::from_secs(15), row.run(number, &client)).await;
            let ran = ran.unwrap_or_else(|_| Err("it hangs".to_owned()));
            ran.map_err(|wrong| format!("{}: {wrong}", row.name)).err()
        });
    }
    let wrong: Vec<String> = running.join_all().await.into_iter().flatten().collect();

    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    let failures = gate.audit().iter().filter(|e| e["event"]["action"] == "upstream-failure").count();
    assert_eq!(failures, rows.iter().filter(|row| row.outcome == "502").count(), "each has its line");
}

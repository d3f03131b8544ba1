//! Proxmox VE's nodes: do they answer as pveproxy does, and prove who they are?

use std::time::Duration;

use super::{Finding, Id};

/// Slower than this on the way to a node is felt in every click.
const SLOW: Duration = Duration::from_millis(250);

/// What a node said to two questions without a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `host:port`
    pub address: String,
    /// Whether its certificate is pinned, rather than issued by a configured authority.
    pub pinned: bool,
    /// What it said, or why it did not.
    pub answer: Result<Answer, Silence>,
}

/// Why a node gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// It shows another certificate than the pinned one.
    Pin(String),
    /// Anything else.
    Other(String),
}

/// What a node said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The status of `GET /api2/json/version`: pveproxy says 401 to somebody without a ticket.
    pub version: u16,
    /// The status of the same kind of request for a console's WebSocket, likewise.
    pub console: Option<u16>,
    /// For TCP and TLS.
    pub connecting: Duration,
}

/// Judges the nodes.
#[must_use]
pub fn judge(nodes: &[Node]) -> Vec<Finding> {
    nodes.iter().map(judge_one).collect()
}

fn judge_one(node: &Node) -> Finding {
    let address = &node.address;
    let answer = match &node.answer {
        Err(Silence::Pin(reason)) => {
            return Finding::problem(
                Id::Upstream,
                format!("{address}: {reason}"),
                "if you renewed it, `pvegate fingerprint` shows the new value; if not, find out who did",
            );
        }
        Err(Silence::Other(reason)) => {
            return Finding::problem(
                Id::Upstream,
                format!("{address}: {reason}"),
                "is pveproxy running there, and does a firewall let this host in?",
            );
        }
        Ok(answer) => answer,
    };
    let took = answer.connecting.as_millis();
    if answer.version != 401 {
        return Finding::warning(
            Id::Upstream,
            format!("{address} answers {} where pveproxy says 401", answer.version),
            "is this Proxmox VE itself, and not another proxy or another service?",
        );
    }
    if answer.console != Some(401) {
        let said = answer.console.map_or_else(|| "nothing".to_owned(), |status| status.to_string());
        return Finding::warning(
            Id::Upstream,
            format!("{address} answers {said} to a request for a WebSocket where pveproxy says 401"),
            "something on the way may stop consoles: let the gate reach pveproxy directly",
        );
    }
    if answer.connecting > SLOW {
        return Finding::warning(
            Id::Upstream,
            format!("{address} takes {took} ms to connect"),
            "the gate belongs near its nodes",
        );
    }
    let trust = if node.pinned { "pinned" } else { "trusted by its authority" };
    Finding::ok(Id::Upstream, format!("{address}, {trust}, {took} ms to connect, WebSockets pass"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity::{self, Ok as Good, Problem, Warning};

    #[test]
    fn a_node_is_judged_by_what_it_says_to_somebody_without_a_ticket() {
        let answer = |version, console, millis| {
            Ok(Answer { version, console, connecting: Duration::from_millis(millis) })
        };
        #[rustfmt::skip]
        let table: [(Result<Answer, Silence>, Severity, &str); 7] = [
            (answer(401, Some(401), 3),                    Good,    "n:8006, pinned, 3 ms to connect, WebSockets pass"),
            (answer(401, Some(401), 250),                  Good,    "n:8006, pinned, 250 ms to connect, WebSockets pass"),
            (answer(401, Some(401), 251),                  Warning, "n:8006 takes 251 ms to connect"),
            (answer(200, Some(401), 3),                    Warning, "n:8006 answers 200 where pveproxy says 401"),
            (answer(401, Some(400), 3),                    Warning, "n:8006 answers 400 to a request for a WebSocket where pveproxy says 401"),
            (answer(401, None, 3),                         Warning, "n:8006 answers nothing to a request for a WebSocket where pveproxy says 401"),
            (Err(Silence::Other("no connection".into())),  Problem, "n:8006: no connection"),
        ];
        for (answer, severity, text) in table {
            let found = judge(&[Node { address: "n:8006".into(), pinned: true, answer }]);
            let found: Vec<_> = found.iter().map(|f| (f.severity, f.text.as_str())).collect();
            assert_eq!(found, [(severity, text)]);
        }
        let pin =
            Node { address: "n:8006".into(), pinned: true, answer: Err(Silence::Pin("another".into())) };
        let found = judge(&[pin]);
        assert_eq!(found.first().map(|f| f.severity), Some(Problem));
        assert!(
            found.first().and_then(|f| f.hint.as_deref()).is_some_and(|hint| hint.contains("fingerprint"))
        );
    }
}

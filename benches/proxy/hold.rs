//! Memory of connections that do nothing: so much each, and given back when they go.
//!
//! The figure is the growth of the gate's proportional set size from before the connections, divided by
//! their number; the kernel's socket buffers are not in it. Lots of them come and go: a last lot that needs
//! more than all before it points to a leak, and fails.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    gate::{self, Gate},
    harness::Pve,
    load::{Connection, Tunnel},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// A thousand.
    Short,
    /// Ten thousand idle connections: needs `ulimit -n` of 20,000.
    Long,
}

/// KiB for an idle connection, and for an open tunnel, that would be good.
const IDLE_GOAL: f64 = 27.0;
const TUNNEL_GOAL: f64 = 22.0;

pub(crate) async fn run(length: Length) {
    let pve = gate::stand_in().await;
    let idle = match length {
        Length::Short => 1000,
        Length::Long => 10_000,
    };
    hold(&pve, "idle connection after an answer of the gate's own", idle, IDLE_GOAL, async |gate| {
        let mut connection = gate.target.at("/_gate/healthz").connect().await;
        connection.get().await;
        Held::Connection(connection)
    })
    .await;
    hold(&pve, "open tunnel after one message", 1000, TUNNEL_GOAL, async |gate| {
        let mut tunnel = gate.target.connect().await.upgrade(&gate.target, "websocket").await;
        tunnel.echo(b"x", &mut [0]).await;
        Held::Tunnel(tunnel)
    })
    .await;
}

/// What is held open; it is only ever dropped.
#[expect(dead_code, reason = "held, never used")]
enum Held {
    Connection(Connection),
    Tunnel(Tunnel),
}

/// How many lots of connections come and go.
const LOTS: usize = 5;

async fn hold(pve: &Pve, what: &str, count: usize, goal: f64, open: impl AsyncFn(&Gate) -> Held) {
    let gate = Gate::start(pve, &[]).await;
    sleep(Duration::from_secs(1)).await;
    let before = gate.running.memory();
    let (mut with, mut after) = (Vec::new(), Vec::new());
    for _ in 0..LOTS {
        let mut held = Vec::new();
        for _ in 0..count {
            held.push(open(&gate).await);
        }
        sleep(Duration::from_secs(1)).await;
        with.push(gate.running.memory());
        drop(held);
        while gate.connections() > 0 {
            sleep(Duration::from_millis(50)).await;
        }
        sleep(Duration::from_secs(1)).await;
        after.push(gate.running.memory());
    }
    let each = with[0].saturating_sub(before) as f64 / count as f64;
    println!("{what}, {count}: {each:.1} KiB each (goal {goal})");
    println!("    KiB before {before}, with each of {LOTS} lots {with:?}, after each {after:?}");
    // The allocator keeps what a lot needed and gives it to the next; now and then it takes a step more. What
    // is left behind grows with every lot.
    let most = with[..LOTS - 1].iter().copied().max().unwrap_or_default();
    let grown = with[LOTS - 1].saturating_sub(most) as f64 / most as f64;
    println!("    the last lot above all before it: {:.1} % (at most 1)", grown * 100.0);
    assert!(grown <= 0.01, "memory that does not come back, unless another run says otherwise");
}

//! Memory of connections that do nothing: so much each, and given back when they go.
//!
//! The figure is the growth of the gate's proportional set size from before the connections, divided by
//! their number; the kernel's socket buffers are not in it. Twice as many come and go: what the second lot
//! leaves behind beyond the first is a leak, and fails.

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

/// KiB for an idle connection, and for an open tunnel, that are still good.
const IDLE_LIMIT: f64 = 27.0;
const TUNNEL_LIMIT: f64 = 22.0;

pub(crate) async fn run(length: Length) {
    let pve = gate::stand_in().await;
    let idle = match length {
        Length::Short => 1000,
        Length::Long => 10_000,
    };
    hold(&pve, "idle connection after an answer of the gate's own", idle, IDLE_LIMIT, async |gate| {
        let mut connection = gate.target.at("/_gate/healthz").connect().await;
        connection.get().await;
        Held::Connection(connection)
    })
    .await;
    hold(&pve, "open tunnel after one message", 1000, TUNNEL_LIMIT, async |gate| {
        let mut tunnel = gate.target.connect().await.upgrade(&gate.target).await;
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

async fn hold(pve: &Pve, what: &str, count: usize, limit: f64, open: impl AsyncFn(&Gate) -> Held) {
    let gate = Gate::start(pve, &[]).await;
    sleep(Duration::from_secs(1)).await;
    let before = gate.running.memory();
    let mut left = Vec::new();
    let mut each = 0.0;
    for round in 0..3 {
        let mut held = Vec::new();
        for _ in 0..count {
            held.push(open(&gate).await);
        }
        sleep(Duration::from_secs(1)).await;
        let with = gate.running.memory();
        if round == 0 {
            each = with.saturating_sub(before) as f64 / count as f64;
        }
        drop(held);
        while gate.connections() > 0 {
            sleep(Duration::from_millis(50)).await;
        }
        sleep(Duration::from_secs(1)).await;
        left.push(gate.running.memory());
    }
    println!(
        "{what}, {count}: {each:.1} KiB each (limit {limit}); KiB before {before}, after each of three lots {left:?}"
    );
    assert!(each <= limit, "more than the limit");
    let grown = left[2].saturating_sub(left[1]) as f64;
    assert!(grown <= 0.05 * each * count as f64, "memory that does not come back: {grown} KiB");
}

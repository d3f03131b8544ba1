//! A process that is measured: its processor time, its memory, its end.

use std::{
    fs,
    net::SocketAddr,
    process::{Child, Command},
    time::Duration,
};

use tokio::net::TcpStream;

/// A program that listens. It is killed, with what it started, when this is dropped.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    /// Starts it and waits until it takes connections.
    pub(crate) async fn start(command: &mut Command, address: SocketAddr) -> Self {
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        // Under valgrind a start takes its time.
        for _ in 0..3000 {
            if TcpStream::connect(address).await.is_ok() {
                return Self { child };
            }
            assert!(child.try_wait().unwrap().is_none(), "ended at once: {command:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("does not listen: {command:?}");
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// This process and those that it started, and so on.
    fn tree(&self) -> Vec<u32> {
        let mut tree = vec![self.id()];
        let mut next = 0;
        while let Some(id) = tree.get(next).copied() {
            for thread in fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten() {
                let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
                tree.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
            }
            next += 1;
        }
        tree
    }

    /// Processor time of all its threads and processes so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let mut nanoseconds = 0;
        for id in self.tree() {
            for thread in fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten() {
                let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
                nanoseconds += text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            }
        }
        Duration::from_nanos(nanoseconds)
    }

    /// Memory in KiB that it would give back if it ended (proportional set size).
    pub(crate) fn memory(&self) -> u64 {
        let of = |id: u32| {
            let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        self.tree().into_iter().map(of).sum()
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub(crate) fn stop(mut self) {
        let kill = format!("kill -TERM {}", self.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let ids: Vec<String> = self.tree().iter().map(u32::to_string).collect();
            let _ = Command::new("sh").args(["-c", &format!("kill -KILL {}", ids.join(" "))]).status();
            let _ = self.child.wait();
        }
    }
}

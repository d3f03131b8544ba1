//! What listens behind Proxmox VE's console ports: a VNC server with a real screen, and a shell.
//!
//! Both listen on a port of the system's choice, and go with the test: the VNC server when it is dropped, or
//! by itself when nobody has looked at it for a minute; the shell when its terminal is closed.

use std::{
    fs::OpenOptions,
    io::{self, BufRead as _},
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    fcntl::OFlag,
    pty::{grantpt, posix_openpt, ptsname_r, unlockpt},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
        unix::pipe,
    },
    task::JoinHandle,
    time::sleep,
};

/// An X server that is seen and typed at by VNC, and one terminal window that fills its screen.
pub(crate) struct VncServer {
    pub(crate) address: SocketAddr,
    server: Child,
    window: Child,
}

impl VncServer {
    /// Starts it with a window of this colour (`#rrggbb`) that runs `script`.
    pub(crate) fn start(colour: &str, script: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = Command::new("Xvnc")
            .args(["-inetd", "-SecurityTypes", "None", "-geometry", "400x300", "-depth", "24"])
            // It tells which display it took; -inetd is the listening socket on standard input.
            .args(["-displayfd", "1", "-nolisten", "tcp", "-MaxDisconnectionTime", "60"])
            .stdin(OwnedFd::from(listener))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("Xvnc: {error}; `bash tests/run` installs it"));
        let mut display = String::new();
        io::BufReader::new(server.stdout.take().unwrap()).read_line(&mut display).unwrap();
        let window = Command::new("xterm")
            .args(["-display", &format!(":{}", display.trim()), "-geometry", "100x50+0+0", "-bg", colour])
            .args(["-fa", "DejaVu Sans Mono", "-e", "sh", "-c", script])
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("xterm: {error}; `bash tests/run` installs it"));
        Self { address, server, window }
    }
}

impl Drop for VncServer {
    fn drop(&mut self) {
        for child in [&mut self.window, &mut self.server] {
            // One that has ended already is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Serves one person as Proxmox VE's termproxy does, with a shell.
pub(crate) struct Shell {
    pub(crate) address: SocketAddr,
    serving: JoinHandle<io::Result<()>>,
}

impl Shell {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move { serve(listener.accept().await?.0).await });
        Self { address, serving }
    }

    /// Waits until the shell has ended, with its terminal or by itself.
    pub(crate) async fn ended(self) {
        self.serving.await.unwrap().unwrap();
    }
}

/// Signs in, then carries bytes between the client and a shell until either goes.
async fn serve(client: TcpStream) -> io::Result<()> {
    let (from_client, mut to_client) = client.into_split();
    let mut from_client = BufReader::new(from_client);
    let mut sign_in = String::new();
    from_client.read_line(&mut sign_in).await?;
    if !sign_in.contains(":PVEVNC:") {
        return Ok(());
    }
    to_client.write_all(b"OK").await?;

    // Nobody but this task may hold it open: its end is the shell's.
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let terminal = posix_openpt(flags)?;
    grantpt(&terminal)?;
    unlockpt(&terminal)?;
    let device = ptsname_r(&terminal)?;
    let mut shell = shell(Path::new(&device))?;
    let output = pipe::Receiver::from_owned_fd_unchecked(terminal.as_fd().try_clone_to_owned()?)?;
    let input = pipe::Sender::from_owned_fd_unchecked(terminal.as_fd().try_clone_to_owned()?)?;
    drop(terminal);
    tokio::select! {
        // The end of a pseudoterminal is an error.
        _ended = show(output, to_client) => {}
        gone = type_in(from_client, input, &device) => gone?,
    }
    // The terminal is closed: the shell is told so by SIGHUP, and ends.
    for _ in 0..500 {
        if shell.try_wait()?.is_some() {
            return Ok(());
        }
        sleep(Duration::from_millis(10)).await;
    }
    shell.kill()?;
    Err(io::Error::other("the shell outlived its terminal"))
}

/// A shell whose terminal is `device`.
fn shell(device: &Path) -> io::Result<Child> {
    let terminal =
        OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(device)?;
    Command::new("setsid")
        .args(["--ctty", "sh", "-i"])
        .env_remove("ENV")
        .env("PS1", "$ ")
        .stdin(terminal.try_clone()?)
        .stdout(terminal.try_clone()?)
        .stderr(terminal)
        .spawn()
}

async fn show(mut output: pipe::Receiver, mut client: OwnedWriteHalf) -> io::Result<()> {
    tokio::io::copy(&mut output, &mut client).await.map(drop)
}

/// Reads termproxy's messages: `0:LENGTH:TEXT`, `1:COLUMNS:ROWS:`, `2`.
async fn type_in(
    mut client: BufReader<OwnedReadHalf>,
    mut input: pipe::Sender,
    device: &str,
) -> io::Result<()> {
    loop {
        match client.read_u8().await {
            Ok(b'0') => {
                client.read_u8().await?;
                let mut text = vec![0; number(&mut client).await?];
                client.read_exact(&mut text).await?;
                input.write_all(&text).await?;
            }
            Ok(b'1') => {
                client.read_u8().await?;
                let (columns, rows) = (number(&mut client).await?, number(&mut client).await?);
                let size = ["cols", &columns.to_string(), "rows", &rows.to_string()].map(str::to_owned);
                Command::new("stty").args(["-F", device]).args(size).status()?;
            }
            Ok(b'2') => {}
            Ok(other) => return Err(io::Error::other(format!("message of kind {other}"))),
            Err(_) => return Ok(()),
        }
    }
}

/// Digits up to a colon.
async fn number(client: &mut BufReader<OwnedReadHalf>) -> io::Result<usize> {
    let mut digits = Vec::new();
    client.read_until(b':', &mut digits).await?;
    let digits = String::from_utf8_lossy(&digits);
    digits.trim_end_matches(':').parse().map_err(io::Error::other)
}

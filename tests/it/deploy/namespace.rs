//! Hosts of their own: a network and a view of files each, in namespaces of the kernel. Nothing of this machine's
//! network is used, and everything is gone when they are dropped.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns};

use super::skipped;

/// How long somebody waits for an answer before it counts as none. Answers come within milliseconds.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A host with nothing but loopback, and empty `/etc` and `/run`.
pub(super) struct Host {
    /// Ends when its stdin does, at the latest with this process.
    holder: Child,
}

impl Host {
    /// None if this machine makes no namespaces; then it was said for all to see.
    pub(super) fn start(what: &str) -> Option<Self> {
        let made = || -> io::Result<Self> {
            let script = "mount --make-rprivate / && mount -t tmpfs none /etc && mount -t tmpfs none /run \
                          && ip link set lo up && echo made && exec cat";
            let mut holder = Command::new("unshare")
                .args(["--net", "--mount", "sh", "-c", script])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let mut line = String::new();
            BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line)?;
            if line.trim() == "made" {
                return Ok(Self { holder });
            }
            let mut why = String::new();
            holder.stderr.as_mut().unwrap().read_to_string(&mut why)?;
            holder.wait()?;
            Err(io::Error::other(why.trim().to_owned()))
        };
        made().map_err(|error| skipped(what, &format!("no namespaces: {error}"))).ok()
    }

    fn id(&self) -> String {
        self.holder.id().to_string()
    }

    /// What `nsenter` is told, for a program to run in it.
    pub(super) fn entering(&self) -> Vec<String> {
        ["--target", &self.id(), "--net", "--mount", "--"].map(str::to_owned).to_vec()
    }

    /// A program in it.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(self.entering()).arg(program);
        command.stdin(Stdio::null());
        command
    }

    pub(super) fn output(&self, program: impl AsRef<OsStr>, args: &[&str]) -> Output {
        self.command(program).args(args).output().unwrap()
    }

    /// A program that must succeed; what it printed.
    #[track_caller]
    pub(super) fn run(&self, program: impl AsRef<OsStr>, args: &[&str]) -> String {
        let ran = self.output(program, args);
        let said = String::from_utf8_lossy(&[&*ran.stdout, &*ran.stderr].concat()).into_owned();
        assert!(ran.status.success(), "{args:?}: {}\n{said}", ran.status);
        said
    }

    /// Does something in its network. Sockets that are made there stay there.
    pub(super) fn inside<T: Send + 'static>(&self, deed: impl FnOnce() -> T + Send + 'static) -> T {
        let net = File::open(format!("/proc/{}/ns/net", self.id())).unwrap();
        // A thread of its own, for the change is of the thread that makes it.
        let thread = thread::spawn(move || {
            setns(net, CloneFlags::CLONE_NEWNET).unwrap();
            deed()
        });
        thread.join().unwrap()
    }

    /// A cable to another host, with networks at its ends such as `10.1.0.1/24`.
    pub(super) fn connect(&self, name: &str, ours: &[&str], other: &Self, theirs: &[&str]) {
        let id = other.id();
        self.run("ip", &["link", "add", name, "type", "veth", "peer", "name", name, "netns", &id]);
        for (host, networks) in [(self, ours), (other, theirs)] {
            for network in networks {
                // Without the search for others who have the same IPv6 address, it can be used at once.
                let nodad: &[&str] = if network.contains(':') { &["nodad"] } else { &[] };
                host.run("ip", &[&["address", "add", network, "dev", name], nodad].concat());
            }
            host.run("ip", &["link", "set", name, "up"]);
        }
    }

    /// Listens in it, and accepts in the kernel.
    pub(super) fn listen(&self, addr: &str) -> TcpListener {
        let addr: SocketAddr = addr.parse().unwrap();
        self.inside(move || TcpListener::bind(addr).unwrap())
    }

    /// Whether a TCP connection from it comes about. Refused is none either, and not what a test wants to see.
    pub(super) fn reaches(&self, addr: &str) -> Result<(), io::ErrorKind> {
        let addr: SocketAddr = addr.parse().unwrap();
        self.inside(move || {
            TcpStream::connect_timeout(&addr, PATIENCE).map(drop).map_err(|error| error.kind())
        })
    }

    /// How many bytes answer the beginning of a TLS handshake, until the other side closes.
    pub(super) fn hears(&self, addr: &str) -> usize {
        let addr: SocketAddr = addr.parse().unwrap();
        self.inside(move || {
            let mut stream = TcpStream::connect_timeout(&addr, PATIENCE).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            // A record of the type handshake, whose rest never comes.
            let _ = stream.write_all(&[22, 3, 1, 0, 64, 1]);
            let mut heard = Vec::new();
            match stream.read_to_end(&mut heard) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("it was not closed"),
                Ok(_) | Err(_) => heard.len(),
            }
        })
    }

    /// Whether a datagram from it to this address comes to `answers`, and an answer back.
    pub(super) fn is_heard_at(&self, to: &str, answers: &UdpSocket) -> bool {
        let to: SocketAddr = to.parse().unwrap();
        let ours = self.inside(move || {
            let ours = UdpSocket::bind("0.0.0.0:0").unwrap();
            ours.send_to(b"totem", to).unwrap();
            ours
        });
        let mut heard = [0; 16];
        answers.set_read_timeout(Some(PATIENCE)).unwrap();
        let Ok((_, from)) = answers.recv_from(&mut heard) else { return false };
        answers.send_to(b"heard", from).unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        ours.recv_from(&mut heard).is_ok()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

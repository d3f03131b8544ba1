//! The programs behind a browser: found, started, and gone without a trace afterwards.
//!
//! A test can end in ways that run no destructor (SIGKILL, `abort`, Ctrl-C). So the end does not
//! depend on one: a small shell waits on a pipe that only the test holds, and when that closes, for
//! whatever reason, it kills chromedriver's process group (Chromium is in it) and removes the
//! directory. Only Chromium's crash handlers leave the group; they end by themselves when it does.

use std::{
    ffi::OsStr,
    fs, io,
    io::{BufRead, Write},
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::oneshot;

/// Says what to do about a program that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{program}` is not in PATH; the browser tests need Debian's packages chromium, chromium-driver and \
     libnss3-tools: run `bash tests/run`, or `apt-get install chromium chromium-driver libnss3-tools`"
)]
pub(crate) struct Missing {
    program: &'static str,
}

/// Where the programs are.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    chromium: PathBuf,
    chromedriver: PathBuf,
    certutil: PathBuf,
}

impl Programs {
    /// Looks for all of them, needed at once or not: a test never skips for want of one.
    ///
    /// # Errors
    ///
    /// [`Missing`] names the first that is not in `path`.
    pub(crate) fn find(path: &OsStr) -> Result<Self, Missing> {
        let find = |program| {
            std::env::split_paths(path)
                .map(|directory| directory.join(program))
                .find(|file| is_program(file))
                .ok_or(Missing { program })
        };
        Ok(Self {
            chromium: find("chromium")?,
            chromedriver: find("chromedriver")?,
            certutil: find("certutil")?,
        })
    }

    pub(super) fn chromium(&self) -> &Path {
        &self.chromium
    }
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// A running chromedriver, its directory, and what ends both.
#[derive(Debug)]
pub(super) struct Chromedriver {
    child: Child,
    leash: Child,
    directory: PathBuf,
    port: u16,
    said: Arc<Mutex<String>>,
}

impl Chromedriver {
    /// Starts a chromedriver on a port that the system chooses, with a home directory of its own in
    /// which `trust` (PEM) is a trusted CA.
    ///
    /// # Panics
    ///
    /// If it does not start; the message holds what it said.
    pub(super) async fn start(programs: &Programs, trust: Option<&str>) -> Self {
        let directory = make_directory();
        let home = directory.join("home");
        let said = Arc::new(Mutex::new(String::new()));

        // One process group for all that follows from it, apart from ours.
        let mut child = Command::new(&programs.chromedriver)
            .arg("--port=0")
            .env("HOME", &home)
            .env("TMPDIR", &directory)
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_DATA_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", programs.chromedriver.display()));
        let leash = leash(&child, &directory);
        let port = read_port(&mut child, Arc::clone(&said));
        let mut chromedriver = Self { child, leash, directory, port: 0, said };

        if let Some(ca) = trust {
            install_ca(&programs.certutil, &home, ca);
        }
        chromedriver.port = port
            .await
            .unwrap_or_else(|_| panic!("chromedriver ended before it had a port\n{}", chromedriver.said()));
        chromedriver
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Chromium's profile. It is made by Chromium.
    pub(super) fn profile(&self) -> PathBuf {
        self.directory.join("profile")
    }

    /// What chromedriver printed so far.
    pub(super) fn said(&self) -> String {
        self.said.lock().map(|said| said.clone()).unwrap_or_default()
    }
}

impl Drop for Chromedriver {
    fn drop(&mut self) {
        drop(self.leash.stdin.take());
        // Nobody is left to tell if this fails, and a panic here would hide the test's own.
        let _ = self.leash.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the shell that clears up when its standard input ends.
fn leash(chromedriver: &Child, directory: &Path) -> Child {
    // Processes that are dying may still write: `rm` gets a few tries.
    const CLEAR_UP: &str = "cat >/dev/null; kill -s KILL -- \"-$1\" 2>/dev/null
        for try in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- \"$2\" 2>/dev/null && exit; sleep 0.1; done";
    Command::new("/bin/sh")
        .args(["-c", CLEAR_UP, "leash"])
        .arg(chromedriver.id().to_string())
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C is for the tests; what clears up after them must outlive it.
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("/bin/sh: {error}"))
}

/// Makes a directory that is ours alone. Short, as a UNIX socket's path has 108 bytes.
fn make_directory() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("pvegate-browser-{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => {
                fs::create_dir(directory.join("home")).unwrap_or_else(|error| panic!("{error}"));
                return directory;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => panic!("{}: {error}", directory.display()),
        }
    }
}

/// Reads what chromedriver prints until it ends, and answers with its port once that is known.
fn read_port(chromedriver: &mut Child, said: Arc<Mutex<String>>) -> oneshot::Receiver<u16> {
    let (answer, port) = oneshot::channel();
    let output = chromedriver.stdout.take();
    std::thread::spawn(move || {
        let mut answer = Some(answer);
        for line in output.into_iter().flat_map(|output| io::BufReader::new(output).lines()) {
            let Ok(line) = line else { return };
            if let Ok(mut said) = said.lock() {
                said.push_str(&line);
                said.push('\n');
            }
            if let Some(port) = port_in(&line)
                && let Some(answer) = answer.take()
            {
                // The test may have given up.
                let _ = answer.send(port);
            }
        }
    });
    port
}

/// `ChromeDriver was started successfully on port 35571.`
fn port_in(line: &str) -> Option<u16> {
    line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
}

/// Puts a CA where Chromium looks for those that its owner trusts.
fn install_ca(certutil: &Path, home: &Path, ca: &str) {
    let database = home.join(".pki/nssdb");
    fs::create_dir_all(&database).unwrap_or_else(|error| panic!("{}: {error}", database.display()));
    let run = |args: &[&str]| {
        let mut child = Command::new(certutil)
            .arg("-d")
            .arg(format!("sql:{}", database.display()))
            .args(args)
            .env("HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", certutil.display()));
        if let Some(mut input) = child.stdin.take() {
            // It reads none of this when it makes the database.
            let _ = input.write_all(ca.as_bytes());
        }
        let output = child.wait_with_output().unwrap_or_else(|error| panic!("certutil: {error}"));
        assert!(output.status.success(), "certutil {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    // Once: on a database that exists this asks for a password for ever.
    run(&["-N", "--empty-password"]);
    run(&["-A", "-a", "-n", "ca", "-t", "C,,"]);
}

#[test]
fn chromedriver_tells_its_port() {
    assert_eq!(port_in("ChromeDriver was started successfully on port 35571."), Some(35571));
    assert_eq!(port_in("Starting ChromeDriver 156.0.8078.79 (a21ce95c) on port 0"), None);
}

#[tokio::test]
async fn a_chromedriver_takes_its_processes_and_files_along() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let programs = Programs::find(&path).unwrap_or_else(|missing| panic!("{missing}"));
    let chromedriver = Chromedriver::start(&programs, None).await;
    let (directory, port) = (chromedriver.directory.clone(), chromedriver.port);
    assert!(directory.is_dir() && std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());

    let panicked = tokio::spawn(async move {
        let _chromedriver = chromedriver;
        panic!("as a test does that fails");
    });

    assert!(panicked.await.is_err());
    assert!(!directory.exists());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

//! The program itself, as people and systemd run it.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader, ErrorKind, Read, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

/// Longest wait for a line or an end; nothing that is right takes as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a run to the end left.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// What it printed, if it did what it was asked.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// The lines on stdout, each a JSON object.
    #[track_caller]
    pub fn json(self) -> Vec<serde_json::Value> {
        let text = self.ok();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }
}

/// Runs `pvegate` to its end; a test that serves meanwhile goes on.
pub async fn pvegate<S: AsRef<str>>(args: &[S]) -> Ended {
    pvegate_in(Path::new("/"), args).await
}

/// Runs it with a home directory.
pub async fn pvegate_in<S: AsRef<str>>(home: &Path, args: &[S]) -> Ended {
    let mut command = command(args);
    command.env("HOME", home);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs it with these variables.
pub async fn pvegate_with<S: AsRef<str>>(variables: &[(&str, &str)], args: &[S]) -> Ended {
    let mut command = command(args);
    command.envs(variables.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs it with this on its stdin.
pub async fn pvegate_told<S: AsRef<str>>(stdin: &str, args: &[S]) -> Ended {
    let mut command = command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let stdin = stdin.to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        // It may be done before it has read that.
        match child.stdin.take().unwrap().write_all(stdin.as_bytes()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written.unwrap(),
        }
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The program: that of this build, or another one (`bash tests/long` names one that is optimised).
pub fn program() -> OsString {
    std::env::var_os("PVEGATE_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_pvegate").into())
}

/// Nothing of our own surroundings steers it.
fn command<S: AsRef<str>>(args: &[S]) -> Command {
    let mut command = Command::new(program());
    command.args(args.iter().map(AsRef::as_ref)).env_clear().stdin(Stdio::null());
    if args.iter().any(|arg| arg.as_ref() == "serve") {
        // All would want the same port. A test that watches says where.
        command.env("PVEGATE_METRICS__LISTEN", "");
    }
    command
}

/// A `pvegate` that goes on running. Killed when this is dropped.
pub struct Process {
    child: Child,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
    said: Arc<Mutex<String>>,
}

impl Process {
    pub fn start<S: AsRef<str>>(args: &[S]) -> Self {
        Self::spawn(command(args))
    }

    /// Starts it with this variable of the environment.
    pub fn start_with<S: AsRef<str>>(name: &str, value: &str, args: &[S]) -> Self {
        let mut command = command(args);
        command.env(name, value);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::<Mutex<String>>::default();
        let stdout = lines(child.stdout.take().unwrap(), said.clone());
        let stderr = lines(child.stderr.take().unwrap(), said.clone());
        Self { child, stdout, stderr, said }
    }

    /// Starts it with these variables.
    pub fn start_in<S: AsRef<str>>(variables: &[(&str, &str)], args: &[S]) -> Self {
        let mut command = command(args);
        command.envs(variables.iter().copied());
        Self::spawn(command)
    }

    /// Has another program start it, which takes it and its arguments after its own.
    pub fn start_by<S: AsRef<str>>(starter: &str, options: &[&str], args: &[S]) -> Self {
        let mut command = Command::new(starter);
        command
            .args(options)
            .arg(program())
            .args(args.iter().map(AsRef::as_ref))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null());
        Self::spawn(command)
    }

    /// Starts it with no more than so many descriptors.
    pub fn start_with_descriptors<S: AsRef<str>>(count: usize, args: &[S]) -> Self {
        Self::limited(&format!("ulimit -n {count}"), args)
    }

    /// Starts it with no more than so many descriptors, of which it may give itself more.
    pub fn start_with_soft_descriptors<S: AsRef<str>>(count: usize, args: &[S]) -> Self {
        Self::limited(&format!("ulimit -Sn {count}"), args)
    }

    fn limited<S: AsRef<str>>(limit: &str, args: &[S]) -> Self {
        let mut limited = Command::new("sh");
        limited
            .args(["-c", &format!("{limit}; exec \"$@\""), "sh"])
            .arg(program())
            .args(args.iter().map(AsRef::as_ref))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("PVEGATE_METRICS__LISTEN", "")
            .stdin(Stdio::null());
        Self::spawn(limited)
    }

    /// Starts it by another program, which takes ours and its arguments as its last ones.
    pub fn start_under<S: AsRef<str>>(starter: &str, first: &[&str], args: &[S]) -> Self {
        let mut starting = Command::new(starter);
        starting
            .args(first)
            .arg(program())
            .args(args.iter().map(AsRef::as_ref))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
        Self::spawn(starting)
    }

    /// The next line on stdout.
    #[track_caller]
    pub fn line(&self) -> String {
        self.stdout.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("no line ({e}) after: {}", self.said()))
    }

    /// The next line on stderr with these words.
    #[track_caller]
    pub fn logs(&self, words: &str) -> String {
        loop {
            match self.stderr.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(words) => return line,
                Ok(_) => {}
                Err(error) => panic!("no `{words}` ({error}) in: {}", self.said()),
            }
        }
    }

    /// Lets [`Self::peak_memory`] begin anew, from what is resident now (proc(5), `clear_refs`).
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    /// The most memory that it had resident, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The processor time that it has used (proc(5), `stat`: hundredths of a second).
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Its limits of descriptors, soft and hard (proc(5), `limits`).
    pub fn descriptor_limits(&self) -> (String, String) {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.child.id())).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        let mut numbers = line.split_whitespace().map(str::to_owned);
        (numbers.next().unwrap(), numbers.next().unwrap())
    }

    /// Descriptors that it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Everything that it printed so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Sends it a signal, e.g. `USR1`.
    #[track_caller]
    pub fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits for the end; gives the exit code.
    #[track_caller]
    pub fn terminate(mut self) -> Option<i32> {
        self.signal("TERM");
        // It has ended when nobody can write to its output any more.
        while self
            .stdout
            .recv_timeout(PATIENCE)
            .map_err(|e| assert_eq!(e, mpsc::RecvTimeoutError::Disconnected))
            .is_ok()
        {}
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static, said: Arc<Mutex<String>>) -> mpsc::Receiver<String> {
    let (to, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut said = said.lock().unwrap();
            said.push_str(&line);
            said.push('\n');
            drop(said);
            // Nobody may be listening any more.
            let _ = to.send(line);
        }
    });
    receiver
}

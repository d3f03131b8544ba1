//! Tests of the audit file, on a real disk.

use std::os::unix::fs::symlink;

use flate2::{Compression, write::GzEncoder};

use super::*;
use crate::{
    audit::{Action, Event, Outcome, chain::Flaw},
    secret::{Key, random},
    time::Timestamp,
};

/// A directory of one test, removed with it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let name = data_encoding::HEXLOWER.encode(&random::<8>());
        let path = std::env::temp_dir().join(format!("pvegate-audit-{name}"));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> PathBuf {
        self.0.join("audit.jsonl")
    }

    fn open(&self) -> AuditFile {
        AuditFile::open(&self.path(), Some(key())).unwrap()
    }

    /// The number of lines in all files that are one whole chain, from its beginning.
    fn whole(&self) -> Result<u64, Flaw> {
        let mut head = Head::NONE;
        for file in rotated::files(&self.path()).unwrap() {
            for line in rotated::lines(&file).unwrap() {
                let link = chain::check(&String::from_utf8(line.unwrap()).unwrap(), Some(&key()))?;
                link.follows(head)?;
                head = link.head;
            }
        }
        Ok(head.sequence)
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.0.join(from), self.0.join(to)).unwrap();
    }

    fn pack(&self, from: &str, to: &str) {
        let mut packed = GzEncoder::new(File::create(self.0.join(to)).unwrap(), Compression::fast());
        packed.write_all(&fs::read(self.0.join(from)).unwrap()).unwrap();
        packed.finish().unwrap();
        fs::remove_file(self.0.join(from)).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn key() -> MacKey {
    Key::from_bytes([7; 32]).for_macs()
}

fn records(count: usize) -> Vec<Arc<Record>> {
    let event = Event::new(Action::SignIn, Outcome::Failure);
    (0..count).map(|_| Arc::new(Record::of(&event, Timestamp::from_secs(0), None, "pve"))).collect()
}

fn append(file: &mut AuditFile, count: usize) {
    let (delivered, result) = file.append(&records(count));
    result.unwrap();
    assert_eq!(delivered, count);
}

#[test]
fn the_chain_goes_on_after_a_restart() {
    let place = Place::new();
    append(&mut place.open(), 3);
    append(&mut place.open(), 2);

    assert_eq!(place.whole(), Ok(5));
}

#[test]
fn many_writers_at_once_make_one_chain_and_lose_no_line() {
    let place = Place::new();
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut file = place.open();
                (0..25).for_each(|_| append(&mut file, 2));
            });
        }
    });

    assert_eq!(place.whole(), Ok(300));
}

#[test]
fn the_chain_crosses_rotated_and_packed_files_whoever_writes_next() {
    let place = Place::new();
    let (mut gate, mut idle) = (place.open(), place.open());
    append(&mut idle, 1);
    append(&mut gate, 2);
    place.rename("audit.jsonl", "audit.jsonl.1");
    append(&mut gate, 2);
    place.pack("audit.jsonl.1", "audit.jsonl.2.gz");
    place.rename("audit.jsonl", "audit.jsonl.1");
    append(&mut place.open(), 1);
    append(&mut idle, 1);
    gate.reopen();
    append(&mut gate, 1);

    assert_eq!(place.whole(), Ok(8));
    assert_eq!(rotated::files(&place.path()).unwrap().len(), 3);
}

#[test]
fn a_verb_goes_on_where_an_empty_file_took_the_place_of_a_packed_one() {
    let place = Place::new();
    append(&mut place.open(), 4);
    place.pack("audit.jsonl", "audit.jsonl.1.gz");
    File::create(place.path()).unwrap();
    append(&mut place.open(), 1);

    assert_eq!(place.whole(), Ok(5));
}

#[test]
fn what_a_crash_left_of_a_line_is_set_aside_and_kept() {
    let place = Place::new();
    append(&mut place.open(), 2);
    let whole = fs::read(place.path()).unwrap();
    for cut in [1, 10, whole.len() / 2 + 1] {
        fs::write(place.path(), &whole).unwrap();
        let mut torn = fs::OpenOptions::new().append(true).open(place.path()).unwrap();
        torn.write_all(&whole[..cut]).unwrap();
        let is_torn = whole[cut - 1] != b'\n';
        let _ = fs::remove_file(place.0.join("audit.jsonl.torn"));

        place.open();

        assert!(is_torn);
        assert_eq!(fs::read(place.path()).unwrap()[..whole.len()], whole);
        assert!(fs::read(place.path()).unwrap().ends_with(b"\n"));
        let aside = fs::read(place.0.join("audit.jsonl.torn")).unwrap();
        assert!(aside.len() > 1 && whole.windows(aside.len() - 1).any(|it| it == &aside[..aside.len() - 1]));
    }
    fs::write(place.path(), &whole).unwrap();
    append(&mut place.open(), 1);
    assert_eq!(place.whole(), Ok(3));
}

#[test]
fn a_file_that_is_cut_short_under_the_gate_does_not_begin_the_chain_anew() {
    let place = Place::new();
    let mut gate = place.open();
    append(&mut gate, 3);
    File::create(place.path()).unwrap();
    append(&mut gate, 1);

    assert_eq!(place.whole(), Err(Flaw::Order { before: 0 }));
}

#[test]
fn whoever_holds_the_lock_holds_nobody_up_for_long() {
    let place = Place::new();
    let mut file = place.open();
    let lock = File::open(place.0.join("audit.jsonl.lock")).unwrap();
    lock.lock().unwrap();

    let (delivered, result) = file.append(&records(1));
    assert_eq!((delivered, result.unwrap_err().kind()), (0, io::ErrorKind::ResourceBusy));

    lock.unlock().unwrap();
    append(&mut file, 1);
    assert_eq!(place.whole(), Ok(1));
}

#[test]
fn only_the_owner_opens_the_lock_and_nobody_follows_a_link() {
    let place = Place::new();
    append(&mut place.open(), 1);
    let mode = |name: &str| fs::metadata(place.0.join(name)).unwrap().mode() & 0o777;
    assert_eq!(mode("audit.jsonl.lock"), 0o600);
    assert_eq!(mode("audit.jsonl") & 0o007, 0);

    fs::remove_file(place.path()).unwrap();
    fs::write(place.0.join("passwd"), "").unwrap();
    symlink(place.0.join("passwd"), place.path()).unwrap();
    assert!(AuditFile::open(&place.path(), None).is_err());
    assert_eq!(fs::read(place.0.join("passwd")).unwrap(), b"");
}

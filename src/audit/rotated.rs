//! The audit file and what logrotate made of its predecessors, as one list of lines.
//!
//! `audit.jsonl.1` is younger than `audit.jsonl.2.gz`. Nothing is changed here.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

use super::{chain::Head, file::heads};

/// The files that are there, the oldest first.
///
/// # Errors
///
/// The directory can't be read.
pub fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = rotated(path)?;
    found.reverse();
    if path.exists() {
        found.push(path.to_owned());
    }
    Ok(found)
}

/// The lines of one file, unpacked.
///
/// # Errors
///
/// The file can't be opened.
pub fn lines(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Vec<u8>>> + use<>> {
    let file = File::open(path)?;
    let is_packed = path.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn BufRead> = if is_packed {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        Box::new(BufReader::new(file))
    };
    Ok(reader.split(b'\n'))
}

/// Where the chain ends in the youngest predecessor that has lines.
pub(super) fn newest_head(path: &Path) -> Option<Head> {
    rotated(path).ok()?.iter().find_map(|path| {
        let mut text = Vec::new();
        let file = File::open(path).ok()?;
        if path.extension().is_some_and(|extension| extension == "gz") {
            MultiGzDecoder::new(file).read_to_end(&mut text).ok()?;
        } else {
            BufReader::new(file).read_to_end(&mut text).ok()?;
        }
        heads(&text).next_back()
    })
}

/// The predecessors, the youngest first.
fn rotated(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|other| {
            let rest = other.strip_prefix(name)?.strip_prefix('.')?;
            rest.strip_suffix(".gz").unwrap_or(rest).parse::<u32>().ok()
        });
        if let Some(number) = number {
            found.push((number, entry.path()));
        }
    }
    // Where a file is there twice, logrotate was interrupted; what it was about to remove is the unpacked one.
    found.sort();
    found.dedup_by_key(|(number, _)| *number);
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

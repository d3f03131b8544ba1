//! What verbs ask of the gates that run on the store, and what those answer: there is no other way to them.
//!
//! A question is a row; gates hear of it by the change log and each write a row with their answer. Whoever
//! asked takes the question back, and its answers with it. Clocks play no part but for forgetting.

use std::time::Duration;

use rusqlite::{Connection, Row, Transaction, params};

use crate::time::Timestamp;

/// Whoever asks waits for seconds; what is older was left behind by a verb that was killed.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// The number of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QuestionId(pub(super) i64);

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// How the gate is: a report as JSON.
    Status,
}

impl Question {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
        }
    }
}

pub(super) fn ask(
    transaction: &Transaction<'_>,
    question: Question,
    now: Timestamp,
) -> rusqlite::Result<QuestionId> {
    transaction.execute("DELETE FROM question WHERE asked_at < ?1", [now.minus(FORGOTTEN_AFTER).millis()])?;
    transaction.execute(
        "INSERT INTO question (asked, asked_at) VALUES (?1, ?2)",
        params![question.as_str(), now.millis()],
    )?;
    Ok(QuestionId(transaction.last_insert_rowid()))
}

/// A question of a newer program's is left to newer gates.
pub(super) fn open(connection: &Connection, gate: &str) -> rusqlite::Result<Vec<(QuestionId, Question)>> {
    let known = |row: &Row<'_>| {
        let asked: String = row.get(1)?;
        Ok((asked == Question::Status.as_str()).then_some((QuestionId(row.get(0)?), Question::Status)))
    };
    let found: Vec<_> = connection
        .prepare_cached(
            "SELECT id, asked FROM question
             WHERE NOT EXISTS (SELECT 1 FROM answer WHERE question_id = question.id AND gate = ?1) ORDER BY id",
        )?
        .query_map([gate], known)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// Nothing is written where the question was taken back.
pub(super) fn answer(
    transaction: &Transaction<'_>,
    question: QuestionId,
    gate: &str,
    answer: &str,
) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT OR IGNORE INTO answer (question_id, gate, answer) SELECT id, ?2, ?3 FROM question WHERE id = ?1",
        params![question.0, gate, answer],
    )?;
    Ok(())
}

pub(super) fn answers(connection: &Connection, question: QuestionId) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT answer FROM answer WHERE question_id = ?1 ORDER BY gate")?
        .query_map([question.0], |row| row.get(0))?
        .collect()
}

pub(super) fn take_back(transaction: &Transaction<'_>, question: QuestionId) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM question WHERE id = ?1", [question.0])?;
    Ok(())
}

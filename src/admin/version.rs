//! `pvegate version`

use serde_json::json;

use super::{Failure, lines, output::Output};
use crate::store::SCHEMA;

#[expect(clippy::unnecessary_wraps, reason = "as every verb")]
pub(super) fn run(output: &Output) -> Result<(), Failure> {
    let (version, system, machine) =
        (env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    let object = json!({ "version": version, "system": system, "machine": machine, "schema": SCHEMA });
    output.data(&object, || {
        let facts =
            [("system", format!("{system} on {machine}")), ("schema", format!("{SCHEMA}, of the database"))];
        format!("pvegate {version}\n{}", lines(&facts))
    });
    Ok(())
}

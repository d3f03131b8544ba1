//! The portal's style sheet, script and icon, compiled into the program.
//!
//! The address of each holds the beginning of its SHA-256: a browser may keep it for a year, because
//! changed bytes have another address. Which fields go with the answer is the route's business.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use crate::names::PREFIX;

/// A file that pages refer to.
#[derive(Debug)]
pub struct Asset {
    /// Its bytes.
    pub bytes: &'static [u8],
    /// Its media type, for the field `Content-Type`.
    pub content_type: &'static str,
    path: String,
}

impl Asset {
    fn new(stem: &str, extension: &str, content_type: &'static str, bytes: &'static [u8]) -> Self {
        let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(bytes));
        let hash8: String = digest.chars().take(8).collect();
        Self { bytes, content_type, path: format!("{PREFIX}assets/{stem}-{hash8}.{extension}") }
    }

    /// The path to ask for it, e.g. `/_gate/assets/gate-1a2b3c4d.css`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("gate", "css", "text/css; charset=utf-8", include_bytes!("assets/gate.css")));

static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("gate", "js", "text/javascript; charset=utf-8", include_bytes!("assets/gate.js"))
});

static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_bytes!("assets/icon.svg")));

/// The style sheet of all pages.
#[must_use]
pub fn style() -> &'static Asset {
    &STYLE
}

/// The script of all pages, an ECMAScript module.
#[must_use]
pub fn script() -> &'static Asset {
    &SCRIPT
}

/// The icon in the browser's tab and above each page.
#[must_use]
pub fn icon() -> &'static Asset {
    &ICON
}

/// The asset at `path` (exactly, without query), if there is one.
#[must_use]
pub fn find(path: &str) -> Option<&'static Asset> {
    [style(), script(), icon()].into_iter().find(|asset| asset.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_asset_is_found_at_its_own_path_and_nowhere_else() {
        for asset in [style(), script(), icon()] {
            assert!(std::ptr::eq(find(asset.path()).unwrap(), asset), "{}", asset.path());
        }
        for path in ["/_gate/assets/gate.css", "/_gate/assets/", "/_gate/assets/gate-00000000.css", ""] {
            assert!(find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn a_path_holds_eight_hexadecimal_digits_of_its_hash() {
        let path = style().path();
        let hash = path.strip_prefix("/_gate/assets/gate-").unwrap().strip_suffix(".css").unwrap();

        assert_eq!(hash.len(), 8);
        assert!(hash.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()), "{hash}");
    }

    #[test]
    fn the_script_uses_nothing_that_the_content_security_policy_forbids() {
        let script = std::str::from_utf8(script().bytes).unwrap();

        for forbidden in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", ".style"]
        {
            assert!(!script.contains(forbidden), "{forbidden}");
        }
    }
}

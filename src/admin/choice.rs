//! Arguments that are one of a few words.

use clap::builder::{PossibleValuesParser, TypedValueParser};

/// Takes the word of one of `all`; help and completions name them.
pub(super) fn choice<T>(all: &'static [T], word: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.iter().map(|one| word(*one)))
        .try_map(move |text| all.iter().copied().find(|one| word(*one) == text).ok_or(NotOne))
}

/// Only words of the list come this far.
#[derive(Debug, thiserror::Error)]
#[error("not one of the words")]
struct NotOne;

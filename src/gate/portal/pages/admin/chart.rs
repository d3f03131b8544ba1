//! Charts: plain shapes with their numbers in a table below, no style attributes, colours by class.

/// A chart and its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    /// Identifies it within the page.
    pub id: &'static str,
    /// What it shows.
    pub title: String,
    /// What stands out, in a sentence, for whoever does not see it.
    pub description: String,
    /// The shapes.
    pub drawing: Drawing,
    /// Heads of the table's columns.
    pub heads: Vec<String>,
    /// Its rows; the first cell names the row.
    pub rows: Vec<Vec<String>>,
}

/// The shapes of a chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawing {
    /// Height in the units of the shapes; the width is [`Drawing::WIDTH`].
    pub height: u32,
    /// The bars.
    pub bars: Vec<Bar>,
    /// Words: from the left, from above, and the text, which begins there.
    pub labels: Vec<(u32, u32, String)>,
}

/// A rectangle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// From the left.
    pub x: u32,
    /// From above.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
    /// What it stands for.
    pub colour: Colour,
}

/// What a bar stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Something that is as it should be.
    Good,
    /// Something refused.
    Bad,
    /// Something behind another bar.
    Quiet,
}

impl Colour {
    /// The class of the bar.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Quiet => "quiet",
        }
    }
}

const ROW: u32 = 40;
const BAR: u32 = 14;
const TEXT: u32 = 14;
const COLUMNS_HEIGHT: u32 = 110;

impl Drawing {
    /// Width of every drawing.
    pub const WIDTH: u32 = 336;

    /// Lying bars, one for each name, with its parts one after the other.
    pub(in crate::gate::portal) fn lying(rows: &[(String, Vec<(u64, Colour)>)]) -> Self {
        let most =
            rows.iter().map(|(_, parts)| parts.iter().map(|(value, _)| value).sum()).max().unwrap_or(0);
        let (mut bars, mut labels) = (Vec::new(), Vec::new());
        let mut top = 0;
        for (name, parts) in rows {
            labels.push((0, top + TEXT, name.clone()));
            let mut x = 0;
            for (value, colour) in parts {
                let width = scaled(*value, most, Self::WIDTH);
                if width > 0 {
                    bars.push(Bar { x, y: top + TEXT + 6, width, height: BAR, colour: *colour });
                    x += width;
                }
            }
            top += ROW;
        }
        Self { height: top, bars, labels }
    }

    /// Standing bars, the same number of columns for every series; a later series stands before an earlier.
    /// `most` is told at the top, `ends` below the first and last column.
    pub(in crate::gate::portal) fn standing(
        series: &[(Vec<u64>, Colour)],
        most_told: impl Fn(u64) -> String,
        ends: (String, String),
    ) -> Self {
        let most = series.iter().flat_map(|(values, _)| values).copied().max().unwrap_or(0);
        let mut bars = Vec::new();
        for (values, colour) in series {
            let columns = u32::try_from(values.len()).unwrap_or(1).max(1);
            let step = Self::WIDTH / columns;
            for (value, column) in values.iter().zip(0..) {
                let height = scaled(*value, most, COLUMNS_HEIGHT);
                if height > 0 {
                    let y = TEXT + 6 + COLUMNS_HEIGHT - height;
                    bars.push(Bar {
                        x: column * step + 1,
                        y,
                        width: step.saturating_sub(2),
                        height,
                        colour: *colour,
                    });
                }
            }
        }
        let below = TEXT + 6 + COLUMNS_HEIGHT + TEXT + 2;
        let labels = vec![(0, TEXT, most_told(most)), (0, below, ends.0), (Self::WIDTH - 40, below, ends.1)];
        Self { height: below + 4, bars, labels }
    }
}

/// `value` of `most`, in parts of `whole`: nothing for nothing, and at least one for something.
fn scaled(value: u64, most: u64, whole: u32) -> u32 {
    if value == 0 || most == 0 {
        return 0;
    }
    let part = u128::from(value) * u128::from(whole) / u128::from(most);
    u32::try_from(part).unwrap_or(whole).clamp(1, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fills_the_drawing_and_something_is_never_nothing() {
        let rows = [
            ("a".to_owned(), vec![(900, Colour::Good), (100, Colour::Bad)]),
            ("b".to_owned(), vec![(1, Colour::Good), (0, Colour::Bad)]),
        ];
        let Drawing { height, bars, labels } = Drawing::lying(&rows);

        let widths: Vec<_> = bars.iter().map(|bar| (bar.x, bar.width)).collect();
        assert_eq!(widths, [(0, 302), (302, 33), (0, 1)]);
        assert_eq!((height, labels.len()), (2 * ROW, 2));
        assert!(bars.iter().all(|bar| bar.x + bar.width <= Drawing::WIDTH && bar.y + bar.height <= height));
    }

    #[test]
    fn columns_stand_on_one_line() {
        let series = [(vec![5, 10], Colour::Quiet), (vec![0, 2], Colour::Good)];
        let Drawing { height, bars, .. } =
            Drawing::standing(&series, |most| most.to_string(), (String::new(), String::new()));

        assert_eq!(bars.len(), 3);
        assert!(bars.iter().all(|bar| bar.y + bar.height == TEXT + 6 + COLUMNS_HEIGHT && bar.y < height));
    }
}

//! Which rows of a pass go through which adapters, so that one pass over one base answers for many.

use std::ops::Range;
use std::sync::Arc;

use kernels::Offsets;

use crate::{Adapter, AdapterSet, EmbeddingAdapter, ResidualAdapter};

/// Rows of a pass, each range with the adapters that its rows go through. Rows in no range go through the model alone.
#[derive(Debug, Clone, Default)]
pub struct Routes(Arc<[Route]>);

#[derive(Debug, Clone)]
struct Route {
    rows: Range<usize>,
    adapters: Arc<AdapterSet>,
}

impl Routes {
    /// The rows of whole sequences: each goes through these adapters, or through none.
    pub fn of_sequences<'a>(
        sequences: &Offsets,
        adapters: impl IntoIterator<Item = Option<&'a Arc<AdapterSet>>>,
    ) -> Self {
        Self::of(adapters.into_iter().enumerate().map(|(sequence, adapters)| (sequences.range(sequence), adapters)))
    }

    /// Ascending ranges. Those that follow each other with the same adapters become one.
    fn of<'a>(ranges: impl Iterator<Item = (Range<usize>, Option<&'a Arc<AdapterSet>>)>) -> Self {
        let mut routes: Vec<Route> = Vec::new();
        for (rows, adapters) in ranges {
            let Some(adapters) = adapters else { continue };
            match routes.last_mut() {
                Some(last) if last.rows.end == rows.start && Arc::ptr_eq(&last.adapters, adapters) => {
                    last.rows.end = rows.end;
                }
                _ => routes.push(Route { rows, adapters: adapters.clone() }),
            }
        }
        Self(routes.into())
    }

    /// Whether all rows go through the model alone.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The adapters that a row goes through.
    fn adapters(&self, row: usize) -> Option<&Arc<AdapterSet>> {
        let route = self.0.get(self.0.partition_point(|route| route.rows.end <= row))?;
        route.rows.contains(&row).then_some(&route.adapters)
    }

    /// Those of these rows, as the rows of a pass of their own.
    pub(crate) fn select(&self, rows: impl ExactSizeIterator<Item = usize>) -> Self {
        if self.is_empty() {
            return Self::default();
        }
        Self::of(rows.enumerate().map(|(place, row)| (place..place + 1, self.adapters(row))))
    }

    /// All rows of a table through the adapters of the first row.
    pub(crate) fn of_table(&self, rows: usize) -> Self {
        Self::of([(0..rows, self.adapters(0))].into_iter())
    }

    /// Whether sequences that begin and end there go through different adapters.
    pub(crate) fn changes_between(&self, row: usize, next: usize) -> bool {
        self.adapters(row).map(Arc::as_ptr) != self.adapters(next).map(Arc::as_ptr)
    }

    /// The adapters of the linear layer whose path has this hash, with their rows.
    pub(crate) fn linear(&self, site: u64) -> impl Iterator<Item = (Range<usize>, &Adapter)> {
        self.0.iter().filter_map(move |route| Some((route.rows.clone(), route.adapters.linear(site)?)))
    }

    /// The same of an embedding.
    pub(crate) fn embedding(&self, site: u64) -> impl Iterator<Item = (Range<usize>, &EmbeddingAdapter)> {
        self.0.iter().filter_map(move |route| Some((route.rows.clone(), route.adapters.embedding(site)?)))
    }

    /// The same of a residual connection.
    pub fn residual(&self, site: u64) -> impl Iterator<Item = (Range<usize>, &ResidualAdapter)> {
        self.0.iter().filter_map(move |route| Some((route.rows.clone(), route.adapters.residual(site)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_adapters_wherever_they_are_taken() {
        let [first, second] = [(); 2].map(|()| Arc::new(AdapterSet::default()));
        let sequences = Offsets::new(&[0, 2, 5, 6, 8, 9]);
        let of_sequences = [Some(&first), Some(&first), None, Some(&second), Some(&first)];
        let routes = Routes::of_sequences(&sequences, of_sequences);
        assert_eq!(routes.0.len(), 3, "neighbours with the same adapters are one range");
        let name = |routes: &Routes, row| match routes.adapters(row) {
            Some(adapters) if Arc::ptr_eq(adapters, &first) => 'a',
            Some(_) => 'b',
            None => '-',
        };
        let names = |routes: &Routes, rows: Range<usize>| rows.map(|row| name(routes, row)).collect::<String>();
        assert_eq!(names(&routes, 0..10), "aaaaa-bba-");
        let rows = [7, 0, 5, 8, 4, 6];
        assert_eq!(names(&routes.select(rows.into_iter()), 0..7), "ba-aab-");
        assert_eq!(names(&routes.of_table(4), 0..5), "aaaa-");
        assert!(routes.select([5].into_iter()).is_empty());
        assert!(routes.changes_between(4, 5) && routes.changes_between(5, 6) && !routes.changes_between(1, 2));
    }
}

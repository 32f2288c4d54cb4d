//! Layout of the graph's drawing: waves from left to right, and within a wave, images with the same
//! parents next to each other.

use std::collections::BTreeMap;

/// An image to draw.
#[derive(Debug, Clone)]
pub struct Node {
    /// Topological wave of the image.
    pub wave: usize,
    /// Indices of the images that it needs.
    pub needs: Vec<usize>,
}

/// Position in the drawing, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Column, from the left.
    pub column: usize,
    /// Row, from the top.
    pub row: usize,
}

/// A wave in the drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Band {
    /// Number of the wave, from 1.
    pub wave: usize,
    /// Number of columns of the wave: a wave of many images would be too high in one column.
    pub columns: usize,
}

/// Layout of all images.
#[derive(Debug, PartialEq, Eq)]
pub struct Drawing {
    /// Position of each image; `None` if it is not drawn.
    pub cells: Vec<Option<Cell>>,
    /// Waves, from the left.
    pub bands: Vec<Band>,
}

/// Number of rows that even the smallest drawing may have.
const FEW: usize = 8;

/// Lays out `images`; those that are `None` are not drawn.
pub fn draw(images: &[Option<Node>]) -> Drawing {
    let mut waves: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (image, node) in images.iter().enumerate() {
        if let Some(node) = node {
            waves.entry(node.wave).or_default().push(image);
        }
    }
    let rows = rows(waves.values().map(Vec::len).sum());
    let mut heights: Vec<Option<f64>> = vec![None; images.len()];
    let mut drawing = Drawing { cells: vec![None; images.len()], bands: Vec::new() };
    let mut left = 0;
    for (wave, mut members) in waves {
        let wish = |image: &usize| barycentre(images[*image].as_ref(), &heights);
        members.sort_by(|one, other| wish(one).total_cmp(&wish(other)));
        let columns = members.len().div_ceil(rows);
        let per_column = members.len().div_ceil(columns);
        for (turn, image) in members.iter().enumerate() {
            heights[*image] = Some((turn as f64 + 0.5) / members.len() as f64);
            drawing.cells[*image] =
                Some(Cell { column: left + turn / per_column, row: turn % per_column });
        }
        drawing.bands.push(Band { wave, columns });
        left += columns;
    }
    drawing
}

/// Returns the number of rows that makes a drawing of so many images about twice as wide as high:
/// an image is about seven times as wide as high.
fn rows(images: usize) -> usize {
    (images * 7 / 2).isqrt().max(FEW)
}

/// Returns the mean height of the images that an image needs, as a fraction of the drawing's
/// height; 0.0, the top, if none of them is drawn.
fn barycentre(node: Option<&Node>, heights: &[Option<f64>]) -> f64 {
    let needs = node.into_iter().flat_map(|node| &node.needs);
    let found: Vec<f64> = needs.filter_map(|need| heights[*need]).collect();
    if found.is_empty() { 0.0 } else { found.iter().sum::<f64>() / found.len() as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(wave: usize, needs: &[usize]) -> Option<Node> {
        Some(Node { wave, needs: needs.to_vec() })
    }

    fn cells(images: &[Option<Node>]) -> Vec<Option<(usize, usize)>> {
        let cells = draw(images).cells.into_iter();
        cells.map(|cell| cell.map(|cell| (cell.column, cell.row))).collect()
    }

    #[test]
    fn children_lie_as_their_parents_do() {
        let images = [
            node(1, &[]),
            node(1, &[]),
            node(2, &[1]),
            node(2, &[0]),
            node(2, &[0, 1]),
            node(4, &[2]),
            node(4, &[3]),
        ];
        let at = |column, row| Some((column, row));
        assert_eq!(
            cells(&images),
            [at(0, 0), at(0, 1), at(1, 2), at(1, 0), at(1, 1), at(2, 1), at(2, 0)]
        );
        let waves: Vec<_> = draw(&images).bands.iter().map(|band| band.wave).collect();
        assert_eq!(waves, [1, 2, 4]);
    }

    #[test]
    fn omitted_images_take_no_place() {
        assert_eq!(draw(&[]), Drawing { cells: vec![], bands: vec![] });
        assert_eq!(draw(&[None]), Drawing { cells: vec![None], bands: vec![] });
        assert_eq!(cells(&[None, node(3, &[0])]), [None, Some((0, 0))]);
    }

    #[test]
    fn a_long_wave_takes_several_columns_of_the_same_height() {
        let mut images = vec![node(1, &[])];
        images.extend((0..19).map(|_| node(2, &[0])));
        images.push(node(3, &[1]));
        let Drawing { cells, bands } = draw(&images);
        let columns: Vec<_> = bands.iter().map(|band| band.columns).collect();
        assert_eq!(columns, [1, 3, 1]);
        let last_row = |column| {
            let of_column = cells.iter().flatten().filter(|cell| cell.column == column);
            of_column.map(|cell| cell.row).max()
        };
        assert_eq!([1, 2, 3, 4].map(last_row), [Some(6), Some(6), Some(4), Some(0)]);
        let taken: std::collections::BTreeSet<_> =
            cells.iter().flatten().map(|cell| (cell.column, cell.row)).collect();
        assert_eq!(taken.len(), images.len());
    }

    #[test]
    fn drawings_are_wider_than_high() {
        assert_eq!([0, 10, 18, 100, 500].map(rows), [8, 8, 8, 18, 41]);
    }
}

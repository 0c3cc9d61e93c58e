//! Contact sheets: a row for each sample, a title over each column.

use crate::images::{Image, PALETTE};
use crate::{font, resize};
use alias_model::{Sample, misaligned};

/// The titles of the pictures that `columns` gives.
pub const TITLES: [&str; 7] = ["agnostic", "pose", "labels", "garment", "mask", "result", "truth"];

const PAPER: [f32; 3] = [1.0; 3];
const INK: [f32; 3] = [-0.6, -0.6, -0.55];
/// Colour of the misaligned part of the garment in the mask column.
const MISALIGNED: [f32; 3] = [0.85, -0.05, -0.35];

/// A row of a sheet by [`TITLES`]: the pictures of a sample, the generator's result and the true picture. The mask
/// column shows the warped garment's mask and, in orange, the part of the garment class that it fails to cover.
///
/// # Panics
/// If the sample's batch is not 1, or if `result` or `truth` has another size.
pub fn columns(sample: &Sample, result: Image, truth: Image) -> [Image; 7] {
    let (height, width) = (sample.height, sample.width);
    assert_eq!(sample.batch, 1, "a row of a sheet shows a batch of one");
    for image in [&result, &truth] {
        assert_eq!((height, width), (image.height, image.width), "sample and picture differ in size");
    }
    let rgb = |data: &[f32]| Image { height, width, data: data.to_vec() };
    let mut labels = Image::filled(height, width, PAPER);
    let mut mask = labels.clone();
    for i in 0..height * width {
        let (y, x) = (i / width, i % width);
        let (label, cover) = (sample.labels[i], sample.warped_mask[i]);
        labels.set_pixel(y, x, PALETTE[usize::from(label)].map(|v| f32::from(v) / 127.5 - 1.0));
        let missing = misaligned(sample, i);
        mask.set_pixel(y, x, MISALIGNED.map(|colour| (cover * 1.7 - 0.85) * (1.0 - missing) + colour * missing));
    }
    [rgb(&sample.agnostic), rgb(&sample.pose), labels, rgb(&sample.warped_cloth), mask, result, truth]
}

/// Lays out rows of pictures under column titles. Every picture is scaled to `cell_height` and to one width, which
/// keeps the first picture's aspect ratio.
///
/// # Panics
/// If a row does not have one picture for each title.
pub fn sheet(titles: &[&str], rows: &[Vec<Image>], cell_height: usize) -> Image {
    let cell_height = cell_height.max(1);
    let cell_width = rows
        .first()
        .and_then(|row| row.first())
        .map_or(cell_height, |image| (image.width * cell_height).div_ceil(image.height.max(1)).max(1));
    // 16 letters fit into a cell's width, or fewer where a dot is a single pixel; margins scale with the letters.
    let dot = (cell_width / 96).max(1);
    let margin = 4 * dot;
    let header = font::HEIGHT * dot + 2 * margin;
    let width = margin + titles.len() * (cell_width + margin);
    let height = header + rows.len() * (cell_height + margin);
    let mut out = Image::filled(height, width, PAPER);
    for (column, title) in titles.iter().enumerate() {
        let left = margin + column * (cell_width + margin);
        let indent = cell_width.saturating_sub(font::width(title) * dot) / 2;
        // A title wider than its column is cut off.
        font::write(&mut out, title, [margin, left + indent], dot, cell_width - indent, INK);
    }
    for (r, row) in rows.iter().enumerate() {
        assert_eq!(row.len(), titles.len(), "row {r} has {} pictures for {} titles", row.len(), titles.len());
        for (column, image) in row.iter().enumerate() {
            let cell = resize::image(image, cell_height, cell_width);
            let (top, left) = (header + r * (cell_height + margin), margin + column * (cell_width + margin));
            for (y, x) in (0..cell_height).flat_map(|y| (0..cell_width).map(move |x| (y, x))) {
                out.set_pixel(top + y, left + x, cell.pixel(y, x));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;

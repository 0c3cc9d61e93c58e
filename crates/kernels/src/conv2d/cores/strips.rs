//! Dividing a convolution's output among threads.

use super::convolution::Convolution;
use alias_cpu::PANEL;
use std::ops::Range;

/// Rows and channels of an image that one thread computes.
pub(super) struct Strip<'a> {
    pub(super) n: usize,
    /// Rows of the output.
    pub(super) rows: Range<usize>,
    /// Panels of output channels.
    pub(super) panels: Range<usize>,
    /// For each channel of the panels, the rows of its plane that the strip is stored to.
    pub(super) planes: Vec<&'a mut [f32]>,
}

/// Divides the output of `conv` into strips of at most `rows` rows. If those are fewer than `wanted`, divides them by
/// channels, too.
pub(super) fn strips<'a>(conv: &Convolution, y: &'a mut [f32], rows: usize, wanted: usize) -> Vec<Strip<'a>> {
    let [height, width] = conv.stored;
    let (count, panels) = (conv.output[0].div_ceil(rows), conv.cout.div_ceil(PANEL));
    let parts = wanted.div_ceil(conv.batch * count).clamp(1, panels);
    let each = panels.div_ceil(parts);
    let parts = panels.div_ceil(each);
    let mut strips = Vec::with_capacity(conv.batch * count * parts);
    for n in 0..conv.batch {
        for strip in 0..count {
            for part in 0..parts {
                let panels = part * each..panels.min((part + 1) * each);
                let rows = strip * rows..conv.output[0].min((strip + 1) * rows);
                strips.push(Strip { n, rows, panels, planes: Vec::new() });
            }
        }
    }
    for (plane, y) in y.chunks_exact_mut(height * width).enumerate() {
        let (n, part) = (plane / conv.cout, plane % conv.cout / (each * PANEL));
        for (strip, y) in y.chunks_mut(rows * conv.step * width).take(count).enumerate() {
            strips[(n * count + strip) * parts + part].planes.push(y);
        }
    }
    strips
}

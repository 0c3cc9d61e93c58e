//! The networks' picture back into the person's photo.

use crate::error::Result;
use crate::picture::{Mask, Picture, Rgb8};

/// A generated picture's tone is corrected by the difference that it has to the photo at the rim, if that is at most
/// this many levels in every channel; from there on by less, ...
const TONE: f32 = 32.0;
/// ... and not at all from here on: then the photo shows another thing there.
const EDGE: f32 = 64.0;

/// The photo with the generated picture in `region`, which is what was painted gray; all three of the photo's size.
/// Outside of the region every pixel is the photo's.
///
/// Inside, a seam would show where generated and own tones differ. Blending with the photo's own pixels is no remedy,
/// for in the region they show the old garment and the old sleeves' skin. Instead, the difference of photo and
/// generated picture is taken from the nearest pixel outside of the region, where both show background, face or
/// trousers, and added to the generated picture, all of it at the rim and less and less over a few pixels (a 256th of
/// the photo's height). Where that difference is large, the photo shows another thing than the generator drew, as an
/// old garment that the region misses for want of a joint, and nothing is added.
///
/// # Errors
/// If the three differ in size.
pub fn paste(photo: &Rgb8, generated: &Rgb8, region: &Mask) -> Result<Rgb8> {
    photo.expect_size_of(generated, "the photo and the generated picture")?;
    let mut out = photo.zip(region, "the photo and its gray area", |pixel, _| pixel)?;
    let reach = ((photo.height() + 128) / 256).max(2);
    let nearest = nearest_outside(region, reach);
    for y in 0..photo.height() {
        for x in (0..photo.width()).filter(|&x| region.pixel(y, x)) {
            let pixel = generated.pixel(y, x);
            out.row_mut(y)[x] = pixel;
            let Some([oy, ox]) = nearest.pixel(y, x).map(|outside| outside.map(|at| at as usize)) else { continue };
            // The rim's own pixels are at distance 1.
            let distance = (squared_distance([y, x], [oy, ox]) as f32).sqrt();
            let share = (1.0 - (distance - 1.0) / reach as f32).max(0.0);
            let (own, drawn) = (photo.pixel(oy, ox), generated.pixel(oy, ox));
            let difference = [0, 1, 2].map(|c| f32::from(own[c]) - f32::from(drawn[c]));
            let largest = difference.iter().fold(0.0, |most: f32, d| most.max(d.abs()));
            let trust = ((EDGE - largest) / (EDGE - TONE)).clamp(0.0, 1.0);
            out.row_mut(y)[x] = [0, 1, 2].map(|c| (f32::from(pixel[c]) + difference[c] * share * trust).round() as u8);
        }
    }
    Ok(out)
}

fn squared_distance([y, x]: [usize; 2], [oy, ox]: [usize; 2]) -> usize {
    y.abs_diff(oy).pow(2) + x.abs_diff(ox).pow(2)
}

/// For each pixel of the region the row and column of the nearest one outside, if that is at most `reach` pixels away in
/// rows and columns.
fn nearest_outside(region: &Mask, reach: usize) -> Picture<Option<[u32; 2]>> {
    let (height, width) = (region.height(), region.width());
    let mut nearest: Picture<Option<[u32; 2]>> = region.map(|_| None);
    for y in 0..height {
        // The nearest pixel outside always has one of the region beside it.
        let [above, row, below] = [y.saturating_sub(1), y, (y + 1).min(height - 1)].map(|y| region.row(y));
        let is_beside = |x: usize| above[x] || below[x] || row[x.saturating_sub(1)] || row[(x + 1).min(width - 1)];
        for x in (0..width).filter(|&x| !row[x] && is_beside(x)) {
            let here = [y as u32, x as u32];
            for py in y.saturating_sub(reach)..(y + reach + 1).min(height) {
                for px in x.saturating_sub(reach)..(x + reach + 1).min(width) {
                    let squared = |[oy, ox]: [u32; 2]| squared_distance([py, px], [oy as usize, ox as usize]);
                    let best = &mut nearest.row_mut(py)[px];
                    if region.pixel(py, px) && best.is_none_or(|known| squared(here) < squared(known)) {
                        *best = Some(here);
                    }
                }
            }
        }
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 600x80: a photo, what was generated, and the region, a rectangle with a notch.
    fn pictures(own: u8, inside: u8, drawn: u8) -> (Rgb8, Rgb8, Mask) {
        let region = |y: usize, x: usize| (100..500).contains(&y) && (20..70).contains(&x) && !(y < 150 && x < 40);
        let mask = Mask::new(600, 80, (0..600 * 80).map(|i| region(i / 80, i % 80)).collect()).unwrap();
        let noise = |i: usize| (i * 7919 % 5) as u8;
        let photo = (0..600 * 80).map(|i| [if mask.pixels()[i] { inside } else { own } + noise(i); 3]).collect();
        (Rgb8::new(600, 80, photo).unwrap(), Rgb8::filled(600, 80, [drawn; 3]), mask)
    }

    #[test]
    fn no_pixel_outside_changes() {
        let (photo, generated, region) = pictures(100, 10, 110);
        let out = paste(&photo, &generated, &region).unwrap();
        let outside = (0..600 * 80).filter(|&i| !region.pixels()[i]);
        assert_eq!(outside.filter(|&i| out.pixels()[i] != photo.pixels()[i]).count(), 0);
    }

    #[test]
    fn tones_meet_at_the_rim_and_the_old_garment_does_not_show() {
        // Generated tones are 10 levels too light; the region is full of an old, dark garment.
        let (photo, generated, region) = pictures(98, 10, 110);
        let out = paste(&photo, &generated, &region).unwrap();
        let row: Vec<u8> = (20..30).map(|x| out.pixel(300, x)[0]).collect();
        assert!((98..=102).contains(&row[0]), "{row:?}");
        assert!(row.windows(2).all(|pair| pair[0] <= pair[1]) && row[3..].iter().all(|&v| v == 110), "{row:?}");
    }

    #[test]
    fn another_thing_at_the_rim_leaves_no_trace() {
        let (photo, generated, region) = pictures(200, 200, 110);
        let out = paste(&photo, &generated, &region).unwrap();
        assert!((0..600 * 80).all(|i| !region.pixels()[i] || out.pixels()[i] == [110; 3]));
    }

    #[test]
    fn regions_of_nothing_and_everything() {
        let (photo, generated, region) = pictures(100, 10, 110);
        assert_eq!(paste(&photo, &generated, &region.map(|_| false)).unwrap(), photo);
        assert_eq!(paste(&photo, &generated, &region.map(|_| true)).unwrap(), generated);
        paste(&photo, &Rgb8::filled(1, 1, [0; 3]), &region).unwrap_err();
    }

    #[test]
    fn the_nearest_pixel_outside_is_found() {
        let (_, _, region) = pictures(0, 0, 0);
        let small = Mask::new(60, 40, (0..60 * 40).map(|i| region.pixel(90 + i / 40, 10 + i % 40)).collect()).unwrap();
        let nearest = nearest_outside(&small, 60);
        for (y, x) in (0..60 * 40_usize).map(|i| (i / 40, i % 40)) {
            let squared = |i: usize| squared_distance([y, x], [i / 40, i % 40]);
            let truth = (0..60 * 40).filter(|&i| !small.pixels()[i]).map(squared).min().filter(|_| small.pixel(y, x));
            let found = nearest.pixel(y, x).map(|outside| outside.map(|at| at as usize));
            assert_eq!(found.map(|outside| squared_distance([y, x], outside)), truth, "{y} {x}");
            assert!(found.is_none_or(|[oy, ox]| !small.pixel(oy, ox)), "{y} {x}");
        }
    }
}

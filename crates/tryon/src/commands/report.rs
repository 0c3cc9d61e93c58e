//! Scores of many pictures, beside those of pasting the garment, as a table and as JSON.

use super::to_image;
use alias_model::{GARMENT, Sample, misaligned};
use alias_pictures::images::Image;
use alias_pictures::metrics::{Comparison, Scores};
use serde_json::{Value, json};
use std::fmt::Write;

/// The regions over which pictures are scored.
const REGIONS: [&str; 3] = ["picture", "garment", "misaligned"];

/// One picture's scores over each of [`REGIONS`]; None where a region is empty.
pub(super) struct Scored {
    pub(super) name: String,
    pub(super) generator: [Option<Scores>; 3],
    pub(super) paste: [Option<Scores>; 3],
}

impl Scored {
    /// Scores the picture that a generator has `drawn` for a sample, and the pasted one, against the true picture.
    pub(super) fn new(name: String, sample: &Sample, drawn: &Image, truth: &Image) -> Scored {
        let garment: Vec<_> = sample.labels.iter().map(|&label| f32::from(label == GARMENT)).collect();
        let missing: Vec<_> = (0..sample.labels.len()).map(|at| misaligned(sample, at)).collect();
        let scores = |image: &Image| {
            let comparison = Comparison::new(image, truth);
            [Some(comparison.scores()), comparison.scores_in(&garment), comparison.scores_in(&missing)]
        };
        Scored { name, generator: scores(drawn), paste: scores(&paste(sample)) }
    }
}

/// The warped garment pasted onto the agnostic picture by its mask.
pub(super) fn paste(sample: &Sample) -> Image {
    let covers = sample.warped_mask.iter().cycle();
    let pixels = sample.agnostic.iter().zip(&sample.warped_cloth).zip(covers);
    to_image(sample, pixels.map(|((person, cloth), cover)| person + (cloth - person) * cover).collect())
}

pub(super) struct Report {
    pub(super) pictures: Vec<Scored>,
}

/// The mean scores over a region, of the pictures where it is not empty.
struct Means {
    /// The number of these pictures.
    count: usize,
    generator: Scores,
    paste: Scores,
}

impl Report {
    /// The means over each region as a table: a line each for the generator, for pasting, and for the difference.
    pub(super) fn table(&self) -> String {
        let mut text = format!("{:24}{:>8}{:>9}{:>9}\n", "", "L1", "PSNR", "SSIM");
        for (region, title) in REGIONS.iter().enumerate() {
            let Some(Means { count, generator, paste }) = self.means(region) else {
                let _ = writeln!(text, "{title:12}in no picture");
                continue;
            };
            let Scores { l1, psnr, ssim } = difference(generator, paste);
            let _ = writeln!(text, "{title:12}{}", line("generator", generator));
            let _ = writeln!(text, "{:12}{}", "", line("paste", paste));
            let _ = writeln!(text, "{:12}{:12}{l1:>+8.4}{psnr:>+9.2}{ssim:>+9.4}", "", "difference");
            if count < self.pictures.len() {
                let _ = writeln!(text, "{:12}in {count} of {} pictures", "", self.pictures.len());
            }
        }
        text
    }

    /// The means by the regions' names; null for a region that is empty in all pictures.
    pub(super) fn means_json(&self) -> Value {
        let of = |region| {
            self.means(region).map(|Means { count, generator, paste }| {
                json!({
                    "count": count,
                    "generator": scores(generator),
                    "paste": scores(paste),
                    "difference": scores(difference(generator, paste)),
                })
            })
        };
        REGIONS.iter().enumerate().map(|(region, title)| (title.to_string(), json!(of(region)))).collect()
    }

    /// Each picture's scores by the regions' names; null for a region that is empty.
    pub(super) fn pictures_json(&self) -> Value {
        let regions = |of: &[Option<Scores>; 3]| -> Value {
            REGIONS.iter().zip(of).map(|(title, of)| (title.to_string(), json!(of.map(scores)))).collect()
        };
        let one = |picture: &Scored| {
            json!({
                "name": picture.name,
                "generator": regions(&picture.generator),
                "paste": regions(&picture.paste),
            })
        };
        self.pictures.iter().map(one).collect()
    }

    /// The indices of the pictures with the lowest PSNR, the lowest first.
    pub(super) fn worst(&self, count: usize) -> Vec<usize> {
        let mut order: Vec<_> = (0..self.pictures.len()).collect();
        order.sort_by(|&a, &b| self.psnr(a).total_cmp(&self.psnr(b)));
        order.truncate(count);
        order
    }

    /// A line of PSNR and name for each picture in `indices`.
    pub(super) fn list(&self, indices: &[usize]) -> String {
        indices.iter().map(|&index| format!("{:>8.2} dB  {}\n", self.psnr(index), self.pictures[index].name)).collect()
    }

    /// The generator's PSNR over the whole picture.
    fn psnr(&self, index: usize) -> f64 {
        self.pictures[index].generator[0].map_or(f64::NAN, |scores| scores.psnr)
    }

    fn means(&self, region: usize) -> Option<Means> {
        let mean = |of: fn(&Scored) -> &[Option<Scores>; 3]| {
            let all: Vec<_> = self.pictures.iter().filter_map(|picture| of(picture)[region]).collect();
            let mean = |value: fn(&Scores) -> f64| all.iter().map(value).sum::<f64>() / all.len() as f64;
            let means = Scores { l1: mean(|s| s.l1), psnr: mean(|s| s.psnr), ssim: mean(|s| s.ssim) };
            (!all.is_empty()).then_some((all.len(), means))
        };
        let (count, generator) = mean(|picture| &picture.generator)?;
        let (_, paste) = mean(|picture| &picture.paste)?;
        Some(Means { count, generator, paste })
    }
}

fn line(title: &str, Scores { l1, psnr, ssim }: Scores) -> String {
    format!("{title:12}{l1:>8.4}{psnr:>9.2}{ssim:>9.4}")
}

fn scores(Scores { l1, psnr, ssim }: Scores) -> Value {
    json!({ "l1": l1, "psnr": psnr, "ssim": ssim })
}

fn difference(a: Scores, b: Scores) -> Scores {
    Scores { l1: a.l1 - b.l1, psnr: a.psnr - b.psnr, ssim: a.ssim - b.ssim }
}

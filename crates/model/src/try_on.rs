//! Virtual try-on, from the pictures of a person and a garment to the person in that garment: VITON-HD's three networks in
//! a row (Choi et al., "VITON-HD", CVPR 2021, sections 3.1 to 3.4).

mod inputs;
mod matcher;
mod photos;
mod planes;
mod segmenter;

pub use inputs::{Garment, GarmentPictures, Wearer, WearerPictures};
pub use matcher::{Matcher, Warped};
pub use photos::{Framing, GarmentPhoto, PersonPhoto, PreparedGarment, PreparedPerson};
pub use segmenter::Segmenter;

use crate::plans::{Conditioning, PlanOptions, Session, Target};
use crate::{
    Checkpoint, Device, GeneratorConfig, InputError, LoadOptions, MatchingConfig, Noise, Painter, Result, Sample,
    SegmentationConfig,
};
use alias_plan::Precision;
use alias_preprocess::labels::FROM_13_TO_7;
use std::sync::Arc;

/// The three networks of VITON-HD on a device.
///
/// 1. The segmentation generator predicts the segmentation of the person in the garment, at low resolution.
/// 2. Its scores are enlarged, blurred, and become labels.
/// 3. The geometric matching module (GMM) predicts how the garment lies on the body, at low resolution; a thin-plate spline warps the
///    garment at full resolution.
/// 4. The image generator, ALIAS, draws the picture.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::{
///     Checkpoints, CpuOptions, Device, GarmentPictures, GeneratorConfig, Layers, MatchingConfig, Seeds,
///     SegmentationConfig, TryOn, WearerPictures, fill,
/// };
///
/// // Narrow networks with random weights; Checkpoint::read("seg_final.pth")? and so on read trained ones.
/// let generator = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(1) };
/// let try_on = TryOn::load(
///     Device::cores(CpuOptions::default())?,
///     &Checkpoints {
///         segmentation: &fill(&SegmentationConfig { ngf: 1 }.network()?, 1),
///         matching: &fill(&MatchingConfig::of_size(1, [64, 64]).network()?, 2),
///         generator: &fill(&generator.network()?, 3),
///     },
/// )?;
///
/// let (height, width) = (128, 128);
/// let (gray, black) = ([128; 3 * 128 * 128], [0; 3 * 128 * 128]);
/// let person = WearerPictures { batch: 1, height, width, agnostic: &gray, pose: &black, labels: &[0; 128 * 128] };
/// let garment = GarmentPictures { batch: 1, height, width, picture: &gray, mask: &[1; 128 * 128] };
/// // A person prepared once for many garments, a garment for many persons.
/// let (person, garment) = (try_on.wearer(&person)?, try_on.garment(&garment)?);
/// let worn = try_on.draw(&person, &garment, Seeds::default())?;
/// assert_eq!(worn.image.len(), 3 * height * width); // (1, 3, H, W) in [-1, 1]
/// assert_eq!(worn.sample.labels.len(), height * width);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TryOn {
    matching: MatchingConfig,
    generator: GeneratorConfig,
    networks: Networks,
}

/// Where the networks are.
#[derive(Clone, Debug)]
enum Networks {
    /// All on the device.
    Resident { segmenter: Segmenter, matcher: Matcher, painter: Painter },
    /// In their checkpoints: each is loaded when it is its turn.
    OneAtATime(Arc<Stored>),
}

#[derive(Debug)]
struct Stored {
    device: Device,
    segmentation: Checkpoint,
    matching: Checkpoint,
    generator: Checkpoint,
    options: LoadOptions,
    target: Target,
}

/// The checkpoints of the three networks.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoints<'a> {
    /// Of the segmentation generator, such as `seg_final.pth`.
    pub segmentation: &'a Checkpoint,
    /// Of the geometric matching module, such as `gmm_final.pth`.
    pub matching: &'a Checkpoint,
    /// Of the image generator, such as `alias_final.pth`.
    pub generator: &'a Checkpoint,
}

/// The random numbers of the two networks that use any. The authors' code draws new ones in each run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seeds {
    /// Noise in the input of the segmentation generator.
    pub segmentation: Noise,
    /// Noise in the norms of the image generator.
    pub image: Noise,
}

/// A person in a garment, and everything that was computed on the way.
#[derive(Clone, Debug)]
pub struct Worn {
    /// The picture: (N, 3, H, W) in [-1, 1].
    pub image: Vec<f32>,
    /// The segmentation generator's scores at low resolution: (N, 13, h, w) in (0, 1).
    pub scores: Vec<f32>,
    /// The segmentation of the picture: (N, H, W), classes 0 to 12.
    pub parsed: Vec<u8>,
    /// The displacements of the spline's control points: (N, 50), in x, then in y.
    pub theta: Vec<f32>,
    /// The image generator's inputs: warped garment and mask, and the segmentation in its seven classes.
    pub sample: Sample,
}

impl TryOn {
    /// Loads the three networks, in float32.
    ///
    /// # Errors
    /// [`Error::StateDict`](crate::Error::StateDict) if a checkpoint is not that network's, or an error of the device.
    pub fn load(device: impl Into<Device>, checkpoints: &Checkpoints) -> Result<TryOn> {
        let device = device.into();
        let target = Target::of(&device, Precision::F32);
        TryOn::load_with(device, checkpoints, LoadOptions::default(), target)
    }

    /// Loads the three networks for plans for `target`.
    ///
    /// # Errors
    /// As [`TryOn::load`]; as [`Session::load_with`].
    pub fn load_with(
        device: impl Into<Device>,
        checkpoints: &Checkpoints,
        options: LoadOptions,
        target: Target,
    ) -> Result<TryOn> {
        let device = device.into();
        let segmenter = Segmenter::load(&device, checkpoints.segmentation, options.strict, target.clone())?;
        let matcher = Matcher::load(&device, checkpoints.matching, options.strict, target.clone())?;
        let painter = Painter::load_with(&device, checkpoints.generator, options, target)?;
        let (matching, generator) = (matcher.config(), painter.config());
        Ok(TryOn { matching, generator, networks: Networks::Resident { segmenter, matcher, painter } })
    }

    /// Loads each network for each picture when it is its turn, and frees it before the next one. The device then never holds
    /// more than the largest of them, but each picture waits for all three to be loaded. Checkpoints that were read from files
    /// take no memory meanwhile.
    ///
    /// # Errors
    /// [`Error::StateDict`](crate::Error::StateDict) if a checkpoint is another network's. Missing and unexpected weights are errors
    /// of the first picture.
    pub fn one_at_a_time(
        device: impl Into<Device>,
        checkpoints: &Checkpoints,
        options: LoadOptions,
        target: Target,
    ) -> Result<TryOn> {
        let Checkpoints { segmentation, matching, generator } = *checkpoints;
        SegmentationConfig::infer(segmentation)?;
        let configs = (MatchingConfig::infer(matching)?, GeneratorConfig::infer(generator)?);
        let stored = Stored {
            device: device.into(),
            segmentation: segmentation.clone(),
            matching: matching.clone(),
            generator: generator.clone(),
            options,
            target,
        };
        Ok(TryOn { matching: configs.0, generator: configs.1, networks: Networks::OneAtATime(Arc::new(stored)) })
    }

    /// The segmentation generator. Where networks are loaded one at a time, this loads it.
    ///
    /// # Errors
    /// As [`Segmenter::load`].
    pub fn segmenter(&self) -> Result<Segmenter> {
        match &self.networks {
            Networks::Resident { segmenter, .. } => Ok(segmenter.clone()),
            Networks::OneAtATime(stored) => {
                let Stored { device, segmentation, options, target, .. } = &**stored;
                Segmenter::load(device, segmentation, options.strict, target.clone())
            }
        }
    }

    /// The geometric matching module. Where networks are loaded one at a time, this loads it.
    ///
    /// # Errors
    /// As [`Matcher::load`].
    pub fn matcher(&self) -> Result<Matcher> {
        match &self.networks {
            Networks::Resident { matcher, .. } => Ok(matcher.clone()),
            Networks::OneAtATime(stored) => {
                let Stored { device, matching, options, target, .. } = &**stored;
                Matcher::load(device, matching, options.strict, target.clone())
            }
        }
    }

    /// The image generator. Where networks are loaded one at a time, this loads it.
    ///
    /// # Errors
    /// As [`Painter::load_with`].
    pub fn painter(&self) -> Result<Painter> {
        match &self.networks {
            Networks::Resident { painter, .. } => Ok(painter.clone()),
            Networks::OneAtATime(stored) => {
                let Stored { device, generator, options, target, .. } = &**stored;
                Painter::load_with(device, generator, *options, target.clone())
            }
        }
    }

    /// Gives the memory of a network that was loaded for one picture back to the device.
    fn free(&self) {
        if let Networks::OneAtATime(stored) = &self.networks {
            stored.device.trim();
        }
    }

    /// The configuration of the geometric matching module.
    pub fn matching(&self) -> MatchingConfig {
        self.matching
    }

    /// Height and width at which the first two networks work for pictures of `height` and `width`:
    /// [`MatchingConfig::low_size`].
    ///
    /// # Errors
    /// As there.
    pub fn low_size(&self, height: usize, width: usize) -> Result<[usize; 2]> {
        self.matching.low_size(height, width)
    }

    /// Prepares a person, or a batch of them, for any number of garments.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if a picture has a wrong length or a label is not one of LIP's, or the
    /// networks cannot draw this size.
    pub fn wearer(&self, pictures: &WearerPictures) -> Result<Wearer> {
        self.generator.layers.check_size(pictures.height, pictures.width)?;
        Wearer::new(pictures, self.low_size(pictures.height, pictures.width)?)
    }

    /// Prepares a garment, or a batch of them, for any number of persons.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if a picture has a wrong length or the mask another value than 0 and 1.
    pub fn garment(&self, pictures: &GarmentPictures) -> Result<Garment> {
        Garment::new(pictures, self.low_size(pictures.height, pictures.width)?)
    }

    /// Prepares a photographed person for any number of garments.
    ///
    /// # Errors
    /// As [`PreparedPerson::new`].
    pub fn person(&self, person: &PersonPhoto, framing: Framing) -> Result<PreparedPerson> {
        let [height, width] = framing.size;
        self.generator.layers.check_size(height, width)?;
        PreparedPerson::new(person, framing, self.matching)
    }

    /// Prepares a photographed garment for any number of persons.
    ///
    /// # Errors
    /// As [`PreparedGarment::new`].
    pub fn garment_photo(&self, garment: &GarmentPhoto, framing: Framing) -> Result<PreparedGarment> {
        PreparedGarment::new(garment, framing, self.matching)
    }

    /// Draws a batch of persons, each in the garment of the same number.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if their sizes differ, or a network's results are not finite; an error of the
    /// device.
    pub fn draw(&self, wearer: &Wearer, garment: &Garment, seeds: Seeds) -> Result<Worn> {
        let segmenter = self.segmenter()?;
        let scores = segmenter.scores(wearer, garment, seeds.segmentation)?;
        self.draw_by(segmenter, wearer, garment, scores, seeds.image)
    }

    /// [`TryOn::draw`] from the segmentation generator's scores (N, 13, h, w) on.
    ///
    /// # Errors
    /// As [`TryOn::draw`].
    pub fn draw_scored(&self, wearer: &Wearer, garment: &Garment, scores: Vec<f32>, noise: Noise) -> Result<Worn> {
        self.draw_by(self.segmenter()?, wearer, garment, scores, noise)
    }

    fn draw_by(
        &self,
        segmenter: Segmenter,
        wearer: &Wearer,
        garment: &Garment,
        scores: Vec<f32>,
        noise: Noise,
    ) -> Result<Worn> {
        let parsed = segmenter.parsed(wearer, &scores)?;
        drop(segmenter);
        self.free();
        let labels = parsed.iter().map(|&class| FROM_13_TO_7[usize::from(class)]).collect::<Vec<_>>();
        let Warped { theta, cloth: warped_cloth, mask: warped_mask } =
            self.matcher()?.warp(wearer, garment, &labels)?;
        self.free();
        let Wearer { batch, size: [height, width], .. } = *wearer;
        let [agnostic, pose] = wearer.agnostic_and_pose();
        let sample = Sample { batch, height, width, agnostic, pose, warped_cloth, warped_mask, labels };
        let image = self.painter()?.draw(&sample, noise)?;
        self.free();
        check_finite("the image generator", &image)?;
        Ok(Worn { image, scores, parsed, theta, sample })
    }
}

/// Runs a network on inputs of size [N, h, w]. The plan's buffers are given back at the end, so that networks that run one after
/// the other share memory.
fn run(session: &Session, [batch, h, w]: [usize; 3], inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
    let prepared = session.plan_and_prepare(&Conditioning::size(batch, h, w), PlanOptions::default())?;
    let inputs: Vec<&[&[f32]]> = inputs.iter().map(std::slice::from_ref).collect();
    prepared.run_parts(&inputs, Noise::None)
}

fn check_finite(network: &'static str, values: &[f32]) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => Err(InputError::NotFinite { network, value: values[at], at }.into()),
    }
}

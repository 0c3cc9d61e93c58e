//! VGG-19 (Simonyan & Zisserman 2015) up to relu5_1, whose features the perceptual loss compares.

use crate::conv::{Conv2d, Take};
use crate::{Checkpoint, Conv, Error, Result};
use alias_kernels::{max_pool, relu};
use alias_tensor::{Gpu, Tensor};
use std::collections::BTreeMap;

/// Channels of each convolution, in groups with a max pool before each but the first.
const WIDTHS: [&[usize]; 5] = [&[64, 64], &[128, 128], &[256, 256, 256, 256], &[512, 512, 512, 512], &[512]];

/// VGG-19's features, its weights on a device; they are not trained.
#[derive(Debug)]
pub struct Vgg19 {
    groups: Vec<Vec<Conv2d>>,
}

impl Vgg19 {
    /// Loads the convolutions of torchvision's `vgg19`, by its own names; what else is in the file is not needed. Its
    /// widths may all be divided by the same number.
    ///
    /// # Errors
    /// [`Error::StateDict`] where one of them is missing or misshapen; what the device reports.
    pub fn load(gpu: &Gpu, checkpoint: &Checkpoint) -> Result<Vgg19> {
        let first = checkpoint.get("features.0.weight").and_then(|first| first.shape().first().copied());
        let Some(divisor) = first.filter(|&width| width > 0 && 64 % width == 0).map(|width| 64 / width) else {
            return Err(Error::StateDict(
                "this is no VGG-19: features.0.weight, of 64 channels or a fraction of them, is not there; take \
                 torchvision's vgg19-dcbb9e9d.pth"
                    .into(),
            ));
        };
        let shapes = Vgg19::state_dict(divisor);
        let take: Take = &mut |key| {
            let shape = &shapes[key];
            let array = checkpoint.get(key).ok_or_else(|| Error::StateDict(format!("VGG-19: no tensor '{key}'")))?;
            if array.shape() != shape {
                let got = array.shape();
                return Err(Error::StateDict(format!("VGG-19: '{key}' has shape {got:?}, expected {shape:?}")));
            }
            Ok(Tensor::new(gpu, shape, &array.to_f32()?)?)
        };
        let mut group = |convs: Vec<Conv>| convs.iter().map(|conv| Conv2d::new(conv, take)).collect();
        Ok(Vgg19 { groups: convs(divisor).into_iter().map(&mut group).collect::<Result<_>>()? })
    }

    /// Name and shape of what [`Vgg19::load`] takes, all widths divided by `divisor`.
    pub fn state_dict(divisor: usize) -> BTreeMap<String, Vec<usize>> {
        let mut state = BTreeMap::new();
        convs(divisor).iter().flatten().for_each(|conv| conv.add_to(&mut state));
        state
    }

    /// relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 of `image` (N, 3, H, W) in [-1, 1], taken as it is.
    ///
    /// # Errors
    /// Where the image is smaller than 16 pixels; what the device reports.
    pub fn forward(&self, image: &Tensor) -> Result<Vec<Tensor>> {
        let mut x = image.clone();
        let mut features = Vec::with_capacity(self.groups.len());
        for (g, group) in self.groups.iter().enumerate() {
            if g > 0 {
                x = max_pool(&x)?;
            }
            for (k, conv) in group.iter().enumerate() {
                x = relu(&conv.forward(&x)?)?;
                if k == 0 {
                    features.push(x.clone());
                }
            }
        }
        Ok(features)
    }
}

/// The convolutions of each group; their numbers are the places in torchvision's Sequential, where ReLUs and pools count.
fn convs(divisor: usize) -> Vec<Vec<Conv>> {
    let (mut place, mut cin) = (0, 3);
    let mut group = |widths: &&[usize]| {
        let convs = widths.iter().map(|&width| {
            let conv = Conv::new(format!("features.{place}"), cin, width / divisor, 3);
            (place, cin) = (place + 2, width / divisor);
            conv
        });
        let convs = convs.collect();
        place += 1;
        convs
    };
    WIDTHS.iter().map(&mut group).collect()
}

//! VGG-19 (Simonyan & Zisserman 2015) up to relu5_1, whose features the perceptual loss compares.

use crate::network::{Activation, Builder, Conv, Network, Pool, Reading};
use crate::{Checkpoint, ConfigError, Result, StateDictError};

/// Channels of each convolution, in groups with a max pooling before each but the first.
const WIDTHS: [&[usize]; 5] = [&[64, 64], &[128, 128], &[256, 256, 256, 256], &[512, 512, 512, 512], &[512]];

/// The configuration of a VGG-19: torchvision's, or a narrower one.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::{Vgg19Config, fill};
///
/// let config = Vgg19Config { divisor: 16 };
/// let network = config.network()?;
/// let names: Vec<_> = network.outputs().iter().map(|output| output.name.as_str()).collect();
/// assert_eq!(names, ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]);
/// assert_eq!(Vgg19Config::infer(&fill(&network, 1))?, config);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vgg19Config {
    /// What all widths are divided by: a power of two up to 64. 1 in the published model.
    pub divisor: usize,
}

impl Vgg19Config {
    /// torchvision's.
    pub const PUBLISHED: Vgg19Config = Vgg19Config { divisor: 1 };

    /// Reads the width from a checkpoint.
    ///
    /// # Errors
    /// [`Error::StateDict`](crate::Error::StateDict) if the checkpoint is not a VGG-19's.
    pub fn infer(checkpoint: &Checkpoint) -> Result<Vgg19Config> {
        let checkpoint = &*Vgg19Config::PUBLISHED.network()?.state_dict_in(checkpoint)?;
        let first = checkpoint.get("features.0.weight").and_then(|first| first.shape().first().copied());
        let Some(width) = first.filter(|&width| width > 0 && 64 % width == 0) else {
            let reason = "it has no features.0.weight whose number of output channels divides 64; use torchvision's \
                          vgg19-dcbb9e9d.pth";
            return Err(StateDictError::Unrecognized { network: "VGG-19", reason: reason.into() }.into());
        };
        Ok(Vgg19Config { divisor: 64 / width })
    }

    /// The network. Input: `image` (3) in [-1, 1], without ImageNet's normalization. Outputs: `relu1_1` to `relu5_1`.
    /// Parameters have torchvision's names.
    ///
    /// # Errors
    /// [`ConfigError::Divisor`] if the divisor is not a power of two up to 64.
    pub fn network(self) -> Result<Network> {
        let Vgg19Config { divisor } = self;
        if divisor == 0 || 64 % divisor != 0 {
            return Err(ConfigError::Divisor { divisor }.into());
        }
        let mut net = Builder::new("VGG19");
        let mut x = net.input("image", 3);
        // The index in torchvision's Sequential, which counts ReLUs and poolings as well.
        let mut place = 0;
        for (group, widths) in (1..).zip(WIDTHS) {
            if group > 1 {
                x = net.pool(format!("pool{}", group - 1), Reading::of(x), Pool::MAX_2X2);
                place += 1;
            }
            for (k, width) in widths.iter().enumerate() {
                let conv = Conv::same(format!("features.{place}"), net.channels(x), width / divisor, 3);
                x = net.convolution(Reading::of(x), conv);
                x = net.activate(x, Activation::LeakyRelu { slope: 0.0 });
                place += 2;
                if k == 0 {
                    net.output(format!("relu{group}_1"), x);
                }
            }
        }
        Ok(net.finish())
    }
}

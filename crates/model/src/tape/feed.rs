//! The inputs of a network on the tape.

use super::windows::WindowTables;
use crate::Result;
use crate::label_map::LabelMap;
use alias_tensor::{Device, Tensor};
use std::sync::Arc;

/// An input of a network on the tape.
#[derive(Clone, Debug)]
pub enum Feed {
    /// A tensor (N, C, H, W) that layers read, or a mask (N, 1, H, W).
    Tensor(Tensor),
    /// A label map, from [`Feed::labels`].
    Labels(LabelFeed),
}

/// A label map on a device.
#[derive(Clone, Debug)]
pub struct LabelFeed {
    dense: Tensor,
    pub(super) windows: Arc<WindowTables>,
}

impl LabelFeed {
    /// The labels at every pixel: (N, classes, H, W).
    pub fn dense(&self) -> &Tensor {
        &self.dense
    }
}

impl Feed {
    /// A label map (N, H, W) of labels below `classes`, one-hot.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::Feed;
    /// use alias_tensor::Device;
    ///
    /// let device = Device::auto()?;
    /// let feed = Feed::labels(&device, [1, 1, 3], 2, &[0, 1, 1])?; // one image, one row of three pixels
    /// let Feed::Labels(labels) = &feed else { unreachable!("it is a label map") };
    /// assert_eq!(*labels.dense().shape(), [1, 2, 1, 3]);
    /// assert_eq!(labels.dense().to_vec()?, [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]); // class 0, class 1
    /// assert!(Feed::labels(&device, [1, 1, 3], 2, &[0, 1, 2]).is_err()); // there is no class 2
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if there are not as many labels as pixels, or one is not a class; an error of the device.
    pub fn labels(device: impl Into<Device>, size: [usize; 3], classes: usize, labels: &[u8]) -> Result<Feed> {
        Feed::label_map(&device.into(), LabelMap::one_hot(size, classes, labels)?)
    }

    pub(crate) fn label_map(device: &Device, map: LabelMap) -> Result<Feed> {
        let [n, h, w] = map.size();
        let dense = Tensor::new(device, &[n, map.classes(), h, w], &map.dense())?;
        Ok(Feed::Labels(LabelFeed { dense, windows: Arc::new(WindowTables::new(map)) }))
    }

    /// Its values at every pixel.
    pub(crate) fn dense(&self) -> &Tensor {
        match self {
            Feed::Tensor(tensor) | Feed::Labels(LabelFeed { dense: tensor, .. }) => tensor,
        }
    }
}

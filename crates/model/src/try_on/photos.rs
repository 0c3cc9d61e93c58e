//! From photos of any size to what the networks read, and from their picture back into the person's photo.

use super::Worn;
use super::inputs::{Garment, GarmentPictures, Wearer, WearerPictures};
use crate::{MatchingConfig, Result, planes_to_rgb8};
use alias_preprocess::agnostic::{Radii, image_agnostic, painted_area, parse_agnostic, warnings};
use alias_preprocess::cutout::{BACKGROUND, Background, garment_mask, mask_warning, with_background};
use alias_preprocess::{
    Error as PreprocessError, Fit, Keypoints, Labels, Mask, Padding, Rgb8, Warning, paste, skeleton,
};

/// A person's photo, and what is known of it. All have the photo's size.
#[derive(Clone, Copy, Debug)]
pub struct PersonPhoto<'a> {
    /// The photo.
    pub photo: &'a Rgb8,
    /// LIP's labels.
    pub labels: &'a Labels,
    /// The joints.
    pub keypoints: &'a Keypoints,
    /// The drawn skeleton; without it, it is drawn from the joints.
    pub skeleton: Option<&'a Rgb8>,
}

/// A garment's photo on a plain background.
#[derive(Clone, Copy, Debug)]
pub struct GarmentPhoto<'a> {
    /// The photo.
    pub photo: &'a Rgb8,
    /// Where the garment is; without it, it is cut out from its background.
    pub mask: Option<&'a Mask>,
    /// Whether to replace the background by the gray of VITON-HD's set,
    /// [`BACKGROUND`].
    pub replaces_background: bool,
}

/// The size at which pictures are drawn, and how much of a person is painted over.
#[derive(Clone, Copy, Debug)]
pub struct Framing {
    /// Height and width at which pictures are drawn: multiples of 128. Photos are scaled to it with their aspect kept, and
    /// padded.
    pub size: [usize; 2],
    /// The units, in pixels of that size, by which lines and discs are drawn around the joints: a line is 10 units wide.
    pub radii: Radii,
}

/// A person who was prepared for any number of garments.
#[derive(Clone, Debug)]
pub struct PreparedPerson {
    /// What the networks read.
    pub wearer: Wearer,
    /// The picture, at the drawn size.
    pub picture: Rgb8,
    /// LIP's labels of the picture, at the drawn size.
    pub labels: Labels,
    /// The picture with torso, neck and arms painted gray, at the drawn size.
    pub agnostic: Rgb8,
    /// LIP's labels without garment, neck and arms, at the drawn size.
    pub parse_agnostic: Labels,
    /// The skeleton, at the drawn size.
    pub pose: Rgb8,
    /// What a person should know although the picture can be drawn.
    pub warnings: Vec<Warning>,
    photo: Rgb8,
    fit: Fit,
    /// What was painted gray, at the photo's size.
    region: Mask,
}

/// A garment that was prepared for any number of persons.
#[derive(Clone, Debug)]
pub struct PreparedGarment {
    /// What the networks read.
    pub garment: Garment,
    /// The picture, at the drawn size.
    pub picture: Rgb8,
    /// Where the garment is, at the drawn size.
    pub mask: Mask,
    /// What a person should know although the picture can be drawn.
    pub warnings: Vec<Warning>,
}

impl Framing {
    /// Pictures of this size, with radii in proportion.
    pub fn of_size(size: [usize; 2]) -> Framing {
        Framing { size, radii: Radii::scaled(size[0]) }
    }
}

impl PreparedPerson {
    /// Prepares a person for networks whose matching module has this configuration.
    ///
    /// # Errors
    /// [`Error::Preprocess`](crate::Error::Preprocess) if sizes differ, or the photo does not fit the drawn size;
    /// [`Error::Input`](crate::Error::Input) if the networks cannot draw this size.
    pub fn new(person: &PersonPhoto, framing: Framing, matching: MatchingConfig) -> Result<PreparedPerson> {
        let PersonPhoto { photo, labels, keypoints, skeleton: drawn } = *person;
        let ([height, width], Radii { labels: of_labels, gray }) = (framing.size, framing.radii);
        let fit = Fit::new(photo.size(), framing.size)?;
        let (picture, labels) = (fit.picture(photo, Padding::Edge)?, fit.labels(labels)?);
        let keypoints = fit.keypoints(keypoints);
        let pose = match drawn {
            Some(drawn) if drawn.size() != photo.size() => {
                let (size, other) = (drawn.size(), photo.size());
                return Err(PreprocessError::Sizes { what: "the skeleton and the photo", size, other }.into());
            }
            Some(drawn) => fit.picture(drawn, Padding::Colour([0; 3]))?,
            None => skeleton(height, width, &keypoints),
        };
        let agnostic = image_agnostic(&picture, &labels, &keypoints, gray)?;
        let parse_agnostic = parse_agnostic(&labels, &keypoints, of_labels);
        let pictures = WearerPictures {
            batch: 1,
            height,
            width,
            agnostic: agnostic.bytes(),
            pose: pose.bytes(),
            labels: parse_agnostic.pixels(),
        };
        Ok(PreparedPerson {
            wearer: Wearer::new(&pictures, matching.low_size(height, width)?)?,
            warnings: warnings(&keypoints),
            region: fit.mask_back(&painted_area(&labels, &keypoints, gray))?,
            photo: photo.clone(),
            fit,
            picture,
            labels,
            agnostic,
            parse_agnostic,
            pose,
        })
    }

    /// The drawn picture in the person's photo: of the photo's size, and the photo itself, bit for bit, outside of what was
    /// painted gray.
    ///
    /// # Errors
    /// [`Error::Preprocess`](crate::Error::Preprocess) if the picture is not of the drawn size.
    pub fn paste(&self, worn: &Worn) -> Result<Rgb8> {
        Ok(paste(&self.photo, &self.drawn(worn)?, &self.region)?)
    }

    /// The drawn picture as it is, at the photo's size.
    ///
    /// # Errors
    /// [`Error::Preprocess`](crate::Error::Preprocess) if the picture is not of the drawn size.
    pub fn drawn(&self, worn: &Worn) -> Result<Rgb8> {
        let (height, width) = (worn.sample.height, worn.sample.width);
        let drawn = Rgb8::from_bytes(height, width, &planes_to_rgb8(&worn.image))?;
        Ok(self.fit.picture_back(&drawn)?)
    }

    /// The photo.
    pub fn photo(&self) -> &Rgb8 {
        &self.photo
    }

    /// What was painted gray and may change, at the photo's size.
    pub fn region(&self) -> &Mask {
        &self.region
    }
}

impl PreparedGarment {
    /// Prepares a garment for networks whose matching module has this configuration.
    ///
    /// # Errors
    /// [`Error::Preprocess`](crate::Error::Preprocess) if photo and mask differ in size, or the garment cannot be cut out;
    /// [`Error::Input`](crate::Error::Input) if the networks cannot draw this size.
    pub fn new(garment: &GarmentPhoto, framing: Framing, matching: MatchingConfig) -> Result<PreparedGarment> {
        let GarmentPhoto { photo, mask, replaces_background } = *garment;
        let [height, width] = framing.size;
        let (mask, background, doubt) = match mask {
            Some(mask) => {
                let background = Background::measure(photo).ok();
                let doubt = mask_warning(photo, mask, background.as_ref());
                (mask.clone(), background, doubt)
            }
            None => garment_mask(photo).map(|(mask, background)| (mask, Some(background), None))?,
        };
        let fit = Fit::new(photo.size(), framing.size)?;
        let photo = if replaces_background { &with_background(photo, &mask)? } else { photo };
        let around = match background {
            Some(background) if !replaces_background => background.colour,
            _ => [BACKGROUND; 3],
        };
        let warning = background.and_then(|background| background.warning()).filter(|_| !replaces_background);
        let (picture, mask) = (fit.picture(photo, Padding::Colour(around))?, fit.mask(&mask)?);
        let bytes: Vec<u8> = mask.pixels().iter().map(|&is_garment| is_garment.into()).collect();
        let pictures = GarmentPictures { batch: 1, height, width, picture: picture.bytes(), mask: &bytes };
        let garment = Garment::new(&pictures, matching.low_size(height, width)?)?;
        Ok(PreparedGarment { garment, picture, mask, warnings: doubt.into_iter().chain(warning).collect() })
    }
}

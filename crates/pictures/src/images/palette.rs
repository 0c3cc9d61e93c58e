//! The colours in which parse maps are drawn, by which labels are found again when a program has changed their indices.

use alias_model::CLASSES;
use std::collections::{BTreeMap, BTreeSet};

type Colour = [u8; 3];

/// The colour of each class in label maps: background, kept parts, garment, hair, left arm, right arm, noise.
pub const PALETTE: [[u8; 3]; CLASSES as usize] =
    [[236, 236, 232], [128, 152, 186], [226, 122, 92], [98, 76, 70], [240, 196, 108], [122, 182, 142], [176, 116, 176]];

/// How many labels LIP has, the most of a parse map.
pub(super) const LABELS: usize = LIP.len();

/// The colours of LIP's and CIHP's labels, by Gong et al. ("Look into Person", 2017; CIHP_PGN), as in VITON-HD's files.
pub(super) const LIP: [Colour; 20] = [
    [0, 0, 0],
    [128, 0, 0],
    [255, 0, 0],
    [0, 85, 0],
    [170, 0, 51],
    [255, 85, 0],
    [0, 0, 85],
    [0, 119, 221],
    [85, 85, 0],
    [0, 85, 85],
    [85, 51, 0],
    [52, 86, 128],
    [0, 128, 0],
    [0, 0, 255],
    [51, 170, 221],
    [0, 255, 255],
    [85, 255, 170],
    [170, 255, 85],
    [255, 255, 0],
    [255, 170, 0],
];

/// What the colours of a parse map say of its indices.
#[derive(Debug, PartialEq)]
pub(super) enum Order {
    /// Nothing, or that they are the labels.
    AsStored,
    /// The labels are others, by the colours of this palette.
    Other(&'static str, BTreeMap<Colour, u8>),
    /// They are not the labels of any known palette, and several palettes have the colours.
    Unsure,
}

/// Compares the indices in use, and their colours, with the known palettes.
pub(super) fn order(used: &BTreeMap<u8, Colour>) -> Order {
    let colours: BTreeSet<Colour> = used.values().copied().collect();
    // Where two indices have one colour, colours are not what tells labels apart.
    if used.len() < 2 || colours.len() < used.len() {
        return Order::AsStored;
    }
    // Some programs make a palette of a gray label map, in an order of their own: then the grays are the labels.
    if colours.iter().all(is_gray_label) {
        let is_stored = used.iter().all(|(index, [gray, ..])| gray == index);
        let labels = || colours.iter().map(|&colour| (colour, colour[0])).collect();
        return if is_stored { Order::AsStored } else { Order::Other("gray labels, 0 to 19", labels()) };
    }
    let fitting = fitting(&colours);
    if fitting.iter().any(|(_, labels)| used.iter().all(|(index, colour)| labels[colour] == *index)) {
        return Order::AsStored;
    }
    match chosen(fitting) {
        Choice::None => Order::AsStored,
        Choice::One(name, labels) => Order::Other(name, labels),
        Choice::Several => Order::Unsure,
    }
}

/// Whether a colour is a label stored as gray.
pub(super) fn is_gray_label(&[red, green, blue]: &Colour) -> bool {
    red == green && green == blue && usize::from(red) < LABELS
}

/// The palette of a map in full colour, and the label of each of its colours; None if there is no such palette, or if
/// several give different labels.
pub(super) fn of_colours(colours: &BTreeSet<Colour>) -> Option<(&'static str, BTreeMap<Colour, u8>)> {
    match chosen(if colours.len() < 2 { Vec::new() } else { fitting(colours) }) {
        Choice::One(name, labels) => Some((name, labels)),
        Choice::None | Choice::Several => None,
    }
}

type Fitting = (&'static str, BTreeMap<Colour, u8>);

enum Choice {
    None,
    One(&'static str, BTreeMap<Colour, u8>),
    Several,
}

/// The palettes that have all these colours, with the label of each.
fn fitting(colours: &BTreeSet<Colour>) -> Vec<Fitting> {
    let voc: Vec<Colour> = (0..LABELS as u8).map(voc).collect();
    let known: [(&str, &[Colour]); 3] =
        [("LIP and CIHP", &LIP), ("PASCAL VOC", &voc), ("this project's seven classes", &PALETTE)];
    let labels = |palette: &[Colour]| -> Option<BTreeMap<Colour, u8>> {
        let label = |colour: &Colour| palette.iter().position(|known| known == colour);
        colours.iter().map(|colour| Some((*colour, label(colour)? as u8))).collect()
    };
    known.into_iter().filter_map(|(name, palette)| Some((name, labels(palette)?))).collect()
}

fn chosen(mut fitting: Vec<Fitting>) -> Choice {
    fitting.dedup_by(|a, b| a.1 == b.1);
    match (fitting.pop(), fitting.is_empty()) {
        (None, _) => Choice::None,
        (Some((name, labels)), true) => Choice::One(name, labels),
        (Some(_), false) => Choice::Several,
    }
}

/// The colour of a label in PASCAL VOC's palette, in which SCHP and others draw LIP's labels: the label's bits, dealt out
/// to red, green and blue in turn, as the highest bits.
fn voc(label: u8) -> Colour {
    let mut colour = [0; 3];
    for bit in 0..8 {
        if label >> bit & 1 == 1 {
            colour[bit % 3] |= 0x80 >> (bit / 3);
        }
    }
    colour
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voc_is_the_well_known_palette() {
        let expected = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128], [0, 128, 128]];
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(voc), expected);
        assert_eq!([8, 15, 19].map(voc), [[64, 0, 0], [192, 128, 128], [128, 192, 0]]);
    }

    #[test]
    fn labels_follow_colours_only_where_indices_do_not() {
        let used = |entries: &[(u8, Colour)]| order(&entries.iter().copied().collect());
        assert_eq!(used(&[(0, LIP[0]), (5, LIP[5]), (13, LIP[13])]), Order::AsStored);
        assert_eq!(used(&[(0, voc(0)), (5, voc(5)), (13, voc(13))]), Order::AsStored);
        let Order::Other("LIP and CIHP", labels) = used(&[(0, LIP[13]), (1, LIP[0]), (2, LIP[5])]) else {
            panic!("reordered")
        };
        assert_eq!([LIP[13], LIP[0], LIP[5]].map(|colour| labels[&colour]), [13, 0, 5]);
        // Gray labels to which a program gave indices of its own, and those to which it gave their own.
        let Order::Other(_, labels) = used(&[(0, [13; 3]), (1, [0; 3]), (2, [5; 3])]) else { panic!("gray") };
        assert_eq!([[13; 3], [0; 3], [5; 3]].map(|colour| labels[&colour]), [13, 0, 5]);
        assert_eq!(used(&[(13, [13; 3]), (0, [0; 3]), (5, [5; 3])]), Order::AsStored);
        assert_eq!(used(&[(1, [0; 3]), (0, [60; 3])]), Order::AsStored, "gray, but no labels");
        // Colours of no palette, one colour for all, one index.
        assert_eq!(used(&[(0, [1, 2, 3]), (1, LIP[0]), (2, LIP[5])]), Order::AsStored);
        assert_eq!(used(&[(4, [0; 3]), (13, [0; 3])]), Order::AsStored);
        assert_eq!(used(&[(4, [0; 3])]), Order::AsStored);
        // Dark green is label 12 of LIP and 2 of VOC.
        assert_eq!(used(&[(1, [0; 3]), (0, [0, 128, 0])]), Order::Unsure);
        assert_eq!(of_colours(&[[0; 3], [0, 128, 0]].into()), None);
        assert_eq!(of_colours(&[[0; 3], [0, 128, 0], LIP[5]].into()).map(|(name, _)| name), Some("LIP and CIHP"));
    }
}

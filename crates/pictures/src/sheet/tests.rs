use super::*;

#[test]
fn a_sheet_has_its_pictures_in_rows_and_columns() {
    let colours = [[1.0, -1.0, 0.0], [0.5, 0.25, -0.5], [-1.0; 3], [0.0; 3]];
    let [a, b, c, d] = colours.map(|colour| Image::filled(20, 10, colour));
    let sheet = sheet(&["a", "b"], &[vec![a, b], vec![c, d]], 40);
    // Cells of 40x20, margins of 4, a header of 9 + 8.
    assert_eq!((sheet.height, sheet.width), (17 + 2 * 44, 4 + 2 * 24));
    let centers = [(37, 14), (37, 38), (81, 14), (81, 38)].map(|(y, x)| sheet.pixel(y, x));
    assert_eq!(centers, colours);
    assert_eq!(sheet.pixel(37, 25), PAPER);
}

#[test]
fn titles_are_written() {
    let sheet = sheet(&["i"], &[vec![Image::filled(96, 96, [0.0; 3])]], 96);
    let ink = (0..17).flat_map(|y| (0..sheet.width).map(move |x| (y, x)));
    let ink = ink.filter(|&(y, x)| sheet.pixel(y, x) == INK).count();
    assert_eq!(ink, font::dots("i").count());
    assert_eq!(font::dots("I").collect::<Vec<_>>(), font::dots("i").collect::<Vec<_>>());
    assert_eq!(font::dots("\u{e9}").count(), 0);
    assert_eq!(font::width("ab"), 11);
}

#[test]
fn long_titles_and_no_rows_are_fine() {
    let title = "a title far wider than its column";
    let narrow = sheet(&[title], &[vec![Image::filled(8, 8, PAPER)]], 8);
    assert_eq!(narrow.width, 16);
    assert_eq!(sheet(&[title], &[], 8).height, 17);
    assert_eq!(sheet(&[], &[], 0).width, 4);
}

#[test]
fn the_mask_column_marks_what_is_misaligned() {
    let scene = alias_scene::draw(1, 256, 192);
    let truth = Image { height: 256, width: 192, data: scene.truth };
    let result = Image::filled(256, 192, INK);
    let pictures = columns(&scene.sample, result.clone(), truth.clone());
    assert_eq!(pictures[5..], [result, truth]);
    let lost = (0..256 * 192).find(|&i| scene.sample.labels[i] == 2 && scene.sample.warped_mask[i] == 0.0);
    let lost = lost.expect("some of the garment is misaligned");
    assert_eq!(pictures[4].pixel(lost / 192, lost % 192), MISALIGNED);
}

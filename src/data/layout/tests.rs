//! Layouts of made-up folders.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::data::test_data;

fn folder(files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().expect("it lies in the root")).expect("it can be made");
        fs::write(path, b"anything").expect("it can be written");
    }
    folder
}

fn listing(folder: &TempDir) -> Result<Listing> {
    list(&test_data(folder.path()))
}

/// File, class and part of each image.
fn images(listing: &Listing) -> Vec<(&str, &str, Option<Part>)> {
    let images = listing.candidates.iter();
    images
        .map(|image| {
            (
                image.file.as_str(),
                listing.classes[image.class].as_str(),
                image.part,
            )
        })
        .collect()
}

fn error(result: Result<Listing>) -> String {
    let text = result.expect_err("it must fail").to_string();
    assert!(text.contains("\nhelp: "), "{text}");
    text
}

const TRAIN: Option<Part> = Some(Part::Train);
const VALID: Option<Part> = Some(Part::Valid);

#[test]
fn train_and_val_are_parts_and_not_classes() {
    for (train, valid) in [
        ("train", "val"),
        ("Training", "validation"),
        ("train", "valid"),
    ] {
        let data = folder(&[
            &format!("{train}/ants/1.jpg"),
            &format!("{train}/bees/1.jpg"),
            &format!("{valid}/ants/2.jpg"),
            &format!("{valid}/wasps/1.jpg"),
            "readme.md",
            "annotations/1.xml",
        ]);
        let listing = listing(&data).expect("it lists");
        assert_eq!(listing.classes, ["ants", "bees", "wasps"]);
        let expected = [
            (format!("{train}/ants/1.jpg"), "ants", TRAIN),
            (format!("{valid}/ants/2.jpg"), "ants", VALID),
            (format!("{train}/bees/1.jpg"), "bees", TRAIN),
            (format!("{valid}/wasps/1.jpg"), "wasps", VALID),
        ];
        let found = images(&listing);
        for (file, class, part) in &expected {
            assert!(found.contains(&(file.as_str(), *class, *part)), "{found:?}");
        }
        assert_eq!(found.len(), expected.len());
        let own = listing.own_split.expect("it has a split");
        assert_eq!(own, format!("the folders `{train}` and `{valid}`"));
        assert_eq!(listing.ignored.len(), 2);
    }
}

#[test]
fn a_class_may_be_called_train() {
    let data = folder(&["train/1.jpg", "bus/1.jpg", "car/1.jpg"]);
    let listing = listing(&data).expect("it lists");
    assert_eq!(listing.classes, ["bus", "car", "train"]);
    assert_eq!(listing.own_split, None);
}

#[test]
fn parts_without_class_folders_are_an_error() {
    let text = error(listing(&folder(&["train/1.jpg", "test/2.jpg"])));
    assert!(text.contains("contain no class folders"), "{text}");
    let text = error(listing(&folder(&["train/a/1.jpg", "val/a/2.jpg"])));
    assert!(text.contains("only one class folder, `a`"), "{text}");
    let both = folder(&["train/a/1.jpg", "val/a/2.jpg", "valid/a/2.jpg"]);
    let text = error(listing(&both));
    assert!(text.contains("`val` and `valid`"), "{text}");
}

#[test]
fn a_root_that_is_too_shallow_names_the_one_that_would_do() {
    for (files, root) in [
        (
            &["PetImages/Cat/1.jpg", "PetImages/Dog/1.jpg"][..],
            "PetImages",
        ),
        (
            &["a/images/cat/1.jpg", "a/images/dog/1.jpg", "a/notes/x.txt"],
            "a/images",
        ),
        (
            &["images/cat/1.jpg", "images/dog/1.jpg", "annotations/1.xml"],
            "images",
        ),
        (
            &[
                "set/train/a/1.jpg",
                "set/train/b/1.jpg",
                "set/val/a/1.jpg",
                "set/val/b/1.jpg",
            ],
            "set",
        ),
    ] {
        let data = folder(files);
        let text = error(listing(&data));
        let root = data.path().join(root);
        let words = format!("`data.root = \"{}\"`", root.display());
        assert!(text.contains(&words), "{text}");
        assert_eq!(
            propose(data.path()).unwrap().unwrap(),
            Proposal::of_root(root)
        );
    }
}

#[test]
fn classes_that_hold_the_same_folders_are_doubted() {
    let data = folder(&[
        "2019/cat/1.jpg",
        "2019/dog/1.jpg",
        "2020/cat/1.jpg",
        "2020/dog/1.jpg",
    ]);
    let listing = listing(&data).expect("it lists");
    let doubt = listing.doubt.expect("it is doubtful");
    assert!(
        doubt.contains("`2019`, `2020`") && doubt.contains("`cat`, `dog`"),
        "{doubt}"
    );
}

#[test]
fn a_folder_without_images_is_no_class() {
    let data = folder(&["cat/1.jpg", "dog/1.jpg", "labels/1.xml", "cat/1.xml"]);
    let listing = listing(&data).expect("it lists");
    assert_eq!(listing.classes, ["cat", "dog"]);
    assert_eq!(listing.ignored[0].file, "labels");
}

#[test]
fn a_pattern_finds_classes_in_names() {
    let data = folder(&[
        "cat.0.jpg",
        "cat.1.jpg",
        "dog.0.jpg",
        "dog.1.jpg",
        "notes.txt",
    ]);
    let mut keys = test_data(data.path());
    let text = error(list(&keys));
    assert!(text.contains("data.class_pattern = '"), "{text}");
    keys.class_pattern = Some(r"^(cat|dog)\.".to_owned());
    let listing = list(&keys).expect("it lists");
    assert_eq!(listing.classes, ["cat", "dog"]);
    assert_eq!(listing.candidates.len(), 4);
    assert_eq!(listing.ignored[0].file, "notes.txt");
    let proposal = propose(data.path()).unwrap().unwrap();
    let guessed = pattern::compile(&proposal.class_pattern.unwrap()).unwrap();
    assert_eq!(&guessed.captures("dog.12.jpg").unwrap()[1], "dog");
    let guess = |names: &[&str]| pattern::guess(names);
    assert_eq!(
        guess(&["a_1.jpg", "a_2.jpg", "ab_1.jpg", "ab_2.jpg"]).as_deref(),
        Some("^(ab|a)")
    );
    assert_eq!(guess(&["1.jpg", "2.jpg", "x_1.jpg"]), None);
    keys.class_pattern = Some("^(bird)".to_owned());
    let text = error(list(&keys));
    assert!(
        text.contains("matches no file name") && text.contains("`cat.0.jpg`"),
        "{text}"
    );
}

#[test]
fn kaggle_s_test_folder_without_classes_is_no_part() {
    let data = folder(&["train/cat.0.jpg", "train/dog.0.jpg", "test/1.jpg"]);
    let mut keys = test_data(data.path());
    keys.class_pattern = Some(r"^(cat|dog)\.".to_owned());
    let listing = list(&keys).expect("it lists");
    assert_eq!((listing.candidates.len(), listing.own_split), (2, None));
}

fn with_manifest(files: &[&str], table: &str) -> Result<Listing> {
    let data = folder(files);
    let mut keys = test_data(data.path());
    let path = data.path().join("labels.csv");
    fs::write(&path, table).unwrap();
    keys.manifest = Some(path);
    list(&keys)
}

#[test]
fn a_manifest_names_files_classes_parts_and_groups() {
    let files = ["1.jpg", "2.jpg", "sub/3.jpg", "unused.jpg"];
    for table in [
        "file,class,split,group\n1.jpg,cat,train,x\n2.jpg,dog,val,y\nsub/3.jpg,cat,train,x\n",
        "\u{feff}label\tfile_name\tsplit\tgroup\tother\ncat\t1\ttrain\tx\t7\ndog\t./2.jpg\tvalid\ty\t\ncat\tsub\\3.jpg\ttraining\tx\t8\n",
        "class;file;group;split\r\ncat;1.jpg;x;train\r\ndog;2.jpg;y;dev\r\n\r\ncat;sub/3.jpg;x;Train\r\n",
    ] {
        let listing = with_manifest(&files, table).expect("it lists");
        let expected = [
            ("1.jpg", "cat", TRAIN),
            ("sub/3.jpg", "cat", TRAIN),
            ("2.jpg", "dog", VALID),
        ];
        let mut found = images(&listing);
        found.sort_by_key(|(file, class, _)| (*class, *file));
        assert_eq!(found, expected);
        let groups: Vec<_> = listing.candidates.iter().map(|it| it.group).collect();
        assert_eq!(groups.iter().filter(|group| **group == Some(0)).count(), 2);
        let ignored: Vec<&str> = listing.ignored.iter().map(|it| it.file.as_str()).collect();
        assert_eq!(ignored, ["labels.csv", "unused.jpg"]);
    }
}

#[test]
fn everything_wrong_with_a_manifest_is_said_at_once() {
    let table = "file,class,split\n1.jpg,cat,train\nmissing.jpg,cat,train\n2.jpg,,valid\n1.jpg,dog,middle\n1.jpg,dog,train\n";
    let text = error(with_manifest(&["1.jpg", "2.jpg"], table));
    for words in [
        "line 3: `missing.jpg` does not exist",
        "line 4: the class is empty",
        "line 5: unknown split `middle`",
        "line 6: `1.jpg` is already listed in line 2",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let text = error(with_manifest(&["1.jpg"], "id,breed\n1,cat\n"));
    assert!(text.contains("`id,breed`"), "{text}");
    let text = error(with_manifest(&["images/1.jpg"], "file,class\n1.jpg,cat\n"));
    assert!(text.contains("set `data.root` to"), "{text}");
    let text = error(with_manifest(&["1.jpg"], "file,class,split\n1.jpg,cat,\n"));
    assert!(text.contains("only one class"), "{text}");
    let text = error(with_manifest(
        &["1.jpg", "2.jpg"],
        "file,class,split\n1.jpg,cat,\n2.jpg,dog,train\n",
    ));
    assert!(text.contains("1 of 2 rows have no split"), "{text}");
}

#[test]
fn a_table_beside_flat_images_is_proposed() {
    let data = folder(&["1.jpg", "2.jpg"]);
    fs::write(data.path().join("notes.csv"), "a,b\n").unwrap();
    fs::write(data.path().join("what.csv"), "path,label\n").unwrap();
    let proposal = propose(data.path()).unwrap().unwrap();
    assert_eq!(proposal.manifest, Some(data.path().join("what.csv")));
    assert_eq!(propose(folder(&["a.txt"]).path()).unwrap(), None);
}

#[test]
fn known_classes_keep_their_order_and_go_by_name() {
    let data = folder(&[
        "wasps/1.jpg",
        "ants/2.jpg",
        "ants/deep/1.jpg",
        "notes/a.txt",
        "readme",
    ]);
    let classes = ["wasps", "bees", "ants"].map(str::to_owned);
    let found = list_known(data.path(), &classes).expect("it lists");
    assert_eq!(found.classes, classes);
    let expected = [
        ("wasps/1.jpg", "wasps", None),
        ("ants/2.jpg", "ants", None),
        ("ants/deep/1.jpg", "ants", None),
    ];
    assert_eq!(images(&found), expected);
    let ignored: Vec<&str> = found.ignored.iter().map(|it| it.file.as_str()).collect();
    assert_eq!(ignored, ["notes", "readme"]);

    let other = error(list_known(data.path(), &classes[..2]));
    assert!(other.contains("`ants` is not a class"), "{other}");
    assert!(
        other.contains("classes of the model: `wasps`, `bees`"),
        "{other}"
    );
    // Names are compared letter by letter.
    error(list_known(
        data.path(),
        &["Ants", "wasps"].map(str::to_owned),
    ));
    error(list_known(folder(&["1.jpg"]).path(), &classes));
}

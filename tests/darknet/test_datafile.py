"""Data descriptions, image lists and label files as both Darknets read them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from yolo_subbatch.darknet.datafile import (
    check_labels,
    find_labels,
    label_path,
    label_places,
    read_data,
    read_image_list,
    read_names,
)
from yolo_subbatch.darknet.textfile import find_folder
from yolo_subbatch.errors import DataError

GOOD = "classes = 2\ntrain = train.txt\nvalid = val.txt\nnames = obj.names\n"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with lists and names, which is not the working directory."""
    place, work = tmp_path / "data", tmp_path / "work"
    place.mkdir()
    work.mkdir()
    monkeypatch.chdir(work)
    for name in ("train.txt", "val.txt", "test.txt"):
        (place / name).write_text("a.jpg\n")
    (place / "obj.names").write_text("cat\ndog\n")
    return place


def described(folder: Path, text: str | bytes) -> Path:
    path = folder / "obj.data"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def fault(function, *arguments) -> str:
    with pytest.raises(DataError) as error:
        function(*arguments)
    return str(error.value)


# --- the .data file -------------------------------------------------------------------------------------------------


def test_a_description_is_read(folder):
    data = read_data(described(folder, GOOD + "test = test.txt\n"))
    assert data.path == folder / "obj.data"
    assert data.classes == 2
    assert (data.train, data.valid, data.test) == tuple(folder / f"{name}.txt" for name in ("train", "val", "test"))
    assert data.names == ("cat", "dog")
    assert data.unused == ()


@pytest.mark.parametrize(
    "text",
    [
        "  classes=2\n\ttrain =train.txt\t\nvalid= val.txt   \nnames\t=\tobj.names",
        "# a comment\n\nclasses = 2\n; another = one\n\ntrain = train.txt\nvalid = val.txt\n   # more\nnames = obj.names\n\n",
        GOOD.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + GOOD.encode(),
        b"# caf\xe9\n" + GOOD.encode(),
    ],
    ids=["blanks", "comments", "CRLF", "byte order mark", "latin-1"],
)
def test_blanks_comments_and_encodings_do_not_matter(folder, text):
    data = read_data(described(folder, text))
    assert (data.classes, data.names, data.unused) == (2, ("cat", "dog"), ())
    assert (data.train, data.valid, data.test) == (folder / "train.txt", folder / "val.txt", None)


@pytest.mark.parametrize("behind", [" # two", " ; two", " // two", "#two", "; two"])
def test_a_comment_behind_a_number_is_left_out_and_named(folder, behind):
    path = described(folder, GOOD.replace("classes = 2", f"classes = 2{behind}"))
    data = read_data(path)
    assert data.classes == 2
    assert data.warnings == (f"{path}:1: classes=2{behind}: read as 2; comments have lines of their own in Darknet",)


def test_a_comment_behind_a_path_is_left_out_unless_it_belongs_to_the_name(folder):
    path = described(folder, GOOD.replace("train.txt", "train.txt # mine"))
    data = read_data(path)
    assert data.train == folder / "train.txt"
    (told,) = data.warnings
    assert told.startswith(f"{path}:2: train=train.txt # mine: read as train.txt")
    (folder / "train.txt # mine").write_text("b.jpg\n")
    data = read_data(path)
    assert (data.train, data.warnings) == (folder / "train.txt # mine", ())


@pytest.mark.parametrize(
    ("typed", "meant"), [("run2//best", "run2/best"), ("run2 // mine", "run2"), ("run2#1", "run2#1"), ("a\\", "a/")]
)
def test_a_new_folder_is_called_as_it_is_typed(tmp_path, typed, meant):
    assert find_folder(typed, tmp_path) == Path(meant)


@pytest.mark.parametrize("typed", [r"sub\more\list.txt", r"sub\\more\\list.txt", r".\sub\more/list.txt", '"sub/more/list.txt"',
                                   "'sub\\more\\list.txt'", "sub / more / list.txt", "sub/more/list.txt \t"])  # fmt: skip
def test_a_path_may_be_written_as_on_windows_in_quotes_or_with_blanks(folder, typed):
    (folder / "sub/more").mkdir(parents=True)
    (folder / "sub/more/list.txt").write_text("a.jpg\n")
    data = read_data(described(folder, GOOD.replace("train.txt", typed)))
    assert data.train.samefile(folder / "sub/more/list.txt")
    (folder / "pictures.txt").write_text(typed + "\r\n")
    assert read_image_list(folder / "pictures.txt")[0].samefile(folder / "sub/more/list.txt")


def test_a_path_that_exists_as_typed_wins(folder):
    (folder / "sub").mkdir()
    for name in (r"sub\a.jpg", "sub/a.jpg", " b.jpg ", "b.jpg", '"c.jpg"', "c.jpg"):
        (folder / name).touch()
    (folder / "list.txt").write_text('sub\\a.jpg\n b.jpg \n"c.jpg"\n')
    assert read_image_list(folder / "list.txt") == [folder / name for name in (r"sub\a.jpg", " b.jpg ", '"c.jpg"')]


def test_the_first_of_duplicate_keys_counts(folder):
    data = read_data(described(folder, GOOD + "train = none.txt\nclasses = 9\n"))
    assert (data.train, data.classes) == (folder / "train.txt", 2)


def test_a_value_may_hold_blanks_and_equals_signs(folder):
    (folder / "my list=1.txt").write_text("a.jpg\n")
    data = read_data(described(folder, GOOD.replace("train.txt", "my list=1.txt")))
    assert data.train == folder / "my list=1.txt"


def test_keys_without_use_are_kept_in_order(folder):
    data = read_data(
        described(folder, "eval = coco\n" + GOOD + "backup = none/at/all\ncolour = red\ntop = 5\nbackup = b\n")
    )
    assert data.unused == ("eval", "backup", "colour", "top")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("tran", "train"),
        ("class", "classes"),
        ("name", "names"),
        ("vaild", "valid"),
        ("tests", "test"),
        ("Train", "train"),
    ],
)
def test_an_unknown_key_close_to_a_known_one_is_a_mistake(folder, typed, meant):
    path = described(folder, GOOD + f"\n{typed} = train.txt\n")
    assert fault(read_data, path) == f"{path}:6: unknown key {typed}; did you mean {meant}?"


@pytest.mark.parametrize("line", ["train train.txt", "= train.txt", "[net]"])
def test_a_line_without_key_or_value_is_named(folder, line):
    path = described(folder, f"classes = 2\n\n{line}\n")
    assert fault(read_data, path).startswith(f"{path}:3: '{line}' is no key = value line")


@pytest.mark.parametrize("value", ["0", "-1", "2.5", "two", "", "1e1", "²"])
def test_classes_are_a_whole_number(folder, value):
    path = described(folder, GOOD.replace("classes = 2", f"classes = {value}"))
    assert fault(read_data, path).startswith(f"{path}:1: classes={value}; give a whole number")


def test_more_classes_than_memory_holds_are_refused(folder):
    path = described(folder, "classes = 99999999999999999999\n")
    assert fault(read_data, path) == f"{path}:1: classes={'9' * 20}: more than a million; correct the number"


def test_paths_are_relative_to_the_file_then_to_the_working_directory(folder):
    work = Path.cwd()
    for name in ("train.txt", "val.txt", "here.names"):
        (work / name).write_text("other\nthing\n")
    (folder / "val.txt").unlink()
    data = read_data(described(folder, GOOD.replace("obj.names", "here.names")))
    assert data.train == folder / "train.txt", "the file's own folder comes first"
    assert data.valid == Path("val.txt")
    assert data.names == ("other", "thing")


def test_absolute_paths_are_taken_as_they_are(folder, tmp_path):
    (tmp_path / "far.txt").write_text("a.jpg\n")
    assert read_data(described(folder, GOOD.replace("train.txt", f"{tmp_path}/far.txt"))).train == tmp_path / "far.txt"


@pytest.mark.parametrize(("key", "line"), [("train", 2), ("valid", 3), ("names", 4), ("test", 5)])
@pytest.mark.parametrize("value", ["none.txt", "sub/none.txt", "", "."])
def test_a_file_that_is_not_there_is_named_with_the_places_tried(folder, key, line, value):
    text = "".join(
        f"{name} = {value}\n" if name == key else f"{name} = {usual}\n"
        for name, usual in (
            ("classes", "2"),
            ("train", "train.txt"),
            ("valid", "val.txt"),
            ("names", "obj.names"),
            ("test", "test.txt"),
        )
    )
    path = described(folder, text)
    message = fault(read_data, path)
    if not value:
        assert message.startswith(f"{path}:{line}: {key}= names no file; ")
        return
    if value == ".":
        assert message.startswith(f"{path}:{line}: {key}=.: this is a folder; give a text file with one ")
        return
    assert message.startswith(f"{path}:{line}: {key}={value}: no such file (tried {folder / value}")
    assert f" and {value})" in message


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ((), ("cat", "dog")),
        (("classes = 2\n", ""), ("cat", "dog")),
        (("classes = 2", "classes = 1"), ("cat",)),
        (("names = obj.names\n", ""), ("class0", "class1")),
    ],
)
def test_names_and_classes_complete_one_another(folder, change, names):
    assert read_data(described(folder, GOOD.replace(*change) if change else GOOD)).names == names


def test_names_without_a_class_are_told(folder):
    (warning,) = read_data(described(folder, GOOD.replace("classes = 2", "classes = 1"))).warnings
    assert warning.startswith(f"{folder / 'obj.names'}: 2 names, but classes=1 in ")


def test_fewer_names_than_classes(folder):
    path = described(folder, GOOD.replace("classes = 2", "classes = 3"))
    assert fault(read_data, path).startswith(f"{folder / 'obj.names'}: 2 names for classes=3 of {path}")


def test_neither_names_nor_classes(folder):
    path = described(folder, "train = train.txt\n")
    assert fault(read_data, path).startswith(f"{path}: neither names nor classes")


@pytest.mark.parametrize("read", [read_data, read_names, read_image_list])
def test_folders_missing_and_binary_files_are_named(folder, read):
    (folder / "binary").write_bytes(b"a = b\n\0")
    for name, words in ((".", "folder"), ("none", "No such file"), ("binary", "binary file")):
        message = fault(read, folder / name)
        assert message.startswith(f"{folder / name}: ")
        assert words in message


def test_names_keep_their_blanks_and_their_order(folder):
    path = folder / "more.names"
    path.write_bytes("traffic light \r\n  café\r\n\r\nzebra\n\n  \n".encode())
    assert read_names(path) == ("traffic light", "café", "", "zebra"), "an empty line inside counts, as in Darknet"


ODD = "\x0b \x0c \x1c \x1d \x1e \x85 \u2028 \u2029 \u00a0 \u3000".split(" ")


def test_only_line_ends_end_a_name(folder):
    path = folder / "odd.names"
    names = tuple(f"{each}a{each}b{each}" for each in ODD)
    path.write_bytes("\n".join((*names, " last ")).encode())
    assert read_names(path) == (*names, "last"), "only blanks and tabs are dropped around a name"
    path.write_bytes("\r".join(names).encode())
    assert read_names(path) == names
    path.write_bytes(b"caf\xe9\ncat\x85\n")
    assert read_names(path) == ("caf\xe9", "cat\x85"), "what is not UTF-8 is Latin-1"


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("read", [read_data, read_names, read_image_list])
def test_a_text_of_two_bytes_a_letter_is_named(folder, read, coding):
    path = folder / "wide"
    path.write_bytes("train = train.txt\nclasses = 2\n".encode(coding))
    assert fault(read, path) == f"{path}: is UTF-16: save it as UTF-8"


def test_no_names_at_all(folder):
    (folder / "obj.names").write_text("\n \n")
    assert fault(read_names, folder / "obj.names").startswith(f"{folder / 'obj.names'}: no class names")


# --- image lists ----------------------------------------------------------------------------------------------------


def test_images_are_relative_to_the_list_then_to_the_working_directory(folder, tmp_path):
    for place in (folder / "images/a.jpg", Path("images/a.jpg"), Path("images/b.jpg"), tmp_path / "c d.jpg"):
        place.parent.mkdir(exist_ok=True)
        place.touch()
    path = folder / "list.txt"
    path.write_text(f"images/a.jpg\r\n\n  images/b.jpg  \n{tmp_path}/c d.jpg\nimages/a.jpg\n")
    wanted = [folder / "images/a.jpg", Path("images/b.jpg"), tmp_path / "c d.jpg", folder / "images/a.jpg"]
    assert read_image_list(path) == wanted, "a repeated line is repeated"


@pytest.mark.parametrize(
    ("missing", "words"),
    [("x.jpg", "image x.jpg not found"), ("x.jpg\ny.jpg\nz.jpg", "image x.jpg and 2 more not found")],
)
def test_missing_images_are_named_with_their_line(folder, missing, words):
    (folder / "a.jpg").touch()
    path = folder / "list.txt"
    path.write_text(f"a.jpg\n\n{missing}\na.jpg\n")
    message = fault(read_image_list, path)
    assert message.startswith(f"{path}:3: {words}")
    assert str(folder) in message.split("relative to")[1]


def test_a_path_may_hold_any_byte_but_a_line_end(folder):
    names = [b"a\x85.jpg", b"b\xe4.jpg", "c\u2028\u0085\x0c\x1c.jpg".encode(), b"\xc2\xa0d\xff.jpg", "é.jpg".encode()]
    for name in names:
        (folder / os.fsdecode(name)).touch()
    path = folder / "list.txt"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(names))
    assert read_image_list(path) == [folder / os.fsdecode(name) for name in names]
    lists = b"lis\xe9e\x85.txt"
    (folder / os.fsdecode(lists)).write_text("a.jpg\n")
    data = read_data(described(folder, GOOD.encode().replace(b"train.txt", lists)))
    assert data.train == folder / os.fsdecode(lists)


def test_an_empty_list(folder):
    (folder / "list.txt").write_text("\n  \n")
    assert fault(read_image_list, folder / "list.txt").startswith(f"{folder / 'list.txt'}: the list is empty")


# --- label places ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "places"),
    [
        ("/d/images/train/a.jpg", ["/d/labels/train/a.txt", "/d/images/train/a.txt"]),
        ("/images/x/images/a.png", ["/images/x/labels/a.txt", "/labels/x/images/a.txt", "/images/x/images/a.txt"]),
        ("images/a.jpg", ["labels/a.txt", "images/a.txt"]),
        ("/d/my_images/a.jpg", ["/d/my_labels/a.txt", "/d/my_images/a.txt"]),
        ("/VOC/JPEGImages/a.jpg", ["/VOC/labels/a.txt", "/VOC/JPEGImages/a.txt"]),
        ("/d/raw/a.jpg", ["/d/labels/a.txt", "/d/raw/a.txt"]),
        ("/d/images/drawing.jpg", ["/d/labels/drawing.txt", "/d/labels/dlabelsing.txt", "/d/images/drawing.txt"]),
        ("/images/JPEGImages/raw/a.jpg", ["/labels/JPEGImages/raw/a.txt", "/labels/labels/labels/a.txt", "/images/JPEGImages/raw/a.txt"]),
        ("/d/photos/a.jpg", ["/d/photos/a.txt"]),
        ("/d/images/a.b.c.JPEG", ["/d/labels/a.b.c.txt", "/d/images/a.b.c.txt"]),
        ("/d.jpg/images/a.JPG", ["/d.jpg/labels/a.txt", "/d.jpg/images/a.txt"]),
        ("a.png", ["a.txt"]),
    ],
)  # fmt: skip
def test_labels_are_looked_for_in_the_documented_order(image, places):
    assert label_places(Path(image)) == [Path(place) for place in places]


def test_the_first_place_that_exists_wins(tmp_path):
    image = tmp_path / "images/x/images/a.jpg"
    places = label_places(image)
    assert len(places) == 3
    assert label_path(image) == places[0], "without any file it is the first place"
    for place in reversed(places):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        assert label_path(image) == place


def test_a_folder_is_no_label_file(tmp_path):
    (tmp_path / "labels/a.txt").mkdir(parents=True)
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.txt").touch()
    assert label_path(tmp_path / "images/a.jpg") == tmp_path / "images/a.txt"


# --- missing labels -------------------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path) -> list[Path]:
    """Three images, each with its label file beside it."""
    paths = [tmp_path / f"{name}.jpg" for name in "abc"]
    for path in paths:
        path.with_suffix(".txt").touch()
    return paths


def test_every_label_is_found_in_the_order_of_the_images(images):
    assert find_labels(images) == [image.with_suffix(".txt") for image in images]
    assert find_labels(images[::-1]) == [image.with_suffix(".txt") for image in images[::-1]]


@pytest.mark.parametrize(
    ("absent", "words"), [(1, "b.jpg: no label file"), (2, "b.jpg and 1 other image: no label file")]
)
def test_a_missing_label_is_an_error(images, absent, words):
    for image in images[1 : 1 + absent]:
        image.with_suffix(".txt").unlink()
    message = fault(find_labels, images)
    assert words in message
    assert f"tried {images[1].with_suffix('.txt')}" in message
    assert "empty" in message, "says how an image without objects is marked"


def test_a_missing_label_can_be_background_but_not_all_of_them(images):
    for image in images[1:]:
        image.with_suffix(".txt").unlink()
    assert find_labels(images, "background") == [image.with_suffix(".txt") for image in images]
    images[0].with_suffix(".txt").unlink()
    assert "a.jpg and 2 other images: no label file" in fault(find_labels, images, "background")


@pytest.mark.parametrize("missing", ["error", "background", "skip"])
def test_labels_in_capitals_are_named_whatever_a_missing_one_is(images, missing):
    for image in images[1:]:
        image.with_suffix(".txt").rename(image.with_suffix(".TXT"))
    if images[1].with_suffix(".txt").is_file():
        pytest.skip("this file system does not tell capitals from small letters")
    assert fault(find_labels, images, missing) == (
        f"{images[1].with_suffix('.TXT')} and 1 more: label files end in .txt, in small letters; rename them"
    )


# --- what stands in a label file ------------------------------------------------------------------------------------


def label(folder: Path, text: str) -> Path:
    path = folder / "a.txt"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n  \n",
        "0 .5 .5 .1 .1\n1 0.25 0.75 0.5 0.5",
        "  1\t0 1 1 1\r\n\r\n0 0 0 0 0\r\n",
        "1.0 5e-1 .5 1e-3 .5\n",
        "0 .5 .5 1.0005 1.001\n",
        "1 .1 .1 .2 .1 .2 .2\n0 .1 .1 .2 .1 .2 .2 .1 .2\n",
    ],
    ids=["empty", "blank", "boxes", "blanks and ends", "spellings", "rounded up", "polygons"],
)
def test_good_labels_pass(tmp_path, text):
    assert check_labels([label(tmp_path, text), tmp_path / "none.txt"], 2, "obj.data") is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 .5 .5 .1", "4 columns"),
        ("0 .5 .5 .1 .1 .1", "6 columns"),
        ("0,.5,.5,.1,.1", "has commas; put blanks between the numbers"),
        ("0 .5 .5 .1 .1 .2 .2 .3", "8 columns"),
        ("cat .5 .5 .1 .1", "'cat .5 .5 .1 .1' is not all numbers"),
        ("0 .5 .5 .1 1/2", "is not all numbers"),
        ("2 .5 .5 .1 .1", "class 2, but obj.data has 2 classes (0 to 1)"),
        ("-1 .5 .5 .1 .1", "class -1, but"),
        ("0.5 .5 .5 .1 .1", "class 0.5, but"),
        ("nan .5 .5 .1 .1", "class nan, but"),
        ("0 0,5 0,5 0,1 0,2", "has decimal commas; write points"),
        ("0;.5;.5;.1;.1", "has commas"),
        ("0 .5 .5 .1 .1 .9", "6 columns; write class, centre x, centre y, width, height, and nothing behind them"),
        ("0 50 50 20 30", "from 0 to 1: pixels divided by its width"),
        ("inf .5 .5 .1 .1", "class inf, but"),
        ("0 .5 .5 .1 .\uff11", "is not all numbers"),
        ("0 .5 .5 .1 .1_1", "is not all numbers"),
        ("0 .5 .5\u00a0.1 .1", "4 columns"),
        ("0 nan .5 .1 .1", "coordinates nan .5 .1 .1; give them as fractions"),
        ("0 .5 .5 inf .1", "coordinates .5 .5 inf .1"),
        ("0 .5 .5 .1 -.1", "coordinates .5 .5 .1 -.1"),
        ("0 1.01 .5 .1 .1", "coordinates 1.01"),
        ("1 320 240 64 48", "coordinates 320 240 64 48"),
        ("0 .1 .1 .2 .1 .2 7", "coordinates .1 .1 .2 .1 .2 7"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, words):
    path = label(tmp_path, f"0 .5 .5 .1 .1\n\n{line}\n1 9 9 9 9\n")
    message = fault(check_labels, [path], 2, "obj.data")
    assert message.startswith(f"{path}:3: ")
    assert words in message


def test_the_first_bad_file_is_named(tmp_path):
    first, second = tmp_path / "1.txt", tmp_path / "2.txt"
    first.write_text("0 .5 .5 .1 .1\n")
    second.write_bytes(b"0 .5 .5 .1 .1\0")
    assert fault(check_labels, [first, second], 1, "obj.data").startswith(f"{second}: this is a binary file")

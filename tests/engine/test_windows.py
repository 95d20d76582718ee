"""Order, cutting and loading of the images: nothing of it may hang on how a window is cut or on who loads."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import random
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.cfg import get_cfg
from ultralytics.data.build import build_dataloader, build_yolo_dataset
from ultralytics.utils import DEFAULT_CFG
from ultralytics.utils.torch_utils import init_seeds

from yolo_subbatch.built_in_data import Numbers, write_shapes
from yolo_subbatch.darknet.augment import Augmentation
from yolo_subbatch.engine.darknet_data import DarknetDataset
from yolo_subbatch.engine.image_order import EpochOrder, KeyedImages, seed_all
from yolo_subbatch.engine.windows import WindowLoader, parts_of

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = 20


# --- the order ------------------------------------------------------------------------------------------------------


class Indices(torch.utils.data.Dataset):
    """Gives each image's number, and something drawn from every generator that an augmentation may use."""

    collate_fn = staticmethod(list)

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return self.images

    def __getitem__(self, index):
        return index, random.random(), float(np.random.rand()), float(torch.rand(()))


def stock_epochs(images, seed, epochs, batch, shuffle=True, workers=0, drop_last=False):
    """Return the images of some epochs as Ultralytics' own loader gives them in a run with a seed."""
    init_seeds(seed, deterministic=False)
    loader = build_dataloader(Indices(images), batch, workers, shuffle, drop_last=drop_last, device="cpu")
    return [[item[0] for group in loader for item in group] for _ in range(epochs)]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.integers(1, 9), st.booleans())
def test_the_order_is_that_of_ultralytics_own_loader(images, seed, batch, shuffle):
    order = EpochOrder(images, seed, shuffle)
    assert [order(epoch) for epoch in range(4)] == stock_epochs(images, seed, 4, batch, shuffle)
    assert len(order) == images


def test_the_order_is_that_of_ultralytics_own_loading_processes():
    order = EpochOrder(23, 5)
    assert [order(epoch) for epoch in range(3)] == stock_epochs(23, 5, 3, batch=4, workers=2)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 30), st.integers(0, 99), st.lists(st.integers(0, 7), max_size=12))
def test_epochs_may_be_asked_for_in_any_order(images, seed, asked):
    order, fresh = EpochOrder(images, seed), EpochOrder(images, seed)
    wanted = [fresh(epoch) for epoch in range(8)]
    assert [order(epoch) for epoch in asked] == [wanted[epoch] for epoch in asked]


def test_the_order_changes_with_seed_and_epoch_alone():
    orders = [tuple(EpochOrder(30, seed)(epoch)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9
    assert all(sorted(each) == list(range(30)) for each in orders)
    torch.manual_seed(1)
    first = EpochOrder(30, 0)(2)
    torch.rand(7)
    assert EpochOrder(30, 0)(2) == first
    before = torch.get_rng_state()
    EpochOrder(30, 0)(2)
    assert torch.equal(torch.get_rng_state(), before), "nobody else's random numbers are used up"


@pytest.mark.parametrize("asked_before", [[], [0], [3, 1], [2]])
def test_a_pickled_order_goes_on_alike(asked_before):
    order = EpochOrder(1000, 3)
    for epoch in asked_before:
        order(epoch)
    text = pickle.dumps(order)
    again = pickle.loads(text)
    assert [again(epoch) for epoch in (2, 3, 1)] == [order(epoch) for epoch in (2, 3, 1)]
    assert len(text) < 500, "what can be drawn again is not sent to another process"


def test_the_order_keeps_few_epochs():
    order = EpochOrder(10, 0)
    for epoch in range(20):
        order(epoch)
    assert len(order._drawn) <= 2


# --- the parts ------------------------------------------------------------------------------------------------------

CUTS = given(st.integers(0, 1000), st.integers(1, 70), st.integers(1, 24), st.integers(1, 9))


@settings(max_examples=300, deadline=None)
@CUTS
def test_every_image_of_a_window_comes_exactly_once(start, images, size, processes):
    window = range(start, start + images)
    ranks = [parts_of(window, size, processes, rank) for rank in range(processes)]
    counting = [part for parts in ranks for part in parts if part.images]
    assert sorted(place for part in counting for place in part.places) == list(window)
    assert all(part.images == len(part.places) for part in counting)
    # The sub-batches are runs of the window, and the processes' shares are runs of the sub-batch, by rank.
    for index, first in enumerate(range(0, images, size)):
        shares = [part.places for parts in ranks for part in parts if part.images and part.index == index]
        assert [place for share in shares for place in share] == list(window[first : first + size])
        each = [len(share) for share in shares] + [0] * (processes - len(shares))
        assert max(each) - min(each) <= 1


@settings(max_examples=200, deadline=None)
@CUTS
def test_every_process_has_its_parts_in_order(start, images, size, processes):
    window = range(start, start + images)
    for rank in range(processes):
        parts = parts_of(window, size, processes, rank)
        assert all(one.index < other.index for one, other in pairwise(parts))
        if not sum(part.images for part in parts):
            assert len(parts) == 1, "a process without an image comes to the update once"
            assert list(parts[0].places) == [start]


def test_a_process_without_an_image_borrows_one_that_does_not_count():
    assert [part.images for part in parts_of(range(8, 10), 4, 3, rank=1)] == [1]
    (borrowed,) = parts_of(range(8, 10), 4, 3, rank=2)
    assert (list(borrowed.places), borrowed.images, borrowed.index) == ([8], 0, 0)
    # An image in any of the window's sub-batches is enough: here the last one has none for the second process.
    parts = parts_of(range(5), 2, 2, rank=1)
    assert [(list(part.places), part.images, part.index) for part in parts] == [([1], 1, 0), ([3], 1, 1)]


def test_seeding_reaches_every_generator():
    drawn = []
    for numbers in [(1, 2, 3), (1, 2, 3), (1, 2, 4), (1, 3, 2), (0, 0, 0)]:
        seed_all(*numbers)
        drawn.append((random.random(), float(np.random.rand()), float(torch.rand(()))))
    assert drawn[0] == drawn[1]
    for column in zip(*drawn[1:], strict=True):
        assert len(set(column)) == 4


# --- the images -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The folder of 20 images of 64 pixels."""
    return write_shapes(tmp_path_factory.mktemp("pictures") / "shapes", Numbers(IMAGES, 2, 64, 3)).parent


DESCRIPTION = {"names": {0: "circle", 1: "square", 2: "triangle"}, "nc": 3, "channels": 3}
#: Everything that Ultralytics draws for a picture with boxes. Its mosaic keeps 8 images: less than half of them.
EVERYTHING = {
    "mosaic": 1.0, "mixup": 0.5, "cutmix": 0.5, "degrees": 10.0, "shear": 5.0, "perspective": 0.0005, "flipud": 0.5,
    "bgr": 0.2, "hsv_h": 0.1,
}  # fmt: skip


def darknet_images(folder, **_):
    return DarknetDataset(
        img_path=str(folder / "images" / "train"), imgsz=64, batch_size=1, augment=True, hyp=get_cfg(DEFAULT_CFG),
        data=DESCRIPTION, task="detect", size=(64, 64),
        augmentation=Augmentation(
            jitter=0.3, hue=0.1, saturation=1.5, exposure=1.5, flip=True, flavour="pjreddie", maximum=90
        ),
    )  # fmt: skip


def ultralytics_images(folder, **given):
    args = get_cfg(DEFAULT_CFG, {"imgsz": 64, "task": "detect", **EVERYTHING, **given})
    return build_yolo_dataset(args, str(folder / "images" / "train"), 1, DESCRIPTION, mode="train")


SOURCES = {
    "darknet": (darknet_images, {}),
    "everything": (ultralytics_images, {}),
    "mosaic": (ultralytics_images, {"mixup": 0.0, "cutmix": 0.0}),
    "sometimes mosaic": (ultralytics_images, {"mosaic": 0.5}),
    # Without a mosaic, the colours of the image that is kept in memory are changed in place.
    "colours": (ultralytics_images, {"mosaic": 0.0, "degrees": 0.0, "shear": 0.0, "perspective": 0.0, "scale": 0.0,
                                     "translate": 0.0, "cutmix": 0.0}),
    "mixing": (ultralytics_images, {"mosaic": 0.0, "mixup": 1.0, "cutmix": 1.0}),
    "in memory": (ultralytics_images, {"cache": "ram"}),
}  # fmt: skip


def keyed(folder, name, seed=11):
    build, given = SOURCES[name]
    images = build(folder, **given)
    return KeyedImages(images, EpochOrder(len(images), seed))


def digest(item):
    """Return what can be compared of an item."""
    return {key: value.clone() if isinstance(value, torch.Tensor) else str(value) for key, value in item.items()}


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[key], other[key]) if isinstance(one[key], torch.Tensor) else one[key] == other[key]
        for key in one
    )


@pytest.fixture(scope="module")
def alone(pictures):
    """Return what each key of two epochs gives when nothing else was loaded before, for every kind of source."""
    made = {}

    def of(name):
        if name not in made:
            fresh = keyed(pictures, name)
            # Loading nothing but one item: a copy of a data set that has loaded none.
            made[name] = [digest(copy.deepcopy(fresh)[key]) for key in range(2 * IMAGES)]
        return made[name]

    return of


@pytest.mark.parametrize("name", SOURCES)
def test_an_item_depends_on_its_key_alone(pictures, alone, name):
    wanted, images = alone(name), keyed(pictures, name)
    shuffled = random.Random(1).choices(range(2 * IMAGES), k=3 * IMAGES)
    for keys in (range(2 * IMAGES), reversed(range(2 * IMAGES)), [7, 7, 7, 27, 7], shuffled):
        for key in keys:
            assert same(digest(images[key]), wanted[key]), key


@pytest.mark.parametrize("name", SOURCES)
def test_items_differ_between_epochs_and_seeds(pictures, alone, name):
    images, other = keyed(pictures, name), keyed(pictures, name, seed=12)
    place = [images.order(epoch).index(4) for epoch in (0, 1)]
    first, second = (alone(name)[epoch * IMAGES + place[epoch]] for epoch in (0, 1))
    third = other[other.order(0).index(4)]
    assert first["im_file"] == second["im_file"] == third["im_file"]
    assert not torch.equal(first["img"], second["img"])
    assert not torch.equal(first["img"], third["img"])


@pytest.mark.parametrize("name", ["darknet", "everything", "in memory"])
def test_other_processes_load_the_same(pictures, alone, name):
    images = keyed(pictures, name)
    images[3], images[30]  # whatever was loaded before goes along
    keys = [9, 21, 3, 38, 0, 4]
    loaded = torch.utils.data.DataLoader(images, None, sampler=keys, num_workers=2, collate_fn=copy.copy)
    for key, item in zip(keys, loaded, strict=True):
        assert same(digest(item), alone(name)[key])


def load(text, keys, answers):
    images = pickle.loads(text)
    answers.put([{key: np.asarray(value) for key, value in digest(images[each]).items()} for each in keys])


def test_a_process_that_inherits_nothing_loads_the_same(pictures, alone):
    """As on Windows and macOS: the data set is pickled."""
    images, keys = keyed(pictures, "everything"), [5, 33]
    images[8]
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    other = context.Process(target=load, args=(pickle.dumps(images), keys, answers))
    other.start()
    found = answers.get(timeout=100)
    other.join()
    for key, item in zip(keys, found, strict=True):
        wanted = {name: np.asarray(value) for name, value in alone("everything")[key].items()}
        assert all(np.array_equal(item[name], wanted[name]) for name in wanted)


def kept(images):
    return sum(each is not None for each in images.images.ims)


@pytest.mark.parametrize("name", ["everything", "mosaic", "sometimes mosaic", "mixing"])
def test_images_in_memory_are_bounded(pictures, name):
    images = keyed(pictures, name)
    assert images.recent == 8
    most = 0
    for key in [*range(3 * IMAGES), *random.Random(2).choices(range(3 * IMAGES), k=40)]:
        images[key]
        most = max(most, kept(images))
        assert len(images.buffer) <= 8 + 1 + 2 * 3, "the list of the item, and what was loaded for it"
    assert 4 <= most <= 8


def test_mosaics_are_of_the_images_before(pictures, monkeypatch):
    images, loaded = keyed(pictures, "mosaic"), []
    original = type(images.images).load_image
    monkeypatch.setattr(
        type(images.images), "load_image", lambda self, i, *rest: loaded.append(i) or original(self, i, *rest)
    )
    for epoch, place in ((0, 12), (1, 7), (1, 3)):
        loaded.clear()
        images[epoch * IMAGES + place]
        order = images.order(epoch)
        assert loaded[0] == order[place]
        assert len(loaded) > 3
        assert set(loaded) <= {order[place - back] for back in range(8)}


def test_a_reread_image_is_the_unchanged_one(pictures):
    """The colours of an item are changed in place: its image must not serve as one that is kept."""
    images = keyed(pictures, "colours")
    images[0]
    assert images.ims[images.order(0)[0]] is None


def test_every_attribute_is_that_of_the_data_set(pictures):
    inner = ultralytics_images(pictures)
    images = KeyedImages(inner, EpochOrder(IMAGES, 0))
    assert len(images) == IMAGES
    assert images.labels is inner.labels
    assert images.collate_fn is inner.collate_fn
    assert not hasattr(images, "no_such_thing")
    images.mosaic, images.new = False, 3
    assert (inner.mosaic, inner.new) == (False, 3)
    assert "mosaic" not in vars(images)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_copies_are_whole(pictures, alone, copied):
    images = keyed(pictures, "everything")
    images[2]
    again = copied(images)
    assert type(again) is KeyedImages
    assert (again.recent, len(again), again.imgsz) == (8, IMAGES, 64)
    assert same(digest(again[17]), alone("everything")[17])


def test_mosaics_can_be_closed(pictures, alone):
    images, never = keyed(pictures, "everything"), keyed(pictures, "mixing")
    for key in range(5):
        images[key]
    hyp = get_cfg(DEFAULT_CFG, {"imgsz": 64, "task": "detect", **EVERYTHING})
    images.close_mosaic(copy.copy(hyp))
    never.close_mosaic(copy.copy(hyp))
    for key in (5, 3, 26):
        item = digest(images[key])
        assert same(item, digest(never[key]))
        assert not torch.equal(item["img"], alone("everything")[key]["img"])


# --- the loader -----------------------------------------------------------------------------------------------------


def loader_of(images=10, batch=4, size=2, workers=0, seed=3, compiled=False, **places):
    """Return a loader of windows, made from Ultralytics' own as the trainer does."""
    init_seeds(seed, deterministic=False)
    stock = build_dataloader(Indices(images), size, workers, drop_last=compiled, device="cpu")
    assert stock.num_workers == workers
    return WindowLoader(stock, EpochOrder(images, seed), batch, size, whole_only=compiled, **places)


def sub_batches(loader):
    """Give the sub-batches of every window, as a training computes them."""
    for window in loader:
        for _, group in window.parts():
            yield group


def numbers(group):
    return [item[0] for item in group]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_sub_batches_of_some_epochs(workers):
    loader, order = loader_of(workers=workers), EpochOrder(10, 3)
    for epoch in range(3):
        drawn = order(epoch)
        found, parts = [], []
        for group in sub_batches(loader):
            found.append(numbers(group))
            parts.append((loader.epoch, loader.window, loader.part.index))
        assert found == [drawn[0:2], drawn[2:4], drawn[4:6], drawn[6:8], drawn[8:10]]
        assert parts == [
            (epoch, 0, 0),
            (epoch, 0, 1),
            (epoch, 1, 0),
            (epoch, 1, 1),
            (epoch, 2, 0),
        ]
        assert (loader.epoch, loader.window) == (epoch + 1, 0)
    loader.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_drawn_for_an_image_is_the_same_however_it_is_loaded(workers):
    def drawn(loader):
        return [sorted(item for group in sub_batches(loader) for item in group) for _ in range(2)]

    whole = loader_of(size=4)
    wanted = drawn(whole)
    assert len({each for epoch in wanted for item in epoch for each in item[1:]}) == 60, "all are drawn anew"
    parts = loader_of(size=1, workers=workers)
    parts.seed = 99  # nothing but the keys counts
    random.seed(5)
    assert drawn(parts) == wanted
    parts.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_window_comes_again_in_smaller_sub_batches(workers):
    loader, drawn = loader_of(workers=workers, size=4), EpochOrder(10, 3)(0)
    given_out = []
    for window in loader:
        parts = window.parts()
        given_out.append(next(parts)[1])
        if window.number == 1:
            for loader.size in (2, 1):  # in the middle of it, the second time
                window.cut_again()
                parts = window.parts()
                given_out.append(next(parts)[1])
        given_out += [group for _, group in parts]
    sizes = [len(group) for group in given_out]
    assert sizes == [4, 4, 2, 1, 1, 1, 1, 1, 1]
    assert numbers(given_out[1]) == drawn[4:8]
    again = [item for group in given_out[3:7] for item in group]
    assert again == given_out[1], "the same images, with the same random numbers"
    assert given_out[2] == again[:2]
    assert [item[0] for group in given_out[7:] for item in group] == drawn[8:]
    assert (loader.epoch, loader.window) == (1, 0)
    assert [number for group in sub_batches(loader) for number in numbers(group)] == EpochOrder(10, 3)(1)
    loader.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_it_can_be_sent_anywhere(workers):
    loader, order = loader_of(workers=workers), EpochOrder(10, 3)
    for epoch, window in [(2, 1), (0, 2), (0, 0), (1, 0), (5, 2), (5, 2)]:
        loader.go_to(epoch, window)
        assert [number for group in sub_batches(loader) for number in numbers(group)] == order(epoch)[4 * window :]
        assert (loader.epoch, loader.window) == (epoch + 1, 0)
    loader.go_to(4, loader.windows)
    assert list(loader) == [], "an epoch that is over"
    assert numbers(next(sub_batches(loader))) == order(5)[:2]
    loader.close()


def test_it_can_be_left_and_entered_again():
    """As by a loop that ends in the middle of an epoch and begins another one."""
    loader, drawn = loader_of(), EpochOrder(10, 3)(0)
    entered = sub_batches(loader)
    assert [numbers(next(entered)) for _ in range(3)] == [drawn[0:2], drawn[2:4], drawn[4:6]]
    loader.go_to(0, 1)
    assert [numbers(group) for group in sub_batches(loader)] == [drawn[4:6], drawn[6:8], drawn[8:10]]


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_goes_on_across_epochs(workers):
    loader, order = loader_of(workers=workers), EpochOrder(10, 3)
    list(sub_batches(loader))
    reading = loader.iterator
    assert [number for group in sub_batches(loader) for number in numbers(group)] == order(1)
    assert loader.iterator is reading, "the processes read ahead and are not started again"
    loader.reset()  # as when Ultralytics closes the mosaic
    assert [number for group in sub_batches(loader) for number in numbers(group)] == order(2)
    assert loader.iterator is not reading
    loader.close()


def test_going_where_it_is_costs_nothing():
    loader = loader_of(workers=2)
    loader.go_to(0, 0)
    assert loader.iterator is None


@pytest.mark.parametrize("workers", [0, 2])
def test_a_window_may_be_gone_through_twice(workers):
    """Its images are loaded once, each sub-batch when it is asked for, and kept as long as the window."""
    loader, drawn = loader_of(workers=workers), EpochOrder(10, 3)(0)
    for window in loader:
        assert window.loaded == []
        first = [group for _, group in window.parts()]
        assert [group for _, group in window.parts()] == first
        assert [number for group in first for number in numbers(group)] == drawn[window.number * 4 :][:4]
    loader.close()


def test_a_window_that_nobody_has_looked_at_disturbs_no_other():
    loader, drawn = loader_of(), EpochOrder(10, 3)(0)
    found = [[numbers(group) for _, group in window.parts()] for window in loader if window.number != 1]
    assert found == [[drawn[0:2], drawn[2:4]], [drawn[8:10]]]


def test_a_window_shows_its_first_sub_batch_and_stands_for_all_before():
    """As Ultralytics asks for the images of a batch where a network is compiled."""
    window = next(iter(loader_of()))
    assert window["img"] is window
    window.update(img="the images", cls="the classes")
    assert (window["img"], window.get("cls")) == ("the images", "the classes")
    with pytest.raises(KeyError):
        window["masks"]


def test_compiled_networks_get_whole_sub_batches_only():
    loader, drawn = loader_of(11, 4, 4, compiled=True), EpochOrder(11, 3)(0)
    assert (loader.images, loader.windows, len(loader)) == (8, 2, 2)
    assert [numbers(group) for group in sub_batches(loader)] == [drawn[0:4], drawn[4:8]]
    whole = loader_of(12, 4, 4, compiled=True)
    assert [len(group) for group in sub_batches(whole)] == [4, 4, 4], (
        "nothing is left out where there is no smaller one"
    )
    few = loader_of(3, 4, 4, compiled=True)
    assert [len(group) for group in sub_batches(few)] == [3], (
        "a data set smaller than a sub-batch is kept, as in Ultralytics"
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(1, 12), st.data(), st.booleans())
def test_the_length_is_the_number_of_updates(images, batch, data, compiled):
    size = data.draw(st.sampled_from([each for each in range(1, batch + 1) if batch % each == 0]))
    loader = loader_of(images, batch, size, compiled=compiled)
    for _ in range(2):
        assert len(list(loader)) == len(loader)
    assert loader.windows == -(-loader.images // batch)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_the_processes_share_each_window(images, processes, parts, share):
    size, batch = processes * share, processes * share * parts
    loaders = [loader_of(images, batch, size, processes=processes, rank=rank) for rank in range(processes)]
    windows = [{} for _ in loaders]
    for loader, found in zip(loaders, windows, strict=True):
        for group in sub_batches(loader):
            taken = found.setdefault(loader.window, [])
            taken += numbers(group) if loader.part.images else []
    drawn = EpochOrder(images, 3)(0)
    assert all(found.keys() == set(range(loaders[0].windows)) for found in windows), "all come to every update"
    for window in range(loaders[0].windows):
        together = sorted(number for found in windows for number in found[window])
        assert together == sorted(drawn[window * batch : (window + 1) * batch])


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 25),
    st.lists(st.tuples(st.integers(1, 12), st.sampled_from([1, 2, 3, 4, 6, 12]), st.booleans()), max_size=8),
)
def test_whatever_is_sent_back_every_window_is_completed_once(images, disturbances):
    """Runs in which windows are given up at random: at each place, the sub-batches get another size."""
    loader, waiting, windows, passed = loader_of(images, 12, 12), list(disturbances), [], 0
    for epoch in range(2):
        assert loader.epoch == epoch
        for window in loader:
            complete = False
            while not complete:
                complete, found = True, []
                for _, group in window.parts():
                    found += group
                    passed += 1
                    if waiting and passed >= waiting[0][0]:
                        _, loader.size, far = waiting.pop(0)
                        passed = 0
                        if far:
                            loader.go_to(epoch, 0)
                        else:
                            complete = False
                            window.cut_again()
                        break
            if loader.sent_back:
                windows = [each for each in windows if each[0] != epoch]
            else:
                windows.append((epoch, sorted(found)))
    steady = loader_of(images, 12, 12)
    assert windows == [(epoch, sorted(group)) for epoch in range(2) for group in sub_batches(steady)]


def test_pictures_of_the_built_in_data_set_are_what_they_seem(pictures):
    """The comparisons above would be empty if all pictures were one."""
    found = {cv2.imread(str(path)).tobytes() for path in (pictures / "images" / "train").iterdir()}
    assert len(found) == IMAGES

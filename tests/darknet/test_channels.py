"""Images of one, four and other numbers of channels: conversion, augmentation, and weights of other channels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from yolo_subbatch.darknet import Network, parse_cfg, save_weights
from yolo_subbatch.darknet.appearance import distort
from yolo_subbatch.darknet.augment import Augmentation, augment, letterbox, sample, stretch
from yolo_subbatch.darknet.channels import ChannelsError, network_order, network_planes, read_flag, with_channels
from yolo_subbatch.darknet.input_weights import load_other_channels
from yolo_subbatch.darknet.mixing import mixup, mosaic
from yolo_subbatch.darknet.weights import load_weights
from yolo_subbatch.errors import WeightsError

CFG = """
[net]
width=32
height=32
channels={channels}
[convolutional]
batch_normalize=1
filters=6
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=14
size=1
[yolo]
mask=0,1
anchors=4,4, 8,8
classes=2
num=2
"""


def picture(channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 52, channels)).astype(np.uint8)


def network(channels: int) -> Network:
    torch.manual_seed(channels)
    return Network(parse_cfg(CFG.format(channels=channels), f"c{channels}.cfg"))


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_grey_is_opencvs_and_within_two_levels_of_stbs(tmp_path, suffix):
    image = picture(3)
    file = tmp_path / f"x{suffix}"
    cv2.imwrite(str(file), image)
    read = cv2.imread(str(file), read_flag(1)).astype(int)
    blue, green, red = (image[..., index].astype(int) for index in range(3))
    assert np.abs(read - ((77 * red + 150 * green + 29 * blue) >> 8)).max() <= 2
    assert np.abs(read - with_channels(image, 1)[..., 0]).max() <= 2
    assert (with_channels(image, 1)[..., 0] == cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)).all()


def test_channels_become_one_another():
    grey, colour = picture(1), picture(3)
    both = np.dstack((colour, picture(1, 1)))
    faint = np.dstack((grey, picture(1, 2)))
    opaque = np.full((40, 52, 1), 255)
    assert (with_channels(grey[..., 0], 1) == grey).all()
    assert (with_channels(grey, 3) == grey).all()
    assert (with_channels(grey, 4) == np.dstack((grey, grey, grey, opaque))).all()
    assert (with_channels(colour, 4) == np.dstack((colour, opaque))).all()
    assert (with_channels(both, 3) == colour).all()
    assert (with_channels(both, 1) == with_channels(colour, 1)).all()
    assert (with_channels(faint, 1) == grey).all()
    assert (with_channels(faint, 4)[..., 3:] == faint[..., 1:]).all()
    assert with_channels(both, 4) is both
    for image, wanted in ((colour, 5), (picture(5), 3), (picture(5), 1), (grey, 2)):
        with pytest.raises(ChannelsError, match=f"{image.shape[2]} channels, the network takes {wanted}"):
            with_channels(image, wanted)


def test_a_network_has_red_first_and_opacity_last():
    image = picture(4)
    assert (network_planes(image) == cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)).all()
    assert (network_planes(image[..., :3]) == image[..., 2::-1]).all()
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    assert (network_order(batch)[0].permute(1, 2, 0).numpy() == network_planes(image)).all()
    assert network_order(batch[:, :3]) is not None
    assert (network_order(batch[:, :3]) == batch[:, :3]).all()


@pytest.mark.parametrize("flavour", ["pjreddie", "alexeyab"])
def test_brightness_is_all_that_changes_where_there_are_no_colours(flavour):
    grey, both = picture(1), picture(4)
    assert (distort(grey, 0.2, 1.5, 1, flavour) == grey).all()
    assert (distort(grey, 0.2, 1.5, 1.5, flavour) == np.clip(np.rint(grey * 1.5), 0, 255)).all()
    changed = distort(both, 0.1, 1.5, 1.3, flavour)
    assert (changed[..., 3] == both[..., 3]).all()
    assert (changed[..., :3] == distort(both[..., :3].copy(), 0.1, 1.5, 1.3, flavour)).all()


@pytest.mark.parametrize("flavour", ["pjreddie", "alexeyab"])
@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_augmentation_treats_every_channel_as_a_grey_image(channels, flavour):
    image = picture(channels)
    settings = Augmentation(0.3, flavour=flavour, resize=1.5, blur=5)
    boxes, classes = np.array([[0.5, 0.5, 0.4, 0.4]]), np.array([1])
    for size in ((32, 24), (8, 8)):  # the smaller one is averaged first
        for seed in range(3):
            made, kept, _ = augment(image, boxes, classes, size, settings, np.random.default_rng(seed))
            assert made.shape == (*size[::-1], channels)
            for index in range(channels):
                plane = image[..., index : index + 1]
                alone, same, _ = augment(plane, boxes, classes, size, settings, np.random.default_rng(seed))
                # OpenCV samples between the pixels more coarsely for two channels than for one.
                assert np.abs(made[..., index].astype(int) - alone[..., 0]).max() <= (8 if channels == 2 else 1)
                assert (same == kept).all()


@pytest.mark.parametrize("channels", [1, 4, 6])
def test_images_of_other_channels_are_mixed_and_fitted(channels):
    settings = Augmentation(0.2, flavour="alexeyab", gaussian_noise=20, blur=1)
    rng = np.random.default_rng(0)
    parts = [
        sample(picture(channels, part), np.array([[0.5, 0.5, 0.5, 0.5]]), np.array([0]), (32, 32), settings, rng, part)
        for part in range(4)
    ]
    assert mosaic(parts, (16, 16), settings).image.shape == (32, 32, channels)
    assert mixup(parts[0], parts[1], settings).image.shape == (32, 32, channels)
    fitted, fit = letterbox(picture(channels), (64, 64))
    assert fitted.shape == (64, 64, channels)
    assert (fitted[0] == 127).all()
    assert fit.pad_y > 0
    assert stretch(picture(channels), (20, 30))[0].shape == (30, 20, channels)


@pytest.mark.parametrize("stop", [None, 1])
def test_weights_of_colours_are_summed_for_grey_and_kept_with_opacity(tmp_path, stop):
    colours, file = network(3).eval(), tmp_path / "colours.weights"
    save_weights(colours, file, stop=stop)
    grey, both = network(1).eval(), network(4).eval()
    for target, said in ((grey, "are summed for channels=1"), (both, "opacity start at 0")):
        header, note = load_other_channels(target, file, partial=True)
        assert said in note
        assert header.layers == (3 if stop is None else 1)
    plane, opacity = torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32)
    first = colours.layer_outputs(plane.repeat(1, 3, 1, 1))[0]
    assert torch.allclose(grey.layer_outputs(plane)[0], first, atol=1e-5)
    images = torch.rand(2, 3, 32, 32)
    assert torch.allclose(
        both.layer_outputs(torch.cat((images, opacity), 1))[0], colours.layer_outputs(images)[0], atol=1e-6
    )


@pytest.mark.parametrize(("theirs", "own", "partial"), [(3, 1, False), (1, 3, True), (4, 3, True), (1, 4, False)])
def test_weights_of_other_channels_are_refused_where_they_cannot_be_used(tmp_path, theirs, own, partial):
    file = tmp_path / "x.weights"
    save_weights(network(theirs), file)
    with pytest.raises(WeightsError, match=rf"channels={theirs}, c{own}.cfg:2 has {own}; give the cfg"):
        load_other_channels(network(own), file, partial)


def test_weights_that_fit_with_no_channels_are_left_to_their_own_message(tmp_path):
    file = tmp_path / "x.weights"
    save_weights(network(3), file)
    file.write_bytes(file.read_bytes()[:-40])
    assert load_other_channels(network(1), file, partial=True) is None
    assert load_other_channels(network(1), tmp_path / "none.weights", partial=True) is None


@pytest.mark.parametrize("channels", [1, 4])
def test_weights_go_round(tmp_path, channels):
    own, file = network(channels), tmp_path / "x.weights"
    save_weights(own, file)
    other = Network(own.cfg)
    load_weights(other, file)
    for name, value in own.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name

"""OpenCV reads the cfgs and weights that we write with code of its own: it must compute the same from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.test_every_cfg import BUNDLED, CFGS, images_of, settled
from tests.third_programs import opencv4
from yolo_subbatch.darknet import Network, parse_cfg, save_weights
from yolo_subbatch.darknet.geometry import largest_stride
from yolo_subbatch.darknet.parser import with_net, write_cfg
from yolo_subbatch.darknet.report import parameter_count

pytestmark = pytest.mark.usefixtures("one_thread")
Outcome = dict[str, tuple[Network, torch.Tensor, list[np.ndarray]]]
NAMES = [file.stem for file in BUNDLED]


def alike(network: Network, images: torch.Tensor) -> Network:
    """Give a network settled statistics, and what OpenCV adds to a variance: 1e-6, where torch and cuDNN add 1e-5."""
    settled(network, images)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-6
    return network


def written(folder: Path, network: Network) -> tuple[Path, Path]:
    """Write a network's cfg and weights."""
    cfg, weights = folder / "net.cfg", folder / "net.weights"
    cfg.write_text(write_cfg(network.cfg))
    save_weights(network, weights)
    return cfg, weights


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if parameter_count(CFGS[name]) > 20_000_000 else name
        for name in NAMES
    ],
)
def test_every_bundled_network(name: str, tmp_path: Path) -> None:
    stride = largest_stride(CFGS[name])
    cfg = with_net(CFGS[name], width=3 * stride, height=2 * stride)
    torch.manual_seed(0)
    network, image = alike(Network(cfg), images_of(cfg)), images_of(cfg, 1)
    opencv4.assert_same(network, image, opencv4.run((*written(tmp_path, network), image.numpy()))[0])


HEAD = "[net]\nwidth=48\nheight=32\nchannels=3\n"
LAST = "[convolutional]\nsize=1\nfilters=14\nactivation=linear\n[yolo]\nanchors=9,14, 20,25\nclasses=2\nnum=2\n"
C = "[convolutional]\nfilters=8\n"

#: Each leaves out what OpenCV takes for something else, or insists on.
TERSE = {
    "convolution of one pixel, logistic": C,
    "one filter": "[convolutional]\n" + C,
    "window as large as its stride": C + "[maxpool]\nstride=2\n",
    "window of one pixel": C + "[maxpool]\n",
    "window that moves by one": C + "[maxpool]\nsize=3\n",
    "strides apart that are one": C + "[convolutional]\nfilters=8\nsize=3\npad=1\nstride_x=2\nstride_y=2\n",
    "pooling strides that are one": C + "[maxpool]\nsize=2\nstride_x=2\nstride_y=2\n",
    "enlarged twice": C + "[upsample]\n",
    "rearranged by one": C + "[reorg]\n",
    "rearranged by two": C + "[reorg]\nstride=2\n",
    "sum with an earlier layer": C + C + "[shortcut]\nfrom=-2\n",
    "weighted sum with an earlier layer": C + C + "[shortcut]\nfrom=-2\nalpha=.5\n",
    "half of an earlier layer": C + "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n",
    "two layers in one": C + C + "[route]\nlayers=-1,-2\n",
    "cross-iteration normalisation": "[convolutional]\nfilters=8\ncbn=1\n" + C,
    "normalisation that is two": "[convolutional]\nfilters=8\nbatch_normalize=2\n" + C,
    "normalisation that is two, AlexeyAB's": "[convolutional]\nfilters=8\nbatch_normalize=2\n"
    + C
    + "[maxpool]\nstride_x=1\n",
    "the usual activations": "".join(
        C + f"activation={name}\n" for name in ("linear", "leaky", "relu", "tanh", "swish", "mish", "logistic")
    ),
    "product by channel": C + "[avgpool]\n[scale_channels]\nfrom=-2\n",
    "product": C + C + "[sam]\nfrom=-2\n",
    "middle of the image": "[crop]\ncrop_width=32\ncrop_height=16\nnoadjust=1\n" + C,
    "nothing lost": C + "[dropout]\n",
}


#: What the guide says that OpenCV refuses, and what it takes for something else.
REFUSED = {
    **{
        f"[{title}]": C + f"[{title}]\n"
        for title in ("local_avgpool", "reorg3d", "batchnorm", "activation", "l2norm", "empty")
    },
    "activation": C + "activation=elu\n",
    "beta": C + C + "[shortcut]\nfrom=-2\nbeta=.5\n",
    "groups": C + "[softmax]\ngroups=2\n",
}
OTHERWISE = {
    "strides": C + "[convolutional]\nfilters=8\nstride_x=2\n",
    "dilation": C + "[convolutional]\nfilters=8\nsize=3\npad=1\ndilation=2\n",
    "antialiasing": C + "[convolutional]\nfilters=8\nsize=3\npad=1\nstride=2\nantialiasing=1\n",
    "share_index": C + C + "[convolutional]\nfilters=8\nshare_index=-1\n",
    "from": C + C + C + "[shortcut]\nfrom=-2,-3\n",
    "weights_type": C + C + "[shortcut]\nfrom=-2\nweights_type=per_feature\n",
    "temperature": C + "[avgpool]\n[softmax]\ntemperature=3\n",
    "scale": C + "[upsample]\nscale=3\n",
    "dontsave": C + "dontsave=1\n" + C,
}


def all_of(texts: dict[str, str], folder: Callable[[str], Path]) -> Outcome:
    """Open all in one process, whose start takes the longest; return each network, an image and what OpenCV gives."""
    nets, files = [], []
    for name, text in texts.items():
        cfg = parse_cfg(HEAD + text + LAST, name)
        torch.manual_seed(0)
        nets.append((alike(Network(cfg), images_of(cfg)), images_of(cfg, 1)))
        files.append((*written(folder("net"), nets[-1][0]), nets[-1][1].numpy()))
    return {name: (*net, found) for name, net, found in zip(texts, nets, opencv4.run(*files), strict=True)}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Outcome:
    return all_of({**TERSE, **REFUSED, **OTHERWISE}, tmp_path_factory.mktemp)


@pytest.mark.parametrize("name", TERSE)
def test_what_a_cfg_leaves_to_darknets_defaults(name: str, outcome: Outcome) -> None:
    opencv4.assert_same(*outcome[name])


@pytest.mark.parametrize("name", REFUSED)
def test_what_opencv_refuses(name: str, outcome: Outcome) -> None:
    assert outcome[name][2] == []


@pytest.mark.parametrize("name", OTHERWISE)
def test_what_opencv_takes_for_something_else(name: str, outcome: Outcome) -> None:
    assert outcome[name][2]
    with pytest.raises(AssertionError):
        opencv4.assert_same(*outcome[name])


def test_a_region_whose_numbers_are_left_out(tmp_path: Path) -> None:
    text = HEAD + "[convolutional]\nfilters=25\nactivation=linear\n[region]\nsoftmax=1\nanchors=2,1\n"
    cfg = parse_cfg(text)
    torch.manual_seed(0)
    network, image = alike(Network(cfg), images_of(cfg)), images_of(cfg, 1)
    opencv4.assert_same(network, image, opencv4.run((*written(tmp_path, network), image.numpy()))[0])

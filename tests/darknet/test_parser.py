"""The cfg parser: what Darknet reads is read alike, what Darknet would silently misread is refused with its line."""

from __future__ import annotations

import re
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from yolo_subbatch.darknet import Network, learning_rate, parse_cfg, read_cfg
from yolo_subbatch.darknet.explicit import ALWAYS_WRITTEN, explicit
from yolo_subbatch.darknet.geometry import largest_stride, layer_table
from yolo_subbatch.darknet.parser import write_cfg
from yolo_subbatch.darknet.report import layer_report, parameter_count
from yolo_subbatch.darknet.sections import (
    ACTIVATIONS,
    ALEXEYAB_KEYS,
    POLICIES,
    SECTION_TYPES,
    Cfg,
    Convolutional,
    Maxpool,
    Net,
    Route,
    Shortcut,
    Upsample,
    Yolo,
    keys_of,
)
from yolo_subbatch.errors import CfgError

BUNDLED = sorted((Path(__file__).parents[2] / "cfg").glob("*.cfg"))
NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"  # lines 1 to 4
CONV = "[convolutional]\nfilters=4\n"
BASE = {
    "net": {"width": "32", "height": "32", "channels": "3"},
    "convolutional": {"filters": "4"},
    "maxpool": {"size": "2", "stride": "2"},
    "avgpool": {},
    "dropout": {},
    "softmax": {},
    "route": {"layers": "0"},
    "shortcut": {"from": "0"},
    "upsample": {"stride": "2"},
    "reorg": {"stride": "2"},
    "yolo": {"num": "2", "anchors": "10,14,23,27", "mask": "0,1", "classes": "1"},
}
FAST = settings(max_examples=150, deadline=None, derandomize=True, database=None)


pytestmark = pytest.mark.usefixtures("one_thread")


def parse(text: str) -> Cfg:
    return parse_cfg(text, "x.cfg")


def with_key(title: str, key: str, value: str) -> tuple[str, int]:
    """Return a cfg whose section ``title`` ends with ``key=value``, and the number of that line."""
    entries = {**{name: kept for name, kept in BASE[title].items() if name != key}, key: value}
    section = "".join(f"{name}={each}\n" for name, each in entries.items())
    if title == "net":
        return f"[net]\n{section}{CONV}", 1 + len(entries)
    before = NET + CONV
    return f"{before}[{title}]\n{section}", before.count("\n") + 1 + len(entries)


def refusal(text: str, line: int | None = None) -> str:
    """Return the message of the error that ``text`` gives, after a look at its place and form."""
    with pytest.raises(CfgError) as caught:
        parse(text)
    message = str(caught.value)
    place = "x.cfg" if line is None else f"x.cfg:{line}"
    assert re.match(rf"{re.escape(place)}: [^\n]+; [^\n]+$", message), message
    return message


# Types and defaults

LAYER_KEYS = {
    "learning_rate": 1.0, "stopbackward": 0, "onlyforward": 0, "dontload": 0, "dontloadscales": 0, "dontsave": 0,
    "numload": 0, "smooth": 0.0, "truth": 0,
}  # fmt: skip
DEFAULTS = {
    "convolutional": {
        "batch_normalize": 0, "filters": 1, "size": 1, "stride": 1, "stride_x": None, "stride_y": None, "pad": 0,
        "padding": 0, "dilation": 1, "groups": 1, "antialiasing": 0, "share_index": -1_000_000_000, "cbn": 0,
        "activation": "logistic",
    },
    "maxpool": {
        "size": None, "stride": 1, "stride_x": None, "stride_y": None, "padding": None, "antialiasing": 0,
        "maxpool_depth": 0, "out_channels": 1,
    },
    "local_avgpool": {"size": None, "stride": 1, "stride_x": None, "stride_y": None, "padding": None},
    "avgpool": {},
    "dropout": {"probability": None, "dropblock": 0, "dropblock_size_rel": 0.0, "dropblock_size_abs": 0.0},
    "softmax": {"groups": 1, "temperature": 1.0, "noloss": 0},
    "route": {"layers": (), "groups": 1, "group_id": 0},
    "shortcut": {
        "from_": (), "activation": "linear", "alpha": 1.0, "beta": 1.0, "weights_type": "none",
        "weights_normalization": "none",
    },
    "scale_channels": {"from_": None, "scale_wh": 0, "activation": "linear"},
    "sam": {"from_": None, "activation": "linear"},
    "upsample": {"stride": 2, "scale": 1.0},
    "reorg": {"stride": 1, "reverse": 0},
    "reorg3d": {"stride": 1, "reverse": 0},
    "connected": {"output": 1, "activation": "logistic", "batch_normalize": 0},
    "crop": {"crop_height": 1, "crop_width": 1, "noadjust": 0},
    "activation": {"activation": "linear"},
    "batchnorm": {}, "l2norm": {}, "empty": {},
}  # fmt: skip


@pytest.mark.parametrize("title", DEFAULTS)
def test_absent_layer_keys_have_darknets_defaults(title):
    section = parse(f"{NET}[{title}]\n").sections[0]
    assert asdict(section) == {"line": 5, **LAYER_KEYS, **DEFAULTS[title]}


def test_absent_keys_of_a_head_have_darknets_defaults():
    head = parse(f"{NET}[yolo]\nanchors=1,2\n").sections[0]
    assert asdict(head) == {
        "line": 5, **LAYER_KEYS, "classes": 20, "num": 1, "mask": None, "anchors": (1.0, 2.0), "max": None,
        "jitter": 0.2, "resize": 1.0, "random": 0.0, "ignore_thresh": 0.5, "truth_thresh": 1.0, "scale_x_y": 1.0, "new_coords": 0,
        "iou_loss": "mse", "iou_normalizer": 0.75, "obj_normalizer": 1.0, "cls_normalizer": 1.0,
        "delta_normalizer": 1.0, "iou_thresh": 1.0, "iou_thresh_kind": "iou", "max_delta": None,
        "label_smooth_eps": 0.0, "focal_loss": 0, "counters_per_class": (), "objectness_smooth": 0, "show_details": 1,
        "nms_kind": "default", "beta_nms": 0.6,
    }  # fmt: skip
    assert head.selected == (0,)


def test_absent_keys_of_a_region_have_darknets_defaults():
    head = parse(f"{NET}[region]\nanchors=1,2\n").sections[0]
    assert asdict(head) == {
        "line": 5, **LAYER_KEYS, "classes": 20, "num": 1, "anchors": (1.0, 2.0), "max": None, "jitter": 0.2,
        "resize": 1.0, "random": 0.0, "softmax": 0, "background": 0, "thresh": 0.5, "rescore": 0, "bias_match": 0, "coord_scale": 1.0,
        "object_scale": 1.0, "noobject_scale": 1.0, "class_scale": 1.0, "focal_loss": 0, "tree": "", "map": "",
    }  # fmt: skip


def test_a_gaussian_head_is_a_yolo_head_with_a_weight_for_its_uncertainties():
    cfg = parse(f"{NET}[Gaussian_yolo]\nanchors=1,2\nuc_normalizer=.5\niou_normalizer=.3\nyolo_point=center\n")
    (head,) = cfg.heads
    assert (head.title, head.uc_normalizer, head.iou_normalizer, head.values) == ("Gaussian_yolo", 0.5, 0.3, 29)
    assert cfg.alexeyab
    assert parse(write_cfg(cfg)) == explicit(cfg)


def test_absent_keys_of_net_have_darknets_defaults():
    net = parse(NET + CONV).net
    assert asdict(net) == {
        **LAYER_KEYS, "line": 1, "batch": 1, "subdivisions": 1, "time_steps": 1, "width": 32, "height": 32,
        "channels": 3, "momentum": 0.9, "decay": 0.0001, "learning_rate": 0.001, "learning_rate_min": 0.00001,
        "policy": "constant", "burn_in": 0, "power": 4.0, "step": 1, "scale": 1.0, "gamma": 1.0, "steps": (),
        "scales": (), "sgdr_cycle": 0, "sgdr_mult": 2, "max_batches": 0, "angle": 0.0, "saturation": 1.0,
        "exposure": 1.0, "hue": 0.0, "flip": 1, "letter_box": 0, "mosaic": 0, "mosaic_bound": 0, "mixup": 0,
        "cutmix": 0, "blur": 0, "gaussian_noise": 0, "resize_step": 32, "dynamic_minibatch": 0, "ema_alpha": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("title", "key", "text", "value"),
    [
        ("net", "batch", "64", 64), ("net", "max_batches", "+500200", 500200), ("net", "subdivisions", "016", 16),
        ("net", "learning_rate", "0.001", 0.001), ("net", "learning_rate", ".001", 0.001),
        ("net", "learning_rate", "1e-3", 0.001), ("net", "momentum", "0", 0.0), ("net", "angle", "-7.5", -7.5),
        ("net", "policy", "poly", "poly"),
        ("convolutional", "size", "3", 3), ("convolutional", "activation", "mish", "mish"),
        ("convolutional", "stride_x", "2", 2), ("convolutional", "learning_rate", "0.1", 0.1),
        ("convolutional", "batch_normalize", "1", 1), ("convolutional", "stopbackward", "1", 1),
        ("maxpool", "padding", "0", 0), ("dropout", "probability", ".25", 0.25),
        ("route", "layers", "-1,8", (-1, 8)), ("route", "layers", "-4", (-4,)), ("route", "layers", "-1,8,", (-1, 8)),
        ("upsample", "stride", "-2", -2), ("upsample", "scale", "2", 2.0),
        ("yolo", "anchors", "10,14,  23,27", (10.0, 14.0, 23.0, 27.0)),
        ("yolo", "anchors", "1.08,1.19,3.42,4.41", (1.08, 1.19, 3.42, 4.41)),
        ("yolo", "mask", "1", (1,)), ("yolo", "random", "1.2", 1.2), ("yolo", "max", "200", 200),
    ],
)  # fmt: skip
def test_values_have_the_type_of_their_key(title, key, text, value):
    cfg = parse(with_key(title, key, text)[0])
    section = cfg.net if title == "net" else cfg.sections[-1]
    found = getattr(section, key)
    assert found == value
    assert type(found) is type(value)
    if isinstance(value, tuple):
        assert [type(each) for each in found] == [type(each) for each in value]


def test_from_is_a_key_of_shortcut():
    assert parse(NET + CONV + "[shortcut]\nfrom=-1\n").sections[1].from_ == (-1,)


def test_steps_and_scales_are_lists():
    net = parse(f"{NET}policy=steps\nsteps=-1, 400000,450000\nscales=.1,10,.1\n{CONV}").net
    assert net.steps == (-1, 400000, 450000)
    assert net.scales == (0.1, 10.0, 0.1)


# Lines, blanks, comments


def test_windows_line_ends():
    text = NET + "# a comment\n\n" + CONV + "activation=leaky\n"
    assert parse(text.replace("\n", "\r\n")) == parse(text)
    assert refusal((text + "filters=x\n[reorg]\nstride=x\n").replace("\n", "\r\n"), 12).startswith("x.cfg:12: stride=x")


def test_a_last_line_without_an_end():
    assert parse((NET + CONV).rstrip()) == parse(NET + CONV)


@pytest.mark.parametrize(
    "comment", ["# note", "; note", "  \t# note", "#[maxpool]", "#filters=8", ";=", "#", "###", "\t"]
)
def test_comments_stand_on_lines_of_their_own(comment):
    plain = parse(NET + CONV)
    assert parse(f"{comment}\n{NET}{comment}\n{CONV}{comment}\n") == plain
    assert parse(f"{NET}[convolutional]\n{comment}\nfilters=4\n") == plain


@pytest.mark.parametrize("line", ["filters=# four", "filters=#4", "filters=4;5", "filters=4x", "filters=; 4"])
def test_what_is_no_comment_after_a_number_is_part_of_it(line):
    assert "filters takes a whole number" in refusal(f"{NET}[convolutional]\n{line}\n", 6)


@pytest.mark.parametrize(
    "behind", [" ; four", "; four", " // four", "//four", "# four", "\t#4", " four", " (four)", ";", " ;4"]
)
def test_words_behind_a_number_are_left_out_and_named(behind):
    cfg = parse(f"{NET}[convolutional]\nfilters = 4{behind}\n")
    assert cfg.sections[0].filters == 4
    (told,) = [each for each in cfg.warnings if ":6: filters=4" in each]
    assert told.endswith("read as filters=4, as Darknet does")


def test_blanks_are_darknets_and_no_others():
    assert parse(f"{NET}[convolutional]\n f i l t e r s\t=\t4 \n").sections[0].filters == 4
    for blank in ("\u00a0", "\u3000", "\u2003"):
        assert "filters takes" in refusal(f"{NET}[convolutional]\nfilters=4{blank}\n", 6)


@pytest.mark.parametrize(
    ("typed", "meant"), [("YOLO", "yolo"), ("Convolutional", "convolutional"), ("MaxPool", "maxpool")]
)
def test_a_section_in_capitals_is_a_mistake(typed, meant):
    assert refusal(f"{NET}{CONV}[{typed}]\n", 7).endswith(f"unknown section [{typed}]; did you mean [{meant}]?")


@pytest.mark.parametrize(("typed", "meant"), [("FILTERS", "filters"), ("Batch_Normalize", "batch_normalize")])
def test_a_key_in_capitals_is_a_mistake(typed, meant):
    assert refusal(f"{NET}[convolutional]\n{typed}=4\n", 6).endswith(f"did you mean {meant}?")


def test_darknet_reads_a_number_up_to_a_comment():
    """As cspx-p7-mish.cfg and efficientnet-lite3.cfg have it."""
    written = f"{NET}{CONV}[convolutional]\nfilters=40\t#32\nstride = 2 # down\n[route]\nlayers = -1, 0 ###P6\n"
    assert parse(written) == parse(re.sub(r"\s*#.*", "", written))
    assert "leaky#x" in refusal(f"{NET}[convolutional]\nactivation=leaky #x\n", 6)  # no number: Darknet takes it whole


@pytest.mark.parametrize("odd", ["\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\u2028", "\u2029"])
def test_only_a_line_feed_ends_a_line(odd):
    """Other characters that Unicode calls line ends do not end a comment, nor do they count as lines."""
    assert parse(f"# one{odd}two\n{NET}{CONV}") == parse(NET + CONV)
    assert refusal(f"# one{odd}\n{NET}[convolutional]\nfilters=x\n", 7)


def test_blanks_anywhere_in_a_line():
    spaced = " [ net]\n wid th = 3 2\n\theight\t=32\nchannels= 3 \n[ convol utional ]\n  fil\tters = 4\nactivation = le aky\n"
    assert parse(spaced) == parse(NET + CONV + "activation=leaky\n")


def test_the_first_of_duplicate_keys_wins():
    cfg = parse(NET + CONV + "size=3\n# between\nfilters=8\nsize=5\nfilters=9\n")
    assert (cfg.sections[0].filters, cfg.sections[0].size) == (4, 3)
    assert len(cfg.warnings) == 3
    for warning, line, key, first, value in zip(
        cfg.warnings, (9, 10, 11), ("filters", "size", "filters"), (6, 7, 6), (4, 3, 4), strict=True
    ):
        assert warning.startswith(f"x.cfg:{line}: {key} ")
        assert f"line {first};" in warning
        assert f"{key}={value}" in warning


def test_one_key_in_two_sections_is_no_duplicate():
    cfg = parse(NET + CONV + CONV.replace("4", "8"))
    assert [section.filters for section in cfg.sections] == [4, 8]
    assert cfg.warnings == ()


@pytest.mark.parametrize(
    ("short", "long"), [("conv", "convolutional"), ("max", "maxpool"), ("avg", "avgpool"), ("soft", "softmax")]
)
def test_short_names_of_layers(short, long):
    cfg = parse(f"{NET}[{short}]\n")
    assert cfg == parse(f"{NET}[{long}]\n")
    assert cfg.sections[0].title == long


def test_short_name_of_net():
    assert parse(NET.replace("[net]", "[network]") + CONV) == parse(NET + CONV)


def test_sections_know_their_lines():
    cfg = parse("# first\n" + NET + "\n" + CONV + "[maxpool]\nsize=2\n")
    assert cfg.net.line == 2
    assert [section.line for section in cfg.sections] == [7, 9]


# Keys


@pytest.mark.parametrize(
    ("title", "key", "meant"),
    [
        ("net", "subdivision", "subdivisions"), ("net", "learnin_rate", "learning_rate"),
        ("net", "max_batch", "max_batches"), ("net", "momentun", "momentum"), ("net", "mosiac", "mosaic"),
        ("convolutional", "filtres", "filters"), ("convolutional", "batchnormalize", "batch_normalize"),
        ("convolutional", "activaton", "activation"), ("convolutional", "Filters", "filters"),
        ("maxpool", "strid", "stride"), ("route", "layer", "layers"), ("shortcut", "from_", "from"),
        ("yolo", "anchor", "anchors"), ("yolo", "class", "classes"), ("yolo", "ignore_tresh", "ignore_thresh"),
    ],
)  # fmt: skip
def test_a_mistyped_key_is_refused_with_its_neighbour(title, key, meant):
    text, line = with_key(title, key, "1")
    message = refusal(text, line)
    assert key in message
    assert f"[{title}]" in message
    assert f"did you mean {meant}?" in message


@pytest.mark.parametrize(
    ("title", "key"),
    [
        ("net", "colour"),
        ("convolutional", "filtxxs"),
        ("convolutional", "x"),
        ("yolo", "speed"),
        ("maxpool", "filters"),
    ],
)
def test_a_key_near_to_none_is_a_warning(title, key):
    text, line = with_key(title, key, "whatever")
    cfg = parse(text)
    assert len(cfg.warnings) == 1
    assert cfg.warnings[0].startswith(f"x.cfg:{line}: unknown key {key} in [{title}]")
    assert cfg == parse(text.replace(f"{key}=whatever\n", ""))


ALEXEYAB_NET = (
    "optimized_memory use_cuda_graph workspace_size_limit_MB try_fix_nan loss_scale label_smooth_eps track "
    "augment_speed sequential_subdivisions max_chart_loss contrastive weights_reject_freq adversarial_lr attention"
).split()
ALEXEYAB_YOLO = "map sim_thresh".split()


@pytest.mark.parametrize(
    ("title", "key"), [("net", key) for key in ALEXEYAB_NET] + [("yolo", key) for key in ALEXEYAB_YOLO]
)
def test_alexeyabs_keys_are_accepted(title, key):
    text, _ = with_key(title, key, "1")
    cfg = parse(text)
    assert cfg.warnings == (f"x.cfg: accepted without effect: {key}",)
    assert replace(cfg, alexeyab=False) == parse(text.replace(f"{key}=1\n", ""))


def test_accepted_keys_are_reported_once_for_the_whole_file():
    head = "[convolutional]\nfilters=12\n[yolo]\nnum=2\nanchors=1,2,3,4\nclasses=1\ntrack_ciou_norm=.01\n"
    cfg = parse(f"{NET}try_fix_nan=1\nuse_cuda_graph=1\n{head}{head}sim_thresh=0.07\n")
    assert cfg.warnings == ("x.cfg: accepted without effect: sim_thresh, track_ciou_norm, try_fix_nan, use_cuda_graph",)
    assert cfg.alexeyab


NET_VALUES = {
    "letter_box": 1, "mosaic": 1, "mosaic_bound": 1, "mixup": 1, "cutmix": 1, "blur": 3, "gaussian_noise": 10,
    "resize_step": 16, "dynamic_minibatch": 1, "ema_alpha": 0.998,
}  # fmt: skip


@pytest.mark.parametrize("key", NET_VALUES)
def test_what_alexeyabs_net_says_of_training_is_read_and_written(key):
    text, _ = with_key("net", key, NET_VALUES[key])
    cfg = parse(text)
    assert getattr(cfg.net, key) == NET_VALUES[key]
    assert (cfg.warnings, cfg.alexeyab, cfg.alexeyab_keys) == ((), True, (key,))
    assert parse(write_cfg(cfg)) == explicit(cfg)


@pytest.mark.parametrize(("lines", "mixing"), [
    ("", ""), ("mixup=1", "mixup"), ("mixup=2", "cutmix"), ("mixup=3", "mosaic"), ("mixup=4", "mosaic"), ("mixup=5", ""),
    ("mosaic=1", "mosaic"), ("cutmix=1", "cutmix"), ("mosaic=1\ncutmix=1", "mosaic"), ("mixup=1\ncutmix=1", "cutmix"),
    ("mixup=1\nmosaic=1", "mosaic"), ("mixup=3\ncutmix=1", "cutmix"), ("mosaic=0\nmixup=0\ncutmix=0", ""),
])  # fmt: skip
def test_one_way_of_mixing_is_left_of_several(lines, mixing):
    assert parse(f"{NET}{lines}\n{CONV}").net.mixing == mixing


@pytest.mark.parametrize(("title", "line", "part"), [
    ("net", ("ema_alpha", "1.1"), "ema_alpha is at most 1"), ("net", ("blur", "-1"), "blur is at least 0"),
    ("net", ("gaussian_noise", "-1"), "gaussian_noise is at least 0"), ("net", ("resize_step", "0"), "is at least 1"),
    ("yolo", ("resize", "0"), "resize is at least 0.1"), ("net", ("mosaic", "some"), "mosaic takes a whole number"),
])  # fmt: skip
def test_what_augmentation_cannot_be_is_refused(title, line, part):
    assert part in refusal(*with_key(title, *line))


HEAD_VALUES = {
    "resize": 1.5,
    "iou_loss": "ciou", "iou_normalizer": 0.07, "cls_normalizer": 0.5, "obj_normalizer": 0.4, "delta_normalizer": 0.2,
    "iou_thresh": 0.213, "iou_thresh_kind": "giou", "max_delta": 5.0, "label_smooth_eps": 0.1, "focal_loss": 1,
    "counters_per_class": (7, 0, 40), "objectness_smooth": 1, "show_details": 0, "nms_kind": "diounms", "beta_nms": 0.8,
    "new_coords": 1, "scale_x_y": 2.0,
}  # fmt: skip


@pytest.mark.parametrize("key", HEAD_VALUES)
def test_what_alexeyabs_heads_say_is_read_and_written(key):
    value = HEAD_VALUES[key]
    said = ",".join(map(str, value)) if isinstance(value, tuple) else value
    cfg = parse(f"{NET}[yolo]\nclasses=3\nanchors=1,2\n{key}={said}\n")
    assert getattr(cfg.sections[0], key) == value
    assert (cfg.warnings, cfg.alexeyab, cfg.alexeyab_keys) == ((), True, (key,))
    assert parse(write_cfg(cfg)) == explicit(cfg)


@pytest.mark.parametrize(("line", "part"), [
    ("iou_loss=cious", "unknown iou_loss=cious; use one of mse, iou, giou, diou, ciou"),
    ("nms_kind=greedy", "unknown nms_kind=greedy; use one of default, greedynms"),
    ("iou_thresh_kind=1", "unknown iou_thresh_kind=1; use one of"),
    ("counters_per_class=1,2", "2 counters_per_class for classes=3; give one number a class"),
    ("label_smooth_eps=1.1", "label_smooth_eps is at most 1"), ("max_delta=-1", "max_delta is at least 0"),
    ("iou_normalizer=-.1", "iou_normalizer is at least 0"), ("iou_thres=.2", "did you mean iou_thresh?"),
])  # fmt: skip
def test_what_a_head_cannot_be_is_refused(line, part):
    assert part in refusal(f"{NET}[yolo]\nclasses=3\nanchors=1,2\n{line}\n", 8)


@pytest.mark.parametrize(
    ("title", "key", "value"),
    [("convolutional", "dilation", "2"), ("convolutional", "stride_x", "2"), ("maxpool", "stride_y", "2"),
     ("route", "group_id", "0"), ("yolo", "scale_x_y", "1.05"), ("net", "sgdr_cycle", "100")],
)  # fmt: skip
def test_keys_that_only_alexeyab_reads_tell_the_flavour(title, key, value):
    assert parse(with_key(title, key, value)[0]).alexeyab
    assert not parse(NET + CONV).alexeyab


@pytest.mark.parametrize(
    ("title", "key", "kept", "refused"),
    [("maxpool", "maxpool_zero_nonmax", "0", "1"), ("convolutional", "assisted_excitation", "0", "1"),
     ("convolutional", "xnor", "0", "1"), ("reorg", "flatten", "0", "1")],
)  # fmt: skip
def test_keys_that_would_change_the_output_are_refused(title, key, kept, refused):
    assert parse(with_key(title, key, kept)[0]).warnings == ()
    text, line = with_key(title, key, refused)
    assert f"{key}={refused}" in refusal(text, line)


@pytest.mark.parametrize(("body", "line", "part"), [
    ("[region]\nanchors=1,2,3\n", 6, "3 anchor values for num=1"),
    ("[region]\nanchors=0,1\n", 6, "give widths and heights in cells"),
    ("[region]\nanchors=1,2\ncoords=5\n", 7, "coords=5 is not built here"),
    ("[region]\nanchors=1,2\nobject_scale=-1\n", 7, "object_scale is at least 0"),
    ("[region]\nanchors=1,2\nmask=0\n", 7, "mask"),
    ("[Gaussian_yolo]\nanchors=1,2\nyolo_point=left_top\n", 7, "yolo_point=left_top is not built here"),
    ("[Gaussian_yolo]\nanchors=1,2\nobjectness_smooth=1\n", 7, "objectness_smooth=1 is not built"),
    ("[shortcut]\nfrom=-1\nweights_type=per_chanel\n", 7, "use one of none, per_feature, per_layer, per_channel"),
    ("[shortcut]\nfrom=-1\nweights_normalization=sofmax\n", 7, "use one of none, relu, avg_relu, softmax"),
    ("[conv]\nantialiasing=3\n", 6, "antialiasing is at most 2"),
])  # fmt: skip
def test_what_the_other_sections_cannot_be_is_refused(body, line, part):
    if "mask" in body:
        assert part in parse(f"{NET}{body}").warnings[0]
    else:
        assert part in refusal(f"{NET}{body}", line)


@pytest.mark.parametrize("title", ["Gaussian_yolo", "local_avgpool", "reorg3d", "sam", "scale_channels"])
def test_sections_that_only_alexeyab_reads_tell_the_flavour(title):
    cfg = parse(f"{NET}{CONV}[{title}]\n" + ("anchors=1,2\n" if title == "Gaussian_yolo" else ""))
    assert cfg.alexeyab
    assert parse(write_cfg(cfg)).alexeyab


@pytest.mark.parametrize(("short", "title"), [("local_avg", "local_avgpool"), ("conn", "connected"), ("avg", "avgpool"),
                                              ("reorg_old", "reorg"), ("silence", "empty")])  # fmt: skip
def test_short_names_of_sections(short, title):
    assert parse(f"{NET}[{short}]\n").sections[0].title == title


@pytest.mark.parametrize("place", ["names.tree", "../names.tree"])
def test_a_file_that_a_cfg_names_is_found_beside_it_or_above(tmp_path, place):
    folder = tmp_path / "cfg"
    folder.mkdir()
    (folder / place).write_text("a -1\n")
    file = folder / "x.cfg"
    file.write_text(f"{NET}[region]\nanchors=1,2\ntree=names.tree\nmap=missing.map\n")
    head = read_cfg(file).heads[0]
    assert head.tree == str((folder / place).resolve())
    assert head.map == "missing.map"


@pytest.mark.parametrize("value", ["0", "2", "3"])
def test_time_steps_are_refused_with_the_reason(value):
    assert "recurrent" in refusal(f"{NET}time_steps={value}\n{CONV}", 1)


def test_one_time_step_is_accepted():
    assert parse(f"{NET}time_steps=1\n{CONV}").warnings == ()


# Sections, activations, policies


@pytest.mark.parametrize(
    ("name", "meant"), [("Convolutional", "convolutional"), ("yola", "yolo"), ("shortcutt", "shortcut"), ("Net", "net")]
)
def test_a_mistyped_section_is_refused_with_its_neighbour(name, meant):
    message = refusal(f"{NET}{CONV}\n[{name}]\n", 8)
    assert f"unknown section [{name}]" in message
    assert f"did you mean [{meant}]?" in message


@pytest.mark.parametrize(
    "name",
    "yolo_bdp gru lstm crnn rnn conv_lstm history contrastive local detection normalization deconvolutional implicit".split(),
)
def test_darknets_other_layers_are_refused_as_not_built(name):
    """These are no typing mistakes, so that no other layer may be proposed instead."""
    message = refusal(f"{NET}{CONV}[{name}]\n", 7)
    assert "not built" in message
    assert "did you mean" not in message


@pytest.mark.parametrize("again", ["net", "network"])
def test_a_second_net_section_is_refused(again):
    assert "[net]" in refusal(f"{NET}{CONV}[{again}]\nwidth=32\nheight=32\nchannels=3\n", 7)


def test_every_activation_of_both_darknets_is_known():
    names = (
        "logistic loggy relu elu selu relie plse hardtan lhtan linear ramp leaky tanh stair "  # pjreddie
        "relu6 gelu swish mish hard_mish revleaky normalize_channels normalize_channels_softmax "
        "normalize_channels_softmax_maxval"
    ).split()
    for name in names:
        assert parse(f"{NET}{CONV}activation={name}\n").sections[0].activation == name
    assert set(names) == ACTIVATIONS


@pytest.mark.parametrize(
    ("name", "advice"),
    [("Leaky", "did you mean leaky?"), ("leeky", "did you mean leaky?"), ("zzz", "use one of elu, ")],
)
@pytest.mark.parametrize("title", ["convolutional", "shortcut"])
def test_an_unknown_activation_is_refused(title, name, advice):
    text, line = with_key(title, "activation", name)
    message = refusal(text, line)
    assert f"unknown activation {name}" in message
    assert advice in message


def test_an_unknown_policy_is_constant_with_a_warning():
    cfg = parse(f"{NET}learning_rate=0.01\npolicy=cosine\nscale=.5\nstep=10\n{CONV}")
    assert len(cfg.warnings) == 1
    assert "policy cosine" in cfg.warnings[0]
    assert "constant" in cfg.warnings[0]
    assert [learning_rate(cfg.net, iteration) for iteration in (1, 10, 1000)] == [0.01] * 3


@pytest.mark.parametrize("policy", ["constant", "step", "exp", "poly", "sigmoid", "random", "sgdr"])
def test_known_policies_give_no_warning(policy):
    assert parse(f"{NET}policy={policy}\n{CONV}").warnings == ()


# Values that make no sense

INTEGERS = [("net", "batch"), ("net", "subdivisions"), ("net", "width"), ("net", "max_batches"), ("net", "burn_in"),
            ("convolutional", "filters"), ("convolutional", "size"), ("convolutional", "stride"), ("convolutional", "pad"),
            ("convolutional", "groups"), ("maxpool", "size"), ("upsample", "stride"), ("reorg", "stride"),
            ("route", "layers"), ("shortcut", "from"), ("yolo", "classes"), ("yolo", "num"), ("yolo", "mask")]  # fmt: skip
FLOATS = [("net", "learning_rate"), ("net", "momentum"), ("net", "decay"), ("net", "power"), ("net", "hue"),
          ("convolutional", "learning_rate"), ("dropout", "probability"), ("upsample", "scale"), ("yolo", "jitter"),
          ("yolo", "ignore_thresh"), ("yolo", "anchors"), ("shortcut", "alpha"), ("softmax", "temperature")]  # fmt: skip


@pytest.mark.parametrize(("title", "key"), INTEGERS)
def test_a_whole_number_is_wanted(title, key):
    for value in ("x", "", "nan", "inf", "-inf", "1.5", "3x", "0x10", "--1", "2147483648", "1e400"):
        message = refusal(*with_key(title, key, value))
        assert f"{key}={value}" in message
        assert "whole number" in message


@pytest.mark.parametrize(("title", "key"), FLOATS)
def test_a_number_is_wanted(title, key):
    for value in ("x", "", "nan", "inf", "-inf", "1e400", "0.1.2", "1;5", "0x10"):
        message = refusal(*with_key(title, key, value))
        assert f"{key}={value}" in message
        assert "takes a number" in message


@pytest.mark.parametrize(
    ("title", "key", "value"),
    [
        ("net", "max_batches", "5e5"), ("net", "batch", "1e1"), ("convolutional", "filters", "1e1"),  # atoi stops at e
        ("net", "max_batches", "500_200"), ("net", "learning_rate", "0.00_1"), ("yolo", "anchors", "1_0,14,23,27"),
        ("convolutional", "filters", "\u0663"), ("net", "learning_rate", "\u0660.\u0661"),  # digits to Python alone
    ],
)  # fmt: skip
def test_numbers_that_darknet_would_read_otherwise_are_refused(title, key, value):
    text, line = with_key(title, key, value)
    assert f"{key}={value.split(',')[0]}" in refusal(text, line)


@pytest.mark.parametrize("value", ["1,,2", ",1", ",", "1;2", "1,2,x"])
@pytest.mark.parametrize(("title", "key"), [("route", "layers"), ("yolo", "mask"), ("yolo", "anchors")])
def test_a_list_without_one_of_its_numbers_is_refused(title, key, value):
    text, line = with_key(title, key, value)
    assert f"{key} takes a" in refusal(text, line)


@pytest.mark.parametrize(
    ("title", "key", "value"),
    [
        *((title, key, value) for value in ("0", "-1") for title, key in (
            ("net", "batch"), ("net", "subdivisions"), ("net", "width"), ("net", "height"), ("net", "channels"),
            ("net", "step"), ("net", "saturation"), ("net", "exposure"), ("convolutional", "filters"),
            ("convolutional", "size"), ("convolutional", "groups"), ("convolutional", "dilation"),
            ("convolutional", "stride_x"), ("maxpool", "size"), ("maxpool", "stride_y"), ("softmax", "groups"),
            ("softmax", "temperature"), ("route", "groups"), ("yolo", "classes"), ("yolo", "num"), ("yolo", "max"),
            ("yolo", "scale_x_y"),
        )),
        *((title, key, "-1") for title, key in (
            ("net", "learning_rate"), ("net", "momentum"), ("net", "decay"), ("net", "burn_in"), ("net", "max_batches"),
            ("net", "power"), ("convolutional", "learning_rate"), ("convolutional", "padding"), ("maxpool", "padding"),
            ("dropout", "probability"), ("route", "group_id"), ("yolo", "jitter"), ("yolo", "random"),
            ("yolo", "ignore_thresh"), ("yolo", "truth_thresh"),
        )),
    ],
)  # fmt: skip
def test_numbers_below_their_least_are_refused(title, key, value):
    text, line = with_key(title, key, value)
    message = refusal(text, line)
    assert f"{key}={value}" in message
    assert "at least" in message


def test_a_dropout_of_more_than_everything_is_refused():
    text, line = with_key("dropout", "probability", "1.5")
    assert "probability=1.5" in refusal(text, line)


@pytest.mark.parametrize(
    ("key", "value"),
    [("scale", "-.1"), ("gamma", "-.9"), ("learning_rate_min", "-1"), ("sgdr_cycle", "-1"), ("sgdr_mult", "-1")],
)
def test_schedules_with_negative_numbers_are_refused(key, value):
    """They give negative rates, and a negative ``sgdr_cycle`` a schedule that never comes to an end."""
    text, line = with_key("net", key, value)
    assert f"{key}=-" in refusal(text, line)


def test_negative_scales_are_refused():
    with pytest.raises(CfgError, match=r"^x\.cfg:\d+: .*scales"):
        parse(f"{NET}policy=steps\nsteps=10,20\nscales=.1,-.1\n{CONV}")


@pytest.mark.parametrize("name", ["width", "height", "channels"])
def test_the_size_of_the_input_is_needed(name):
    message = refusal(re.sub(f"{name}=.*\n", "", NET) + CONV, 1)
    assert f"no {name}" in message
    assert f"{name}=" in message


@pytest.mark.parametrize(
    ("lines", "found"),
    [("policy=steps\nsteps=1,2\nscales=.1\n", "2 steps and 1 scales"), ("policy=steps\nsteps=1,2\n", "2 steps and 0 scales"),
     ("policy=steps\nscales=.1\n", "0 steps and 1 scales"), ("policy=steps\n", "policy=steps without steps")],
)  # fmt: skip
def test_steps_and_scales_go_together(lines, found):
    assert found in refusal(NET + lines + CONV, 1)


@pytest.mark.parametrize("mask", ["2", "-1", "0,2", "0,0", "0,1,2"])
def test_a_mask_outside_the_anchors_is_refused(mask):
    text, line = with_key("yolo", "mask", mask)
    message = refusal(text, line)
    assert f"mask={mask} for num=2" in message
    assert "0 to 1" in message


@pytest.mark.parametrize(("anchors", "count"), [("10,14", 2), ("10,14,23", 3), ("1,2,3,4,5,6", 6)])
def test_the_number_of_anchors_is_checked(anchors, count):
    text, line = with_key("yolo", "anchors", anchors)
    assert f"{count} anchor values for num=2" in refusal(text, line)


def test_anchors_behind_num_that_a_mask_selects_are_taken():
    """As cspx-p7-mish.cfg has it, where Darknet reads on behind its list."""
    anchors = "anchors=1,2, 3,4, 5,6\nnum=2\n"
    cfg = parse(f"{NET}{CONV}[yolo]\nmask=0,1\n{anchors}{CONV}[yolo]\nmask=2\n{anchors}")
    assert [(head.num, head.selected) for head in cfg.heads] == [(3, (0, 1)), (3, (2,))]
    assert [each.partition(": ")[2][:62] for each in cfg.warnings] == [
        "6 anchor values for num=2, and a mask selects later ones; take"
    ] * 2
    assert parse(write_cfg(cfg)).heads == explicit(cfg).heads
    assert "6 anchor values for num=2" in refusal(f"{NET}{CONV}[yolo]\nmask=3\n{anchors}", 9)


def test_a_missing_comma_between_anchors_is_read_as_darknet_reads_it():
    """As cspx-p7-mish_hp.cfg has it."""
    cfg = parse(f"{NET}{CONV}[yolo]\nmask=0,1\nanchors = 1,2  3, 4\nnum=2\n")
    assert cfg.heads[0].anchors == (1, 23, 4, 0.5)
    assert "a comma is missing" in cfg.warnings[0]
    assert parse(write_cfg(cfg)).heads == explicit(cfg).heads


def test_a_key_of_another_section_is_no_typing_mistake():
    """As yolov4-sam-mish-csp-reorg-bfm.cfg has it."""
    cfg = parse(f"{NET}{CONV}[yolo]\nanchors=1,2\nuc_normalizer=0.07\n")
    assert "unknown key uc_normalizer in [yolo] is not used" in cfg.warnings[0]
    assert "did you mean iou_normalizer?" in refusal(f"{NET}{CONV}[yolo]\nanchors=1,2\nio_normalizer=0.07\n", 9)


def test_cbn_is_another_name_of_batch_normalisation():
    cfg = parse(f"{NET}[convolutional]\ncbn=1\n")
    assert (cfg.sections[0].batch_normalize, cfg.alexeyab) == (2, True)
    assert parse(write_cfg(cfg)) == explicit(cfg)


def test_a_head_without_anchors_is_refused():
    assert "0 anchor values for num=1" in refusal(f"{NET}{CONV}[yolo]\n", 7)
    assert "0 anchor values for num=3" in refusal(f"{NET}{CONV}[yolo]\nclasses=1\nnum=3\n", 9)


@pytest.mark.parametrize("anchors", ["10,0,23,27", "10,14,-23,27"])
def test_anchors_are_positive(anchors):
    text, line = with_key("yolo", "anchors", anchors)
    assert "not positive" in refusal(text, line)


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("width=32\n" + NET, 1, "before any section"),
        ("[convolutional]\n" + NET, 1, "the first section is [convolutional]"),
        ("\n\n" + NET, 3, "no layer after [net]"),
        (NET + "[convolutional\n", 5, "no closing bracket"),
        (NET + "[]\n", 5, "unknown section []"),
        (NET + CONV + "filters\n", 7, "no key=value"),
        (NET + CONV + "=3\n", 7, "no key=value"),
        (NET + CONV + "\x1b[31mred\x07\n", 7, "no key=value"),
    ],
)
def test_malformed_lines_are_refused(text, line, found):
    message = refusal(text, line)
    assert found in message
    assert message.isprintable()


def test_a_very_long_line_gives_a_short_message():
    assert len(refusal(NET + CONV + "x" * 100_000 + "\n", 7)) < 200
    assert len(refusal(f"{NET}[{'x' * 100_000}]\n", 5)) < 200
    assert len(refusal(f"{NET}[convolutional]\nsize={'9' * 100_000}\n", 6)) < 200


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", " \t\r\n"])
def test_a_text_without_sections_is_refused(text):
    assert "no [section]" in refusal(text)


# Files


def test_a_file_with_a_byte_order_mark(tmp_path):
    file = tmp_path / "x.cfg"
    file.write_bytes(b"\xef\xbb\xbf" + (NET + CONV).encode())
    assert read_cfg(file) == parse(NET + CONV)


def test_a_file_with_comments_of_another_age(tmp_path):
    file = tmp_path / "x.cfg"
    odd = bytes(set(range(1, 256)) - {10, 13})
    file.write_bytes(b"# caf\xe9 " + odd + b"\n; \x85\xa0 [conv\xfc]\n" + (NET + CONV).encode())
    assert read_cfg(file) == parse(NET + CONV)


def test_a_file_with_comments_in_utf_8(tmp_path):
    file = tmp_path / "x.cfg"
    file.write_text("# größe, 大きさ, \u2028 \u00a0\n" + NET + CONV, encoding="utf-8")
    assert read_cfg(str(file)) == parse(NET + CONV)


def test_messages_start_with_the_path_as_given(tmp_path):
    file = tmp_path / "my net.cfg"
    file.write_text(NET + "[convolutional]\nsize=x\n")
    with pytest.raises(CfgError, match=re.escape(f"{file}:6: size=x")):
        read_cfg(file)


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "no [section]"), (b"\0\0\0\0\2\0\0\0" * 9, "binary"), ((NET + CONV).encode("utf-16"), "is UTF-16: save it as UTF-8"),
     ((NET + CONV).encode("utf-16-le"), "is UTF-16: save it as UTF-8"),
     (b"\xff\xfe\xfd" * 50, "before any section"), (b"\x89PNG\r\n\x1a\n\0\0", "binary")],
)  # fmt: skip
def test_a_file_that_is_no_cfg_is_refused(tmp_path, content, found):
    file = tmp_path / "x.cfg"
    file.write_bytes(content)
    with pytest.raises(CfgError, match=re.escape(found)) as caught:
        read_cfg(file)
    assert str(caught.value).startswith(str(file))
    assert str(caught.value).isprintable()


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(CfgError, match=re.escape(f"{tmp_path}: this is a folder")):
        read_cfg(tmp_path)


@pytest.mark.parametrize("name", ["absent.cfg", "absent/x.cfg", "file/x.cfg", "x" * 300 + ".cfg"])
def test_a_file_that_cannot_be_opened_is_refused(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(CfgError, match="cannot be read"):
        read_cfg(tmp_path / name)


# Writing


@pytest.mark.parametrize("file", BUNDLED, ids=lambda file: file.name)
def test_bundled_cfgs_survive_the_round_trip(file):
    cfg = read_cfg(file)
    assert cfg.warnings == ()
    text = write_cfg(cfg)
    assert parse(text) == cfg
    assert write_cfg(parse(text)) == text


def test_of_the_defaults_those_are_written_that_published_cfgs_have():
    """OpenCV and others have defaults of their own, or none; a number that is worked out stands there too."""
    text = f"{NET}angle=0\n[conv]\nfilters=4\n[maxpool]\n[shortcut]\nfrom=-1\n[conv]\nfilters=6\n[yolo]\nanchors=3,4\nclasses=1\n"
    sections = [section.split("\n") for section in write_cfg(parse(text)).strip().split("\n\n")]
    assert [(title, *sorted(keys)) for title, *keys in sections] == [
        (
            "[net]",
            "batch=1",
            "channels=3",
            "decay=0.0001",
            "height=32",
            "learning_rate=0.001",
            "momentum=0.9",
            "policy=constant",
            "subdivisions=1",
            "width=32",
        ),
        ("[convolutional]", "activation=logistic", "filters=4", "pad=0", "size=1", "stride=1"),
        ("[maxpool]", "size=1", "stride=1"),
        ("[shortcut]", "activation=linear", "from=-1"),
        ("[convolutional]", "activation=logistic", "filters=6", "pad=0", "size=1", "stride=1"),
        ("[yolo]", "anchors=3,4", "classes=1", "mask=0", "num=1"),
    ]


def test_every_key_that_is_always_written_is_one():
    for title, keys in ALWAYS_WRITTEN.items():
        assert keys <= set(keys_of(SECTION_TYPES[title])), title


@pytest.mark.parametrize(
    ("beside", "given", "written"),
    [
        ("", "batch_normalize=2", {"batch_normalize=1"}),
        ("mosaic=1\n", "batch_normalize=2", {"batch_normalize=1", "cbn=1"}),
        ("", "cbn=1", {"batch_normalize=1", "cbn=1"}),
        ("", "batch_normalize=7", {"batch_normalize=1"}),
    ],
)
def test_any_normalisation_is_written_as_every_reader_knows_it(beside, given, written):
    cfg = parse(f"{NET}{beside}[conv]\nfilters=4\n{given}\n")
    lines = set(write_cfg(cfg).splitlines())
    assert {line for line in lines if line.partition("=")[0] in {"batch_normalize", "cbn"}} == written
    again = parse(write_cfg(cfg))
    assert again.alexeyab == cfg.alexeyab
    assert again.sections[0].batch_normalize == (2 if "cbn=1" in written else 1)


@pytest.mark.parametrize("value", [1 / 3, 0.1 + 0.2, 1e-7 / 3, 123456.789012])
def test_every_digit_of_a_number_is_written(value):
    cfg = parse(NET + CONV)
    cfg = replace(cfg, net=replace(cfg.net, learning_rate=value, momentum=0.5))
    assert parse(write_cfg(cfg)).net.learning_rate == value


@pytest.mark.parametrize(("title", "key", "value"), [("net", "mosaic", "1"), ("yolo", "iou_loss", "ciou"),
                                                     ("yolo", "scale_x_y", "1"), ("maxpool", "stride_x", "2")])  # fmt: skip
def test_the_flavour_survives_the_round_trip(title, key, value):
    """Whose Darknet a cfg was written for is told by keys that are not all written again."""
    cfg = parse(with_key(title, key, value)[0])
    assert cfg.alexeyab
    assert parse(write_cfg(cfg)) == explicit(cfg)


counts = st.integers(1, 2**31 - 1)
shares = st.floats(0, 1).map(lambda value: round(value, 6))
numbers = st.floats(1e-3, 1e3).map(lambda value: float(f"{value:.6g}"))
activations = st.sampled_from(sorted(ACTIVATIONS))
layers = st.one_of(
    st.builds(
        Convolutional, filters=counts, size=counts, stride=counts, groups=counts, pad=st.integers(0, 1),
        padding=st.integers(0, 9), batch_normalize=st.integers(0, 1), stride_x=st.none() | counts, dilation=counts,
        activation=activations, learning_rate=numbers, stopbackward=st.integers(0, 1), dontload=st.integers(0, 1),
    ),
    st.builds(Maxpool, size=st.none() | counts, stride=counts, padding=st.none() | st.integers(0, 9)),
    st.builds(Route, layers=st.lists(st.integers(-99, 99), min_size=1, max_size=5).map(tuple), groups=counts),
    st.builds(Shortcut, from_=st.integers(-99, 99).map(lambda at: (at,)), activation=activations, alpha=numbers),
    st.builds(Upsample, stride=st.integers(-4, 4), scale=numbers),
    st.integers(1, 9).flatmap(lambda num: st.builds(
        Yolo, classes=counts, num=st.just(num), anchors=st.lists(numbers, min_size=2 * num, max_size=2 * num).map(tuple),
        mask=st.none() | st.lists(st.integers(0, num - 1), min_size=1, unique=True).map(tuple),
        max=st.none() | counts, jitter=shares, random=shares, ignore_thresh=shares, truth_thresh=shares, scale_x_y=numbers,
    )),
)  # fmt: skip
schedules = st.lists(st.tuples(st.integers(-1, 10**6), numbers), max_size=4).map(lambda pairs: {
    "steps": tuple(step for step, _ in pairs), "scales": tuple(scale for _, scale in pairs),
})  # fmt: skip
nets = st.builds(
    lambda schedule, **values: Net(**schedule, **values),
    schedules, width=counts, height=counts, channels=counts, batch=counts, subdivisions=counts, momentum=shares,
    decay=shares, learning_rate=numbers, policy=st.sampled_from([name for name in POLICIES if name != "steps"]),
    burn_in=st.integers(0, 10**6), power=numbers, max_batches=st.integers(0, 10**6), hue=shares, saturation=numbers,
    angle=st.integers(-90, 90).map(float), flip=st.integers(0, 1),
)  # fmt: skip


@FAST
@given(nets, st.lists(layers, min_size=1, max_size=6))
def test_generated_cfgs_survive_the_round_trip(net, sections):
    cfg = Cfg(net, tuple(sections))
    again = parse(write_cfg(cfg))
    assert again.warnings == ()
    wanted_cfg = explicit(cfg)
    assert replace(again, alexeyab=False) == wanted_cfg
    for wanted, found in zip((wanted_cfg.net, *wanted_cfg.sections), (again.net, *again.sections), strict=True):
        for each in fields(wanted):
            assert type(getattr(wanted, each.name)) is type(getattr(found, each.name))
    written = {line.partition("=")[0] for line in write_cfg(cfg).splitlines()}
    assert again.alexeyab == bool(written & ALEXEYAB_KEYS)


# Anything at all

LARGE = 10**5  # numbers in a network or in one of its maps that is still built
RICH = """\
[net]
width=16
height=16
channels=4
batch=4
subdivisions=2
learning_rate=0.01
policy=steps
steps=10,20
scales=.1,.1
[conv]
batch_normalize=1
filters=8
size=3
stride=1
pad=1
groups=2
activation=leaky
[max]
size=2
stride=2
[dropout]
probability=.5
[conv]
filters=8
size=3
padding=1
dilation=1
activation=mish
[shortcut]
from=-2
activation=linear
[route]
layers=-1,1
groups=2
group_id=1
[reorg]
stride=2
[reorg]
stride=2
reverse=1
[upsample]
stride=2
[softmax]
groups=2
[conv]
filters=14
size=1
[yolo]
mask=0,2
anchors=1,2,3,4,5,6
num=3
classes=2
jitter=.3
[avgpool]
"""
VALUES = [
    "0", "-1", "1", "2", "3", "5", "7", "-2", "-32", "17", "99999999999", "2147483647", "-2147483647", "1.5", "-.5",
    "nan", "inf", "1e400", "", "x", "1,2", "1,,2", ",", "0,0", "-1,-2", "-1,-1,-1", "leaky", "steps", "\0", "\u0663", "1_0",
    "#", "[", "=", "1=2",
]  # fmt: skip
TITLES = [f"[{name}]" for name in (*BASE, "conn", "cost", "x", "")]
edits = st.one_of(
    st.tuples(st.just("value"), st.integers(0, 60), st.sampled_from(VALUES)),
    st.tuples(st.just("title"), st.integers(0, 60), st.sampled_from(TITLES)),
    st.tuples(
        st.just("insert"), st.integers(0, 60), st.sampled_from([*TITLES, "stride=0", "groups=3", "size", "\x0c"])
    ),
    st.tuples(st.sampled_from(["drop", "double", "cut"]), st.integers(0, 60), st.just("")),
)


def edited(text: str, changes: list[tuple[str, int, str]]) -> str:
    """Apply the changes to the lines of a cfg, each at the line it names (from the start again after the last)."""
    lines = text.splitlines()
    for kind, at, new in changes:
        at %= max(1, len(lines))
        if kind == "value":
            keyed = [place for place, line in enumerate(lines) if "=" in line]
            if keyed:
                place = keyed[at % len(keyed)]
                lines[place] = lines[place].partition("=")[0] + "=" + new
        elif kind == "title":
            heads = [place for place, line in enumerate(lines) if line.startswith("[")]
            if heads:
                lines[heads[at % len(heads)]] = new
        elif kind == "insert":
            lines.insert(at, new)
        elif kind == "drop":
            del lines[at : at + 1]
        elif kind == "double":
            lines[at:at] = lines[at : at + 3]
        else:
            del lines[at + 1 :]
    return "\n".join(lines)


def is_small(cfg: Cfg) -> bool:
    """Tell whether a network can be built and run in no time."""
    table = layer_table(cfg)
    numbers = [value for section in cfg.sections for value in vars(section).values() if isinstance(value, int)]
    maps = [channels * height * width for channels, height, width in (layer.out_shape for layer in table)]
    return max(numbers) <= 1000 and max(maps) <= LARGE and parameter_count(cfg) <= LARGE


def carry_through(text: str) -> bool:
    """Take a text as far as it goes; anything but a CfgError is a fault. Return whether a network was run."""
    refused = ""
    try:
        cfg = parse(text)
        table = layer_table(cfg)
        largest_stride(cfg)
        layer_report(cfg)
    except CfgError as error:
        refused = str(error)
    if refused:
        assert all(re.match(r"x\.cfg(:\d+)?: .+$", line) for line in refused.splitlines())
        return False
    if not is_small(cfg):
        return False
    network = Network(cfg).eval()
    image = torch.zeros(1, cfg.net.channels, cfg.net.height, cfg.net.width)
    if image.numel() > LARGE:
        return False
    with torch.no_grad():
        outputs = network.layer_outputs(image)
    assert [tuple(output.shape[1:]) for output in outputs] == [tuple(layer.out_shape) for layer in table]
    return True


def test_the_text_that_is_edited_is_a_network():
    assert carry_through(RICH)


@FAST
@given(st.text(max_size=200))
def test_any_text_parses_or_is_refused(text):
    carry_through(text)
    carry_through(NET + text)


@FAST
@given(
    st.lists(st.sampled_from([*RICH.splitlines(), *TITLES, "width=8", "layers=0", "from=0", "filters=6"]), max_size=25)
)
def test_any_lines_of_cfgs_parse_or_are_refused(lines):
    carry_through(NET + "\n".join(lines))


@settings(FAST, max_examples=200)
@given(st.lists(edits, min_size=1, max_size=4))
def test_edited_cfgs_parse_or_are_refused(changes):
    carry_through(edited(RICH, changes))


def test_every_fault_is_told_at_once():
    text = NET + "[conv]\nfilter=8\nsize=x\n[yoloo]\nclasses=3\n[maxpol]\n[conv]\nstride=2\nactivation=leeky\nno pair\n"
    with pytest.raises(CfgError) as error:
        parse_cfg(text, "x.cfg")
    told = str(error.value).splitlines()
    assert all(line.startswith("x.cfg:") for line in told)
    for words in ("[yoloo]; did you mean [yolo]?", "[maxpol]; did you mean [maxpool]?", "did you mean filters?",
                  "size takes a whole number", "did you mean leaky?", "'nopair' is no key=value line"):  # fmt: skip
        assert sum(words in line for line in told) == 1, words
    assert len(told) == 6


def test_no_more_faults_are_told_than_anyone_reads():
    with pytest.raises(CfgError) as error:
        parse_cfg(NET + "[conv]\nsize=x\n" * 30, "x.cfg")
    told = str(error.value).splitlines()
    assert (len(told), told[-1]) == (21, "x.cfg: 10 more faults; give a Darknet cfg")


def test_a_number_of_iterations_at_stopbackward_is_a_warning():
    cfg = parse_cfg("[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\nstopbackward=800\n", "x.cfg")
    assert cfg.warnings == ("x.cfg:6: the layers up to here are frozen for the whole run",)
